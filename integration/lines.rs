//! The lines that a running program writes, to wait for: the event that most tests wait on.
//!
//! A thread reads the stream to its end whether anybody waits or not, so the program never blocks
//! on a full pipe.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use crate::harness::DEADLINE;

pub struct Lines {
    receiver: Receiver<String>,
    /// All lines that were taken out of the channel, in order.
    seen: Vec<String>,
}

impl Lines {
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        read(stream, sender);
        Self { receiver, seen: Vec::new() }
    }

    /// Two streams as one, each line whole, in the order in which they arrive here.
    pub fn of_both(first: impl Read + Send + 'static, second: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        read(first, sender.clone());
        read(second, sender);
        Self { receiver, seen: Vec::new() }
    }

    /// The first line from here on that `wanted` accepts. Lines before it are in `seen`.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.give_up(what, "within the deadline"),
                Err(RecvTimeoutError::Disconnected) => self.give_up(what, "before the end"),
            }
        }
    }

    pub fn wait_for_text(&mut self, text: &str) -> String {
        self.wait_for(text, |line| line.contains(text))
    }

    fn give_up(&self, what: &str, when: &str) -> ! {
        panic!("no `{what}` {when}; the lines were:\n{}", self.seen.join("\n"));
    }
}

fn read(stream: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // Lossy: a program under test may write anything. An error is the end, too: a pty
        // gives EIO when its last user is gone.
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
}
