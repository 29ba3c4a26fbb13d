//! The instances of a service with `Instances=`: how many, and the unit of each.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::rolling::Instances;
use super::service::{ExitAction, Service};
use super::{StartedBy, Unit};

/// The unit of the n-th instance.
pub fn instance(unit: &Unit, n: u32) -> Unit {
    let mut made = unit.clone();
    made.name = unit.name.numbered(n);
    made.started_by = StartedBy::Demand;
    made.step = false;
    made.requires = Vec::new().into();
    made.wants = Vec::new().into();
    made.after = Vec::new().into();
    let settings = &mut *made.settings;
    for list in [
        &mut settings.requisite,
        &mut settings.binds_to,
        &mut settings.part_of,
        &mut settings.upholds,
        &mut settings.conflicts,
        &mut settings.before,
        &mut settings.on_failure,
        &mut settings.on_success,
    ] {
        list.clear();
    }
    settings.conditions.clear();
    settings.asserts.clear();
    settings.start_limit_action = ExitAction::None;
    settings.failure_action = ExitAction::None;
    settings.success_action = ExitAction::None;
    settings.failure_action_exit_status = None;
    settings.success_action_exit_status = None;
    settings.job_timeout = None;
    settings.instance_of = Some(unit.name.clone());
    let service: &mut Service = &mut made.service;
    service.instances = None;
    made
}

/// How many `Instances=` means here.
pub fn resolve(instances: Instances, auto: u32) -> u32 {
    match instances {
        Instances::Count(count) => count,
        Instances::Auto => auto.max(1),
    }
}
