//! The scenarios. One run of a scenario gives one figure for each of its metrics.

mod chain;
mod fleet;
mod idle;
mod idler;
mod load;
mod reap;
mod restart;
mod size;
mod start;
mod unit_memory;

use std::time::Duration;

use crate::gap::Gap;
use crate::metric::Metric;
use crate::subject::Subject;
use crate::tools::Tools;

/// What every scenario needs.
pub struct Bench {
    /// Our own programs.
    pub tools: Tools,
    /// How long idling is watched.
    pub idle: Duration,
}

/// One run's figures, one for each metric of the scenario; or none of them, for one reason.
pub type Outcome = Result<Vec<Result<f64, Gap>>, Gap>;

/// Something that inits are made to do, and what of it is measured.
pub struct Scenario {
    /// Their order is that of the figures of a run.
    pub metrics: &'static [Metric],
    /// Its usual number of rounds.
    pub rounds: usize,
    /// How it is run.
    pub way: Way,
}

/// How a scenario is run.
pub enum Way {
    /// One subject after the other, round after round.
    Rounds(fn(&Bench, Subject) -> Outcome),
    /// All subjects side by side, once; the outcomes in their order.
    Together(fn(&Bench, &[Subject]) -> Vec<Outcome>),
}

/// In the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    start::START,
    fleet::FLEET,
    chain::STEPS,
    chain::SERVICES,
    reap::ZOMBIES,
    reap::DYING,
    restart::RESTART,
    idle::IDLE,
    unit_memory::UNIT_MEMORY,
    load::LOAD,
    size::SIZE,
];

/// How long an init may take for what is timed; the slowest peer needs a quarter of it.
const LIMIT: Duration = Duration::from_secs(30);
