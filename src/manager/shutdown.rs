//! The end of everything: its budget, how it is shared over the layers, and how it is cut short.
//!
//! Not the stop of one service (`service::stop`). **Invariant:** rinit exits at the end of the
//! budget at the latest, and what lives half a second before is sent SIGKILL.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::event::StopCause;
use super::time::Timestamp;
use crate::unit::UnitName;

/// What lives so long before the end of the budget is sent SIGKILL.
const KILL_BEFORE_END: Duration = Duration::from_millis(500);
/// What each layer below is left, if there is so much.
const RESERVE: Duration = Duration::from_secs(1);
/// Stop signals that follow each other faster are one.
const REPEAT: Duration = Duration::from_millis(200);
/// What a second stop signal leaves of every wait.
pub(super) const HURRIED: Duration = Duration::from_secs(1);

/// How far the end of everything is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// OnFailure= units of the failure that ends it all run first.
    Handlers,
    /// The services serve on for DrainSec=.
    Draining,
    /// The units stop in reverse order.
    Stopping,
    /// The units are down; what is left of processes goes.
    Sweeping,
    /// Over.
    Exited,
}

/// One end of everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shutdown {
    pub phase: Phase,
    pub cause: StopCause,
    /// When rinit exits at the latest.
    pub end: Timestamp,
    /// When the patience ends.
    pub kill_at: Timestamp,
    /// The end of [`Phase::Handlers`] or [`Phase::Draining`], at the latest.
    pub phase_until: Timestamp,
    /// The OnFailure= units that it waits for.
    pub handlers: BTreeSet<UnitName>,
    /// SIGKILL has been sent to all that was left.
    pub killed_all: bool,
    /// A timeout or the budget made a SIGKILL of a unit necessary.
    pub killed_late: bool,
    signals: u32,
    last_signal: Option<Timestamp>,
    below: BTreeMap<UnitName, u32>,
}

/// What one more stop signal means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hurry {
    /// Nothing: it is the first, or a repetition.
    No,
    /// Every wait is cut to [`HURRIED`].
    Cut,
    /// SIGKILL now.
    Kill,
}

impl Shutdown {
    pub fn new(now: Timestamp, budget: Duration, cause: StopCause) -> Shutdown {
        let end = now.after(budget);
        let mut shutdown = Shutdown {
            phase: Phase::Stopping,
            cause,
            end,
            kill_at: now.after(budget.saturating_sub(KILL_BEFORE_END)),
            phase_until: end,
            handlers: BTreeSet::new(),
            killed_all: false,
            killed_late: false,
            signals: 0,
            last_signal: None,
            below: BTreeMap::new(),
        };
        if let StopCause::Signal(_) = shutdown.cause {
            shutdown.signals = 1;
            shutdown.last_signal = Some(now);
        }
        shutdown
    }

    /// Somebody asked for it; it is not the consequence of an end.
    pub fn is_requested(&self) -> bool {
        match self.cause {
            StopCause::Signal(_) | StopCause::Client => true,
            StopCause::Failed(_) | StopCause::Succeeded(_) | StopCause::NothingLeft => false,
        }
    }

    /// Counts a stop signal.
    pub fn on_signal(&mut self, now: Timestamp) -> Hurry {
        if self.last_signal.is_some_and(|last| now.since(last) < REPEAT) {
            return Hurry::No;
        }
        self.last_signal = Some(now);
        self.signals += 1;
        match self.signals {
            0 | 1 => Hurry::No,
            2 => Hurry::Cut,
            3.. => Hurry::Kill,
        }
    }

    /// rinit has been told to exit.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Exited
    }

    /// A second stop signal came.
    pub fn is_hurried(&self) -> bool {
        self.signals >= 2
    }

    /// How many layers must stop after each unit.
    pub fn set_layers(&mut self, below: BTreeMap<UnitName, u32>) {
        self.below = below;
    }

    /// Until when the stop of `unit` that begins now may take: what is left, but for a reserve
    /// of one second, or an equal share if there is less, for each layer below.
    pub fn graceful_until(&self, now: Timestamp, unit: &UnitName) -> Timestamp {
        let below = self.below.get(unit).copied().unwrap_or(0);
        let left = self.kill_at.since(now);
        let reserve = RESERVE.min(left / (below + 1)).saturating_mul(below);
        let until = now.after(left.saturating_sub(reserve));
        if self.is_hurried() { until.min(now.after(HURRIED)) } else { until }
    }

    /// When the next phase is due without anything happening.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Handlers | Phase::Draining => Some(self.phase_until.min(self.end)),
            Phase::Stopping | Phase::Sweeping if self.killed_all => Some(self.end),
            Phase::Stopping | Phase::Sweeping => Some(self.kill_at),
            Phase::Exited => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::process::Signal;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn layers_share_the_budget() {
        let name = UnitName::parse("a.service").unwrap();
        // (layers below, time left) → share
        for (below, budget, share) in [
            (0, 9000, 8500),
            (1, 9000, 7500),
            (2, 9000, 6500),
            (9, 9000, 850),
            (0, 400, 0),
            (3, 2500, 500),
        ] {
            let cause = StopCause::Signal(Signal::TERM);
            let mut shutdown = Shutdown::new(at(0), Duration::from_millis(budget), cause);
            shutdown.set_layers(BTreeMap::from([(name.clone(), below)]));
            assert_eq!(shutdown.graceful_until(at(0), &name), at(share), "{below} of {budget}");
        }
    }

    #[test]
    fn signals_hurry() {
        let cause = StopCause::Signal(Signal::TERM);
        let mut shutdown = Shutdown::new(at(0), Duration::from_secs(9), cause);
        assert_eq!(shutdown.on_signal(at(199)), Hurry::No);
        assert_eq!(shutdown.on_signal(at(200)), Hurry::Cut);
        assert_eq!(shutdown.on_signal(at(300)), Hurry::No);
        assert_eq!(shutdown.on_signal(at(400)), Hurry::Kill);
        let cause = StopCause::NothingLeft;
        let mut shutdown = Shutdown::new(at(0), Duration::from_secs(9), cause);
        assert_eq!(shutdown.on_signal(at(0)), Hurry::No, "the first signal of all");
        assert_eq!(shutdown.on_signal(at(200)), Hurry::Cut);
    }
}
