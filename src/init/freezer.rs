//! An instance that is about to stop, held still at an instant when it has read all it accepted.
//!
//! Instances behind one shared socket accept until they look at their stop signal, and some
//! (uvicorn) then close what they have accepted and not read yet. Only the instance can see to
//! that, or the kernel: SIGSTOP, a look at its connections, and if one is unread SIGCONT and
//! another try. If none is, and it was stopped while it waited for events, it stays still for
//! longer than it waits at most: a wait that a signal interrupted brings no events when its time is
//! over, so that it sees to its signal before it accepts again. Its siblings accept meanwhile.
//!
//! Not which stop waits for that, nor for how long at most (`manager::sockets`). **Invariant:**
//! whoever is in here is continued by [`Freezer::thaw`], after the manager's signals: once the
//! manager said [`Action::Resume`](crate::manager::event::Action::Resume), at [`AT_MOST`] else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use super::members::Members;
use super::processes::ProcessTable;
use super::sockets::{Holder, LOOK};
use crate::manager::time::Timestamp;
use crate::sys::activity::{self, Call};
use crate::sys::tcp_diag::{self, Connection};
use crate::sys::{Pid, passive_opens, proc, proc_sockets};
use crate::unit::UnitName;
use crate::unit::process::Signal;

/// From SIGSTOP on it gets so long to stand. An idle machine stops it at once, and its SIGCHLD
/// brings us back; on a busy one it has to get a processor first.
const SETTLE: Duration = Duration::from_millis(100);

/// After so long somebody connects all the time, and that alone is no reason to wait.
const STRICT: Duration = Duration::from_secs(2);

/// How long it stays still: a tenth of a second is how long the loops of uvicorn and gunicorn
/// sleep before they look at their signal flag, so that they look at it first when they go on.
const HOLD: Duration = Duration::from_millis(120);

/// For so much longer it waits for its siblings to empty the queue: it might take one of those
/// first when it goes on.
const QUEUE: Duration = Duration::from_millis(250);

/// Nobody stays stopped for longer, whatever was forgotten.
const AT_MOST: Duration = Duration::from_secs(5);

/// Where one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// It runs, and is looked at then.
    Runs(Timestamp),
    /// It has been sent SIGSTOP at `since`, and is looked at again.
    Stops { look: Timestamp, since: Timestamp },
    /// It is still since then, with nothing unread, and is looked at again.
    Held { look: Timestamp, since: Timestamp },
    /// The manager has been told.
    Told,
    /// It is continued with the end of this event.
    Over,
}

#[derive(Debug)]
struct Frozen {
    unit: UnitName,
    /// Of the sockets that it accepts from.
    ports: Vec<u16>,
    /// Before it was sent SIGSTOP: in which calls its processes slept, and how many had connected
    /// to this machine (`None`: it does not say).
    calls: BTreeMap<Pid, Call>,
    opens: Option<u64>,
    step: Step,
    /// How often it was looked at while it ran.
    looks: u32,
    began: Timestamp,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Freezer {
    frozen: Vec<Frozen>,
}

impl Freezer {
    /// Holds an instance still as soon as it has read everything; false if this machine does not
    /// let us see what it has read.
    pub fn freeze(&mut self, unit: &UnitName, ports: Vec<u16>, now: Timestamp) -> bool {
        let visible = ports.iter().all(|port| tcp_diag::connections(*port).is_ok());
        if visible {
            let (unit, step) = (unit.clone(), Step::Runs(now));
            let (calls, opens, looks, began) = (BTreeMap::new(), None, 0, now);
            self.frozen.push(Frozen { unit, ports, calls, opens, step, looks, began });
        }
        visible
    }

    /// An instance goes by another name.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) {
        for frozen in self.frozen.iter_mut().filter(|frozen| frozen.unit == *from) {
            frozen.unit = to.clone();
        }
    }

    /// Nobody waits for it any more: it goes on with [`Freezer::thaw`]. After how many looks in vain,
    /// where it was not still.
    pub fn resume(&mut self, unit: &UnitName) -> Option<u32> {
        let frozen = self.frozen.iter_mut().find(|frozen| frozen.unit == *unit)?;
        let told = frozen.step == Step::Told;
        frozen.step = Step::Over;
        (!told).then_some(frozen.looks)
    }

    /// Lets those go on who have to, after the signals of this event.
    pub fn thaw(&mut self, members: &mut Members, table: &ProcessTable) {
        self.frozen.retain(|frozen| {
            let over = frozen.step == Step::Over;
            if over {
                members.signal_unit(table, &frozen.unit, Signal::CONT);
            }
            !over
        });
    }

    /// One that is still, and has nothing unread: the manager's word is next.
    pub fn next_still(
        &mut self,
        now: Timestamp,
        sockets: &Holder,
        members: &mut Members,
        table: &ProcessTable,
    ) -> Option<UnitName> {
        let due = |frozen: &&mut Frozen| frozen.deadline() <= now || frozen.has_stopped(table);
        for frozen in self.frozen.iter_mut().filter(due) {
            frozen.step = frozen.next(now, sockets, members, table);
            if frozen.step == Step::Told {
                return Some(frozen.unit.clone());
            }
        }
        self.thaw(members, table); // whoever has been still for too long
        None
    }

    /// When one is to be looked at.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.frozen.iter().map(Frozen::deadline).min()
    }
}

impl Frozen {
    fn deadline(&self) -> Timestamp {
        match self.step {
            Step::Runs(look) | Step::Stops { look, .. } | Step::Held { look, .. } => {
                look.min(self.ends())
            }
            Step::Told => self.ends(),
            Step::Over => Timestamp::ZERO,
        }
    }

    /// When it goes on at the latest.
    fn ends(&self) -> Timestamp {
        self.began.after(AT_MOST)
    }

    /// Does what is due.
    fn next(
        &mut self,
        now: Timestamp,
        sockets: &Holder,
        members: &mut Members,
        table: &ProcessTable,
    ) -> Step {
        if self.ends() <= now {
            return Step::Over;
        }
        match self.step {
            Step::Runs(_) => {
                self.looks = self.looks.saturating_add(1);
                if !self.seems_settled(sockets, members, table) {
                    return Step::Runs(now.after(LOOK));
                }
                members.signal_unit(table, &self.unit, Signal::STOP);
                Step::Stops { look: now.after(LOOK), since: now }
            }
            Step::Stops { since, .. } => {
                let pids = self.pids(members, table);
                if now < since.after(SETTLE) && !pids.iter().all(|pid| stands(*pid)) {
                    Step::Stops { look: now.after(LOOK), since }
                } else if self.is_settled(now, &pids, sockets) {
                    Step::Held { look: now.after(LOOK), since: now }
                } else {
                    self.run_on(now, members, table)
                }
            }
            Step::Held { since, .. } => {
                if has_unread(&self.connections(), &self.pids(members, table)) {
                    return self.run_on(now, members, table); // a kept connection spoke
                }
                let waits = now < since.after(HOLD + QUEUE) && sockets.shared_queues(&self.unit);
                if now < since.after(HOLD) || waits {
                    Step::Held { look: now.after(LOOK), since }
                } else {
                    Step::Told
                }
            }
            Step::Told => Step::Told,
            Step::Over => Step::Over,
        }
    }

    /// It goes on, and is tried again.
    fn run_on(&mut self, now: Timestamp, members: &mut Members, table: &ProcessTable) -> Step {
        members.signal_unit(table, &self.unit, Signal::CONT);
        Step::Runs(now.after(LOOK))
    }

    /// Whether it is worth a SIGSTOP: all of it sleeps, with nothing to accept and nothing to read.
    /// It is noted what is compared with later.
    fn seems_settled(
        &mut self,
        sockets: &Holder,
        members: &mut Members,
        table: &ProcessTable,
    ) -> bool {
        let pids = self.pids(members, table);
        self.calls = pids.iter().map(|pid| (*pid, activity::call(*pid))).collect();
        // The kernel's list of connections costs most: it is not asked for while it is at work.
        let at_work = self.calls.values().any(|call| *call == Call::Nowhere);
        if at_work || has_unread(&self.connections(), &pids) {
            return false;
        }
        // From here on whoever connects makes the count another. Who did before is in a queue, or
        // has woken somebody, who does not sleep then, or has been seen to.
        self.opens = passive_opens::count().ok();
        if sockets.shared_queues(&self.unit) {
            return false;
        }
        // Last: what is noted was so before it slept, or while it does.
        let sleeps = |stat: proc::Stat| stat.state == b'S' || !stat.is_alive();
        pids.iter().all(|pid| proc::stat(*pid).is_none_or(sleeps))
    }

    /// Whether its main process stands already.
    fn has_stopped(&self, table: &ProcessTable) -> bool {
        let mut children = table.of_unit(&self.unit).filter(|process| !process.exited);
        matches!(self.step, Step::Stops { .. }) && children.all(|process| stands(process.pid))
    }

    fn connections(&self) -> Vec<Connection> {
        self.ports.iter().flat_map(|port| tcp_diag::connections(*port)).flatten().collect()
    }

    fn pids(&self, members: &mut Members, table: &ProcessTable) -> Vec<Pid> {
        let children = table.of_unit(&self.unit).filter(|process| !process.exited);
        let others = members.living_of(&self.unit, table);
        children.map(|process| process.pid).chain(others.iter().map(|stat| stat.pid)).collect()
    }

    /// Whether it is still, has read every connection that it accepted, and is about to accept
    /// none: it would when it goes on if it was at work, or if its wait was over because somebody
    /// had connected. That is not seen in /proc, and a sibling may have served whom it was woken
    /// for: so nobody may have connected since we looked, whether or not they are still there.
    fn is_settled(&self, now: Timestamp, pids: &[Pid], sockets: &Holder) -> bool {
        let waits = |pid: &Pid| match self.calls.get(pid) {
            Some(call) => activity::call(*pid) == *call,
            None => activity::call(*pid) != Call::Nowhere,
        };
        let strict = now < self.began.after(STRICT);
        pids.iter().all(|pid| stands(*pid) && waits(pid))
            && (!strict || passive_opens::count().ok() == self.opens)
            && !sockets.shared_queues(&self.unit)
            && !has_unread(&self.connections(), pids)
    }
}

/// Whether these processes have one of the connections, and have not read it.
fn has_unread(connections: &[Connection], pids: &[Pid]) -> bool {
    let mut unread = connections.iter().filter(|connection| connection.is_unread()).peekable();
    if unread.peek().is_none() {
        return false; // whoever has which
    }
    // Another user's descriptors are not shown to us without CAP_SYS_PTRACE: then nobody's
    // connection may be unread, its siblings' neither.
    let own: io::Result<Vec<BTreeSet<u64>>> =
        pids.iter().map(|pid| proc_sockets::open_sockets(*pid)).collect();
    match own {
        Ok(own) => unread.any(|it| own.iter().any(|sockets| sockets.contains(&it.inode))),
        Err(_) => true,
    }
}

/// Whether a process is stopped, or gone.
fn stands(pid: Pid) -> bool {
    let stands = |stat: proc::Stat| matches!(stat.state, b'T' | b't') || !stat.is_alive();
    proc::stat(pid).is_none_or(stands)
}
