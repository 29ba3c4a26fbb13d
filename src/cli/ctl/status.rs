//! `status`: how a unit is, since when, why, and what happens next; or how all is.
//!
//! Not for scripts, which `show` and `--json` serve. The words are those of `systemctl status`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::connect::Session;
use super::events::{self, line, recent};
use super::failure::Failure;
use super::fit::width;
use super::instances;
use super::list::text;
use super::logs;
use super::properties::Properties;
use super::screen::{Look, Screen, Tint};
use super::show::one_or_many;
use super::time::{Timestamp, ago, left};
use super::{DONE, NOT_ACTIVE, names, resources};
use crate::cli::diagnostics::one_line;

/// Where the values of fields begin.
pub const FIELD: usize = 13;

/// The verb.
pub fn status(
    words: &[String],
    lines: usize,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    if words.is_empty() {
        return whole(json, session, screen);
    }
    let (mut code, mut all) = (DONE, Vec::new());
    let units = names::resolve(session, words)?;
    let remembered = recent(session, None)?;
    for (at, unit) in units.iter().enumerate() {
        let properties = match Properties::of(session, unit) {
            Ok(properties) => properties,
            Err(failure) => {
                screen.err(&failure.line());
                code = code.max(failure.code);
                continue;
            }
        };
        let of_unit = remembered.iter().filter(|event| instances::is_of(text(event, "unit"), unit));
        let shown = of_unit.filter(|event| json || text(event, "level") != "debug");
        let mut events: Vec<Value> = shown.cloned().collect();
        events.drain(..events.len().saturating_sub(lines));
        if matches!(properties.text("ActiveState"), "inactive" | "failed") {
            code = code.max(NOT_ACTIVE);
        }
        // A rinit that remembers no lines is told about all the same.
        let written = session.another().ok();
        let written = written.and_then(|mut client| logs::last(&mut client, unit, lines).ok());
        let written = written.unwrap_or_default();
        if json {
            let mut fields = properties.0;
            fields.insert("Events".to_owned(), Value::Array(events));
            fields.insert("Lines".to_owned(), Value::Array(written));
            all.push(Value::Object(fields));
        } else {
            let gap = if at == 0 { "" } else { "\n" };
            let instances = instances::of(session, &properties)?;
            let mut text = render(&properties, &instances, &events, now(), screen.look);
            text += &render_lines(&written, screen.look);
            screen.out(&format!("{gap}{text}"));
        }
    }
    if json {
        screen.json(&one_or_many(all));
    }
    Ok(code)
}

/// Since 1970, to say how long ago something was.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn render(
    unit: &Properties,
    instances: &[Properties],
    events: &[Value],
    now: Duration,
    look: Look,
) -> String {
    let mut text = heading(unit, look);
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            text += &format!("{name:>11}: {value}\n");
        }
    };
    field("Loaded", loaded(unit));
    field("Active", active(unit, now, look));
    field("Job", job(unit));
    field("Next", next(unit));
    field("Main PID", if instances.is_empty() { main_pid(unit) } else { String::new() });
    field("Control PID", positive(unit.number("ControlPID")));
    field("Restarts", positive(unit.number("NRestarts")));
    field("Health", health(unit, look));
    field("Status", said(unit));
    field("Tasks", resources::tasks(unit));
    field("Memory", resources::memory(unit));
    field("CPU", resources::cpu(unit));
    field("CGroup", control_group(unit, look));
    field("Stored fds", positive(unit.number("NFileDescriptorStore")));
    field("Roll", instances::roll(unit));
    field("Instances", instances::counts(unit, look));
    if unit.flag("NeedDaemonReload") {
        let warning = "its definition on disk has changed: rinitctl apply, or daemon-reload";
        field("Warning", look.paint(Tint::Busy, warning));
    }
    text += &instances::tree(instances, now, look);
    if !events.is_empty() {
        text.push('\n');
    }
    for event in events {
        let time = Timestamp::parse(events::text(event, "time"));
        let time = time.map_or_else(String::new, Timestamp::short);
        let own = events::text(event, "unit") == unit.text("Id");
        text += &look.fitted(&format!("{time} {}", line(event, !own, look)));
        text.push('\n');
    }
    text
}

/// What it wrote.
fn render_lines(lines: &[Value], look: Look) -> String {
    let gap = if lines.is_empty() { "" } else { "\n" };
    let line = |line| logs::untabbed(&logs::render(line, |time| time.short(), look));
    let lines = lines.iter().map(|it| look.fitted(&line(it)) + "\n");
    gap.to_owned() + &lines.collect::<String>()
}

/// `● web.service - The web server`.
fn heading(unit: &Properties, look: Look) -> String {
    let state = unit.text("ActiveState");
    let dot = match (state, look.unicode) {
        ("inactive", true) => "○",
        ("failed", true) => "×",
        ("reloading", true) => "↻",
        ("failed", false) => "x",
        (_, true) => "●",
        (_, false) => "*",
    };
    let dot =
        if look.plain { String::new() } else { look.paint(Tint::of_active(state), dot) + " " };
    let description = match unit.text("Description") {
        "" => String::new(),
        text if text == unit.text("Id") => String::new(),
        text => format!(" - {}", one_line(text)),
    };
    format!("{dot}{}{description}\n", unit.text("Id"))
}

fn loaded(unit: &Properties) -> String {
    let state = match unit.text("LoadState") {
        "" => "loaded",
        state => state,
    };
    let path = unit.text("FragmentPath");
    let step = if unit.flag("Step") { "step" } else { "" };
    let known: Vec<&str> = [path, step].into_iter().filter(|part| !part.is_empty()).collect();
    match known.as_slice() {
        [] => state.to_owned(),
        known => format!("{state} ({})", known.join("; ")),
    }
}

/// `active (running) since Sat 2026-11-21 14:03:09 UTC; 5min ago`.
fn active(unit: &Properties, now: Duration, look: Look) -> String {
    let (state, sub) = (unit.text("ActiveState"), unit.text("SubState"));
    let mut words = state.to_owned();
    if sub != state && !sub.is_empty() {
        words += &format!(" ({sub})");
    }
    if !matches!(unit.text("Result"), "" | "success") {
        words += &format!(" (Result: {})", unit.text("Result"));
    }
    let mut told = look.paint(Tint::of_active(state), &words);
    if let Some(since) = Timestamp::parse(unit.text("StateChangeTimestamp")) {
        let ago = ago(now.saturating_sub(since.since_epoch()));
        // How long ago it was matters most, so that is what stays on a narrow terminal.
        let forms = [
            format!(" since {}; {ago}", since.full()),
            format!(" since {}; {ago}", since.short()),
            format!("; {ago}"),
        ];
        let left = look.columns.map(|columns| columns.saturating_sub(FIELD + width(&words)));
        let fits = |form: &&String| left.is_none_or(|left| width(form) <= left);
        told += forms.iter().find(fits).map_or("", String::as_str);
    }
    told
}

/// `stop under way`.
pub fn job(unit: &Properties) -> String {
    match unit.text("Job") {
        "" => String::new(),
        _ if unit.text("SubState") == "auto-restart" => String::new(), // that is `Next`
        verb => format!("{verb} under way"),
    }
}

/// `restarting in 4s, 3rd of 5`: the attempts in a row, and how many there may be.
pub fn next(unit: &Properties) -> String {
    if unit.text("SubState") != "auto-restart" {
        return String::new();
    }
    let delay = left(Duration::from_micros(unit.number("RestartNextUSec")));
    let (attempt, burst) = (unit.number("RestartAttempt"), unit.number("StartLimitBurst"));
    let limited = burst > 0 && unit.number("StartLimitIntervalUSec") > 0;
    let count = match attempt {
        0 => String::new(),
        _ if limited && attempt <= burst => format!(", {} of {burst}", ordinal(attempt)),
        // So slow that the limit is never met: it goes on like this.
        _ => format!(", {} in a row, without end", ordinal(attempt)),
    };
    format!("restarting in {delay}{count}")
}

fn ordinal(number: u64) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

/// What the service says of itself (`STATUS=`, `ERRNO=`).
pub fn said(unit: &Properties) -> String {
    let mut words = match one_line(unit.text("StatusText")) {
        text if text.is_empty() => String::new(),
        text => format!("\"{text}\""),
    };
    if unit.number("StatusErrno") != 0 {
        let gap = if words.is_empty() { "" } else { ", " };
        words += &format!("{gap}errno {}", unit.number("StatusErrno"));
    }
    words
}

fn health(unit: &Properties, look: Look) -> String {
    match unit.text("Health") {
        "unhealthy" => look.paint(Tint::Bad, "unhealthy"),
        word => word.to_owned(),
    }
}

/// Of a path that is too long its end: there the unit is named.
fn control_group(unit: &Properties, look: Look) -> String {
    let path = unit.text("ControlGroup");
    let most = look.columns.map_or(usize::MAX, |columns| columns.saturating_sub(FIELD));
    let excess = path.chars().count().saturating_sub(most);
    if excess == 0 {
        return path.to_owned();
    }
    let mark = if look.unicode { "…" } else { "~" };
    mark.chars().chain(path.chars().skip(excess + 1)).collect()
}

fn positive(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// The pid, or how the last one ended.
fn main_pid(unit: &Properties) -> String {
    let pid = unit.number("MainPID");
    if pid != 0 {
        return pid.to_string();
    }
    // siginfo's CLD_ codes (sigaction(2)), which systemd shows as words.
    let code = match (unit.text("ExecMainCode"), unit.number("ExecMainCode")) {
        ("", 0) => return String::new(),
        ("", 1) => "exited",
        ("", 2) => "killed",
        ("", 3) => "dumped",
        (word, _) => word,
    };
    let status = match unit.0.get("ExecMainStatus") {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "?".to_owned(),
    };
    let signal = status.parse().ok().filter(|_| code != "exited");
    let signal = signal.and_then(crate::unit::process::Signal::from_number);
    let status = signal.map_or(status, |signal| signal.name());
    format!("none (code={code}, status={status})")
}

/// How all is: `status` without a unit.
fn whole(json: bool, session: &mut Session, screen: &mut Screen<'_>) -> Result<u8, Failure> {
    let reply = session.call("SystemState", &json!({}))?;
    let state = text(&reply, "state").to_owned();
    let units = names::list(session)?;
    if json {
        let failed: Vec<&str> = of_state(&units, "failed");
        screen.json(&json!({ "SystemState": state, "NNames": units.len(),
            "NFailedUnits": failed.len(), "Units": units }));
    } else {
        let text = render_whole(&state, &units, screen.look);
        screen.out(&text);
    }
    Ok(DONE)
}

fn of_state<'a>(units: &'a [Value], active: &str) -> Vec<&'a str> {
    let wanted = units.iter().filter(|unit| text(unit, "active") == active);
    wanted.map(|unit| text(unit, "unit")).collect()
}

fn render_whole(state: &str, units: &[Value], look: Look) -> String {
    let (tint, dot) = match state {
        "running" => (Tint::Good, "●"),
        "degraded" => (Tint::Bad, "×"),
        _ => (Tint::Busy, "●"),
    };
    let dot = match (look.plain, look.unicode) {
        (true, _) => String::new(),
        (false, true) => look.paint(tint, dot) + " ",
        (false, false) => "* ".to_owned(),
    };
    let mut text = format!("{dot}rinit\n{:>11}: {}\n", "State", look.paint(tint, state));
    text += &format!("{:>11}: {} loaded\n", "Units", units.len());
    for active in ["active", "activating", "reloading", "deactivating", "inactive", "failed"] {
        let names = of_state(units, active);
        let Some((first, rest)) = names.split_first() else { continue };
        let label = look.paint(Tint::of_active(active), &format!("{active:>11}"));
        text += &format!("{label}: {first}\n");
        rest.iter().for_each(|name| text += &format!("{:>11}  {name}\n", ""));
    }
    text
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
