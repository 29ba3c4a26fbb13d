//! What happened, as lines on standard error: text for people, JSON for programs.
//!
//! Not what happens (`manager` says that in [`Fact`]s), and the only place that logs. A fact gets
//! its words in `words` (those of instances in `rolling`, of ends that need more than one fact to
//! be told in `endings`), its shape in `line`, and is kept as `recorded`.
//! **Invariant:** one line a fact, no line ever waits for its reader, and the reason of a failure
//! is always in the line that tells it.

mod endings;
mod line;
mod memory;
mod recorded;
mod rolling;
mod words;

use crate::control::events::Ring;
use crate::manager::event::{Fact, ProcessId};
use crate::sys::stderr::Stderr;
use crate::sys::{Pid, clock};
use crate::unit::UnitName;
use crate::unit::problem::{Problem, Severity};
use endings::Endings;
use line::Line;
use recorded::Said;

pub use super::level::Level;
pub use recorded::Recorded;

/// `--log-format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// `rinit: web.service: …`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes lines.
#[derive(Debug)]
pub struct Reporter {
    stderr: Stderr,
    level: Level,
    format: Format,
    endings: Endings,
    /// What was said lately, whatever the level; `None`: there will be nobody to ask for it.
    recent: Option<Ring<Recorded>>,
}

impl Reporter {
    /// Lines up to `level`.
    pub fn new(level: Level, format: Format, command: Option<UnitName>) -> Reporter {
        let (endings, recent) = (Endings::new(command), None);
        Reporter { stderr: Stderr::open(), level, format, endings, recent }
    }

    /// From now on what is said is also remembered.
    pub fn remember(&mut self) {
        self.recent.get_or_insert_default();
    }

    /// Nobody can ask any more.
    pub fn forget(&mut self) {
        self.recent = None;
    }

    /// What was said lately.
    pub fn recent(&self) -> Option<&Ring<Recorded>> {
        self.recent.as_ref()
    }

    /// A problem of the units, in one line.
    pub fn problem(&mut self, problem: &Problem) {
        let level = match problem.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warn,
            Severity::Note => Level::Info,
        };
        let place = problem.span.as_ref().map_or_else(String::new, |span| format!("{span}: "));
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        self.message(level, format!("{place}{}{hint}", problem.message));
    }

    /// A line about rinit itself.
    pub fn message(&mut self, level: Level, message: impl Into<String>) {
        let text: String = message.into();
        if level <= self.level || self.recent.is_some() {
            self.say(Said::Message { level, text: text.into() });
        }
    }

    /// A fact; `pid` is the process's that it speaks of, where it still has one.
    pub fn fact(&mut self, fact: &Fact, pid: impl Fn(ProcessId) -> Option<Pid>) {
        let pid = fact.process().and_then(pid);
        let level = self.endings.level(fact);
        let message = self.endings.message(fact).map(String::into_boxed_str);
        self.say(Said::Fact { fact: fact.clone(), pid, level, message });
    }

    fn say(&mut self, said: Said) {
        if said.level() <= self.level {
            self.write(&said.line());
        }
        if let Some(recent) = &mut self.recent {
            recent.push(Recorded::now(said));
        }
    }

    /// Writes what is queued; whether nothing is left.
    pub fn flush(&mut self) -> bool {
        let flushed = self.stderr.flush();
        match self.stderr.take_dropped() {
            Some(count) => {
                let message = format!("{count} messages were dropped: standard error was full");
                self.message(Level::Error, message);
                self.stderr.flush()
            }
            None => flushed,
        }
    }

    /// What to wait on while something is left.
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        self.stderr.descriptor()
    }

    fn write(&mut self, line: &Line) {
        let mut text = match self.format {
            Format::Text => line.text(),
            Format::Json => line.json(&clock::wall(), clock::monotonic()),
        };
        text.push('\n');
        self.stderr.push(text.into_bytes());
    }
}

#[cfg(test)]
mod tests;
