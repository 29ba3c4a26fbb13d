//! The instances of a service in `status`: how many, how each is, and how far a roll has come.
//!
//! Not their numbers' meaning (`manager::instances`). **Invariant:** without colour and with
//! `--plain` the same words are there.

use std::time::Duration;

use super::connect::Session;
use super::failure::Failure;
use super::fit;
use super::properties::Properties;
use super::resources;
use super::screen::{Look, Tint};
use super::status::FIELD;
use super::time::{Timestamp, span};

use crate::cli::diagnostics::one_line;

/// The instances of a service; none of another.
///
/// # Errors
/// What the call fails with.
pub fn of(session: &mut Session, unit: &Properties) -> Result<Vec<Properties>, Failure> {
    let mut found = Vec::new();
    for name in unit.names("Instances") {
        match Properties::of(session, &name) {
            Ok(instance) => found.push(instance),
            Err(failure) if failure.code == super::NO_SUCH_UNIT => {} // it went meanwhile
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

/// Whether an event of `name` is one of `unit`, or of one of its instances.
pub fn is_of(name: &str, unit: &str) -> bool {
    let number = || {
        let stem = unit.strip_suffix(".service")?;
        let rest = name.strip_suffix(".service")?.strip_prefix(stem)?.strip_prefix('@')?;
        rest.split('+').next()?.parse::<u32>().ok()
    };
    name == unit || number().is_some()
}

/// `4 wanted, 3 ready, 1 exhausted`.
pub fn counts(unit: &Properties, look: Look) -> String {
    let (wanted, ready) = (unit.number("InstancesWanted"), unit.number("InstancesReady"));
    if wanted == 0 && unit.names("Instances").is_empty() {
        return String::new();
    }
    let short = format!("{wanted} wanted, {ready} ready");
    let mut words = if ready < wanted { look.paint(Tint::Busy, &short) } else { short };
    for (name, what) in [("InstancesExhausted", "exhausted"), ("InstancesOutdated", "outdated")] {
        if unit.number(name) > 0 {
            words += &format!(", {} {what}", unit.number(name));
        }
    }
    words
}

/// `1 of 4 replaced, now web@2.service`.
pub fn roll(unit: &Properties) -> String {
    if !unit.flag("Rolling") {
        return String::new();
    }
    let (done, total) = (unit.number("RollDone"), unit.number("RollTotal"));
    let what = if unit.flag("RollBack") { "going back" } else { "replaced" };
    let current = unit.names("RollCurrent");
    let now =
        if current.is_empty() { String::new() } else { format!(", now {}", current.join(" ")) };
    format!("{done} of {total} {what}{now}")
}

/// One line for each, below the counts.
pub fn tree(instances: &[Properties], now: Duration, look: Look) -> String {
    let (more, last) = match (look.plain, look.unicode) {
        (true, _) => ("", ""),
        (false, true) => ("├─ ", "└─ "),
        (false, false) => ("|- ", "`- "),
    };
    let width = instances.iter().map(|it| it.text("Id").chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (at, instance) in instances.iter().enumerate() {
        let branch = if at + 1 == instances.len() { last } else { more };
        let state =
            look.paint(Tint::of_active(instance.text("ActiveState")), instance.text("SubState"));
        let words = words(instance, now).join(", ");
        let gap = if words.is_empty() { "" } else { "  " };
        let line = format!("{branch}{:width$}  {state}{gap}{words}", instance.text("Id"));
        lines.push(line);
    }
    // Below the values of the fields, unless a terminal is too narrow for that.
    let widest = lines.iter().map(|line| fit::width(line)).max().unwrap_or(0);
    let narrow = look.columns.is_some_and(|columns| FIELD + widest > columns);
    let indent = if narrow { 2 } else { FIELD };
    lines.iter().map(|line| look.fitted(&format!("{:indent$}{line}", "")) + "\n").collect()
}

/// `pid 12`, `for 5min`, `healthy`, `memory 12M/64M`, `2 restarts`, its own words: what matters
/// most first, for a narrow terminal may cut the rest.
fn words(instance: &Properties, now: Duration) -> Vec<String> {
    let mut words = Vec::new();
    if instance.number("MainPID") > 0 {
        words.push(format!("pid {}", instance.number("MainPID")));
    }
    if !matches!(instance.text("Result"), "" | "success") {
        words.push(instance.text("Result").to_owned());
    }
    if let Some(since) = Timestamp::parse(instance.text("StateChangeTimestamp")) {
        words.push(format!("for {}", span(now.saturating_sub(since.since_epoch()))));
    }
    if instance.flag("Exhausted") {
        words.push("exhausted".to_owned());
    }
    if !instance.text("Health").is_empty() {
        words.push(instance.text("Health").to_owned());
    }
    if !resources::against_cap(instance).is_empty() {
        words.push(format!("memory {}", resources::against_cap(instance)));
    }
    match instance.number("NRestarts") {
        0 => {}
        1 => words.push("1 restart".to_owned()),
        number => words.push(format!("{number} restarts")),
    }
    if !instance.text("StatusText").is_empty() {
        words.push(format!("\"{}\"", one_line(instance.text("StatusText"))));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::{Value, json};

    const NOW: Duration = Duration::from_secs(1_795_269_789); // 2026-11-21 14:03:09

    fn properties(value: Value) -> Properties {
        let Value::Object(fields) = value else { panic!("an object") };
        Properties(fields)
    }

    #[test]
    fn a_tree() {
        let good = json!({"Id": "web@1.service", "ActiveState": "active", "SubState": "running",
            "MainPID": 12, "Result": "success", "NRestarts": 2, "Health": "healthy",
            "StateChangeTimestamp": "2026-11-21T13:58:09.000001Z", "StatusText": "warm"});
        let bad = json!({"Id": "web@10.service", "ActiveState": "activating",
            "SubState": "auto-restart", "Result": "exit-code", "Exhausted": true, "NRestarts": 1});
        let instances = [properties(good), properties(bad)];
        let expected = expect![[r#"
            below
                         |- web@1.service   running  pid 12, for 4min 59s, healthy, 2 restarts, "warm"
                         `- web@10.service  auto-restart  exit-code, exhausted, 1 restart
        "#]];
        expected.assert_eq(&format!("below\n{}", tree(&instances, NOW, Look::default())));
        assert_eq!(tree(&[], NOW, Look::default()), "");
    }

    #[test]
    fn the_service_itself() {
        let unit = properties(json!({"Instances": ["web@1.service"], "InstancesWanted": 4,
            "InstancesReady": 3, "InstancesExhausted": 1, "Rolling": true, "RollDone": 1,
            "RollTotal": 4, "RollCurrent": ["web@2.service"]}));
        assert_eq!(counts(&unit, Look::default()), "4 wanted, 3 ready, 1 exhausted");
        assert_eq!(roll(&unit), "1 of 4 replaced, now web@2.service");
        let plain = properties(json!({"Instances": []}));
        assert_eq!((counts(&plain, Look::default()), roll(&plain)), (String::new(), String::new()));
    }

    #[test]
    fn whose_events() {
        for (name, unit, is) in [
            ("web.service", "web.service", true),
            ("web@2.service", "web.service", true),
            ("web@2+new.service", "web.service", true),
            ("web@x.service", "web.service", false),
            ("webs@2.service", "web.service", false),
            ("web@2.service", "web@2.service", true),
            ("web.service", "web@2.service", false),
        ] {
            assert_eq!(is_of(name, unit), is, "{name} {unit}");
        }
    }
}
