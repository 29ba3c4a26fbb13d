//! A thousand services that do not depend on each other: their boot, and their stop.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::{Bench, LIMIT, Outcome, Scenario, Way};
use crate::cell::{Cell, Event};
use crate::gap::Gap;
use crate::job::{App, Job, Load};
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

const SERVICES: usize = 1000;

/// One run boots and stops.
pub const FLEET: Scenario = Scenario {
    metrics: &[
        Metric {
            key: "boot",
            title: "1,000 independent services: exec of init → the last one's first instruction",
            reach: "≤ 2x",
            scale: Scale::Time,
            has_ratio: true,
        },
        Metric {
            key: "stop",
            title: "1,000 services: SIGTERM to init → init has exited",
            reach: "≤ 1.25x",
            scale: Scale::Time,
            has_ratio: true,
        },
    ],
    rounds: 7,
    way: Way::Rounds(measure),
};

fn measure(bench: &Bench, subject: Subject) -> Outcome {
    let job = Job { load: Load::Services(SERVICES), app: App::Up, target: SERVICES };
    let mut cell = Cell::start(&bench.tools, subject, job)?;
    cell.wait(Event::Started, LIMIT)?;
    let begin = cell.slots().init_exec()?;
    let end = cell.slots().starts(SERVICES)?.into_iter().max().unwrap_or(begin);
    Ok(vec![Ok((end - begin) as f64), stop(&mut cell, subject)])
}

fn stop(cell: &mut Cell, subject: Subject) -> Result<f64, Gap> {
    if subject == Subject::Runit {
        return Err(Gap::CannotDo("does not wait for its services"));
    }
    let begin = Instant::now();
    cell.signal(Signal::SIGTERM)?;
    cell.wait(Event::InitGone, LIMIT)?;
    Ok(begin.elapsed().as_nanos() as f64)
}
