//! What rinit and its journal process say to each other, as JSON in one message each.
//!
//! Not the socket (`sys::channel`). Both ends are the same binary, so there is one version of it.
//! **Invariant:** no byte of a log is in a message: rinit never reads any.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

/// Which of a process's streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// So many lines…
    pub burst: u32,
    /// …in so many microseconds.
    pub interval_usec: u64,
}

/// A file that lines are appended to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFile {
    /// Where it is.
    pub path: String,
    /// It is full at so many bytes.
    pub max_size: u64,
    /// So many there are, with those that are full.
    pub max_files: u32,
}

/// What few streams have, beside being relayed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// A stream to relay, whose read end comes along.
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
    /// A client, whose connection comes along, wants to see lines.
    Show(Request),
}

/// From the journal to rinit.
#[derive(Clone, PartialEq, Eq, Debug)]
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

impl Order {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let value = match self {
            Order::Open { id, source, extras } => {
                let extras = extras.as_deref();
                let rate = extras.and_then(|extras| extras.rate);
                let file = extras.and_then(|extras| extras.file.as_ref());
                json!({
                    "order": "open", "id": id, "unit": &*source.unit,
                    "instance": source.is_instance, "stream": source.stream.as_str(),
                    "pid": source.pid,
                    "pattern": extras.and_then(|extras| extras.pattern.as_deref()),
                    "burst": rate.map(|rate| rate.burst),
                    "interval_usec": rate.map(|rate| rate.interval_usec),
                    "file": file.map(|file| file.path.as_str()),
                    "max_size": file.map(|file| file.max_size),
                    "max_files": file.map(|file| file.max_files),
                })
            }
            Order::Rename { from, to } => json!({ "order": "rename", "from": from, "to": to }),
            Order::Failed { unit } => json!({ "order": "failed", "unit": unit }),
            Order::Show(request) => json!({
                "order": "show", "units": request.units, "lines": request.lines,
                "since_usec": request.since_usec, "follow": request.follow,
            }),
        };
        value.to_string().into_bytes()
    }

    /// As it came; `None` is not what our other half would say.
    pub fn decode(bytes: &[u8]) -> Option<Order> {
        let said = Said(serde_json::from_slice(bytes).ok()?);
        match said.text("order")?.as_str() {
            "open" => {
                let burst = said.number("burst").and_then(|burst| u32::try_from(burst).ok());
                let rate = burst.zip(said.number("interval_usec"));
                let file = said.text("file").zip(said.number("max_size"));
                let max_files = said.number("max_files").and_then(|most| u32::try_from(most).ok());
                let file = file.zip(max_files);
                Some(Order::Open {
                    id: said.number("id")?,
                    source: Source {
                        unit: said.text("unit")?.into(),
                        is_instance: said.0.get("instance")?.as_bool()?,
                        stream: match said.text("stream")?.as_str() {
                            "stderr" => Stream::Stderr,
                            _ => Stream::Stdout,
                        },
                        pid: i32::try_from(said.number("pid")?).ok()?,
                    },
                    extras: Extras {
                        pattern: said.text("pattern"),
                        rate: rate.map(|(burst, interval_usec)| Rate { burst, interval_usec }),
                        file: file.map(|((path, max_size), max_files)| LogFile {
                            path,
                            max_size,
                            max_files,
                        }),
                    }
                    .boxed(),
                })
            }
            "rename" => Some(Order::Rename { from: said.text("from")?, to: said.text("to")? }),
            "failed" => Some(Order::Failed { unit: said.text("unit")? }),
            "show" => {
                let units = said.0.get("units")?.as_array()?.iter();
                let units = units.map(|unit| unit.as_str().map(str::to_owned));
                Some(Order::Show(Request {
                    units: units.collect::<Option<_>>()?,
                    lines: said.number("lines").and_then(|lines| usize::try_from(lines).ok()),
                    since_usec: said.number("since_usec"),
                    follow: said.0.get("follow")?.as_bool()?,
                }))
            }
            _ => None,
        }
    }
}

impl Word {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let value = match self {
            Word::Started => json!({ "word": "started" }),
            Word::Closed { id } => json!({ "word": "closed", "id": id }),
            Word::Matched { id } => json!({ "word": "matched", "id": id }),
            Word::Failed { why } => json!({ "word": "failed", "why": why }),
            Word::FileFailed { unit, why } => {
                json!({ "word": "file-failed", "unit": unit, "why": why })
            }
        };
        value.to_string().into_bytes()
    }

    /// As it came; `None` is not what our other half would say.
    pub fn decode(bytes: &[u8]) -> Option<Word> {
        let said = Said(serde_json::from_slice(bytes).ok()?);
        match said.text("word")?.as_str() {
            "started" => Some(Word::Started),
            "closed" => Some(Word::Closed { id: said.number("id")? }),
            "matched" => Some(Word::Matched { id: said.number("id")? }),
            "failed" => Some(Word::Failed { why: said.text("why")? }),
            "file-failed" => {
                Some(Word::FileFailed { unit: said.text("unit")?, why: said.text("why")? })
            }
            _ => None,
        }
    }
}

/// An object that came. By hand, for what serde derives is several times the size.
struct Said(Value);

impl Said {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key)?.as_str().map(str::to_owned)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }
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
        for order in [
            Order::Open { id: 3, source: source.clone(), extras },
            Order::Open { id: 3, source: next, extras: None },
            Order::Rename { from: "a".into(), to: "b".into() },
            Order::Failed { unit: "a".into() },
            Order::Show(request),
            Order::Show(Request::default()),
        ] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        let why = "No space left on device".to_owned();
        for word in [
            Word::Started,
            Word::Closed { id: 3 },
            Word::Matched { id: u64::MAX },
            Word::Failed { why: why.clone() },
            Word::FileFailed { unit: "a.service".to_owned(), why },
        ] {
            assert_eq!(Word::decode(&word.encode()), Some(word));
        }
        for bytes in [&b"{}"[..], b"", b"{\"word\":\"x\"}", b"[]"] {
            assert_eq!((Word::decode(bytes), Order::decode(bytes)), (None, None));
        }
    }
}
