//! One unit under the watchdog: whether it has too much, and when to look again.
//!
//! Not the looking (`measure`) and not the doing (`watchdog`): numbers in, numbers out.
//! **Invariant:** the nearer a limit, the sooner the next look; between two looks a unit that
//! grows by less than [`ASSUMED_GROWTH`] passes its limit by at most that much times
//! [`PERIOD_MIN`].

use std::time::Duration;

use super::measure::{Kind, Sample};
use crate::manager::time::Timestamp;

/// Whoever has not grown may begin to, so fast: bytes in a second. A Python service that leaks
/// manages half of it.
const ASSUMED_GROWTH: u64 = 200 << 20;

/// The next look comes so soon at the earliest…
const PERIOD_MIN: Duration = Duration::from_millis(50);

/// …and so late at the latest.
const PERIOD_MAX: Duration = Duration::from_secs(2);

/// The first look: it takes memory fastest when it starts.
const FIRST: Duration = Duration::from_millis(200);

/// "For long" over `MemoryHigh=`.
pub const HIGH_FOR: Duration = Duration::from_secs(5);

/// The limits that rinit keeps for a unit, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// `MemoryMax=`, where nothing stronger holds it.
    pub max: Option<u64>,
    /// `MemoryHigh=` of a unit that is replaced when it is over it for long.
    pub high: Option<u64>,
    /// So much below `high` it begins: differs from instance to instance, or all that leak
    /// alike would be replaced one after another at the same time.
    pub jitter: u64,
}

impl Bounds {
    /// Where "high" begins.
    fn threshold(&self) -> Option<u64> {
        Some(self.high?.saturating_sub(self.jitter))
    }

    /// Up to here nobody needs to know it more exactly.
    pub fn near(&self) -> u64 {
        let least = [self.max, self.threshold()].into_iter().flatten().min().unwrap_or(u64::MAX);
        least - least / 8
    }
}

/// How much `high` differs between units of these names, at most a sixteenth of it.
pub fn jitter(name: &str, high: u64) -> u64 {
    // FNV-1a: spread out, and the same every time.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    let part = (hash >> 32) % 1024;
    high / 16 / 1024 * part
}

/// What a look came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing is to be done.
    Fine,
    /// Over `MemoryMax=`, for the first time or by more than when it was last told.
    OverMax,
    /// Over `MemoryHigh=` for [`HIGH_FOR`].
    OverHigh,
}

/// One unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    bounds: Bounds,
    /// When it started, with nothing.
    began: Timestamp,
    last: Option<(Timestamp, Sample)>,
    /// The most that it had, in bytes.
    pub peak: u64,
    /// Bytes in a second.
    growth: u64,
    /// What it had when it was told to be over its maximum.
    told: Option<u64>,
    high_since: Option<Timestamp>,
}

impl Watch {
    /// A unit that has nothing yet.
    pub fn new(now: Timestamp, bounds: Bounds) -> Watch {
        Watch { bounds, began: now, last: None, peak: 0, growth: 0, told: None, high_since: None }
    }

    /// Its limits.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What it had at the last look.
    pub fn last(&self) -> Option<Sample> {
        self.last.map(|(_, sample)| sample)
    }

    /// Takes in a look. A unit that has nothing is one that just begins or ends: no look.
    pub fn look(&mut self, now: Timestamp, sample: Sample) -> Verdict {
        if sample.bytes == 0 {
            return Verdict::Fine;
        }
        self.note_growth(now, sample);
        self.last = Some((now, sample));
        self.peak = self.peak.max(sample.bytes);
        if self.is_over_max(sample.bytes) {
            self.told = Some(sample.bytes);
            return Verdict::OverMax;
        }
        if self.is_high_for_long(now, sample.bytes) { Verdict::OverHigh } else { Verdict::Fine }
    }

    /// Two looks of different kinds cannot be compared.
    fn note_growth(&mut self, now: Timestamp, sample: Sample) {
        let (then, before) = match self.last {
            Some((then, before)) if before.kind == sample.kind => (then, before.bytes),
            Some(_) => return,
            None => (self.began, 0),
        };
        let micros = now.since(then).as_micros();
        if micros == 0 {
            return;
        }
        let grown = sample.bytes.saturating_sub(before);
        let rate = u128::from(grown) * 1_000_000 / micros;
        // A pause in a leak is no end of it: what was seen is forgotten by halves.
        self.growth = u64::try_from(rate).unwrap_or(u64::MAX).max(self.growth / 2);
    }

    /// Once told it stops in its own time, unless it grows on.
    fn is_over_max(&self, bytes: u64) -> bool {
        let margin = |told: u64| told.saturating_add((told / 16).max(4 << 20));
        self.bounds.max.is_some_and(|max| bytes > self.told.map_or(max, margin))
    }

    fn is_high_for_long(&mut self, now: Timestamp, bytes: u64) -> bool {
        let Some(threshold) = self.bounds.threshold() else { return false };
        if bytes < threshold - threshold / 16 {
            self.high_since = None;
        } else if bytes > threshold {
            self.high_since = self.high_since.or(Some(now));
        }
        let is_long = self.high_since.is_some_and(|since| now.since(since) >= HIGH_FOR);
        if is_long {
            self.high_since = Some(now); // told again if nothing comes of it
        }
        is_long
    }

    /// How long until the next look.
    pub fn period(&self) -> Duration {
        let used = self.last.map_or(0, |(_, sample)| sample.bytes);
        let growth = self.growth.saturating_mul(2).max(ASSUMED_GROWTH);
        let until = |limit: u64| {
            let micros = u128::from(limit.saturating_sub(used)) * 1_000_000 / u128::from(growth);
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        };
        let max = self.bounds.max.map(until);
        let high = match (self.high_since, self.last) {
            (Some(since), Some((now, _))) => Some(HIGH_FOR.saturating_sub(now.since(since))),
            // Nothing is done at once there: no hurry either.
            _ => self.bounds.threshold().map(|limit| until(limit).max(HIGH_FOR / 10)),
        };
        let next = [max, high].into_iter().flatten().min().unwrap_or(PERIOD_MAX);
        let most = if self.last.is_none() { FIRST } else { PERIOD_MAX };
        next.clamp(PERIOD_MIN, most)
    }

    /// Whether rinit may see its shared pages as shared; `None`: it was not asked yet.
    pub fn sees_sharing(&self) -> Option<bool> {
        match self.last?.1.kind {
            Kind::Resident | Kind::Anonymous => None,
            Kind::Proportional => Some(true),
            Kind::Blind => Some(false),
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
