//! What a request, the boot or a handler sets in motion: the jobs on a unit and on those that
//! it takes along.
//!
//! Not the order in which they run (`job`, `settle`). There is no merging and no dropping of
//! jobs as in systemd: a newer job cancels the older one of its unit.

use std::collections::BTreeSet;

use super::event::{Action, ClientId, Fact, JobKind, JobResult, Monitor, Reply};
use super::instances::GroupPhase;
use super::job::{Job, Origin};
use super::service::Service;
use super::state::{ActiveState, ServiceResult};
use super::{Boot, Manager};
use crate::unit::{Dependency, StartedBy, UnitName};

/// Why a unit goes down, or up, with another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tie {
    pub leader: UnitName,
    /// The directive of either that says so.
    pub dependency: &'static str,
}

impl Manager {
    /// Starts what boot starts, and what that pulls in.
    pub(super) fn begin_boot(&mut self) {
        if self.booted {
            return;
        }
        self.booted = true;
        self.open_sockets();
        let boot = self.units.units.values().filter(|unit| unit.started_by == StartedBy::Boot);
        let names: Vec<UnitName> = boot.map(|unit| unit.name.clone()).collect();
        let left = self.start_closure(&names, true);
        for name in &left {
            self.install(name, Job::new(JobKind::Start, Origin::Boot));
        }
        self.boot = Some(Boot { since: self.out.now, left });
    }

    /// A client wants something of a unit.
    pub(super) fn request_job(&mut self, client: ClientId, kind: JobKind, unit: &UnitName) {
        let Some(service) = self.services.get(unit) else {
            self.out.act(Action::Reply { client, reply: Reply::NoSuchUnit });
            return;
        };
        let group = self.group_of(unit).filter(|group| self.group_phase(group) != GroupPhase::Up);
        let refusal = match kind {
            _ if self.shutdown.is_some() => Some("rinit is stopping".to_string()),
            JobKind::Start | JobKind::Restart if group.is_some() => {
                let group = group.map_or_else(String::new, UnitName::to_string);
                Some(format!("{group} is not up: start that"))
            }
            JobKind::Start | JobKind::Restart if self.is_one_too_many(unit) => {
                Some(format!("{unit} is one more than are wanted: scale its service up"))
            }
            JobKind::Start | JobKind::Restart if unit.is_template() => {
                Some(format!("{unit} is a template, which never runs itself"))
            }
            JobKind::Start | JobKind::Restart if service.unit.connection_of.is_some() => {
                Some(format!("{unit} serves one connection, and ends with it"))
            }
            JobKind::Reload if !service.can_reload() && !self.can_roll(unit) => {
                Some(format!("{unit} has no ExecReload= and is not Type=notify-reload"))
            }
            JobKind::Reload if service.state.active_state() != ActiveState::Active => {
                Some(format!("{unit} is {}, not active", service.state.active_state()))
            }
            JobKind::Start | JobKind::Stop | JobKind::Restart | JobKind::Reload => None,
        };
        if let Some(reason) = refusal {
            self.out.act(Action::Reply { client, reply: Reply::Refused { reason } });
            return;
        }
        let before: BTreeSet<UnitName> = self.jobs.names().into_iter().collect();
        match kind {
            JobKind::Start => self.start(std::slice::from_ref(unit), Origin::Client),
            JobKind::Stop => self.stop(unit, Origin::Client, None),
            JobKind::Restart => self.restart_or_roll(unit, Origin::Client),
            JobKind::Reload => {
                self.install(unit, self.reload_job(unit, Origin::Client));
            }
        }
        let others = self.jobs.names().into_iter().filter(|name| name != unit);
        let also: Vec<UnitName> = others.filter(|name| !before.contains(name)).collect();
        if let Some(job) = self.jobs.get_mut(unit) {
            job.clients.push(client);
            job.also.extend(also);
        }
    }

    /// Start jobs for `units` and what they pull in; stop jobs for what conflicts with them.
    pub(super) fn start(&mut self, units: &[UnitName], origin: Origin) {
        let closure = self.start_closure(units, false);
        self.stop_conflicting(&closure, origin);
        for name in &closure {
            let asked = units.contains(name);
            if asked || !self.is_active(name) {
                self.install(name, Job::new(JobKind::Start, origin));
            }
        }
    }

    /// Stop jobs for what may not be up together with `units`.
    fn stop_conflicting(&mut self, units: &BTreeSet<UnitName>, origin: Origin) {
        let conflicts = |name| self.graph.conflicts(name).iter().map(move |other| (other, name));
        let conflicting: Vec<(UnitName, UnitName)> = units
            .iter()
            .flat_map(conflicts)
            .filter(|(other, _)| !units.contains(*other) && self.is_up_or_coming(other))
            .map(|(other, name)| (other.clone(), name.clone()))
            .collect();
        for (other, leader) in conflicting {
            self.stop(&other, origin, Some(Tie { leader, dependency: "Conflicts" }));
        }
    }

    /// A stop job for `unit`, which somebody asked for or a `tie` brings about, and for what may
    /// not be up without it.
    pub(super) fn stop(&mut self, unit: &UnitName, origin: Origin, tie: Option<Tie>) {
        for (name, tie) in self.stop_closure(unit, tie) {
            if origin == Origin::Client {
                self.with(&name, |service, _| service.held = true);
            }
            self.take_along(&name, Job::new(JobKind::Stop, origin), tie);
        }
    }

    /// A restart job for `unit`, as for [`Manager::stop`], and for those that are up and go down
    /// with it.
    pub(super) fn restart(&mut self, unit: &UnitName, origin: Origin, tie: Option<Tie>) {
        let closure = self.stop_closure(unit, tie);
        let names = closure.iter().map(|(name, _)| name.clone()).collect();
        self.stop_conflicting(&names, origin);
        for (name, tie) in closure {
            self.take_along(&name, Job::new(JobKind::Restart, origin), tie);
        }
    }

    /// A job that nobody asked for is told of, or it would be a riddle in the log.
    fn take_along(&mut self, unit: &UnitName, job: Job, tie: Option<Tie>) {
        let kind = job.kind;
        if self.install(unit, job)
            && let Some(Tie { leader, dependency }) = tie
        {
            self.out.record(Fact::Follows { unit: unit.clone(), kind, leader, dependency });
        }
    }

    /// Starts what OnFailure= or OnSuccess= of `unit` names, and says which those are.
    pub(super) fn start_handlers(
        &mut self,
        unit: &UnitName,
        handlers: &[Dependency],
    ) -> BTreeSet<UnitName> {
        let Some(service) = self.services.get(unit) else { return BTreeSet::new() };
        let monitor = Monitor {
            unit: unit.clone(),
            invocation: service.invocation,
            result: service.result,
            exit: service.main_exit,
        };
        let known = |name: &&UnitName| self.services.contains_key(*name);
        let names: Vec<UnitName> =
            handlers.iter().map(|dep| &dep.name).filter(known).cloned().collect();
        for name in &names {
            let monitor = monitor.clone();
            self.with(name, |service, _| service.monitor = Some(Box::new(monitor)));
        }
        // One that runs already, or is about to, is not started again: what it upholds might be
        // the very unit that has failed.
        let asleep = |name: &&UnitName| {
            let state = self.services.get(*name).map(|service| service.state.active_state());
            let down = !matches!(state, Some(ActiveState::Active | ActiveState::Activating));
            down && !self.jobs.get(name).is_some_and(Job::starts)
        };
        let asleep: Vec<UnitName> = names.iter().filter(asleep).cloned().collect();
        self.start(&asleep, Origin::Unit);
        names.into_iter().collect()
    }

    /// Puts a job on a unit, and says whether it did: one like it is joined, any other is cancelled.
    pub(super) fn install(&mut self, unit: &UnitName, mut job: Job) -> bool {
        let Some(service) = self.services.get_mut(unit) else { return false };
        service.wanted |= job.starts();
        let timeout = service.unit.job_timeout;
        self.release_from_roll(unit);
        if let Some(present) = self.jobs.get_mut(unit) {
            if present.roll && job.kind == JobKind::Start {
                return false; // it is up, and the roll sees to it that it stays so
            }
            let same = present.kind == job.kind && present.stop_first == job.stop_first;
            let same = same && !job.roll && !present.roll;
            if same {
                if present.origin == Origin::AutoRestart && job.origin != Origin::AutoRestart {
                    // Somebody wants it now: the wait for the automatic restart is over.
                    present.origin = job.origin;
                    self.jobs.requeue(unit);
                }
                return false;
            }
        }
        // A stop goes on for as long as it takes: others wait for its end in order.
        let timeout = timeout.filter(|_| job.starts() && !job.roll);
        job.deadline = timeout.map(|timeout| self.out.now.after(timeout));
        self.finish_job(unit, JobResult::Canceled, "a newer job took its place");
        self.jobs.insert(unit.clone(), job);
        self.index_deadline(unit);
        true
    }

    /// `units` and everything that their start pulls in. A step runs once per boot: later
    /// starts pull in none, and the start of a step pulls in nothing.
    fn start_closure(&self, units: &[UnitName], boot: bool) -> BTreeSet<UnitName> {
        let mut closure: BTreeSet<UnitName> = units.iter().cloned().collect();
        let mut todo: Vec<UnitName> = units.to_vec();
        while let Some(name) = todo.pop() {
            let Some(unit) = self.units.get(&name) else { continue };
            if unit.step && !boot {
                continue;
            }
            let pulled = [&*unit.requires, &*unit.wants, &unit.binds_to, &unit.upholds];
            for dependency in pulled.into_iter().flatten() {
                let Some(other) = self.units.get(&dependency.name) else { continue };
                if (boot || !other.step) && closure.insert(other.name.clone()) {
                    todo.push(other.name.clone());
                }
            }
        }
        closure
    }

    /// `unit`, and everything up or coming up that goes down with it; each with what ties it.
    fn stop_closure(&self, unit: &UnitName, tie: Option<Tie>) -> Vec<(UnitName, Option<Tie>)> {
        let mut known = BTreeSet::from([unit.clone()]);
        let mut closure = vec![(unit.clone(), tie)];
        let mut next = 0;
        while let Some(leader) = closure.get(next).map(|(name, _)| name.clone()) {
            next += 1;
            // A step that has run, and is not to remain, was needed before the others only.
            let unit = self.services.get(&leader).map(|service| &service.unit);
            let over = unit.is_some_and(|it| it.step && !it.service.remain_after_exit);
            for (other, dependency) in self.graph.stop_with(&leader, over) {
                if self.is_up_or_coming(other) && known.insert(other.clone()) {
                    let leader = leader.clone();
                    closure.push((other.clone(), Some(Tie { leader, dependency })));
                }
            }
        }
        closure
    }

    pub(super) fn is_active(&self, unit: &UnitName) -> bool {
        let state = self.services.get(unit).map(|service| service.state.active_state());
        matches!(state, Some(ActiveState::Active | ActiveState::Reloading))
    }

    fn is_up_or_coming(&self, unit: &UnitName) -> bool {
        self.services.get(unit).is_some_and(|service| !service.is_down())
            || self.jobs.get(unit).is_some_and(Job::starts)
    }

    /// A unit that others uphold is down: it is started again after the delay of a restart,
    /// unless it used up its starts or a client stopped it.
    pub(super) fn uphold(&mut self, unit: &UnitName) {
        let upheld = self.graph.upheld_by(unit).iter().any(|other| self.is_active(other));
        let may = self
            .services
            .get(unit)
            .is_some_and(|service| service.result != ServiceResult::StartLimitHit && !service.held);
        let able = self.units.get(unit).is_some_and(|it| self.unmet_requirement(it).is_none());
        // What may not be up beside it was started since, and by that stopped it.
        let able = able && !self.graph.conflicts(unit).iter().any(|it| self.is_up_or_coming(it));
        if upheld && may && able && self.shutdown.is_none() && self.jobs.get(unit).is_none() {
            self.with(unit, Service::restart_later);
        }
    }
}
