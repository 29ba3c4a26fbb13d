//! rinit's command line: options, environment, what they come to.
//!
//! Not rinitctl's. Options end at the first word that is none: what follows is COMMAND's.
//! **Invariant:** reading it has no effect; a mistake is one sentence that names the word, what
//! is wrong with it and, where there is one, the right one.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};

use crate::init::LogConfig;
use crate::init::SocketChoice;
use crate::init::report::{Format, Level};
use crate::unit::address::parse_http_listen;
use crate::unit::process::Signal;
use crate::unit::timespan::parse_timespan;
use crate::unit::value::{ValueError, parse_stop_signal, suggest};

/// Where units are when nobody says where.
pub const DEFAULT_DIRECTORY: &str = "/etc/rinit";

/// The exit status of a wrong command line (sysexits(3), EX_USAGE).
pub const USAGE: u8 = 64;

/// `rinit --help`.
pub const HELP: &str = "\
rinit - a small init and service supervisor for containers

Usage: rinit [OPTIONS] [--] [COMMAND [ARG]...]

Runs the units of a directory and, after them, COMMAND. Without units it is a
drop-in for tini. Options end at the first word that is none.

  --units DIR           read units from DIR; repeatable (RINIT_UNITS, with `:`
                        between several; default /etc/rinit, which need not
                        exist when COMMAND is given)
  --unit NAME           start this unit, and what it requires, instead of all;
                        repeatable
  -p, --property K=V    a directive for COMMAND, as in -p Restart=always
  --socket PATH         the control socket, or none (RINIT_SOCKET; default
                        /run/rinit/io.rinit.Manager, else the same below
                        $XDG_RUNTIME_DIR/rinit or /tmp/rinit-UID)
  --http ADDR           serve /livez, /readyz, /metrics and a status page there:
                        a port (of loopback), or ADDRESS:PORT (RINIT_HTTP;
                        default none)
  --shutdown-timeout D  total time for a stop (RINIT_SHUTDOWN_TIMEOUT; 9s, which
                        is below Docker's 10)
  --log-level LEVEL     error, warn, info or debug (RINIT_LOG; info, and warn
                        when there is a COMMAND)
  --log-format FORMAT   text or json (RINIT_LOG_FORMAT; text)
  --check               read and verify the units, print what is wrong, exit 0
                        or 78
  -h, --help            this text
  -V, --version         the version

Exit status: that of the unit whose end stopped rinit, 128+n if a signal ended
it; COMMAND's, if there is one (127 not found, 126 not executable); 0 when all
ended well; 137 when a stop had to kill. 64 usage, 70 internal, 71 system,
78 configuration.
";

/// Every long option, for suggestions.
const LONG: [&str; 11] = [
    "units",
    "unit",
    "property",
    "shutdown-timeout",
    "log-level",
    "log-format",
    "check",
    "help",
    "version",
    "socket",
    "http",
];

/// What the command line and the environment say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The directories of units, in order.
    pub directories: Vec<PathBuf>,
    /// Nobody named a directory.
    pub default_directory: bool,
    /// The units to start; none: all that boot starts.
    pub names: Vec<String>,
    /// `-p`, as written.
    pub properties: Vec<String>,
    /// The control socket; `None`: nobody said.
    pub socket: Option<SocketChoice>,
    /// Where HTTP is served, if anywhere; `None`: nobody said.
    pub http: Option<Option<SocketAddr>>,
    /// The total time for a stop.
    pub shutdown_timeout: Option<Duration>,
    /// A further signal that stops (RINIT_STOP_SIGNAL).
    pub stop_signal: Option<Signal>,
    /// How much is logged.
    pub level: Option<Level>,
    /// How it is logged.
    pub format: Format,
    /// Verify only.
    pub check: bool,
    /// COMMAND and its arguments; empty: none.
    pub command: Vec<OsString>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Invocation {
    /// Run, or check.
    Run(Options),
    /// Print this to standard output and be done.
    Print(String),
}

impl Options {
    /// rinit is quiet beside a COMMAND, as tini is.
    pub fn log(&self) -> LogConfig {
        let default = if self.command.is_empty() { Level::Info } else { Level::Warn };
        LogConfig { level: self.level.unwrap_or(default), format: self.format }
    }
}

/// Reads the arguments (without the program's name); `variable` looks into the environment.
///
/// # Errors
/// One sentence, for exit status 64.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Invocation, String> {
    let mut options = from_environment(&variable)?;
    let mut directories = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(Invocation::Print(HELP.to_owned())),
            Short('V') | Long("version") => {
                let version = concat!("rinit ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Invocation::Print(version.to_owned()));
            }
            Long("units") => directories.push(PathBuf::from(value(&mut parser)?)),
            Long("unit") => options.names.push(value(&mut parser)?),
            Short('p') | Long("property") => options.properties.push(property(&mut parser)?),
            Long("shutdown-timeout") => {
                let text = value(&mut parser)?;
                options.shutdown_timeout = Some(timeout("--shutdown-timeout", &text)?);
            }
            Long("log-level") => {
                options.level = Some(level("--log-level", &value(&mut parser)?)?);
            }
            Long("log-format") => {
                options.format = format("--log-format", &value(&mut parser)?)?;
            }
            Long("socket") => {
                let text = value(&mut parser)?;
                if text.is_empty() {
                    return Err("--socket: a path is missing, or none".to_owned());
                }
                options.socket = Some(SocketChoice::read(&text));
            }
            Long("http") => options.http = Some(http("--http", &value(&mut parser)?)?),
            Long("check") => options.check = true,
            Value(program) => {
                let rest = parser.raw_args().map_err(|error| error.to_string())?;
                options.command = command(program, rest)?;
                break;
            }
            Long(name) => return Err(unknown_long(name)),
            Short(letter) => return Err(unknown_short(letter)),
        }
    }
    if !directories.is_empty() {
        (options.directories, options.default_directory) = (directories, false);
    }
    if options.command.is_empty() && !options.properties.is_empty() {
        return Err("-p is for COMMAND, and there is none; a unit's directives stand in its file"
            .to_owned());
    }
    Ok(Invocation::Run(options))
}

fn from_environment(variable: &impl Fn(&str) -> Option<String>) -> Result<Options, String> {
    let given = |name: &str| variable(name).filter(|text| !text.is_empty());
    let units = given("RINIT_UNITS").unwrap_or_default();
    let mut directories: Vec<PathBuf> =
        units.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    let default_directory = directories.is_empty();
    if default_directory {
        directories.push(PathBuf::from(DEFAULT_DIRECTORY));
    }
    let stop_signal = given("RINIT_STOP_SIGNAL").map(|text| {
        let said = |error: ValueError| match &error.hint {
            Some(hint) => format!("RINIT_STOP_SIGNAL: {} ({hint})", error.message),
            None => format!("RINIT_STOP_SIGNAL: {}", error.message),
        };
        parse_stop_signal(&text).map_err(said)
    });
    let timeout = given("RINIT_SHUTDOWN_TIMEOUT").map(|t| timeout("RINIT_SHUTDOWN_TIMEOUT", &t));
    Ok(Options {
        directories,
        default_directory,
        shutdown_timeout: timeout.transpose()?,
        stop_signal: stop_signal.transpose()?,
        socket: given("RINIT_SOCKET").map(|text| SocketChoice::read(&text)),
        http: given("RINIT_HTTP").map(|text| http("RINIT_HTTP", &text)).transpose()?,
        level: given("RINIT_LOG").map(|text| level("RINIT_LOG", &text)).transpose()?,
        format: given("RINIT_LOG_FORMAT")
            .map(|text| format("RINIT_LOG_FORMAT", &text))
            .transpose()?
            .unwrap_or_default(),
        ..Options::default()
    })
}

fn value(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.into_string().map_err(|value| format!("{}: not UTF-8", value.display()))
}

/// `-p NAME=VALUE`; tini's `-p SIGNAL` is something else.
fn property(parser: &mut lexopt::Parser) -> Result<String, String> {
    let text = value(parser)?;
    if text.contains('=') {
        return Ok(text);
    }
    if Signal::parse(&text).is_some() {
        return Err(format!(
            "-p {text}: tini's parent death signal has no place here, for rinit stops when it is \
             told to; rinit's -p is -p NAME=VALUE, a directive for COMMAND"
        ));
    }
    Err(format!("-p {text}: a property is written NAME=VALUE, as in -p Restart=always"))
}

fn command(
    program: OsString,
    rest: impl Iterator<Item = OsString>,
) -> Result<Vec<OsString>, String> {
    if program.is_empty() {
        return Err("COMMAND is an empty word".to_owned());
    }
    Ok(std::iter::once(program).chain(rest).collect())
}

fn timeout(source: &str, text: &str) -> Result<Duration, String> {
    match parse_timespan(text) {
        Ok(Some(timeout)) if !timeout.is_zero() => Ok(timeout),
        Ok(Some(_)) => Err(format!("{source} {text}: a stop needs some time")),
        Ok(None) => Err(format!("{source} {text}: a stop must end; the runtime kills it anyway")),
        Err(error) => Err(format!("{source} {text}: {}", error.message)),
    }
}

fn http(source: &str, text: &str) -> Result<Option<SocketAddr>, String> {
    parse_http_listen(text).map_err(|error| match &error.hint {
        Some(hint) => format!("{source}: {} ({hint})", error.message),
        None => format!("{source}: {}", error.message),
    })
}

fn level(source: &str, text: &str) -> Result<Level, String> {
    let known = Level::ALL.into_iter().find(|level| level.as_str() == text);
    known.ok_or_else(|| format!("{source} {text}: must be error, warn, info or debug"))
}

fn format(source: &str, text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(format!("{source} {text}: must be text or json")),
    }
}

fn unknown_long(name: &str) -> String {
    match suggest(name, LONG.into_iter()) {
        Some(known) => format!("unknown option --{name}; did you mean --{known}?"),
        None => format!("unknown option --{name}; rinit --help lists them"),
    }
}

/// tini's letters, and what does the same here.
fn unknown_short(letter: char) -> String {
    match letter {
        'g' => {
            "-g is tini's: write -p KillMode=control-group, and SIGTERM goes to all processes of \
                COMMAND; what COMMAND leaves behind is stopped in any case"
        }
        'e' => "-e is tini's: write -p SuccessExitStatus=N -p SuccessActionExitStatus=0",
        'w' => "-w is tini's: rinit reaps every orphan without a word; leave it out",
        's' => {
            "-s is tini's: rinit becomes a child subreaper by itself where it is not PID 1; \
                leave it out"
        }
        'v' => "-v is tini's: write --log-level debug",
        _ => return format!("unknown option -{letter}; rinit --help lists them"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Options, String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match parse(arguments.iter().map(OsString::from), variable)? {
            Invocation::Run(options) => Ok(options),
            Invocation::Print(text) => Err(text),
        }
    }

    #[test]
    fn options_end_at_the_first_word() {
        for (arguments, command) in [
            (&[][..], &[][..]),
            (&["sh", "-c", "x"], &["sh", "-c", "x"]),
            (&["--", "-x", "--check"], &["-x", "--check"]),
            (&["--check", "a", "--", "b", "-p"], &["a", "--", "b", "-p"]),
            (&["-pA=b", "a", "--help"], &["a", "--help"]),
        ] {
            assert_eq!(read(arguments, &[]).unwrap().command, command, "{arguments:?}");
        }
    }

    #[test]
    fn the_command_line_beats_the_environment() {
        let environment = [
            ("RINIT_UNITS", "/a::/b"),
            ("RINIT_LOG", "debug"),
            ("RINIT_LOG_FORMAT", "json"),
            ("RINIT_SHUTDOWN_TIMEOUT", "1min"),
            ("RINIT_STOP_SIGNAL", "WINCH"),
            ("RINIT_HTTP", "0.0.0.0:9000"),
        ];
        let options = read(&[], &environment).unwrap();
        assert_eq!(options.directories, ["/a", "/b"].map(PathBuf::from));
        assert!(!options.default_directory);
        assert_eq!(options.log(), LogConfig { level: Level::Debug, format: Format::Json });
        assert_eq!(options.shutdown_timeout, Some(Duration::from_secs(60)));
        assert_eq!(options.stop_signal, Some(Signal::WINCH));
        assert_eq!(options.http, Some("0.0.0.0:9000".parse().ok()));
        assert_eq!(read(&["--http=none"], &environment).unwrap().http, Some(None));
        let given = ["--units=/c", "--units", "/d", "--log-level=error", "--shutdown-timeout", "2"];
        let options = read(&given, &environment).unwrap();
        assert_eq!(options.directories, ["/c", "/d"].map(PathBuf::from));
        assert_eq!(options.log().level, Level::Error);
        assert_eq!(options.shutdown_timeout, Some(Duration::from_secs(2)));
    }

    #[test]
    fn defaults() {
        let units = read(&[], &[("RINIT_UNITS", "")]).unwrap();
        assert!(units.default_directory);
        assert_eq!(units.directories, [PathBuf::from(DEFAULT_DIRECTORY)]);
        assert_eq!(units.log(), LogConfig { level: Level::Info, format: Format::Text });
        assert_eq!(read(&["x"], &[]).unwrap().log().level, Level::Warn);
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, message) in [
            (&["--unit"][..], "missing argument for option '--unit'"),
            (&["--shutdown-timout", "1"], "did you mean --shutdown-timeout?"),
            (&["--quiet"], "unknown option --quiet"),
            (&["--socket", ""], "a path is missing"),
            (&["--http", ":80"], "--http: \":80\" is no address (80 for loopback"),
            (&["--http", "web:80"], "neither an address nor localhost"),
            (&["--http", ""], "--http: "),
            (&["-g", "x"], "-g is tini's"),
            (&["-e", "143", "x"], "SuccessActionExitStatus=0"),
            (&["-p", "SIGTERM", "x"], "tini's parent death signal"),
            (&["-p", "Restart", "x"], "NAME=VALUE"),
            (&["-p", "Restart=no"], "there is none"),
            (&["--log-level", "loud"], "error, warn, info or debug"),
            (&["--log-format", "xml"], "text or json"),
            (&["--shutdown-timeout", "soon"], "--shutdown-timeout soon: "),
            (&["--shutdown-timeout", "infinity"], "must end"),
            (&["--shutdown-timeout", "0"], "needs some time"),
            (&["--check=yes"], "unexpected argument"),
            (&[""], "empty word"),
        ] {
            let error = read(arguments, &[]).unwrap_err();
            assert!(error.contains(message), "{arguments:?}: {error}");
        }
        let error = read(&[], &[("RINIT_HTTP", "x")]).unwrap_err();
        assert!(error.starts_with("RINIT_HTTP: "), "{error}");
        for signal in ["KILL", "STOP", "CHLD", "SIGSEGV", "6", "TSTP", "TREM"] {
            let error = read(&[], &[("RINIT_STOP_SIGNAL", signal)]).unwrap_err();
            assert!(error.starts_with("RINIT_STOP_SIGNAL: ") && error.contains("TERM"), "{error}");
        }
        let error = read(&[], &[("RINIT_LOG", "x")]).unwrap_err();
        assert!(error.starts_with("RINIT_LOG x: "), "{error}");
    }

    #[test]
    fn help_names_every_option() {
        assert_eq!(read(&["--help"], &[]).unwrap_err(), HELP);
        assert!(read(&["-V"], &[]).unwrap_err().starts_with("rinit 0."));
        for option in LONG {
            assert!(HELP.contains(&format!("--{option}")), "{option}");
        }
    }
}
