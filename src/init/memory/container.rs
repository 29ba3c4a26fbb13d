//! Whether a process that was killed was killed because the container's memory is used up.
//!
//! Not a unit's own limit (`sys::cgroup`, `watchdog`). The kernel counts the processes of our own
//! cgroup that it killed for memory (`oom_kill` of memory.events, of memory.oom_control in v1), and
//! has counted before it kills; the file can be read where the tree is mounted read-only. So a
//! death by SIGKILL that nobody here sent, after which the number has grown, is such a kill.
//! **Invariant:** without the file nothing is claimed.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::init::event_loop::Shell;
use crate::manager::event::{Event, OomKill, OomKiller};
use crate::manager::time::Timestamp;
use crate::sys::Pid;
use crate::unit::load::{Container, oom_counter};
use crate::unit::process::{ExitStatus, Signal};

/// So long may a victim take to die.
const DYING: Duration = Duration::from_secs(2);

/// The kernel's count, and how much of it is explained.
#[derive(Debug, Default)]
pub struct ContainerOom {
    begun: bool,
    counter: Option<File>,
    seen: u64,
    /// Whose death was told and is not handled yet.
    told: Option<Pid>,
    /// Until when kills that nobody's death explains are waited for.
    waits_until: Option<Timestamp>,
    limit: OnceCell<Option<u64>>,
}

impl ContainerOom {
    /// Counts from now on, unless it does already: once the first command is started, which does
    /// not wait for it, and before we move into a cgroup of our own.
    pub fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.counter = oom_counter();
            self.seen = self.count().unwrap_or(0);
        }
    }

    fn count(&self) -> Option<u64> {
        let mut buffer = [0_u8; 1024];
        let size = self.counter.as_ref()?.read_at(&mut buffer, 0).ok()?;
        parse_count(std::str::from_utf8(buffer.get(..size)?).ok()?)
    }

    /// A process was killed by SIGKILL, and not by us: whether it was for the container's
    /// memory. Each death is told once.
    fn explains(&mut self, pid: Pid) -> bool {
        if self.told == Some(pid) || self.count().is_none_or(|count| count <= self.seen) {
            return false;
        }
        self.seen += 1;
        self.told = Some(pid);
        true
    }

    /// So many kills were for a limit below the container's, which counts them as well.
    pub fn told_elsewhere(&mut self, kills: u64) {
        self.seen = self.seen.saturating_add(kills);
    }

    /// What the container may have, where that is limited.
    pub fn limit(&self) -> Option<u64> {
        let read = || Some(Container::read().room).filter(|room| room.limited)?.memory;
        *self.limit.get_or_init(read)
    }

    /// The dead process is reaped: its pid means nothing any more.
    pub fn reaped(&mut self, pid: Pid) {
        self.told = self.told.filter(|told| *told != pid);
    }

    /// Every death so far is known. A kill that explained none of them may be of one that still
    /// gives back its memory; after a while it was nobody's that we see.
    pub fn settle(&mut self, now: Timestamp) {
        let count = self.count().unwrap_or(self.seen);
        self.waits_until = match self.waits_until {
            _ if count <= self.seen => None,
            Some(until) if until <= now => {
                self.seen = count;
                None
            }
            Some(until) => Some(until),
            None => Some(now.after(DYING)),
        };
    }
}

/// `oom_kill 3`, in both kinds of file.
fn parse_count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

impl Shell {
    /// What a death means for the unit's memory, to be told before the death itself.
    pub(in crate::init) fn oom_of(&mut self, pid: Pid, exit: ExitStatus) -> Option<Event> {
        let killed = matches!(exit, ExitStatus::Killed { signal: Signal::KILL, .. });
        if !killed {
            return None;
        }
        if let Some(event) = self.kill_before(pid) {
            return Some(event);
        }
        let process = self.table.id_of(pid).and_then(|id| self.table.get(id));
        if process.is_some_and(|process| process.sent_sigkill) {
            return None;
        }
        let unit = process.map(|process| &process.unit).or_else(|| self.members.recorded_unit(pid));
        let unit = unit?.clone();
        if !self.container_oom.explains(pid) {
            return None;
        }
        let limit = self.container_oom.limit();
        let kill = OomKill { by: OomKiller::Container, limit, peak: None };
        Some(Event::OomKill { unit, kill })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "low 0\nhigh 0\nmax 61\noom 3\noom_kill 2\noom_group_kill 0\n";
    const V1: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";

    #[test]
    fn both_kinds_of_file() {
        for (text, expected) in [(V2, Some(2)), (V1, Some(2)), ("", None), ("oom_kill x", None)] {
            assert_eq!(parse_count(text), expected);
        }
    }

    #[test]
    fn each_kill_explains_one_death() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let set = |count: u64| std::fs::write(file.path(), format!("oom_kill {count}\n")).unwrap();
        set(7);
        let counter = Some(File::open(file.path()).unwrap());
        let mut oom = ContainerOom { counter, seen: 7, ..ContainerOom::default() };
        assert!(!oom.explains(1), "what was killed before is nobody's");
        set(9);
        assert!(oom.explains(1));
        assert!(!oom.explains(1), "it was told");
        assert!(oom.explains(2));
        assert!(!oom.explains(3), "that one was killed by somebody");
        oom.reaped(2);
        set(10);
        assert!(oom.explains(2), "another process of that number");
        // A process that we do not see was killed.
        let at = |seconds| Timestamp::from_start(Duration::from_secs(seconds));
        set(12);
        oom.settle(at(10));
        assert!(oom.explains(4), "it took its time to die");
        oom.settle(at(11));
        oom.settle(at(12));
        assert!(!oom.explains(5));
        set(13);
        oom.settle(at(13));
        assert!(oom.explains(6), "a new kill has its own time");
    }

    #[test]
    fn without_a_counter_nothing_is_claimed() {
        assert!(!ContainerOom::default().explains(1));
    }
}
