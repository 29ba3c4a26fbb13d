//! The loop: next event, handle, perform every action, repeat.
//!
//! Not the decision (`manager`) and not the doing (`perform`). Order of one turn: what performing
//! an action brought, what processes say of themselves, exec reports, deaths (each after the last
//! words of the dead), units that became empty, queues that did, memory, probes, signals, clients, the
//! timer; each event and all that follows from it before the next. **Invariant:** `Poll::poll`
//! with the next
//! deadline is the only call that waits, and no error ends the loop.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::control::Control;
use super::figures::Figures;
use super::freezer::Freezer;
use super::http::Http;
use super::journal::Journal;
use super::main_process::Strangers;
use super::members::{self, Members};
use super::memory::{ContainerOom, Memory, Watchdog};
use super::notify::Notify;
use super::perform::Performed;
use super::probe::Probes;
use super::processes::{ProcessTable, Purpose};
use super::ready_fd::ReadyPipes;
use super::report::{Level, Reporter};
use super::sockets::Holder;
use super::spawn_plan::Spawner;
use super::upward::Upward;
use super::{ControlConfig, Reload};
use crate::control::boot_record::BootRecord;
use crate::control::http::connections::Connections;
use crate::control::server::Server;
use crate::manager::Manager;
use crate::manager::event::{Event, ProcessId};
use crate::manager::time::Timestamp;
use crate::sys::exec::{ExecState, Starting};
use crate::sys::reap::{self, Peeked};
use crate::sys::signals::SignalFd;
use crate::sys::{Pid, clock, memory, proc_memory, terminal};
use crate::unit::process::{ExitStatus, Signal};

const SIGNALS: Token = Token(0);
const STDERR: Token = Token(1);
/// The control socket.
pub(super) const CONTROL: Token = Token(2);
/// `NOTIFY_SOCKET`.
pub(super) const NOTIFY: Token = Token(3);
/// The channel to the journal process.
pub(super) const JOURNAL: Token = Token(4);
/// The socket of `--http`.
pub(super) const HTTP: Token = Token(5);
/// The error pipe of process n has token n + this.
const FIRST_PIPE: usize = 6;
/// What follows has this much room each: no counter gets so far.
const ROOM: usize = usize::MAX / 32;
/// Connections of probes.
pub(super) const FIRST_PROBE: usize = ROOM;
/// Main processes that are not our children.
pub(super) const FIRST_TAKEN: usize = 2 * ROOM;
/// Descriptors that services stored.
pub(super) const FIRST_STORED: usize = 3 * ROOM;
/// The `NotificationFd=` of process n has token n + this.
pub(super) const FIRST_READY: usize = 4 * ROOM;
/// Connections over HTTP.
pub(super) const FIRST_HTTP: usize = 5 * ROOM;
/// Control groups that may have news.
pub(super) const FIRST_GROUP: usize = 6 * ROOM;
/// Up to here.
const LAST: usize = 7 * ROOM;
/// The clients of the control socket have tokens from here on: no process gets so far.
pub(super) const FIRST_CLIENT: usize = usize::MAX / 2;

/// So many events are handled before the world is looked at again: a flood starves no deadline.
const BUDGET: usize = 256;

/// More events than this at once are a burst: the memory for them is given back after it.
const QUIET: usize = 32;

/// So many strays are reaped in one go; they are nobody's event.
const STRAYS: usize = 4096;

/// So many children may be on their way to their program before the first is asked again…
const NEWBORN: usize = 4;
/// …and so many are asked for each one more.
const NEWBORN_LOOKS: usize = 2;

/// A process whose end is being handled, and what is done with it after that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ToForget {
    /// A zombie of ours.
    Child(Pid),
    /// A dead main process that is somebody else's child.
    Stranger(Pid),
}

/// The shell around the manager.
#[derive(Debug)]
pub struct Shell {
    pub(super) manager: Manager,
    pub(super) table: ProcessTable,
    pub(super) members: Members,
    pub(super) memory: Memory,
    pub(super) watchdog: Watchdog,
    pub(super) container_oom: ContainerOom,
    pub(super) report: Reporter,
    pub(super) spawner: Spawner,
    pub(super) sockets: Holder,
    pub(super) freezer: Freezer,
    pub(super) reload: Reload,
    pub(super) control: Control,
    pub(super) http: Http,
    pub(super) figures: Figures,
    pub(super) notify: Notify,
    pub(super) probes: Probes,
    pub(super) strangers: Strangers,
    pub(super) ready_pipes: ReadyPipes,
    pub(super) upward: Upward,
    pub(super) journal: Journal,
    pub(super) boot_record: BootRecord,
    pub(super) poll: Poll,
    /// What performing an action brought.
    pub(super) inbox: VecDeque<Event>,
    /// [`Event::NothingLeft`] is waited for.
    pub(super) awaits_nothing: bool,
    /// Somebody may have died since the last look.
    pub(super) deaths: bool,
    signals: SignalFd,
    signals_ready: bool,
    arrived: VecDeque<Signal>,
    /// Children whose pipe is not in the poll yet.
    newborn: VecDeque<ProcessId>,
    /// Error pipes with news.
    ready: VecDeque<ProcessId>,
    /// Whose end is being handled.
    pub(super) to_forget: Option<ToForget>,
    timer_given: bool,
    /// Standard error is full; it is in the poll until it is not.
    stuck: Option<RawFd>,
    poll_failed: bool,
}

impl Shell {
    /// Everything in place, nothing started.
    ///
    /// # Errors
    /// No epoll or signal descriptor.
    pub fn new(
        manager: Manager,
        report: Reporter,
        spawner: Spawner,
        control: ControlConfig,
        reload: Reload,
    ) -> io::Result<Shell> {
        let poll = Poll::new()?;
        let mut signals = SignalFd::open()?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let server = Server::new(poll.registry().try_clone()?, FIRST_CLIENT);
        let connections = Connections::new(poll.registry().try_clone()?, FIRST_HTTP);
        Ok(Shell {
            manager,
            table: ProcessTable::default(),
            members: Members::new(),
            memory: Memory::default(),
            watchdog: Watchdog::default(),
            container_oom: ContainerOom::default(),
            report,
            spawner,
            sockets: Holder::default(),
            freezer: Freezer::default(),
            reload,
            control: Control::new(control, server),
            http: Http::new(connections),
            figures: Figures::new(now()),
            notify: Notify::new(),
            probes: Probes::default(),
            strangers: Strangers::default(),
            ready_pipes: ReadyPipes::default(),
            upward: Upward::default(),
            journal: Journal::new(false),
            boot_record: BootRecord::default(),
            poll,
            inbox: VecDeque::from([Event::Boot]),
            awaits_nothing: false,
            deaths: true, // children that the program before us in this pid left
            signals,
            signals_ready: true,
            arrived: VecDeque::new(),
            newborn: VecDeque::new(),
            ready: VecDeque::new(),
            to_forget: None,
            timer_given: false,
            stuck: None,
            poll_failed: false,
        })
    }

    /// Runs until the manager says exit; rinit's status.
    pub fn run(&mut self) -> u8 {
        let mut events = Events::with_capacity(BUDGET);
        loop {
            for _ in 0..BUDGET {
                let Some(event) = self.next_event() else { break };
                if let Some(code) = self.dispatch(event) {
                    self.finish();
                    return code;
                }
            }
            self.wait(&mut events);
        }
    }

    /// One event and everything that follows from it at once; the exit status if that is the end.
    fn dispatch(&mut self, event: Event) -> Option<u8> {
        self.figures.events += 1;
        self.manager.handle(now(), event);
        while let Some(action) = self.manager.poll_action() {
            match self.perform(action) {
                Performed::Done => {}
                Performed::Event(event) => self.inbox.push_back(event),
                Performed::Exit(code) => return Some(code),
            }
        }
        self.members.flush(&self.table);
        self.freezer.thaw(&mut self.members, &self.table);
        self.after_event();
        if let Some(gone) = self.to_forget.take() {
            self.forget(gone);
        }
        None
    }

    fn forget(&mut self, gone: ToForget) {
        let pid = match gone {
            ToForget::Child(pid) => {
                reap::reap(pid);
                self.container_oom.reaped(pid);
                pid
            }
            ToForget::Stranger(pid) => pid,
        };
        let process = self.table.remove(pid);
        if process.as_ref().is_some_and(|process| process.purpose == Purpose::Probe) {
            self.members.no_leader(pid);
        }
        self.members.reaped(pid, process.map(|process| process.unit));
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.inbox.pop_front() {
            return Some(event);
        }
        if let Some(event) = self.next_notice().or_else(|| self.next_ready()) {
            return Some(event);
        }
        if let Some(event) = self.next_exec_report() {
            return Some(event);
        }
        if let Some(event) = self.next_kill() {
            return Some(event);
        }
        if let Some(event) = self.next_death().or_else(|| self.next_stranger()) {
            return Some(event);
        }
        if !self.deaths
            && let Some(unit) = self.next_empty()
        {
            return Some(Event::Empty { unit });
        }
        if let Some(unit) = self.sockets.next_quiet() {
            return Some(Event::Quiet { unit });
        }
        if let Some(event) = self.next_memory() {
            return Some(event);
        }
        let (sockets, members) = (&self.sockets, &mut self.members);
        if let Some(unit) = self.freezer.next_still(now(), sockets, members, &self.table) {
            return Some(Event::Quiet { unit });
        }
        if let Some(event) = self.next_probed() {
            return Some(event);
        }
        if let Some(signal) = self.next_signal() {
            return Some(Event::Signal(signal));
        }
        if let Some(request) = self.next_request() {
            return Some(request);
        }
        if let Some(connection) = self.next_connection() {
            return Some(connection);
        }
        let due = self.manager.next_deadline().is_some_and(|deadline| deadline <= now());
        if due && !self.timer_given {
            self.timer_given = true;
            return Some(Event::Timer);
        }
        None
    }

    fn next_exec_report(&mut self) -> Option<Event> {
        while let Some(process) = self.ready.pop_front() {
            if self.take_report(process) {
                return Some(Event::Execed { process });
            }
        }
        None
    }

    fn is_probe(&self, id: ProcessId) -> bool {
        self.table.get(id).is_some_and(|process| process.purpose == Purpose::Probe)
    }

    /// Reads what a child says; whether it is the program now. A failure is kept for its death,
    /// which is its event.
    pub(super) fn take_report(&mut self, id: ProcessId) -> bool {
        let Some(process) = self.table.get_mut(id) else { return false };
        let Some(starting) = &mut process.starting else { return false };
        let state = starting.look();
        if state == ExecState::Pending {
            return false;
        }
        if process.watched
            && let Some(fd) = starting.descriptor()
        {
            // Not just closed: a sibling on its way to exec has a copy, and with it the
            // registration would live on.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
        let starting = process.starting.take();
        let (ExecState::Failed(report), Some(starting)) = (state, starting) else {
            if let Some(score) = process.oom_score_adjust {
                proc_memory::set_oom_score_adjust(process.pid, score);
            }
            return process.purpose != Purpose::Probe;
        };
        process.exec_error = Some(Box::new(starting.describe(report)));
        false
    }

    /// A child was born. By the time that a few more are, it has become the program: then its
    /// pipe never needs to be in the poll, and a boot of thousands has a handful open at a time.
    pub(super) fn newborn(&mut self, id: ProcessId) {
        self.newborn.push_back(id);
        for _ in 0..NEWBORN_LOOKS {
            if self.newborn.len() <= NEWBORN {
                return;
            }
            if let Some(id) = self.newborn.pop_front() {
                self.look_at_newborn(id);
            }
        }
    }

    fn look_at_newborn(&mut self, id: ProcessId) {
        let starting = self.table.get_mut(id).and_then(|process| process.starting.as_mut());
        let Some(starting) = starting else { return };
        match starting.look() {
            ExecState::Pending => self.newborn.push_back(id),
            ExecState::Execed | ExecState::Failed(_) => {
                starting.close();
                self.ready.push_back(id);
            }
        }
    }

    /// Whoever has not become the program before the loop waits is waited for.
    fn watch_newborn(&mut self) {
        for _ in 0..self.newborn.len() {
            if let Some(id) = self.newborn.pop_front() {
                self.look_at_newborn(id);
            }
        }
        for id in std::mem::take(&mut self.newborn) {
            let Some(process) = self.table.get_mut(id) else { continue };
            let Some(fd) = process.starting.as_ref().and_then(Starting::descriptor) else {
                continue;
            };
            let registry = self.poll.registry();
            match registry.register(&mut SourceFd(&fd), pipe_token(id), Interest::READABLE) {
                Ok(()) => process.watched = true,
                // Then its death is when its report is read.
                Err(error) => self.report.message(Level::Warn, format!("epoll: {error}")),
            }
        }
    }

    fn next_death(&mut self) -> Option<Event> {
        if !self.deaths {
            return None;
        }
        for _ in 0..STRAYS {
            let (pid, exit) = match reap::peek() {
                Peeked::Dead(pid, exit) => (pid, exit),
                Peeked::AllAlive => {
                    self.deaths = false;
                    self.container_oom.settle(now());
                    return self.is_alone_with_journal().then_some(Event::NothingLeft);
                }
                Peeked::NoChildren => {
                    self.deaths = false;
                    return std::mem::take(&mut self.awaits_nothing).then_some(Event::NothingLeft);
                }
            };
            if let Some(event) = self.last_words() {
                return Some(event); // the zombie is seen again
            }
            if let Some(event) = self.oom_of(pid, exit) {
                return Some(event); // likewise
            }
            match self.table.id_of(pid) {
                Some(process) => match self.on_death(process, pid, exit) {
                    Some(event) => return Some(event),
                    None => self.forget(ToForget::Child(pid)),
                },
                None => {
                    if self.journal.is(pid) {
                        self.journal_died(pid, exit);
                    }
                    reap::reap(pid);
                    self.container_oom.reaped(pid);
                    self.members.reaped(pid, None);
                }
            }
        }
        None
    }

    /// Whether it is waited for that nothing is left, and nothing but the journal is.
    fn is_alone_with_journal(&mut self) -> bool {
        let Some(journal) = self.journal.pid().filter(|_| self.awaits_nothing) else {
            return false;
        };
        match members::is_only_child(journal) {
            Some(true) => std::mem::take(&mut self.awaits_nothing),
            Some(false) => false,
            None => {
                // Without /proc its own end tells: it ends once nobody can write any more.
                self.journal.dismiss();
                false
            }
        }
    }

    /// One of ours is a zombie. What it still had to say about its exec comes first; if that was
    /// success, it is an event of its own, and the zombie is seen again.
    /// `None`: its end is nobody's event.
    fn on_death(&mut self, id: ProcessId, pid: Pid, exit: ExitStatus) -> Option<Event> {
        if self.take_report(id) {
            return Some(Event::Execed { process: id });
        }
        if self.take_ready(id) {
            return Some(Event::SaidReady { process: id });
        }
        let exec_error = self.table.get_mut(id).and_then(|process| {
            process.exited = true;
            process.exec_error.take().map(|error| *error)
        });
        if self.is_probe(id) {
            let answer = self.command_ended(id, exit, exec_error)?;
            self.to_forget = Some(ToForget::Child(pid));
            return Some(answer);
        }
        self.cancel_probes(id);
        self.to_forget = Some(ToForget::Child(pid));
        Some(Event::Exited { process: id, exit, exec_error })
    }

    fn next_signal(&mut self) -> Option<Signal> {
        if self.arrived.is_empty() {
            self.read_signals(); // the kernel's queue is bounded, ours would not be
        }
        self.arrived.pop_front()
    }

    fn read_signals(&mut self) {
        let mut got = Vec::new();
        while self.signals_ready && got.len() < BUDGET {
            // An error could only be a broken descriptor; the next readiness tries again.
            self.signals_ready = self.signals.read(&mut got).unwrap_or(false);
        }
        for signal in got {
            match signal {
                Signal::CHLD => self.deaths = true,
                signal => self.arrived.push_back(signal),
            }
        }
    }

    /// Once a burst is over: what its queues took goes back to the kernel.
    fn give_back(&mut self) {
        let burst = self.inbox.capacity().max(self.ready.capacity()) > 2 * QUIET;
        if burst && self.inbox.is_empty() && self.ready.is_empty() {
            self.inbox.shrink_to(QUIET);
            self.ready.shrink_to(QUIET);
            self.manager.shrink();
            self.table.shrink();
            self.members.shrink();
            self.journal.shrink();
            memory::trim();
        }
    }

    /// The one place that waits.
    fn wait(&mut self, events: &mut Events) {
        self.container_oom.begin();
        if let Some(warning) = self.members.warning() {
            self.report.message(Level::Warn, warning);
        }
        self.drop_unclaimed();
        self.tend_journal();
        self.tend_control();
        self.tend_http();
        self.drop_stored();
        self.notify.new_turn();
        self.watchdog.begin_turn();
        self.upward.turn(now());
        self.unstick();
        self.watch_newborn();
        let timeout = self.timeout();
        if timeout != Some(Duration::ZERO) {
            self.give_back();
        }
        self.timer_given = false;
        self.figures.turn_ends(now());
        let polled = self.poll.poll(events, timeout);
        self.figures.turn_begins(now());
        if let Err(error) = polled
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.poll_without_poll(&error, timeout);
            return;
        }
        for event in &*events {
            match event.token() {
                SIGNALS => self.signals_ready = true,
                STDERR => {}
                CONTROL => self.control_ready(event),
                HTTP => self.http.knock(),
                NOTIFY => self.notify.knock(),
                JOURNAL => self.journal.knock(),
                token if Shell::is_client(token) => self.control_ready(event),
                token if Holder::is_ours(token) => self.socket_ready(event),
                Token(token @ FIRST_PROBE..LAST) => self.on_token(token, event),
                Token(token) => {
                    let number = token.saturating_sub(FIRST_PIPE);
                    self.ready.push_back(ProcessId(u64::try_from(number).unwrap_or(0)));
                }
            }
        }
        self.read_signals(); // deaths come before signals, and this is how they are announced
    }

    /// Something of the ranges from [`FIRST_PROBE`] on has news.
    fn on_token(&mut self, token: usize, event: &mio::event::Event) {
        match token {
            FIRST_GROUP.. => self.memory.groups.knock(token - FIRST_GROUP, now()),
            FIRST_HTTP.. => self.http.on_ready(event),
            FIRST_READY.. => self.ready_pipes.knock(token - FIRST_READY),
            FIRST_STORED.. => self.stored_event(token - FIRST_STORED, event),
            FIRST_TAKEN.. => self.strangers.suspect(token - FIRST_TAKEN),
            _ => self.probes.knock(token.saturating_sub(FIRST_PROBE)),
        }
    }

    /// How long nothing can happen; `None`: until something does.
    fn timeout(&self) -> Option<Duration> {
        let pending = self.deaths
            || self.members.has_questions()
            || self.signals_ready
            || self.notify.has_work()
            || self.probes.has_work()
            || self.strangers.has_work()
            || self.ready_pipes.has_work()
            || self.memory.groups.has_work()
            || self.sockets.has_work()
            || !self.inbox.is_empty()
            || !self.arrived.is_empty()
            || !self.ready.is_empty()
            || self.control.has_work()
            || self.http.has_work();
        if pending {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.manager.next_deadline(),
            self.control.next_deadline(),
            self.http.next_deadline(),
            self.sockets.next_deadline(),
            self.freezer.next_deadline(),
            self.probes.next_deadline(),
            self.upward.next_deadline(),
            self.journal.next_deadline(),
            self.watchdog.next_deadline(),
            self.memory.groups.next_deadline(),
        ];
        let left = deadlines.into_iter().flatten().min()?.since(now());
        // A deadline that its own event did not move must not become a busy loop.
        let floor = if self.timer_given { Duration::from_millis(1) } else { Duration::ZERO };
        Some(left.max(floor))
    }

    /// epoll itself fails: look at everything, at least once a second.
    fn poll_without_poll(&mut self, error: &io::Error, timeout: Option<Duration>) {
        if !std::mem::replace(&mut self.poll_failed, true) {
            self.report.message(Level::Error, format!("epoll: {error}; looking every second"));
        }
        let second = Duration::from_secs(1);
        self.signals.wait(timeout.unwrap_or(second).min(second));
        (self.signals_ready, self.deaths) = (true, true);
        self.notify.knock();
        self.journal.knock();
        self.http.knock();
        self.ready.extend(self.table.starting());
        self.read_signals();
    }

    /// Writes what is queued; while the reader does not read, its room is one more event.
    fn unstick(&mut self) {
        let flushed = self.report.flush();
        match (flushed, self.stuck) {
            (true, Some(fd)) => {
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                self.stuck = None;
            }
            (false, None) => {
                let fd = self.report.descriptor();
                let registry = self.poll.registry();
                // What epoll does not take (a file) is never full; else the next turn tries.
                if registry.register(&mut SourceFd(&fd), STDERR, Interest::WRITABLE).is_ok() {
                    self.stuck = Some(fd);
                }
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Waits for a signal, at the very end only; that it came is all that matters.
    pub(super) fn wait_for_signal(&mut self, timeout: Duration) {
        self.signals.wait(timeout);
        while self.signals.read(&mut Vec::new()).unwrap_or(false) {}
    }

    /// Says why nothing is started.
    pub fn refuse(&mut self, message: &str) {
        self.report.message(Level::Error, format!("{message}; nothing was started"));
        self.report.flush();
    }

    fn finish(&mut self) {
        self.drop_unclaimed(); // all may have been over before the loop ever waited
        self.report.flush();
        self.finish_journal();
        self.close_control();
        self.close_http();
        self.memory.groups.remove_all();
        if let Some(fd) = self.spawner.terminal {
            terminal::take_back(fd);
        }
        self.report.flush();
    }
}

/// The token of a process's error pipe.
fn pipe_token(process: ProcessId) -> Token {
    Token(usize::try_from(process.0).unwrap_or(usize::MAX).saturating_add(FIRST_PIPE))
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_start(clock::monotonic())
}
