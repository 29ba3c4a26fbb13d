//! What somebody asks of rinit, and the one answer: jobs, signals, new definitions, a plan.
//!
//! Not who asks (that is a [`super::ClientId`]) and not the wire (`control`). **Invariant:** each
//! [`Request`] is answered by one [`Reply`], and what a request or a reply names is a unit or a
//! count, never a process.

use crate::unit::process::Signal;
use crate::unit::{UnitName, UnitSet};

/// What a client (or the boot) wants of a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobKind {
    /// Have it run, with what it requires.
    Start,
    /// Have it not run, nor what requires it.
    Stop,
    /// Stop, then start.
    Restart,
    /// `ExecReload=`.
    Reload,
}

impl JobKind {
    /// systemctl's verb.
    pub fn verb(self) -> &'static str {
        match self {
            JobKind::Start => "start",
            JobKind::Stop => "stop",
            JobKind::Restart => "restart",
            JobKind::Reload => "reload",
        }
    }
}

/// How a job ended (`systemctl list-jobs`, JobRemoved).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobResult {
    /// As asked.
    Done,
    /// A condition did not hold: nothing was started, and that is well.
    Skipped,
    /// The unit failed.
    Failed,
    /// A unit that it requires failed.
    Dependency,
    /// It took too long.
    Timeout,
    /// A newer job replaced it.
    Canceled,
    /// An assertion did not hold.
    Assert,
}

impl JobResult {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            JobResult::Done => "done",
            JobResult::Skipped => "skipped",
            JobResult::Failed => "failed",
            JobResult::Dependency => "dependency",
            JobResult::Timeout => "timeout",
            JobResult::Canceled => "canceled",
            JobResult::Assert => "assert",
        }
    }

    /// Whether who waited for it may go on.
    pub fn is_success(self) -> bool {
        matches!(self, JobResult::Done | JobResult::Skipped)
    }
}

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A job on a unit.
    Job {
        /// What.
        kind: JobKind,
        /// On which.
        unit: UnitName,
    },
    /// Send a signal to processes of a unit, and nothing more.
    Kill {
        /// Whose.
        unit: UnitName,
        /// To which of them.
        whom: KillWhom,
        /// What.
        signal: Signal,
    },
    /// Forget failures and start counters.
    ResetFailed {
        /// Of which unit; `None`: of all.
        unit: Option<UnitName>,
    },
    /// The units were read again: these are the definitions from now on (`daemon-reload`).
    Load {
        /// All of them, verified.
        units: UnitSet,
    },
    /// As [`Request::Load`], and then make what runs fit: start the new, stop the removed,
    /// restart the changed.
    Apply {
        /// All of them, verified.
        units: UnitSet,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Have so many instances of a service with `Instances=`.
    Scale {
        /// Of which.
        unit: UnitName,
        /// How many; 0 is allowed here only.
        count: u32,
    },
    /// Stop everything and exit, as a stop signal does.
    Shutdown,
}

/// `--kill-whom=` of systemctl(1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KillWhom {
    /// The main process.
    Main,
    /// The control process.
    Control,
    /// Every process of the unit.
    All,
}

/// The one final answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The job ended.
    Job {
        /// How.
        result: JobResult,
        /// Why, in words, where there is more to say.
        reason: String,
        /// The other units on which it put a job.
        also: Vec<UnitName>,
    },
    /// What was, or would be, done to make what runs fit.
    Plan {
        /// In order of name.
        changes: Vec<Change>,
    },
    /// There is no such unit.
    NoSuchUnit,
    /// It cannot be done, for the reason given.
    Refused {
        /// The reason.
        reason: String,
    },
    /// Done, nothing to wait for.
    Done,
}

/// One line of a plan to make what runs fit the definitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which unit.
    pub unit: UnitName,
    /// What is done with it.
    pub action: ChangeAction,
    /// Why, in a few words.
    pub reason: String,
}

/// What a plan does with a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ChangeAction {
    /// It is new.
    Start,
    /// It is gone from the directories.
    Stop,
    /// What it runs changed.
    Restart,
    /// It changed, and that takes effect without a restart.
    Keep,
    /// It changed, but only takes effect some other time.
    Skip,
}

impl ChangeAction {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeAction::Start => "start",
            ChangeAction::Stop => "stop",
            ChangeAction::Restart => "restart",
            ChangeAction::Keep => "keep",
            ChangeAction::Skip => "skip",
        }
    }
}
