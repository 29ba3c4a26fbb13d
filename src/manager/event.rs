//! The whole boundary of the manager on one page: what can happen, what it can do, what it says.
//!
//! Not the wire (`control`) and not text (`init::report`). **Invariant:** these lists are closed;
//! nothing else crosses between the decision and the world.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::unit::process::{ExecError, ExitStatus, Signal};
use crate::unit::{Unit, UnitName, UnitSet};

use super::state::{ServiceResult, SubState};
use super::time::Timestamp;

/// One spawned process. Never reused, so an event about a dead process can be told from a live one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ProcessId(pub u64);

/// Somebody who asked for something and is told how it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ClientId(pub u64);

/// One activation of a unit: `INVOCATION_ID` of systemd.exec(5), 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct InvocationId(pub u128);

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a process is to its unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // the directives' names
pub enum ProcessRole {
    ExecCondition,
    ExecStartPre,
    /// The main process.
    ExecStart,
    ExecStartPost,
    ExecReload,
    ExecStop,
    ExecStopPost,
}

impl ProcessRole {
    /// The directive that such a process comes from.
    pub fn directive(self) -> &'static str {
        match self {
            ProcessRole::ExecCondition => "ExecCondition",
            ProcessRole::ExecStartPre => "ExecStartPre",
            ProcessRole::ExecStart => "ExecStart",
            ProcessRole::ExecStartPost => "ExecStartPost",
            ProcessRole::ExecReload => "ExecReload",
            ProcessRole::ExecStop => "ExecStop",
            ProcessRole::ExecStopPost => "ExecStopPost",
        }
    }
}

/// Why no process came to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// The kernel had no room just now (EAGAIN, ENOMEM of fork(2)): worth another try.
    Temporary {
        /// The kernel's error number.
        errno: i32,
        /// The whole sentence.
        message: String,
    },
    /// It can never work as declared (no such user, a missing EnvironmentFile).
    Permanent(ExecError),
}

/// What `Condition*=` and `Assert*=` came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckOutcome {
    /// All hold.
    Met,
    /// A condition does not: the start is skipped, with success.
    ConditionFailed {
        /// As written, e.g. `ConditionPathExists=/etc/app.conf`.
        condition: String,
    },
    /// An assertion does not: the start fails.
    AssertFailed {
        /// As written.
        assertion: String,
    },
}

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

/// What a process said over `NOTIFY_SOCKET` (sd_notify(3)), as far as it concerns its unit's
/// life; descriptors and barriers are the shell's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notice {
    /// `READY=1`, `RELOADING=1` or `STOPPING=1`: the last of them in the message.
    pub state: Option<NoticeState>,
    /// `STATUS=`.
    pub status: Option<String>,
    /// `ERRNO=`.
    pub errno: Option<i32>,
    /// `MAINPID=`: a living process of the unit, under the name that its end will have.
    pub main: Option<ProcessId>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend_timeout: Option<Duration>,
    /// `WATCHDOG=`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`.
    pub watchdog_period: Option<Duration>,
}

/// The state that a service says it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoticeState {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`, with `MONOTONIC_USEC=` if it came along.
    Reloading(Option<Timestamp>),
    /// `STOPPING=1`.
    Stopping,
}

/// `WATCHDOG=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watchdog {
    /// `WATCHDOG=1`: it lives.
    Ping,
    /// `WATCHDOG=trigger`: as if it had not said so in time.
    Trigger,
}

/// How a process is asked whether its service is well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProbeKind {
    /// `Http=`, `Tcp=` or `Exec=` of `[Health]`.
    Health,
    /// `ReadyOn = "accept"`: whether it waits for connections.
    Accept,
    /// `StallSec=`: whether connections wait and it does nothing.
    Stall,
}

/// What a probe came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeOutcome {
    /// It is well.
    Good,
    /// It is not; why, in words.
    Bad(String),
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

/// Everything that can happen to rinit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Start what boot starts.
    Boot,
    /// A client asks.
    Request {
        /// Who is told the result.
        client: ClientId,
        /// What it asks.
        request: Request,
    },
    /// A signal was sent to rinit.
    Signal(Signal),
    /// The answer to [`Action::Check`].
    Checked {
        /// Whose conditions.
        unit: UnitName,
        /// What they came to.
        outcome: CheckOutcome,
    },
    /// A child was forked by [`Action::Spawn`]; the first word about it.
    Spawned {
        /// Which one.
        process: ProcessId,
    },
    /// No process came to be from [`Action::Spawn`]; the only word about it.
    SpawnFailed {
        /// Which one.
        process: ProcessId,
        /// Why.
        error: SpawnError,
    },
    /// The child became the program (its error pipe closed empty).
    Execed {
        /// Which one.
        process: ProcessId,
    },
    /// A process ended. It is still a zombie while this is handled.
    Exited {
        /// Which one.
        process: ProcessId,
        /// How.
        exit: ExitStatus,
        /// It never became the program.
        exec_error: Option<ExecError>,
    },
    /// The answer to [`Action::Load`]; `None`: the units have errors, and the shell said so.
    Loaded {
        /// All of them, verified.
        units: Option<UnitSet>,
    },
    /// A process of the unit said something over `NOTIFY_SOCKET`.
    Notified {
        /// Which unit.
        unit: UnitName,
        /// Which of its processes, if it is one that rinit forked or took as a main process.
        process: Option<ProcessId>,
        /// What.
        notice: Notice,
    },
    /// A newline came on `NotificationFd=`.
    SaidReady {
        /// From which main process.
        process: ProcessId,
    },
    /// The answer to [`Action::Probe`].
    Probed {
        /// Which main process was asked.
        process: ProcessId,
        /// In which way.
        kind: ProbeKind,
        /// What it came to.
        outcome: ProbeOutcome,
    },
    /// The answer to [`Action::FindMain`]: the daemon that a `Type=forking` start left.
    FoundMain {
        /// Of which unit.
        unit: UnitName,
        /// The process, from now on known by this name; `Err`: there is none, and why.
        main: Result<ProcessId, String>,
    },
    /// The answer to [`Action::Listen`].
    Listening {
        /// Whose sockets.
        unit: UnitName,
        /// Whether all are open; why not, in words.
        outcome: Result<(), String>,
    },
    /// Somebody connects to a socket that [`Action::Await`] waits on.
    Connection {
        /// Whose socket.
        unit: UnitName,
    },
    /// The answer to [`Action::Quiesce`]: nothing waits in the queues any more.
    Quiet {
        /// The unit of the request.
        unit: UnitName,
    },
    /// No process of the unit is left: always follows [`Action::KillUnit`], at once if there was none.
    Empty {
        /// Which unit.
        unit: UnitName,
    },
    /// No process at all is left: always follows [`Action::KillEverything`].
    NothingLeft,
    /// A deadline may have passed; a spurious one changes nothing.
    Timer,
}

/// What the shell needs to start one process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpawnRequest {
    /// The name under which its events come back.
    pub process: ProcessId,
    /// Whose it is.
    pub unit: Arc<Unit>,
    /// What it is to the unit; `index` counts within the role's list of commands.
    pub role: ProcessRole,
    /// Which command of the role's list.
    pub index: usize,
    /// The activation it belongs to.
    pub invocation: InvocationId,
    /// The main process, for `MAINPID`.
    pub main: Option<ProcessId>,
    /// What `SERVICE_RESULT`, `EXIT_CODE` and `EXIT_STATUS` say to ExecStop= and ExecStopPost=.
    pub result: Option<(ServiceResult, Option<ExitStatus>)>,
    /// What `MONITOR_*` says to a unit that OnFailure= or OnSuccess= started.
    pub monitor: Option<Monitor>,
}

/// The unit whose end started a handler (`MONITOR_*` of systemd.exec(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Monitor {
    /// Its name.
    pub unit: UnitName,
    /// Its activation.
    pub invocation: InvocationId,
    /// Its result.
    pub result: ServiceResult,
    /// How its main process ended.
    pub exit: Option<ExitStatus>,
}

/// Everything that rinit can do to the world.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Evaluate conditions and assertions; answered by [`Event::Checked`].
    Check {
        /// Whose.
        unit: Arc<Unit>,
    },
    /// Start a process; answered by `SpawnFailed`, or by `Spawned` and then `Exited` (it never
    /// became the program), or `Spawned`, `Execed` and some day `Exited`.
    Spawn(Box<SpawnRequest>),
    /// Send a signal to one process; nothing happens if it is gone.
    KillProcess {
        /// Which.
        process: ProcessId,
        /// What.
        signal: Signal,
    },
    /// Send a signal to one process if its `/proc/PID/status` says that it catches it.
    Forward {
        /// Which.
        process: ProcessId,
        /// What.
        signal: Signal,
    },
    /// Send a signal to every process of a unit; answered by [`Event::Empty`] once none is left.
    KillUnit {
        /// Whose.
        unit: UnitName,
        /// What; `None`: nothing, only watch until it is empty.
        signal: Option<Signal>,
    },
    /// Ask a main process whether it is well; answered by [`Event::Probed`] within `TimeoutSec=`,
    /// or not at all if the process is gone. Each kind is asked once at a time.
    Probe {
        /// Which.
        process: ProcessId,
        /// Of which unit: its `[Health]`, its sockets.
        unit: Arc<Unit>,
        /// In which way.
        kind: ProbeKind,
    },
    /// Find the main process of a `Type=forking` service by `PIDFile=` or by guess; answered by
    /// [`Event::FoundMain`] at once.
    FindMain {
        /// Of which.
        unit: Arc<Unit>,
    },
    /// Open the sockets of a unit, if they are not open, and those that more instances need;
    /// answered by [`Event::Listening`] at once. With `ReusePort=` none of those that are open at
    /// the same address is closed while its options stay.
    Listen {
        /// Whose.
        unit: Arc<Unit>,
        /// How many instances there may be: so many sockets each with `ReusePort=`, and spare
        /// ones for the replacements of a roll.
        instances: u32,
    },
    /// Close the sockets of a unit: from now on connections are refused.
    Unlisten {
        /// Whose.
        unit: UnitName,
    },
    /// Wait for a connection on the sockets of a unit, once; answered by [`Event::Connection`].
    Await {
        /// Whose.
        unit: UnitName,
    },
    /// Let no new connection into the queue of these sockets, and wait for what is queued to be
    /// accepted; answered by [`Event::Quiet`] (at once if there is nothing to wait for).
    Quiesce {
        /// A service: its sockets. An instance of one with `ReusePort=`: its own socket.
        unit: UnitName,
    },
    /// Let new connections in again after [`Action::Quiesce`].
    Resume {
        /// The unit of the request.
        unit: UnitName,
    },
    /// From now on only these instances of a service with `ReusePort=` get new connections.
    Steer {
        /// The service.
        unit: UnitName,
        /// The numbers of its ready instances.
        ready: Vec<u32>,
    },
    /// The processes of a unit belong to another name from now on, and so does its own socket: an
    /// instance takes the place of the one it replaces.
    Rename {
        /// The name until now.
        from: UnitName,
        /// The name from now on.
        to: UnitName,
    },
    /// The unit ended for now: forget what was recorded of its processes. The socket of a marked
    /// instance, or of one more than are wanted, is free again.
    Release {
        /// Which unit.
        unit: UnitName,
    },
    /// Read the units again; answered by [`Event::Loaded`].
    Load,
    /// Send a signal to every process that is ours; answered by [`Event::NothingLeft`].
    KillEverything {
        /// What.
        signal: Signal,
    },
    /// Tell a client how its request ended.
    Reply {
        /// Whom.
        client: ClientId,
        /// What became of it.
        reply: Reply,
    },
    /// Tell whoever listens what happened.
    Record(Fact),
    /// Leave, with this status.
    Exit {
        /// rinit's exit status.
        code: u8,
    },
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
        /// After how long.
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

/// What the manager must know besides the units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagerConfig {
    /// The total budget of a stop (`ShutdownTimeoutSec`, 9 s).
    pub shutdown_timeout: Duration,
    /// How long traffic is still served before a stop begins (`DrainSec`, part of the budget).
    pub drain: Duration,
    /// An additional signal that stops, such as WINCH (`StopSignal`).
    pub stop_signal: Option<Signal>,
    /// The unit that is the COMMAND of the command line: then signals are its.
    pub command: Option<UnitName>,
    /// Jitter and invocation ids come from this.
    pub seed: u64,
}
