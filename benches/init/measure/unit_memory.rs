//! What each further service costs in memory, with its helper process where there is one.

use super::idle::FEW;
use super::idler::Idler;
use super::{Bench, Outcome, Scenario, Way};
use crate::gap::Gap;
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

const MANY: usize = 1010;

/// Memory does not scatter as time does: one round.
pub const UNIT_MEMORY: Scenario = Scenario {
    metrics: &[Metric {
        key: "memory-per-unit",
        title: "the same with 1,010 services, less that with 10, per service (runit: 1,000; supervisord: 210)",
        reach: "≤ 1 KiB",
        scale: Scale::Memory,
        has_ratio: false,
    }],
    rounds: 1,
    way: Way::Rounds(measure),
};

fn measure(bench: &Bench, subject: Subject) -> Outcome {
    if !subject.has_services() {
        return Err(Gap::CannotDo("runs one command"));
    }
    let many = MANY.min(subject.most_services());
    let with_few = Idler::start(bench, subject, FEW)?.memory()? as f64;
    let with_many = Idler::start(bench, subject, many)?.memory()? as f64;
    Ok(vec![Ok((with_many - with_few) / (many - FEW) as f64)])
}
