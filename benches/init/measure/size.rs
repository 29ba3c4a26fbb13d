//! The size of the file that becomes PID 1, with that of the helper it needs for each service.

use std::fs;

use super::{Bench, Outcome, Scenario, Way};
use crate::gap::Gap;
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

/// A file has one size: one round.
pub const SIZE: Scenario = Scenario {
    metrics: &[Metric {
        key: "size",
        title: "size of the program (with its helper; the shared libraries of those that are not static come on top)",
        reach: "≤ 1.8 MiB",
        scale: Scale::Memory,
        has_ratio: false,
    }],
    rounds: 1,
    way: Way::Rounds(measure),
};

fn measure(bench: &Bench, subject: Subject) -> Outcome {
    if subject == Subject::Supervisord {
        subject.program(&bench.tools)?;
        return Err(Gap::CannotDo("is a Python program"));
    }
    let mut bytes = 0;
    for file in [Some(subject.program(&bench.tools)), subject.helper()].into_iter().flatten() {
        bytes += fs::metadata(file?).map_err(Gap::io("size"))?.len();
    }
    Ok(vec![Ok(bytes as f64)])
}
