//! `events`: what happens, and what has happened, as lines or JSON.
//!
//! Not where events come from (`init`). **Invariant:** in JSON an event is passed on as it came,
//! key for key.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::Events;
use super::connect::Session;
use super::failure::Failure;
use super::screen::{Look, Screen, Tint};
use super::time::Timestamp;
use super::{DONE, TIMED_OUT, instances, names};
use crate::cli::diagnostics::one_line;
use crate::control::client::CallError;

/// The stream has no mark between what is remembered and what comes: what is remembered comes in
/// one piece, so a pause as long as this is its end.
const PAUSE: Duration = Duration::from_millis(150);
/// And the first of it comes as soon as any answer.
const FIRST: Duration = Duration::from_secs(25);

/// The verb.
pub fn events(
    arguments: &Events,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let unit = arguments.unit.as_deref().map(names::full);
    if !arguments.follow {
        let remembered = recent(session, unit.as_deref())?;
        remembered.iter().for_each(|event| print(event, unit.is_none(), json, screen));
        return Ok(DONE);
    }
    if let Some(unit) = &unit {
        // An unknown unit would be a stream in which nothing ever happens.
        session.call("Describe", &json!({ "unit": unit }))?;
    }
    let deadline = session.deadline();
    let parameters = json!({ "unit": unit, "recent": !arguments.new });
    let client = session.client();
    client.send("Events", &parameters, true, deadline).map_err(Failure::of_call)?;
    while !screen.is_gone() {
        let reply = match client.reply(deadline) {
            Ok(reply) => reply.parameters,
            Err(CallError::TimedOut) => return Ok(TIMED_OUT),
            Err(CallError::Closed) => return Ok(DONE), // rinit has ended, and that was the last event
            Err(error) => return Err(Failure::of_call(error)),
        };
        if let Some(count) = reply.get("dropped").and_then(Value::as_u64).filter(|n| *n > 0) {
            screen.err(&format!("rinitctl: {count} older events are no longer remembered\n"));
        }
        if let Some(event) = reply.get("event") {
            print(event, unit.is_none(), json, screen);
        }
    }
    Ok(DONE)
}

fn print(event: &Value, with_unit: bool, json: bool, screen: &mut Screen<'_>) {
    if json {
        screen.json(event);
        return;
    }
    let time = Timestamp::parse(text(event, "time")).map_or_else(String::new, Timestamp::precise);
    let line = format!("{time} {}\n", line(event, with_unit, screen.look));
    screen.out(&line);
}

/// What is remembered, the oldest first: of a unit, or of all.
///
/// # Errors
/// What the call fails with.
pub fn recent(session: &mut Session, unit: Option<&str>) -> Result<Vec<Value>, Failure> {
    if let Some(unit) = unit {
        // Else an unknown unit would be one that nothing has happened to.
        session.call("Describe", &json!({ "unit": unit }))?;
    }
    let mut client = session.another()?;
    // Of all units, because something has always happened: the first event is worth waiting for.
    let mut deadline = Instant::now() + FIRST;
    let parameters = json!({ "recent": true });
    client.send("Events", &parameters, true, Some(deadline)).map_err(Failure::of_call)?;
    let mut events = Vec::new();
    loop {
        match client.reply(Some(deadline)) {
            Ok(mut reply) => events.extend(reply.parameters.get_mut("event").map(Value::take)),
            Err(CallError::TimedOut | CallError::Closed) => break,
            Err(error) => return Err(Failure::of_call(error)),
        }
        deadline = Instant::now() + PAUSE;
    }
    events.retain(|event| unit.is_none_or(|unit| instances::is_of(text(event, "unit"), unit)));
    Ok(events)
}

/// A text of an event.
pub fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// An event without its time.
pub fn line(event: &Value, with_unit: bool, look: Look) -> String {
    let message = look.symbols(&one_line(text(event, "message")));
    let tint = match text(event, "level") {
        "error" => Tint::Bad,
        "warn" => Tint::Busy,
        "debug" => Tint::Faint,
        _ => Tint::None,
    };
    let message = look.paint(tint, &message);
    match (with_unit, text(event, "unit")) {
        (false, _) => message,
        (true, "") => format!("rinit: {message}"),
        (true, unit) => format!("{unit}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let event = json!({"time": "2026-01-31T12:00:00.012345Z", "level": "debug", "event": "state",
            "unit": "web.service", "message": "dead → start"});
        assert_eq!(line(&event, true, Look::default()), "web.service: dead -> start");
        assert_eq!(line(&event, false, Look::default()), "dead -> start");
        let fancy = Look { unicode: true, colour: true, ..Look::default() };
        assert_eq!(line(&event, false, fancy), "\x1b[2mdead → start\x1b[0m");
        let whole = json!({"unit": null, "level": "info", "message": "boot done in 3ms"});
        assert_eq!(line(&whole, true, Look::default()), "rinit: boot done in 3ms");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::new(&mut out, &mut err, Look::default());
        print(&event, true, false, &mut screen);
        print(&whole, true, true, &mut screen);
        let expected = format!("2026-01-31 12:00:00.012 web.service: dead -> start\n{whole}\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
