//! How much a line matters, and how much a fact does.
//!
//! Not its words (`report`): most facts of a healthy run are of a level that nobody asked for, and
//! must not cost their text. **Invariant:** the level of a fact is decided here alone.

use crate::manager::event::{Fact, JobKind, JobResult, ProcessRole, RollEvent, StopCause};
use crate::manager::state::{ServiceResult, SubState};
use crate::unit::process::{ExitStatus, Signal};

/// How much a line matters; the smaller, the more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something ended that should not have, or was never done.
    Error,
    /// It may become worse.
    Warn,
    /// What a person wants to see of a healthy run.
    Info,
    /// Every step.
    Debug,
}

impl Level {
    /// Every level.
    pub const ALL: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

    /// Its word, as `--log-level` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    /// The level of a fact by itself.
    pub fn of(fact: &Fact) -> Level {
        match fact {
            Fact::State { from, to, result, .. } => Level::of_state(*from, *to, *result),
            Fact::Job { kind, result, .. } => Level::of_job(*kind, *result),
            Fact::Started { role: ProcessRole::ExecStart, .. } => Level::Info,
            Fact::Started { .. } | Fact::Forwarded { .. } => Level::Debug,
            Fact::Exited { exec_error: Some(_), .. } => Level::Warn,
            Fact::Exited { clean: true, .. } => Level::Debug,
            // "No" is an answer.
            Fact::Exited {
                role: ProcessRole::ExecCondition,
                exit: ExitStatus::Exited(0..=254),
                ..
            } => Level::Info,
            Fact::Exited { .. } => Level::Warn,
            Fact::SpawnFailed { retry_in: None, .. } => Level::Error,
            Fact::StartLimitHit { .. }
            | Fact::ListenFailed { .. }
            | Fact::TriggerLimitHit { .. }
            | Fact::Abandoned { .. }
            | Fact::Protocol { .. }
            | Fact::Watchdog { .. }
            | Fact::OomKill { .. }
            | Fact::Health { healthy: false, .. } => Level::Error,
            Fact::Health { healthy: true, .. } => Level::Info,
            Fact::Status { .. } => Level::Debug,
            Fact::Exhausted { .. } => Level::Error,
            Fact::Scaled { .. } => Level::Info,
            Fact::Roll { what, .. } => Level::of_roll(what),
            Fact::SpawnFailed { retry_in: Some(_), .. }
            | Fact::MemoryHigh { .. }
            | Fact::ConnectionRefused { .. }
            | Fact::TimedOut { .. }
            | Fact::Hurried { .. }
            | Fact::BudgetSpent { .. } => Level::Warn,
            Fact::Stopping { cause: StopCause::Failed(_), .. } => Level::Error,
            Fact::Stopping { .. }
            | Fact::Follows { .. }
            | Fact::RestartScheduled { .. }
            | Fact::NotRestarted { .. }
            | Fact::Booted { .. } => Level::Info,
            // A terminal's and a launcher's bookkeeping is nothing that anybody asked of rinit.
            Fact::SignalIgnored { signal } if Signal::BOOKKEEPING.contains(signal) => Level::Debug,
            Fact::SignalIgnored { .. } => Level::Info,
        }
    }

    fn of_roll(what: &RollEvent) -> Level {
        match what {
            RollEvent::GoesOn { .. } | RollEvent::GoesBack { .. } | RollEvent::Halted { .. } => {
                Level::Error
            }
            RollEvent::WentBack => Level::Warn,
            RollEvent::Begun
            | RollEvent::Recycles { .. }
            | RollEvent::Replaced { .. }
            | RollEvent::Interrupted
            | RollEvent::Ended => Level::Info,
        }
    }

    fn of_state(from: SubState, to: SubState, result: ServiceResult) -> Level {
        match (from, to) {
            (_, SubState::Failed) => Level::Error,
            (SubState::Start | SubState::StartPost, SubState::Exited) => Level::Info,
            (SubState::Condition | SubState::Failed | SubState::Dead, SubState::Dead) => {
                Level::Debug
            }
            (_, SubState::Dead) => Level::Info,
            (
                SubState::Running | SubState::Exited | SubState::Reload,
                SubState::Stop | SubState::StopSigterm | SubState::StopWatchdog,
            ) if result == ServiceResult::Success => Level::Info,
            (_, _) => Level::Debug,
        }
    }

    fn of_job(kind: JobKind, result: JobResult) -> Level {
        match result {
            JobResult::Done | JobResult::Canceled => Level::Debug,
            JobResult::Skipped => Level::Info,
            // The unit's own lines have told it.
            JobResult::Failed if kind != JobKind::Reload => Level::Debug,
            JobResult::Failed | JobResult::Dependency | JobResult::Timeout | JobResult::Assert => {
                Level::Error
            }
        }
    }
}
