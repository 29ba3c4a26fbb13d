//! `daemon-reload` and `apply`: the units on disk become those of rinit.
//!
//! **Invariant:** every problem is shown, on standard error, as `check` shows it; an error is
//! status 78, and nothing was changed.

use serde_json::{Value, json};

use super::connect::Session;
use super::events::text;
use super::failure::Failure;
use super::screen::{Look, Screen, Tint};
use super::table::{self, Cell};
use super::{CONFIGURATION, DONE};
use crate::control::client::CallError;
use crate::unit::counted::counted;

/// The verb `daemon-reload`.
pub fn daemon_reload(
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let Some(reply) = ask("DaemonReload", &json!({}), json, session, screen)? else {
        return Ok(CONFIGURATION);
    };
    if json {
        screen.json(&reply);
    } else {
        problems(&reply, screen);
    }
    Ok(DONE)
}

/// The verb `apply`.
pub fn apply(
    dry_run: bool,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let parameters = json!({ "dry_run": dry_run });
    let Some(reply) = ask("Apply", &parameters, json, session, screen)? else {
        return Ok(CONFIGURATION);
    };
    if json {
        screen.json(&reply);
        return Ok(DONE);
    }
    problems(&reply, screen);
    let changes = reply.get("changes").and_then(Value::as_array);
    let changes: Vec<&Value> = changes.into_iter().flatten().collect();
    let text = render(&changes, dry_run, screen.look);
    screen.out(&text);
    Ok(DONE)
}

/// `None`: the units have errors, and they were shown.
fn ask(
    method: &str,
    parameters: &Value,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<Option<Value>, Failure> {
    let deadline = session.deadline();
    match session.client().call(method, parameters, deadline) {
        Ok(reply) => Ok(Some(reply)),
        Err(CallError::Refused(name, reply)) if name == "InvalidUnits" => {
            if json {
                screen.json(&reply);
            } else {
                problems(&reply, screen);
                screen.err("rinitctl: the units have errors; nothing was changed\n");
            }
            Ok(None)
        }
        Err(error) => Err(Failure::of_call(error)),
    }
}

fn problems(reply: &Value, screen: &mut Screen<'_>) {
    let problems = reply.get("problems").and_then(Value::as_array);
    for problem in problems.into_iter().flatten() {
        let whole = text(problem, "text").trim_end();
        let whole = if whole.is_empty() { text(problem, "message") } else { whole };
        screen.err(&format!("{whole}\n\n"));
    }
}

/// A line a change; what stays as it is is only counted.
fn render(changes: &[&Value], dry_run: bool, look: Look) -> String {
    let shown: Vec<&&Value> =
        changes.iter().filter(|change| text(change, "action") != "keep").collect();
    let kept = changes.len() - shown.len();
    let row = |change: &&&Value| {
        let tint = match text(change, "action") {
            "start" => Tint::Good,
            "stop" => Tint::Bad,
            "restart" => Tint::Busy,
            _ => Tint::Faint,
        };
        vec![
            Cell::tinted(tint, text(change, "action")),
            Cell::new(text(change, "unit")),
            Cell::tinted(Tint::Faint, text(change, "reason")),
        ]
    };
    let rows: Vec<Vec<Cell>> = shown.iter().map(row).collect();
    if changes.is_empty() {
        return "Nothing to do: what runs is as the units say.\n".to_owned();
    }
    let done = if dry_run { "would be changed" } else { "changed" };
    let acted = shown.iter().filter(|change| text(change, "action") != "skip").count();
    let kept = if kept == 0 { String::new() } else { format!(", {kept} kept as they are") };
    format!("{}{} {done}{kept}.\n", table::render(&rows, look), counted(acted, "unit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_plan() {
        let change = |unit: &str, action: &str, reason: &str| json!({"unit": unit, "action": action, "reason": reason});
        let all = [
            change("api.service", "start", "new"),
            change("db.service", "keep", ""),
            change("old.service", "stop", "removed"),
            change("step.service", "skip", "a step is not run again"),
            change("web.service", "restart", "ExecStart= changed"),
        ];
        let all: Vec<&Value> = all.iter().collect();
        expect![[r#"
            start   api.service  new
            stop    old.service  removed
            skip    step.service a step is not run again
            restart web.service  ExecStart= changed
            3 units would be changed, 1 kept as they are.
        "#]]
        .assert_eq(&render(&all, true, Look::default()));
        let one = change("api.service", "start", "it is new");
        expect![[r#"
            start api.service it is new
            1 unit changed.
        "#]]
        .assert_eq(&render(&[&one], false, Look::default()));
        assert!(render(&[], true, Look::default()).starts_with("Nothing to do"));
    }
}
