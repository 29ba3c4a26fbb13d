//! 10,000 unit files, read and verified, and nothing started: what a person waits for before the first
//! service of a large set.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Bench, Outcome, Scenario, Way};
use crate::gap::Gap;
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

const UNITS: usize = 10_000;

/// Each round writes its files first.
pub const LOAD: Scenario = Scenario {
    metrics: &[Metric {
        key: "load",
        title: "10,000 units: read and verified (rinit --check)",
        reach: "< 1 s",
        scale: Scale::Time,
        has_ratio: false,
    }],
    rounds: 3,
    way: Way::Rounds(measure),
};

fn measure(bench: &Bench, subject: Subject) -> Outcome {
    if subject != Subject::Rinit {
        return Err(Gap::CannotDo("has no such command"));
    }
    let directory = tempfile::tempdir().map_err(Gap::io("load"))?;
    for number in 0..UNITS {
        let path = directory.path().join(format!("u{number}.toml"));
        let next = number + 1;
        let after = if next < UNITS {
            format!("[Unit]\nAfter = \"u{next}.service\"\n")
        } else {
            String::new()
        };
        let unit = after + "[Service]\nExecStart = \"/bin/true\"\n";
        fs::write(path, unit).map_err(Gap::io("load"))?;
    }
    let mut check = Command::new(subject.program(&bench.tools)?);
    check.arg("--check").arg("--units").arg(directory.path()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = check.status().map_err(Gap::io("load"))?;
    let took = begin.elapsed();
    if !status.success() {
        return Err(Gap::CannotDo("refuses the units"));
    }
    Ok(vec![Ok(took.as_nanos() as f64)])
}
