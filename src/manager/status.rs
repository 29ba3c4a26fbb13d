//! What the manager shows of itself: a snapshot for who asks.
//!
//! Not a way to change anything.

use std::sync::Arc;

use super::Manager;
use super::event::{InvocationId, JobKind, ProcessId};
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
    /// Every unit, by name.
    pub fn status(&self) -> impl Iterator<Item = UnitStatus> {
        self.services.values().map(|service| self.snapshot(service))
    }

    /// One unit.
    pub fn unit_status(&self, unit: &UnitName) -> Option<UnitStatus> {
        self.services.get(unit).map(|service| self.snapshot(service))
    }

    /// The state of the whole.
    pub fn system_state(&self) -> SystemState {
        let failed = || self.services.values().any(|service| service.state == SubState::Failed);
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
        let defined = self.units.get(service.name());
        UnitStatus {
            unit: Arc::clone(&service.unit),
            loaded: defined.is_some(),
            stale: defined.is_some_and(|unit| **unit != *service.unit),
            state: service.state,
            since: service.since(),
            result: service.result,
            invocation: service.invocation,
            main: service.main.map(|live| live.process),
            main_since: service.main.map(|live| live.since),
            control: service.control.map(|live| live.process),
            main_exit: service.main_exit,
            n_restarts: service.n_restarts,
            restart_at: service.restart_at(),
            attempt: service.attempt(),
            ready_at: service.ready_at(),
            status_text: service.status_text().map(str::to_string),
            status_errno: service.status_errno(),
            healthy: service.healthy(),
            job: self.jobs.get(service.name()).map(|job| job.kind),
            held: service.held,
        }
    }
}
