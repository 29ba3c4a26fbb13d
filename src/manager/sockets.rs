//! When the sockets of a unit are open, and what a stop owes to those who are in their queues.
//!
//! Not the sockets themselves: the shell holds them. **Invariant:** every stop of a service that
//! somebody asked for goes through [`Manager::stop_service`].

use super::Manager;
use super::instances::GroupPhase;
use crate::unit::UnitName;

impl Manager {
    /// Begins the stop of a service. `restarting`: only to start it again.
    pub(super) fn stop_service(&mut self, unit: &UnitName, restarting: bool) {
        if self.group_phase(unit) == GroupPhase::Down {
            self.with(unit, |service, out| service.stop(out, restarting));
        } else {
            self.stop_group(unit, restarting);
        }
    }
}
