//! What waits to be written to one client.
//!
//! Not what is written (`protocol`). **Invariant:** chunks end where messages end, so that what is
//! left away is always whole messages; the first chunk, once begun, is never left away.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::VecDeque;

/// Messages are written together up to so many bytes.
const CHUNK: usize = 16 << 10;

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    events: u64,
}

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    /// So much of the first chunk is written.
    written: usize,
    bytes: usize,
}

impl Output {
    /// Adds one whole message; `is_event`: it may be left away later.
    pub fn push(&mut self, message: Vec<u8>, is_event: bool) {
        self.bytes += message.len();
        let events = u64::from(is_event);
        match self.chunks.back_mut() {
            Some(last) if last.bytes.len() + message.len() <= CHUNK => {
                last.bytes.extend_from_slice(&message);
                last.events += events;
            }
            Some(_) | None => self.chunks.push_back(Chunk { bytes: message, events }),
        }
    }

    /// What is to be written next; empty: nothing.
    pub fn next(&self) -> &[u8] {
        let first = self.chunks.front().map_or(&[][..], |chunk| &chunk.bytes);
        first.get(self.written..).unwrap_or_default()
    }

    /// So many bytes of [`Output::next`] are written.
    pub fn wrote(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        self.written += count;
        if self.chunks.front().is_some_and(|chunk| chunk.bytes.len() <= self.written) {
            self.chunks.pop_front();
            self.written = 0;
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new(); // an idle client costs nothing
        }
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Leaves away all but the chunk that was begun; how many events that were.
    pub fn drop_rest(&mut self) -> u64 {
        let keep = usize::from(self.written > 0);
        let dropped = self.chunks.drain(keep.min(self.chunks.len())..);
        let events = dropped.map(|chunk| chunk.events).sum();
        self.bytes = self.next().len();
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_messages_are_left_away() {
        let mut output = Output::default();
        for _ in 0..100 {
            output.push(vec![b'x'; 999], true);
        }
        assert_eq!((output.len(), output.next().len()), (99_900, 999 * 16));
        output.wrote(10);
        assert_eq!(output.next().len(), 999 * 16 - 10);
        assert_eq!(output.drop_rest(), 84);
        assert_eq!(output.len(), 999 * 16 - 10);
        output.push(b"end".to_vec(), false);
        assert!(output.next().ends_with(b"xend"));
        output.wrote(output.next().len());
        assert!(output.is_empty() && output.next().is_empty());
    }

    #[test]
    fn what_was_not_begun_goes_whole() {
        let mut output = Output::default();
        output.push(vec![b'x'; 20_000], false);
        output.push(vec![b'x'; 20_000], true);
        assert_eq!(output.drop_rest(), 1);
        assert!(output.is_empty());
    }
}
