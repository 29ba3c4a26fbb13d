//! A thousand programs in a row: steps that have to finish, and services that have to be up.

use super::{Bench, LIMIT, Outcome, Scenario, Way};
use crate::cell::{Cell, Event};
use crate::job::{App, Job, Load};
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

const LENGTH: usize = 1000;

/// Each one starts when the one before has exited 0.
pub const STEPS: Scenario = Scenario {
    metrics: &[Metric {
        key: "steps",
        title: "chain of 1,000 steps, each after the exit of the one before: exec of init → the last one's first instruction",
        reach: "≤ 2.5x",
        scale: Scale::Time,
        has_ratio: true,
    }],
    rounds: 7,
    way: Way::Rounds(|bench, subject| measure(bench, subject, Load::Steps(LENGTH), App::Once)),
};

/// Each one starts when the exec of the one before has succeeded.
pub const SERVICES: Scenario = Scenario {
    metrics: &[Metric {
        key: "chain",
        title: "chain of 1,000 services, each after the exec of the one before: exec of init → the last one's first instruction",
        reach: "≤ 2.5x",
        scale: Scale::Time,
        has_ratio: true,
    }],
    rounds: 7,
    way: Way::Rounds(|bench, subject| measure(bench, subject, Load::ServiceChain(LENGTH), App::Up)),
};

fn measure(bench: &Bench, subject: Subject, load: Load, app: App) -> Outcome {
    let mut cell = Cell::start(&bench.tools, subject, Job { load, app, target: LENGTH })?;
    cell.wait(Event::Started, LIMIT)?;
    let begin = cell.slots().init_exec()?;
    let end = cell.slots().starts(LENGTH)?.into_iter().max().unwrap_or(begin);
    Ok(vec![Ok((end - begin) as f64)])
}
