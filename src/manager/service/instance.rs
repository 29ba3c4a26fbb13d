//! What is different for a service with `Instances=`, the *group*, and for one of its instances.
//!
//! Not what the instances are to their group (`instances`) nor how they are replaced (`rollout`).
//! **Invariant:** a group never has a process; its state is what [`Service::show`] is told.

use std::sync::Arc;
use std::time::Duration;

use super::super::event::Action;
use super::super::out::Out;
use super::super::state::{ActiveState, ServiceResult, SubState};
use super::super::time::Timestamp;
use super::{Service, StartReason};
use crate::unit::UnitName;
use crate::unit::service::Restart;

/// How long an exhausted instance waits where `RestartMaxDelaySec=` says nothing: rinit's default.
const RETRY: Duration = Duration::from_secs(30);

/// What only one of several instances has.
#[derive(Debug, Default)]
pub(in super::super) struct Place {
    /// It used up its start limit, and is tried again seldom.
    pub exhausted: bool,
    /// It has been up for so long then that it is exhausted no longer.
    pub recovers_at: Option<Timestamp>,
    /// `RuntimeMaxSec=` is over: it is to be replaced.
    pub recycle: bool,
    /// It is about to be stopped, or has lost its main process: nothing new is to come to it.
    pub leaving: bool,
}

impl Place {
    /// It is not up, or not any more.
    pub(super) fn is_not_up(&mut self) {
        self.recovers_at = None;
        self.recycle = false;
        self.leaving = false;
    }
}

impl Service {
    /// It has `Instances=` and runs nothing itself.
    pub fn is_group(&self) -> bool {
        self.unit.service.instances.is_some() && self.unit.instance_of.is_none()
    }

    /// The state of a group, as its instances make it.
    pub fn show(&mut self, out: &mut Out, state: SubState) {
        if self.state != state {
            if state == SubState::Running {
                self.ready_at = self.ready_at.or(Some(out.now));
            }
            self.enter(out, state, None);
        }
    }

    /// It is up, well as far as anybody knows, and may be sent work.
    pub fn serves(&self) -> bool {
        self.is_up() && !self.place.leaving && self.healthy() != Some(false)
    }

    /// Up, whatever is to come.
    pub fn is_up(&self) -> bool {
        matches!(self.state, SubState::Running | SubState::Exited | SubState::Reload)
    }

    /// On its way up, and not waiting for it.
    pub fn is_coming(&self) -> bool {
        self.state.active_state() == ActiveState::Activating && self.state != SubState::AutoRestart
    }

    /// It goes because somebody wants it to, and will not come back by itself.
    pub fn is_stopped(&self) -> bool {
        self.state.active_state() == ActiveState::Deactivating && !self.may_restart
    }

    /// It waits for its next try and has used up its start limit.
    pub fn is_spent(&self) -> bool {
        self.state == SubState::AutoRestart && self.place.exhausted
    }

    /// One try, after which it is not restarted: a replacement that has no place yet.
    pub fn start_once(&mut self, out: &mut Out) {
        self.start(out, StartReason::Asked);
        self.may_restart = false;
    }

    /// The replacement has taken its place: from now on it is restarted as any other.
    pub fn settle_in(&mut self) {
        self.may_restart = true;
    }

    /// It goes by another name from now on; its processes go with it.
    pub fn rename(&mut self, out: &mut Out, to: &UnitName) {
        let from = self.name().clone();
        let mut unit = (*self.unit).clone();
        unit.name = to.clone();
        self.unit = Arc::new(unit);
        let owners = out.processes.values_mut().filter(|owner| **owner == from);
        owners.for_each(|owner| *owner = to.clone());
        let changes = out.changes.iter_mut().filter(|change| change.unit == from);
        changes.for_each(|change| change.unit = to.clone());
    }

    /// An answer about its last processes may come under the name that it had: asks once more.
    pub fn ask_again(&self, out: &mut Out) {
        if self.sends_signals() {
            out.act(Action::KillUnit { unit: self.name().clone(), signal: None });
        }
    }

    pub(super) fn may_be_exhausted(&self) -> bool {
        self.unit.instance_of.is_some() && self.unit.service.restart != Restart::No
    }

    /// The start limit refuses this start: the next one comes late, and is not counted.
    pub(super) fn exhaust(&mut self, out: &mut Out) {
        self.result = ServiceResult::StartLimitHit;
        self.place.exhausted = true;
        let delay = out.random.jitter(self.exhausted_delay());
        self.enter(out, SubState::AutoRestart, Some(delay));
    }

    /// How long an exhausted instance waits.
    pub fn exhausted_delay(&self) -> Duration {
        let service = &self.unit.service;
        service.restart_max_delay.unwrap_or(RETRY).max(service.restart_sec)
    }

    /// Its group has no instance left that is worth the wait.
    pub fn give_up(&mut self, out: &mut Out) {
        if self.is_spent() {
            self.result = ServiceResult::StartLimitHit;
            self.enter(out, SubState::Failed, None);
        }
    }

    pub(super) fn recover_later(&mut self, out: &Out) {
        if self.place.exhausted {
            self.place.recovers_at = Some(out.now.after(self.unit.service.restart_reset));
        }
    }

    pub(super) fn recover(&mut self, out: &Out) {
        if self.place.recovers_at.is_some_and(|at| at <= out.now) {
            self.place.recovers_at = None;
            self.place.exhausted = false;
            self.attempt = 0;
            self.start_limit.reset();
        }
    }

    /// `RuntimeMaxSec=` of an instance is over: it serves on until its turn to be replaced.
    pub(super) fn is_recycled(&mut self, now: Timestamp) -> bool {
        let due = self.runtime_deadline.is_some_and(|deadline| deadline <= now);
        let instance = self.unit.instance_of.is_some();
        self.place.recycle |= due && instance;
        due && instance
    }

    /// It could not be replaced: the next try comes after the delay of an exhausted one.
    pub fn recycle_later(&mut self, out: &Out) {
        if self.state == SubState::Running {
            self.runtime_deadline = Some(out.now.after(self.exhausted_delay()));
        }
    }
}
