//! `rinitctl`: looks at a running rinit and its units, and changes what runs.
//!
//! The modules in reading order: what is typed, how rinit is found, the verbs, how things are drawn.
//! Only `rinitctl` uses them: `rinit` itself has no clap in it. **Invariant:** what goes wrong is
//! one sentence on standard error and an exit status that means the same for every verb.

pub mod args;
pub mod usage;

pub mod connect;
pub mod failure;
pub mod names;
pub mod properties;

pub mod analyze;
pub mod dependencies;
pub mod events;
pub mod instances;
pub mod jobs;
pub mod list;
mod logs;
mod plot;
pub mod reload;
pub mod resources;
pub mod show;
pub mod states;
pub mod status;
pub mod systemctl;
mod top;
pub mod wait;

pub mod check;
pub mod help;

pub mod fit;
pub mod screen;
pub mod table;
pub mod time;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use crate::unit::environment::Environment;
use args::{Analyze, Arguments, Options, Verb};
use connect::Session;
use failure::Failure;
use screen::{Look, Screen};
use usage::Told;

/// Done, or what was asked is so.
const DONE: u8 = 0;
/// Failed.
const FAILED: u8 = 1;
/// The unit is not active (LSB's status 3, as systemctl).
const NOT_ACTIVE: u8 = 3;
/// There is no such unit.
const NO_SUCH_UNIT: u8 = 4;
/// The time was over.
const TIMED_OUT: u8 = 5;
/// There is no rinit to talk to.
const NOT_THERE: u8 = 6;
/// Wrong usage (sysexits.h).
const USAGE: u8 = 64;
/// The units on disk have errors (sysexits.h).
const CONFIGURATION: u8 = 78;

/// The whole program.
pub fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let environment = std::env::vars_os().collect();
    let look = Look::of_streams(&environment);
    let (mut out, mut err) = (io::stdout(), io::stderr());
    if arguments.first().is_some_and(|name| systemctl::is_name(name)) {
        let mut screen = Screen::new(&mut out, &mut err, look);
        let code = systemctl::run(arguments, &environment, &mut screen);
        return ExitCode::from(screen.close(code));
    }
    arguments.drain(..arguments.len().min(1));
    ExitCode::from(run(arguments, &environment, look, &mut out, &mut err))
}

/// What was asked, done: text for both streams, and the exit status.
pub fn run(
    arguments: Vec<OsString>,
    environment: &Environment,
    look: Look,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> u8 {
    let mut screen = Screen::new(out, err, look);
    let code = asked(arguments, environment, &mut screen);
    screen.close(code)
}

fn asked(arguments: Vec<OsString>, environment: &Environment, screen: &mut Screen<'_>) -> u8 {
    let name = OsString::from("rinitctl");
    let arguments = match Arguments::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            return match usage::tell(&error) {
                Told::Help(text) => {
                    screen.out(&text);
                    DONE
                }
                Told::Wrong(text) => {
                    screen.err(&text);
                    USAGE
                }
            };
        }
    };
    screen.look = screen.look.with(&arguments.options);
    let code = match alone(&arguments.verb, &arguments.options, environment, screen) {
        Some(code) => Ok(code),
        None => with_rinit(&arguments.verb, &arguments.options, environment, screen),
    };
    screen.clear_progress();
    code.unwrap_or_else(|failure| {
        screen.err(&failure.line());
        failure.code
    })
}

/// The verbs that need no running rinit, and what needs none to be refused.
fn alone(
    verb: &Verb,
    options: &Options,
    environment: &Environment,
    screen: &mut Screen<'_>,
) -> Option<u8> {
    match verb {
        Verb::Check(arguments) | Verb::Analyze { what: Some(Analyze::Verify(arguments)) } => {
            Some(check::check(arguments, environment, screen))
        }
        Verb::Help { name } => Some(help::help(name.as_deref(), screen)),
        Verb::Completions { shell } => Some(help::completions(*shell, screen)),
        Verb::Man { directory } => Some(help::man(directory.as_deref(), screen)),
        Verb::Top => top::refusal(options).map(|failure| {
            screen.err(&failure.line());
            failure.code
        }),
        Verb::Status { .. }
        | Verb::ListUnits(_)
        | Verb::Show { .. }
        | Verb::Cat(_)
        | Verb::Start(_)
        | Verb::Stop(_)
        | Verb::Restart(_)
        | Verb::Reload(_)
        | Verb::Scale(_)
        | Verb::Kill(_)
        | Verb::Events(_)
        | Verb::Logs(_)
        | Verb::Wait { .. }
        | Verb::IsActive { .. }
        | Verb::IsFailed { .. }
        | Verb::IsSystemRunning { .. }
        | Verb::ResetFailed { .. }
        | Verb::ListDependencies(_)
        | Verb::DaemonReload
        | Verb::Apply { .. }
        | Verb::Analyze { .. }
        | Verb::Shutdown => None,
    }
}

fn with_rinit(
    verb: &Verb,
    options: &Options,
    environment: &Environment,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let json = options.json;
    let mut session = Session::open(options, environment)?;
    if *verb == Verb::Top {
        return top::top(session, screen); // its threads keep the session
    }
    let session = &mut session;
    match verb {
        Verb::Status { units, lines } => status::status(units, *lines, json, session, screen),
        Verb::ListUnits(arguments) => list::list_units(arguments, json, session, screen),
        Verb::Show { units, property, value } => {
            let wanted = show::Wanted { properties: property, value: *value, json };
            show::show(&units.units, &wanted, session, screen)
        }
        Verb::Cat(units) => show::cat(&units.units, json, session, screen),
        Verb::Start(job) => jobs::run(jobs::Kind::Start, job, json, session, screen),
        Verb::Stop(job) => jobs::run(jobs::Kind::Stop, job, json, session, screen),
        Verb::Restart(job) => jobs::run(jobs::Kind::Restart, job, json, session, screen),
        Verb::Reload(job) => jobs::run(jobs::Kind::Reload, job, json, session, screen),
        Verb::Scale(scale) => jobs::scale(scale, json, session, screen),
        Verb::Kill(arguments) => states::kill(arguments, session, screen),
        Verb::Events(arguments) => events::events(arguments, json, session, screen),
        Verb::Logs(arguments) => logs::logs(arguments, json, session, screen),
        Verb::Wait { units, goal } => wait::wait(&units.units, *goal, session, screen),
        Verb::IsActive { units, quiet } => states::is_active(&units.units, *quiet, session, screen),
        Verb::IsFailed { units, quiet } => states::is_failed(&units.units, *quiet, session, screen),
        Verb::IsSystemRunning { quiet } => states::is_system_running(*quiet, session, screen),
        Verb::ResetFailed { units } => states::reset_failed(units, session, screen),
        Verb::ListDependencies(arguments) => {
            dependencies::list_dependencies(arguments, json, session, screen)
        }
        Verb::Analyze { what } => {
            analyze::analyze(what.as_ref().unwrap_or(&Analyze::Time), json, session, screen)
        }
        Verb::DaemonReload => reload::daemon_reload(json, session, screen),
        Verb::Apply { dry_run } => reload::apply(*dry_run, json, session, screen),
        Verb::Shutdown => states::shutdown(session),
        Verb::Check(_)
        | Verb::Help { .. }
        | Verb::Completions { .. }
        | Verb::Man { .. }
        | Verb::Top => Ok(DONE),
    }
}

#[cfg(test)]
mod tests;
