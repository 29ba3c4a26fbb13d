//! What an init is asked to run in one measurement, in words that fit them all.

use std::path::Path;

/// One measurement's work.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// How many, in which order.
    pub load: Load,
    /// What each of them does.
    pub app: App,
    /// The harness is woken at this start of an app; 0: never.
    pub target: usize,
}

/// How many apps, in which order.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// One command, as `docker run IMAGE COMMAND` has it; for a supervisor of services: one service.
    Command,
    /// So many services that do not depend on each other, restarted whenever they end.
    Services(usize),
    /// So many programs, each started when the one before has exited 0.
    Steps(usize),
    /// So many services, each started when the one before is up (its exec has succeeded).
    ServiceChain(usize),
}

/// The modes of `payload.c`.
#[derive(Clone, Copy, Debug)]
pub enum App {
    /// Waits for a signal.
    Up,
    /// Exits 0 at once.
    Once,
    /// Dies at once.
    Crash,
    /// Dies after 2 ms.
    Limp,
    /// Makes orphans.
    Flood,
}

impl App {
    /// The payload's only argument.
    pub fn word(self, dir: &Path) -> String {
        let mode = match self {
            Self::Up => "up",
            Self::Once => "once",
            Self::Crash => "crash",
            Self::Limp => "limp",
            Self::Flood => "flood",
        };
        format!("{mode}:{}", dir.display())
    }
}
