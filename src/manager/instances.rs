//! A service with `Instances=`: the *group* and its instances, and what they make of it.
//!
//! Not how instances are replaced (`rollout`), nor who gets connections (`steering`). The group is
//! an ordinary service to all others: jobs, order, actions and rinit's status are its.
//! **Invariant:** a group is down only when every record of its instances is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Manager;
use super::event::{Fact, JobKind, JobResult};
use super::job::Job;
use super::out::Change;
use super::rollout::Roll;
use super::scale::Scaling;
use super::service::{Service, StartReason};
use super::state::{ActiveState, ServiceResult, SubState};
use super::time::Timestamp;
use crate::unit::instances::instance;
use crate::unit::process::ExitStatus;
use crate::unit::rolling::Instances;
use crate::unit::{Unit, UnitName};

/// What is wanted of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GroupPhase {
    /// Nothing.
    Down,
    /// That its instances run.
    Up,
    /// That none runs any more.
    Stopping,
}

/// How an instance failed: the last one of all speaks for the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Failure {
    result: ServiceResult,
    main_exit: Option<ExitStatus>,
    failed_exit: Option<ExitStatus>,
}

/// One service with `Instances=`, at run time.
#[derive(Debug)]
pub(super) struct Group {
    pub phase: GroupPhase,
    /// As the unit says; while that stays, `wanted` stays as a client scaled it.
    pub declared: Instances,
    /// How many instances there are to be.
    pub wanted: u32,
    /// Every record of an instance, those that only come or go included.
    pub members: BTreeSet<UnitName>,
    /// Its start is under way…
    pub starting: bool,
    /// …and is judged here at the latest.
    pub start_deadline: Option<Timestamp>,
    /// Instances that are started again by this definition once they are down.
    pub returning: BTreeMap<u32, Arc<Unit>>,
    /// The roll that is under way.
    pub roll: Option<Roll>,
    /// A client waits for a number of instances.
    pub scaling: Option<Scaling>,
    /// Instances whose reload is under way.
    pub reloading: Option<BTreeSet<UnitName>>,
    /// Who gets new connections, as the shell was told last.
    pub steered: Vec<u32>,
    /// The last mark that was given to an instance that goes.
    pub marks: u32,
    failure: Option<Failure>,
    /// An instance failed in the stop, or the start was too long.
    failed: Option<ServiceResult>,
}

impl Group {
    pub(super) fn new(unit: &Unit) -> Group {
        let declared = unit.service.instances.unwrap_or(Instances::Count(1));
        Group {
            phase: GroupPhase::Down,
            declared,
            wanted: count(declared),
            members: BTreeSet::new(),
            starting: false,
            start_deadline: None,
            returning: BTreeMap::new(),
            roll: None,
            scaling: None,
            reloading: None,
            steered: Vec::new(),
            marks: 0,
            failure: None,
            failed: None,
        }
    }

    /// It is not up any more: nothing that was under way goes on.
    fn leave(&mut self, phase: GroupPhase) {
        self.phase = phase;
        self.starting = false;
        self.start_deadline = None;
        self.returning.clear();
        self.reloading = None;
    }

    /// `Instances=` may be another one now.
    pub fn declare(&mut self, unit: &Unit) {
        let declared = unit.service.instances.unwrap_or(Instances::Count(1));
        if declared != self.declared {
            self.declared = declared;
            self.wanted = count(declared);
        }
    }

    /// When it has something to do without anything happening.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let roll = self.roll.as_ref().and_then(|roll| roll.next_deadline(now));
        let scale = self.scaling.as_ref().and_then(|scaling| scaling.deadline);
        let waits = [self.start_deadline, roll, scale];
        waits.into_iter().flatten().filter(|at| *at > now).min()
    }
}

/// How many of a group's instances are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Census {
    /// Up and open to new work.
    pub ready: u32,
    pub up: u32,
    /// On their way up, or about to try once more.
    pub coming: u32,
    pub leaving: u32,
    /// Waiting for a late try.
    pub spent: u32,
    pub failed: u32,
}

impl Manager {
    /// Which group a unit is an instance of.
    pub(super) fn group_of(&self, unit: &UnitName) -> Option<&UnitName> {
        self.services.get(unit)?.unit.instance_of.as_ref()
    }

    /// Whether it is a group whose instances run or stop.
    pub(super) fn group_phase(&self, unit: &UnitName) -> GroupPhase {
        self.groups.get(unit).map_or(GroupPhase::Down, |group| group.phase)
    }

    /// The definition that a start of this unit takes.
    pub(super) fn definition(&self, unit: &UnitName) -> Option<Arc<Unit>> {
        let service = self.services.get(unit);
        if let Some(service) = service.filter(|it| it.unit.connection_of.is_some()) {
            return Some(Arc::clone(&service.unit));
        }
        match self.group_of(unit) {
            None => self.units.get(unit).cloned(),
            Some(group) => {
                let number = number_of(unit)?;
                Some(Arc::new(instance(self.units.get(group)?, number)))
            }
        }
    }

    /// A unit has got its definition: makes it a group, or one no longer.
    pub(super) fn classify(&mut self, unit: &UnitName) {
        let Some(service) = self.services.get(unit) else { return };
        if !service.is_group() {
            self.forget_group(unit);
            return;
        }
        let definition = Arc::clone(&service.unit);
        match self.groups.get_mut(unit) {
            Some(group) => group.declare(&definition),
            None => {
                self.groups.insert(unit.clone(), Group::new(&definition));
            }
        }
    }

    /// The service has no instances any more, or is gone.
    pub(super) fn forget_group(&mut self, unit: &UnitName) {
        for name in self.groups.remove(unit).map(|group| group.members).unwrap_or_default() {
            self.forget(&name);
        }
    }

    pub(super) fn members(&self, group: &UnitName) -> impl Iterator<Item = &Service> {
        let names = self.groups.get(group).map(|group| &group.members);
        names.into_iter().flatten().filter_map(|name| self.services.get(name))
    }

    pub(super) fn census(&self, group: &UnitName) -> Census {
        let mut census = Census::default();
        for service in self.members(group) {
            census.ready += u32::from(service.serves());
            census.up += u32::from(service.is_up());
            census.spent += u32::from(service.is_spent());
            let waits = service.state == SubState::AutoRestart && !service.is_spent();
            census.coming += u32::from(service.is_coming() || waits);
            let leaves = service.state.active_state() == ActiveState::Deactivating;
            census.leaving += u32::from(leaves);
            census.failed += u32::from(service.state == SubState::Failed);
        }
        census
    }

    /// The group's own part of its start is done: now its instances are started, in order.
    pub(super) fn start_group(&mut self, unit: &UnitName) {
        let Some(service) = self.services.get(unit) else { return };
        let definition = Arc::clone(&service.unit);
        let timeout = definition.service.timeout_start;
        let deadline = timeout.map(|timeout| self.out.now.after(timeout));
        let Some(group) = self.groups.get_mut(unit) else { return };
        group.phase = GroupPhase::Up;
        group.starting = true;
        group.start_deadline = deadline;
        group.failure = None;
        group.failed = None;
        group.returning.clear();
        for number in 1..=group.wanted {
            let definition = Arc::new(instance(&definition, number));
            self.start_instance(unit, number, definition);
        }
        self.touched.insert(unit.clone());
    }

    /// Starts an instance by this definition, unless it runs.
    pub(super) fn start_instance(&mut self, group: &UnitName, number: u32, unit: Arc<Unit>) {
        let name = group.numbered(number);
        self.add_member(group, &name, &unit);
        self.with(&name, |service, out| {
            if service.is_down() {
                service.unit = unit;
            }
            service.start(out, StartReason::Asked);
        });
    }

    pub(super) fn add_member(&mut self, group: &UnitName, name: &UnitName, unit: &Arc<Unit>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.members.insert(name.clone());
        }
        if !self.services.contains_key(name) {
            self.services.insert(name.clone(), Service::new(Arc::clone(unit)));
        }
    }

    /// Somebody wants a group up that waits for its instances: they wait no longer.
    pub(super) fn hasten_group(&mut self, unit: &UnitName) {
        let waiting = self.members(unit).filter(|service| service.state == SubState::AutoRestart);
        for name in waiting.map(|service| service.name().clone()).collect::<Vec<_>>() {
            self.with(&name, |service, out| service.start(out, StartReason::Asked));
        }
    }

    /// The stop of a group has begun: an instance that waits for its next try gets none.
    fn let_wait(&mut self, unit: &UnitName) {
        let waiting = self.members(unit).filter(|service| service.state == SubState::AutoRestart);
        for name in waiting.map(|service| service.name().clone()).collect::<Vec<_>>() {
            self.with(&name, |service, out| service.stop(out, false));
        }
    }

    /// All instances are to go.
    pub(super) fn stop_group(&mut self, unit: &UnitName, restarting: bool) {
        self.drop_roll(unit);
        self.end_scaling(unit, JobResult::Canceled, "the service is being stopped");
        let limits = self.services.get(unit).map(|it| (it.graceful_until, it.abandon_at));
        let Some(group) = self.groups.get_mut(unit) else { return };
        group.leave(GroupPhase::Stopping);
        let members: Vec<UnitName> = group.members.iter().cloned().collect();
        for name in &members {
            if self.jobs.get(name).is_some_and(|job| job.kind != JobKind::Stop) {
                self.finish_job(name, JobResult::Canceled, "the service is being stopped");
            }
            self.with(name, |service, _| {
                service.place.leaving = true;
                if let Some((graceful, abandon)) = limits {
                    service.graceful_until = graceful;
                    service.abandon_at = abandon;
                }
            });
        }
        self.steer(unit);
        for name in &members {
            self.stop_service(name, restarting);
        }
        self.touched.insert(unit.clone());
    }

    /// One instance is to go, and nothing new is to come to it from now on.
    pub(super) fn stop_instance(&mut self, name: &UnitName) {
        self.take_out(name);
        self.stop_service(name, false);
    }

    /// Nothing new is to come to this instance from now on.
    pub(super) fn take_out(&mut self, name: &UnitName) {
        let Some(group) = self.group_of(name).cloned() else { return };
        self.with(name, |service, _| service.place.leaving = true);
        self.steer(&group);
    }

    /// An instance came to another state.
    pub(super) fn instance_changed(&mut self, change: &Change) {
        let Some(group) = self.group_of(&change.unit).cloned() else { return };
        self.touched.insert(group.clone());
        if change.to == SubState::AutoRestart {
            self.tell_exhausted(&group, &change.unit);
        }
        let Some(service) = self.services.get(&change.unit) else { return };
        let failure = Failure {
            result: service.result,
            main_exit: service.main_exit,
            failed_exit: service.failed_exit,
        };
        let ended = matches!(change.to, SubState::Dead | SubState::Failed | SubState::AutoRestart);
        let marked = change.unit.mark().is_some();
        let Some(entry) = self.groups.get_mut(&group) else { return };
        if ended && !marked && failure.result != ServiceResult::Success {
            entry.failure = Some(failure);
        }
        if change.to == SubState::Failed && entry.phase == GroupPhase::Stopping && !marked {
            entry.failed.get_or_insert(failure.result);
        }
        let down = matches!(change.to, SubState::Dead | SubState::Failed);
        if down && !marked && entry.phase == GroupPhase::Up && !self.out.stopping {
            self.bring_back(&group, &change.unit);
        }
    }

    /// An instance that was stopped to be replaced is down: its successor starts.
    fn bring_back(&mut self, group: &UnitName, name: &UnitName) {
        let Some(number) = number_of(name) else { return };
        let unit = self.groups.get_mut(group).and_then(|group| group.returning.remove(&number));
        if let Some(unit) = unit
            && self.services.get(name).is_some_and(Service::is_down)
        {
            self.start_instance(group, number, unit);
        }
    }

    fn tell_exhausted(&mut self, group: &UnitName, name: &UnitName) {
        let Some(service) = self.services.get(name) else { return };
        if !service.is_spent() || service.result != ServiceResult::StartLimitHit {
            return;
        }
        let census = self.census(group);
        if census.up + census.coming == 0 {
            return; // it was the last one
        }
        let fact = Fact::Exhausted {
            unit: name.clone(),
            burst: service.unit.start_limit_burst,
            interval: service.unit.start_limit_interval,
            up: census.up,
            total: self.groups.get(group).map_or(0, |group| group.wanted),
            delay: service.exhausted_delay(),
        };
        self.out.record(fact);
    }

    /// Draws every conclusion from where the instances of a group are now.
    pub(super) fn refresh(&mut self, unit: &UnitName) {
        self.sweep_members(unit);
        if self.is_quiescing(unit) {
            self.let_wait(unit);
        }
        if self.group_phase(unit) == GroupPhase::Up {
            self.judge_start(unit);
            self.advance_roll(unit);
            self.judge_scaling(unit);
            self.judge_reload(unit);
            self.recycle(unit);
        }
        self.conclude(unit);
        self.steer(unit);
        self.index_deadline(unit);
    }

    /// Forgets what only came or went, and instances that are too many.
    fn sweep_members(&mut self, unit: &UnitName) {
        let Some(group) = self.groups.get(unit) else { return };
        let wanted = group.wanted;
        let extra = |name: &UnitName| {
            name.mark().is_some() || number_of(name).is_none_or(|number| number > wanted)
        };
        let gone = |name: &&UnitName| {
            let down = self.services.get(*name).is_none_or(Service::is_down);
            let watched = group.roll.as_ref().is_some_and(|roll| roll.watches(name));
            extra(name) && down && !watched && self.jobs.get(name).is_none()
        };
        let gone: Vec<UnitName> = group.members.iter().filter(gone).cloned().collect();
        // A change of state that nobody has looked at yet is still to be counted.
        let pending = |name: &UnitName| self.out.changes.iter().any(|it| it.unit == *name);
        for name in gone.into_iter().filter(|name| !pending(name)).collect::<Vec<_>>() {
            self.forget(&name);
            if let Some(group) = self.groups.get_mut(unit) {
                group.members.remove(&name);
            }
        }
    }

    /// The start is done when every instance is ready or has shown that it cannot be soon.
    fn judge_start(&mut self, unit: &UnitName) {
        let Some(group) = self.groups.get(unit) else { return };
        if !group.starting {
            return;
        }
        let late = group.start_deadline.is_some_and(|at| at <= self.out.now);
        let census = self.census(unit);
        let open = census.coming + census.leaving > 0 || !group.returning.is_empty();
        if late && census.ready == 0 {
            self.fail_start(unit);
        } else if late || !open && (census.ready > 0 || group.wanted == 0) {
            if let Some(group) = self.groups.get_mut(unit) {
                group.starting = false;
                group.start_deadline = None;
            }
            self.conclude(unit);
            let starts = |job: &Job| job.starts() && !job.stop_first && job.running && !job.roll;
            if self.jobs.get(unit).is_some_and(starts) {
                self.finish_job(unit, JobResult::Done, "");
            }
        }
    }

    /// `TimeoutStartSec=` is over, and not one is ready.
    fn fail_start(&mut self, unit: &UnitName) {
        let Some(service) = self.services.get(unit) else { return };
        let after = service.unit.service.timeout_start.unwrap_or_default();
        let state = service.state;
        let missing = "an instance that is ready".to_string();
        self.out.record(Fact::TimedOut { unit: unit.clone(), state, after, signal: None, missing });
        self.stop_group(unit, false);
        if let Some(group) = self.groups.get_mut(unit) {
            group.failed = Some(ServiceResult::Timeout);
        }
    }

    /// A reload in place is done when every instance's is.
    fn judge_reload(&mut self, unit: &UnitName) {
        let Some(names) = self.groups.get(unit).and_then(|group| group.reloading.clone()) else {
            return;
        };
        let state = |name: &UnitName| self.services.get(name).map(|service| service.state);
        if names.iter().any(|name| state(name) == Some(SubState::Reload)) {
            return;
        }
        let bad = names.iter().find_map(|name| {
            let verdict = self.services.get(name).and_then(|it| it.verdict.as_deref().cloned());
            match (verdict, state(name)) {
                (Some((result, reason)), _) => Some((result, format!("{name}: {reason}"))),
                (None, Some(SubState::Running)) => None,
                (None, _) => Some((JobResult::Failed, format!("{name} is not running any more"))),
            }
        });
        if let Some(group) = self.groups.get_mut(unit) {
            group.reloading = None;
        }
        let (result, reason) = bad.unwrap_or((JobResult::Done, String::new()));
        if self.jobs.get(unit).is_some_and(|job| job.kind == JobKind::Reload && !job.roll) {
            self.finish_job(unit, result, &reason);
        }
    }

    /// The reload of a group whose instances can do it without being replaced.
    pub(super) fn reload_group(&mut self, unit: &UnitName) {
        let running = self.members(unit).filter(|it| it.serves() && it.name().mark().is_none());
        let names: BTreeSet<UnitName> = running.map(|it| it.name().clone()).collect();
        for name in &names {
            self.with(name, Service::reload);
        }
        if let Some(group) = self.groups.get_mut(unit) {
            group.reloading = Some(names);
        }
        self.touched.insert(unit.clone());
    }

    /// The group's state follows from its instances'.
    fn conclude(&mut self, unit: &UnitName) {
        let Some(group) = self.groups.get(unit) else { return };
        let census = self.census(unit);
        let state = match group.phase {
            GroupPhase::Down => return,
            GroupPhase::Stopping
                if census.up + census.coming + census.leaving + census.spent > 0 =>
            {
                SubState::StopSigterm
            }
            GroupPhase::Stopping if group.failed.is_some() => SubState::Failed,
            GroupPhase::Stopping => SubState::Dead,
            // Who is queued is accepted first: to all others it is on its way down.
            GroupPhase::Up if self.is_quiescing(unit) && census.up > 0 => return,
            GroupPhase::Up if self.is_quiescing(unit) => {
                self.end_quiescing(unit); // nobody is left to accept them
                return;
            }
            GroupPhase::Up => self.state_while_up(unit, group, census),
        };
        if matches!(state, SubState::Dead | SubState::Failed) {
            self.end_group(unit, state);
        } else {
            self.with(unit, |service, out| service.show(out, state));
        }
    }

    /// Its stop has begun, and waits for those who are queued.
    pub(super) fn is_quiescing(&self, unit: &UnitName) -> bool {
        self.services.get(unit).is_some_and(Service::is_quiescing)
    }

    fn state_while_up(&self, unit: &UnitName, group: &Group, census: Census) -> SubState {
        let never_up = self.services.get(unit).is_some_and(|it| it.state == SubState::Start);
        // One that a client restarts is down only for a moment.
        let starts = |name: &UnitName| self.jobs.get(name).is_some_and(Job::starts);
        let restarts = group.members.iter().any(starts);
        if census.up > 0 || group.wanted == 0 && !group.starting {
            SubState::Running
        } else if census.coming > 0
            || restarts
            || !group.returning.is_empty() && census.leaving == 0
        {
            if never_up { SubState::Start } else { SubState::AutoRestart }
        } else if census.leaving > 0 {
            if never_up { SubState::Start } else { SubState::StopSigterm }
        } else if census.failed + census.spent > 0 {
            SubState::Failed
        } else {
            SubState::Dead
        }
    }

    /// Nothing of it is left: its result is that of the last instance that failed.
    fn end_group(&mut self, unit: &UnitName, state: SubState) {
        self.drop_roll(unit);
        self.end_scaling(unit, JobResult::Failed, "no instance is left");
        let members: Vec<UnitName> = self.members(unit).map(|it| it.name().clone()).collect();
        let last = members.iter().filter_map(|name| self.services.get(name)?.main_exit).next_back();
        let held = members.iter().any(|name| self.services.get(name).is_some_and(|it| it.held));
        let Some(group) = self.groups.get_mut(unit) else { return };
        group.leave(GroupPhase::Down);
        let failed = group.failed;
        let failure = group.failure.filter(|_| state == SubState::Failed);
        for name in &members {
            self.with(name, Service::give_up);
        }
        self.with(unit, |service, out| {
            service.held |= held && state == SubState::Dead;
            service.main_exit = last;
            if let Some(failure) = failure {
                service.result = failure.result;
                service.main_exit = failure.main_exit;
                service.failed_exit = failure.failed_exit;
            }
            if let (Some(result), SubState::Failed) = (failed, state) {
                service.result = result;
            }
            service.show(out, state);
        });
    }
}

/// Which instance this is: 2 of `web@2.service`.
pub(super) fn number_of(name: &UnitName) -> Option<u32> {
    name.instance()?.parse().ok()
}

/// How many instances a definition asks for. The shell has put a number in the place of `auto`
/// before; of what nobody counted there is one.
fn count(declared: Instances) -> u32 {
    match declared {
        Instances::Count(count) => count,
        Instances::Auto => 1,
    }
}
