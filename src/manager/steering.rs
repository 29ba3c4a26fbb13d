//! Which instances of a service with `ReusePort=` get new connections.
//!
//! Not how (`sys::steer`). **Invariant:** the shell is told only when the set changes, and an
//! instance that is to be stopped has left it before its stop begins.

use super::Manager;
use super::event::Action;
use super::instances::number_of;
use crate::unit::UnitName;

impl Manager {
    /// Tells the shell who is ready, if that is news.
    pub(super) fn steer(&mut self, unit: &UnitName) {
        let steers = |service: &super::service::Service| {
            service.unit.socket.as_ref().is_some_and(|socket| socket.reuse_port)
        };
        if !self.services.get(unit).is_some_and(steers) {
            return;
        }
        // A replacement counts once it has the name; the shell knows whose socket is whose.
        let serving = self.members(unit).filter(|it| it.serves() && it.name().mark().is_none());
        let mut ready: Vec<u32> = serving.filter_map(|service| number_of(service.name())).collect();
        ready.sort_unstable();
        let Some(group) = self.groups.get_mut(unit) else { return };
        if group.steered != ready {
            group.steered.clone_from(&ready);
            self.out.act(Action::Steer { unit: unit.clone(), ready });
        }
    }
}
