//! The clients: their sockets, what they asked, what they still get.
//!
//! Not the listening socket and not who may connect (`init::control`), nor what a call does.
//! **Invariant:** every call that asks for a reply gets exactly one last one, or its client is
//! gone; no client keeps more than [`OUTPUT_MAX`] bytes and one reply, and none is waited for.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use serde_json::Value;

use super::answer::{Asked, answer};
use super::events::{Event, Ring};
use super::interface::Call;
use super::output::Output;
use super::protocol::{self, Error, Input, MESSAGE_MAX, Malformed, Message};
use crate::manager::event::{ClientId, Reply};
use crate::manager::time::Timestamp;
use crate::unit::UnitName;

/// So many clients are connected at once.
pub const CLIENTS_MAX: usize = 64;

/// So many of them listen to events.
pub const LISTENERS_MAX: usize = 32;

/// So many of them listen or wait for a job: the others are for who asks something short.
pub const LONG_MAX: usize = 56;

/// A client that does not read gets no more of its calls answered once so much waits for it.
pub const OUTPUT_MAX: usize = 256 << 10;

/// So much may wait for all clients together, however few and however large their replies.
const OUTPUT_ALL: usize = 8 << 20;

/// A client that has read nothing for so long, although something waits for it, may lose its place.
const STALLED: Duration = Duration::from_secs(5);

/// So many messages are taken in one turn of the loop.
const MESSAGES_A_TURN: usize = 64;

/// Read at once.
const CHUNK: usize = 4096;

/// Which connection; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Connection(pub usize);

/// Who called, and how it wants its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    connection: Connection,
    /// It takes several replies.
    pub more: bool,
    /// It takes none.
    pub oneway: bool,
}

/// What a client is in the middle of.
#[derive(Debug)]
enum Doing {
    Nothing,
    /// The manager has not replied yet. With `progress` it hears of its unit meanwhile, from this
    /// event on.
    Waiting {
        id: ClientId,
        asked: Asked,
        progress: Option<u64>,
    },
    /// It listens, from this event on; `dropped` were lost before.
    Listening {
        unit: Option<UnitName>,
        next: u64,
        dropped: u64,
    },
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    /// As in `uid 0, pid 123`.
    who: String,
    input: Input,
    output: Output,
    doing: Doing,
    readable: bool,
    writable: bool,
    /// It will send no more.
    ended: bool,
    /// It will read no more.
    gone: bool,
    /// Once everything is written it is closed.
    closing: bool,
    /// When it last read or wrote something.
    active: Timestamp,
}

/// What a client has for us.
enum Next {
    Message(Vec<u8>),
    Nothing,
    TooLong,
    Gone,
}

impl Client {
    fn next_message(&mut self, now: Timestamp) -> Next {
        let busy = !matches!(self.doing, Doing::Nothing);
        if self.closing || busy || self.output.len() > OUTPUT_MAX {
            return Next::Nothing;
        }
        loop {
            if let Some(message) = self.input.next_message() {
                self.active = now;
                return Next::Message(message);
            }
            if self.input.is_too_long() {
                return Next::TooLong;
            }
            if self.ended {
                self.closing = true; // what was asked may still be on its way to it
                return if self.output.is_empty() { Next::Gone } else { Next::Nothing };
            }
            if !self.readable {
                return Next::Nothing;
            }
            let mut chunk = [0; CHUNK];
            let room = self.input.room().min(CHUNK);
            match self.stream.read(chunk.get_mut(..room).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(count) => self.input.push(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Gone,
            }
        }
    }

    /// Writes what can be written; false if nobody reads any more.
    fn flush(&mut self, now: Timestamp) -> bool {
        while self.writable && !self.output.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.stream.as_raw_fd(), self.output.next(), flags) {
                Ok(count) => {
                    self.output.wrote(count);
                    self.active = now;
                }
                Err(Errno::EAGAIN) => self.writable = false,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn is_long(&self) -> bool {
        !matches!(self.doing, Doing::Nothing)
    }

    /// How readily its place is given to another; the smaller, the sooner. `None`: not at all.
    fn claim(&self, now: Timestamp) -> Option<(u8, Timestamp)> {
        let stalled = !self.output.is_empty() && now.since(self.active) >= STALLED;
        match self.doing {
            // It has been told, or will not hear it.
            _ if self.closing => Some((if stalled { 0 } else { 2 }, self.active)),
            Doing::Nothing if self.output.is_empty() => Some((1, self.active)),
            Doing::Nothing | Doing::Listening { .. } if stalled => Some((2, self.active)),
            Doing::Nothing | Doing::Listening { .. } | Doing::Waiting { .. } => None,
        }
    }
}

/// All clients.
#[derive(Debug)]
pub struct Server {
    clients: BTreeMap<Connection, Client>,
    registry: Registry,
    /// The token of connection n is n + this.
    first_token: usize,
    last_connection: usize,
    last_id: u64,
    /// Who may have something to say.
    turn: VecDeque<Connection>,
    messages_left: usize,
    /// What is to be logged.
    notes: Vec<String>,
}

impl Server {
    /// No clients yet; their tokens begin at `first_token`.
    pub fn new(registry: Registry, first_token: usize) -> Server {
        Server {
            clients: BTreeMap::new(),
            registry,
            first_token,
            last_connection: 0,
            last_id: 0,
            turn: VecDeque::new(),
            messages_left: MESSAGES_A_TURN,
            notes: Vec::new(),
        }
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Takes a client in, if need be in the place of one that has no use for it; false if there
    /// is no place, of which it was told.
    #[must_use]
    pub fn admit(&mut self, stream: UnixStream, who: String, now: Timestamp) -> bool {
        if stream.set_nonblocking(true).is_err() {
            return false;
        }
        if self.clients.len() >= CLIENTS_MAX && !self.make_room(now) {
            let reason = format!("{CLIENTS_MAX} clients are connected; try again");
            turn_away(&stream, &Error::Refused { unit: None, reason });
            return false;
        }
        self.last_connection += 1;
        let connection = Connection(self.last_connection);
        let token = Token(self.first_token.saturating_add(connection.0));
        let interest = Interest::READABLE | Interest::WRITABLE;
        let mut source = SourceFd(&stream.as_raw_fd());
        if self.registry.register(&mut source, token, interest).is_err() {
            let reason = "no room to watch another client; try again".to_owned();
            turn_away(&stream, &Error::Refused { unit: None, reason });
            return false;
        }
        let client = Client {
            stream,
            who,
            input: Input::default(),
            output: Output::default(),
            doing: Doing::Nothing,
            readable: true,
            writable: true,
            ended: false,
            gone: false,
            closing: false,
            active: now,
        };
        self.clients.insert(connection, client);
        self.turn.push_back(connection); // most have asked before they are accepted
        true
    }

    /// Closes the client that needs its place least; false if all need theirs.
    fn make_room(&mut self, now: Timestamp) -> bool {
        let claims = self.clients.iter().filter_map(|(id, client)| Some((client.claim(now)?, *id)));
        let Some(((rank, _), connection)) = claims.min() else { return false };
        if let Some(client) = self.clients.get(&connection)
            && rank == 1
        {
            let reason = "closed: another client needed the place".to_owned();
            turn_away(&client.stream, &Error::Refused { unit: None, reason });
        }
        self.close(connection);
        true
    }

    fn close(&mut self, connection: Connection) {
        if let Some(client) = self.clients.remove(&connection) {
            // Not just closed: a child between fork and exec has a copy of the descriptor.
            let _ = self.registry.deregister(&mut SourceFd(&client.stream.as_raw_fd()));
        }
    }

    /// Gives a caller's connection away: another process answers on it.
    pub fn release(&mut self, caller: Caller, now: Timestamp) -> Option<OwnedFd> {
        let mut client = self.clients.remove(&caller.connection)?;
        client.flush(now);
        let _ = self.registry.deregister(&mut SourceFd(&client.stream.as_raw_fd()));
        Some(client.stream.into())
    }

    /// What the poll said about a token of ours.
    pub fn on_ready(&mut self, event: &mio::event::Event) {
        let number = event.token().0.saturating_sub(self.first_token);
        let connection = Connection(number);
        let Some(client) = self.clients.get_mut(&connection) else { return };
        client.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        client.writable |= event.is_writable();
        // Both directions are shut: nobody will read. What it sent before is still done.
        client.gone |= event.is_write_closed() || event.is_error();
        self.turn.push_back(connection);
    }

    /// A new turn of the loop: everybody may say something again.
    pub fn begin_turn(&mut self) {
        self.messages_left = MESSAGES_A_TURN;
    }

    /// Whether somebody may have something to say.
    pub fn has_work(&self) -> bool {
        !self.turn.is_empty()
    }

    /// The next call that makes sense; what makes none is answered here.
    pub fn next_call(&mut self, now: Timestamp) -> Option<(Caller, Call)> {
        while self.messages_left > 0 {
            let connection = self.turn.pop_front()?;
            let Some(client) = self.clients.get_mut(&connection) else { continue };
            if client.gone && client.is_long() {
                self.close(connection);
                continue;
            }
            match client.next_message(now) {
                Next::Nothing => {}
                Next::Gone => self.close(connection),
                Next::TooLong => {
                    let reason = format!("a message may have {MESSAGE_MAX} bytes");
                    self.protest(connection, reason);
                }
                Next::Message(bytes) => {
                    self.turn.push_back(connection); // after everybody else
                    self.messages_left -= 1;
                    if let Some(call) = self.read(connection, &bytes) {
                        return Some(call);
                    }
                }
            }
        }
        None
    }

    fn read(&mut self, connection: Connection, bytes: &[u8]) -> Option<(Caller, Call)> {
        let (message, error) = match Message::parse(bytes) {
            Ok(message) => match Call::route(&message) {
                Ok(call) => {
                    let (more, oneway) = (message.more, message.oneway);
                    return Some((Caller { connection, more, oneway }, call));
                }
                Err(error) => (Some(message), error),
            },
            Err(Malformed::NotJson(reason)) => {
                self.protest(connection, reason);
                return None;
            }
            Err(Malformed::Member(name)) => {
                (None, Error::InvalidParameter { parameter: name.to_owned() })
            }
        };
        let oneway = message.is_some_and(|message| message.oneway);
        self.end(Caller { connection, more: false, oneway }, Err(error));
        None
    }

    /// It does not speak varlink: it is told, and closed.
    fn protest(&mut self, connection: Connection, reason: String) {
        if let Some(client) = self.clients.get_mut(&connection) {
            let error = Error::Refused { unit: None, reason };
            client.output.push(protocol::error(&error), false);
            client.closing = true;
        }
    }

    /// The last reply to a call.
    pub fn end(&mut self, caller: Caller, result: Result<Value, Error>) {
        let Some(client) = self.clients.get_mut(&caller.connection) else { return };
        client.doing = Doing::Nothing;
        if !caller.oneway {
            let bytes = match result {
                Ok(parameters) => protocol::reply(&parameters),
                Err(error) => protocol::error(&error),
            };
            client.output.push(bytes, false);
            self.bound_output(caller.connection);
        }
        self.turn.push_back(caller.connection);
    }

    /// All clients together: the one with most unread goes, if it is not the one just served.
    fn bound_output(&mut self, served: Connection) {
        while self.clients.values().map(|client| client.output.len()).sum::<usize>() > OUTPUT_ALL {
            let others = self.clients.iter().filter(|(id, _)| **id != served);
            let Some((id, client)) = others.max_by_key(|(_, client)| client.output.len()) else {
                return;
            };
            if client.output.is_empty() {
                return;
            }
            self.notes.push(format!("a client ({}) does not read: dropped", client.who));
            let id = *id;
            self.close(id);
        }
    }

    /// A name for a request of this caller to the manager.
    ///
    /// # Errors
    /// Too many wait already; `may_wait`: this one may take long.
    pub fn ask(
        &mut self,
        caller: Caller,
        asked: Asked,
        progress: Option<u64>,
        may_wait: bool,
    ) -> Result<ClientId, Error> {
        if may_wait {
            self.check_long()?;
        }
        self.last_id += 1;
        let id = ClientId(self.last_id);
        if !caller.oneway
            && let Some(client) = self.clients.get_mut(&caller.connection)
        {
            client.doing = Doing::Waiting { id, asked, progress };
        }
        Ok(id)
    }

    fn check_long(&self) -> Result<(), Error> {
        if self.clients.values().filter(|client| client.is_long()).count() < LONG_MAX {
            return Ok(());
        }
        let reason = format!("{LONG_MAX} clients wait or listen already; try again");
        Err(Error::Refused { unit: None, reason })
    }

    /// The manager's reply; dropped if who asked is gone.
    pub fn on_reply(&mut self, id: ClientId, reply: Reply) {
        let Some(connection) = self.waiting(id) else { return };
        let Some(client) = self.clients.get_mut(&connection) else { return };
        if let Doing::Waiting { asked, .. } = std::mem::replace(&mut client.doing, Doing::Nothing) {
            let caller = Caller { connection, more: false, oneway: false };
            self.end(caller, answer(reply, asked));
        }
    }

    /// Who waits for the reply to this request.
    fn waiting(&self, id: ClientId) -> Option<Connection> {
        let waits =
            |client: &Client| matches!(client.doing, Doing::Waiting { id: its, .. } if its == id);
        self.clients.iter().find(|(_, client)| waits(client)).map(|(connection, _)| *connection)
    }

    /// Whether somebody still waits for the reply to this request.
    pub fn is_waiting(&self, id: ClientId) -> bool {
        self.waiting(id).is_some()
    }

    /// The caller listens from now on: from event number `next`, before which `dropped` are lost.
    pub fn listen(&mut self, caller: Caller, unit: Option<UnitName>, next: u64, dropped: u64) {
        let listens = |client: &&Client| matches!(client.doing, Doing::Listening { .. });
        if self.clients.values().filter(listens).count() >= LISTENERS_MAX {
            let reason = format!("{LISTENERS_MAX} clients listen already; try again");
            self.end(caller, Err(Error::Refused { unit: None, reason }));
        } else if let Err(error) = self.check_long() {
            self.end(caller, Err(error));
        } else if caller.oneway {
            // It will be sent nothing, so there is nothing to do.
        } else if let Some(client) = self.clients.get_mut(&caller.connection) {
            client.doing = Doing::Listening { unit, next, dropped };
        }
    }

    /// Hands the events that came to who listens, as far as it reads them.
    pub fn pump<T: Event>(&mut self, ring: &Ring<T>) {
        for client in self.clients.values_mut() {
            let lost = match &mut client.doing {
                Doing::Nothing | Doing::Waiting { progress: None, .. } => continue,
                Doing::Listening { unit, next, dropped } => {
                    let left = Cell::new(*dropped);
                    let wrap = |event: String| {
                        let dropped = left.take();
                        format!("{{\"dropped\":{dropped},\"event\":{event}}}")
                    };
                    let lost = ring.first().saturating_sub(*next);
                    if lost == 0 {
                        copy(ring, unit.as_ref(), next, &mut client.output, wrap);
                        *dropped = left.get();
                    }
                    lost
                }
                Doing::Waiting { asked, progress: Some(next), .. } => {
                    let wrap = |event: String| {
                        let none = "\"also\":[],\"reason\":\"\",\"result\":\"\"";
                        format!("{{\"event\":{event},{none}}}")
                    };
                    *next = (*next).max(ring.first()); // its reply is what matters
                    copy(ring, asked.unit(), next, &mut client.output, wrap);
                    0
                }
            };
            if lost > 0 {
                let dropped = lost + client.output.drop_rest();
                client.output.push(protocol::error(&Error::TooSlow { dropped }), false);
                (client.doing, client.closing) = (Doing::Nothing, true);
                let who = &client.who;
                self.notes.push(format!(
                    "a client ({who}) reads its events too slowly: {dropped} are lost, dropped"
                ));
            }
        }
    }

    /// Writes what can be written, closes what is done with.
    pub fn flush(&mut self, now: Timestamp) {
        let mut closed = Vec::new();
        for (connection, client) in &mut self.clients {
            let had = client.output.len();
            let reads = client.flush(now);
            let done = client.closing && client.output.is_empty();
            if !reads || done || (client.gone && client.is_long()) {
                closed.push(*connection);
            } else if had > OUTPUT_MAX && client.output.len() <= OUTPUT_MAX {
                self.turn.push_back(*connection); // it may ask again
            }
        }
        for connection in closed {
            self.close(connection);
        }
    }

    /// rinit leaves: who still waits is told so.
    pub fn end_all(&mut self) {
        for client in self.clients.values_mut() {
            if let Doing::Waiting { asked, .. } = &client.doing {
                let unit = asked.unit().map(ToString::to_string);
                let error = Error::Refused { unit, reason: "rinit exits".to_owned() };
                client.output.push(protocol::error(&error), false);
            }
            (client.doing, client.closing) = (Doing::Nothing, true);
        }
    }

    /// What is to be logged.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// Copies events into a queue as far as they fit.
fn copy<T: Event>(
    ring: &Ring<T>,
    unit: Option<&UnitName>,
    next: &mut u64,
    output: &mut Output,
    wrap: impl Fn(String) -> String,
) {
    while output.len() < OUTPUT_MAX
        && let Some(event) = ring.get(*next)
    {
        *next += 1;
        if unit.is_none_or(|unit| event.is_of(unit)) {
            output.push(protocol::reply_and_go_on(&wrap(event.json())), true);
        }
    }
}

/// One message to a stranger, as far as there is room for it.
pub fn turn_away(stream: &UnixStream, error: &Error) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = send(stream.as_raw_fd(), &protocol::error(error), flags);
}
