//! The last events and lines, merged by their time.
//!
//! Not how they look (`view`). **Invariant:** however much comes, only the last [`KEPT`] of
//! each kind are kept.

use std::collections::VecDeque;

use serde_json::Value;

use crate::cli::ctl::events::text;
use crate::cli::ctl::instances::is_of;
use crate::cli::ctl::logs;
use crate::cli::ctl::screen::Tint;
use crate::cli::diagnostics::one_line;

/// More than any screen has rows.
const KEPT: usize = 1_000;

/// Something that happened, or that a service wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// RFC 3339 in UTC, always of one length: its order is that of the text.
    pub time: String,
    /// The whole name; empty: rinit itself.
    pub unit: String,
    /// One line without colours.
    pub message: String,
    /// How much it matters.
    pub tint: Tint,
    /// A service wrote it.
    pub written: bool,
}

/// The last of them.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    events: VecDeque<Entry>,
    lines: VecDeque<Entry>,
    /// Why there are no lines, if that is so.
    pub no_lines: Option<String>,
}

impl Tail {
    /// One more event; what only debugging needs is left out, as in `status`.
    pub fn event(&mut self, event: &Value) {
        let tint = match text(event, "level") {
            "error" => Tint::Bad,
            "warn" => Tint::Busy,
            "debug" => return,
            _ => Tint::None,
        };
        let message = one_line(text(event, "message"));
        push(&mut self.events, entry(event, message, tint, false));
    }

    /// One more line; `dropped`: so many before it were left out.
    pub fn line(&mut self, line: &Value, dropped: u64) {
        if dropped > 0 {
            let message = format!("{dropped} lines are missing here: they came too fast");
            push(&mut self.lines, entry(line, message, Tint::Busy, false));
        }
        push(&mut self.lines, entry(line, logs::message(line), Tint::None, true));
    }

    /// From here on lines come anew, from another stream.
    pub fn restart_lines(&mut self) {
        self.lines.clear();
        self.no_lines = None;
    }

    /// The last `count`, the oldest first: of all, or of a unit and its instances.
    pub fn last(&self, count: usize, unit: Option<&str>) -> Vec<&Entry> {
        let wanted = |entry: &&Entry| unit.is_none_or(|unit| is_of(&entry.unit, unit));
        let some = |of: &'_ VecDeque<Entry>| of.iter().rev().filter(wanted).take(count).count();
        let mut found: Vec<&Entry> = Vec::with_capacity(some(&self.events));
        for of in [&self.events, &self.lines] {
            found.extend(of.iter().rev().filter(wanted).take(count));
        }
        found.reverse();
        found.sort_by(|a, b| a.time.cmp(&b.time));
        found.split_off(found.len().saturating_sub(count))
    }
}

fn entry(of: &Value, message: String, tint: Tint, written: bool) -> Entry {
    let (time, unit) = (text(of, "time").to_owned(), text(of, "unit").to_owned());
    Entry { time, unit, message, tint, written }
}

fn push(into: &mut VecDeque<Entry>, entry: Entry) {
    if into.len() >= KEPT {
        into.pop_front();
    }
    into.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: u32, unit: &str, message: &str) -> Value {
        json!({"time": format!("2026-01-31T12:00:{second:02}.000000Z"), "unit": unit,
            "level": "info", "message": message})
    }

    fn messages(tail: &Tail, count: usize, unit: Option<&str>) -> String {
        let entries = tail.last(count, unit).into_iter();
        entries.map(|entry| entry.message.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn merged_by_time_and_only_the_last() {
        let mut tail = Tail::default();
        tail.event(&at(1, "web.service", "started"));
        tail.event(&at(4, "db.service", "stopped"));
        tail.event(&json!({"time": "x", "level": "debug", "message": "dead → start"}));
        tail.line(&at(2, "web@1.service", "listening"), 0);
        tail.line(&at(3, "db.service", "ready"), 0);
        assert_eq!(messages(&tail, 9, None), "started listening ready stopped");
        assert_eq!(messages(&tail, 2, None), "ready stopped");
        assert_eq!(messages(&tail, 9, Some("web.service")), "started listening");
        assert_eq!(messages(&tail, 9, Some("web@1.service")), "listening");
        tail.restart_lines();
        assert_eq!(messages(&tail, 9, None), "started stopped");
    }

    #[test]
    fn what_was_left_out_is_said_and_memory_has_an_end() {
        let mut tail = Tail::default();
        tail.line(&at(2, "web.service", "\u{1b}[31mred\u{1b}[0m\ttab\u{7}"), 7);
        let shown = "7 lines are missing here: they came too fast red     tab\\x07";
        assert_eq!(messages(&tail, 9, None), shown);
        for _ in 0..2 * KEPT {
            tail.event(&at(1, "web.service", "started"));
            tail.line(&at(1, "web.service", "a"), 0);
        }
        assert_eq!((tail.events.len(), tail.lines.len()), (KEPT, KEPT));
    }
}
