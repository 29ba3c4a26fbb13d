//! One connection: connect, pause, send, receive, or be cut, and by which kind it then failed.
//!
//! **Invariant:** before a request is written the connection is read, so that one that was already
//! closed is known as such and takes no request along.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::answer::{Answer, Head};
use super::tally::Kind;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    /// Connected, and silent for a while.
    Pausing,
    /// Sent, not answered.
    Waiting,
    /// Answered, kept for the next request.
    Idle,
}

/// What has become of it after it was looked at.
#[derive(Debug)]
pub enum Step {
    /// Nothing new.
    Nothing,
    /// It is connected: the request may follow, after the pause.
    Connected,
    /// The request is answered.
    Answered(Head),
    /// The request on it failed.
    Failed(Kind),
    /// The server closed it while no request was on it.
    IdleClosed,
}

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    pub phase: Phase,
    /// When the request that is on it arrived.
    pub arrival: Instant,
    /// The client's port.
    pub port: u16,
    answer: Answer,
    is_reused: bool,
}

impl Connection {
    pub fn open(
        target: SocketAddr,
        registry: &Registry,
        token: Token,
        arrival: Instant,
    ) -> Result<Connection, Kind> {
        let connect = || {
            let mut stream = TcpStream::connect(target)?;
            stream.set_nodelay(true)?;
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        };
        let stream = connect().map_err(|error: std::io::Error| kind_of_connect(error.kind()))?;
        let port = stream.local_addr().map_or(0, |address| address.port());
        let phase = Phase::Connecting;
        Ok(Connection { stream, phase, arrival, port, answer: Answer::default(), is_reused: false })
    }

    /// Looks at what the kernel has to say.
    pub fn look(&mut self) -> Step {
        match self.phase {
            Phase::Connecting => self.look_at_connect(),
            Phase::Waiting => self.receive(),
            Phase::Pausing => {
                if self.is_closed() {
                    Step::Failed(Kind::CutSilent)
                } else {
                    Step::Nothing
                }
            }
            Phase::Idle => {
                if self.is_closed() {
                    Step::IdleClosed
                } else {
                    Step::Nothing
                }
            }
        }
    }

    /// Sends a request.
    pub fn send(&mut self, request: &[u8], arrival: Instant) -> Step {
        if self.is_closed() || self.stream.write_all(request).is_err() {
            let is_idle = self.phase == Phase::Idle;
            return if is_idle { Step::IdleClosed } else { Step::Failed(Kind::CutSilent) };
        }
        self.is_reused = self.phase == Phase::Idle;
        self.phase = Phase::Waiting;
        self.arrival = arrival;
        self.answer = Answer::default();
        Step::Nothing
    }

    fn look_at_connect(&mut self) -> Step {
        if let Ok(Some(error)) = self.stream.take_error() {
            return Step::Failed(kind_of_connect(error.kind()));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.phase = Phase::Pausing;
                if self.is_closed() { Step::Failed(Kind::CutSilent) } else { Step::Connected }
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Step::Nothing,
            Err(error) => Step::Failed(kind_of_connect(error.kind())),
        }
    }

    /// Whether the server has closed it; anything that it sends unasked counts as that.
    fn is_closed(&mut self) -> bool {
        let read = self.stream.read(&mut [0; 512]);
        !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn receive(&mut self) -> Step {
        let mut chunk = [0; 4096];
        loop {
            let has_ended = match self.stream.read(&mut chunk) {
                Ok(0) => true,
                Ok(count) => {
                    self.answer.push(chunk.get(..count).unwrap_or_default());
                    false
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => false,
                Err(_) => return Step::Failed(self.cut()),
            };
            let head =
                if has_ended { self.answer.complete_at_end() } else { self.answer.complete() };
            match head {
                Some(head) => {
                    let mut head = head.clone();
                    head.closes |= has_ended;
                    self.phase = Phase::Idle;
                    return Step::Answered(head);
                }
                None if has_ended => return Step::Failed(self.cut()),
                None => {}
            }
        }
    }

    fn cut(&self) -> Kind {
        if self.is_reused && self.answer.is_empty() { Kind::CutReused } else { Kind::Cut }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is std's, and open")]
fn kind_of_connect(error: ErrorKind) -> Kind {
    match error {
        ErrorKind::ConnectionRefused => Kind::Refused,
        // Accepted by the kernel and cut at once: the listener was closed with it in its queue.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Kind::CutSilent,
        ErrorKind::TimedOut => Kind::TimedOut,
        _ => Kind::Local,
    }
}
