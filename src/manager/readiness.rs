//! Whether rinit is ready for traffic, and if not, who it waits for.
//!
//! Not the readiness of one service (`service::ready`). **Invariant:** from the moment in which an
//! end is decided, its drain included, rinit is not ready.

use super::Manager;
use super::event::JobResult;
use super::job::Job;
use super::service::Service;
use super::shutdown::Phase;
use super::state::{ActiveState, ServiceResult, SubState};
use crate::unit::service::{ExitAction, ServiceType};
use crate::unit::{StartedBy, UnitName};

/// What the whole waits for: the units that boot starts and that it cannot do without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// Whether it is there to serve at all.
    pub phase: ServingPhase,
    /// The units that count, by name.
    pub units: Vec<Standing>,
}

/// What rinit is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServingPhase {
    /// Serving: the units decide.
    Up,
    /// `DrainSec=` runs: traffic is served, and nobody should send more.
    Draining,
    /// Everything is being stopped.
    Stopping,
}

/// One unit that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Which.
    pub unit: UnitName,
    /// Whether it is as it should be.
    pub ready: bool,
    /// Where it is.
    pub state: SubState,
    /// Of a service with instances: so many are ready, of so many.
    pub instances: Option<(u32, u32)>,
    /// It is up, and its probes fail.
    pub unhealthy: bool,
    /// A condition skipped it.
    pub skipped: bool,
}

impl Readiness {
    /// Whether traffic may come.
    pub fn is_ready(&self) -> bool {
        self.phase == ServingPhase::Up && self.units.iter().all(|unit| unit.ready)
    }
}

impl Manager {
    /// Whether traffic may come: every unit that boot starts and whose failure would end rinit
    /// (`FailureAction=`) is ready. Of a service with instances one is enough; a oneshot has
    /// finished, or was skipped by a condition. What a reload brought and nobody has started yet
    /// does not count.
    pub fn readiness(&self) -> Readiness {
        let phase = match self.shutdown.as_ref().map(|shutdown| shutdown.phase) {
            None => ServingPhase::Up,
            Some(Phase::Draining) => ServingPhase::Draining,
            Some(Phase::Handlers | Phase::Stopping | Phase::Sweeping | Phase::Exited) => {
                ServingPhase::Stopping
            }
        };
        let counts = |service: &&Service| is_essential(service) && self.was_asked_for(service);
        let units = self.services.values().filter(counts).map(|it| self.standing(it));
        Readiness { phase, units: units.collect() }
    }

    /// Before the boot everything is still to come.
    fn was_asked_for(&self, service: &Service) -> bool {
        service.wanted || !self.booted
    }

    fn standing(&self, service: &Service) -> Standing {
        let instances = self.groups.get(service.name()).map(|group| {
            let ready = self.census(service.name()).ready;
            (ready, group.wanted)
        });
        let up =
            matches!(service.state.active_state(), ActiveState::Active | ActiveState::Reloading);
        let unhealthy = up && service.healthy() == Some(false);
        let skipped = service.is_skipped();
        let is_coming = self.jobs.get(service.name()).is_some_and(Job::starts);
        let done = !is_coming && (skipped || service.has_finished());
        let ready = done || (!unhealthy && instances.map_or(up, |(ready, _)| ready > 0));
        let (unit, state) = (service.name().clone(), service.state);
        Standing { unit, ready, state, instances, unhealthy, skipped }
    }
}

/// Boot starts it, and its failure ends rinit.
pub(super) fn is_essential(service: &Service) -> bool {
    let unit = &service.unit;
    unit.instance_of.is_none()
        && unit.started_by == StartedBy::Boot
        && unit.failure_action != ExitAction::None
}

impl Service {
    /// The last start was skipped by a condition.
    fn is_skipped(&self) -> bool {
        let skipped = |verdict: &(JobResult, String)| verdict.0 == JobResult::Skipped;
        self.state == SubState::Dead && self.verdict.as_deref().is_some_and(skipped)
    }

    /// A oneshot that ran, and ended well.
    fn has_finished(&self) -> bool {
        self.unit.service.kind == ServiceType::Oneshot
            && self.state == SubState::Dead
            && self.invocation != super::event::InvocationId::default()
            && self.result == ServiceResult::Success
            && self.verdict.is_none()
    }
}
