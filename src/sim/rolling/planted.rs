//! Bugs put between manager and world, which the rules must find.

use std::sync::Arc;
use std::time::Duration;

use super::checker::Rule;
use crate::manager::event::{Action, Fact, ProcessId, ProcessRole};
use crate::unit::UnitSet;
use crate::unit::rolling::{RollingFailure, RollingOrder};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    /// One more instance is replaced at a time than Parallelism= says.
    ParallelismOff,
    /// Stop-first instead of start-first.
    OrderSwapped,
    /// A failure does not halt the roll.
    FailureIgnored,
    /// MonitorSec= is not kept.
    MonitorSkipped,
    /// What is exhausted is tried again soon.
    ExhaustedEarly,
    /// The shell does not hear of a new name.
    RenameLost,
    /// An instance that is stopped gets connections until the end.
    SteerLost,
    /// Connections go to one that is not ready.
    SteerDead,
    /// A main process is started twice.
    SpawnTwice,
    /// After= is not kept.
    AfterIgnored,
    /// A client is told twice.
    ReplyTwice,
    /// A client is not told.
    ReplyForgotten,
}

impl Bug {
    pub(super) const ALL: [Bug; 12] = [
        Bug::ParallelismOff,
        Bug::OrderSwapped,
        Bug::FailureIgnored,
        Bug::MonitorSkipped,
        Bug::ExhaustedEarly,
        Bug::RenameLost,
        Bug::SteerLost,
        Bug::SteerDead,
        Bug::SpawnTwice,
        Bug::AfterIgnored,
        Bug::ReplyTwice,
        Bug::ReplyForgotten,
    ];

    /// The rules that are there to find it.
    pub(super) fn rules(self) -> &'static [Rule] {
        match self {
            Bug::ParallelismOff => &[Rule::Parallel],
            Bug::OrderSwapped => &[Rule::Floor],
            Bug::FailureIgnored => &[Rule::Halts],
            Bug::MonitorSkipped => &[Rule::Monitored],
            Bug::ExhaustedEarly => &[Rule::Exhausted],
            Bug::RenameLost => &[Rule::StateChain],
            Bug::SteerLost | Bug::SteerDead => &[Rule::Steer],
            Bug::SpawnTwice => &[Rule::OneMain],
            Bug::AfterIgnored => &[Rule::Order],
            Bug::ReplyTwice => &[Rule::OneReply],
            Bug::ReplyForgotten => &[Rule::Forgotten],
        }
    }
}

pub(super) struct Planted {
    bug: Option<Bug>,
    count: u32,
}

impl Planted {
    pub(super) fn new(bug: Option<Bug>) -> Planted {
        Planted { bug, count: 0 }
    }

    pub(super) fn distort(&self, mut set: UnitSet) -> UnitSet {
        for unit in set.units.values_mut() {
            let unit = Arc::make_mut(unit);
            if self.bug == Some(Bug::AfterIgnored) {
                unit.after.clear();
            }
            let settings = &mut unit.service.settings;
            match self.bug {
                Some(Bug::ParallelismOff) => settings.rolling_update.parallelism += 1,
                Some(Bug::OrderSwapped) => {
                    settings.rolling_update.order = Some(RollingOrder::StopFirst);
                }
                Some(Bug::FailureIgnored) => {
                    settings.rolling_update.failure_action = RollingFailure::Continue;
                }
                Some(Bug::MonitorSkipped) => settings.rolling_update.monitor = Duration::ZERO,
                _ => (),
            }
        }
        set
    }

    pub(super) fn action(&mut self, action: Action) -> Vec<Action> {
        let Some(bug) = self.bug else { return vec![action] };
        match (bug, action) {
            (Bug::RenameLost, Action::Rename { .. }) => Vec::new(),
            (
                Bug::ExhaustedEarly,
                Action::Record(Fact::Exhausted { unit, burst, interval, up, total, delay }),
            ) => {
                // It is told that it waits for longer than it does.
                let delay = delay * 2;
                vec![Action::Record(Fact::Exhausted { unit, burst, interval, up, total, delay })]
            }
            (Bug::SteerLost, Action::Steer { .. }) => {
                self.count += 1;
                Vec::new()
            }
            (Bug::SteerDead, Action::Steer { unit, mut ready }) => {
                ready.push(60);
                vec![Action::Steer { unit, ready }]
            }
            (Bug::SpawnTwice, Action::Spawn(request)) if request.role == ProcessRole::ExecStart => {
                let mut again = request.clone();
                again.process = ProcessId(request.process.0 + (1 << 40));
                vec![Action::Spawn(request), Action::Spawn(again)]
            }
            (Bug::ReplyTwice, action @ Action::Reply { .. }) => vec![action.clone(), action],
            (Bug::ReplyForgotten, Action::Reply { .. }) => Vec::new(),
            (_, action) => vec![action],
        }
    }
}
