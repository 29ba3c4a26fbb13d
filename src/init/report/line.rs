//! One line: how it looks on standard error and as an object of JSON.
//!
//! Not what it says (`words`). **Invariant:** a line is one line whatever it speaks of, and has the
//! same seven keys first whatever it tells.

use std::time::Duration;

use serde_json::{Value, json};

use super::Level;
use super::words::{Words, micros, words};
use crate::manager::event::Fact;
use crate::sys::Pid;
use crate::unit::UnitName;

/// One line to be.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub level: Level,
    pub unit: Option<UnitName>,
    pub words: Words,
}

impl Line {
    /// What is about rinit itself.
    pub fn message(level: Level, message: &str) -> Line {
        Line { level, unit: None, words: Words::message(message) }
    }

    /// What a fact by itself comes to; `pid` is the process's that it speaks of.
    pub fn of(fact: &Fact, pid: Option<Pid>) -> Line {
        Line { level: Level::of(fact), unit: fact.unit().cloned(), words: words(fact, pid) }
    }

    /// A path may have a newline in it.
    pub fn text(&self) -> String {
        let message = self.words.message.replace('\n', "\\n");
        match &self.unit {
            Some(unit) => format!("rinit: {unit}: {message}"),
            None => format!("rinit: {message}"),
        }
    }

    /// `monotonic` as the kernel's CLOCK_MONOTONIC has it, `time` as RFC 3339 does.
    pub fn json(&self, time: &str, monotonic: Duration) -> String {
        let Words { event, invocation, message, fields } = &self.words;
        let head: [(&str, Value); 7] = [
            ("time", json!(time)),
            ("monotonic_usec", json!(micros(monotonic))),
            ("level", json!(self.level.as_str())),
            ("event", json!(event)),
            ("unit", json!(self.unit.as_ref().map(UnitName::as_str))),
            ("invocation_id", json!(invocation.map(|id| id.to_string()))),
            ("message", json!(message)),
        ];
        let pairs = head.iter().chain(fields);
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    }
}
