//! A varlink client of a few lines, of its own: the tests do not trust rinit's.
//!
//! It also does what no good client does: sends anything, and does not read.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::DEADLINE;

/// A connection to a control socket.
#[derive(Debug)]
pub struct Varlink {
    pub stream: UnixStream,
    buffer: Vec<u8>,
}

/// A reply, or an error by its short name with its parameters.
pub type Answer = Result<Value, (String, Value)>;

impl Varlink {
    pub fn connect(path: &Path) -> std::io::Result<Varlink> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Varlink { stream, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send_call(&mut self, method: &str, parameters: Value, more: bool) {
        self.send(&message(method, parameters, more)).unwrap();
    }

    /// The next message; `None`: the other side has closed.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == 0) {
                let rest = self.buffer.split_off(end + 1);
                let message = std::mem::replace(&mut self.buffer, rest);
                return Some(serde_json::from_slice(&message[..end]).unwrap());
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                // Closed with something of ours unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("waited in vain for a reply: {error}"),
            }
        }
    }

    /// The next message as an answer, and whether more follow.
    #[track_caller]
    pub fn answer(&mut self) -> Option<(Answer, bool)> {
        let mut message = self.receive()?;
        let parameters = message["parameters"].take();
        let continues = message["continues"] == true;
        Some(match message["error"].as_str() {
            None => (Ok(parameters), continues),
            Some(name) => {
                let name = name.rsplit('.').next().unwrap().to_string();
                (Err((name, parameters)), continues)
            }
        })
    }

    /// Calls a method that has one reply.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Answer {
        self.send_call(method, parameters, false);
        let (answer, continues) = self.answer().expect("a reply before the end");
        assert!(!continues, "{method}: one reply only");
        answer
    }

    /// Calls a method that must work.
    #[track_caller]
    pub fn get(&mut self, method: &str, parameters: Value) -> Value {
        self.call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    /// Calls a method that must fail; gives the error's name and parameters.
    #[track_caller]
    pub fn error(&mut self, method: &str, parameters: Value) -> (String, Value) {
        self.call(method, parameters).unwrap_err()
    }

    /// Begins to listen to events.
    pub fn listen(&mut self, parameters: Value) {
        self.send_call("Events", parameters, true);
    }

    /// The next event that it listens to.
    #[track_caller]
    pub fn event(&mut self) -> Value {
        let (answer, continues) = self.answer().expect("an event before the end");
        assert!(continues, "events do not end: {answer:?}");
        let mut parameters = answer.unwrap();
        assert_eq!(parameters["dropped"], 0);
        parameters["event"].take()
    }
}

/// A call as bytes; a bare method is one of `io.rinit.Manager`.
pub fn message(method: &str, parameters: Value, more: bool) -> Vec<u8> {
    let method = match method.contains('.') {
        true => method.to_string(),
        false => format!("io.rinit.Manager.{method}"),
    };
    let call = json!({ "method": method, "parameters": parameters, "more": more });
    [call.to_string().as_bytes(), b"\0"].concat()
}
