//! What rinit and its journal process say to each other: several things in one message.
//!
//! Not the socket (`sys::channel`). Both ends are the same binary, so there is one version of it,
//! and it need not be read by anybody else: it is serde's, in postcard's bytes.
//! **Invariant:** no byte of a log is in a message: rinit never reads any.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A message with so many bytes takes no more: then it is a message whatever its parts are.
pub const FULL: usize = 16 << 10;

/// One more thing that a message says.
pub fn append<T: Serialize>(message: &mut Vec<u8>, part: &T) {
    // It fails for a sequence without a length, of which there is none here.
    message.extend(postcard::to_allocvec(part).unwrap_or_default());
}

/// All that a message says, but for what our other half would not say.
pub fn parts<T: DeserializeOwned>(mut message: &[u8]) -> Vec<T> {
    let mut parts = Vec::new();
    while let Ok((part, rest)) = postcard::take_from_bytes(message) {
        parts.push(part);
        message = rest;
    }
    parts
}

/// Which of a process's streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
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
    pub unit: Arc<str>,
    /// The unit is one of several instances.
    pub is_instance: bool,
    /// Which stream.
    pub stream: Stream,
    /// The process that rinit gave it to.
    pub pid: i32,
}

impl Source {
    /// The number of an instance. Who is to replace `web@2` is `web@2+1` until it is ready.
    pub fn instance(&self) -> Option<&str> {
        let (_, rest) = self.unit.split_once('@').filter(|_| self.is_instance)?;
        rest.split(['+', '.']).next()
    }

    /// What stands before each line: the unit's name as a person writes it.
    pub fn label(&self) -> &str {
        let stem = self.unit.strip_suffix(".service").unwrap_or(&self.unit);
        if self.is_instance { stem.split('+').next().unwrap_or(stem) } else { stem }
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

/// A file that lines are appended to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogFile {
    /// Where it is.
    pub path: String,
    /// It is full at so many bytes.
    pub max_size: u64,
    /// So many there are, with those that are full.
    pub max_files: u32,
}

/// What few streams have, beside being relayed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Extras {
    /// rinit is told of the first line that has it.
    pub pattern: Option<String>,
    /// How many lines come out.
    pub rate: Option<Rate>,
    /// Where else they go.
    pub file: Option<LogFile>,
}

impl Extras {
    /// Boxed, if there are any: most streams have none.
    pub fn boxed(self) -> Option<Box<Extras>> {
        (self != Extras::default()).then(|| Box::new(self))
    }
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
    /// A stream to relay, whose read end comes along: the descriptors of a message are in the
    /// order of its orders.
    Open {
        /// rinit's number for it.
        id: u64,
        /// Whose it is.
        source: Source,
        /// What else is to be done with it.
        extras: Option<Box<Extras>>,
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
    /// A client, whose connection comes along as well, wants to see lines.
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
    /// A log file cannot be written: its lines go to our output only.
    FileFailed {
        /// Whose line it was.
        unit: String,
        /// What could not be done to which file, and why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let source = Source {
            unit: "web@2.service".into(),
            is_instance: false,
            stream: Stream::Stderr,
            pid: 7,
        };
        assert_eq!((source.label(), source.instance()), ("web@2", None));
        let next = Source { unit: "web@2+1.service".into(), is_instance: true, ..source.clone() };
        assert_eq!((next.label(), next.instance()), ("web@2", Some("2")));
        let rate = Some(Rate { burst: 5, interval_usec: 7 });
        let file = LogFile { path: "/log".into(), max_size: u64::MAX, max_files: 5 };
        let extras = Extras { pattern: Some("up".into()), rate, file: Some(file) }.boxed();
        let units = vec!["a.service".to_owned(), "b@1.service".to_owned()];
        let request = Request { units, lines: Some(3), since_usec: Some(4), follow: true };
        let orders = [
            Order::Open { id: 3, source: source.clone(), extras },
            Order::Open { id: 3, source: next, extras: None },
            Order::Rename { from: "a".into(), to: "b".into() },
            Order::Failed { unit: "a".into() },
            Order::Show(request),
            Order::Show(Request::default()),
        ];
        assert_eq!(parts::<Order>(&message(&orders)), orders);
        let why = "No space left on device".to_owned();
        let words = [
            Word::Started,
            Word::Closed { id: 3 },
            Word::Matched { id: u64::MAX },
            Word::Failed { why: why.clone() },
            Word::FileFailed { unit: "a.service".to_owned(), why },
        ];
        assert_eq!(parts::<Word>(&message(&words)), words);
        for bytes in [&b""[..], b"\x63", b"\x03\x05ab", b"\xff\xff\xff\xff\xff\xff"] {
            assert_eq!((parts::<Word>(bytes), parts::<Order>(bytes)), (vec![], vec![]));
        }
    }

    fn message<T: Serialize>(parts: &[T]) -> Vec<u8> {
        let mut message = Vec::new();
        parts.iter().for_each(|part| append(&mut message, part));
        message
    }
}
