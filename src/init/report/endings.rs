//! Whose end it is, and whether anybody asked for it: what a fact alone does not show.
//!
//! Not the words of an end (`words`). **Invariant:** only facts are remembered, and only until the
//! unit has ended; what is decided here is how a line is put, never whether it is kept.

use std::collections::BTreeSet;

use super::Level;
use super::words::words;
use crate::manager::event::{Fact, JobResult, ProcessRole, StopCause};
use crate::manager::state::SubState;
use crate::unit::UnitName;
use crate::unit::process::ExitStatus;

/// What was seen of the ends of units.
#[derive(Debug)]
pub(super) struct Endings {
    /// The COMMAND: its own end is its own affair, and its status rinit's.
    command: Option<UnitName>,
    /// The unit whose ExecStart= ended well just now, and how.
    ended: Option<(UnitName, ExitStatus)>,
    /// Units that end because their work is done, not because they are stopped.
    finishing: BTreeSet<UnitName>,
}

impl Endings {
    pub fn new(command: Option<UnitName>) -> Endings {
        Endings { command, ended: None, finishing: BTreeSet::new() }
    }

    /// How much a fact matters: `rinit -- false` says no more than `false` does, but that COMMAND
    /// was not run at all is what its caller must see.
    pub fn level(&self, fact: &Fact) -> Level {
        let by_itself = Level::of(fact);
        if self.is_commands_own(fact) {
            by_itself.max(Level::Info)
        } else if self.prevents_command(fact) {
            by_itself.min(Level::Warn)
        } else {
            by_itself
        }
    }

    fn is_commands_own(&self, fact: &Fact) -> bool {
        let (Fact::Exited { unit, role: ProcessRole::ExecStart, exec_error: None, .. }
        | Fact::State { unit, to: SubState::Failed, .. }
        | Fact::Job { unit, result: JobResult::Failed, .. }
        | Fact::Stopping { cause: StopCause::Failed(unit), .. }) = fact
        else {
            return false;
        };
        self.command.as_ref() == Some(unit)
    }

    /// COMMAND is not started because of this.
    fn prevents_command(&self, fact: &Fact) -> bool {
        let (Fact::Job { unit, result: JobResult::Skipped, .. }
        | Fact::Exited { unit, role: ProcessRole::ExecStartPre, clean: false, .. }) = fact
        else {
            return false;
        };
        self.command.as_ref() == Some(unit)
    }

    /// How the line of an end is better put than by the fact alone.
    pub fn message(&mut self, fact: &Fact) -> Option<String> {
        if self.prevents_command(fact) {
            return Some(format!("{}: COMMAND was not run", words(fact, None).message));
        }
        let by_itself = self.by_itself(fact);
        let finished = self.has_finished(fact).then(|| "finished".to_owned());
        finished.or(by_itself)
    }

    /// A daemon that leaves with status 0 is not "stopping": nobody told it to, and somebody will
    /// ask why it is gone.
    pub fn by_itself(&self, fact: &Fact) -> Option<String> {
        let (ended, exit) = self.ended.as_ref()?;
        let Fact::State { unit, from: SubState::Running | SubState::Reload, to, .. } = fact else {
            return None;
        };
        let stops = matches!(to, SubState::Stop | SubState::StopSigterm) && ended == unit;
        stops.then(|| format!("ended by itself: ExecStart {exit}"))
    }

    /// A step that is done goes the same way to its end as a service that is stopped; what tells
    /// them apart is whether it ended before or after it was told to.
    pub fn has_finished(&mut self, fact: &Fact) -> bool {
        if let Fact::Exited { unit, role: ProcessRole::ExecStart, clean: true, exit, .. } = fact {
            self.ended = Some((unit.clone(), *exit));
        }
        let Fact::State { unit, from, to, .. } = fact else { return false };
        let ended = self.ended.take();
        let starting = matches!(from, SubState::Start | SubState::StartPost);
        if starting && ended.as_ref().map(|(ended, _)| ended) == Some(unit) {
            self.finishing.insert(unit.clone());
        }
        match to {
            SubState::Dead => self.finishing.remove(unit),
            // What is left of a RemainAfterExit= is stopped, some day.
            SubState::Failed | SubState::AutoRestart | SubState::Running | SubState::Exited => {
                self.finishing.remove(unit);
                false
            }
            SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Listening
            | SubState::Reload
            | SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill => false,
        }
    }
}
