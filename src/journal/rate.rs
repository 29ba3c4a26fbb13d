//! `LogRateLimitBurst=`: how many lines of a unit come out.
//!
//! **Invariant:** no line is left out without being counted, and the count comes out with the next
//! line that does.

use std::time::Duration;

use super::protocol::Rate;

/// The interval that a unit is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    began: Option<Duration>,
    count: u32,
    left_out: u64,
}

impl Limit {
    /// Whether one more line comes out now (CLOCK_MONOTONIC).
    pub fn admit(&mut self, rate: Rate, now: Duration) -> bool {
        let interval = Duration::from_micros(rate.interval_usec);
        if self.began.is_none_or(|began| now.saturating_sub(began) >= interval) {
            (self.began, self.count) = (Some(now), 0);
        }
        let admitted = self.count < rate.burst;
        self.count = self.count.saturating_add(1);
        self.left_out += u64::from(!admitted);
        admitted
    }

    /// Whether some were left out that nobody was told of yet.
    pub fn has_left_out(&self) -> bool {
        self.left_out > 0
    }

    /// How many were left out before a line that comes out.
    pub fn take_left_out(&mut self) -> Option<u64> {
        (self.left_out > 0).then(|| std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_an_interval() {
        let rate = Rate { burst: 2, interval_usec: 1_000_000 };
        let mut limit = Limit::default();
        let mut at = |millis| limit.admit(rate, Duration::from_millis(millis));
        let found = [0, 1, 2, 999, 1000, 1001, 1002, 5000].map(&mut at);
        assert_eq!(found, [true, true, false, false, true, true, false, true]);
        assert_eq!((limit.take_left_out(), limit.take_left_out()), (Some(3), None));
    }
}
