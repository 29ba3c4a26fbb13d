//! Why there is no figure.

use std::fmt;
use std::io;
use std::time::Duration;

/// The reason for a `-` in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The subject is not on this machine.
    NotInstalled,
    /// The scenario is not among what the subject does.
    CannotDo(&'static str),
    /// The subject ended before it had done what was asked; how, and its last words.
    Ended(String),
    /// The subject was still at it after this time.
    TimedOut(Duration),
    /// The benchmark itself could not go on.
    Harness(String),
}

impl Gap {
    /// A failed call, with what it was for.
    pub fn io(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Harness(format!("{what}: {error}"))
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("not installed"),
            Self::CannotDo(why) => f.write_str(why),
            Self::Ended(how) => write!(f, "does not run: {how}"),
            Self::TimedOut(limit) => write!(f, "not done after {} s", limit.as_secs()),
            Self::Harness(what) => write!(f, "the benchmark failed: {what}"),
        }
    }
}
