//! `show` and `cat`: a unit's properties for scripts, its definition for people.
//!
//! **Invariant:** a property that is not there is an error with a suggestion, never an empty
//! line that a script takes for an answer.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::connect::Session;
use super::failure::Failure;
use super::properties::Properties;
use super::screen::{Screen, Tint};
use super::{DONE, USAGE, names};
use crate::unit::timespan::format_timespan;
use crate::unit::value::suggest;

/// What `show` is to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted<'a> {
    /// These properties; none: all.
    pub properties: &'a [String],
    /// Without `Name=`.
    pub value: bool,
    /// As JSON.
    pub json: bool,
}

/// The verb `show`.
pub fn show(
    words: &[String],
    wanted: &Wanted<'_>,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for unit in names::resolve(session, words)? {
        all.push(chosen(Properties::of(session, &unit)?, wanted.properties)?);
    }
    if wanted.json {
        screen.json(&one_or_many(all.into_iter().map(object).collect()));
        return Ok(DONE);
    }
    let texts: Vec<String> = all.iter().map(|properties| lines(properties, wanted)).collect();
    screen.out(&texts.join("\n"));
    Ok(DONE)
}

/// One unit is an object, several are an array.
pub fn one_or_many(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.pop().unwrap_or_default() } else { Value::Array(values) }
}

fn object(pairs: Vec<(String, Value)>) -> Value {
    Value::Object(pairs.into_iter().collect::<Map<String, Value>>())
}

/// The properties asked for, in the order asked.
fn chosen(all: Properties, names: &[String]) -> Result<Vec<(String, Value)>, Failure> {
    if names.is_empty() {
        return Ok(all.0.into_iter().collect());
    }
    let one = |name: &String| match all.0.get(name) {
        Some(value) => Ok((name.clone(), value.clone())),
        None => Err(unknown(name, &all)),
    };
    names.iter().map(one).collect()
}

fn unknown(name: &str, all: &Properties) -> Failure {
    let meant = match suggest(name, all.0.keys().map(String::as_str)) {
        Some(near) => format!("; did you mean {near}?"),
        None => "; rinitctl show UNIT lists them".to_owned(),
    };
    Failure::new(USAGE, format!("no property {name}{meant}"))
}

fn lines(pairs: &[(String, Value)], wanted: &Wanted<'_>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !wanted.value {
            text += name;
            text.push('=');
        }
        text += &plain(name, value);
        text.push('\n');
    }
    text
}

/// Properties that are no limits end so.
const UNKNOWN: [&str; 3] = ["Current", "Peak", "NSec"];

/// A value as `systemctl show` writes it.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_u64() {
            // systemctl's words for a number that nobody knows.
            Some(u64::MAX) if UNKNOWN.iter().any(|end| name.ends_with(end)) => {
                "[not set]".to_owned()
            }
            Some(u64::MAX) => "infinity".to_owned(),
            Some(micros) if name.ends_with("USec") => {
                format_timespan(Duration::from_micros(micros))
            }
            Some(_) | None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let words: Vec<String> = values.iter().map(|value| plain("", value)).collect();
            words.join(" ")
        }
        Value::Object(_) => value.to_string(),
    }
}

/// The verb `cat`.
pub fn cat(
    words: &[String],
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for unit in names::resolve(session, words)? {
        let reply = session.call("Cat", &json!({ "unit": unit }))?;
        let field = |key: &str| reply.get(key).cloned().unwrap_or_default();
        all.push(json!({ "unit": unit, "path": field("path"), "text": field("text") }));
    }
    if json {
        screen.json(&one_or_many(all));
        return Ok(DONE);
    }
    let texts: Vec<String> = all.iter().map(|unit| definition(unit, screen)).collect();
    screen.out(&texts.join("\n"));
    Ok(DONE)
}

fn definition(unit: &Value, screen: &Screen<'_>) -> String {
    let field = |key: &str| unit.get(key).and_then(Value::as_str).unwrap_or_default();
    let path = match field("path") {
        "" => "given on rinit's command line",
        path => path,
    };
    let heading = screen.look.paint(Tint::Faint, &format!("# {path}"));
    let end = if field("text").ends_with('\n') { "" } else { "\n" };
    format!("{heading}\n{}{end}", field("text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn properties() -> Properties {
        let value = json!({"Id": "web.service", "MainPID": 7, "Step": false, "NeedDaemonReload": true,
            "RestartUSec": 100_000, "TimeoutStopUSec": u64::MAX, "After": ["a.service", "b.service"],
            "User": "", "FragmentPath": null});
        let Value::Object(fields) = value else { panic!("an object") };
        Properties(fields)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn values_as_systemctl_writes_them() {
        let wanted = Wanted { properties: &[], value: false, json: false };
        expect![[r#"
            After=a.service b.service
            FragmentPath=
            Id=web.service
            MainPID=7
            NeedDaemonReload=yes
            RestartUSec=100ms
            Step=no
            TimeoutStopUSec=infinity
            User=
        "#]]
        .assert_eq(&lines(&chosen(properties(), &[]).unwrap(), &wanted));
        let chosen = chosen(properties(), &names(&["MainPID", "Id"])).unwrap();
        assert_eq!(lines(&chosen, &Wanted { value: true, ..wanted }), "7\nweb.service\n");
    }

    #[test]
    fn a_property_that_is_not_there() {
        let failure = chosen(properties(), &names(&["MainPid"])).unwrap_err();
        assert_eq!(failure, Failure::new(64, "no property MainPid; did you mean MainPID?"));
    }

    #[test]
    fn one_is_no_list() {
        assert_eq!(one_or_many(vec![json!(1)]), json!(1));
        assert_eq!(one_or_many(vec![json!(1), json!(2)]), json!([1, 2]));
        assert_eq!(one_or_many(Vec::new()), json!([]));
    }
}
