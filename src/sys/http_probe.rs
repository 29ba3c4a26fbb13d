//! One HTTP exchange of a health probe, as far as the status counts (RFC 9112).
//!
//! Not whether a status is good (200–399, the caller), not the interval and not the time limit.
//! The answer is read to its end, or to 16 KiB of it, so that the server is not cut off while it
//! writes; its body means nothing. **Invariant:** a step never waits, and takes all there is, as
//! an edge-triggered poll demands.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use super::probe::ProbeSocket;
use super::{errno_of, reason};

/// So much of an answer is read.
const ANSWER_MAX: usize = 16 << 10;

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// To be asked again when the socket is ready for either direction.
    Pending,
    /// The status, 200 to 999 (101 as well), or why there is none.
    Done(Result<u16, String>),
}

/// The request for a path: HTTP/1.1, and the connection is for this alone. What may not stand in
/// a request line is escaped.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    let mut request = b"GET ".to_vec();
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' => request.push(byte),
            _ => request.extend(format!("%{byte:02X}").bytes()),
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let headers = format!(
        " HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rinit/{version}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    request.extend(headers.bytes());
    request
}

/// The exchange.
#[derive(Debug)]
pub struct HttpProbe {
    socket: ProbeSocket,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    connected: bool,
}

impl HttpProbe {
    /// Begins it on a connection that is on its way.
    pub fn new(socket: ProbeSocket, request: Vec<u8>) -> HttpProbe {
        HttpProbe { socket, request, sent: 0, answer: Vec::new(), connected: false }
    }

    /// Goes as far as it goes just now.
    pub fn on_ready(&mut self) -> Progress {
        match self.step() {
            Ok(None) => Progress::Pending,
            Ok(Some(status)) => Progress::Done(Ok(status)),
            Err(message) => Progress::Done(Err(message)),
        }
    }

    /// The status, once it is known: what counts if the rest does not come in time.
    pub fn status(&self) -> Option<u16> {
        match read_answer(&self.answer) {
            Answer::Complete(status) | Answer::HasStatus(status) => Some(status),
            Answer::Partial | Answer::NotHttp => None,
        }
    }

    /// Where it leads.
    pub fn target(&self) -> SocketAddr {
        self.socket.target()
    }

    fn step(&mut self) -> Result<Option<u16>, String> {
        if !self.connected {
            self.connected = self.socket.is_connected().map_err(|e| self.failed("connect", &e))?;
            if !self.connected {
                return Ok(None);
            }
        }
        while let Some(rest) = self.request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(Some(size)) => self.sent += size,
                Ok(None) => break,
                // It may have answered and closed without reading: see what there is.
                Err(_) => self.sent = self.request.len(),
            }
        }
        let mut buffer = [0u8; 2048];
        loop {
            let read = self.socket.read(&mut buffer);
            match read {
                Ok(None) => return Ok(None),
                Ok(Some(size)) if size > 0 => {
                    self.answer.extend(buffer.get(..size).unwrap_or(&buffer));
                }
                Ok(Some(_)) => return self.ended("the connection was closed"),
                Err(error) => return self.ended(&reason(errno_of(&error))),
            }
            match read_answer(&self.answer) {
                Answer::Complete(status) => return Ok(Some(status)),
                Answer::NotHttp => return Err(self.not_http()),
                Answer::HasStatus(_) | Answer::Partial if self.answer.len() >= ANSWER_MAX => {
                    return self.ended("no status in 16 KiB");
                }
                Answer::HasStatus(_) | Answer::Partial => {}
            }
        }
    }

    /// Nothing more comes: what there is must do.
    fn ended(&self, why: &str) -> Result<Option<u16>, String> {
        let to = self.target();
        self.status().map(Some).ok_or_else(|| match self.answer.is_empty() {
            true => format!("GET from {to}: no answer: {why}"),
            false => format!("GET from {to}: half an answer: {why}"),
        })
    }

    fn failed(&self, step: &str, error: &std::io::Error) -> String {
        format!("{step} {}: {}", self.target(), reason(errno_of(error)))
    }

    fn not_http(&self) -> String {
        let start = self.answer.get(..self.answer.len().min(32)).unwrap_or(&self.answer);
        format!("GET from {}: the answer is not HTTP: \"{}\"", self.target(), start.escape_ascii())
    }
}

impl AsRawFd for HttpProbe {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What the bytes so far are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// The final status, and all that belongs to it.
    Complete(u16),
    /// The final status; the headers or the body are still to come, or it cannot be told.
    HasStatus(u16),
    /// No final status yet.
    Partial,
    NotHttp,
}

fn read_answer(bytes: &[u8]) -> Answer {
    let Some(end) = position(bytes, b"\n") else {
        let start = b"HTTP/1.";
        let common = bytes.len().min(start.len());
        return if bytes.get(..common) == start.get(..common) && bytes.len() < 256 {
            Answer::Partial
        } else {
            Answer::NotHttp
        };
    };
    let Some(status) = bytes.get(..end).and_then(status_of) else { return Answer::NotHttp };
    let rest = bytes.get(end + 1..).unwrap_or_default();
    let head = position(rest, b"\r\n\r\n").map(|at| at + 4);
    let head = head.or_else(|| rest.starts_with(b"\r\n").then_some(2));
    let is_interim = (100..200).contains(&status) && status != 101;
    match (head, is_interim) {
        // 100 Continue, 103 Early Hints: the real one follows.
        (Some(head), true) => read_answer(rest.get(head..).unwrap_or_default()),
        (None, true) => Answer::Partial,
        (None, false) => Answer::HasStatus(status),
        (Some(head), false) => {
            let body = rest.len() - head;
            let length = match status {
                101 | 204 | 304 => Some(0),
                _ => content_length(rest.get(..head).unwrap_or_default()),
            };
            match length {
                Some(length) if body >= length => Answer::Complete(status),
                Some(_) | None => Answer::HasStatus(status),
            }
        }
    }
}

/// `HTTP/1.1 200 OK`; the words are optional.
fn status_of(line: &[u8]) -> Option<u16> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (version, rest) = rest.split_first()?;
    let rest = rest.strip_prefix(b" ").filter(|_| version.is_ascii_digit())?;
    let (digits, words) = rest.split_at_checked(3)?;
    if !(words.is_empty() || words.starts_with(b" ")) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| *status >= 100)
}

fn content_length(headers: &[u8]) -> Option<usize> {
    headers.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = position(line, b":")?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = std::str::from_utf8(value.get(1..)?).ok()?;
        name.eq_ignore_ascii_case(b"content-length").then(|| value.trim().parse().ok())?
    })
}

fn position(bytes: &[u8], of: &[u8]) -> Option<usize> {
    bytes.windows(of.len()).position(|window| window == of)
}

#[cfg(test)]
#[path = "http_probe_tests.rs"]
mod tests;
