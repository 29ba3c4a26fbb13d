//! Decides: events in, actions out.
//!
//! Not a doer: processes, files and clocks are the shell's (`init`). **Invariant:** no I/O, no
//! clock, no randomness but the seed given, no logging, no failure; the same events give the
//! same actions. `sys` is unknown here.
//!
//! One event is applied to one unit; what follows for others is *settled* afterwards from two
//! queues, state changes and jobs to look at again, so that no depth of dependencies recurses.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

mod backoff;
mod ends;
pub mod event;
mod graph;
mod job;
mod out;
mod phases;
mod random;
mod reload;
#[cfg(test)]
mod rig;
mod service;
mod settle;
mod shutdown;
mod signals;
mod sockets;
pub mod state;
pub mod status;
#[cfg(test)]
mod socket_stories;
#[cfg(test)]
mod stories;
pub mod time;
mod transaction;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::unit::process::ExecStage;
use crate::unit::{UnitName, UnitSet};
use event::{Action, Event, ManagerConfig, ProcessId, Reply, Request, SpawnError};
use graph::Graph;
use job::Jobs;
use out::Out;
use service::Service;
use shutdown::Shutdown;
use sockets::Sockets;
use time::Timestamp;

/// The boot, until its last job has ended.
#[derive(Debug)]
struct Boot {
    since: Timestamp,
    left: BTreeSet<UnitName>,
}

/// The decider.
#[derive(Debug)]
pub struct Manager {
    units: UnitSet,
    config: ManagerConfig,
    graph: Graph,
    services: BTreeMap<UnitName, Service>,
    jobs: Jobs,
    sockets: Sockets,
    /// Units whose start is refused because of another's failure, and the reason.
    refused: VecDeque<(UnitName, String)>,
    out: Out,
    /// Every unit that has one, under its earliest deadline.
    deadlines: BTreeSet<(Timestamp, UnitName)>,
    indexed: BTreeMap<UnitName, Timestamp>,
    boot: Option<Boot>,
    booted: bool,
    /// Services that run or wait.
    live: usize,
    /// Is `Some` from the moment in which rinit's end is decided.
    shutdown: Option<Shutdown>,
    /// rinit's exit status, once something has decided it: the first cause wins.
    verdict: Option<u8>,
    /// What decided it wants the machine to start again.
    reboot: bool,
    /// The status of the first unit that failed.
    first_failure: Option<u8>,
    /// A start job failed by dependency or assertion.
    start_refused: bool,
}

impl Manager {
    /// A manager of these units; nothing happens before [`Event::Boot`].
    pub fn new(units: UnitSet, config: ManagerConfig) -> Manager {
        let graph = Graph::new(&units);
        let services =
            units.units.values().map(|unit| (unit.name.clone(), Service::new(Arc::clone(unit))));
        Manager {
            services: services.collect(),
            graph,
            jobs: Jobs::default(),
            sockets: Sockets::default(),
            refused: VecDeque::new(),
            out: Out::new(config.seed),
            deadlines: BTreeSet::new(),
            indexed: BTreeMap::new(),
            boot: None,
            booted: false,
            live: 0,
            shutdown: None,
            verdict: None,
            reboot: false,
            first_failure: None,
            start_refused: false,
            units,
            config,
        }
    }

    /// Takes one event. A spurious or stale one changes nothing.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.out.now = now;
        if self.is_over() {
            return;
        }
        match event {
            Event::Boot => self.begin_boot(),
            Event::Request { client, request } => self.on_request(client, request),
            Event::Signal(signal) => self.on_signal(signal),
            Event::Checked { unit, outcome } => {
                self.with(&unit, |service, out| service.on_checked(out, outcome));
            }
            Event::Spawned { process } => {
                self.with_owner(process, |service, out| service.on_spawned(out, process));
            }
            Event::SpawnFailed { process, error } => self.on_spawn_failed(process, error),
            Event::Execed { process } => {
                self.with_owner(process, |service, out| service.on_execed(out, process));
            }
            Event::Exited { process, exit, exec_error } => {
                self.with_owner(process, |service, out| {
                    service.on_exited(out, process, exit, exec_error);
                });
                self.out.processes.remove(&process);
            }
            Event::Empty { unit } => self.with(&unit, Service::on_empty),
            Event::Loaded { units } => self.on_loaded(units),
            // Nothing asks for these yet.
            Event::Notified { .. }
            | Event::SaidReady { .. }
            | Event::Probed { .. }
            | Event::FoundMain { .. } => (),
            Event::Listening { unit, outcome } => self.on_listening(&unit, outcome),
            Event::Connection { unit } => self.on_connection(&unit),
            Event::Quiet { unit } => self.on_quiet(&unit),
            Event::NothingLeft => self.on_nothing_left(),
            Event::Timer => self.on_timer(),
        }
        self.settle();
        self.leave();
    }

    fn is_over(&self) -> bool {
        self.shutdown.as_ref().is_some_and(Shutdown::is_over)
    }

    /// The next thing to do, in order.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.take()
    }

    /// Gives back room that a burst of events needed; to be called before a wait.
    pub fn shrink(&mut self) {
        self.out.shrink();
    }

    /// When [`Event::Timer`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let unit = self.deadlines.first().map(|(at, _)| *at);
        let shutdown = self.shutdown.as_ref().and_then(Shutdown::next_deadline);
        [unit, shutdown].into_iter().flatten().min()
    }

    /// Does something to a service, and notes when it wants to be woken.
    fn with(&mut self, unit: &UnitName, act: impl FnOnce(&mut Service, &mut Out)) {
        let Some(service) = self.services.get_mut(unit) else { return };
        act(service, &mut self.out);
        self.index_deadline(unit);
    }

    fn with_owner(&mut self, process: ProcessId, act: impl FnOnce(&mut Service, &mut Out)) {
        if let Some(unit) = self.out.processes.get(&process).cloned() {
            self.with(&unit, act);
        }
    }

    fn index_deadline(&mut self, unit: &UnitName) {
        let service = self.services.get(unit).and_then(Service::next_deadline);
        let job = self.jobs.get(unit);
        let waits = job.map(|job| [job.deadline, job.idle_until]).unwrap_or_default();
        // An idle start that has waited enough may still wait for others: nothing is due then.
        let waits = waits.map(|at| at.filter(|at| *at > self.out.now));
        let close = self.sockets.close_at(unit);
        let next = waits.into_iter().flatten().chain(service).chain(close).min();
        if self.indexed.get(unit).copied() == next {
            return;
        }
        if let Some(old) = self.indexed.remove(unit) {
            self.deadlines.remove(&(old, unit.clone()));
        }
        if let Some(at) = next {
            self.indexed.insert(unit.clone(), at);
            self.deadlines.insert((at, unit.clone()));
        }
    }

    fn on_timer(&mut self) {
        let now = self.out.now;
        let due: Vec<UnitName> = self
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, unit)| unit.clone())
            .collect();
        for unit in due {
            self.on_job_timer(&unit);
            let late = |service: &Service| service.next_deadline().is_some_and(|at| at <= now);
            let quiescing = |service: &Service| service.is_quiescing() && late(service);
            if self.services.get(&unit).is_some_and(quiescing) {
                self.end_quiescing(&unit);
            } else if self.may_go_on(&unit) {
                self.with(&unit, Service::on_timer);
            }
        }
        self.on_shutdown_timer();
    }

    fn on_spawn_failed(&mut self, process: ProcessId, error: SpawnError) {
        let code = match &error {
            SpawnError::Temporary { .. } => 1,
            SpawnError::Permanent(error) => {
                let command = self.config.command.is_some()
                    && self.out.processes.get(&process) == self.config.command.as_ref();
                match (command, error.stage) {
                    (true, ExecStage::Exec) if error.errno == ENOENT => 127,
                    (true, _) => 126,
                    (false, stage) => stage.exit_code(),
                }
            }
        };
        self.with_owner(process, |service, out| service.on_spawn_failed(out, process, error, code));
        self.out.processes.remove(&process);
    }

    fn on_request(&mut self, client: event::ClientId, request: Request) {
        let reply = match request {
            Request::Job { kind, unit } => {
                self.request_job(client, kind, &unit);
                return;
            }
            Request::Kill { unit, whom, signal } => self.kill(&unit, whom, signal),
            Request::ResetFailed { unit } => self.reset_failed(unit.as_ref()),
            Request::Scale { unit, .. } => {
                Reply::Refused { reason: format!("{unit} has no Instances=") }
            }
            Request::Load { units } => {
                self.load(units);
                Reply::Done
            }
            Request::Apply { units, dry_run } => self.apply(units, dry_run),
            Request::Shutdown => {
                self.request_shutdown();
                Reply::Done
            }
        };
        self.out.act(Action::Reply { client, reply });
    }
}

/// "No such file or directory", the same on every Linux (errno(3)).
const ENOENT: i32 = 2;
