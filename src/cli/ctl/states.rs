//! `is-active`, `is-failed`, `is-system-running`, `kill`, `reset-failed`, `shutdown`: a word or nothing.
//!
//! Made for scripts: the exit status is the answer (`systemctl`'s, LSB's for "not active").

use serde_json::json;

use super::args::Kill;
use super::connect::Session;
use super::events::text;
use super::failure::Failure;
use super::properties::Properties;
use super::screen::Screen;
use super::{DONE, FAILED, NO_SUCH_UNIT, NOT_ACTIVE, names};
use crate::control::client::CallError;

/// `is-active` and `is-failed`: one of the units is in one of these states; if not, `otherwise`.
pub fn any(
    words: &[String],
    states: &[&str],
    otherwise: u8,
    quiet: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut code = otherwise;
    for unit in names::resolve(session, words)? {
        match Properties::of(session, &unit) {
            Ok(properties) => {
                let state = properties.text("ActiveState");
                if states.contains(&state) {
                    code = DONE;
                }
                if !quiet {
                    screen.out(&format!("{state}\n"));
                }
            }
            Err(failure) if failure.code == NO_SUCH_UNIT => {
                screen.err(&failure.line());
                code = if code == DONE { DONE } else { NO_SUCH_UNIT };
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(code)
}

/// The verb `is-active`.
pub fn is_active(
    words: &[String],
    quiet: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    any(words, &["active", "reloading"], NOT_ACTIVE, quiet, session, screen)
}

/// The verb `is-failed`.
pub fn is_failed(
    words: &[String],
    quiet: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    any(words, &["failed"], FAILED, quiet, session, screen)
}

/// The verb `is-system-running`.
pub fn is_system_running(
    quiet: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let reply = session.call("SystemState", &json!({}))?;
    let state = text(&reply, "state");
    if !quiet {
        screen.out(&format!("{state}\n"));
    }
    Ok(if state == "running" { DONE } else { FAILED })
}

/// The verb `kill`.
pub fn kill(
    arguments: &Kill,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let units = names::resolve(session, &arguments.units.units)?;
    each(&units, screen, |unit| {
        let whom = arguments.kill_whom.as_str();
        let parameters = json!({ "unit": unit, "signal": arguments.signal, "whom": whom });
        let done = session.call("Kill", &parameters);
        done.map(drop).map_err(|failure| failure.during(&format!("kill {unit}")))
    })
}

/// The verb `reset-failed`.
pub fn reset_failed(
    words: &[String],
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    if words.is_empty() {
        return session.call("ResetFailed", &json!({})).map(|_| DONE);
    }
    let units = names::resolve(session, words)?;
    each(&units, screen, |unit| {
        let done = session.call("ResetFailed", &json!({ "unit": unit }));
        done.map(drop).map_err(|failure| failure.during(&format!("reset {unit}")))
    })
}

/// Does it for each, tells each failure, gives the highest status.
fn each(
    units: &[String],
    screen: &mut Screen<'_>,
    mut act: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut code = DONE;
    for unit in units {
        if let Err(failure) = act(unit) {
            screen.err(&failure.line());
            code = code.max(failure.code);
        }
    }
    Ok(code)
}

/// The verb `shutdown`: until rinit is gone, which ends the connection.
pub fn shutdown(session: &mut Session) -> Result<u8, Failure> {
    session.call("Shutdown", &json!({}))?;
    let deadline = session.deadline();
    loop {
        match session.client().reply(deadline) {
            Ok(_) => (),
            Err(CallError::Closed | CallError::Io(_)) => return Ok(DONE),
            Err(error) => return Err(Failure::of_call(error)),
        }
    }
}
