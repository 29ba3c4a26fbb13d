//! A roll: the instances of a service are replaced one after the other, or a few at a time.
//!
//! Not what an instance is (`instances`), nor one replacement (`replace`). **Invariant:** a roll
//! ends exactly once; it stops no instance that is ready before its turn, and start-first none at
//! all before its successor is ready. An instance that crashes by itself never waits for a roll.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Manager;
use super::event::{Fact, JobKind, JobResult, RollEvent};
use super::instances::GroupPhase;
use super::job::{Job, Origin};
use super::service::Service;
use super::state::SubState;
use super::time::Timestamp;
use crate::unit::instances::instance;
use crate::unit::rolling::{RollingFailure, RollingOrder};
use crate::unit::{Unit, UnitName};

/// How far the replacement of one instance is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Start-first: the new one comes up beside the old one.
    Beside,
    /// Stop-first: the old one goes.
    Leaving,
    /// Stop-first: the new one comes up.
    Coming,
    /// The new one is up and has to stay so for a while; the old one may still be going.
    Watched { until: Timestamp, old: Option<UnitName> },
}

/// One roll.
#[derive(Debug)]
pub(super) struct Roll {
    /// What the service is when it is done; `None`: what it was.
    pub target: Option<Arc<Unit>>,
    pub order: RollingOrder,
    pub parallelism: usize,
    pub monitor: std::time::Duration,
    pub failure_action: RollingFailure,
    /// What each instance is to be.
    pub definitions: BTreeMap<u32, Arc<Unit>>,
    pub queue: VecDeque<u32>,
    pub steps: BTreeMap<u32, Step>,
    /// What those were before whose replacement has begun to take their place.
    pub before: BTreeMap<u32, Arc<Unit>>,
    pub done: u32,
    pub total: u32,
    /// The first failure, once there is one.
    pub failure: Option<String>,
    /// It goes back.
    pub back: bool,
    /// It replaces an instance that has run for long enough.
    pub recycles: bool,
}

impl Roll {
    /// Whether it still has to look at this record, though it is down.
    pub fn watches(&self, name: &UnitName) -> bool {
        name.mark() == Some("new")
            && super::instances::number_of(name)
                .is_some_and(|number| self.steps.get(&number) == Some(&Step::Beside))
    }

    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let until = |step: &Step| match step {
            Step::Watched { until, .. } => Some(*until),
            Step::Beside | Step::Leaving | Step::Coming => None,
        };
        self.steps.values().filter_map(until).filter(|at| *at > now).min()
    }

    /// There are only so many instances any more.
    pub fn cut(&mut self, wanted: u32) {
        let before = self.queue.len() + self.steps.len();
        self.queue.retain(|number| *number <= wanted);
        self.steps.retain(|number, _| *number <= wanted);
        let gone = before - self.queue.len() - self.steps.len();
        self.total = self.total.saturating_sub(u32::try_from(gone).unwrap_or(0));
    }

    /// An instance is replaced by somebody else, or not at all.
    fn skip(&mut self, number: u32) {
        let queued = self.queue.iter().any(|it| *it == number);
        if self.steps.remove(&number).is_some() || queued {
            self.queue.retain(|it| *it != number);
            self.total = self.total.saturating_sub(1);
        }
    }
}

/// In which order the instances of this unit are replaced.
fn order(unit: &Unit) -> RollingOrder {
    let holds_sockets = unit.socket.is_some() || !unit.sockets.is_empty();
    let default = if holds_sockets { RollingOrder::StartFirst } else { RollingOrder::StopFirst };
    unit.service.rolling_update.order.unwrap_or(default)
}

impl Manager {
    /// Whether a restart of this unit replaces its instances one after the other. There is no way
    /// back from a stop that only waits for its queues to be empty: that is followed by a start.
    pub(super) fn can_roll(&self, unit: &UnitName) -> bool {
        let next = self.units.get(unit);
        self.group_phase(unit) == GroupPhase::Up
            && !self.is_quiescing(unit)
            && self.shutdown.is_none()
            && next.is_some_and(|next| next.service.instances.is_some())
    }

    /// A restart that somebody asked for: of what has instances, a roll.
    pub(super) fn restart_or_roll(&mut self, unit: &UnitName, origin: Origin) {
        if self.can_roll(unit) {
            self.install(unit, Job::roll(JobKind::Restart, origin));
        } else {
            self.restart(unit, origin, None);
        }
    }

    /// The job that reloads a unit.
    pub(super) fn reload_job(&self, unit: &UnitName, origin: Origin) -> Job {
        let reloads = self.services.get(unit).is_some_and(Service::can_reload);
        if self.can_roll(unit) && !reloads {
            Job::roll(JobKind::Reload, origin)
        } else {
            Job::new(JobKind::Reload, origin)
        }
    }

    /// The turn of a job that replaces instances has come.
    pub(super) fn run_roll(&mut self, unit: &UnitName) {
        if self.can_roll(unit) {
            self.jobs.run(unit);
            self.begin_roll(unit);
            return;
        }
        let Some(job) = self.jobs.get_mut(unit) else { return };
        if job.kind == JobKind::Reload {
            self.finish_job(unit, JobResult::Failed, "the service is not up any more");
        } else {
            // It went down meanwhile: then it is an ordinary start.
            job.roll = false;
            self.jobs.dirty.insert(unit.clone());
        }
    }

    fn begin_roll(&mut self, unit: &UnitName) {
        let Some(target) = self.units.get(unit).cloned() else { return };
        self.drop_roll(unit);
        let Some(group) = self.groups.get_mut(unit) else { return };
        group.declare(&target);
        let wanted = group.wanted;
        let known = |number: &u32| self.services.contains_key(&unit.numbered(*number));
        let serves =
            |number: &u32| self.services.get(&unit.numbered(*number)).is_some_and(Service::serves);
        // Those that do not serve come first: so no more are missing than may be.
        let (up, down): (Vec<u32>, Vec<u32>) = (1..=wanted).filter(known).partition(serves);
        let queue: VecDeque<u32> = down.into_iter().chain(up).collect();
        let of = |number: &u32| (*number, Arc::new(instance(&target, *number)));
        let update = target.service.rolling_update;
        let roll = Roll {
            order: order(&target),
            parallelism: usize::try_from(update.parallelism.max(1)).unwrap_or(usize::MAX),
            monitor: update.monitor,
            failure_action: update.failure_action,
            definitions: queue.iter().map(of).collect(),
            total: u32::try_from(queue.len()).unwrap_or(u32::MAX),
            queue,
            target: Some(Arc::clone(&target)),
            ..Roll::empty()
        };
        self.say_roll(unit, RollEvent::Begun, &roll);
        if let Some(group) = self.groups.get_mut(unit) {
            group.roll = Some(roll);
        }
        self.fill(unit, &target, false);
        self.touched.insert(unit.clone());
    }

    /// A leaking service is replaced before its limit kills it: an instance when its turn comes,
    /// what has none by a restart.
    pub(super) fn on_memory_high(&mut self, unit: &UnitName, current: u64, high: u64) {
        let mut due = false;
        self.with(unit, |service, out| due = service.wants_recycling(out, current, high));
        if !due {
            return;
        }
        match self.group_of(unit).cloned() {
            Some(group) => _ = self.touched.insert(group),
            None if self.shutdown.is_none() && self.jobs.get(unit).is_none() => {
                self.restart(unit, Origin::Unit, None);
            }
            None => (),
        }
    }

    /// Instances that have run for as long as they may are replaced, one at a time.
    pub(super) fn recycle(&mut self, unit: &UnitName) {
        let busy = self.groups.get(unit).is_none_or(|group| group.roll.is_some() || group.starting);
        if busy || self.jobs.get(unit).is_some() || self.shutdown.is_some() {
            return;
        }
        let due = |service: &&Service| {
            let free = self.jobs.get(service.name()).is_none();
            service.place.recycle && service.serves() && free && service.name().mark().is_none()
        };
        let Some(service) = self.members(unit).find(due) else { return };
        let Some(number) = super::instances::number_of(service.name()) else { return };
        let definition = Arc::clone(&service.unit);
        let name = service.name().clone();
        self.with(&name, |service, _| service.place.recycle = false);
        let roll = Roll {
            order: RollingOrder::StartFirst,
            monitor: definition.service.rolling_update.monitor,
            definitions: BTreeMap::from([(number, definition)]),
            queue: VecDeque::from([number]),
            total: 1,
            recycles: true,
            ..Roll::empty()
        };
        self.say_roll(unit, RollEvent::Recycles { instance: name }, &roll);
        if let Some(group) = self.groups.get_mut(unit) {
            group.roll = Some(roll);
        }
        self.touched.insert(unit.clone());
    }

    /// Looks at every replacement that is under way, and begins those whose turn has come.
    pub(super) fn advance_roll(&mut self, unit: &UnitName) {
        let numbers = |group: &super::instances::Group| -> Vec<u32> {
            group.roll.iter().flat_map(|roll| roll.steps.keys().copied()).collect()
        };
        for number in self.groups.get(unit).map(numbers).unwrap_or_default() {
            self.look_at_step(unit, number);
        }
        while let Some(number) = self.next_in_roll(unit) {
            self.begin_step(unit, number);
        }
        let over = |roll: &Roll| roll.queue.is_empty() && roll.steps.is_empty();
        if self.groups.get(unit).and_then(|group| group.roll.as_ref()).is_some_and(over) {
            self.end_roll(unit);
        }
    }

    fn next_in_roll(&mut self, unit: &UnitName) -> Option<u32> {
        let roll = self.groups.get_mut(unit)?.roll.as_mut()?;
        if roll.steps.len() < roll.parallelism { roll.queue.pop_front() } else { None }
    }

    /// Every instance has been replaced, or what failed was gone past or gone back from.
    fn end_roll(&mut self, unit: &UnitName) {
        let Some(roll) = self.groups.get_mut(unit).and_then(|group| group.roll.take()) else {
            return;
        };
        let failed = roll.failure.clone();
        match (&failed, roll.back) {
            (Some(reason), true) => {
                let reason = format!("{reason}: every instance has its old definition again");
                self.say_roll(unit, RollEvent::WentBack, &roll);
                self.finish_roll_job(unit, JobResult::Failed, &reason);
            }
            (Some(reason), false) => {
                let reason = format!("{reason}: {} of {} were replaced", roll.done, roll.total);
                self.say_roll(unit, RollEvent::Ended, &roll);
                self.finish_roll_job(unit, JobResult::Failed, &reason);
            }
            (None, _) => {
                self.say_roll(unit, RollEvent::Ended, &roll);
                if let Some(target) = roll.target {
                    self.with(unit, |service, _| service.unit = target);
                }
                self.finish_roll_job(unit, JobResult::Done, "");
            }
        }
    }

    /// It does not go on: what is not replaced yet stays as it is.
    pub(super) fn halt_roll(&mut self, unit: &UnitName, reason: &str) {
        let Some(roll) = self.abandon_roll(unit) else { return };
        let left = self.old_ones(unit, &roll);
        let old = if left == 1 { "1 old instance serves" } else { "old instances serve" };
        let left = if left == 1 { format!("{old} on") } else { format!("{left} {old} on") };
        let reason = format!("{reason}: the roll halts, {left}");
        self.say_roll(unit, RollEvent::Halted { reason: reason.clone() }, &roll);
        if roll.recycles {
            let numbers: Vec<u32> = roll.definitions.keys().copied().collect();
            for number in numbers {
                self.with(&unit.numbered(number), |service, out| service.recycle_later(out));
            }
        }
        self.finish_roll_job(unit, JobResult::Failed, &reason);
    }

    /// How many instances serve that the roll has not replaced.
    fn old_ones(&self, unit: &UnitName, roll: &Roll) -> usize {
        let is_old = |service: &&Service| {
            let number = super::instances::number_of(service.name());
            service.serves() && number.is_some_and(|number| !roll.before.contains_key(&number))
        };
        self.members(unit).filter(is_old).count()
    }

    /// The roll is over, whoever ended it; its job is not.
    pub(super) fn drop_roll(&mut self, unit: &UnitName) {
        let Some(roll) = self.abandon_roll(unit) else { return };
        self.say_roll(unit, RollEvent::Interrupted, &roll);
    }

    /// Forgets the roll: what comes up beside an old instance goes, what was to make room stays.
    fn abandon_roll(&mut self, unit: &UnitName) -> Option<Roll> {
        let mut roll = self.groups.get_mut(unit)?.roll.take()?;
        for number in roll.steps.keys().copied().collect::<Vec<_>>() {
            self.abandon_step(unit, number, &mut roll);
        }
        Some(roll)
    }

    /// A replacement that has no place yet is not wanted any more.
    pub(super) fn abandon_step(&mut self, unit: &UnitName, number: u32, roll: &mut Roll) {
        match roll.steps.remove(&number) {
            Some(Step::Beside) => self.abandon(unit, number),
            Some(Step::Leaving) => {
                let old = roll.before.remove(&number);
                if let (Some(old), Some(group)) = (old, self.groups.get_mut(unit)) {
                    group.returning.insert(number, old);
                }
            }
            Some(Step::Coming | Step::Watched { .. }) | None => (),
        }
    }

    /// A client wants something of an instance itself: the roll lets go of it.
    pub(super) fn release_from_roll(&mut self, name: &UnitName) {
        let Some(unit) = self.group_of(name).cloned() else { return };
        let Some(number) = super::instances::number_of(name) else { return };
        let Some(group) = self.groups.get_mut(&unit) else { return };
        group.returning.remove(&number);
        let Some(roll) = &mut group.roll else { return };
        let beside = roll.steps.get(&number) == Some(&Step::Beside);
        roll.skip(number);
        if beside {
            self.abandon(&unit, number);
        }
        self.touched.insert(unit);
    }

    /// No roll goes on once rinit is about to end.
    pub(super) fn interrupt_rolls(&mut self) {
        for unit in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.drop_roll(&unit);
            self.finish_roll_job(&unit, JobResult::Canceled, "rinit is stopping");
            self.end_scaling(&unit, JobResult::Canceled, "rinit is stopping");
        }
    }

    fn finish_roll_job(&mut self, unit: &UnitName, result: JobResult, reason: &str) {
        if self.jobs.get(unit).is_some_and(|job| job.roll) {
            self.finish_job(unit, result, reason);
        }
    }

    pub(super) fn say_roll(&mut self, unit: &UnitName, what: RollEvent, roll: &Roll) {
        let (unit, done, total) = (unit.clone(), roll.done, roll.total);
        self.out.record(Fact::Roll { unit, what, done, total });
    }
}

impl Roll {
    fn empty() -> Roll {
        Roll {
            target: None,
            order: RollingOrder::StopFirst,
            parallelism: 1,
            monitor: std::time::Duration::ZERO,
            failure_action: RollingFailure::Pause,
            definitions: BTreeMap::new(),
            queue: VecDeque::new(),
            steps: BTreeMap::new(),
            before: BTreeMap::new(),
            done: 0,
            total: 0,
            failure: None,
            back: false,
            recycles: false,
        }
    }
}

/// Whether the service that is in this state now did not come up, or did not stay up.
pub(super) fn has_failed(state: SubState) -> bool {
    matches!(state, SubState::Dead | SubState::Failed | SubState::AutoRestart)
}
