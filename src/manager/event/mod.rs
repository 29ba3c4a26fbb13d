//! The whole boundary of the manager: what can happen, and what it can do.
//!
//! With [`request`] (what is asked and answered), [`notice`] (what services say) and [`fact`] (what
//! is told). Not the wire (`control`) and not text (`init::report`). **Invariant:** these lists are
//! closed; nothing else crosses between the decision and the world.

pub mod fact;
pub mod notice;
pub mod request;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::state::ServiceResult;
use crate::unit::process::{ExecError, ExitStatus, Signal};
use crate::unit::{Unit, UnitName, UnitSet};

pub use fact::{Fact, RollEvent, StopCause};
pub use notice::{Notice, NoticeState, ProbeKind, ProbeOutcome, Watchdog};
pub use request::{Change, ChangeAction, JobKind, JobResult, KillWhom, Reply, Request};

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

/// Whose limit a kill for memory enforced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OomKiller {
    /// The unit's own, by the kernel, which has killed.
    Kernel,
    /// The unit's own, by rinit, which has to stop it.
    Watchdog,
    /// Its slice's, by the kernel, which has killed a process.
    Slice,
    /// The whole container's (or one above it), by the kernel, which has killed a process.
    Container,
}

/// A kill for memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OomKill {
    /// Who killed, or has to.
    pub by: OomKiller,
    /// The limit, in bytes, if it is known.
    pub limit: Option<u64>,
    /// The most that it had, in bytes, if it is known.
    pub peak: Option<u64>,
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
    /// A line had the `ReadyLogPattern=`.
    Matched {
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
    /// A connection to a socket with `Accept=yes` that [`Action::Await`] waits on was taken. It is
    /// passed to the main process of the service `unit`, or let go by [`Action::Release`].
    Accepted {
        /// Whose socket.
        socket: UnitName,
        /// The service that is to serve it: an instance of the socket's template that is not there.
        unit: UnitName,
        /// From where it is: an address, or a user.
        source: String,
    },
    /// The answer to [`Action::Quiesce`]: nothing waits in the queues any more, or in the hands of
    /// the instance.
    Quiet {
        /// The unit of the request.
        unit: UnitName,
    },
    /// The kernel killed a process of the unit for memory, or the unit is over a limit that
    /// rinit has to keep. It comes before the death that it caused.
    OomKill {
        /// Which unit.
        unit: UnitName,
        /// By whom, and over what.
        kill: OomKill,
    },
    /// The unit has been over its `MemoryHigh=` for long.
    MemoryHigh {
        /// Which unit.
        unit: UnitName,
        /// What it has, in bytes.
        current: u64,
        /// The limit, in bytes.
        high: u64,
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
    /// With `Accept=yes`: take connections for as long as the sockets are open; each is answered
    /// by [`Event::Accepted`].
    Await {
        /// Whose.
        unit: UnitName,
    },
    /// Let no new connection into the queue of these sockets, and wait for what is queued to be
    /// accepted; an instance that shares its sockets is held still at an instant when it has read
    /// what it accepted. Answered by [`Event::Quiet`] (at once if there is nothing to wait for).
    Quiesce {
        /// A service: its sockets. An instance of one with `ReusePort=`: its own socket. Another
        /// instance: its processes.
        unit: UnitName,
    },
    /// The wait of [`Action::Quiesce`] for an instance is over: what was held still goes on once
    /// all actions of this event are done.
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
    /// instance, or of one more than are wanted, is free again; the connection of a service that
    /// was to serve one is closed.
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
