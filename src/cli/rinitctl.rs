//! `rinitctl`: looks at units and, one day, at a running rinit.
//!
//! This version has what needs no running rinit: `check` and `help`.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt as _};

use super::diagnostics::{self, Style};
use crate::unit::environment::Environment;
use crate::unit::load::{self, LoadRequest};
use crate::unit::{Problem, Severity, directive, value};

const VERBS: [&str; 2] = ["check", "help"];

const HELP: &str = "\
usage: rinitctl check [--units DIR]... [--strict] [FILE]...
       rinitctl help [DIRECTIVE]
       rinitctl --help | --version

check   reads units as rinit would and says what is wrong: 0 if they may start, else 78
  --units DIR   the directory of units (repeatable; default: RINIT_UNITS, else /etc/rinit)
  --strict      a warning counts as an error
  FILE          only these files, each by itself
help    explains a directive, or lists them all
";

/// Wrong usage (sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Wrong configuration (sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// The whole program.
pub fn main() -> ExitCode {
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let arguments = std::env::args_os().skip(1).collect();
    let environment = std::env::vars_os().collect();
    let no_color = std::env::var_os("NO_COLOR");
    let style = Style::for_stream(&std::io::stderr(), no_color.as_deref());
    let code = run(arguments, &environment, style, &mut stdout, &mut stderr);
    // Who closed our output does not want it: there is nobody left to tell.
    let _ = std::io::stdout().write_all(&stdout);
    let _ = std::io::stderr().write_all(&stderr);
    ExitCode::from(code)
}

/// What was asked, done: text for both streams, and the exit status.
pub fn run(
    arguments: Vec<OsString>,
    environment: &Environment,
    style: Style,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> u8 {
    let mut parser = Parser::from_args(arguments);
    match verb(&mut parser, environment, style, stdout, stderr) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(stderr, "rinitctl: {error}\ntry rinitctl --help");
            EXIT_USAGE
        }
    }
}

fn verb(
    parser: &mut Parser,
    environment: &Environment,
    style: Style,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> Result<u8, lexopt::Error> {
    let Some(first) = parser.next()? else {
        return Err("say what to do".into());
    };
    match first {
        Arg::Short('h') | Arg::Long("help") => {
            stdout.extend_from_slice(HELP.as_bytes());
            Ok(0)
        }
        Arg::Short('V') | Arg::Long("version") => {
            let _ = writeln!(stdout, "rinitctl {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        Arg::Value(word) if word == "check" => check(parser, environment, style, stdout, stderr),
        Arg::Value(word) if word == "help" => help(parser, stdout, stderr),
        Arg::Value(word) => Err(unknown_verb(&word.to_string_lossy())),
        Arg::Short(_) | Arg::Long(_) => Err(first.unexpected()),
    }
}

fn unknown_verb(word: &str) -> lexopt::Error {
    match value::suggest(word, VERBS.into_iter()) {
        Some(near) => format!("unknown verb {word}; did you mean {near}?").into(),
        None => format!("unknown verb {word}").into(),
    }
}

fn check(
    parser: &mut Parser,
    environment: &Environment,
    style: Style,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> Result<u8, lexopt::Error> {
    let (mut directories, mut files, mut strict) = (Vec::new(), Vec::new(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("units") => directories.push(PathBuf::from(parser.value()?)),
            Arg::Long("strict") => strict = true,
            Arg::Value(file) => files.push(PathBuf::from(file)),
            Arg::Short(_) | Arg::Long(_) => return Err(argument.unexpected()),
        }
    }
    let host = load::host_facts(environment);
    let (problems, what) = if files.is_empty() || !directories.is_empty() {
        if directories.is_empty() {
            directories = default_directories(environment);
        }
        let request = LoadRequest {
            directories,
            inherited_environment: environment.clone(),
            host: host.clone(),
            ..LoadRequest::default()
        };
        let loaded = load::load(&request);
        let mut problems = loaded.problems;
        problems.extend(load::load_files(&files, &host));
        (problems, format!("{} units", loaded.units.units.len()))
    } else {
        (load::load_files(&files, &host), format!("{} files", files.len()))
    };
    Ok(verdict(problems, &what, strict, style, stdout, stderr))
}

/// `RINIT_UNITS`, else the default directory.
fn default_directories(environment: &Environment) -> Vec<PathBuf> {
    match environment.get(OsStr::new("RINIT_UNITS")).filter(|list| !list.is_empty()) {
        Some(list) => std::env::split_paths(list).collect(),
        None => vec![PathBuf::from("/etc/rinit")],
    }
}

fn verdict(
    mut problems: Vec<Problem>,
    what: &str,
    strict: bool,
    style: Style,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> u8 {
    if strict {
        let warnings = problems.iter_mut().filter(|p| p.severity == Severity::Warning);
        warnings.for_each(|problem| problem.severity = Severity::Error);
    }
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    let outcome = if failed { "rinit would start nothing" } else { "" };
    stderr.extend_from_slice(diagnostics::render(&problems, outcome, style).as_bytes());
    if failed {
        return EXIT_CONFIG;
    }
    let _ = writeln!(stdout, "{what}: may be started");
    0
}

fn help(
    parser: &mut Parser,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> Result<u8, lexopt::Error> {
    let Some(argument) = parser.next()? else {
        for row in directive::all() {
            let section = row.section.name();
            let _ = writeln!(stdout, "[{section}] {:<28} {}", row.name, row.doc);
        }
        return Ok(0);
    };
    let Arg::Value(name) = argument else {
        return Err(argument.unexpected());
    };
    let name = name.string()?;
    if let Some(text) = directive::help(&name) {
        stdout.extend_from_slice(text.as_bytes());
        return Ok(0);
    }
    let known = directive::all().map(|row| row.name);
    let _ = match value::suggest(&name, known) {
        Some(near) => writeln!(stderr, "rinitctl: no directive {name}; did you mean {near}?"),
        None => writeln!(stderr, "rinitctl: no directive {name}; rinitctl help lists them"),
    };
    Ok(EXIT_USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exit status, then both streams.
    fn rinitctl(arguments: &[&str]) -> (u8, String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let arguments = arguments.iter().map(OsString::from).collect();
        let style = Style { colour: false, notes: true };
        let code = run(arguments, &Environment::new(), style, &mut stdout, &mut stderr);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(stdout), text(stderr))
    }

    #[test]
    fn usage() {
        for (arguments, code, out, err) in [
            (&["--help"][..], 0, "usage: rinitctl", ""),
            (&["--version"], 0, "rinitctl 0.", ""),
            (&[], 64, "", "say what to do"),
            (&["chek"], 64, "", "did you mean check?"),
            (&["frobnicate"], 64, "", "unknown verb frobnicate"),
            (&["--frob"], 64, "", "--frob"),
            (&["check", "--units"], 64, "", "--units"),
            (&["check", "-x"], 64, "", "-x"),
            (&["help"], 0, "RestartSec", ""),
            (&["help", "RestartSec"], 0, "[Service] RestartSec=", ""),
            (&["help", "RestartSecs"], 64, "", "did you mean RestartSec?"),
        ] {
            let (found, stdout, stderr) = rinitctl(arguments);
            assert_eq!(found, code, "{arguments:?}: {stderr}");
            assert!(stdout.contains(out), "{arguments:?}: {stdout}");
            assert!(stderr.contains(err), "{arguments:?}: {stderr}");
        }
    }

    #[test]
    fn check_tells_by_its_status() {
        let directory = tempfile::tempdir().unwrap();
        let units = directory.path().display().to_string();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let web = file("web.toml", "[Service]\nExecStart = '/bin/sh'\n");
        assert_eq!(rinitctl(&["check", "--units", &units]).0, 0);
        assert_eq!(rinitctl(&["check", &web]).0, 0);
        file("web.toml", "[Unit]\nAfter = 'x.service'\n[Service]\nExecStart = '/bin/sh'\n");
        assert_eq!(rinitctl(&["check", "--units", &units]).0, 0, "a warning");
        let (code, _, stderr) = rinitctl(&["check", "--strict", "--units", &units]);
        assert_eq!(code, 78);
        assert!(stderr.ends_with("1 error: rinit would start nothing\n"), "{stderr}");
        file("web.toml", "[Service]\nExecStrt = '/bin/sh'\n");
        assert_eq!(rinitctl(&["check", &web]).0, 78);
        assert_eq!(rinitctl(&["check", "--units", "/no/such/directory"]).0, 78);
    }
}
