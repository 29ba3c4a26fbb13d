//! `scale`: another number of instances than the unit says.
//!
//! Not `Instances=` itself. **Invariant:** a client that scales is answered exactly once: when the
//! number is reached, when it cannot be, or when something newer takes its place.

use std::sync::Arc;

use super::Manager;
use super::event::{Action, ClientId, Fact, JobKind, JobResult, Reply};
use super::instances::{GroupPhase, number_of};
use super::service::Service;
use super::state::SubState;
use super::time::Timestamp;
use crate::unit::instances::{excess, instance};
use crate::unit::{Unit, UnitName};

/// A client waits for a number.
#[derive(Debug)]
pub(super) struct Scaling {
    client: ClientId,
    pub deadline: Option<Timestamp>,
}

impl Manager {
    /// Whether this is an instance that goes because fewer are wanted now.
    pub(super) fn is_one_too_many(&self, unit: &UnitName) -> bool {
        let group = self.group_of(unit).and_then(|group| self.groups.get(group));
        let number = number_of(unit).filter(|_| unit.mark().is_none());
        group.zip(number).is_some_and(|(group, number)| number > group.wanted)
    }

    /// A client wants so many instances.
    pub(super) fn scale(&mut self, client: ClientId, unit: &UnitName, count: u32) {
        let refusal = match (self.services.get(unit), self.groups.get(unit)) {
            (None, _) => Some(Reply::NoSuchUnit),
            (Some(_), _) if self.shutdown.is_some() => {
                Some(Reply::Refused { reason: "rinit is stopping".to_string() })
            }
            (Some(_), None) => Some(Reply::Refused { reason: format!("{unit} has no Instances=") }),
            (Some(_), Some(_)) => excess(count).map(|reason| Reply::Refused { reason }),
        };
        if let Some(reply) = refusal {
            self.out.act(Action::Reply { client, reply });
            return;
        }
        self.end_scaling(unit, JobResult::Canceled, "another number is wanted now");
        let Some(group) = self.groups.get_mut(unit) else { return };
        let from = std::mem::replace(&mut group.wanted, count);
        self.out.record(Fact::Scaled { unit: unit.clone(), from, to: count });
        if self.group_phase(unit) != GroupPhase::Up {
            // It counts from the next start on.
            self.out.act(Action::Reply { client, reply: Reply::Done });
            return;
        }
        let timeout = self.services.get(unit).and_then(|it| it.unit.service.timeout_start);
        let deadline = timeout.map(|timeout| self.out.now.after(timeout));
        if let Some(group) = self.groups.get_mut(unit) {
            group.scaling = Some(Scaling { client, deadline });
        }
        let roll = self.groups.get(unit).and_then(|group| group.roll.as_ref()?.target.clone());
        let present = self.services.get(unit).map(|service| Arc::clone(&service.unit));
        if let Some(definition) = roll.or(present) {
            self.fill(unit, &definition, true);
        }
        self.touched.insert(unit.clone());
    }

    /// Starts the instances that are missing, with `again` those that are down as well, and stops
    /// the highest that are too many.
    pub(super) fn fill(&mut self, unit: &UnitName, definition: &Arc<Unit>, again: bool) {
        self.fit_sockets(unit);
        let Some(group) = self.groups.get_mut(unit) else { return };
        let wanted = group.wanted;
        group.returning.retain(|number, _| *number <= wanted);
        if let Some(roll) = &mut group.roll {
            roll.cut(wanted);
        }
        let too_many = |name: &&UnitName| number_of(name).is_none_or(|number| number > wanted);
        let too_many: Vec<UnitName> = group.members.iter().filter(too_many).cloned().collect();
        for name in too_many.iter().rev() {
            let up = self.services.get(name).is_some_and(|service| !service.is_down());
            if up && self.jobs.get(name).is_none_or(|job| job.kind != JobKind::Stop) {
                self.finish_job(name, JobResult::Canceled, "there are to be fewer instances");
                self.stop_instance(name);
            }
        }
        for number in 1..=wanted {
            let made = Arc::new(instance(definition, number));
            self.fill_place(unit, number, made, again);
        }
    }

    fn fill_place(&mut self, unit: &UnitName, number: u32, made: Arc<Unit>, again: bool) {
        let name = unit.numbered(number);
        let Some(service) = self.services.get(&name) else {
            self.start_instance(unit, number, made);
            return;
        };
        if self.jobs.get(&name).is_some() || service.held {
            return; // a client has its own plans with it
        }
        if service.is_down() {
            if again {
                self.start_instance(unit, number, made);
            }
        } else if (service.is_up() && service.place.leaving || service.is_stopped())
            && let Some(group) = self.groups.get_mut(unit)
        {
            group.returning.entry(number).or_insert(made); // it was on its way out
        }
    }

    /// Whether the number has been reached, or cannot be.
    pub(super) fn judge_scaling(&mut self, unit: &UnitName) {
        let Some(group) = self.groups.get(unit) else { return };
        let Some(scaling) = &group.scaling else { return };
        let late = scaling.deadline.is_some_and(|at| at <= self.out.now);
        let wanted = group.wanted;
        let name = |number| unit.numbered(number);
        let is = |number: u32, what: fn(&Service) -> bool| {
            self.services.get(&name(number)).is_some_and(what)
        };
        // One that a client stopped is not asked to come up, however that stop ended.
        let has_failed = |it: &Service| !it.held && (it.state == SubState::Failed || it.is_spent());
        let failed = (1..=wanted).find(|number| is(*number, has_failed));
        let open = (1..=wanted).any(|number| !is(number, |it| it.serves() || it.held));
        let extra = group.members.iter().any(|name| {
            let number = number_of(name).is_none_or(|number| number > wanted);
            number && self.services.get(name).is_some_and(|service| !service.is_down())
        });
        if let Some(number) = failed {
            let reason = self.services.get(&name(number)).map(|it| it.result);
            let reason = reason.map_or_else(String::new, |result| format!(" ({result})"));
            let reason = format!("{} did not come up{reason}", name(number));
            self.end_scaling(unit, JobResult::Failed, &reason);
        } else if !open && !extra {
            self.end_scaling(unit, JobResult::Done, "");
        } else if late {
            let ready = self.census(unit).ready;
            let reason = format!("{ready} of {wanted} instances are ready");
            self.end_scaling(unit, JobResult::Timeout, &reason);
        }
    }

    pub(super) fn end_scaling(&mut self, unit: &UnitName, result: JobResult, reason: &str) {
        let scaling = self.groups.get_mut(unit).and_then(|group| group.scaling.take());
        if let Some(Scaling { client, .. }) = scaling {
            let (reason, also) = (reason.to_string(), Vec::new());
            self.out.act(Action::Reply { client, reply: Reply::Job { result, reason, also } });
        }
    }
}
