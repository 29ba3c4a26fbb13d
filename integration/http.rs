//! One HTTP request on a connection that the caller made: TCP, a Unix socket, another namespace.
//!
//! Asking and receiving are two steps, so that a test can do something while the server works.

use std::io::{Read, Write};

pub struct Response {
    pub status: u16,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }
}

pub fn ask(connection: &mut impl Write, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("send a request");
}

/// Reads to the end of the connection: a body that was cut short fails here.
pub fn receive(connection: &mut impl Read) -> Response {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("read the answer");
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not an answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    assert!(length.is_none_or(|length| length == body.len()), "cut short: {answer:?}");
    Response { status, body: body.to_owned() }
}

pub fn get(mut connection: impl Read + Write, path: &str) -> Response {
    ask(&mut connection, path);
    receive(&mut connection)
}
