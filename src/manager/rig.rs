//! (tests) A world in which everything works at once, unless a test says otherwise.
//!
//! Not the simulation (`sim`), where anything may happen at any time: here a test is a story
//! that is told in a few lines, and its expected log is read like one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::Manager;
use super::event::{Action, CheckOutcome, ClientId, Event, Fact, JobKind, ManagerConfig};
use super::event::{Notice, ProbeKind, ProbeOutcome, ProcessId, ProcessRole, Request, SpawnError};
use super::readiness::Readiness;
use super::status::UnitStatus;
use super::time::Timestamp;
use crate::unit::command::ExecCommand;
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::ServiceType;
use crate::unit::{Dependency, Unit, UnitName, UnitSet};

/// A command of no particular meaning.
pub fn command() -> ExecCommand {
    ExecCommand {
        program: "/bin/x".to_string(),
        argv0: None,
        arguments: Vec::new(),
        ignore_failure: false,
        no_expansion: false,
        full_privileges: false,
        no_setuid: false,
    }
}

/// A name: `a` is `a.service`.
pub fn name(stem: &str) -> UnitName {
    UnitName::service(stem).unwrap()
}

/// Dependencies on these.
pub fn on(stems: &[&str]) -> Vec<Dependency> {
    stems.iter().map(|stem| Dependency { name: name(stem), span: None }).collect()
}

/// A simple service with one command.
pub fn simple(stem: &str) -> Unit {
    let mut unit = Unit::new(name(stem));
    unit.service.exec_start = vec![command()].into();
    unit
}

/// A oneshot with one command.
pub fn oneshot(stem: &str) -> Unit {
    let mut unit = simple(stem);
    unit.service.kind = ServiceType::Oneshot;
    unit.service.timeout_start = None;
    unit
}

/// Ordered after, and requiring, these.
pub fn needs(mut unit: Unit, stems: &[&str]) -> Unit {
    unit.after = on(stems).into();
    unit.requires = on(stems).into();
    unit
}

/// The manager and its obliging world.
pub struct Rig {
    manager: Manager,
    now: Timestamp,
    processes: BTreeMap<ProcessId, (UnitName, ProcessRole)>,
    /// Units whose processes ignore SIGTERM.
    pub stubborn: BTreeSet<UnitName>,
    /// Units that answer SIGTERM by leaving one more process behind.
    pub littering: BTreeSet<UnitName>,
    /// The kernel has no room for another process.
    pub full: bool,
    /// So much later than its deadlines the manager is woken.
    pub lateness: Duration,
    late: BTreeSet<UnitName>,
    /// What a reload reads; `None`: something with errors.
    pub on_disk: Option<UnitSet>,
    /// What a search for a main process finds.
    pub daemons: BTreeMap<UnitName, Result<ProcessId, String>>,
    /// Units whose conditions do not hold.
    pub unmet: BTreeSet<UnitName>,
    /// Units whose address is somebody else's.
    pub busy: BTreeSet<UnitName>,
    /// Services that are to serve a connection.
    accepted: BTreeSet<UnitName>,
    /// Units in whose queues somebody waits that nobody accepts.
    pub queued: BTreeSet<UnitName>,
    log: String,
    /// rinit's exit status, once it left.
    pub exit: Option<u8>,
}

impl Rig {
    /// With these units and a stop budget of 9 s.
    pub fn new(units: Vec<Unit>) -> Rig {
        Rig::with(units, |_| ())
    }

    /// With another configuration.
    pub fn with(units: Vec<Unit>, adjust: impl FnOnce(&mut ManagerConfig)) -> Rig {
        let units = units.into_iter().map(|unit| (unit.name.clone(), Arc::new(unit))).collect();
        let mut config = ManagerConfig {
            shutdown_timeout: Duration::from_secs(9),
            drain: Duration::ZERO,
            stop_signal: None,
            command: None,
            seed: 1,
        };
        adjust(&mut config);
        Rig {
            manager: Manager::new(UnitSet { units, ..UnitSet::default() }, config),
            now: Timestamp::ZERO,
            processes: BTreeMap::new(),
            stubborn: BTreeSet::new(),
            littering: BTreeSet::new(),
            full: false,
            lateness: Duration::ZERO,
            late: BTreeSet::new(),
            on_disk: None,
            daemons: BTreeMap::new(),
            unmet: BTreeSet::new(),
            busy: BTreeSet::new(),
            accepted: BTreeSet::new(),
            queued: BTreeSet::new(),
            log: String::new(),
            exit: None,
        }
    }

    /// A connection to `echo.socket` from there, for `echo@INSTANCE.service`.
    pub fn connect(&mut self, instance: &str, source: &str) {
        let (socket, unit) =
            (UnitName::parse("echo.socket").unwrap(), name(&format!("echo@{instance}")));
        self.accepted.insert(unit.clone());
        self.event(Event::Accepted { socket, unit, source: source.to_string() });
    }

    /// Delivers one event and everything that the world answers.
    pub fn event(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.manager.handle(self.now, event);
            while let Some(action) = self.manager.poll_action() {
                self.perform(action, &mut events);
            }
        }
    }

    /// Boots.
    pub fn boot(&mut self) {
        self.event(Event::Boot);
    }

    /// The main process of a unit exits.
    pub fn exits(&mut self, stem: &str, code: u8) {
        self.ends(stem, ProcessRole::ExecStart, ExitStatus::Exited(code));
    }

    /// The process of a unit in this role, that of the highest number if there are several.
    pub fn process(&self, stem: &str, role: ProcessRole) -> ProcessId {
        let wanted = (name(stem), role);
        let found = self.processes.iter().rev().find(|(_, it)| **it == wanted);
        *found.unwrap_or_else(|| panic!("{stem} has no {role:?}")).0
    }

    /// The main process of a unit says something.
    pub fn says(&mut self, stem: &str, notice: Notice) {
        let process = Some(self.process(stem, ProcessRole::ExecStart));
        self.event(Event::Notified { unit: name(stem), process, notice });
    }

    /// The answer to a probe of the main process of a unit.
    pub fn probed(&mut self, stem: &str, kind: ProbeKind, good: bool) {
        let process = self.process(stem, ProcessRole::ExecStart);
        let bad = || ProbeOutcome::Bad("connection refused".to_string());
        let outcome = if good { ProbeOutcome::Good } else { bad() };
        self.event(Event::Probed { process, kind, outcome });
    }

    /// One more process of a unit, that nobody but its own knows.
    pub fn forks(&mut self, stem: &str, number: u64) -> ProcessId {
        let process = ProcessId(number);
        self.processes.insert(process, (name(stem), ProcessRole::ExecStart));
        process
    }

    /// Whether traffic may come.
    pub fn readiness(&self) -> Readiness {
        self.manager.readiness()
    }

    /// What the manager says of a unit.
    pub fn status(&self, stem: &str) -> UnitStatus {
        self.manager.unit_status(&name(stem)).unwrap()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A process of a unit ends.
    pub fn ends(&mut self, stem: &str, role: ProcessRole, exit: ExitStatus) {
        let wanted = (name(stem), role);
        let process = self.processes.iter().find(|(_, it)| **it == wanted).map(|(id, _)| *id);
        let process = process.unwrap_or_else(|| panic!("{stem} has no {role:?}"));
        self.processes.remove(&process);
        self.event(Event::Exited { process, exit, exec_error: None });
    }

    /// A signal to rinit.
    pub fn signal(&mut self, signal: Signal) {
        self.event(Event::Signal(signal));
    }

    /// A client's wish.
    pub fn ask(&mut self, kind: JobKind, stem: &str) {
        self.ask_of(kind, name(stem));
    }

    /// A client's wish for a unit of any kind.
    pub fn ask_of(&mut self, kind: JobKind, unit: UnitName) {
        let request = Request::Job { kind, unit };
        self.event(Event::Request { client: ClientId(1), request });
    }

    /// Services that serve a connection, and those whose connection has not been let go.
    pub fn connections(&self) -> (Vec<UnitStatus>, usize) {
        let serves = |status: &UnitStatus| status.unit.connection_of.is_some();
        (self.manager.status().filter(serves).collect(), self.accepted.len())
    }

    /// Whether there is such a service.
    pub fn knows(&self, stem: &str) -> bool {
        self.manager.unit_status(&name(stem)).is_some()
    }

    /// Time passes, and every deadline on the way is met.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now.after(Duration::from_millis(ms));
        while let Some(at) = self.manager.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at.after(self.lateness));
            let _ = writeln!(self.log, "-- {}", self.now);
            self.event(Event::Timer);
        }
        self.now = until;
    }

    /// What has been logged since the last time.
    pub fn log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }

    fn perform(&mut self, action: Action, events: &mut std::collections::VecDeque<Event>) {
        match action {
            Action::Probe { unit, kind, .. } => {
                let _ = writeln!(self.log, "probe {} {kind:?}", unit.name.stem());
            }
            Action::FindMain { unit } => {
                let unit = unit.name.clone();
                let main = match self.daemons.get(&unit) {
                    Some(Ok(process)) => {
                        self.processes.insert(*process, (unit.clone(), ProcessRole::ExecStart));
                        Ok(*process)
                    }
                    Some(Err(why)) => Err(why.clone()),
                    None => Err("there is none".to_string()),
                };
                events.push_back(Event::FoundMain { unit, main });
            }
            Action::Listen { unit, .. } => {
                let unit = unit.name.clone();
                let _ = writeln!(self.log, "listen {}", unit.stem());
                let outcome = match self.busy.contains(&unit) {
                    true => Err("bind 0.0.0.0:80: Address already in use".to_string()),
                    false => Ok(()),
                };
                events.push_back(Event::Listening { unit, outcome });
            }
            Action::Unlisten { unit } => {
                let _ = writeln!(self.log, "unlisten {}", unit.stem());
            }
            Action::Await { unit } => {
                let _ = writeln!(self.log, "await {}", unit.stem());
            }
            Action::Quiesce { unit } => {
                let _ = writeln!(self.log, "quiesce {}", unit.stem());
                if !self.queued.contains(&unit) {
                    events.push_back(Event::Quiet { unit });
                }
            }
            Action::Resume { unit } => {
                let _ = writeln!(self.log, "resume {}", unit.stem());
            }
            Action::Steer { unit, ready } => {
                let _ = writeln!(self.log, "steer {} {ready:?}", unit.stem());
            }
            Action::Rename { from, to } => {
                let _ = writeln!(self.log, "rename {} {}", from.stem(), to.stem());
                let owners = self.processes.values_mut().filter(|(unit, _)| *unit == from);
                owners.for_each(|(unit, _)| *unit = to.clone());
                if self.stubborn.remove(&from) {
                    self.stubborn.insert(to);
                }
            }
            Action::Check { unit } => {
                let unit = unit.name.clone();
                let outcome = if self.unmet.contains(&unit) {
                    CheckOutcome::ConditionFailed { condition: "ConditionPathExists=/x".into() }
                } else {
                    CheckOutcome::Met
                };
                events.push_back(Event::Checked { unit, outcome });
            }
            Action::Spawn(request) if self.full => {
                let message = "fork: Resource temporarily unavailable".to_string();
                let error = SpawnError::Temporary { errno: 11, message };
                events.push_back(Event::SpawnFailed { process: request.process, error });
            }
            Action::Spawn(request) => {
                let unit = request.unit.name.clone();
                let _ = writeln!(self.log, "spawn {} {:?}", unit.stem(), request.role);
                self.processes.insert(request.process, (unit, request.role));
                events.push_back(Event::Spawned { process: request.process });
                events.push_back(Event::Execed { process: request.process });
            }
            Action::KillProcess { process, signal } => {
                if let Some((unit, _)) = self.processes.get(&process).cloned() {
                    let _ = writeln!(self.log, "kill {} {signal}", unit.stem());
                    self.deliver(process, &unit, signal, events);
                }
            }
            Action::Forward { process, signal } => {
                if let Some((unit, _)) = self.processes.get(&process) {
                    let _ = writeln!(self.log, "forward {} {signal}", unit.stem());
                }
            }
            Action::KillUnit { unit, signal } => {
                let ids = self.of(&unit);
                if let Some(signal) = signal.filter(|signal| *signal != Signal::CONT)
                    && self.late.remove(&unit)
                {
                    let _ = writeln!(self.log, "kill the late one of {} {signal}", unit.stem());
                }
                for process in &ids {
                    if let Some(signal) = signal {
                        if signal != Signal::CONT {
                            let _ = writeln!(self.log, "kill {} {signal}", unit.stem());
                        }
                        self.deliver(*process, &unit, signal, events);
                    }
                }
                if self.is_empty(&unit) {
                    events.push_back(Event::Empty { unit });
                }
            }
            Action::KillEverything { .. } => events.push_back(Event::NothingLeft),
            Action::Release { unit } => {
                if self.accepted.remove(&unit) {
                    let _ = writeln!(self.log, "let go {}", unit.stem());
                }
            }
            Action::Load => {
                let _ = writeln!(self.log, "load");
                events.push_back(Event::Loaded { units: self.on_disk.clone() });
            }
            Action::Reply { reply, .. } => {
                let _ = writeln!(self.log, "reply {reply:?}");
            }
            Action::Record(fact) => self.record(&fact),
            Action::Exit { code } => {
                let _ = writeln!(self.log, "exit {code}");
                self.exit = Some(code);
            }
        }
    }

    fn of(&self, unit: &UnitName) -> Vec<ProcessId> {
        self.processes.iter().filter(|(_, it)| it.0 == *unit).map(|(id, _)| *id).collect()
    }

    fn deliver(
        &mut self,
        process: ProcessId,
        unit: &UnitName,
        signal: Signal,
        events: &mut std::collections::VecDeque<Event>,
    ) {
        let deadly = signal == Signal::KILL
            || (!self.stubborn.contains(unit) && signal != Signal::CONT && signal != Signal::USR1);
        if deadly && self.processes.remove(&process).is_some() {
            let exit = ExitStatus::Killed { signal, core_dumped: false };
            events.push_back(Event::Exited { process, exit, exec_error: None });
            if signal != Signal::KILL && self.littering.contains(unit) {
                self.late.insert(unit.clone());
            }
            if self.is_empty(unit) {
                events.push_back(Event::Empty { unit: unit.clone() });
            }
        }
    }

    fn is_empty(&self, unit: &UnitName) -> bool {
        self.of(unit).is_empty() && !self.late.contains(unit)
    }

    fn record(&mut self, fact: &Fact) {
        let _ = match fact {
            Fact::State { unit, from, to, .. } => {
                writeln!(self.log, "{} {from} > {to}", unit.stem())
            }
            Fact::Job { unit, kind, result, reason } => {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                writeln!(
                    self.log,
                    "{} {} job {}{reason}",
                    unit.stem(),
                    kind.verb(),
                    result.as_str()
                )
            }
            Fact::RestartScheduled { unit, attempt, .. } => {
                writeln!(self.log, "{} restarts, {attempt}. in a row", unit.stem())
            }
            Fact::Follows { unit, kind, leader, dependency } => {
                let (unit, verb, leader) = (unit.stem(), kind.verb(), leader.stem());
                writeln!(self.log, "{unit} to {verb} with {leader} by {dependency}")
            }
            Fact::NotRestarted { unit, exit } => {
                writeln!(self.log, "{} not restarted: {exit}", unit.stem())
            }
            Fact::StartLimitHit { unit, .. } => {
                writeln!(self.log, "{} start limit hit", unit.stem())
            }
            Fact::TimedOut { unit, state, after, missing, .. } => {
                let missing = if missing.is_empty() { "" } else { &format!(": {missing}") };
                writeln!(self.log, "{} {state} timed out after {after:?}{missing}", unit.stem())
            }
            Fact::Exhausted { unit, up, total, delay, .. } => {
                writeln!(self.log, "{} exhausted, {up} of {total} up, {delay:?}", unit.stem())
            }
            Fact::Scaled { unit, from, to } => {
                writeln!(self.log, "{} scaled {from} > {to}", unit.stem())
            }
            Fact::Roll { unit, what, done, total } => {
                writeln!(self.log, "{} roll {done}/{total}: {what:?}", unit.stem())
            }
            Fact::ListenFailed { unit, reason } => {
                writeln!(self.log, "{} cannot listen: {reason}", unit.stem())
            }
            Fact::ConnectionRefused { unit, source, directive, limit } => {
                writeln!(self.log, "{} refuses {source}: {directive}={limit}", unit.stem())
            }
            Fact::TriggerLimitHit { unit, .. } => {
                writeln!(self.log, "{} trigger limit hit", unit.stem())
            }
            Fact::Stopping { cause, .. } => writeln!(self.log, "stopping: {cause:?}"),
            Fact::Booted { .. } => writeln!(self.log, "booted"),
            Fact::BudgetSpent { units } => writeln!(self.log, "budget spent: {units:?}"),
            Fact::Protocol { unit, reason } => writeln!(self.log, "{}: {reason}", unit.stem()),
            Fact::Watchdog { unit, signal, .. } => {
                writeln!(self.log, "{} watchdog, {signal}", unit.stem())
            }
            Fact::Health { unit, healthy, after, .. } => {
                writeln!(self.log, "{} healthy {healthy} after {after}", unit.stem())
            }
            Fact::OomKill { unit, kill } => {
                writeln!(self.log, "{} oom-kill by {:?}", unit.stem(), kill.by)
            }
            Fact::MemoryHigh { unit, .. } => writeln!(self.log, "{} memory high", unit.stem()),
            Fact::Status { unit, status } => writeln!(self.log, "{}: {status}", unit.stem()),
            Fact::Started { .. }
            | Fact::Exited { .. }
            | Fact::SpawnFailed { .. }
            | Fact::Abandoned { .. }
            | Fact::Hurried { .. }
            | Fact::Forwarded { .. }
            | Fact::SignalIgnored { .. } => Ok(()),
        };
    }
}
