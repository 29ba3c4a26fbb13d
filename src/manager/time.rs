//! Time as the manager sees it: a number that only grows, given with every event.
//!
//! Not a clock: `sys::clock` reads CLOCK_MONOTONIC, the simulation makes it up.

use std::fmt;
use std::time::Duration;

/// Time since an arbitrary start, on a clock that no one can set (clock_gettime(2), CLOCK_MONOTONIC).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The start of the clock.
    pub const ZERO: Timestamp = Timestamp(Duration::ZERO);

    /// This long after the start of the clock.
    pub fn from_start(since: Duration) -> Timestamp {
        Timestamp(since)
    }

    /// How long after the start of the clock.
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// `delay` later; the far future instead of an overflow.
    #[must_use]
    pub fn after(self, delay: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(delay))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0.as_secs(), self.0.subsec_micros())
    }
}
