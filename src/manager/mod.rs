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
#[cfg(test)]
mod connection_stories;
mod connections;
mod ends;
pub mod event;
mod graph;
#[cfg(test)]
mod instance_stories;
mod instances;
mod job;
mod out;
mod phases;
#[cfg(test)]
mod quiet_stories;
mod random;
pub mod readiness;
mod reload;
#[cfg(test)]
mod reload_stories;
mod replace;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod roll_stories;
mod rollout;
mod scale;
mod service;
mod settle;
mod shutdown;
mod signals;
#[cfg(test)]
mod socket_stories;
mod sockets;
pub mod state;
pub mod status;
mod steering;
#[cfg(test)]
mod stories;
pub mod time;
mod transaction;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::unit::{UnitName, UnitSet};
use connections::Connections;
use event::{Action, Event, ManagerConfig, ProcessId, Reply, Request, SpawnError};
use graph::Graph;
use instances::Group;
use job::{Job, Jobs};
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
    /// Services with `Instances=`.
    groups: BTreeMap<UnitName, Group>,
    /// Groups of which an instance changed: conclusions are still to be drawn.
    touched: BTreeSet<UnitName>,
    jobs: Jobs,
    sockets: Sockets,
    connections: Connections,
    /// Units whose start is refused because of another's failure, and the reason.
    refused: VecDeque<(UnitName, String)>,
    out: Out,
    /// Every unit that has one, under its earliest deadline.
    deadlines: BTreeSet<(Timestamp, UnitName)>,
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
    /// Services that are up and whose reload waits for the end of their start: not every instance is.
    reload_later: BTreeSet<UnitName>,
}

impl Manager {
    /// A manager of these units; nothing happens before [`Event::Boot`].
    pub fn new(units: UnitSet, config: ManagerConfig) -> Manager {
        let graph = Graph::new(&units);
        let services =
            units.units.values().map(|unit| (unit.name.clone(), Service::new(Arc::clone(unit))));
        let names: Vec<UnitName> = units.units.keys().cloned().collect();
        let mut manager = Manager {
            services: services.collect(),
            groups: BTreeMap::new(),
            touched: BTreeSet::new(),
            graph,
            jobs: Jobs::default(),
            sockets: Sockets::default(),
            connections: Connections::default(),
            refused: VecDeque::new(),
            out: Out::new(config.seed),
            deadlines: BTreeSet::new(),
            boot: None,
            booted: false,
            live: 0,
            shutdown: None,
            verdict: None,
            reboot: false,
            first_failure: None,
            start_refused: false,
            reload_later: BTreeSet::new(),
            units,
            config,
        };
        names.iter().for_each(|name| manager.classify(name));
        manager
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
                self.touch_owner(process);
                self.out.processes.remove(&process);
            }
            Event::OomKill { unit, kill } => {
                self.with(&unit, |service, out| service.on_oom(out, kill));
            }
            Event::MemoryHigh { unit, current, high } => self.on_memory_high(&unit, current, high),
            Event::Empty { unit } => self.with(&unit, Service::on_empty),
            Event::Loaded { units } => self.on_loaded(units),
            Event::Notified { unit, process, notice } => {
                self.with(&unit, |service, out| service.on_notified(out, process, notice));
            }
            Event::SaidReady { process } => {
                self.with_owner(process, |service, out| service.on_said_ready(out, process));
            }
            Event::Matched { process } => {
                self.with_owner(process, |service, out| service.on_matched(out, process));
            }
            Event::Probed { process, kind, outcome } => {
                self.with_owner(process, |service, out| {
                    service.on_probed(out, process, kind, outcome);
                });
                self.touch_owner(process);
            }
            Event::FoundMain { unit, main } => {
                self.with(&unit, |service, out| service.on_found_main(out, main));
            }
            Event::Listening { unit, outcome } => self.on_listening(&unit, outcome),
            Event::Connection { unit } => self.on_connection(&unit),
            Event::Accepted { socket, unit, source } => self.on_accepted(&socket, unit, source),
            Event::Quiet { unit } => self.on_quiet(&unit),
            Event::NothingLeft => self.on_nothing_left(),
            Event::Timer => self.on_timer(),
        }
        self.settle();
        self.forget_connections();
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
        let more = more_deadlines(&self.groups, &self.sockets, unit, self.out.now);
        let job = self.jobs.get(unit);
        index_deadline(&mut self.deadlines, service, job, more, self.out.now);
    }

    fn with_owner(&mut self, process: ProcessId, act: impl FnOnce(&mut Service, &mut Out)) {
        if let Some(unit) = self.out.processes.get(&process).cloned() {
            self.with(&unit, act);
        }
    }

    fn index_deadline(&mut self, unit: &UnitName) {
        if let Some(service) = self.services.get_mut(unit) {
            let more = more_deadlines(&self.groups, &self.sockets, unit, self.out.now);
            let job = self.jobs.get(unit);
            index_deadline(&mut self.deadlines, service, job, more, self.out.now);
        }
    }

    /// The unit is gone, and with it what it waited for.
    fn forget(&mut self, unit: &UnitName) -> Option<Service> {
        let mut service = self.services.remove(unit)?;
        if let Some(at) = service.indexed.take() {
            self.deadlines.remove(&(at, unit.clone()));
        }
        Some(service)
    }

    /// The instance of this process may serve now, or not any more.
    fn touch_owner(&mut self, process: ProcessId) {
        let group = self.out.processes.get(&process).and_then(|unit| self.group_of(unit));
        self.touched.extend(group.cloned());
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
            let group = self.group_of(&unit).unwrap_or(&unit);
            if self.groups.contains_key(group) {
                let group = group.clone();
                self.touched.insert(group);
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
                // A program that is not there, 127, is what only a child can find.
                if command { 126 } else { error.stage.exit_code() }
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
            Request::Scale { unit, count } => {
                self.scale(client, &unit, count);
                return;
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

/// Keeps a service in `deadlines` under the earliest of its own and of its job's.
fn index_deadline(
    deadlines: &mut BTreeSet<(Timestamp, UnitName)>,
    service: &mut Service,
    job: Option<&Job>,
    more: Option<Timestamp>,
    now: Timestamp,
) {
    let waits = job.map(|job| [job.deadline, job.idle_until]).unwrap_or_default();
    // An idle start that has waited enough may still wait for others: nothing is due then.
    let waits = waits.map(|at| at.filter(|at| *at > now));
    let next = waits.into_iter().flatten().chain(service.next_deadline()).chain(more).min();
    let old = std::mem::replace(&mut service.indexed, next);
    if old == next {
        return;
    }
    if let Some(old) = old {
        deadlines.remove(&(old, service.name().clone()));
    }
    if let Some(at) = next {
        deadlines.insert((at, service.name().clone()));
    }
}

/// What a unit waits for besides its own life: its instances, its sockets.
fn more_deadlines(
    groups: &BTreeMap<UnitName, Group>,
    sockets: &Sockets,
    unit: &UnitName,
    now: Timestamp,
) -> Option<Timestamp> {
    let group = groups.get(unit).and_then(|group| group.next_deadline(now));
    [group, sockets.close_at(unit)].into_iter().flatten().min()
}
