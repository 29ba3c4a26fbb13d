//! How long a restart waits, and how often a start is allowed.
//!
//! Not whether one is due: `service` knows that. Both rules are systemd.service(5)'s and
//! systemd.unit(5)'s, with rinit's defaults for what systemd leaves off.

use std::time::Duration;

use super::time::Timestamp;
use crate::unit::service::ServiceSettings;

/// The delay before the `attempt`-th restart in a row (from 1), without jitter.
///
/// With r = `RestartSec=`, M = `RestartMaxDelaySec=`, n = `RestartSteps=` the k-th delay is r for
/// k = 1, r·(M/r)^((k−1)/n) for 1 < k ≤ n, and M for k > n (systemd.service(5)). Where
/// `RestartSteps=` is unset it doubles: r·2^(k−1), at most M. With M unset, or no more than r,
/// every delay is r. Whole milliseconds, so that all machines agree; r itself is left as it is.
pub fn restart_delay(service: &ServiceSettings, attempt: u32) -> Duration {
    let first = service.restart_sec;
    let Some(last) = service.restart_max_delay.filter(|last| *last > first) else { return first };
    let grown = attempt.saturating_sub(1);
    if first.is_zero() || grown == 0 {
        return first;
    }
    let factor = match service.restart_steps {
        Some(0) => return first,
        Some(steps) if attempt > steps => return last,
        Some(steps) => {
            let ratio = last.as_secs_f64() / first.as_secs_f64();
            ratio.powf(f64::from(grown) / f64::from(steps))
        }
        None => 2f64.powi(i32::try_from(grown.min(1000)).unwrap_or(1000)),
    };
    let seconds = first.as_secs_f64() * factor;
    if seconds >= last.as_secs_f64() {
        return last;
    }
    Duration::from_millis((seconds * 1000.0).round() as u64)
}

/// The least delay before an upheld unit is looked at for the `attempt`-th time in a row (from 1)
/// that was never up: 100 ms, doubling up to 30 s.
pub fn refused_delay(attempt: u32) -> Duration {
    let doubled = 1u32 << attempt.saturating_sub(1).min(9);
    Duration::from_millis(100).saturating_mul(doubled).min(Duration::from_secs(30))
}

/// `StartLimitBurst=` starts in `StartLimitIntervalSec=`: a window that the first counted start
/// opens and that does not slide (systemd's `ratelimit_below`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StartLimit {
    begun: Option<Timestamp>,
    count: u32,
}

impl StartLimit {
    /// Counts one more start if it is allowed. An interval or a burst of zero allows all.
    pub fn allow(&mut self, now: Timestamp, burst: u32, interval: Duration) -> bool {
        if interval.is_zero() || burst == 0 {
            return true;
        }
        if self.begun.is_none_or(|begun| now.since(begun) > interval) {
            self.begun = Some(now);
            self.count = 0;
        }
        let allowed = self.count < burst;
        if allowed {
            self.count += 1;
        }
        allowed
    }

    /// Forgets every start (`systemctl reset-failed`).
    pub fn reset(&mut self) {
        *self = StartLimit::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(sec: u64, steps: Option<u32>, max: Option<u64>, n: u32) -> Vec<u64> {
        let service = ServiceSettings {
            restart_sec: Duration::from_millis(sec),
            restart_steps: steps,
            restart_max_delay: max.map(Duration::from_millis),
            ..ServiceSettings::default()
        };
        (1..=n).map(|k| restart_delay(&service, k).as_millis() as u64).collect()
    }

    #[test]
    fn the_formula() {
        // The example of systemd.service(5): 1 s to 32 s in 5 steps.
        assert_eq!(
            delays(1000, Some(5), Some(32_000), 8),
            [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000, 32_000]
        );
        assert_eq!(
            delays(100, None, Some(30_000), 11),
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]
        );
        assert_eq!(delays(50, None, Some(30_000), 3), [50, 100, 200]);
        assert_eq!(delays(100, Some(3), None, 4), [100, 100, 100, 100]);
        assert_eq!(delays(40_000, None, Some(30_000), 3), [40_000, 40_000, 40_000]);
        assert_eq!(delays(0, None, Some(30_000), 3), [0, 0, 0]);
        assert_eq!(delays(100, None, Some(30_000), 5000).last(), Some(&30_000));
        assert_eq!(delays(100, Some(1), Some(5000), 3), [100, 5000, 5000]);
    }

    #[test]
    fn the_window_is_fixed() {
        let at = |ms| Timestamp::from_start(Duration::from_millis(ms));
        let ten = Duration::from_secs(10);
        let mut limit = StartLimit::default();
        assert!([0, 1000, 9000].into_iter().all(|ms| limit.allow(at(ms), 3, ten)));
        assert!(!limit.allow(at(10_000), 3, ten), "the fourth in the window");
        assert!(limit.allow(at(10_001), 3, ten), "a new window");
        assert!([0, 0, 0, 0].into_iter().all(|_| limit.allow(at(10_001), 3, Duration::ZERO)));
        limit.reset();
        assert!(limit.allow(at(10_002), 1, ten));
        assert!(!limit.allow(at(10_003), 1, ten));
    }
}
