//! The shell: the only place where `sys` meets `manager`.
//!
//! Not a decision and not a system call. [`run`] takes what the command line and the units say,
//! and comes back with rinit's exit status. **Invariant:** once the loop has begun nothing here
//! returns an error; what goes wrong is an event, a line, or the last stand.

mod activation;
mod capacity;
mod conditions;
mod control;
mod event_loop;
mod figures;
mod freezer;
mod http;
mod journal;
mod last_stand;
mod level;
mod main_process;
mod members;
pub mod memory;
mod notify;
mod perform;
mod probe;
mod processes;
mod ready_fd;
pub mod report;
mod socket;
mod sockets;
mod spawn_plan;
mod upward;

pub use control::ControlConfig;
pub use last_stand::INTERNAL;
pub use socket::SocketChoice;

use std::ffi::CString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::manager::Manager;
use crate::manager::event::ManagerConfig;
use crate::sys::early::Inherited;
use crate::sys::{own_uid, raise_open_files, terminal};
use crate::unit::UnitSet;
use crate::unit::counted::counted;
use crate::unit::environment::Environment;
use crate::unit::load::Loaded;
use event_loop::Shell;
use journal::Journal;
use report::{Format, Level, Reporter};
use spawn_plan::{Spawner, inheritable};
use upward::Upward;

/// The exit status for "the system did not let us" (sysexits(3), EX_OSERR).
pub const SYSTEM: u8 = 71;

/// The exit status for what was asked and cannot be had here (sysexits(3), EX_CONFIG).
const CONFIGURATION: u8 = 78;

/// How rinit speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Up to which level.
    pub level: Level,
    /// In which form.
    pub format: Format,
}

/// Reads all units again, as they were read at the start.
pub struct Reload(pub Box<dyn Fn() -> Loaded>);

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reload")
    }
}

/// Where others may ask rinit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doors {
    /// The control socket.
    pub control: ControlConfig,
    /// HTTP.
    pub http: Option<SocketAddr>,
}

/// How rinit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// rinit's exit status.
    pub code: u8,
    /// What ended it wants the machine to start again.
    pub reboot: bool,
}

impl Ended {
    /// By this status, and no more.
    pub fn with(code: u8) -> Ended {
        Ended { code, reboot: false }
    }
}

/// Runs the units until their end.
pub fn run(
    mut inherited: Inherited,
    environment: Environment,
    mut units: UnitSet,
    config: ManagerConfig,
    log: LogConfig,
    doors: Doors,
    reload: Reload,
) -> Ended {
    let command = config.command.clone();
    let mut report = Reporter::new(log.level, log.format, command);
    if doors.control.socket != SocketChoice::None {
        report.remember();
    }
    let role = if inherited.is_pid1 { "PID 1" } else { "not PID 1, child subreaper" };
    let count = units.units.len();
    let text = format!("{role}, uid {}, {}", own_uid(), counted(count, "unit"));
    report.message(Level::Info, text);
    for warning in &inherited.warnings {
        report.message(Level::Warn, warning.as_str());
    }
    let (upward, warning) = Upward::new(&environment, event_loop::now());
    if let Some(warning) = warning {
        report.message(Level::Warn, warning);
    }
    let given = inherited.take_sockets();
    for note in capacity::settle(&mut units) {
        report.message(Level::Info, note);
    }
    let reload = Reload(Box::new(move || {
        let mut loaded = (reload.0)();
        capacity::settle(&mut loaded.units);
        loaded
    }));
    let slices = units.slices.clone();
    let all: Vec<_> = units.units.values().cloned().collect();
    let mut spawner = spawner(inherited, environment, &config);
    // Two pipes for each process; a bare COMMAND has none.
    if count > usize::from(config.command.is_some()) {
        spawner.open_files = raise_open_files();
    }
    let manager = Manager::new(units, config);
    last_stand::install_hook();
    let is_json = log.format == Format::Json;
    let mut shell = match Shell::new(manager, report, spawner, doors.control, reload) {
        Ok(shell) => shell,
        Err(error) => {
            crate::sys::stderr::write_line(&format!("rinit: epoll, signalfd: {error}"));
            return Ended::with(SYSTEM);
        }
    };
    shell.upward = upward;
    shell.journal = Journal::new(is_json);
    shell.sockets.inherit(given);
    let opened = shell.open_named_socket();
    if let Err(message) = opened.and_then(|()| shell.open_http(doors.http)) {
        shell.refuse(&message);
        return Ended::with(SYSTEM);
    }
    if let Err(message) = shell.settle_groups(&all, &slices) {
        shell.refuse(&message);
        return Ended::with(CONFIGURATION);
    }
    drop((all, slices)); // the manager's are enough from now on
    match catch_unwind(AssertUnwindSafe(|| shell.run())) {
        Ok(code) => Ended { code, reboot: shell.manager.reboots() },
        Err(_) => Ended::with(last_stand::run(&mut shell)),
    }
}

fn spawner(inherited: Inherited, environment: Environment, config: &ManagerConfig) -> Spawner {
    let directory = inherited.directory.map(|path| path.into_os_string().into_vec());
    let directory = directory.and_then(|path| CString::new(path).ok());
    let has_command = config.command.is_some();
    Spawner {
        environment: inheritable(environment.into_iter()),
        directory,
        words: inherited.words,
        umask: inherited.umask,
        oom_protected: inherited.oom_protected,
        open_files: None,
        command: config.command.clone(),
        controlled: has_command && terminal::is_controlled(),
        terminal: if has_command { terminal::foreground() } else { None },
    }
}
