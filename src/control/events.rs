//! What happened lately, numbered, so that who comes late or reads slowly can still have it.
//!
//! Not what an event looks like (`init::report`). Nobody who listens has a copy: each has a
//! number, and reads on from it. **Invariant:** at most [`EVENTS_MAX`] events are kept, and of a
//! them no more than [`BYTES_MAX`], or one.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::VecDeque;

use crate::unit::UnitName;

/// So many events are remembered at most.
pub const EVENTS_MAX: usize = 1000;

/// And so many bytes, as they weigh themselves.
pub const BYTES_MAX: usize = 256 << 10;

/// An event, as far as the ring and the server know it.
pub trait Event {
    /// About how many bytes it takes in memory.
    fn weight(&self) -> usize;
    /// Whether it is about this unit, or about one of its instances.
    fn is_of(&self, unit: &UnitName) -> bool;
    /// The JSON object that `Events` gives.
    fn json(&self) -> String;
}

/// The last events.
#[derive(Debug)]
pub struct Ring<T> {
    events: VecDeque<T>,
    /// The number of the first event that is still here.
    first: u64,
    bytes: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Ring<T> {
        Ring { events: VecDeque::new(), first: 0, bytes: 0 }
    }
}

impl<T: Event> Ring<T> {
    /// Adds an event; the oldest go if there are too many.
    pub fn push(&mut self, event: T) {
        let weight = event.weight();
        while self.events.len() >= EVENTS_MAX
            || (self.bytes + weight > BYTES_MAX && !self.events.is_empty())
        {
            let oldest = self.events.pop_front();
            self.bytes -= oldest.map_or(0, |event| event.weight());
            self.first += 1;
        }
        if self.events.len() == self.events.capacity() {
            // Not doubled for ever: the last step would be memory for nobody.
            let more = self.events.len().clamp(8, 64);
            self.events.reserve_exact(more.min(EVENTS_MAX - self.events.len()));
        }
        self.bytes += weight;
        self.events.push_back(event);
    }

    /// The number of the oldest event that is remembered.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next event will get.
    pub fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The event with this number, if it is remembered.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.events.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(u64, usize);

    impl Event for Number {
        fn weight(&self) -> usize {
            self.1
        }

        fn is_of(&self, _: &UnitName) -> bool {
            true
        }

        fn json(&self) -> String {
            self.0.to_string()
        }
    }

    fn number(ring: &Ring<Number>, at: u64) -> Option<u64> {
        ring.get(at).map(|event| event.0)
    }

    #[test]
    fn the_last_thousand_are_kept() {
        let mut ring = Ring::default();
        assert_eq!((ring.first(), ring.next()), (0, 0));
        for number in 0..2500 {
            assert_eq!(ring.next(), number);
            ring.push(Number(number, 100));
            assert!(ring.events.capacity() <= EVENTS_MAX);
        }
        assert_eq!((ring.first(), ring.next()), (1500, 2500));
        for (at, found) in [(1499, None), (1500, Some(1500)), (2499, Some(2499)), (2500, None)] {
            assert_eq!(number(&ring, at), found);
        }
    }

    #[test]
    fn heavy_events_leave_earlier() {
        let mut ring = Ring::default();
        for number in 0..100 {
            ring.push(Number(number, BYTES_MAX / 4));
        }
        assert_eq!((ring.first(), ring.next()), (96, 100));
        ring.push(Number(100, BYTES_MAX * 2));
        assert_eq!((ring.first(), ring.next()), (100, 101), "one is always kept");
        ring.push(Number(101, 1));
        assert_eq!((ring.first(), ring.next()), (101, 102));
    }
}
