//! What the manager shows of itself: a snapshot for who asks.
//!
//! Not a way to change anything.

use super::Manager;
use super::event::{InvocationId, ProcessId};
use super::state::{ServiceResult, SubState};
use crate::unit::UnitName;
use crate::unit::process::ExitStatus;

/// One unit, as `show` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitStatus {
    /// Id.
    pub name: UnitName,
    /// SubState; ActiveState follows from it.
    pub state: SubState,
    /// Result.
    pub result: ServiceResult,
    /// InvocationID.
    pub invocation: InvocationId,
    /// MainPID.
    pub main: Option<ProcessId>,
    /// ExecMainStatus.
    pub main_exit: Option<ExitStatus>,
    /// NRestarts.
    pub n_restarts: u32,
}

impl Manager {
    /// Every unit, by name.
    pub fn status(&self) -> impl Iterator<Item = UnitStatus> {
        self.services.values().map(|service| UnitStatus {
            name: service.name().clone(),
            state: service.state,
            result: service.result,
            invocation: service.invocation,
            main: service.main.map(|live| live.process),
            main_exit: service.main_exit,
            n_restarts: service.n_restarts,
        })
    }
}
