//! The sockets that rinit holds: opened for a unit, kept over the lives of its processes, closed.
//!
//! Not when (`manager::sockets`), not the system calls (`sys::listen`, `sys::listener`), and not
//! the control socket (`socket`). Each address of a unit is a [`Place`]: one socket, or with
//! `ReusePort=` one for each instance and some to spare (`group` says whose is which).
//! **Invariant:** a descriptor in here stays open until [`Holder::close`] of its unit; nothing is
//! ever taken from its queue but with `Accept=yes` (`accepted`).

mod accepted;
mod given;
mod group;
mod perform;
mod plan;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use self::accepted::Accepted;
use self::given::claim;
use self::group::Group;
use super::event_loop::now;
use super::journal::Ends;
use crate::manager::time::Timestamp;
use crate::sys::socket::{Address, set_nonblocking};
use crate::sys::steer::{self, Member, ProbeSource};
use crate::sys::{listen, listener};
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};
use crate::unit::{Unit, UnitKind, UnitName};

pub use self::accepted::{Newcomer, Remote};

/// Sockets that are waited on have tokens from here on, below those of clients.
pub(super) const FIRST_SOCKET: usize = usize::MAX / 4;

/// How often the queues of a unit that is about to stop are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// A connection is in no queue until its handshake is done, and with `DeferAcceptSec=` until it has
/// spoken: the workers get so long to take those that are about to. One that takes longer and was
/// steered to an instance that is gone by then waits for whoever takes that socket next.
const DEFERRED: Duration = Duration::from_millis(100);

/// One address, and the sockets there.
#[derive(Debug)]
struct Place {
    listen: Listen,
    /// Where it really is: port 0 is a real one here.
    address: Address,
    /// One, or several as `spread` says.
    sockets: Vec<OwnedFd>,
    spread: Spread,
}

/// Who has which socket of a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spread {
    /// All have the one.
    Shared,
    /// Datagrams: instance 1 the first, and so on. A replacement shares it with whom it replaces:
    /// what comes to a socket that nobody reads would be lost.
    ByNumber,
    /// TCP: as the [`Group`] says.
    ByMember,
}

/// The sockets of one unit.
#[derive(Debug)]
struct Held {
    socket: Socket,
    places: Vec<Place>,
    /// From where each member is probed, with `ReusePort=`.
    sources: Vec<Option<ProbeSource>>,
    group: Group,
    /// In the poll, under these tokens.
    watched: Vec<(usize, RawFd)>,
}

/// Queues that are being emptied.
#[derive(Debug)]
struct Emptying {
    unit: UnitName,
    /// Not before.
    from: Timestamp,
    next: Timestamp,
}

/// What one process is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// rinit's descriptors and their names, in order from 3 on.
    pub sockets: Vec<(RawFd, String)>,
    /// From where the connection is that is among them.
    pub remote: Option<Remote>,
    /// The ends of pipes to the journal.
    pub captured: Ends,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Holder {
    units: BTreeMap<UnitName, Held>,
    /// What a parent holds for us, until a unit claims it.
    given: Vec<(OwnedFd, String)>,
    emptying: Vec<Emptying>,
    accepted: Accepted,
    tokens: BTreeMap<usize, UnitName>,
    next_token: usize,
}

impl Holder {
    /// Opens the sockets of a unit; what is open at the same address already stays as it is.
    /// Warnings are added to `warnings`.
    ///
    /// # Errors
    /// The sentence; then nothing new is open.
    pub fn open(
        &mut self,
        unit: &Unit,
        instances: u32,
        registry: &Registry,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let Some(socket) = &unit.socket else { return Ok(()) };
        self.unwatch(&unit.name, registry); // whoever asked for them waits anew
        let other = |held: &Held| !is_opened_alike(&held.socket, socket);
        if self.units.get(&unit.name).is_some_and(other)
            && let Some(held) = self.units.remove(&unit.name)
        {
            // With other options even the same address is another socket.
            held.places.iter().for_each(|place| place.close(&held.socket));
        }
        let mut places = Vec::new();
        let old = self.units.get(&unit.name).map_or(&[][..], |held| &held.places);
        // First everything that is missing, so that an error leaves what was there.
        let names =
            [socket.descriptor_name.as_deref(), Some(unit.name.as_str()), Some(unit.name.stem())];
        let given = &mut self.given;
        for wanted in &socket.listen {
            let known = old.iter().find(|place| place.listen == *wanted);
            let have = known.map_or(0, |place| place.sockets.len());
            let at = known.map(|place| place.address.clone());
            if known.is_none()
                && let Some(place) = claim(given, wanted, &names)
            {
                if socket.accept {
                    // We accept ourselves, and wait for nobody.
                    let all = place.sockets.iter();
                    let set = all.map(|fd| set_nonblocking(fd.as_fd(), true));
                    set.collect::<io::Result<()>>().map_err(|error| format!("fcntl: {error}"))?;
                }
                places.push(place);
                continue;
            }
            let wanted_here = (have, count_of(wanted, unit, socket, instances));
            places.push(open_place(wanted, unit, socket, at, wanted_here, warnings)?);
        }
        let known = self.units.remove(&unit.name);
        let known = known.map(|held| (held.places, held.sources, held.group));
        let (mut old, sources, mut group) = known.unwrap_or_default();
        group.instances = instances;
        group.steers = unit.service.instances.is_some();
        for place in &mut places {
            if let Some(known) = old.iter().position(|known| known.listen == place.listen) {
                let known = old.swap_remove(known);
                let mut sockets = known.sockets;
                sockets.append(&mut place.sockets);
                place.sockets = sockets; // none of a reuseport group is closed alone
                place.spread = known.spread;
            }
        }
        old.iter().for_each(|place| place.close(socket));
        let (socket, watched) = ((**socket).clone(), Vec::new());
        let mut held = Held { socket, places, sources, group, watched };
        held.reserve_sources();
        self.units.insert(unit.name.clone(), held);
        Ok(())
    }

    /// An instance is about to have a main process: gives it its sockets, for good. If one is
    /// missing it is opened; where that fails it shares a sibling's, and the error is returned.
    ///
    /// # Errors
    /// The sentence.
    pub fn take_member(&mut self, unit: &Unit) -> Result<(), String> {
        let Some(group) = &unit.instance_of else { return Ok(()) };
        let Some(held) = self.units.get_mut(group) else { return Ok(()) };
        let first = held.places.iter().find(|place| place.spread == Spread::ByMember);
        let count = first.map_or(0, |place| place.sockets.len());
        if let Some(place) = first {
            let queued = |member: usize| {
                let fd = place.sockets.get(member);
                fd.and_then(|fd| listener::queue_length(fd.as_fd()).ok()).unwrap_or(0)
            };
            held.group.take(&unit.name, count, queued);
        }
        held.grow(unit).inspect_err(|_| held.group.share(&unit.name, count))
    }

    /// An instance goes by another name, with its sockets; the service whose it is, if it has any.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) -> Option<UnitName> {
        for emptying in self.emptying.iter_mut().filter(|emptying| emptying.unit == *from) {
            emptying.unit = to.clone();
        }
        let service = service_of(from)?;
        self.units.get_mut(&service)?.group.rename(from, to).then_some(service)
    }

    /// The processes of an instance are gone; the service, if a socket became free by that.
    pub fn release(&mut self, unit: &UnitName) -> Option<UnitName> {
        let service = service_of(unit)?;
        self.units.get_mut(&service)?.group.release(unit).then_some(service)
    }

    /// Sockets that a parent passed to rinit: the units claim them by name or address.
    pub fn inherit(&mut self, given: Vec<(OwnedFd, String)>) {
        self.given = given;
    }

    /// Closes what no unit has claimed by the time that all have what they need; a sentence each.
    pub fn close_unclaimed(&mut self) -> Vec<String> {
        let sentence = |(fd, name): (OwnedFd, String)| {
            let address = listener::local_address(fd.as_fd()).unwrap_or(Address::Unnamed);
            format!("the inherited socket {name:?} at {address} is no unit's; closed")
        };
        std::mem::take(&mut self.given).into_iter().map(sentence).collect()
    }

    /// Ends listening for everybody, and lets go.
    pub fn close(&mut self, unit: &UnitName, registry: &Registry) {
        self.unwatch(unit, registry);
        self.emptying.retain(|emptying| emptying.unit != *unit);
        self.accepted.forget(unit);
        if let Some(held) = self.units.remove(unit) {
            held.places.iter().for_each(|place| place.close(&held.socket));
        }
    }

    /// Puts the sockets of a unit in the poll: the first connection is news.
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn watch(&mut self, unit: &UnitName, registry: &Registry) -> io::Result<()> {
        self.unwatch(unit, registry);
        let Some(held) = self.units.get_mut(unit) else { return Ok(()) };
        for socket in held.places.iter().flat_map(|place| &place.sockets) {
            let token = self.next_token;
            self.next_token = self.next_token.wrapping_add(1) % FIRST_SOCKET;
            let fd = socket.as_raw_fd();
            let token_in_poll = Token(FIRST_SOCKET + token);
            registry.register(&mut SourceFd(&fd), token_in_poll, Interest::READABLE)?;
            held.watched.push((token, fd));
            self.tokens.insert(token, unit.clone());
        }
        Ok(())
    }

    /// Takes them out of the poll again.
    fn unwatch(&mut self, unit: &UnitName, registry: &Registry) {
        let Some(held) = self.units.get_mut(unit) else { return };
        for (token, fd) in held.watched.drain(..) {
            // Not just closed: others hold the same open file, and with it the registration.
            let _ = registry.deregister(&mut SourceFd(&fd));
            self.tokens.remove(&token);
        }
    }

    /// Whether a token is one of ours.
    pub fn is_ours(token: Token) -> bool {
        (FIRST_SOCKET..FIRST_SOCKET.saturating_mul(2)).contains(&token.0)
    }

    /// Somebody connects: the unit whose socket it is, which is waited on no more. With
    /// `Accept=yes` that is for [`Holder::next_accepted`].
    pub fn connected(&mut self, token: Token, registry: &Registry) -> Option<UnitName> {
        let unit = self.tokens.get(&token.0.checked_sub(FIRST_SOCKET)?)?.clone();
        if self.units.get(&unit).is_some_and(|held| held.socket.accept) {
            self.accepted.knock(unit);
            return None;
        }
        self.unwatch(&unit, registry);
        Some(unit)
    }

    /// Looks at the queues of a unit, or of an instance, from now on. Those of a whole unit are
    /// about to be closed: they refuse new connects; an instance has been steered away from.
    pub fn quiesce(&mut self, unit: &UnitName) {
        let (whole, mut deferred) = (self.units.contains_key(unit), false);
        for (place, fd) in self.of(unit).filter(|(place, _)| place.is_tcp()) {
            deferred |= self.defers(unit) || (!whole && place.spread == Spread::ByMember);
            if whole {
                // Before Linux 5.7 the queue only runs empty if nobody comes for a moment.
                let _ = listener::refuse_new(fd.as_fd());
            }
        }
        let wait = if deferred { DEFERRED } else { Duration::ZERO };
        let from = now().after(wait);
        self.emptying.retain(|emptying| emptying.unit != *unit);
        self.emptying.push(Emptying { unit: unit.clone(), from, next: from });
    }

    /// The ports of the TCP sockets that an instance shares with its siblings.
    pub fn shared_ports(&self, unit: &UnitName) -> Vec<u16> {
        let port = |place: &Place| match place.address {
            Address::Inet(address) => Some(address.port()),
            Address::Path(_) | Address::Abstract(_) | Address::Unnamed => None,
        };
        self.shared(unit).into_iter().filter_map(port).collect()
    }

    /// Whether somebody waits in the queues that an instance shares with its siblings.
    pub fn shared_queues(&self, unit: &UnitName) -> bool {
        let sockets = self.shared(unit).into_iter().flat_map(|place| &place.sockets);
        let mut lengths = sockets.filter_map(|fd| listener::queue_length(fd.as_fd()).ok());
        lengths.any(|length| length > 0)
    }

    fn shared(&self, unit: &UnitName) -> Vec<&Place> {
        let service = service_of(unit).filter(|_| !self.units.contains_key(unit));
        let owners = service.map(|service| self.owners(&service)).unwrap_or_default();
        let held = owners.into_iter().filter_map(|owner| self.units.get(&owner));
        let places = held.flat_map(|held| &held.places);
        places.filter(|place| place.is_tcp() && place.spread == Spread::Shared).collect()
    }

    fn defers(&self, unit: &UnitName) -> bool {
        let held = self.units.get(unit).or_else(|| self.units.get(&service_of(unit)?));
        held.is_some_and(|held| !held.socket.defer_accept.is_zero())
    }

    /// Nobody waits for the queues to be empty any more.
    pub fn resume(&mut self, unit: &UnitName) {
        self.emptying.retain(|emptying| emptying.unit != *unit);
    }

    /// Lets new connections go to these instances only, and probes to the one they are for.
    ///
    /// # Errors
    /// The kernel's: then it spreads them over all sockets.
    pub fn steer(&mut self, unit: &UnitName, ready: &[u32]) -> io::Result<()> {
        if let Some(held) = self.units.get_mut(unit) {
            held.group.ready = ready.to_vec();
        }
        self.steer_again(unit)
    }

    /// The same instances as before, that may have other sockets now.
    ///
    /// # Errors
    /// As [`Holder::steer`].
    pub fn steer_again(&self, unit: &UnitName) -> io::Result<()> {
        let held = self.units.get(unit).filter(|held| held.group.steers);
        let Some(held) = held else { return Ok(()) };
        let open = held.group.open_members();
        for place in held.places.iter().filter(|place| place.spread == Spread::ByMember) {
            let member = |index: usize| Member {
                ready: open.contains(&index),
                probe_port: held.source(index).map(ProbeSource::port),
            };
            let members: Vec<Member> = (0..place.sockets.len()).map(member).collect();
            if let Some(first) = place.sockets.first() {
                steer::attach(first.as_fd(), &members)?;
            }
        }
        Ok(())
    }

    /// From where a probe of an instance must come to reach it and no sibling.
    pub fn probe_source(&self, unit: &UnitName) -> Option<SocketAddr> {
        let held = self.units.get(&service_of(unit)?)?;
        Some(held.source(held.group.member_of(unit)?)?.address())
    }

    /// The inodes of what a main process is passed: what it must wait on to be ready to accept.
    pub fn inodes(&self, unit: &Unit) -> Vec<u64> {
        let owner = unit.instance_of.as_ref().unwrap_or(&unit.name);
        let own = self.of(&unit.name).map(|(_, fd)| fd);
        let own = own.filter(|_| self.units.contains_key(owner));
        let others = unit.sockets.iter().flat_map(|dependency| self.of(&dependency.name));
        let all = own.chain(others.map(|(_, fd)| fd));
        all.filter_map(|fd| listener::inode(fd.as_fd()).ok()).collect()
    }

    /// How many connections wait for the unit; `None`: it has no socket that could say.
    pub fn queued(&self, unit: &UnitName) -> Option<u32> {
        let lengths = self.of(unit).filter_map(|(_, fd)| listener::queue_length(fd.as_fd()).ok());
        lengths.reduce(u32::saturating_add)
    }

    /// Where a probe without an address of its own goes: the first TCP stream.
    pub fn first_address(&self, unit: &Unit) -> Option<SocketAddr> {
        let owner = unit.instance_of.as_ref().unwrap_or(&unit.name);
        let owners = std::iter::once(owner).chain(unit.sockets.iter().map(|it| &it.name));
        let places = owners.filter_map(|owner| self.units.get(owner)).flat_map(|it| &it.places);
        places.filter(|place| place.is_tcp()).find_map(|place| match place.address {
            Address::Inet(address) => Some(address),
            Address::Path(_) | Address::Abstract(_) | Address::Unnamed => None,
        })
    }

    /// A unit whose queues are empty now.
    pub fn next_quiet(&mut self) -> Option<UnitName> {
        let now = now();
        let due = |emptying: &&Emptying| emptying.next <= now;
        let units: Vec<UnitName> =
            self.emptying.iter().filter(due).map(|emptying| emptying.unit.clone()).collect();
        for unit in units {
            let waits = self.of(&unit).filter(|(place, _)| place.is_tcp());
            let waits = waits.filter_map(|(_, fd)| listener::queue_length(fd.as_fd()).ok());
            let empty = waits.sum::<u32>() == 0;
            if empty {
                self.emptying.retain(|emptying| emptying.unit != unit);
                return Some(unit);
            }
            for emptying in self.emptying.iter_mut().filter(|emptying| emptying.unit == unit) {
                emptying.next = now.after(LOOK);
            }
        }
        None
    }

    /// When the queues are to be looked at again.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let emptying = self.emptying.iter().map(|emptying| emptying.next.max(emptying.from));
        emptying.chain(self.accepted.next_deadline()).min()
    }

    /// The next connection of a socket with `Accept=yes`: it is ours until the service that is to
    /// serve it has a main process.
    ///
    /// # Errors
    /// The sentence.
    pub fn next_accepted(&mut self, registry: &Registry) -> Result<Option<Newcomer>, String> {
        while let Some(socket) = self.accepted.next() {
            if self.accepted.is_unwatched(&socket) && self.watch(&socket, registry).is_err() {
                self.accepted.cannot_watch(&socket);
            }
            let Some(held) = self.units.get(&socket) else { continue };
            let listeners = held.places.iter().flat_map(|place| &place.sockets).map(AsFd::as_fd);
            let listeners: Vec<_> = listeners.collect();
            if let Some(newcomer) = self.accepted.take(&socket, &held.socket, &listeners)? {
                return Ok(Some(newcomer));
            }
        }
        Ok(None)
    }

    /// The poll does not take the sockets of this unit; whether it has Accept=yes, and they are
    /// looked at every now and then.
    pub fn cannot_watch(&mut self, unit: &UnitName) -> bool {
        let accepts = self.units.get(unit).is_some_and(|held| held.socket.accept);
        if accepts {
            self.accepted.cannot_watch(unit);
        }
        accepts
    }

    /// The unit could not be started for want of room, which is tried again.
    pub fn no_room(&mut self, unit: &UnitName) {
        self.accepted.no_room(unit);
    }

    /// The main process of the unit has its connection, or will never be.
    pub fn let_go(&mut self, unit: &UnitName) {
        self.accepted.let_go(unit);
    }

    /// Whether there may be a connection to take.
    pub fn has_work(&self) -> bool {
        self.accepted.has_work()
    }

    /// What the main process of a unit is passed: its connection, or its own sockets, then those
    /// of `Sockets=`.
    pub fn passed(&self, unit: &Unit) -> Passed {
        if let Some((fd, remote)) = self.accepted.of(&unit.name) {
            if unit.service.non_blocking {
                let _ = set_nonblocking(fd, true);
            }
            let sockets = vec![(fd.as_raw_fd(), accepted::NAME.to_owned())];
            return Passed { sockets, remote, ..Passed::default() };
        }
        let own = unit.instance_of.as_ref().unwrap_or(&unit.name);
        let mut owners = vec![own.clone()];
        owners.extend(unit.sockets.iter().map(|dependency| dependency.name.clone()));
        for name in self.owners(own) {
            if !owners.contains(&name) {
                owners.push(name);
            }
        }
        let mut passed = Passed::default();
        for owner in owners {
            let Some(held) = self.units.get(&owner) else { continue };
            let name = held.socket.descriptor_name.clone();
            let name = name.unwrap_or_else(|| owner.as_str().to_owned());
            for place in &held.places {
                let fd = held.of_instance(place, &unit.name).map(AsRawFd::as_raw_fd);
                passed.sockets.extend(fd.map(|fd| (fd, name.clone())));
            }
        }
        passed
    }

    /// A service, and the socket units that start it.
    fn owners(&self, service: &UnitName) -> Vec<UnitName> {
        let sockets = self.units.iter().filter(|(name, _)| name.kind() == UnitKind::Socket);
        let starts = |(name, held): &(&UnitName, &Held)| {
            let target = held.socket.service.clone().or_else(|| service_of_socket(name));
            target.as_ref() == Some(service) && !held.socket.accept
        };
        let sockets = sockets.filter(starts).map(|(name, _)| name.clone());
        std::iter::once(service.clone()).chain(sockets).collect()
    }

    /// The sockets of a unit with their places; of an instance, its own or the shared ones.
    fn of<'a>(&'a self, unit: &'a UnitName) -> impl Iterator<Item = (&'a Place, &'a OwnedFd)> {
        let whole = self.units.get(unit);
        let group = service_of(unit).filter(|_| whole.is_none());
        let group = group.and_then(|group| self.units.get(&group));
        let whole = whole.into_iter().flat_map(|held| &held.places);
        let whole = whole.flat_map(|place| place.sockets.iter().map(move |fd| (place, fd)));
        let own = group.into_iter().flat_map(|held| held.places.iter().map(move |it| (held, it)));
        whole.chain(own.filter_map(move |(held, it)| Some((it, held.of_instance(it, unit)?))))
    }
}

impl Held {
    /// The socket of an instance, or the one that all share.
    fn of_instance<'a>(&self, place: &'a Place, unit: &UnitName) -> Option<&'a OwnedFd> {
        let index = match place.spread {
            Spread::Shared => None,
            Spread::ByNumber => number_of(unit).and_then(|number| number.checked_sub(1)),
            Spread::ByMember => self.group.member_of(unit),
        };
        index.and_then(|index| place.sockets.get(index)).or(place.sockets.first())
    }

    /// From where a member is probed.
    fn source(&self, member: usize) -> Option<&ProbeSource> {
        self.sources.get(member)?.as_ref()
    }

    /// Opens the sockets that an instance has and that are not there yet.
    fn grow(&mut self, unit: &Unit) -> Result<(), String> {
        for place in &mut self.places {
            let count = match place.spread {
                Spread::Shared => continue,
                Spread::ByNumber => number_of(&unit.name).unwrap_or(1),
                Spread::ByMember => self.group.member_of(&unit.name).map_or(1, |it| it + 1),
            };
            let at = Some(place.address.clone());
            let wanted = (place.sockets.len(), count);
            let mut more =
                open_place(&place.listen, unit, &self.socket, at, wanted, &mut Vec::new())?;
            place.sockets.append(&mut more.sockets);
        }
        self.reserve_sources();
        Ok(())
    }

    /// Each member has a source port of its own for probes.
    fn reserve_sources(&mut self) {
        let place = self.places.iter().find(|place| place.spread == Spread::ByMember);
        let Some(place) = place.filter(|_| self.group.steers) else { return };
        for _ in self.sources.len()..place.sockets.len() {
            self.sources.push(place.probe_source());
        }
    }
}

impl Place {
    /// A source port for probes; without one an instance cannot be probed by itself.
    fn probe_source(&self) -> Option<ProbeSource> {
        match &self.address {
            Address::Inet(address) if self.is_tcp() => ProbeSource::reserve(address.ip()).ok(),
            Address::Inet(_) | Address::Path(_) | Address::Abstract(_) | Address::Unnamed => None,
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self.address, Address::Inet(_)) && self.listen.kind == ListenKind::Stream
    }

    fn close(&self, socket: &Socket) {
        self.sockets.iter().for_each(end);
        if let (Address::Path(path), true) = (&self.address, socket.remove_on_stop) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Also for those who hold it beside us; a FIFO is none, and a datagram socket is not connected.
fn end(fd: &OwnedFd) {
    let _ = listener::shutdown(fd.as_fd());
}

/// `web.service` of `web@2.service`.
fn service_of(unit: &UnitName) -> Option<UnitName> {
    unit.instance()?;
    UnitName::service(unit.prefix()).ok()
}

/// 2 of `web@2.service`.
fn number_of(unit: &UnitName) -> Option<usize> {
    unit.instance()?.parse().ok()
}

/// Whom `web.socket` starts unless it says otherwise.
fn service_of_socket(unit: &UnitName) -> Option<UnitName> {
    UnitName::service(unit.stem()).ok()
}

/// Whether the sockets of both have the same options; their addresses are not compared.
fn is_opened_alike(one: &Socket, other: &Socket) -> bool {
    let bare = |socket: &Socket| Socket {
        listen: Vec::new(),
        service: None,
        descriptor_name: None,
        max_connections: 0,
        max_connections_per_source: 0,
        poll_limit_burst: 0,
        poll_limit_interval: Duration::ZERO,
        trigger_limit_burst: 0,
        trigger_limit_interval: Duration::ZERO,
        opens_late: false,
        remove_on_stop: false,
        ..socket.clone()
    };
    bare(one) == bare(other)
}

/// Who has which socket at an address.
fn spread(wanted: &Listen, socket: &Socket) -> Spread {
    match (&wanted.address, wanted.kind) {
        (ListenAddress::Port(_) | ListenAddress::Ip(_), kind) if socket.reuse_port => match kind {
            ListenKind::Stream => Spread::ByMember,
            ListenKind::Datagram | ListenKind::SequentialPacket | ListenKind::Fifo => {
                Spread::ByNumber
            }
        },
        (_, _) => Spread::Shared,
    }
}

/// How many sockets an address gets: with spare ones for as many replacements as there may be at
/// a time.
fn count_of(wanted: &Listen, unit: &Unit, socket: &Socket, instances: u32) -> usize {
    let spares = || unit.service.rolling_update.parallelism.clamp(1, instances.max(1));
    let spares = unit.service.instances.map_or(0, |_| spares());
    let count = match spread(wanted, socket) {
        Spread::Shared => 1,
        Spread::ByNumber => instances.max(1),
        Spread::ByMember => instances.max(1).saturating_add(spares),
    };
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Opens what a place lacks: it has some of so many.
fn open_place(
    wanted: &Listen,
    unit: &Unit,
    socket: &Socket,
    at: Option<Address>,
    (have, count): (usize, usize),
    warnings: &mut Vec<String>,
) -> Result<Place, String> {
    let mut plan = plan::plan(wanted, unit, socket)?;
    let mut place = Place {
        listen: wanted.clone(),
        address: at.clone().unwrap_or(Address::Unnamed),
        sockets: Vec::new(),
        spread: spread(wanted, socket),
    };
    if let Some(address) = at {
        plan.address = listen::ListenAddress::At(address);
    }
    for _ in have..count {
        let opened = listen::open(&plan).map_err(|error| {
            let shown = plan::shown(&wanted.address);
            format!("{}={shown}: {}", wanted.kind.directive(), error.message)
        })?;
        warnings.extend(opened.warnings);
        place.sockets.push(opened.fd);
        if wanted.kind != ListenKind::Fifo {
            // The same one for the next, should the kernel have chosen the port.
            plan.address = listen::ListenAddress::At(opened.address.clone());
        }
        place.address = opened.address;
    }
    Ok(place)
}
