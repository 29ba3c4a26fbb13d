//! The connections over HTTP: one request each, one answer, and they are closed.
//!
//! Not who is accepted when (`init::http`), nor what is answered. **Invariant:** every connection
//! has a deadline from its first moment, and no byte that a client sends or takes moves it; there
//! are at most [`CONNECTIONS_MAX`], each with at most [`REQUEST_MAX`] bytes of a request.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::Answer;
use super::request::{REQUEST_MAX, Request};
use crate::manager::time::Timestamp;

/// So many are open at once.
pub const CONNECTIONS_MAX: usize = 64;

/// So much may wait for all clients together before the next is told to come again.
const OUTPUT_ALL: usize = 4 << 20;

/// So long a client has to ask.
const TO_ASK: Duration = Duration::from_secs(5);

/// So long it has to take its answer.
const TO_TAKE: Duration = Duration::from_secs(10);

/// So long it has to close after that. If rinit just closed while something of a request is
/// unread, the kernel would reset the connection, and the answer might be lost (tcp(7)).
const TO_CLOSE: Duration = Duration::from_secs(1);

/// So much is read and thrown away of who goes on talking after its request.
const EXCESS_MAX: usize = 64 << 10;

/// So long an answer must have waited before its place may be given to another.
const STALLED: Duration = Duration::from_secs(2);

/// Which connection; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Connection(usize);

/// What a client is about to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Closing,
    Asking,
    Taking,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    phase: Phase,
    /// Of the request, so far.
    input: Vec<u8>,
    /// The answer, and how much of it is written.
    output: Vec<u8>,
    written: usize,
    readable: bool,
    writable: bool,
    /// It will send no more.
    ended: bool,
    /// Bytes that it sent after its request.
    excess: usize,
    since: Timestamp,
    deadline: Timestamp,
}

/// What a client has for us.
enum Next {
    Request(Request),
    Wrong(Answer),
    Nothing,
    Gone,
}

impl Client {
    fn next(&mut self) -> Next {
        let mut chunk = [0; REQUEST_MAX];
        while self.readable && !self.ended {
            let room = REQUEST_MAX.saturating_sub(self.input.len());
            match self.stream.read(chunk.get_mut(..room).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                // What comes after a request is of no use, and must be read all the same.
                Ok(count) if self.phase != Phase::Asking => {
                    self.excess += count;
                    if self.excess > EXCESS_MAX {
                        return Next::Gone;
                    }
                }
                Ok(count) => {
                    self.input.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    match Request::parse(&self.input) {
                        Ok(None) => {}
                        Ok(Some(request)) => return Next::Request(request),
                        Err(answer) => return Next::Wrong(answer),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Gone,
            }
        }
        // Half-closed is no end of who still waits for its answer.
        if self.ended && self.phase != Phase::Taking { Next::Gone } else { Next::Nothing }
    }

    fn enter(&mut self, phase: Phase, now: Timestamp) {
        let patience = match phase {
            Phase::Asking => TO_ASK,
            Phase::Taking => TO_TAKE,
            Phase::Closing => TO_CLOSE,
        };
        (self.phase, self.since, self.deadline) = (phase, now, now.after(patience));
    }

    /// Writes what can be written; false if nobody reads any more.
    fn flush(&mut self, now: Timestamp) -> bool {
        while self.writable && self.phase == Phase::Taking {
            match self.stream.write(self.output.get(self.written..).unwrap_or_default()) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.written >= self.output.len() {
                self.output = Vec::new();
                self.enter(Phase::Closing, now);
                return !self.ended && self.stream.shutdown(Shutdown::Write).is_ok();
            }
        }
        true
    }

    /// How readily its place is given to another; the smaller, the sooner. `None`: not at all.
    fn claim(&self, now: Timestamp) -> Option<(Phase, Timestamp)> {
        let spared = self.phase == Phase::Taking && now.since(self.since) < STALLED;
        (!spared).then_some((self.phase, self.since))
    }
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    open: BTreeMap<Connection, Client>,
    registry: Registry,
    /// The token of connection n is n + this.
    first_token: usize,
    last: usize,
    /// Who may have something to say.
    turn: VecDeque<Connection>,
}

impl Connections {
    /// None yet; their tokens begin at `first_token`.
    pub fn new(registry: Registry, first_token: usize) -> Connections {
        Connections { open: BTreeMap::new(), registry, first_token, last: 0, turn: VecDeque::new() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes one in, if need be in the place of one that has no use for it. Where there is no
    /// place, it is closed.
    ///
    /// # Errors
    /// fcntl(2)'s and epoll_ctl(2)'s.
    pub fn admit(&mut self, stream: TcpStream, now: Timestamp) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        if self.open.len() >= CONNECTIONS_MAX && !self.make_room(now) {
            return Ok(());
        }
        self.last += 1;
        let connection = Connection(self.last);
        let token = Token(self.first_token.saturating_add(connection.0));
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut SourceFd(&stream.as_raw_fd()), token, interest)?;
        let client = Client {
            stream,
            phase: Phase::Asking,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            readable: true,
            writable: true,
            ended: false,
            excess: 0,
            since: now,
            deadline: now.after(TO_ASK),
        };
        self.open.insert(connection, client);
        self.turn.push_back(connection); // most have asked before they are accepted
        Ok(())
    }

    fn make_room(&mut self, now: Timestamp) -> bool {
        let claims = self.open.iter().filter_map(|(id, client)| Some((client.claim(now)?, *id)));
        let Some((_, connection)) = claims.min() else { return false };
        self.close(connection);
        true
    }

    fn close(&mut self, connection: Connection) {
        if let Some(client) = self.open.remove(&connection) {
            // Not just closed: a child between fork and exec has a copy of the descriptor.
            let _ = self.registry.deregister(&mut SourceFd(&client.stream.as_raw_fd()));
        }
    }

    /// What the poll said about a token of ours.
    pub fn on_ready(&mut self, event: &mio::event::Event) {
        let connection = Connection(event.token().0.saturating_sub(self.first_token));
        let Some(client) = self.open.get_mut(&connection) else { return };
        client.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        client.writable |= event.is_writable();
        self.turn.push_back(connection);
    }

    /// Whether somebody may have something to say.
    pub fn has_work(&self) -> bool {
        !self.turn.is_empty()
    }

    /// The next request; what is none is answered here.
    pub fn next_request(&mut self, now: Timestamp, date: &str) -> Option<(Connection, Request)> {
        while let Some(connection) = self.turn.pop_front() {
            let Some(client) = self.open.get_mut(&connection) else { continue };
            match client.next() {
                Next::Nothing => {}
                Next::Gone => self.close(connection),
                Next::Wrong(answer) => self.answer(connection, &answer, false, now, date),
                Next::Request(request) => {
                    if self.open.values().map(|it| it.output.len()).sum::<usize>() > OUTPUT_ALL {
                        let answer = Answer::words(503, "too much is being sent; try again\n");
                        self.answer(connection, &answer, false, now, date);
                    } else {
                        return Some((connection, request));
                    }
                }
            }
        }
        None
    }

    /// The answer to a request.
    pub fn answer(
        &mut self,
        connection: Connection,
        answer: &Answer,
        head_only: bool,
        now: Timestamp,
        date: &str,
    ) {
        if let Some(client) = self.open.get_mut(&connection) {
            client.output = answer.bytes(head_only, date);
            client.input = Vec::new();
            client.enter(Phase::Taking, now);
            self.turn.push_back(connection); // what it still sends is to be read
        }
    }

    /// Writes what can be written, and closes what is done or late.
    pub fn flush(&mut self, now: Timestamp, date: &str) {
        let late =
            |(id, it): (&Connection, &Client)| (it.deadline <= now).then_some((*id, it.phase));
        let late: Vec<(Connection, Phase)> = self.open.iter().filter_map(late).collect();
        for (connection, phase) in late {
            let half = self.open.get(&connection).is_some_and(|client| !client.input.is_empty());
            if phase == Phase::Asking && half {
                let answer = Answer::words(408, "the request took too long\n");
                self.answer(connection, &answer, false, now, date);
            } else {
                self.close(connection);
            }
        }
        let gone = |(id, client): (&Connection, &mut Client)| (!client.flush(now)).then_some(*id);
        let gone: Vec<Connection> = self.open.iter_mut().filter_map(gone).collect();
        gone.into_iter().for_each(|connection| self.close(connection));
    }

    /// When the first of them is late.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.open.values().map(|client| client.deadline).min()
    }
}
