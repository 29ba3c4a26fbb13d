//! `wait`: until units are in a state.
//!
//! **Invariant:** no change is missed: first the state is asked for, then the events are read, the
//! remembered ones too, and only what is newer than the answer counts.

use std::time::Instant;

use serde_json::{Value, json};

use super::args::Goal;
use super::connect::Session;
use super::events::text;
use super::failure::Failure;
use super::properties::Properties;
use super::screen::Screen;
use super::{DONE, FAILED, TIMED_OUT, names};
use crate::control::client::CallError;

/// The verb.
pub fn wait(
    words: &[String],
    goal: Goal,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut code = DONE;
    for unit in names::resolve(session, words)? {
        let end = one(&unit, goal, session, screen)?;
        screen.clear_progress();
        match end {
            End::Reached => (),
            End::Failed(result) => {
                screen.err(&format!(
                    "rinitctl: {unit} failed ({result}) and is not {}\n",
                    goal.as_str()
                ));
                code = code.max(FAILED);
            }
            End::TimedOut(state) => {
                let goal = goal.as_str();
                screen.err(&format!("rinitctl: {unit} is {state}, not {goal}: the time is over\n"));
                code = code.max(TIMED_OUT);
            }
        }
    }
    Ok(code)
}

enum End {
    Reached,
    /// With this result.
    Failed(String),
    /// In this state.
    TimedOut(String),
}

/// Whether a state ends the wait.
fn verdict(goal: Goal, active: &str, result: &str) -> Option<End> {
    let reached = match goal {
        Goal::Active => matches!(active, "active" | "reloading"),
        Goal::Inactive => active == "inactive",
        Goal::Failed => active == "failed",
    };
    match (reached, active) {
        (true, _) => Some(End::Reached),
        (false, "failed") => Some(End::Failed(result.to_owned())),
        (false, _) => None,
    }
}

fn one(
    unit: &str,
    goal: Goal,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<End, Failure> {
    loop {
        let properties = Properties::of(session, unit)?;
        let state = properties.text("ActiveState").to_owned();
        if let Some(end) = verdict(goal, &state, properties.text("Result")) {
            return Ok(end);
        }
        let deadline = session.deadline();
        screen.progress(&format!("waiting until {unit} is {} (now: {state})", goal.as_str()));
        let asked = properties.number("StateChangeTimestampMonotonic");
        // Else events were lost: once more from the start.
        if let Some(end) = watch(unit, goal, asked, state, deadline, session)? {
            return Ok(end);
        }
    }
}

/// Reads events until one ends the wait; `None` if some were lost.
fn watch(
    unit: &str,
    goal: Goal,
    asked: u64,
    mut state: String,
    deadline: Option<Instant>,
    session: &Session,
) -> Result<Option<End>, Failure> {
    let mut client = session.another()?;
    let parameters = json!({ "unit": unit, "recent": true });
    client.send("Events", &parameters, true, deadline).map_err(Failure::of_call)?;
    loop {
        let reply = match client.reply(deadline) {
            Ok(reply) => reply.parameters,
            Err(CallError::TimedOut) => return Ok(Some(End::TimedOut(state))),
            Err(CallError::Refused(name, _)) if name == "TooSlow" => return Ok(None),
            Err(error) => return Err(Failure::of_call(error)),
        };
        let event = reply.get("event").cloned().unwrap_or_default();
        let at = event.get("monotonic_usec").and_then(Value::as_u64);
        let newer = at.is_some_and(|at| at > asked);
        let lost = reply.get("dropped").and_then(Value::as_u64).is_some_and(|count| count > 0);
        if lost && newer {
            return Ok(None);
        }
        if text(&event, "event") != "state" || !newer {
            continue;
        }
        text(&event, "active").clone_into(&mut state);
        if let Some(end) = verdict(goal, &state, text(&event, "result")) {
            return Ok(Some(end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_wait() {
        for (goal, active, end) in [
            (Goal::Active, "active", "reached"),
            (Goal::Active, "reloading", "reached"),
            (Goal::Active, "activating", "goes on"),
            (Goal::Active, "inactive", "goes on"),
            (Goal::Active, "failed", "failed"),
            (Goal::Inactive, "inactive", "reached"),
            (Goal::Inactive, "failed", "failed"),
            (Goal::Failed, "failed", "reached"),
            (Goal::Failed, "inactive", "goes on"),
        ] {
            let found = match verdict(goal, active, "exit-code") {
                Some(End::Reached) => "reached",
                Some(End::Failed(_)) => "failed",
                Some(End::TimedOut(_)) => "timed out",
                None => "goes on",
            };
            assert_eq!(found, end, "{goal:?} {active}");
        }
    }
}
