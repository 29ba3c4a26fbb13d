//! What every transition is handed: the time, and where its actions and changes go.
//!
//! Not state of a unit. **Invariant:** actions leave in the order in which they were decided.

use std::collections::{BTreeMap, VecDeque};

use super::event::{Action, Fact, ProcessId};
use super::random::Random;
use super::state::SubState;
use super::time::Timestamp;
use crate::unit::UnitName;

/// A unit went from one state to another; the manager settles what follows for others. From a
/// state to itself: it runs on, and became healthy or unhealthy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub unit: UnitName,
    pub from: SubState,
    pub to: SubState,
}

/// Room for so many actions is kept for good.
const KEPT: usize = 64;

/// The time and the outbox of one event.
#[derive(Debug)]
pub(super) struct Out {
    /// The time of the event that is being handled.
    pub now: Timestamp,
    /// While everything is being stopped nothing is started again.
    pub stopping: bool,
    /// Whose each process is; one that is not here is dead or was given up.
    pub processes: BTreeMap<ProcessId, UnitName>,
    /// State changes that are not settled yet.
    pub changes: VecDeque<Change>,
    /// Jitter and ids.
    pub random: Random,
    actions: VecDeque<Action>,
    next_process: u64,
}

impl Out {
    pub fn new(seed: u64) -> Out {
        Out {
            now: Timestamp::ZERO,
            stopping: false,
            processes: BTreeMap::new(),
            changes: VecDeque::new(),
            random: Random::new(seed),
            actions: VecDeque::new(),
            next_process: 1,
        }
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub fn record(&mut self, fact: Fact) {
        self.actions.push_back(Action::Record(fact));
    }

    /// Gives back the room that a burst of events needed and the next will hardly need.
    pub fn shrink(&mut self) {
        // Grown in order a tree is half empty; built at once it is full.
        self.processes = std::mem::take(&mut self.processes).into_iter().collect();
        self.actions.shrink_to(KEPT);
        self.changes.shrink_to(KEPT);
    }

    pub fn take(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A name that no process ever had.
    pub fn new_process(&mut self, unit: &UnitName) -> ProcessId {
        let process = ProcessId(self.next_process);
        self.next_process += 1;
        self.processes.insert(process, unit.clone());
        process
    }
}
