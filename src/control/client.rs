//! The client's side of the control socket: one call, one reply, or a stream of them.
//!
//! Not what the calls mean (`cli`). Blocking, and so nothing that PID 1 may use. **Invariant:** no
//! call outlasts its deadline, whatever the other side does: does not accept, does not answer,
//! never ends a message, or sends one without end.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};

/// The interface, as methods and errors are prefixed.
pub const INTERFACE: &str = "io.rinit.Manager";

/// The longest message that is taken from the other side, in bytes.
const MESSAGE_MAX: usize = 64 << 20;
/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// What "for ever" is to a socket: a timeout of zero would be an error to std.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Why a call has no reply.
#[derive(Clone, PartialEq, Debug)]
pub enum CallError {
    /// The server says so: the error's name without [`INTERFACE`], and its parameters.
    Refused(String, Value),
    /// No reply came in time.
    TimedOut,
    /// The connection ended before the reply did.
    Closed,
    /// What came is no reply.
    Garbled(String),
    /// Reading or writing failed.
    Io(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Refused(name, parameters) => write!(f, "{name} {parameters}"),
            CallError::TimedOut => write!(f, "no answer in time"),
            CallError::Closed => write!(f, "the connection was closed before the answer came"),
            CallError::Garbled(what) => write!(f, "the answer is no varlink message: {what}"),
            CallError::Io(error) => write!(f, "{error}"),
        }
    }
}

/// One reply.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// What the method returns.
    pub parameters: Value,
    /// Further replies follow.
    pub continues: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// What was read and is not yet a whole message.
    buffer: Vec<u8>,
    /// Up to here `buffer` has no end of a message.
    searched: usize,
}

impl Client {
    /// Connects to the socket at `path`; `timeout`: how long the other side may take to accept.
    ///
    /// # Errors
    /// As connect(2) and unix(7): not there, not allowed, nobody listens, the queue stayed full.
    pub fn connect(path: &Path, timeout: Duration) -> io::Result<Client> {
        // By hand, because std cannot limit the wait for a full queue (SO_SNDTIMEO, socket(7)).
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let limit = TimeVal::new(seconds, i64::from(timeout.subsec_micros()));
        setsockopt(&fd, sockopt::SendTimeout, &limit)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Client::on(UnixStream::from(fd)))
    }

    /// A client on a stream that is connected already.
    pub fn on(stream: UnixStream) -> Client {
        Client { stream, buffer: Vec::new(), searched: 0 }
    }

    /// Calls a method of [`INTERFACE`] that has one reply.
    ///
    /// # Errors
    /// Any [`CallError`].
    pub fn call(
        &mut self,
        method: &str,
        parameters: &Value,
        deadline: Option<Instant>,
    ) -> Result<Value, CallError> {
        self.send(method, parameters, false, deadline)?;
        Ok(self.reply(deadline)?.parameters)
    }

    /// Sends a call; [`Client::reply`] gives what comes of it: one reply, or with `more` several.
    ///
    /// # Errors
    /// Any [`CallError`] of writing.
    pub fn send(
        &mut self,
        method: &str,
        parameters: &Value,
        more: bool,
        deadline: Option<Instant>,
    ) -> Result<(), CallError> {
        let name = match method.contains('.') {
            true => method.to_owned(),
            false => format!("{INTERFACE}.{method}"),
        };
        let mut call = json!({ "method": name, "parameters": parameters });
        if more && let Value::Object(fields) = &mut call {
            fields.insert("more".to_owned(), Value::Bool(true));
        }
        let mut message = call.to_string().into_bytes();
        message.push(0);
        let left = left(deadline)?;
        self.stream.set_write_timeout(Some(left)).map_err(|error| failed(&error))?;
        self.stream.write_all(&message).map_err(|error| failed(&error))
    }

    /// The next reply.
    ///
    /// # Errors
    /// Any [`CallError`]; after [`CallError::TimedOut`] it may be asked for again.
    pub fn reply(&mut self, deadline: Option<Instant>) -> Result<Reply, CallError> {
        loop {
            if let Some(message) = self.take_message() {
                return parse(&message);
            }
            if self.buffer.len() > MESSAGE_MAX {
                return Err(CallError::Garbled(format!("more than {MESSAGE_MAX} bytes")));
            }
            self.fill(deadline)?;
        }
    }

    fn take_message(&mut self) -> Option<Vec<u8>> {
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = fresh.iter().position(|byte| *byte == 0) else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + at + 1);
        let mut message = std::mem::replace(&mut self.buffer, rest);
        message.pop();
        self.searched = 0;
        Some(message)
    }

    fn fill(&mut self, deadline: Option<Instant>) -> Result<(), CallError> {
        let left = left(deadline)?;
        self.stream.set_read_timeout(Some(left)).map_err(|error| failed(&error))?;
        let mut chunk = vec![0; CHUNK];
        let count = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(CallError::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(failed(&error)),
        };
        self.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(())
    }
}

/// What is left until the deadline.
fn left(deadline: Option<Instant>) -> Result<Duration, CallError> {
    let Some(deadline) = deadline else { return Ok(FOREVER) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(CallError::TimedOut) } else { Ok(left) }
}

fn failed(error: &io::Error) -> CallError {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, WouldBlock};
    let kind = error.kind();
    if matches!(kind, WouldBlock | TimedOut) {
        CallError::TimedOut
    } else if matches!(kind, BrokenPipe | ConnectionReset) {
        CallError::Closed
    } else {
        CallError::Io(error.to_string())
    }
}

fn parse(message: &[u8]) -> Result<Reply, CallError> {
    let garbled = |error: serde_json::Error| CallError::Garbled(error.to_string());
    let mut value: Value = serde_json::from_slice(message).map_err(garbled)?;
    let parameters = value.get_mut("parameters").map_or_else(|| json!({}), Value::take);
    match value.get("error") {
        Some(Value::String(name)) => {
            let own = name.strip_prefix(INTERFACE).and_then(|rest| rest.strip_prefix('.'));
            Err(CallError::Refused(own.unwrap_or(name).to_owned(), parameters))
        }
        Some(other) => Err(CallError::Garbled(format!("error is {other}"))),
        None => {
            let continues = value.get("continues").and_then(Value::as_bool).unwrap_or(false);
            Ok(Reply { parameters, continues })
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
