//! Asking services whether they are well: `[Health]` and `ReadyOn=`, inside the one poll.
//!
//! Not when and what follows (`manager::service::health`). **Invariant:** each [`Action::Probe`]
//! is answered once, within its `TimeoutSec=`, or never if its process is gone; nothing waits.
//!
//! [`Action::Probe`]: crate::manager::event::Action::Probe

mod stall;
mod target;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::event_loop::{FIRST_PROBE, Shell, now};
use super::journal::Capture;
use super::processes::Purpose;
use super::sockets::Passed;
use crate::manager::event::{Event, ProbeKind, ProbeOutcome, ProcessId, ProcessRole, SpawnRequest};
use crate::manager::time::Timestamp;
use crate::sys::http_probe::{self, HttpProbe};
use crate::sys::probe::ProbeSocket;
use crate::sys::{activity, errno_of, exec, kill, proc_sockets, reason};
use crate::unit::Unit;
use crate::unit::command::ExecCommand;
use crate::unit::health::{Health, HealthCheck};
use crate::unit::process::{ExecError, ExitStatus, Signal};
use crate::unit::timespan::format_timespan;
use stall::Stall;
use target::Target;

/// A connection to a service.
#[derive(Debug)]
struct Connection {
    /// The main process that is asked.
    process: ProcessId,
    target: Target,
    /// Which of the target's addresses it is.
    address: SocketAddr,
    /// How many of them were tried.
    tried: usize,
    source: Option<SocketAddr>,
    talk: Talk,
    timeout: Duration,
    deadline: Timestamp,
}

/// What is done on it.
#[derive(Debug)]
enum Talk {
    Tcp(ProbeSocket),
    Http(HttpProbe),
}

/// An `Exec=` that runs.
#[derive(Debug)]
struct Command {
    /// The main process that it is about.
    process: ProcessId,
    timeout: Duration,
    /// `None`: it was answered already, or is not to be.
    deadline: Option<Timestamp>,
}

/// All that is being asked.
#[derive(Debug, Default)]
pub(super) struct Probes {
    connections: BTreeMap<usize, Connection>,
    commands: BTreeMap<ProcessId, Command>,
    /// What was seen of processes that may be stuck.
    stalls: BTreeMap<ProcessId, Stall>,
    /// How many connections there have been.
    serials: usize,
    /// Connections with news.
    ready: VecDeque<usize>,
}

impl Probes {
    /// The connection behind this token has news.
    pub(super) fn knock(&mut self, serial: usize) {
        self.ready.push_back(serial);
    }

    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the first of them has taken too long.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let connections = self.connections.values().map(|connection| connection.deadline);
        let commands = self.commands.values().filter_map(|command| command.deadline);
        connections.chain(commands).min()
    }
}

/// How far a connection is.
enum Progress {
    Waiting,
    Done(ProbeOutcome),
    /// This address cannot be reached, and why.
    Failed(String),
}

impl Shell {
    /// Asks; the answer, if it is there at once.
    pub(super) fn probe(
        &mut self,
        process: ProcessId,
        unit: &Arc<Unit>,
        kind: ProbeKind,
    ) -> Option<Event> {
        let outcome = match kind {
            ProbeKind::Health => self.probe_health(process, unit)?,
            ProbeKind::Accept => self.probe_accept(process, unit),
            ProbeKind::Stall => self.probe_stall(process, unit),
        };
        Some(Event::Probed { process, kind, outcome })
    }

    fn probe_health(&mut self, process: ProcessId, unit: &Arc<Unit>) -> Option<ProbeOutcome> {
        let Some(health) = unit.service.health.as_deref() else { return Some(ProbeOutcome::Good) };
        let begun = match &health.check {
            None => return Some(ProbeOutcome::Good),
            Some(HealthCheck::Exec(command)) => {
                self.probe_by_command(process, unit, command, health.timeout)
            }
            Some(check) => self.probe_by_connection(process, unit, check, health),
        };
        begun.err().map(ProbeOutcome::Bad)
    }

    fn probe_by_connection(
        &mut self,
        process: ProcessId,
        unit: &Unit,
        check: &HealthCheck,
        health: &Health,
    ) -> Result<(), String> {
        let target =
            target::target(check, unit.socket.as_deref(), self.sockets.first_address(unit))?;
        let source = if target.own { self.probe_source(unit) } else { None };
        let (address, tried, talk) = connect(&target, 0, source)?;
        let connection = Connection {
            process,
            target,
            address,
            tried,
            source,
            talk,
            timeout: health.timeout,
            deadline: now().after(health.timeout),
        };
        self.probes.serials += 1;
        let serial = self.probes.serials;
        register(self.poll.registry(), &connection.talk, serial)?;
        self.probes.connections.insert(serial, connection);
        Ok(())
    }

    /// The source port by which one instance of several behind a port is reached.
    fn probe_source(&self, unit: &Unit) -> Option<SocketAddr> {
        self.sockets.probe_source(&unit.name)
    }

    fn probe_by_command(
        &mut self,
        process: ProcessId,
        unit: &Arc<Unit>,
        command: &ExecCommand,
        timeout: Duration,
    ) -> Result<(), String> {
        let status = self.manager.unit_status(&unit.name);
        let invocation = status.map(|status| status.invocation).unwrap_or_default();
        let id = self.table.own_id();
        let request = SpawnRequest {
            process: id,
            unit: Arc::clone(unit),
            role: ProcessRole::ExecStartPost, // its like: beside the main process, for a moment
            index: 0,
            invocation,
            main: Some(process),
            result: None,
            monitor: None,
        };
        let main = self.table.get(process).map(|process| process.pid);
        let (output, error) = self.spawner.captured(unit);
        let capture = Capture::new(output, error);
        let capture = capture.map_err(|error| format!("Exec: {}", reason(errno_of(&error))))?;
        let passed = Passed { captured: capture.ends(), ..Passed::default() };
        let plan = self.spawner.plan_of(&request, command, main, &passed, &mut Vec::new());
        let plan = plan.map_err(|error| format!("Exec: {}", error.message))?;
        let (pid, starting) = exec::spawn(plan)
            .map_err(|error| format!("Exec: fork: {}", reason(errno_of(&error))))?;
        self.journal.hold(capture, unit, pid, None);
        self.members.spawned(pid, unit.name.clone(), invocation);
        self.table.insert(id, pid, unit.name.clone(), Purpose::Probe, Some(starting));
        self.newborn(id);
        let deadline = Some(now().after(timeout));
        self.probes.commands.insert(id, Command { process, timeout, deadline });
        Ok(())
    }

    /// `ReadyOn = "accept"`: some process of the unit holds a socket of ours in an epoll set, or
    /// listens itself.
    fn probe_accept(&mut self, process: ProcessId, unit: &Unit) -> ProbeOutcome {
        let passed = self.sockets.inodes(unit);
        let main = self.table.get(process).map(|process| process.pid);
        let others = self.members.living_of(&unit.name, &self.table);
        let mut unseen = None;
        for pid in main.into_iter().chain(others.iter().map(|stat| stat.pid)) {
            let child = self.table.id_of(pid).and_then(|id| self.table.get(id));
            if child.is_some_and(|child| child.starting.is_some()) {
                // Until its exec it has copies of all that we hold: our control socket listens.
                continue;
            }
            match proc_sockets::waits_for_connections(pid, &passed) {
                Ok(true) => return ProbeOutcome::Good,
                Ok(false) => {}
                Err(error) => {
                    unseen.get_or_insert_with(|| {
                        let why = reason(errno_of(&error)).to_lowercase();
                        format!("what process {pid} waits for cannot be seen: {why}")
                    });
                }
            }
        }
        let why = unseen.unwrap_or_else(|| "it does not wait for connections yet".to_owned());
        ProbeOutcome::Bad(why)
    }

    fn probe_stall(&mut self, process: ProcessId, unit: &Unit) -> ProbeOutcome {
        let limit = unit.service.health.as_ref().map_or(Duration::ZERO, |health| health.stall);
        let Some(pid) = self.table.get(process).map(|process| process.pid) else {
            return ProbeOutcome::Good; // its end is on its way
        };
        let queued = self.sockets.queued(&unit.name);
        let stall = self.probes.stalls.entry(process).or_default();
        stall.look(now(), queued, activity::main_thread(pid).ok(), limit)
    }

    /// The next answer.
    pub(super) fn next_probed(&mut self) -> Option<Event> {
        while let Some(serial) = self.probes.ready.pop_front() {
            if let Some(event) = self.advance(serial) {
                return Some(event);
            }
        }
        let now = now();
        if self.probes.next_deadline().is_none_or(|deadline| deadline > now) {
            return None;
        }
        self.overdue_connection(now).or_else(|| self.overdue_command(now))
    }

    fn advance(&mut self, serial: usize) -> Option<Event> {
        loop {
            let connection = self.probes.connections.get_mut(&serial)?;
            match connection.advance() {
                Progress::Waiting => return None,
                Progress::Done(outcome) => return self.answer(serial, outcome),
                Progress::Failed(why) => {
                    let registry = self.poll.registry();
                    deregister(registry, &connection.talk);
                    let again = connection
                        .try_next()
                        .ok()
                        .filter(|()| register(registry, &connection.talk, serial).is_ok());
                    if again.is_none() {
                        return self.answer(serial, ProbeOutcome::Bad(why));
                    }
                }
            }
        }
    }

    fn answer(&mut self, serial: usize, outcome: ProbeOutcome) -> Option<Event> {
        let connection = self.probes.connections.remove(&serial)?;
        // Not just closed: a child on its way to exec has a copy.
        deregister(self.poll.registry(), &connection.talk);
        Some(Event::Probed { process: connection.process, kind: ProbeKind::Health, outcome })
    }

    fn overdue_connection(&mut self, now: Timestamp) -> Option<Event> {
        let mut connections = self.probes.connections.iter();
        let (serial, connection) = connections.find(|(_, found)| found.deadline <= now)?;
        let outcome = connection.overdue();
        let serial = *serial;
        self.answer(serial, outcome)
    }

    fn overdue_command(&mut self, now: Timestamp) -> Option<Event> {
        let is_due = |command: &Command| command.deadline.is_some_and(|deadline| deadline <= now);
        let (id, command) = self.probes.commands.iter_mut().find(|(_, found)| is_due(found))?;
        command.deadline = None;
        let (process, timeout) = (command.process, command.timeout);
        if let Some(probe) = self.table.get(*id) {
            kill::group(probe.pid, Signal::KILL);
        }
        let outcome = ProbeOutcome::Bad(no_answer(timeout));
        Some(Event::Probed { process, kind: ProbeKind::Health, outcome })
    }

    /// An `Exec=` ended; its answer, unless it was overdue. What it left behind is killed.
    pub(super) fn command_ended(
        &mut self,
        id: ProcessId,
        exit: ExitStatus,
        error: Option<ExecError>,
    ) -> Option<Event> {
        if let Some(process) = self.table.get(id) {
            kill::group(process.pid, Signal::KILL);
        }
        let command = self.probes.commands.remove(&id)?;
        command.deadline?;
        let outcome = match (exit, error) {
            (_, Some(error)) => ProbeOutcome::Bad(format!("Exec: {}", error.message)),
            (ExitStatus::Exited(0), None) => ProbeOutcome::Good,
            (exit, None) => ProbeOutcome::Bad(format!("Exec {exit}")),
        };
        Some(Event::Probed { process: command.process, kind: ProbeKind::Health, outcome })
    }

    /// A main process is gone: nobody wants to know how it is.
    pub(super) fn cancel_probes(&mut self, process: ProcessId) {
        self.probes.stalls.remove(&process);
        let registry = self.poll.registry();
        self.probes.connections.retain(|_, connection| {
            let stays = connection.process != process;
            if !stays {
                deregister(registry, &connection.talk);
            }
            stays
        });
        for (id, command) in &mut self.probes.commands {
            let runs = command.process == process && command.deadline.take().is_some();
            if let Some(probe) = self.table.get(*id).filter(|_| runs) {
                kill::group(probe.pid, Signal::KILL);
            }
        }
    }
}

impl Connection {
    fn advance(&mut self) -> Progress {
        match &mut self.talk {
            Talk::Tcp(socket) => match socket.is_connected() {
                Ok(true) => Progress::Done(ProbeOutcome::Good),
                Ok(false) => Progress::Waiting,
                Err(error) => Progress::Failed(unreachable(&self.target, self.address, &error)),
            },
            Talk::Http(http) => match http.on_ready() {
                http_probe::Progress::Pending => Progress::Waiting,
                http_probe::Progress::Done(Ok(status)) => Progress::Done(self.judge(status)),
                http_probe::Progress::Done(Err(why)) => Progress::Failed(why),
            },
        }
    }

    /// The time is over: a status that has come counts, though its answer has no end yet.
    fn overdue(&self) -> ProbeOutcome {
        let status = match &self.talk {
            Talk::Tcp(_) => None,
            Talk::Http(http) => http.status(),
        };
        let bad = || {
            let target = self.target.describe(self.address);
            ProbeOutcome::Bad(format!("{} from {target}", no_answer(self.timeout)))
        };
        status.map_or_else(bad, |status| self.judge(status))
    }

    fn judge(&self, status: u16) -> ProbeOutcome {
        match status {
            200..400 => ProbeOutcome::Good,
            status => {
                let target = self.target.describe(self.address);
                ProbeOutcome::Bad(format!("HTTP {status} from {target}"))
            }
        }
    }

    /// Goes on with the next address.
    fn try_next(&mut self) -> Result<(), String> {
        (self.address, self.tried, self.talk) = connect(&self.target, self.tried, self.source)?;
        Ok(())
    }
}

impl AsRawFd for Talk {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Talk::Tcp(socket) => socket.as_raw_fd(),
            Talk::Http(http) => http.as_raw_fd(),
        }
    }
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer in {}", format_timespan(timeout))
}

fn unreachable(target: &Target, address: SocketAddr, error: &std::io::Error) -> String {
    format!("{}: {}", target.describe(address), reason(errno_of(error)).to_lowercase())
}

impl Target {
    fn talk(&self, socket: ProbeSocket) -> Talk {
        match &self.path {
            Some(path) => {
                Talk::Http(HttpProbe::new(socket, http_probe::request("localhost", path)))
            }
            None => Talk::Tcp(socket),
        }
    }
}

/// Begins a connection to the first address from the `tried`-th on that can be tried at all.
fn connect(
    target: &Target,
    tried: usize,
    source: Option<SocketAddr>,
) -> Result<(SocketAddr, usize, Talk), String> {
    let mut why = "no address to connect to".to_owned();
    for (index, address) in target.addresses.iter().enumerate().skip(tried) {
        match ProbeSocket::connect(*address, source) {
            Ok(socket) => return Ok((*address, index + 1, target.talk(socket))),
            Err(error) => why = unreachable(target, *address, &error),
        }
    }
    Err(why)
}

fn register(registry: &Registry, talk: &Talk, serial: usize) -> Result<(), String> {
    let token = Token(FIRST_PROBE.saturating_add(serial));
    let interest = Interest::READABLE | Interest::WRITABLE;
    let registered = registry.register(&mut SourceFd(&talk.as_raw_fd()), token, interest);
    registered.map_err(|error| format!("epoll: {error}"))
}

fn deregister(registry: &Registry, talk: &Talk) {
    let _ = registry.deregister(&mut SourceFd(&talk.as_raw_fd()));
}
