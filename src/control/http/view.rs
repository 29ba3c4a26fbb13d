//! What answers are made from: the manager's word, and what only the shell knows.
//!
//! Not the words. **Invariant:** what is not known is `None`, and is not shown.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use crate::control::usage::Usage;
use crate::manager::event::ProcessId;
use crate::manager::readiness::Readiness;
use crate::manager::status::{SystemState, UnitStatus};
use crate::manager::time::Timestamp;

/// Who can be asked. An answer asks for no more than it needs.
pub trait View {
    /// Whether traffic may come.
    fn readiness(&self) -> Readiness;
    /// The state of the whole.
    fn system_state(&self) -> SystemState;
    /// Every unit, the instances of a service after it.
    fn units(&self) -> Vec<UnitStatus>;
    /// The pid of a process that is not reaped yet.
    fn pid(&self, process: ProcessId) -> Option<i32>;
    /// What the processes of a unit take.
    fn usage(&self, unit: &UnitStatus) -> Usage;
    /// Every unit, with what its processes take.
    fn used_units(&self) -> Vec<(UnitStatus, Usage)> {
        let used = |unit: UnitStatus| {
            let usage = self.usage(&unit);
            (unit, usage)
        };
        self.units().into_iter().map(used).collect()
    }
    /// Now.
    fn now(&self) -> Timestamp;
    /// A moment as people count: since 1970.
    fn wall(&self, at: Timestamp) -> Duration;
    /// rinit itself.
    fn own(&self) -> Own;
}

/// rinit itself: its loop, its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Own {
    /// When it began.
    pub started: Timestamp,
    /// Turns of the loop.
    pub turns: u64,
    /// Events that the manager was given.
    pub events: u64,
    /// The time that turns took, waits not counted.
    pub busy: Duration,
    /// The longest turn.
    pub longest: Duration,
    /// Requests over HTTP that were answered.
    pub requests: u64,
    /// Time on CPUs.
    pub cpu: Option<Duration>,
    /// Bytes of memory that are resident.
    pub resident: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// As many as it may have.
    pub max_fds: Option<u64>,
}
