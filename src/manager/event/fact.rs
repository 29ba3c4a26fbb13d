//! What happened, for the log, for the parent of rinit, and for who listens.
//!
//! Not its words (`init::report`) nor how much it matters (`init::level`). **Invariant:** nothing
//! is decided by a fact: a manager whose facts nobody reads does the same.

use std::time::Duration;

use super::{InvocationId, JobKind, JobResult, OomKill, ProcessId, ProcessRole, SpawnError};
use crate::manager::state::{ServiceResult, SubState};
use crate::unit::UnitName;
use crate::unit::process::{ExecError, ExitStatus, Signal};

/// Why rinit stops everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopCause {
    /// A signal.
    Signal(Signal),
    /// A client's `shutdown`.
    Client,
    /// FailureAction= or StartLimitAction= of a unit.
    Failed(UnitName),
    /// SuccessAction= of a unit.
    Succeeded(UnitName),
    /// Nothing runs or waits any more.
    NothingLeft,
}

/// How the replacement of a service's instances goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RollEvent {
    /// It begins.
    Begun,
    /// An instance has been up for `RuntimeMaxSec=` and is to be replaced by one like it.
    Recycles {
        /// Which.
        instance: UnitName,
    },
    /// An instance has been replaced, and its successor stayed up.
    Replaced {
        /// Which.
        instance: UnitName,
    },
    /// A replacement failed, and the next one has its turn all the same.
    GoesOn {
        /// Which, and how.
        reason: String,
    },
    /// A replacement failed: those made so far are undone.
    GoesBack {
        /// Which, and how.
        reason: String,
    },
    /// All that had been replaced has its old definition again.
    WentBack,
    /// A replacement failed: what is not replaced yet stays.
    Halted {
        /// Which, how, and what stays.
        reason: String,
    },
    /// Something else took its place, or its service is being stopped.
    Interrupted,
    /// It is done.
    Ended,
}

/// Something that happened, for the log and for who listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A unit changed its state.
    State {
        /// Which unit.
        unit: UnitName,
        /// Its activation.
        invocation: InvocationId,
        /// From.
        from: SubState,
        /// To.
        to: SubState,
        /// The result so far.
        result: ServiceResult,
    },
    /// A job ended.
    Job {
        /// Which unit.
        unit: UnitName,
        /// What was to be done.
        kind: JobKind,
        /// How it ended.
        result: JobResult,
        /// Why, in words, where there is more to say (which dependency, which condition).
        reason: String,
    },
    /// A unit is stopped or restarted because another one is, or is started.
    Follows {
        /// Which unit.
        unit: UnitName,
        /// What is to be done.
        kind: JobKind,
        /// Whom it follows.
        leader: UnitName,
        /// The directive of either that says so, without its `=`.
        dependency: &'static str,
    },
    /// A process became the program.
    Started {
        /// Which unit.
        unit: UnitName,
        /// Its activation.
        invocation: InvocationId,
        /// Which process.
        process: ProcessId,
        /// What it is to the unit.
        role: ProcessRole,
    },
    /// A process ended.
    Exited {
        /// Which unit.
        unit: UnitName,
        /// Its activation.
        invocation: InvocationId,
        /// Which process.
        process: ProcessId,
        /// What it was to the unit.
        role: ProcessRole,
        /// How.
        exit: ExitStatus,
        /// It never became the program.
        exec_error: Option<ExecError>,
        /// Whether that counts as clean (a failure behind prefix `-` does).
        clean: bool,
        /// How long it had run.
        ran: Duration,
    },
    /// No process came to be.
    SpawnFailed {
        /// Which unit.
        unit: UnitName,
        /// What it would have been.
        role: ProcessRole,
        /// Why.
        error: SpawnError,
        /// When it is tried again; `None`: never.
        retry_in: Option<Duration>,
    },
    /// A restart waits for its time.
    RestartScheduled {
        /// Which unit.
        unit: UnitName,
        /// How long.
        delay: Duration,
        /// How many automatic restarts this unit has had since it was last started by hand, this one included.
        n_restarts: u32,
        /// The k-th in a row, as the backoff counts.
        attempt: u32,
    },
    /// `RestartPreventExitStatus=` prevents a restart that would have come else.
    NotRestarted {
        /// Which unit.
        unit: UnitName,
        /// How its main process ended.
        exit: ExitStatus,
    },
    /// The start limit refused a start.
    StartLimitHit {
        /// Which unit.
        unit: UnitName,
        /// So many starts…
        burst: u32,
        /// …in so long.
        interval: Duration,
    },
    /// The start limit refused an instance; as its siblings serve, it is tried again, but seldom.
    Exhausted {
        /// Which instance.
        unit: UnitName,
        /// So many starts…
        burst: u32,
        /// …in so long were not enough.
        interval: Duration,
        /// How many instances are up…
        up: u32,
        /// …of how many.
        total: u32,
        /// How long it waits from now on.
        delay: Duration,
    },
    /// Another number of instances is wanted.
    Scaled {
        /// Of which service.
        unit: UnitName,
        /// So many were wanted…
        from: u32,
        /// …and so many are now.
        to: u32,
    },
    /// The instances of a service are being replaced.
    Roll {
        /// Which service.
        unit: UnitName,
        /// What happened.
        what: RollEvent,
        /// So many instances have been replaced…
        done: u32,
        /// …of so many.
        total: u32,
    },
    /// The sockets of a unit could not be opened: it is not started.
    ListenFailed {
        /// Which unit.
        unit: UnitName,
        /// Why, in a sentence that names the address.
        reason: String,
    },
    /// A connection was closed at once: there are so many already.
    ConnectionRefused {
        /// Whose socket.
        unit: UnitName,
        /// From where it was.
        source: String,
        /// The limit's directive…
        directive: &'static str,
        /// …and how many that allows.
        limit: u32,
    },
    /// Connections started a service again and again in vain: its sockets are closed.
    TriggerLimitHit {
        /// Whose sockets.
        unit: UnitName,
        /// So many connections…
        burst: u32,
        /// …in so long.
        interval: Duration,
    },
    /// A start, a stop or a run took too long.
    TimedOut {
        /// Which unit.
        unit: UnitName,
        /// In which state.
        state: SubState,
        /// The limit: rinit sees later that it is over.
        after: Duration,
        /// The signal that is sent now, if one is.
        signal: Option<Signal>,
        /// What a start or a reload has waited for in vain, in words; else empty.
        missing: String,
    },
    /// A service did not keep to what its `Type=` promises.
    Protocol {
        /// Which unit.
        unit: UnitName,
        /// In words.
        reason: String,
    },
    /// `WATCHDOG=1` did not come in time.
    Watchdog {
        /// Which unit.
        unit: UnitName,
        /// In so long; `None`: it said `WATCHDOG=trigger` itself.
        period: Option<Duration>,
        /// The signal that is sent now.
        signal: Signal,
    },
    /// A service that is up became unhealthy, or healthy again.
    Health {
        /// Which unit.
        unit: UnitName,
        /// Which of the two.
        healthy: bool,
        /// What the last bad probe said; else empty.
        why: String,
        /// So many answers in a row say so.
        after: u32,
        /// It is stopped for it (`OnUnhealthy=restart`).
        stops: bool,
    },
    /// A process of it was killed for its memory, or it is stopped for that.
    OomKill {
        /// Which unit.
        unit: UnitName,
        /// By whom, and over what.
        kill: OomKill,
    },
    /// It is replaced, because it has been over `MemoryHigh=` for long.
    MemoryHigh {
        /// Which unit.
        unit: UnitName,
        /// What it has, in bytes.
        current: u64,
        /// The limit, in bytes.
        high: u64,
    },
    /// A service said another `STATUS=`.
    Status {
        /// Which unit.
        unit: UnitName,
        /// As it was said.
        status: String,
    },
    /// SIGKILL did not help: the unit is given up with processes left.
    Abandoned {
        /// Which unit.
        unit: UnitName,
    },
    /// Every start job of the boot has ended.
    Booted {
        /// How long it took.
        took: Duration,
    },
    /// rinit begins to stop everything.
    Stopping {
        /// Why.
        cause: StopCause,
        /// The time it has.
        budget: Duration,
        /// So long of it the services serve on first (`DrainSec=`).
        drain: Duration,
        /// The exit status, if this end decides it.
        code: Option<u8>,
    },
    /// A further stop signal made it hurry.
    Hurried {
        /// Which signal.
        signal: Signal,
        /// It now kills at once.
        at_once: bool,
    },
    /// The budget is used up: what lives is killed.
    BudgetSpent {
        /// Units that still have processes.
        units: Vec<UnitName>,
    },
    /// A signal was passed on.
    Forwarded {
        /// Which.
        signal: Signal,
        /// To which unit.
        unit: UnitName,
    },
    /// A signal came that means nothing here.
    SignalIgnored {
        /// Which.
        signal: Signal,
    },
}

impl Fact {
    /// The unit that it is about; `None`: it is about rinit as a whole.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Fact::State { unit, .. }
            | Fact::Job { unit, .. }
            | Fact::Follows { unit, .. }
            | Fact::Started { unit, .. }
            | Fact::Exited { unit, .. }
            | Fact::SpawnFailed { unit, .. }
            | Fact::RestartScheduled { unit, .. }
            | Fact::NotRestarted { unit, .. }
            | Fact::StartLimitHit { unit, .. }
            | Fact::Exhausted { unit, .. }
            | Fact::Scaled { unit, .. }
            | Fact::Roll { unit, .. }
            | Fact::ListenFailed { unit, .. }
            | Fact::ConnectionRefused { unit, .. }
            | Fact::TriggerLimitHit { unit, .. }
            | Fact::TimedOut { unit, .. }
            | Fact::Protocol { unit, .. }
            | Fact::Watchdog { unit, .. }
            | Fact::Health { unit, .. }
            | Fact::OomKill { unit, .. }
            | Fact::MemoryHigh { unit, .. }
            | Fact::Status { unit, .. }
            | Fact::Abandoned { unit }
            | Fact::Forwarded { unit, .. } => Some(unit),
            Fact::Booted { .. }
            | Fact::Stopping { .. }
            | Fact::Hurried { .. }
            | Fact::BudgetSpent { .. }
            | Fact::SignalIgnored { .. } => None,
        }
    }

    /// The process that it is about, if it is about one.
    pub fn process(&self) -> Option<ProcessId> {
        let (Fact::Started { process, .. } | Fact::Exited { process, .. }) = self else {
            return None;
        };
        Some(*process)
    }

    /// How many bytes of its own it has beside itself: what a store of facts must count.
    pub fn owned_bytes(&self) -> usize {
        match self {
            Fact::Job { reason: text, .. }
            | Fact::Protocol { reason: text, .. }
            | Fact::ListenFailed { reason: text, .. }
            | Fact::ConnectionRefused { source: text, .. }
            | Fact::TimedOut { missing: text, .. }
            | Fact::Health { why: text, .. }
            | Fact::Status { status: text, .. }
            | Fact::Exited { exec_error: Some(ExecError { message: text, .. }), .. }
            | Fact::SpawnFailed {
                error:
                    SpawnError::Permanent(ExecError { message: text, .. })
                    | SpawnError::Temporary { message: text, .. },
                ..
            } => text.len(),
            Fact::Roll { what, .. } => what.owned_bytes(),
            Fact::BudgetSpent { units } => units.len() * size_of::<UnitName>(),
            Fact::State { .. }
            | Fact::Follows { .. }
            | Fact::Started { .. }
            | Fact::Exited { exec_error: None, .. }
            | Fact::RestartScheduled { .. }
            | Fact::NotRestarted { .. }
            | Fact::OomKill { .. }
            | Fact::MemoryHigh { .. }
            | Fact::StartLimitHit { .. }
            | Fact::Exhausted { .. }
            | Fact::Scaled { .. }
            | Fact::TriggerLimitHit { .. }
            | Fact::Watchdog { .. }
            | Fact::Abandoned { .. }
            | Fact::Booted { .. }
            | Fact::Stopping { .. }
            | Fact::Hurried { .. }
            | Fact::Forwarded { .. }
            | Fact::SignalIgnored { .. } => 0,
        }
    }
}

impl RollEvent {
    fn owned_bytes(&self) -> usize {
        match self {
            RollEvent::GoesOn { reason }
            | RollEvent::GoesBack { reason }
            | RollEvent::Halted { reason } => reason.len(),
            RollEvent::Begun
            | RollEvent::Recycles { .. }
            | RollEvent::Replaced { .. }
            | RollEvent::WentBack
            | RollEvent::Interrupted
            | RollEvent::Ended => 0,
        }
    }
}
