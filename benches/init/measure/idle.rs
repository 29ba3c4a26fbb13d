//! Nothing happens: what that costs. All subjects idle side by side, as none disturbs another.

use std::thread;

use super::idler::Idler;
use super::{Bench, Outcome, Scenario, Way};
use crate::gap::Gap;
use crate::metric::{Metric, Scale};
use crate::subject::Subject;

/// As many services as a container may well have.
pub const FEW: usize = 10;

/// Once, not in rounds: the time is long instead.
pub const IDLE: Scenario = Scenario {
    metrics: &[
        Metric {
            key: "wakeups",
            title: "10 services idle (tini, dumb-init: one command): wakeups of init and its helpers in 10 s (--full: 60 s)",
            reach: "0",
            scale: Scale::Count,
            has_ratio: false,
        },
        Metric {
            key: "threads",
            title: "10 services idle: threads of PID 1",
            reach: "1",
            scale: Scale::Count,
            has_ratio: false,
        },
        Metric {
            key: "memory",
            title: "10 services idle: private dirty memory of init and its helpers",
            reach: "≤ 250 KiB",
            scale: Scale::Memory,
            has_ratio: false,
        },
    ],
    rounds: 1,
    way: Way::Together(measure),
};

fn measure(bench: &Bench, subjects: &[Subject]) -> Vec<Outcome> {
    let idlers: Vec<_> =
        subjects.iter().map(|&subject| Idler::start(bench, subject, FEW)).collect();
    let before = wakeups(&idlers);
    // Nothing is waited for here: it is this time that is measured.
    thread::sleep(bench.idle);
    let after = wakeups(&idlers);
    let woken =
        before.into_iter().zip(after).map(|(before, after)| Ok(after?.saturating_sub(before?)));
    idlers.iter().zip(woken).map(|(idler, woken)| figures(idler, woken)).collect()
}

fn wakeups(idlers: &[Result<Idler, Gap>]) -> Vec<Result<u64, Gap>> {
    idlers.iter().map(|idler| idler.as_ref().map_err(Gap::clone)?.wakeups()).collect()
}

fn figures(idler: &Result<Idler, Gap>, woken: Result<u64, Gap>) -> Outcome {
    let idler = idler.as_ref().map_err(Gap::clone)?;
    Ok([woken, idler.threads(), idler.memory()].into_iter().map(|f| Ok(f? as f64)).collect())
}
