//! A service that dies is started again without a delay (RestartSec=0): once in a while, and in a burst.

use super::{Bench, LIMIT, Outcome, Scenario, Way};
use crate::cell::{Cell, Event};
use crate::gap::Gap;
use crate::job::{App, Job, Load};
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

const CYCLES: usize = 100;
const BURST: usize = 1000;

/// For an init that waits a second before each restart.
const CYCLES_OF_THE_SLOW: usize = 1;

/// A run has both.
pub const RESTART: Scenario = Scenario {
    metrics: &[
        Metric {
            key: "restart",
            title: "a service lives 2 ms and is killed: its death → its next first instruction (median of a run)",
            reach: "≤ 2x",
            scale: Scale::Time,
            has_ratio: true,
        },
        Metric {
            key: "restart-burst",
            title: "a service is killed at each start, 1,000 times: per start",
            reach: "≤ 2x",
            scale: Scale::Time,
            has_ratio: true,
        },
    ],
    rounds: 7,
    way: Way::Rounds(measure),
};

fn measure(bench: &Bench, subject: Subject) -> Outcome {
    if subject.restarts_at_once() {
        return Ok(vec![cycle(bench, subject, CYCLES), burst(bench, subject)]);
    }
    Ok(vec![
        cycle(bench, subject, CYCLES_OF_THE_SLOW),
        Err(Gap::CannotDo("no restart without a delay")),
    ])
}

fn cycle(bench: &Bench, subject: Subject, cycles: usize) -> Result<f64, Gap> {
    let cell = run(bench, subject, App::Limp, cycles)?;
    let starts = cell.slots().starts(cycles + 1)?;
    let deaths = cell.slots().deaths(cycles)?;
    let gaps = deaths.iter().zip(starts.iter().skip(1)).map(|(death, start)| start - death);
    let mut gaps: Vec<u64> = gaps.collect();
    gaps.sort_unstable();
    Ok(gaps.get(gaps.len() / 2).copied().unwrap_or(0) as f64)
}

fn burst(bench: &Bench, subject: Subject) -> Result<f64, Gap> {
    let cell = run(bench, subject, App::Crash, BURST)?;
    let starts = cell.slots().starts(BURST + 1)?;
    let first = starts.first().copied().unwrap_or(0);
    let last = starts.last().copied().unwrap_or(0);
    Ok((last - first) as f64 / BURST as f64)
}

fn run(bench: &Bench, subject: Subject, app: App, restarts: usize) -> Result<Cell, Gap> {
    let job = Job { load: Load::Services(1), app, target: restarts + 1 };
    let mut cell = Cell::start(&bench.tools, subject, job)?;
    cell.wait(Event::Started, LIMIT)?;
    Ok(cell)
}
