//! Command mode: from the exec of init to the first instruction of the app.

use super::{Bench, LIMIT, Outcome, Scenario, Way};
use crate::cell::{Cell, Event};
use crate::job::{App, Job, Load};
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

/// Many rounds, as one takes a few milliseconds.
pub const START: Scenario = Scenario {
    metrics: &[Metric {
        key: "start",
        title: "one command: exec of init → the app's first instruction",
        reach: "≤ 3.3x",
        scale: Scale::Time,
        has_ratio: true,
    }],
    rounds: 51,
    way: Way::Rounds(measure),
};

fn measure(bench: &Bench, subject: Subject) -> Outcome {
    let job = Job { load: Load::Command, app: App::Up, target: 1 };
    let mut cell = Cell::start(&bench.tools, subject, job)?;
    cell.wait(Event::Started, LIMIT)?;
    let begin = cell.slots().init_exec()?;
    let end = cell.slots().starts(1)?.into_iter().max().unwrap_or(begin);
    Ok(vec![Ok((end - begin) as f64)])
}
