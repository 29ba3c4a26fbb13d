//! Connections that rinit takes itself, of sockets with `Accept=yes`.
//!
//! Not who serves them (`manager::connections`). **Invariant:** a connection is in here from
//! accept(2) until the main process of its service has it or [`Accepted::let_go`]; nothing waits,
//! and one socket whose connections come in a flood leaves the others their turn; those that were taken
//! can be served before others are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::super::event_loop::now;
use crate::manager::time::Timestamp;
use crate::sys::socket::Address;
use crate::sys::{listener, peer};
use crate::unit::UnitName;
use crate::unit::socket::Socket;

/// After an error that may pass (no descriptor is left) the sockets are looked at again so soon.
const AGAIN: Duration = Duration::from_millis(100);

/// A start takes so many descriptors at most (the pipes of its streams, of its exec and of
/// `NotificationFd=`): a connection without them could only be held, and take their place.
const ROOM: usize = 8;

/// Its name in LISTEN_FDNAMES (systemd.socket(5), FileDescriptorName=).
pub(super) const NAME: &str = "connection";

/// Where a connection comes from, as `REMOTE_ADDR` and `REMOTE_PORT` say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// An IP address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// One that was taken.
#[derive(Debug)]
struct Connection {
    fd: OwnedFd,
    remote: Option<Remote>,
}

/// One that was taken just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Newcomer {
    /// The socket unit.
    pub socket: UnitName,
    /// The service that is to serve it.
    pub unit: UnitName,
    /// From where it comes: an address, or a user.
    pub source: String,
}

/// How fast connections are taken (`PollLimitBurst=` in `PollLimitIntervalSec=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pace {
    begun: Timestamp,
    count: u32,
}

/// A socket from which connections are taken.
#[derive(Debug, Default)]
struct Listening {
    /// How many there were.
    count: u64,
    pace: Option<Pace>,
    /// Which of its listeners had the last one.
    turn: usize,
    /// It is looked at then, and not before.
    later: Option<Timestamp>,
    /// The poll does not take it: it is looked at every now and then.
    unwatched: bool,
}

/// All of them, and the sockets that may have more.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    ready: VecDeque<UnitName>,
    sockets: BTreeMap<UnitName, Listening>,
    waiting: BTreeMap<UnitName, Connection>,
    /// Those of them whose service could not be started for want of room.
    stuck: BTreeSet<UnitName>,
    /// It was said that accept(2) fails; not again before it works.
    told: bool,
}

impl Accepted {
    fn of_socket(&mut self, socket: &UnitName) -> &mut Listening {
        self.sockets.entry(socket.clone()).or_default()
    }

    /// A socket may have connections.
    pub(super) fn knock(&mut self, socket: UnitName) {
        if self.of_socket(&socket).later.is_none() && !self.ready.contains(&socket) {
            self.ready.push_back(socket);
        }
    }

    /// The socket is closed. How many connections it had stays known: names are not given twice.
    pub(super) fn forget(&mut self, socket: &UnitName) {
        self.ready.retain(|ready| ready != socket);
        if let Some(known) = self.sockets.get_mut(socket) {
            *known = Listening { count: known.count, ..Listening::default() };
        }
    }

    /// The poll does not take it.
    pub(super) fn cannot_watch(&mut self, socket: &UnitName) {
        let known = self.of_socket(socket);
        (known.unwatched, known.later) = (true, Some(now().after(AGAIN)));
    }

    /// Whether it is to be put into the poll once more.
    pub(super) fn is_unwatched(&mut self, socket: &UnitName) -> bool {
        std::mem::take(&mut self.of_socket(socket).unwatched)
    }

    /// The socket whose turn it is.
    pub(super) fn next(&mut self) -> Option<UnitName> {
        let now = now();
        let due = self.sockets.iter_mut().filter_map(|(socket, known)| {
            known.later.take_if(|at| *at <= now).map(|_| socket.clone())
        });
        for socket in due.collect::<Vec<_>>() {
            self.knock(socket);
        }
        self.ready.pop_front()
    }

    /// Takes one of the connections that wait at these listeners; `None`: there is none.
    ///
    /// # Errors
    /// What is worth a warning: accept(2)'s error, or that they come too fast. They are looked at
    /// again a little later.
    pub(super) fn take(
        &mut self,
        unit: &UnitName,
        socket: &Socket,
        listeners: &[BorrowedFd<'_>],
    ) -> Result<Option<Newcomer>, String> {
        let Some(template) = &socket.service else { return Ok(None) };
        if !self.stuck.is_empty() {
            // The next would take the descriptors that they wait for.
            self.of_socket(unit).later = Some(now().after(AGAIN));
            return Ok(None);
        }
        if let Some(wait) = self.pause(unit, socket) {
            self.of_socket(unit).later = Some(now().after(wait));
            let (burst, interval) = (socket.poll_limit_burst, socket.poll_limit_interval);
            return Err(format!(
                "{unit}: {burst} connections within {interval:?} (PollLimitBurst=): the next wait \
                 {wait:.1?}"
            ));
        }
        let (fd, peer) = match self.accept(unit, listeners) {
            Ok(Some(found)) => found,
            Err(error) => {
                self.of_socket(unit).later = Some(now().after(AGAIN));
                let text = format!("{unit}: accept: {error}; who connects waits until it can");
                return if std::mem::replace(&mut self.told, true) { Ok(None) } else { Err(text) };
            }
            Ok(None) => return Ok(None),
        };
        self.told = false;
        let pace = self.of_socket(unit).pace.get_or_insert(Pace { begun: now(), count: 0 });
        pace.count += 1;
        self.knock(unit.clone()); // there may be more: after the others
        Ok(self.admit(unit, template, fd, &peer))
    }

    /// How long to wait before the next.
    fn pause(&mut self, unit: &UnitName, socket: &Socket) -> Option<Duration> {
        let (burst, interval) = (socket.poll_limit_burst, socket.poll_limit_interval);
        if burst == 0 || interval.is_zero() {
            return None;
        }
        // A window begins with a connection, and not with its end.
        let over = |pace: &mut Pace| now().since(pace.begun) >= interval;
        let known = self.of_socket(unit);
        known.pace.take_if(over);
        let pace = known.pace.filter(|pace| pace.count >= burst)?;
        Some(pace.begun.after(interval).since(now()))
    }

    /// Begins behind the listener that had its turn last, so that none is left out.
    fn accept(
        &mut self,
        unit: &UnitName,
        listeners: &[BorrowedFd<'_>],
    ) -> io::Result<Option<(OwnedFd, Address)>> {
        listeners.first().map_or(Ok(()), has_room)?;
        let first = self.of_socket(unit).turn;
        for at in (0..listeners.len()).map(|step| (first + step) % listeners.len()) {
            let Some(fd) = listeners.get(at) else { break };
            match listener::accept(*fd)? {
                listener::Accepted::Connection(fd, peer) => {
                    self.of_socket(unit).turn = at + 1;
                    return Ok(Some((fd, peer)));
                }
                listener::Accepted::Gone => self.knock(unit.clone()), // others may be behind it
                listener::Accepted::Nobody => {}
            }
        }
        Ok(None)
    }

    fn admit(
        &mut self,
        socket: &UnitName,
        template: &UnitName,
        fd: OwnedFd,
        peer: &Address,
    ) -> Option<Newcomer> {
        let known = self.of_socket(socket);
        let number = known.count;
        known.count += 1;
        let (ends, source, remote) = ends(fd.as_fd(), peer);
        let unit = UnitName::service(&format!("{}@{number}{ends}", template.prefix())).ok()?;
        self.waiting.insert(unit.clone(), Connection { fd, remote });
        Some(Newcomer { socket: socket.clone(), unit, source })
    }

    /// The connection that a service is to serve.
    pub(super) fn of(&self, unit: &UnitName) -> Option<(BorrowedFd<'_>, Option<Remote>)> {
        let connection = self.waiting.get(unit)?;
        Some((connection.fd.as_fd(), connection.remote.clone()))
    }

    /// There was no room to start its service, which is tried again: till then nobody is taken.
    pub(super) fn no_room(&mut self, unit: &UnitName) {
        if self.waiting.contains_key(unit) {
            self.stuck.insert(unit.clone());
        }
    }

    /// Its main process has it, or nobody ever will: our copy is closed.
    pub(super) fn let_go(&mut self, unit: &UnitName) {
        self.waiting.remove(unit);
        self.stuck.remove(unit);
    }

    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.sockets.values().filter_map(|known| known.later).min()
    }
}

/// Whether a service can be started, too.
fn has_room(fd: &BorrowedFd<'_>) -> io::Result<()> {
    let room: io::Result<Vec<OwnedFd>> = (0..ROOM).map(|_| fd.try_clone_to_owned()).collect();
    room.map(drop)
}

/// What tells a connection from others: in its name, where systemd has both ends or who it is; from
/// where it comes, for its limit; and for the program.
fn ends(fd: BorrowedFd<'_>, peer: &Address) -> (String, String, Option<Remote>) {
    match peer {
        Address::Inet(peer) => {
            let local = match listener::local_address(fd) {
                Ok(Address::Inet(local)) => end(local),
                Ok(_) | Err(_) => String::new(),
            };
            let remote =
                Remote { address: peer.ip().to_canonical().to_string(), port: peer.port() };
            (local + &end(*peer), remote.address.clone(), Some(remote))
        }
        Address::Path(_) | Address::Abstract(_) | Address::Unnamed => match peer::of(&fd) {
            Ok(peer) => (format!("-{}-{}", peer.pid, peer.uid), format!("user {}", peer.uid), None),
            Err(_) => (String::new(), "user ?".to_owned(), None),
        },
    }
}

/// IPv4 in IPv6 is IPv4.
fn end(address: SocketAddr) -> String {
    format!("-{}:{}", address.ip().to_canonical(), address.port())
}
