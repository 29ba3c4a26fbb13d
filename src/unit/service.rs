//! What a `[Service]` section says, in types: plain public fields, no behaviour.
//!
//! Not how it runs: `manager::service` decides that. Names, defaults and meanings are
//! systemd.service(5)'s, systemd.exec(5)'s and systemd.kill(5)'s unless a field says otherwise.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::command::ExecCommand;
use super::health::Health;
use super::process::{ExitStatus, Signal};
use super::resources::Resources;
use super::rolling::{Instances, RollingUpdate};
use super::shared::Shared;

/// `Type=`: when the service counts as started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ServiceType {
    /// Right after fork.
    #[default]
    Simple,
    /// After a successful execve(2).
    Exec,
    /// After the last command ended with success.
    Oneshot,
    /// As simple, but held back until no job is left, 5 s at most.
    Idle,
    /// Once it says `READY=1` (sd_notify(3)).
    Notify,
    /// As notify; a reload is `ReloadSignal=`, `RELOADING=1` and then `READY=1`.
    NotifyReload,
    /// Once its first process has ended with success; the daemon that it left is the main process.
    Forking,
}

/// `NotifyAccess=`: whose notifications are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NotifyAccess {
    /// Nobody's.
    #[default]
    None,
    /// The main process's.
    Main,
    /// The main and the control process's.
    Exec,
    /// Those of every process of the unit.
    All,
}

/// `FileDescriptorStorePreserve=`: when what a service stored is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StorePreserve {
    /// With each end.
    No,
    /// With an end that no restart follows.
    #[default]
    Restart,
    /// When rinit ends.
    Yes,
}

/// `Restart=`: which ends of the main process start it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// None.
    #[default]
    No,
    /// All of them.
    Always,
    /// Clean ends only.
    OnSuccess,
    /// Every end that is not clean.
    OnFailure,
    /// A signal, a core dump, a timeout, the watchdog.
    OnAbnormal,
    /// A signal or a core dump.
    OnAbort,
    /// The watchdog only.
    OnWatchdog,
}

/// `KillMode=`: who gets the signals of a stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KillMode {
    /// Every process of the unit.
    #[default]
    ControlGroup,
    /// `KillSignal` to the main process, SIGKILL to the rest once it is gone.
    Mixed,
    /// The main process only.
    Process,
    /// Nobody.
    None,
}

/// `TimeoutStartFailureMode=`, `TimeoutStopFailureMode=`: what a timeout does first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimeoutFailureMode {
    /// `KillSignal=`, then `FinalKillSignal=`.
    #[default]
    Terminate,
    /// `WatchdogSignal=` (SIGABRT), then `FinalKillSignal=` after `TimeoutAbortSec=`.
    Abort,
    /// `FinalKillSignal=` at once.
    Kill,
}

/// `SuccessAction=`, `FailureAction=`, `StartLimitAction=`: what an end does to rinit.
/// On a machine of its own rinit's exit switches that off: `poweroff` and `halt` are an exit. In
/// a container `reboot` is one as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExitAction {
    /// Nothing.
    #[default]
    None,
    /// Stop everything in order, then exit.
    Exit,
    /// Exit at once: SIGKILL to everything.
    ExitForce,
    /// As [`ExitAction::Exit`]; a machine starts again.
    Reboot,
    /// As [`ExitAction::ExitForce`]; a machine starts again.
    RebootForce,
}

/// Exit codes and signals, as `SuccessExitStatus=` lists them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExitStatusSet {
    /// Listed codes.
    pub codes: std::collections::BTreeSet<u8>,
    /// Listed signals.
    pub signals: std::collections::BTreeSet<Signal>,
}

impl ExitStatusSet {
    /// Whether `exit` is listed.
    pub fn contains(&self, exit: ExitStatus) -> bool {
        match exit {
            ExitStatus::Exited(code) => self.codes.contains(&code),
            ExitStatus::Killed { signal, .. } => self.signals.contains(&signal),
        }
    }
}

/// Where a standard stream of a service leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StandardStream {
    /// rinit's own stream for input and output; for error: where output leads.
    Inherit,
    /// Captured, and relayed by the journal process to rinit's own stream; not for input.
    Journal,
    /// `/dev/null`.
    Null,
    /// The terminal of `TTYPath=` (default `/dev/console`).
    Tty,
    /// `file:`: read from or written to without truncation.
    File(String),
    /// `append:`.
    Append(String),
    /// `truncate:`.
    Truncate(String),
    /// `socket`: the one socket that it is passed.
    Socket,
}

/// One `LimitX=`: `None` is `infinity`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// The soft limit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// The resources of setrlimit(2), named as in `LimitNOFILE=`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // they are the kernel's names
pub enum Resource {
    Cpu,
    Fsize,
    Data,
    Stack,
    Core,
    Rss,
    Nofile,
    As,
    Nproc,
    Memlock,
    Locks,
    Sigpending,
    Msgqueue,
    Nice,
    Rtprio,
    Rttime,
}

/// One `EnvironmentFile=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvironmentFile {
    /// Absolute path; may be a glob pattern.
    pub path: String,
    /// It may be missing (a leading `-`).
    pub optional: bool,
}

/// `WorkingDirectory=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkingDirectory {
    /// An absolute path, or `~` for the home of `User=`.
    pub path: String,
    /// It may be missing (a leading `-`): then `/` is used.
    pub optional: bool,
}

/// Everything between fork and exec.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExecContext {
    /// `User=`: a name or a number.
    pub user: Option<String>,
    /// `Group=`: a name or a number.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub supplementary_groups: Vec<String>,
    /// `WorkingDirectory=`; unset: rinit's own at its start.
    pub working_directory: Option<WorkingDirectory>,
    /// `UMask=`; unset: inherited.
    pub umask: Option<u32>,
    /// `Environment=`, in order of assignment.
    pub environment: Vec<(String, String)>,
    /// `EnvironmentFile=`, in order.
    pub environment_files: Vec<EnvironmentFile>,
    /// `PassEnvironment=`: everything is passed on already, so this only documents.
    pub pass_environment: Vec<String>,
    /// `UnsetEnvironment=`: `NAME` or `NAME=value`, applied last.
    pub unset_environment: Vec<String>,
    /// `ExecSearchPath=`: directories for a bare program name.
    pub exec_search_path: Vec<String>,
    /// `Limit*=`; what is not named is inherited.
    pub limits: BTreeMap<Resource, Limit>,
    /// `Nice=`, −20 to 19.
    pub nice: Option<i32>,
    /// `OOMScoreAdjust=`, −1000 to 1000.
    pub oom_score_adjust: Option<i32>,
    /// `IgnoreSIGPIPE=` (rinit's default is no).
    pub ignore_sigpipe: bool,
    /// `StandardInput=`; unset: null for a unit, inherited for a COMMAND.
    pub standard_input: Option<StandardStream>,
    /// `StandardOutput=`; unset: captured, or inherited where input is a terminal or socket.
    pub standard_output: Option<StandardStream>,
    /// `StandardError=`; unset: where output leads, but captured apart from it.
    pub standard_error: Option<StandardStream>,
    /// `TTYPath=`; unset: `/dev/console`.
    pub tty_path: Option<String>,
    /// `LogRateLimitIntervalSec=`; unset: 30 s.
    pub log_rate_limit_interval: Option<Duration>,
    /// `LogRateLimitBurst=`: so many lines of the unit come out in an interval; 0: all.
    pub log_rate_limit_burst: u32,
    /// `LogFile=` (ours): what the unit writes goes to this file, too.
    pub log_file: Option<String>,
    /// `LogMaxFileSize=` (ours), in bytes; unset: 10 MiB.
    pub log_max_file_size: Option<u64>,
    /// `LogMaxFiles=` (ours); unset: 5.
    pub log_max_files: Option<u32>,
}

/// Everything a `[Service]` section says. What most units have in common is read and written as
/// if its fields stood here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Service {
    /// `ExecStart=`: exactly one unless `Type=oneshot`.
    pub exec_start: Shared<Vec<ExecCommand>>,
    /// How its processes are set up.
    pub exec: Shared<ExecContext>,
    /// All the rest.
    pub settings: Shared<ServiceSettings>,
}

impl Deref for Service {
    type Target = ServiceSettings;

    fn deref(&self) -> &ServiceSettings {
        &self.settings
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut ServiceSettings {
        &mut self.settings
    }
}

/// What a `[Service]` section says that seldom differs from unit to unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSettings {
    /// `Type=`.
    pub kind: ServiceType,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// `ExecCondition=`.
    pub exec_condition: Vec<ExecCommand>,
    /// `ExecStartPre=`.
    pub exec_start_pre: Vec<ExecCommand>,
    /// `ExecStartPost=`.
    pub exec_start_post: Vec<ExecCommand>,
    /// `ExecReload=`.
    pub exec_reload: Vec<ExecCommand>,
    /// `ExecStop=`.
    pub exec_stop: Vec<ExecCommand>,
    /// `ExecStopPost=`.
    pub exec_stop_post: Vec<ExecCommand>,

    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`: the first delay (100 ms).
    pub restart_sec: Duration,
    /// `RestartSteps=`: in how many steps the delay grows; `None`: it doubles.
    pub restart_steps: Option<u32>,
    /// `RestartMaxDelaySec=`: where it ends. rinit's default is 30 s; `None`: it does not grow.
    pub restart_max_delay: Option<Duration>,
    /// `RestartResetSec=` (ours): up for so long, and the delay starts anew (10 s).
    pub restart_reset: Duration,
    /// `SuccessExitStatus=`.
    pub success_exit_status: ExitStatusSet,
    /// `RestartPreventExitStatus=`.
    pub restart_prevent_exit_status: ExitStatusSet,
    /// `RestartForceExitStatus=`.
    pub restart_force_exit_status: ExitStatusSet,

    /// `TimeoutStartSec=` (90 s, infinity for oneshot); `None` is infinity.
    pub timeout_start: Option<Duration>,
    /// `TimeoutStopSec=` (90 s).
    pub timeout_stop: Option<Duration>,
    /// `TimeoutAbortSec=`; unset: as `timeout_stop`.
    pub timeout_abort: Option<Duration>,
    /// `TimeoutStartFailureMode=`.
    pub timeout_start_failure_mode: TimeoutFailureMode,
    /// `TimeoutStopFailureMode=`.
    pub timeout_stop_failure_mode: TimeoutFailureMode,
    /// `RuntimeMaxSec=`: how long it may be up; `None` is infinity.
    pub runtime_max: Option<Duration>,
    /// `RuntimeRandomizedExtraSec=`: 0 to this is added.
    pub runtime_randomized_extra: Duration,

    /// `KillMode=`.
    pub kill_mode: KillMode,
    /// `KillSignal=` (SIGTERM).
    pub kill_signal: Signal,
    /// `RestartKillSignal=`; unset: `kill_signal`.
    pub restart_kill_signal: Option<Signal>,
    /// `FinalKillSignal=` (SIGKILL).
    pub final_kill_signal: Signal,
    /// `WatchdogSignal=` (SIGABRT): also what `abort` timeouts send.
    pub watchdog_signal: Signal,
    /// `SendSIGHUP=`: SIGHUP right after the signal of a stop.
    pub send_sighup: bool,
    /// `SendSIGKILL=` (yes).
    pub send_sigkill: bool,
    /// `ForwardSignals=` (ours): the signals to rinit, other than those that stop or reload it,
    /// that the main process is sent too; unset: those that it catches.
    pub forward_signals: Option<std::collections::BTreeSet<Signal>>,

    /// `NotifyAccess=`; what `Type=`, `WatchdogSec=` and the store imply is in it already.
    pub notify_access: NotifyAccess,
    /// `NotificationFd=` (ours): a newline on this descriptor means ready.
    pub notification_fd: Option<i32>,
    /// `ReadyLogPattern=` (ours): a line that this regular expression finds something in means ready.
    pub ready_log_pattern: Option<String>,
    /// `ReadyOn = "accept"` (ours): ready once its main process waits for connections.
    pub ready_on_accept: bool,
    /// `ReloadSignal=` (SIGHUP) of `Type=notify-reload`.
    pub reload_signal: Signal,
    /// `PIDFile=`: absolute.
    pub pid_file: Option<String>,
    /// `GuessMainPID=` (yes).
    pub guess_main_pid: bool,
    /// `WatchdogSec=`: how often it must say `WATCHDOG=1`; `None`: it need not.
    pub watchdog: Option<Duration>,
    /// `FileDescriptorStoreMax=` (0).
    pub descriptor_store_max: u32,
    /// `FileDescriptorStorePreserve=`.
    pub descriptor_store_preserve: StorePreserve,
    /// `NonBlocking=`: O_NONBLOCK on the sockets that it is passed.
    pub non_blocking: bool,
    /// `[Health]`.
    pub health: Option<Box<Health>>,
    /// `Instances=` (ours); `None`: one, without a number.
    pub instances: Option<Instances>,
    /// `RollingUpdate=` (ours).
    pub rolling_update: RollingUpdate,
    /// What it may use; `None`: nothing is said about it.
    pub resources: Option<Box<Resources>>,
}

impl Default for ServiceSettings {
    fn default() -> ServiceSettings {
        ServiceSettings {
            kind: ServiceType::Simple,
            remain_after_exit: false,
            exec_condition: Vec::new(),
            exec_start_pre: Vec::new(),
            exec_start_post: Vec::new(),
            exec_reload: Vec::new(),
            exec_stop: Vec::new(),
            exec_stop_post: Vec::new(),
            restart: Restart::No,
            restart_sec: Duration::from_millis(100),
            restart_steps: None,
            restart_max_delay: Some(Duration::from_secs(30)),
            restart_reset: Duration::from_secs(10),
            success_exit_status: ExitStatusSet::default(),
            restart_prevent_exit_status: ExitStatusSet::default(),
            restart_force_exit_status: ExitStatusSet::default(),
            timeout_start: Some(Duration::from_secs(90)),
            timeout_stop: Some(Duration::from_secs(90)),
            timeout_abort: None,
            timeout_start_failure_mode: TimeoutFailureMode::Terminate,
            timeout_stop_failure_mode: TimeoutFailureMode::Terminate,
            runtime_max: None,
            runtime_randomized_extra: Duration::ZERO,
            kill_mode: KillMode::ControlGroup,
            kill_signal: Signal::TERM,
            restart_kill_signal: None,
            final_kill_signal: Signal::KILL,
            watchdog_signal: Signal::ABRT,
            send_sighup: false,
            send_sigkill: true,
            forward_signals: None,
            notify_access: NotifyAccess::None,
            notification_fd: None,
            ready_log_pattern: None,
            ready_on_accept: false,
            reload_signal: Signal::HUP,
            pid_file: None,
            guess_main_pid: true,
            watchdog: None,
            descriptor_store_max: 0,
            descriptor_store_preserve: StorePreserve::Restart,
            non_blocking: false,
            health: None,
            instances: None,
            rolling_update: RollingUpdate::default(),
            resources: None,
        }
    }
}
