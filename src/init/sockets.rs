//! The sockets that rinit holds: opened for a unit, kept over the lives of its processes, closed.
//!
//! Not when (`manager::sockets`), not the system calls (`sys::listen`, `sys::listener`), and not
//! the control socket (`socket`). Each address of a unit is a [`Place`]: one socket, or with
//! `ReusePort=` one for each instance. **Invariant:** a descriptor in here stays open until
//! [`Holder::close`] of its unit; nothing is ever taken from its queue.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use mio::event::Event as Readiness;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::event_loop::{Shell, now};
use super::report::Level;
use crate::manager::event::Event;
use crate::manager::time::Timestamp;
use crate::sys::identity::Database;
use crate::sys::listen::{self, FileAccess};
use crate::sys::listener;
use crate::sys::socket::{Address, SocketKind};
use crate::sys::steer::{self, Member, ProbeSource};
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};
use crate::unit::{Unit, UnitKind, UnitName};

/// Sockets that are waited on have tokens from here on, below those of clients.
pub(super) const FIRST_SOCKET: usize = usize::MAX / 4;

/// How often the queues of a unit that is about to stop are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// With `DeferAcceptSec=` a connection is in no queue until it has spoken: the workers get so
/// long to take those that are about to.
const DEFERRED: Duration = Duration::from_millis(100);

/// One address, and the sockets there.
#[derive(Debug)]
struct Place {
    listen: Listen,
    /// Where it really is: port 0 is a real one here.
    address: Address,
    /// One, or that of instance 1, 2, and so on.
    sockets: Vec<OwnedFd>,
}

/// The sockets of one unit.
#[derive(Debug)]
struct Held {
    socket: Socket,
    places: Vec<Place>,
    /// From where each instance is probed, with `ReusePort=`.
    sources: Vec<Option<ProbeSource>>,
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
}

/// All of them.
#[derive(Debug, Default)]
pub struct Holder {
    units: BTreeMap<UnitName, Held>,
    /// What a parent holds for us, until a unit claims it.
    given: Vec<(OwnedFd, String)>,
    emptying: Vec<Emptying>,
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
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let Some(socket) = &unit.socket else { return Ok(()) };
        let per_place = if socket.reuse_port { instances.max(1) } else { 1 };
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
                places.push(place);
                continue;
            }
            places.push(open_place(wanted, unit, socket, (have, at), per_place, warnings)?);
        }
        let known = self.units.remove(&unit.name).map(|held| (held.places, held.sources));
        let (mut old, mut sources) = known.unwrap_or_default();
        for place in &mut places {
            if let Some(known) = old.iter().position(|known| known.listen == place.listen) {
                let mut sockets = old.swap_remove(known).sockets;
                sockets.append(&mut place.sockets);
                place.sockets = sockets; // none of a reuseport group is closed alone
            }
        }
        old.iter().for_each(|place| place.close(socket));
        let instances = if socket.reuse_port { places.first().map_or(0, Place::count) } else { 0 };
        for _ in sources.len()..instances {
            sources.push(places.first().and_then(Place::probe_source));
        }
        let held = Held { socket: (**socket).clone(), places, sources, watched: Vec::new() };
        self.units.insert(unit.name.clone(), held);
        Ok(())
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

    /// Somebody connects: the unit whose socket it is, which is waited on no more.
    pub fn connected(&mut self, token: Token, registry: &Registry) -> Option<UnitName> {
        let unit = self.tokens.get(&token.0.checked_sub(FIRST_SOCKET)?)?.clone();
        self.unwatch(&unit, registry);
        Some(unit)
    }

    /// Looks at the queues of a unit, or of an instance, from now on. Those of a whole unit are
    /// about to be closed: they refuse new connects; an instance has been steered away from.
    pub fn quiesce(&mut self, unit: &UnitName) {
        let (whole, mut deferred) = (self.units.contains_key(unit), false);
        for (_, fd) in self.of(unit).filter(|(place, _)| place.is_tcp()) {
            deferred |= self.defers(unit);
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
    /// The kernel's: then it spreads them over all instances.
    pub fn steer(&self, unit: &UnitName, ready: &[u32]) -> io::Result<()> {
        let Some(held) = self.units.get(unit) else { return Ok(()) };
        for place in held.places.iter().filter(|place| place.is_tcp()) {
            let members = (1u32..).zip(&place.sockets).zip(&held.sources);
            let members = members.map(|((number, _), source)| Member {
                ready: ready.contains(&number),
                probe_port: source.as_ref().map(ProbeSource::port),
            });
            let members: Vec<Member> = members.collect();
            if let Some(first) = place.sockets.first() {
                steer::attach(first.as_fd(), &members)?;
            }
        }
        Ok(())
    }

    /// From where a probe of an instance must come to reach it and no sibling.
    pub fn probe_source(&self, unit: &UnitName) -> Option<SocketAddr> {
        let held = self.units.get(&service_of(unit)?)?;
        let number = unit.instance()?.parse::<usize>().ok()?.checked_sub(1)?;
        Some(held.sources.get(number)?.as_ref()?.address())
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
        self.emptying.iter().map(|emptying| emptying.next.max(emptying.from)).min()
    }

    /// What the main process of a unit is passed: its own sockets, then those of `Sockets=`.
    pub fn passed(&self, unit: &Unit) -> Passed {
        let own = unit.instance_of.as_ref().unwrap_or(&unit.name);
        let mut owners = vec![own.clone()];
        owners.extend(unit.sockets.iter().map(|dependency| dependency.name.clone()));
        for (name, held) in self.units.iter().filter(|(name, _)| name.kind() == UnitKind::Socket) {
            let triggers = held.socket.service.clone().or_else(|| service_of_socket(name));
            if triggers.as_ref() == Some(own) && !owners.contains(name) {
                owners.push(name.clone());
            }
        }
        let mut passed = Passed::default();
        for owner in owners {
            let Some(held) = self.units.get(&owner) else { continue };
            let name = held.socket.descriptor_name.clone();
            let name = name.unwrap_or_else(|| owner.as_str().to_owned());
            for place in &held.places {
                let fd = place.of_instance(&unit.name).map(AsRawFd::as_raw_fd);
                passed.sockets.extend(fd.map(|fd| (fd, name.clone())));
            }
        }
        passed
    }

    /// The sockets of a unit with their places; of an instance, its own or the shared ones.
    fn of<'a>(&'a self, unit: &'a UnitName) -> impl Iterator<Item = (&'a Place, &'a OwnedFd)> {
        let whole = self.units.get(unit);
        let group = service_of(unit).filter(|_| whole.is_none());
        let group = group.and_then(|group| self.units.get(&group));
        let whole = whole.into_iter().flat_map(|held| &held.places);
        let whole = whole.flat_map(|place| place.sockets.iter().map(move |fd| (place, fd)));
        let own = group.into_iter().flat_map(|held| &held.places);
        whole.chain(own.filter_map(move |place| Some((place, place.of_instance(unit)?))))
    }
}

impl Place {
    fn count(&self) -> usize {
        self.sockets.len()
    }

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

    /// The socket of an instance, or the one that all share.
    fn of_instance(&self, unit: &UnitName) -> Option<&OwnedFd> {
        let number = unit.instance().and_then(|number| number.parse::<usize>().ok());
        match number {
            Some(number) if self.sockets.len() > 1 => self.sockets.get(number.checked_sub(1)?),
            Some(_) | None => self.sockets.first(),
        }
    }

    fn close(&self, socket: &Socket) {
        self.sockets.iter().for_each(end);
        if let (Address::Path(path), true) = (&self.address, socket.remove_on_stop) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An inherited socket of this kind that has one of these names, or else this address.
fn claim(
    given: &mut Vec<(OwnedFd, String)>,
    wanted: &Listen,
    names: &[Option<&str>],
) -> Option<Place> {
    let is_kind = |fd: &OwnedFd| {
        let kind = listener::kind(fd.as_fd()).ok().flatten();
        wanted.kind != ListenKind::Fifo && kind == Some(kind_of(wanted.kind))
    };
    let at = |fd: &OwnedFd| listener::local_address(fd.as_fd()).unwrap_or(Address::Unnamed);
    let named = |(fd, name): &(OwnedFd, String)| is_kind(fd) && names.contains(&Some(name));
    let placed = |(fd, _): &(OwnedFd, String)| is_kind(fd) && is_at(&wanted.address, &at(fd));
    let found = given.iter().position(named).or_else(|| given.iter().position(placed))?;
    let (fd, _) = given.remove(found);
    Some(Place { listen: wanted.clone(), address: at(&fd), sockets: vec![fd] })
}

fn is_at(wanted: &ListenAddress, address: &Address) -> bool {
    match (wanted, address) {
        (ListenAddress::Port(port), Address::Inet(at)) => {
            at.port() == *port && at.ip().is_unspecified()
        }
        (ListenAddress::Ip(wanted), Address::Inet(at)) => wanted == at,
        (ListenAddress::Path(wanted), Address::Path(at)) => Path::new(wanted) == at,
        (ListenAddress::Abstract(wanted), Address::Abstract(at)) => wanted.as_bytes() == at,
        (_, _) => false,
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

/// Whom `web.socket` starts unless it says otherwise.
fn service_of_socket(unit: &UnitName) -> Option<UnitName> {
    UnitName::service(unit.stem()).ok()
}

/// Opens what a place lacks.
fn open_place(
    wanted: &Listen,
    unit: &Unit,
    socket: &Socket,
    (have, at): (usize, Option<Address>),
    instances: u32,
    warnings: &mut Vec<String>,
) -> Result<Place, String> {
    let mut plan = plan(wanted, unit, socket)?;
    let mut place = Place {
        listen: wanted.clone(),
        address: at.clone().unwrap_or(Address::Unnamed),
        sockets: Vec::new(),
    };
    if let Some(address) = at {
        plan.address = listen::ListenAddress::At(address);
    }
    for _ in have..usize::try_from(instances).unwrap_or(usize::MAX) {
        let opened = listen::open(&plan).map_err(|error| {
            format!("{}={}: {}", wanted.kind.directive(), shown(&wanted.address), error.message)
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

/// From the unit's words to those of the system.
fn plan(wanted: &Listen, unit: &Unit, socket: &Socket) -> Result<listen::Listen, String> {
    let address = match (&wanted.address, wanted.kind) {
        (ListenAddress::Path(path), ListenKind::Fifo) => listen::ListenAddress::Fifo(path.into()),
        (ListenAddress::Port(port), _) => listen::ListenAddress::Port(*port),
        (ListenAddress::Ip(ip), _) => listen::ListenAddress::At(Address::Inet(*ip)),
        (ListenAddress::Path(path), _) => {
            listen::ListenAddress::At(Address::Path(Path::new(path).to_path_buf()))
        }
        (ListenAddress::Abstract(name), _) => {
            listen::ListenAddress::At(Address::Abstract(name.clone().into_bytes()))
        }
    };
    let kind = kind_of(wanted.kind);
    let number = |bytes: Option<u64>| bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    let mut plan = listen::Listen::new(address, kind);
    plan.bind_ipv6_only = socket.bind_ipv6_only;
    plan.backlog = socket.backlog;
    plan.reuse_port = socket.reuse_port;
    plan.defer_accept = whole_seconds(socket.defer_accept);
    plan.no_delay = socket.no_delay;
    plan.keep_alive = socket.keep_alive;
    plan.free_bind = socket.free_bind;
    plan.pass_credentials = socket.pass_credentials;
    plan.receive_buffer = number(socket.receive_buffer);
    plan.send_buffer = number(socket.send_buffer);
    plan.nonblocking = unit.service.non_blocking;
    plan.access = access(socket)?;
    Ok(plan)
}

fn kind_of(kind: ListenKind) -> SocketKind {
    match kind {
        ListenKind::Stream | ListenKind::Fifo => SocketKind::Stream,
        ListenKind::Datagram => SocketKind::Datagram,
        ListenKind::SequentialPacket => SocketKind::SequentialPacket,
    }
}

/// The kernel counts whole seconds; a part of one is one more, for 0 would be off.
fn whole_seconds(time: Duration) -> u32 {
    let part = u64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs().saturating_add(part)).unwrap_or(u32::MAX)
}

fn access(socket: &Socket) -> Result<FileAccess, String> {
    let mut access = FileAccess {
        mode: socket.mode,
        directory_mode: socket.directory_mode,
        user: None,
        group: None,
    };
    if socket.user.is_none() && socket.group.is_none() {
        return Ok(access);
    }
    let database = Database::read().map_err(|error| format!("/etc/passwd, /etc/group: {error}"))?;
    if let Some(user) = &socket.user {
        let account = database.account(user);
        let account =
            account.ok_or_else(|| format!("SocketUser={user}: no such user in /etc/passwd"))?;
        (access.user, access.group) = (Some(account.uid), Some(account.gid));
    }
    if let Some(group) = &socket.group {
        let gid = database.group(group);
        access.group =
            Some(gid.ok_or_else(|| format!("SocketGroup={group}: no such group in /etc/group"))?);
    }
    Ok(access)
}

/// As it was written.
fn shown(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Port(port) => port.to_string(),
        ListenAddress::Ip(ip) => ip.to_string(),
        ListenAddress::Path(path) => path.clone(),
        ListenAddress::Abstract(name) => format!("@{name}"),
    }
}

impl Shell {
    pub(super) fn open_sockets(&mut self, unit: &Unit, instances: u32) -> Event {
        let mut warnings = Vec::new();
        let outcome = self.sockets.open(unit, instances, &mut warnings);
        for warning in warnings {
            self.report.message(Level::Warn, format!("{}: {warning}", unit.name));
        }
        Event::Listening { unit: unit.name.clone(), outcome }
    }

    pub(super) fn unlisten(&mut self, unit: &UnitName) {
        self.sockets.close(unit, self.poll.registry());
    }

    /// If the poll does not take it, somebody might as well be there.
    pub(super) fn await_connection(&mut self, unit: UnitName) -> Option<Event> {
        match self.sockets.watch(&unit, self.poll.registry()) {
            Ok(()) => None,
            Err(error) => {
                let text = format!("{unit}: epoll: {error}; starting it at once");
                self.report.message(Level::Warn, text);
                Some(Event::Connection { unit })
            }
        }
    }

    pub(super) fn steer(&mut self, unit: &UnitName, ready: &[u32]) {
        if let Err(error) = self.sockets.steer(unit, ready) {
            let text = format!(
                "{unit}: SO_ATTACH_REUSEPORT_CBPF: {error}; new connections go to every instance, \
                 ready or not"
            );
            self.report.message(Level::Warn, text);
        }
    }

    /// A socket that is waited on has news.
    pub(super) fn socket_ready(&mut self, event: &Readiness) {
        if let Some(unit) = self.sockets.connected(event.token(), self.poll.registry()) {
            self.inbox.push_back(Event::Connection { unit });
        }
    }
}
