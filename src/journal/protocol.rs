//! What rinit and its journal process say to each other, as JSON in one message each.
//!
//! Not the socket (`sys::channel`). Both ends are the same binary, so there is one version of it.
//! **Invariant:** no byte of a log is in a message: rinit never reads any.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which of a process's streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As in `--log-format json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Whose stream it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The unit's full name.
    pub unit: String,
    /// The number of an instance.
    pub instance: Option<String>,
    /// Which stream.
    pub stream: Stream,
    /// The process that rinit gave it to.
    pub pid: i32,
}

impl Source {
    /// The unit has another name, and with it perhaps another number.
    pub fn set_instance_of(&mut self, unit: &str) {
        let number = unit.split_once('@').and_then(|(_, rest)| rest.split(['+', '.']).next());
        if let (Some(instance), Some(number)) = (&mut self.instance, number) {
            number.clone_into(instance);
        }
    }

    /// What stands before each line: the unit's name as a person writes it.
    pub fn label(&self) -> &str {
        let stem = self.unit.strip_suffix(".service").unwrap_or(&self.unit);
        // Who is to replace web@2 is web@2+1 until it is ready.
        match &self.instance {
            Some(_) => stem.split('+').next().unwrap_or(stem),
            None => stem,
        }
    }
}

/// `LogRateLimitBurst=` in `LogRateLimitIntervalSec=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// So many lines…
    pub burst: u32,
    /// …in so many microseconds.
    pub interval_usec: u64,
}

/// Which lines somebody wants to see.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// Of these units, full names, and of their instances; none: of all.
    pub units: Vec<String>,
    /// Only so many, the last; `None`: all.
    pub lines: Option<usize>,
    /// Only from then on, in microseconds since 1970.
    pub since_usec: Option<u64>,
    /// Those that come, too.
    pub follow: bool,
}

impl Request {
    /// Whether it is for the lines of this unit.
    pub fn is_for(&self, unit: &str, is_instance: bool) -> bool {
        let service = unit.split_once('@').filter(|_| is_instance).map(|(service, _)| service);
        let names = |wanted: &String| {
            wanted == unit
                || service.is_some_and(|service| wanted.strip_suffix(".service") == Some(service))
        };
        self.units.is_empty() || self.units.iter().any(names)
    }

    /// How many lines at most.
    pub fn most(&self) -> usize {
        self.lines.unwrap_or(usize::MAX)
    }

    /// From when on, since 1970.
    pub fn since(&self) -> Option<Duration> {
        self.since_usec.map(Duration::from_micros)
    }
}

/// From rinit to the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    /// A stream to relay, whose read end comes along.
    Open {
        /// rinit's number for it.
        id: u64,
        /// Whose it is.
        source: Source,
        /// rinit is told of the first line that has it.
        pattern: Option<String>,
        /// How many lines come out.
        rate: Option<Rate>,
    },
    /// A unit has another name from now on.
    Rename {
        /// Its old name.
        from: String,
        /// Its new one.
        to: String,
    },
    /// A unit failed: its last lines are to be shown once more, beside rinit's own.
    Failed {
        /// Which unit.
        unit: String,
    },
    /// A client, whose connection comes along, wants to see lines.
    Show(Request),
}

/// From the journal to rinit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// It runs and has taken up its work.
    Started,
    /// All of a stream has been relayed, and nobody can write to it any more.
    Closed {
        /// Which one.
        id: u64,
    },
    /// A line of the stream had its pattern.
    Matched {
        /// Which stream.
        id: u64,
    },
    /// An output cannot be written to: lines are lost.
    Failed {
        /// The kernel's reason.
        why: String,
    },
}

/// As it is sent. Nothing here can fail to become JSON.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// As it came; `None` is not what our other half would say.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let source =
            Source { unit: "web@2.service".into(), instance: None, stream: Stream::Stderr, pid: 7 };
        assert_eq!(source.label(), "web@2");
        let instance = Some("2".to_owned());
        let next = Source { unit: "web@2+1.service".into(), instance, ..source.clone() };
        assert_eq!(next.label(), "web@2");
        let rate = Some(Rate { burst: 5, interval_usec: 7 });
        let order = Order::Open { id: 3, source, pattern: Some("up".into()), rate };
        assert_eq!(decode(&encode(&order)), Some(order));
        let word = Word::Closed { id: 3 };
        assert_eq!(decode(&encode(&word)), Some(word));
        assert_eq!(decode::<Word>(b"{}"), None);
    }
}
