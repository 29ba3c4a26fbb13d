//! What the manager shows of itself: a snapshot for who asks.
//!
//! Not a way to change anything.

use std::sync::Arc;

use super::Manager;
use super::event::{InvocationId, JobKind, ProcessId};
use super::instances::{Group, number_of};
use super::service::Service;
use super::state::{ServiceResult, SubState};
use super::time::Timestamp;
use crate::unit::process::ExitStatus;
use crate::unit::{Unit, UnitName};

/// One unit, as `systemctl show` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitStatus {
    /// The definition that counts now: of a run, the one that it was started with.
    pub unit: Arc<Unit>,
    /// The file is there; else only the run is left (LoadState).
    pub loaded: bool,
    /// The definition on disk is another (NeedDaemonReload is systemd's word for the opposite:
    /// here it was read, and takes effect with the next start).
    pub stale: bool,
    /// SubState; ActiveState follows from it.
    pub state: SubState,
    /// StateChangeTimestamp; `None`: it never changed.
    pub since: Option<Timestamp>,
    /// Result.
    pub result: ServiceResult,
    /// InvocationID.
    pub invocation: InvocationId,
    /// MainPID.
    pub main: Option<ProcessId>,
    /// ExecMainStartTimestamp, while it runs.
    pub main_since: Option<Timestamp>,
    /// ControlPID.
    pub control: Option<ProcessId>,
    /// ExecMainStatus, ExecMainCode.
    pub main_exit: Option<ExitStatus>,
    /// How the last main process ended, of an earlier run as well.
    pub last_exit: Option<ExitStatus>,
    /// NRestarts.
    pub n_restarts: u32,
    /// When the automatic restart that it waits for is due.
    pub restart_at: Option<Timestamp>,
    /// The restart in a row that this is, as the backoff counts.
    pub attempt: u32,
    /// ActiveEnterTimestamp of this run.
    pub ready_at: Option<Timestamp>,
    /// StatusText.
    pub status_text: Option<String>,
    /// StatusErrno.
    pub status_errno: Option<i32>,
    /// What its probes say of it; `None`: nothing yet, or it has none.
    pub healthy: Option<bool>,
    /// The job on it.
    pub job: Option<JobKind>,
    /// A client stopped it.
    pub held: bool,
    /// It is one of the instances of this service.
    pub instance_of: Option<UnitName>,
    /// It used up its start limit, and is tried again seldom.
    pub exhausted: bool,
    /// What its instances make, if it has any.
    pub instances: Option<InstancesStatus>,
}

/// The instances of a service, counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstancesStatus {
    /// So many there are to be.
    pub wanted: u32,
    /// So many are ready.
    pub ready: u32,
    /// So many used up their start limit.
    pub exhausted: u32,
    /// So many run by another definition than the present one.
    pub outdated: u32,
    /// The roll that is under way.
    pub roll: Option<RollStatus>,
}

/// How far the replacement of instances is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RollStatus {
    /// So many have been replaced…
    pub done: u32,
    /// …of so many.
    pub total: u32,
    /// A replacement failed, and those made before are being undone.
    pub back: bool,
    /// Those whose turn it is.
    pub current: Vec<UnitName>,
}

/// The state of the whole (`systemctl is-system-running`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemState {
    /// The boot has jobs left.
    Starting,
    /// All is well.
    Running,
    /// A unit failed.
    Degraded,
    /// Everything is being stopped.
    Stopping,
}

impl SystemState {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            SystemState::Starting => "starting",
            SystemState::Running => "running",
            SystemState::Degraded => "degraded",
            SystemState::Stopping => "stopping",
        }
    }
}

impl Manager {
    /// Every unit, by name; the instances of a service follow it, by number. What only comes or
    /// goes while an instance is replaced is not among them.
    pub fn status(&self) -> impl Iterator<Item = UnitStatus> {
        let single = self.services.values().filter(|service| service.unit.instance_of.is_none());
        single.flat_map(|service| {
            let mut instances: Vec<&Service> =
                self.members(service.name()).filter(|it| it.name().mark().is_none()).collect();
            instances.sort_by_key(|instance| number_of(instance.name()));
            let all = std::iter::once(service).chain(instances);
            all.map(|service| self.snapshot(service)).collect::<Vec<_>>()
        })
    }

    /// One unit.
    pub fn unit_status(&self, unit: &UnitName) -> Option<UnitStatus> {
        self.services.get(unit).map(|service| self.snapshot(service))
    }

    /// The state of the whole.
    pub fn system_state(&self) -> SystemState {
        let bad = |it: &Service| it.state == SubState::Failed || it.place.exhausted;
        let failed = || self.services.values().any(bad);
        if self.shutdown.is_some() {
            SystemState::Stopping
        } else if !self.booted || self.boot.is_some() {
            SystemState::Starting
        } else if failed() {
            SystemState::Degraded
        } else {
            SystemState::Running
        }
    }

    fn snapshot(&self, service: &Service) -> UnitStatus {
        let defined = self.definition(service.name());
        let group = self.groups.get(service.name());
        UnitStatus {
            unit: Arc::clone(&service.unit),
            loaded: defined.is_some(),
            stale: defined.is_some_and(|unit| *unit != *service.unit),
            state: service.state,
            since: service.since(),
            result: service.result,
            invocation: service.invocation,
            main: service.main.map(|live| live.process),
            main_since: service.main.map(|live| live.since),
            control: service.control.map(|live| live.process),
            main_exit: service.main_exit,
            last_exit: service.last_exit,
            n_restarts: match group {
                Some(_) => self.members(service.name()).map(|it| it.n_restarts).sum(),
                None => service.n_restarts,
            },
            restart_at: service.restart_at(),
            attempt: service.attempt(),
            ready_at: service.ready_at(),
            status_text: service.status_text().map(str::to_string),
            status_errno: service.status_errno(),
            healthy: service.healthy(),
            job: self.jobs.get(service.name()).map(|job| job.kind),
            held: service.held,
            instance_of: service.unit.instance_of.clone(),
            exhausted: service.place.exhausted,
            instances: group.map(|group| self.instances_status(service.name(), group)),
        }
    }

    fn instances_status(&self, unit: &UnitName, group: &Group) -> InstancesStatus {
        let outdated = |it: &&Service| {
            let present = self.definition(it.name());
            let marked = it.name().mark().is_some();
            !marked && !it.is_down() && present.is_some_and(|unit| *unit != *it.unit)
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let roll = group.roll.as_ref().map(|roll| RollStatus {
            done: roll.done,
            total: roll.total,
            back: roll.back,
            current: roll.steps.keys().map(|number| unit.numbered(*number)).collect(),
        });
        InstancesStatus {
            wanted: group.wanted,
            ready: self.census(unit).ready,
            exhausted: count(self.members(unit).filter(|it| it.place.exhausted).count()),
            outdated: count(self.members(unit).filter(outdated).count()),
            roll,
        }
    }
}
