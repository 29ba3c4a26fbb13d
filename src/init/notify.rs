//! `NOTIFY_SOCKET`: what processes of units say of themselves becomes an event (sd_notify(3)).
//!
//! Not the socket (`sys::notify`), not the grammar (`unit::notification`) and not what it means
//! for the unit (`manager`): who it was, whether it may, what descriptors came along. **Invariant:** a
//! message is handled before the death of who sent it, and a flood of them costs a bounded part
//! of a turn.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::event_loop::{FIRST_STORED, NOTIFY, Shell};
use super::processes::Purpose;
use super::report::Level;
use crate::manager::event::{Event, Fact, Notice, NoticeState, ProcessId, ProcessRole, Watchdog};
use crate::manager::state::SubState;
use crate::manager::time::Timestamp;
use crate::sys::Pid;
use crate::sys::notify::{Notification, NotifySocket};
use crate::unit::notification::{NotifyMessage, WatchdogMessage};
use crate::unit::service::{NotifyAccess, StorePreserve};
use crate::unit::{Unit, UnitName};
use store::{Kept, Store};

/// So many messages are read in a turn before others have theirs.
const MESSAGES_A_TURN: usize = 128;

/// So many are read before one death is handled: more than the kernel queues by default
/// (net.unix.max_dgram_qlen), so those of the dead are among them.
const MESSAGES_A_DEATH: usize = 1024;

/// The name of a stored descriptor that was given none (sd_pid_notify_with_fds(3)).
const STORED: &str = "stored";

/// What a unit's processes may do here.
#[derive(Clone, Copy, Debug)]
struct Terms {
    access: NotifyAccess,
    store_max: u32,
    preserve: StorePreserve,
}

/// Who said something.
struct Sender {
    pid: Pid,
    uid: u32,
    unit: UnitName,
    /// One that rinit forked for the manager, or took as a main process.
    process: Option<ProcessId>,
    /// It is a main process; a control process else.
    main: bool,
}

/// The socket and what came of it.
#[derive(Debug)]
pub(super) struct Notify {
    /// Opened for the first service that is to have it.
    socket: Option<NotifySocket>,
    ready: bool,
    left: usize,
    left_before_death: usize,
    terms: BTreeMap<UnitName, Terms>,
    store: Store,
    /// Ended, and what they stored goes unless they are about to be started again.
    ended: BTreeSet<UnitName>,
}

impl Notify {
    pub(super) fn new() -> Notify {
        Notify {
            socket: None,
            ready: false,
            left: MESSAGES_A_TURN,
            left_before_death: MESSAGES_A_DEATH,
            terms: BTreeMap::new(),
            store: Store::default(),
            ended: BTreeSet::new(),
        }
    }

    /// Somebody said something.
    pub(super) fn knock(&mut self) {
        self.ready = true;
    }

    /// A new turn begins.
    pub(super) fn new_turn(&mut self) {
        self.left = MESSAGES_A_TURN;
    }

    pub(super) fn has_work(&self) -> bool {
        self.ready
    }

    /// The unit has another name from now on.
    pub(super) fn rename(&mut self, from: &UnitName, to: &UnitName) {
        if let Some(terms) = self.terms.remove(from) {
            self.terms.insert(to.clone(), terms);
        }
        self.store.rename(from, to);
        if self.ended.remove(from) {
            self.ended.insert(to.clone());
        }
    }

    /// What a main process is handed back, with the names.
    pub(super) fn stored(&self, unit: &UnitName) -> Vec<(RawFd, String)> {
        self.store.of(unit).map(|(fd, name)| (fd, name.to_owned())).collect()
    }

    /// `NFileDescriptorStore`.
    pub(super) fn n_stored(&self, unit: &UnitName) -> usize {
        self.store.count(unit)
    }

    fn receive(&mut self) -> Option<Notification> {
        // An error is a broken datagram: the next one may be better, and is looked for next turn.
        let datagram = self.socket.as_ref()?.receive().unwrap_or(None);
        self.ready &= datagram.is_some();
        datagram
    }
}

/// Whether a process of this role is to know of the socket (systemd.service(5), NotifyAccess=).
fn is_told(access: NotifyAccess, role: ProcessRole) -> bool {
    match access {
        NotifyAccess::None => false,
        NotifyAccess::Main => role == ProcessRole::ExecStart,
        NotifyAccess::Exec | NotifyAccess::All => true,
    }
}

impl Terms {
    fn allow(&self, sender: &Sender) -> bool {
        match self.access {
            NotifyAccess::None => false,
            NotifyAccess::Main => sender.main,
            NotifyAccess::Exec => sender.process.is_some(),
            NotifyAccess::All => true,
        }
    }
}

impl Shell {
    /// `NOTIFY_SOCKET` for a process of a unit, if it is to have one.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub(super) fn notify_address(
        &mut self,
        unit: &Unit,
        role: ProcessRole,
    ) -> std::io::Result<Option<String>> {
        let service = &unit.service;
        if service.notify_access == NotifyAccess::None {
            return Ok(None);
        }
        let terms = Terms {
            access: service.notify_access,
            store_max: service.descriptor_store_max,
            preserve: service.descriptor_store_preserve,
        };
        self.notify.terms.insert(unit.name.clone(), terms);
        if !is_told(service.notify_access, role) {
            return Ok(None);
        }
        if self.notify.socket.is_none() {
            let socket = NotifySocket::open()?;
            let fd = socket.as_raw_fd();
            self.poll.registry().register(&mut SourceFd(&fd), NOTIFY, Interest::READABLE)?;
            self.notify.socket = Some(socket);
        }
        Ok(self.notify.socket.as_ref().map(|socket| socket.name().to_owned()))
    }

    /// The next thing that somebody said, within this turn's share.
    pub(super) fn next_notice(&mut self) -> Option<Event> {
        while self.notify.ready && self.notify.left > 0 {
            self.notify.left -= 1;
            let datagram = self.notify.receive()?;
            if let Some(event) = self.hear(datagram) {
                return Some(event);
            }
        }
        None
    }

    /// Somebody is dead: what was said before comes before. `None` once all of it was heard.
    pub(super) fn last_words(&mut self) -> Option<Event> {
        while self.notify.left_before_death > 0 {
            self.notify.left_before_death -= 1;
            let Some(datagram) = self.notify.receive() else { break };
            if let Some(event) = self.hear(datagram) {
                return Some(event);
            }
        }
        self.notify.left_before_death = MESSAGES_A_DEATH;
        None
    }

    /// A barrier needs nothing: its descriptor is closed here, and all that came before is done.
    fn hear(&mut self, datagram: Notification) -> Option<Event> {
        let message = NotifyMessage::parse(&datagram.text);
        if message.barrier && datagram.descriptors.len() == 1 {
            return None;
        }
        if datagram.too_long || datagram.descriptors_lost {
            let what = if datagram.too_long { "a message" } else { "descriptors in a message" };
            let text = format!("NOTIFY_SOCKET: {what} of pid {} could not be taken", datagram.pid);
            self.report.message(Level::Warn, text);
        }
        let Some(sender) = self.sender(&datagram) else {
            let text = format!(
                "pid {} wrote to NOTIFY_SOCKET, but is no process of a unit: not heard",
                datagram.pid
            );
            self.report.message(Level::Debug, text);
            return None;
        };
        self.keep_descriptors(&sender, &message, datagram.descriptors);
        let main = message.main_pid.and_then(|pid| self.main_pid(&sender, pid));
        let notice = Notice { main, ..notice(&message) };
        if notice == Notice::default() {
            return None;
        }
        let (unit, process) = (sender.unit, sender.process);
        self.bring_forward(&unit);
        self.inbox.push_back(Event::Notified { unit, process, notice });
        self.inbox.pop_front()
    }

    /// Who says something has become the program before: the manager hears that first.
    pub(super) fn bring_forward(&mut self, unit: &UnitName) {
        for process in self.table.starting_of(unit) {
            if self.take_report(process) {
                self.inbox.push_back(Event::Execed { process });
            }
        }
    }

    fn sender(&mut self, datagram: &Notification) -> Option<Sender> {
        let (pid, uid) = (datagram.pid, datagram.uid);
        let known = self.table.id_of(pid).and_then(|id| Some((id, self.table.get(id)?)));
        let Some((id, process)) = known else {
            let unit = self.members.identify(pid, &self.table)?;
            return Some(Sender { pid, uid, unit, process: None, main: false });
        };
        let (process_id, main) = match process.purpose {
            Purpose::Role(role) => (Some(id), role == ProcessRole::ExecStart),
            Purpose::Taken { .. } => (Some(id), true),
            Purpose::Probe => (None, false),
        };
        Some(Sender { pid, uid, unit: process.unit.clone(), process: process_id, main })
    }

    /// Its terms, if it may say something.
    fn terms_of(&mut self, sender: &Sender, what: &str) -> Option<Terms> {
        let terms = self.notify.terms.get(&sender.unit).copied();
        let terms = terms.filter(|terms| terms.allow(sender));
        if terms.is_none() {
            let text = format!(
                "{}: {what} of pid {} is not allowed (NotifyAccess)",
                sender.unit, sender.pid
            );
            self.report.message(Level::Debug, text);
        }
        terms
    }

    fn main_pid(&mut self, sender: &Sender, pid: Pid) -> Option<ProcessId> {
        self.terms_of(sender, "MAINPID")?;
        match self.take_main(&sender.unit, pid, sender.uid == 0) {
            Ok(main) => Some(main),
            Err(why) => {
                let text = format!("{}: MAINPID={pid} is not taken: {why}", sender.unit);
                self.report.message(Level::Warn, text);
                None
            }
        }
    }

    /// `FDSTORE=1` and `FDSTOREREMOVE=1`; what is not kept is closed by being dropped.
    fn keep_descriptors(&mut self, sender: &Sender, message: &NotifyMessage, fds: Vec<OwnedFd>) {
        if !message.fdstore && !message.fdstoreremove {
            return;
        }
        let Some(terms) = self.terms_of(sender, "FDSTORE") else { return };
        let unit = &sender.unit;
        if message.fdstoreremove {
            if let Some(name) = &message.fdname {
                let registry = self.poll.registry();
                self.notify.store.remove(unit, name, |fd| forget(registry, fd));
            }
            return;
        }
        let name = message.fdname.as_deref().unwrap_or(STORED);
        for fd in fds {
            let raw = fd.as_raw_fd();
            match self.notify.store.add(unit, name, fd, terms.store_max) {
                Kept::As(serial) if message.fdpoll => {
                    let token = Token(FIRST_STORED.saturating_add(serial));
                    let registry = self.poll.registry();
                    // What epoll does not take (a file) never hangs up.
                    if registry.register(&mut SourceFd(&raw), token, Interest::PRIORITY).is_ok() {
                        self.notify.store.watched(unit, serial);
                    }
                }
                Kept::As(_) | Kept::Duplicate => {}
                Kept::Full => {
                    let text = format!(
                        "{unit}: FDSTORE: a descriptor was closed: FileDescriptorStoreMax={} is \
                         reached",
                        terms.store_max
                    );
                    self.report.message(Level::Warn, text);
                }
            }
        }
    }

    /// The other end of a stored descriptor is gone.
    pub(super) fn stored_event(&mut self, serial: usize, event: &mio::event::Event) {
        if event.is_error() || event.is_read_closed() || event.is_write_closed() {
            let registry = self.poll.registry();
            self.notify.store.hung_up(serial, |fd| forget(registry, fd));
        }
    }

    /// What a change of state means for what the unit stored.
    pub(super) fn note_end(&mut self, fact: &Fact) {
        let Fact::State { unit, to, .. } = fact else { return };
        let Some(terms) = self.notify.terms.get(unit) else { return };
        let goes = match (to, terms.preserve) {
            (_, StorePreserve::Yes) => false,
            (SubState::AutoRestart, StorePreserve::No) => true,
            (to, StorePreserve::No | StorePreserve::Restart) => {
                matches!(to, SubState::Dead | SubState::Failed)
            }
        };
        if goes {
            self.notify.ended.insert(unit.clone());
        } else {
            self.notify.ended.remove(unit);
        }
    }

    /// What was stored by who ended, and no job will start, is dropped.
    pub(super) fn drop_stored(&mut self) {
        if self.notify.ended.is_empty() {
            return;
        }
        for unit in std::mem::take(&mut self.notify.ended) {
            let preserve = self.notify.terms.get(&unit).map(|terms| terms.preserve);
            let status = self.manager.unit_status(&unit);
            let has_job = status.is_some_and(|status| status.job.is_some());
            if has_job && preserve == Some(StorePreserve::Restart) {
                self.notify.ended.insert(unit);
                continue;
            }
            let registry = self.poll.registry();
            self.notify.store.clear(&unit, |fd| forget(registry, fd));
            self.notify.terms.remove(&unit);
        }
    }
}

/// What of a message concerns the life of the unit.
fn notice(message: &NotifyMessage) -> Notice {
    let reload_began =
        || message.monotonic_usec.map(|since| Timestamp::from_start(Duration::from_micros(since)));
    let state = if message.stopping {
        Some(NoticeState::Stopping)
    } else if message.ready {
        Some(NoticeState::Ready)
    } else if message.reloading {
        Some(NoticeState::Reloading(reload_began()))
    } else {
        None
    };
    let watchdog = message.watchdog.map(|watchdog| match watchdog {
        WatchdogMessage::Ping => Watchdog::Ping,
        WatchdogMessage::Trigger => Watchdog::Trigger,
    });
    Notice {
        state,
        status: message.status.as_deref().map(one_line),
        errno: message.errno,
        main: None,
        extend_timeout: message.extend_timeout_usec.map(Duration::from_micros),
        watchdog,
        watchdog_period: message.watchdog_usec.map(Duration::from_micros),
    }
}

/// A terminal will be shown it.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Not just closed: the service may have a copy, and with it the registration would live on.
fn forget(registry: &mio::Registry, fd: RawFd) {
    let _ = registry.deregister(&mut SourceFd(&fd));
}
