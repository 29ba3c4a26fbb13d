//! The first part of a stop of a service with sockets: who is in their queues is accepted, and by
//! an instance that shares them who was accepted is read.
//!
//! Not which stop owes that, nor what ends it (`manager::sockets`). Nothing is killed or run yet;
//! to everybody else the service is on its way down already. **Invariant:** the wait has a deadline,
//! no process of the service is signalled or forked in it by the manager, and the shell, which may
//! hold an instance still meanwhile, is told the end of it.

use std::time::Duration;

use super::super::event::Action;
use super::super::out::Out;
use super::super::state::{ActiveState, SubState};
use super::Service;

impl Service {
    /// Waits for the queues to be empty, at most so long; `stop` ends the wait. A second call
    /// only says what the stop is for.
    pub fn quiesce(&mut self, out: &mut Out, restarting: bool, most: Duration) {
        self.may_restart = false;
        self.restarting = restarting;
        if self.quiescing {
            self.cut(out);
        } else {
            self.enter(out, SubState::Stop, Some(most));
            self.quiescing = true;
        }
    }

    /// The stop is over its instances; what it is for counts for its sockets.
    pub fn is_stopped_for(&mut self, restarting: bool) {
        self.quiescing = false;
        self.may_restart = false;
        self.restarting = restarting;
    }

    /// The wait is over: who was held still for it goes on, once it has had its signals.
    pub(super) fn resume(&mut self, out: &mut Out) {
        if std::mem::take(&mut self.quiescing) && self.unit.instance_of.is_some() {
            out.act(Action::Resume { unit: self.unit.name.clone() });
        }
    }

    /// It is about to stop, as soon as nobody waits in a queue.
    pub fn is_quiescing(&self) -> bool {
        self.quiescing
    }

    /// The stop that is under way is the first half of a restart.
    pub fn is_restarting(&self) -> bool {
        self.restarting
    }

    /// It has been told to stop, and nothing starts it again by itself.
    pub fn is_ending(&self) -> bool {
        let stops = self.state.active_state() == ActiveState::Deactivating;
        stops && !self.quiescing && !self.may_restart && !self.restarting
    }
}
