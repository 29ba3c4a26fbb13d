//! What `Instances=` and `RollingUpdate=` say, in types: plain public fields, no behaviour.
//!
//! Not how a roll goes (`manager::rollout`). The words are Swarm's `update_config`.
//! **Invariant:** it is complete: what was not written has its default.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

/// `Instances=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instances {
    /// So many.
    Count(u32),
    /// As many as the container has processors, and its memory has room for.
    Auto,
}

/// `Order=` of `RollingUpdate=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RollingOrder {
    /// The new one is ready before the old one is stopped.
    StartFirst,
    /// The old one is gone before the new one is started.
    StopFirst,
}

/// `FailureAction=` of `RollingUpdate=`: what a replacement that fails does to the roll.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RollingFailure {
    /// It halts; what is not replaced yet stays.
    #[default]
    Pause,
    /// It goes back: what was replaced gets its old definition again.
    Rollback,
    /// It goes on with the next one.
    Continue,
}

/// `RollingUpdate=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RollingUpdate {
    /// `Parallelism` (1): so many are replaced at a time.
    pub parallelism: u32,
    /// `Order`; `None`: start-first if rinit holds the service's sockets, else stop-first.
    pub order: Option<RollingOrder>,
    /// `MonitorSec` (5 s): a replacement has to stay up for so long before the next one's turn.
    pub monitor: Duration,
    /// `FailureAction`.
    pub failure_action: RollingFailure,
}

impl Default for RollingUpdate {
    fn default() -> RollingUpdate {
        RollingUpdate {
            parallelism: 1,
            order: None,
            monitor: Duration::from_secs(5),
            failure_action: RollingFailure::Pause,
        }
    }
}
