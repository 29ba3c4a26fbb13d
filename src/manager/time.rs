//! Time as the manager sees it: a number that only grows, given with every event.
//!
//! Not a clock: `sys::clock` reads CLOCK_MONOTONIC, the simulation makes it up.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// Time since an arbitrary start, on a clock that no one can set (clock_gettime(2),
/// CLOCK_MONOTONIC), in microseconds. An `Option` of it takes no more room: a service has many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Timestamp(NonZeroU64); // microseconds, plus one

impl Timestamp {
    /// The start of the clock.
    pub const ZERO: Timestamp = Timestamp(NonZeroU64::MIN);

    /// This long after the start of the clock.
    pub fn from_start(since: Duration) -> Timestamp {
        Timestamp(NonZeroU64::MIN.saturating_add(micros(since)))
    }

    /// How long after the start of the clock.
    pub fn since_start(self) -> Duration {
        Duration::from_micros(self.0.get() - 1)
    }

    /// `delay` later; the far future instead of an overflow.
    #[must_use]
    pub fn after(self, delay: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(micros(delay)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Timestamp {
    fn default() -> Timestamp {
        Timestamp::ZERO
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since_start();
        write!(f, "{}.{:06}s", since.as_secs(), since.subsec_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let at = Timestamp::from_start(Duration::from_millis(1500));
        assert_eq!(at.since_start(), Duration::from_millis(1500));
        assert_eq!(at.to_string(), "1.500000s");
        assert_eq!(at.since(Timestamp::ZERO), Duration::from_millis(1500));
        assert_eq!(Timestamp::ZERO.since(at), Duration::ZERO);
        let far = at.after(Duration::MAX);
        assert!(far > at);
        assert_eq!(far.after(Duration::MAX), far);
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }
}
