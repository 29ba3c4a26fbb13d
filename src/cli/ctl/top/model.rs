//! What there is to show: the units as rinit says they are, what happens, what was asked.
//!
//! Not what a key does (`keys`) nor how it looks (`view`). Pure: it neither waits nor knows the
//! time. **Invariant:** while there is a unit to select, one is selected, and it stays the same
//! one while units come and go around it.

use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;
use serde_json::Value;

use super::tail::Tail;
use crate::cli::ctl::events::text;
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::jobs::Kind;
use crate::cli::ctl::properties::Properties;
use crate::cli::ctl::screen::Tint;

/// What comes from outside.
#[derive(Debug)]
pub enum News {
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// A signal that ends programs.
    Signal(u8),
    /// SystemState, and the units in the order of `List`.
    Units(String, Vec<Properties>),
    /// rinit has not answered for so long.
    Silent(Duration),
    /// One element of `Events`.
    Event(Value),
    /// A stream of lines begins.
    LinesBegin,
    /// One line, and how many were left out before it.
    Line(Value, u64),
    /// There are no lines: why.
    NoLines(String),
    /// What came of asking for a job: its result, or why it was refused.
    Asked(Job, Result<Value, Failure>),
    /// It cannot go on.
    Failed(Failure),
}

/// Something to be done to a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// What.
    pub kind: Kind,
    /// To whom.
    pub unit: String,
}

impl Job {
    /// `restart web.service`.
    pub fn words(&self) -> String {
        format!("{} {}", self.kind.verb(), self.unit)
    }
}

/// What keys mean at the moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// They move and ask.
    #[default]
    Browse,
    /// `y` does it.
    Confirm(Job),
    /// They are the filter's letters.
    Filter,
    /// Any ends the help.
    Help,
}

/// Why it ends.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// As asked.
    Quit,
    /// By this signal.
    Signal(u8),
    /// It cannot go on.
    Failed(Failure),
}

/// Where a row stands in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Branch {
    /// A unit by itself.
    None,
    /// An instance, and others follow.
    More,
    /// The last instance.
    Last,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The unit.
    pub unit: &'a Properties,
    /// Where it stands.
    pub branch: Branch,
}

impl Row<'_> {
    /// The unit's name.
    pub fn name(&self) -> &str {
        self.unit.text("Id")
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// SystemState; empty: nothing is known yet.
    pub state: String,
    /// As `List` orders them.
    pub units: Vec<Properties>,
    /// The name of the unit that keys are about; empty: there is none.
    pub selected: String,
    /// Where in the rows it was last.
    at: usize,
    /// The tail is only the selected unit's.
    pub follow: bool,
    /// Only units whose name has this in it.
    pub filter: String,
    /// What keys mean.
    pub mode: Mode,
    /// What came of the last job; gone at the next key.
    pub note: Option<(Tint, String)>,
    /// The job whose end is waited for.
    asked: Option<Job>,
    /// What happened, and was written.
    pub tail: Tail,
    /// So long rinit has not answered.
    pub silent: Option<Duration>,
    /// It is over.
    pub end: Option<End>,
}

impl Model {
    /// Takes what has come.
    pub fn take(&mut self, news: News) {
        match news {
            News::Key(_) | News::Resized => {} // `keys` has the one, drawing sees the other
            News::Signal(number) => self.end = Some(End::Signal(number)),
            News::Units(state, units) => {
                (self.state, self.units, self.silent) = (state, units, None);
                self.settle();
            }
            News::Silent(since) => self.silent = Some(since),
            News::Event(event) => {
                self.note_end(&event);
                self.tail.event(&event);
            }
            News::LinesBegin => self.tail.restart_lines(),
            News::Line(line, dropped) => self.tail.line(&line, dropped),
            News::NoLines(why) => self.tail.no_lines = Some(why),
            News::Asked(job, result) => self.note_asked(job, result),
            News::Failed(failure) => self.end = Some(End::Failed(failure)),
        }
    }

    /// The rows as they are shown: instances below their service, and what the filter leaves.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let matches = |unit: &Properties| unit.text("Id").contains(&self.filter);
        let mut rows = Vec::new();
        for unit in self.units.iter().filter(|unit| self.service_of(unit).is_none()) {
            let own =
                |it: &&Properties| self.service_of(it) == Some(unit.text("Id")) && matches(it);
            let mut instances = self.units.iter().filter(own).peekable();
            if instances.peek().is_none() && !matches(unit) {
                continue;
            }
            rows.push(Row { unit, branch: Branch::None });
            while let Some(unit) = instances.next() {
                let last = instances.peek().is_none();
                rows.push(Row { unit, branch: if last { Branch::Last } else { Branch::More } });
            }
        }
        rows
    }

    /// The service of an instance, if it is there to stand above it.
    fn service_of<'a>(&self, unit: &'a Properties) -> Option<&'a str> {
        let service = unit.text("InstanceOf");
        let known = self.units.iter().any(|unit| unit.text("Id") == service);
        known.then_some(service)
    }

    /// Moves the selection; beyond an end is that end.
    pub fn select(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by);
        let names: Vec<String> = self.rows().iter().map(|row| row.name().to_owned()).collect();
        self.at = self.at.min(names.len().saturating_sub(1));
        self.selected = names.into_iter().nth(self.at).unwrap_or_default();
    }

    /// After rows have come or gone: the same unit, else the one that is where it was.
    pub fn settle(&mut self) {
        match self.rows().iter().position(|row| row.name() == self.selected) {
            Some(at) => self.at = at,
            None => self.select(0),
        }
    }

    /// The unit whose lines and events are wanted; none: all.
    pub fn followed(&self) -> Option<&str> {
        (self.follow && !self.selected.is_empty()).then_some(self.selected.as_str())
    }

    /// A job was asked for, on its way.
    pub fn ask(&mut self, job: &Job) {
        self.note = Some((Tint::Busy, format!("{}: asked", job.words())));
        self.asked = Some(job.clone());
    }

    fn note_asked(&mut self, job: Job, result: Result<Value, Failure>) {
        match result {
            Ok(reply) if text(&reply, "result") == "queued" => {} // an event will tell
            Ok(reply) => self.note_result(&job, &reply),
            Err(failure) => {
                // What is refused mostly begins with whose it is.
                let what = match failure.message.contains(&job.unit) {
                    true => job.kind.verb().to_owned(),
                    false => job.words(),
                };
                self.note = Some((Tint::Bad, format!("{what}: {}", failure.message)));
                self.asked = None;
            }
        }
    }

    /// What is waited for may have ended.
    fn note_end(&mut self, event: &Value) {
        let asked = self.asked.take_if(|job| {
            text(event, "event") == "job"
                && text(event, "unit") == job.unit
                && text(event, "job") == job.kind.verb()
        });
        if let Some(job) = asked {
            self.note_result(&job, event);
        }
    }

    fn note_result(&mut self, job: &Job, result: &Value) {
        let tint = match text(result, "result") {
            "done" | "skipped" => Tint::Good,
            _ => Tint::Bad,
        };
        let reason = text(result, "reason");
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        self.note = Some((tint, format!("{}: {}{why}", job.words(), text(result, "result"))));
        self.asked = None;
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
