//! What is counted of the loop, for `/metrics`.
//!
//! Nothing is decided by it.

use std::time::Duration;

use crate::manager::time::Timestamp;

/// Of the loop, since it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub started: Timestamp,
    pub turns: u64,
    /// Events that the manager was given.
    pub events: u64,
    /// What turns took, waits not counted.
    pub busy: Duration,
    pub longest: Duration,
    /// When this turn began.
    turn: Timestamp,
}

impl Figures {
    /// From now on.
    pub fn new(now: Timestamp) -> Figures {
        let (busy, longest) = (Duration::ZERO, Duration::ZERO);
        Figures { started: now, turns: 0, events: 0, busy, longest, turn: now }
    }

    /// The wait is over.
    pub fn turn_begins(&mut self, now: Timestamp) {
        self.turn = now;
    }

    /// The loop is about to wait.
    pub fn turn_ends(&mut self, now: Timestamp) {
        let took = now.since(self.turn);
        self.turns += 1;
        self.busy += took;
        self.longest = self.longest.max(took);
    }
}
