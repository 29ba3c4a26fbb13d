//! Ten thousand orphans that init has adopted die at once: how long until the last is reaped.
//!
//! While they die the scheduler decides how often init is let in between, and each of its waits passes
//! over those that still live; that decides the time more than init does. So the metric proper freezes init
//! from outside, lets all of them die, and thaws it.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};

use super::{Bench, LIMIT, Outcome, Scenario, Way};
use crate::cell::{Cell, Event};
use crate::gap::Gap;
use crate::job::{App, Job, Load};
use crate::metric::{Metric, Scale};
use crate::process;
use crate::subject::Subject;

/// Whoever has not reaped all by then has a cap, or reaps once a second.
const REAPING: Duration = Duration::from_secs(4);

/// Init finds all of them dead.
pub const ZOMBIES: Scenario = Scenario {
    metrics: &[Metric {
        key: "reap",
        title: "10,000 orphans, dead while init was frozen: thaw → the last is reaped",
        reach: "≤ 1.25x",
        scale: Scale::Time,
        has_ratio: true,
    }],
    rounds: 7,
    way: Way::Rounds(|bench, subject| measure(bench, subject, true)),
};

/// Init reaps while they die.
pub const DYING: Scenario = Scenario {
    metrics: &[Metric {
        key: "reap-dying",
        title: "10,000 orphans: SIGKILL to all → the last is reaped",
        reach: "no cap per pass",
        scale: Scale::Time,
        has_ratio: true,
    }],
    rounds: 3,
    way: Way::Rounds(|bench, subject| measure(bench, subject, false)),
};

fn measure(bench: &Bench, subject: Subject, is_frozen: bool) -> Outcome {
    let job = Job { load: Load::Command, app: App::Flood, target: 0 };
    let mut cell = Cell::start(&bench.tools, subject, job)?;
    cell.wait(Event::FloodReady, LIMIT)?;
    let orphans = group_of_orphans(cell.init()?)?;
    let mut begin = Instant::now();
    if is_frozen {
        cell.signal(Signal::SIGSTOP)?;
        kill_group(orphans)?;
        cell.wait(Event::FloodDead, LIMIT)?;
        begin = Instant::now();
        cell.signal(Signal::SIGCONT)?;
    } else {
        kill_group(orphans)?;
    }
    cell.wait(Event::FloodReaped, REAPING)?;
    Ok(vec![Ok(begin.elapsed().as_nanos() as f64)])
}

/// The youngest children of init are the adopted ones.
fn group_of_orphans(init: Pid) -> Result<Pid, Gap> {
    let orphan = process::children(init)?.pop();
    let group = orphan.and_then(|pid| getpgid(Some(pid)).ok());
    group.ok_or_else(|| Gap::Harness("no orphan was adopted".into()))
}

fn kill_group(group: Pid) -> Result<(), Gap> {
    killpg(group, Signal::SIGKILL).map_err(|error| Gap::Harness(format!("killpg: {error}")))
}
