//! One replacement of a roll: its beginning, what it waits for, its end.
//!
//! Not whose turn comes when (`rollout`). Start-first the new instance comes up under a marked
//! name, takes the place of the old one once it is ready, and the old one is stopped under
//! another mark. **Invariant:** no job is ever on a marked name.

use std::sync::Arc;

use super::Manager;
use super::event::{Action, RollEvent};
use super::rollout::{Roll, Step, has_failed};
use super::service::Service;
use super::state::ActiveState;
use crate::unit::rolling::{RollingFailure, RollingOrder};
use crate::unit::{Unit, UnitName};

const NEW: &str = "new";

impl Manager {
    fn roll_mut(&mut self, unit: &UnitName) -> Option<&mut Roll> {
        self.groups.get_mut(unit)?.roll.as_mut()
    }

    fn set_step(&mut self, unit: &UnitName, number: u32, step: Step) {
        if let Some(roll) = self.roll_mut(unit) {
            roll.steps.insert(number, step);
        }
    }

    /// The turn of an instance has come.
    pub(super) fn begin_step(&mut self, unit: &UnitName, number: u32) {
        let name = unit.numbered(number);
        let Some(roll) = self.roll_mut(unit) else { return };
        let (order, definition) = (roll.order, roll.definitions.get(&number).cloned());
        let Some(definition) = definition else { return };
        let free = self.jobs.get(&name).is_none();
        let Some(service) = self.services.get(&name).filter(|it| free && !it.held) else {
            if let Some(roll) = self.roll_mut(unit) {
                roll.total = roll.total.saturating_sub(1);
            }
            return; // it is somebody else's
        };
        if service.serves() && order == RollingOrder::StartFirst {
            self.start_beside(unit, number, &definition);
            return;
        }
        let (down, before) = (service.is_down(), Arc::clone(&service.unit));
        if let Some(roll) = self.roll_mut(unit) {
            roll.before.insert(number, before);
        }
        if down {
            self.start_instance(unit, number, definition);
            self.set_step(unit, number, Step::Coming);
            return;
        }
        if let Some(group) = self.groups.get_mut(unit) {
            group.returning.insert(number, definition);
        }
        self.set_step(unit, number, Step::Leaving);
        self.stop_instance(&name);
    }

    fn start_beside(&mut self, unit: &UnitName, number: u32, definition: &Arc<Unit>) {
        let name = unit.numbered(number).marked(NEW);
        let mut definition = (**definition).clone();
        definition.name = name.clone();
        let definition = Arc::new(definition);
        self.add_member(unit, &name, &definition);
        self.set_step(unit, number, Step::Beside);
        self.with(&name, Service::start_once);
    }

    /// What has become of a replacement that is under way.
    pub(super) fn look_at_step(&mut self, unit: &UnitName, number: u32) {
        let Some(step) = self.roll_mut(unit).and_then(|roll| roll.steps.get(&number).cloned())
        else {
            return;
        };
        let name = unit.numbered(number);
        let service = self.services.get(&name);
        match step {
            Step::Beside => self.look_beside(unit, number),
            Step::Leaving => {
                let returning = self.groups.get(unit).map(|group| &group.returning);
                if !returning.is_some_and(|returning| returning.contains_key(&number)) {
                    self.set_step(unit, number, Step::Coming);
                    self.look_at_step(unit, number);
                }
            }
            Step::Coming => match service {
                Some(service) if service.is_up() => self.watch(unit, number, None),
                Some(service) if has_failed(service.state) => {
                    self.fail_step(unit, number, &name, "come up");
                }
                Some(_) => (),
                None => self.release_from_roll(&name),
            },
            Step::Watched { until, old } => {
                if !service.is_some_and(Service::serves) {
                    self.fail_step(unit, number, &name, "stay up");
                    return;
                }
                let gone = |old: &UnitName| self.services.get(old).is_none_or(Service::is_down);
                if until <= self.out.now && old.as_ref().is_none_or(gone) {
                    self.step_done(unit, number);
                }
            }
        }
    }

    fn look_beside(&mut self, unit: &UnitName, number: u32) {
        let new = unit.numbered(number).marked(NEW);
        let Some(service) = self.services.get(&new) else { return };
        if service.is_up() {
            self.take_place(unit, number);
        } else if has_failed(service.state)
            || service.state.active_state() == ActiveState::Deactivating
        {
            let name = unit.numbered(number);
            self.fail_step_of(unit, number, &name, &new, "come up");
        }
    }

    /// The new instance is ready: it gets the name, and the old one goes under another.
    fn take_place(&mut self, unit: &UnitName, number: u32) {
        let name = unit.numbered(number);
        let Some(old) = self.next_mark(unit, &name) else { return };
        let before = self.services.get(&name).map(|service| Arc::clone(&service.unit));
        self.rename(unit, &name, &old);
        self.rename(unit, &name.marked(NEW), &name);
        self.with(&name, |service, _| service.settle_in());
        if let (Some(before), Some(roll)) = (before, self.roll_mut(unit)) {
            roll.before.insert(number, before);
        }
        self.watch(unit, number, Some(old.clone()));
        self.stop_instance(&old);
    }

    /// The new instance is up: it has to stay so.
    fn watch(&mut self, unit: &UnitName, number: u32, old: Option<UnitName>) {
        let now = self.out.now;
        let Some(roll) = self.roll_mut(unit) else { return };
        let until = now.after(roll.monitor);
        roll.steps.insert(number, Step::Watched { until, old });
        self.look_at_step(unit, number);
    }

    fn step_done(&mut self, unit: &UnitName, number: u32) {
        let Some(group) = self.groups.get_mut(unit) else { return };
        let Some(mut roll) = group.roll.take() else { return };
        roll.steps.remove(&number);
        roll.done += 1;
        let instance = unit.numbered(number);
        self.say_roll(unit, RollEvent::Replaced { instance }, &roll);
        if let Some(group) = self.groups.get_mut(unit) {
            group.roll = Some(roll);
        }
    }

    fn fail_step(&mut self, unit: &UnitName, number: u32, name: &UnitName, what: &str) {
        self.fail_step_of(unit, number, name, name, what);
    }

    /// A replacement failed: the roll halts, goes back or goes on.
    fn fail_step_of(
        &mut self,
        unit: &UnitName,
        number: u32,
        name: &UnitName,
        record: &UnitName,
        what: &str,
    ) {
        let how = self.services.get(record).map_or_else(String::new, how_it_ended);
        let reason = format!("{name} did not {what}{how}");
        let Some(roll) = self.roll_mut(unit) else { return };
        let (action, back) = (roll.failure_action, roll.back);
        match action {
            RollingFailure::Rollback if !back && !roll.recycles => {
                self.go_back(unit, &reason);
            }
            RollingFailure::Continue => {
                if roll.steps.remove(&number) == Some(Step::Beside) {
                    self.abandon(unit, number);
                }
                self.go_on(unit, reason);
            }
            RollingFailure::Pause | RollingFailure::Rollback => self.halt_roll(unit, &reason),
        }
    }

    fn go_on(&mut self, unit: &UnitName, reason: String) {
        let roll = self.groups.get_mut(unit).and_then(|group| group.roll.take());
        let Some(mut roll) = roll else { return };
        self.say_roll(unit, RollEvent::GoesOn { reason: reason.clone() }, &roll);
        roll.failure.get_or_insert(reason);
        if let Some(group) = self.groups.get_mut(unit) {
            group.roll = Some(roll);
        }
    }

    /// Every instance that was replaced gets its old definition again.
    fn go_back(&mut self, unit: &UnitName, reason: &str) {
        let Some(mut roll) = self.groups.get_mut(unit).and_then(|group| group.roll.take()) else {
            return;
        };
        self.say_roll(unit, RollEvent::GoesBack { reason: reason.to_string() }, &roll);
        let leaving = roll.steps.iter().filter(|(_, step)| **step == Step::Leaving);
        let leaving: Vec<u32> = leaving.map(|(number, _)| *number).collect();
        for number in roll.steps.keys().copied().collect::<Vec<_>>() {
            self.abandon_step(unit, number, &mut roll);
        }
        roll.definitions = std::mem::take(&mut roll.before);
        // What was replaced last goes back first, but for those that do not serve: no more are
        // missing than may be. For that, too, who was about to make room has its turn already.
        let serves =
            |number: &u32| self.services.get(&unit.numbered(*number)).is_some_and(Service::serves);
        let (up, down): (Vec<u32>, Vec<u32>) =
            roll.definitions.keys().rev().copied().partition(serves);
        roll.queue = down.into_iter().chain(up).collect();
        roll.total = u32::try_from(roll.queue.len() + leaving.len()).unwrap_or(u32::MAX);
        roll.steps.extend(leaving.into_iter().map(|number| (number, Step::Leaving)));
        roll.done = 0;
        roll.target = None;
        roll.back = true;
        roll.failure = Some(reason.to_string());
        if let Some(group) = self.groups.get_mut(unit) {
            group.roll = Some(roll);
        }
    }

    /// What came up beside an old instance is not wanted any more.
    pub(super) fn abandon(&mut self, unit: &UnitName, number: u32) {
        let new = unit.numbered(number).marked(NEW);
        let Some(service) = self.services.get(&new) else { return };
        if service.is_down() {
            return; // forgotten with the next look
        }
        if let Some(old) = self.next_mark(unit, &new) {
            self.rename(unit, &new, &old);
            self.stop_instance(&old);
        }
        self.touched.insert(unit.clone());
    }

    fn next_mark(&mut self, unit: &UnitName, name: &UnitName) -> Option<UnitName> {
        let group = self.groups.get_mut(unit)?;
        group.marks += 1;
        Some(name.marked(&format!("old{}", group.marks)))
    }

    fn rename(&mut self, unit: &UnitName, from: &UnitName, to: &UnitName) {
        let Some(mut service) = self.forget(from) else { return };
        service.rename(&mut self.out, to);
        self.out.act(Action::Rename { from: from.clone(), to: to.clone() });
        service.ask_again(&mut self.out);
        self.services.insert(to.clone(), service);
        if let Some(group) = self.groups.get_mut(unit) {
            group.members.remove(from);
            group.members.insert(to.clone());
        }
        self.index_deadline(to);
    }
}

/// In parentheses: the result, and the status that it speaks of.
fn how_it_ended(service: &Service) -> String {
    use crate::unit::process::ExitStatus;
    let status = match service.failed_exit.or(service.main_exit) {
        Some(ExitStatus::Exited(code)) => format!(", status {code}"),
        Some(ExitStatus::Killed { signal, .. }) => format!(", {signal}"),
        None => String::new(),
    };
    format!(" ({}{status})", service.result)
}
