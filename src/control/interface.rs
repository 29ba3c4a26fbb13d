//! What can be asked: the interface's text, and its methods as an enum.
//!
//! Not the answers (`init::control` and `describe`). **Invariant:** each method of the interface
//! file has one arm in [`Call::route`]; a test holds them together.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use serde_json::{Value, json};

use super::protocol::{Error, Message};
use crate::manager::event::{JobKind, KillWhom};
use crate::unit::UnitName;
use crate::unit::process::Signal;

/// Our interface's name.
pub const NAME: &str = "io.rinit.Manager";

/// Our interface, as `GetInterfaceDescription` gives it.
pub const TEXT: &str = include_str!("io.rinit.Manager.varlink");

/// The interface that every varlink service has (<https://varlink.org/Service>).
const SERVICE: &str = "org.varlink.service";

const SERVICE_TEXT: &str = "\
# The Varlink Service Interface is provided by every varlink service. It
# describes the service and the interfaces it implements.
interface org.varlink.service

# Get a list of all the interfaces a service provides and information
# about the implementation.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# Get the description of an interface that is implemented by this service.
method GetInterfaceDescription(interface: string) -> (description: string)

# The requested interface was not found.
error InterfaceNotFound (interface: string)

# The requested method was not found
error MethodNotFound (method: string)

# The interface defines the requested method, but the service does not
# implement it.
error MethodNotImplemented (method: string)

# One of the passed parameters is invalid.
error InvalidParameter (parameter: string)

# Client is denied access
error PermissionDenied ()

# Method is expected to be called with 'more' set to true, but wasn't
error ExpectedMore ()
";

/// One call, its parameters read.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // the interface file says what they mean
pub enum Call {
    GetInfo,
    GetInterfaceDescription { text: &'static str },
    List,
    SystemState,
    Boot,
    Describe { unit: String },
    Cat { unit: String },
    Dependencies { unit: String },
    Job { kind: JobKind, unit: String, wait: bool },
    Scale { unit: String, instances: u32, wait: bool },
    Kill { unit: String, signal: Signal, whom: KillWhom },
    ResetFailed { unit: Option<String> },
    DaemonReload,
    Apply { dry_run: bool },
    Events { unit: Option<String>, recent: bool },
    Logs { units: Vec<String>, lines: Option<usize>, since_usec: Option<u64>, follow: bool },
    Shutdown,
}

impl Call {
    /// Which method, and with what.
    ///
    /// # Errors
    /// No such interface, method or parameter.
    pub fn route(message: &Message) -> Result<Call, Error> {
        let not_found = || Error::MethodNotFound { method: message.method.clone() };
        let (interface, method) = message.method.rsplit_once('.').ok_or_else(not_found)?;
        let mut given = Parameters { message, asked: Vec::new() };
        let call = match interface {
            SERVICE => service(method, &mut given)?,
            NAME => ours(method, &mut given)?,
            _ => return Err(Error::InterfaceNotFound { interface: interface.to_owned() }),
        };
        let call = call.ok_or_else(not_found)?;
        given.refuse_others()?;
        if matches!(call, Call::Events { .. } | Call::Logs { .. })
            && !message.more
            && !message.oneway
        {
            return Err(Error::ExpectedMore);
        }
        Ok(call)
    }
}

fn service(method: &str, given: &mut Parameters<'_>) -> Result<Option<Call>, Error> {
    Ok(match method {
        "GetInfo" => Some(Call::GetInfo),
        "GetInterfaceDescription" => {
            let interface = given.text("interface")?;
            let text = match interface.as_str() {
                SERVICE => SERVICE_TEXT,
                NAME => TEXT,
                _ => return Err(Error::InterfaceNotFound { interface }),
            };
            Some(Call::GetInterfaceDescription { text })
        }
        _ => None,
    })
}

fn ours(method: &str, given: &mut Parameters<'_>) -> Result<Option<Call>, Error> {
    let kind = match method {
        "Start" => Some(JobKind::Start),
        "Stop" => Some(JobKind::Stop),
        "Restart" => Some(JobKind::Restart),
        "Reload" => Some(JobKind::Reload),
        _ => None,
    };
    if let Some(kind) = kind {
        let wait = given.flag("wait")?.unwrap_or(true);
        return Ok(Some(Call::Job { kind, unit: given.text("unit")?, wait }));
    }
    Ok(Some(match method {
        "List" => Call::List,
        "SystemState" => Call::SystemState,
        "Boot" => Call::Boot,
        "Describe" => Call::Describe { unit: given.text("unit")? },
        "Cat" => Call::Cat { unit: given.text("unit")? },
        "Dependencies" => Call::Dependencies { unit: given.text("unit")? },
        "Scale" => {
            let (unit, instances) = (given.text("unit")?, given.count("instances")?);
            Call::Scale { unit, instances, wait: given.flag("wait")?.unwrap_or(true) }
        }
        "Kill" => {
            let (unit, signal) = (given.text("unit")?, given.text("signal")?);
            Call::Kill { unit, signal: read_signal(signal)?, whom: given.whom()? }
        }
        "ResetFailed" => Call::ResetFailed { unit: given.optional_text("unit")? },
        "DaemonReload" => Call::DaemonReload,
        "Apply" => Call::Apply { dry_run: given.flag("dry_run")?.unwrap_or(false) },
        "Events" => {
            let unit = given.optional_text("unit")?;
            Call::Events { unit, recent: given.flag("recent")?.unwrap_or(false) }
        }
        "Logs" => {
            let (units, lines) = (given.texts("units")?, given.number("lines")?);
            let lines = lines.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
            let since_usec = given.number("since_usec")?;
            let follow = given.flag("follow")?.unwrap_or(false);
            Call::Logs { units, lines, since_usec, follow }
        }
        "Shutdown" => Call::Shutdown,
        _ => return Ok(None),
    }))
}

fn read_signal(text: String) -> Result<Signal, Error> {
    Signal::parse(&text).ok_or_else(|| {
        let names: Vec<String> = (1..=64)
            .filter_map(Signal::from_number)
            .flat_map(|signal| [signal.name(), signal.to_string()])
            .collect();
        let near = crate::unit::value::suggest(&text, names.iter().map(String::as_str));
        Error::NoSuchSignal { suggestion: near.map(str::to_owned), signal: text }
    })
}

/// The parameters of a message, and which of them the method asked for.
struct Parameters<'a> {
    message: &'a Message,
    asked: Vec<&'static str>,
}

impl Parameters<'_> {
    fn take(&mut self, name: &'static str) -> Option<&Value> {
        self.asked.push(name);
        self.message.parameters.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &'static str) -> Result<String, Error> {
        self.optional_text(name)?.ok_or_else(|| invalid(name))
    }

    fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| invalid(name))
    }

    fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| invalid(name))
    }

    fn texts(&mut self, name: &'static str) -> Result<Vec<String>, Error> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = value.as_array().and_then(|all| all.iter().map(text).collect());
        texts.ok_or_else(|| invalid(name))
    }

    fn number(&mut self, name: &'static str) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| invalid(name))
    }

    fn count(&mut self, name: &'static str) -> Result<u32, Error> {
        let number = self.take(name).and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
        number.ok_or_else(|| invalid(name))
    }

    fn whom(&mut self) -> Result<KillWhom, Error> {
        match self.optional_text("whom")?.as_deref() {
            None | Some("all") => Ok(KillWhom::All),
            Some("main") => Ok(KillWhom::Main),
            Some("control") => Ok(KillWhom::Control),
            Some(_) => Err(invalid("whom")),
        }
    }

    /// A name that nobody asked for is a mistake of the caller, and better said than ignored.
    fn refuse_others(&self) -> Result<(), Error> {
        let mut names = self.message.parameters.keys();
        match names.find(|name| !self.asked.contains(&name.as_str())) {
            Some(name) => Err(invalid(name)),
            None => Ok(()),
        }
    }
}

fn invalid(parameter: &str) -> Error {
    Error::InvalidParameter { parameter: parameter.to_owned() }
}

/// The reply to `GetInfo`.
pub fn info() -> Value {
    json!({
        "vendor": "rinit",
        "product": "rinit",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": [SERVICE, NAME],
    })
}

/// There is no unit `text`; perhaps one of the known was meant.
pub fn no_such_unit<'a>(text: &str, known: impl Iterator<Item = &'a UnitName>) -> Error {
    // A name without its suffix is as near as can be.
    let known: Vec<&UnitName> = known.collect();
    let bare = known.iter().find(|name| name.stem() == text).map(|name| name.as_str());
    let words = known.iter().flat_map(|name| [name.as_str(), name.stem()]);
    let near = bare.or_else(|| {
        let word = crate::unit::value::suggest(text, words)?;
        known.iter().find(|n| n.as_str() == word || n.stem() == word).map(|n| n.as_str())
    });
    Error::NoSuchUnit { unit: text.to_owned(), suggestion: near.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Result<Call, Error> {
        Call::route(&Message::parse(text.as_bytes()).unwrap())
    }

    fn method(name: &str, parameters: &str) -> Result<Call, Error> {
        route(&format!("{{\"method\":\"{name}\",\"parameters\":{parameters},\"more\":true}}"))
    }

    #[test]
    fn every_method_of_the_file_is_routed() {
        for (interface, text) in [(SERVICE, SERVICE_TEXT), (NAME, TEXT)] {
            let methods: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("method ")?.split('(').next())
                .collect();
            assert!(methods.len() >= 2);
            for name in methods {
                let found = method(&format!("{interface}.{name}"), "{}");
                let missing = matches!(found, Err(Error::MethodNotFound { .. }));
                assert!(!missing, "{interface}.{name}");
            }
        }
    }

    #[test]
    fn every_error_is_in_the_file() {
        for error in
            ["NoSuchUnit", "Refused", "InvalidUnits", "NoSuchSignal", "PermissionDenied", "TooSlow"]
        {
            assert!(TEXT.contains(&format!("\nerror {error} (")), "{error}");
        }
    }

    #[test]
    fn parameters() {
        let unit = "a.service".to_owned();
        for (name, given, call) in [
            ("List", "{}", Call::List),
            (
                "Start",
                r#"{"unit":"a.service"}"#,
                Call::Job { kind: JobKind::Start, unit: unit.clone(), wait: true },
            ),
            (
                "Stop",
                r#"{"unit":"a.service","wait":false}"#,
                Call::Job { kind: JobKind::Stop, unit: unit.clone(), wait: false },
            ),
            (
                "Kill",
                r#"{"unit":"a.service","signal":"SIGHUP","whom":"main"}"#,
                Call::Kill { unit: unit.clone(), signal: Signal::HUP, whom: KillWhom::Main },
            ),
            (
                "Scale",
                r#"{"unit":"a.service","instances":0}"#,
                Call::Scale { unit: unit.clone(), instances: 0, wait: true },
            ),
            ("ResetFailed", r#"{"unit":null}"#, Call::ResetFailed { unit: None }),
            ("Events", r#"{"recent":true}"#, Call::Events { unit: None, recent: true }),
            ("Apply", r#"{"dry_run":true}"#, Call::Apply { dry_run: true }),
            (
                "Logs",
                r#"{"units":["a.service"],"lines":3,"since_usec":null}"#,
                Call::Logs { units: vec![unit], lines: Some(3), since_usec: None, follow: false },
            ),
        ] {
            assert_eq!(method(&format!("{NAME}.{name}"), given), Ok(call), "{name} {given}");
        }
        for (name, given, parameter) in [
            ("Describe", "{}", "unit"),
            ("Describe", r#"{"unit":1}"#, "unit"),
            ("Start", r#"{"unit":"a.service","wait":"no"}"#, "wait"),
            ("List", r#"{"unit":"a.service"}"#, "unit"),
            ("Scale", r#"{"unit":"a.service"}"#, "instances"),
            ("Scale", r#"{"unit":"a.service","instances":-1}"#, "instances"),
            ("Scale", r#"{"unit":"a.service","instances":4294967296}"#, "instances"),
            ("Kill", r#"{"unit":"a.service","signal":"HUP","whom":"x"}"#, "whom"),
            ("Logs", r#"{"units":[1]}"#, "units"),
            ("Logs", r#"{"lines":-1}"#, "lines"),
        ] {
            let error = Error::InvalidParameter { parameter: parameter.to_owned() };
            assert_eq!(method(&format!("{NAME}.{name}"), given), Err(error), "{name} {given}");
        }
    }

    #[test]
    fn what_is_not_there() {
        let not_found = |method: &str| Err(Error::MethodNotFound { method: method.to_owned() });
        assert_eq!(method("List", "{}"), not_found("List"));
        assert_eq!(method("io.rinit.Manager.Lost", "{}"), not_found("io.rinit.Manager.Lost"));
        let interface = "io.systemd.Manager".to_owned();
        let error = Err(Error::InterfaceNotFound { interface });
        assert_eq!(method("io.systemd.Manager.List", "{}"), error);
        let events = r#"{"method":"io.rinit.Manager.Events"}"#;
        assert_eq!(route(events), Err(Error::ExpectedMore));
        let signal = r#"{"unit":"a.service","signal":"SIGTRM"}"#;
        let Err(Error::NoSuchSignal { suggestion, .. }) = method("io.rinit.Manager.Kill", signal)
        else {
            panic!("SIGTRM is no signal");
        };
        assert_eq!(suggestion.as_deref(), Some("SIGTERM"));
    }

    #[test]
    fn suggestions_are_whole_names() {
        let known = ["web", "worker"].map(|stem| UnitName::service(stem).unwrap());
        for (text, near) in [
            ("web", Some("web.service")),
            ("wrker.service", Some("worker.service")),
            ("wrker", Some("worker.service")),
            ("database", None),
        ] {
            let error = no_such_unit(text, known.iter());
            let suggestion = near.map(str::to_owned);
            assert_eq!(error, Error::NoSuchUnit { unit: text.to_owned(), suggestion });
        }
    }
}
