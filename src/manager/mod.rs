//! Decides: events in, actions out.
//!
//! **Invariant:** no I/O, no clock, no randomness but the seed given, no logging, no failure;
//! the same events give the same actions. `sys` is unknown here.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

pub mod event;
pub mod state;
pub mod time;

use std::collections::VecDeque;

use crate::unit::UnitSet;
use event::{Action, Event, ManagerConfig};
use time::Timestamp;

/// The decider.
#[derive(Debug)]
pub struct Manager {
    #[allow(dead_code)]
    units: UnitSet,
    #[allow(dead_code)]
    config: ManagerConfig,
    actions: VecDeque<Action>,
}

impl Manager {
    /// A manager of these units; nothing happens before [`Event::Boot`].
    pub fn new(units: UnitSet, config: ManagerConfig) -> Manager {
        Manager { units, config, actions: VecDeque::new() }
    }

    /// Takes one event. A spurious or stale one changes nothing.
    pub fn handle(&mut self, _now: Timestamp, _event: Event) {}

    /// The next thing to do, in order.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Timer`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }
}
