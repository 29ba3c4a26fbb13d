//! Numbers that look random and are not: the same seed gives the same ones.
//!
//! Not for secrets. Jitter and invocation ids come from here, so that a run can be replayed.

use std::time::Duration;

/// A splitmix64 generator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Random(u64);

impl Random {
    /// One that begins at `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next 128 bits.
    pub fn next_wide(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }

    /// `delay` give or take a tenth.
    pub fn jitter(&mut self, delay: Duration) -> Duration {
        let per_million = 900_000 + u128::from(self.next() % 200_001);
        let micros = delay.as_micros().saturating_mul(per_million) / 1_000_000;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Anything from nothing to `most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % micros.saturating_add(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_keeps_to_a_tenth() {
        let mut random = Random::new(7);
        let delay = Duration::from_millis(100);
        for _ in 0..10_000 {
            let jittered = random.jitter(delay);
            assert!((90_000..=110_000).contains(&jittered.as_micros()), "{jittered:?}");
        }
        assert_eq!(random.jitter(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_seed_is_a_run() {
        let run = |seed| (0..4).scan(Random::new(seed), |r, _| Some(r.next())).collect::<Vec<_>>();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
