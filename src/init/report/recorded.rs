//! What was said lately, kept for who asks later (`rinitctl events`).
//!
//! Not the room for it (`control::events::Ring`) and not as text: most of it nobody asks for.
//! **Invariant:** the line that is made of it later is the line that was written.

use std::time::Duration;

use super::Level;
use super::line::Line;
use crate::control::events::Event;
use crate::manager::event::Fact;
use crate::sys::{Pid, clock};
use crate::unit::UnitName;

/// Something that was said, and when.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Since 1970.
    time: Duration,
    monotonic: Duration,
    said: Said,
}

#[derive(Clone, Debug)]
pub(super) enum Said {
    Fact {
        fact: Fact,
        pid: Option<Pid>,
        level: Level,
        /// What is better said than what the fact by itself comes to.
        message: Option<Box<str>>,
    },
    Message {
        level: Level,
        text: Box<str>,
    },
}

impl Said {
    pub fn level(&self) -> Level {
        match self {
            Said::Message { level, .. } | Said::Fact { level, .. } => *level,
        }
    }

    pub fn line(&self) -> Line {
        match self {
            Said::Message { level, text } => Line::message(*level, text),
            Said::Fact { fact, pid, level, message } => {
                let mut line = Line::of(fact, *pid);
                line.level = *level;
                if let Some(message) = message {
                    (**message).clone_into(&mut line.words.message);
                }
                line
            }
        }
    }
}

impl Recorded {
    /// Said now.
    pub(super) fn now(said: Said) -> Recorded {
        Recorded { time: clock::wall_time(), monotonic: clock::monotonic(), said }
    }
}

impl Event for Recorded {
    fn weight(&self) -> usize {
        let more = match &self.said {
            Said::Message { text, .. } => text.len(),
            Said::Fact { fact, .. } => fact.owned_bytes(),
        };
        size_of::<Recorded>() + more
    }

    fn is_of(&self, unit: &UnitName) -> bool {
        match &self.said {
            Said::Message { .. } => false,
            Said::Fact { fact, .. } => {
                fact.unit().is_some_and(|of| of == unit || of.is_numbered_of(unit))
            }
        }
    }

    fn json(&self) -> String {
        self.said.line().json(&clock::rfc3339(self.time), self.monotonic)
    }
}
