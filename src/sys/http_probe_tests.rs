//! Answers in every shape and in every size of piece, from a server on loopback.

use super::*;
use crate::sys::probe::wait;
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn answers() {
    use Answer::{Complete, HasStatus, NotHttp, Partial};
    for (text, expected) in [
        ("", Partial),
        ("HT", Partial),
        ("HTTP/1.1 200 O", Partial),
        ("HTTP/1.1 200 OK\r\n", HasStatus(200)),
        ("HTTP/1.0 503\r\n", HasStatus(503)),
        ("HTTP/1.1 200 OK\nx", HasStatus(200)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", HasStatus(200)),
        ("HTTP/1.1 200 OK\r\nA: b\r\nCONTENT-length:2\r\n\r\nok", Complete(200)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Complete(200)),
        ("HTTP/1.1 200 OK\r\n\r\nall that comes", HasStatus(200)),
        ("HTTP/1.1 204 No Content\r\n\r\n", Complete(204)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Complete(304)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Complete(101)),
        ("HTTP/1.1 100 Continue\r\n", Partial),
        ("HTTP/1.1 100 Continue\r\n\r\n", Partial),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 x\r\n", HasStatus(500)),
        ("SSH-2.0-x\r\n", NotHttp),
        ("SS", NotHttp),
        ("HTTP/2 200\r\n", NotHttp),
        ("HTTP/1.1 20 OK\r\n", NotHttp),
        ("HTTP/1.1 2000 OK\r\n", NotHttp),
        ("HTTP/1.1 099 OK\r\n", NotHttp),
        ("HTTP/1.1  200 OK\r\n", NotHttp),
        ("HTTP/1.1 2e1 OK\r\n", NotHttp),
        ("\r\nHTTP/1.1 200 OK\r\n", NotHttp),
    ] {
        assert_eq!(read_answer(text.as_bytes()), expected, "{text:?}");
    }
    let endless = format!("HTTP/1.1 200 {}", "x".repeat(256));
    assert_eq!(read_answer(endless.as_bytes()), NotHttp);
}

#[test]
fn requests() {
    let text = String::from_utf8(request("localhost", "/healthz?a=b")).unwrap();
    assert!(text.starts_with("GET /healthz?a=b HTTP/1.1\r\nHost: localhost\r\n"), "{text}");
    assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    let text = String::from_utf8(request("h", "/a b\r\nX: \u{e9}")).unwrap();
    assert!(text.starts_with("GET /a%20b%0D%0AX:%20%C3%A9 HTTP/1.1\r\n"), "{text}");
}

/// What a probe makes of a server that reads the request, sends these pieces and closes.
fn exchange(pieces: &[&[u8]]) -> Result<u16, String> {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    let socket = ProbeSocket::connect(to, None).unwrap();
    let mut probe = HttpProbe::new(socket, request("localhost", "/"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut accepted, _) = server.accept().unwrap();
            accepted.set_nodelay(true).unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0u8];
                accepted.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            for piece in pieces {
                if accepted.write_all(piece).is_err() {
                    break; // it has heard enough
                }
            }
        });
        loop {
            match probe.on_ready() {
                Progress::Done(result) => {
                    return result.map_err(|text| text.replace(&to.to_string(), "X"));
                }
                Progress::Pending => wait(
                    &probe.socket,
                    if probe.sent < probe.request.len() { libc::POLLOUT } else { libc::POLLIN },
                ),
            }
        }
    })
}

#[test]
fn exchanges() {
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let bytes: Vec<&[u8]> = ok.chunks(1).collect();
    assert_eq!(exchange(&bytes), Ok(200));
    assert_eq!(exchange(&[ok]), Ok(200));
    let big = vec![b'x'; 100 << 10];
    assert_eq!(exchange(&[b"HTTP/1.0 404 Not Found\r\n\r\n", &big]), Ok(404));
    assert_eq!(exchange(&[b"HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\n"]), Ok(503));
    let headers = [b"HTTP/1.1 100 x\r\n".as_slice(), &big];
    let said = exchange(&headers).unwrap_err();
    assert_eq!(said, "GET from X: half an answer: no status in 16 KiB");
    assert_eq!(exchange(&[]).unwrap_err(), "GET from X: no answer: the connection was closed");
    assert_eq!(
        exchange(&[b"HTTP/1"]).unwrap_err(),
        "GET from X: half an answer: the connection was closed"
    );
    assert_eq!(
        exchange(&[b"220 mail\xff\r\n"]).unwrap_err(),
        "GET from X: the answer is not HTTP: \"220 mail\\xff\\r\\n\""
    );
}

#[test]
fn nobody_there_is_said() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    drop(server);
    // A refusal comes at once or when the socket is ready, as the kernel likes.
    if let Ok(socket) = ProbeSocket::connect(to, None) {
        wait(&socket, libc::POLLOUT);
        let mut probe = HttpProbe::new(socket, request("localhost", "/"));
        let message = format!("connect {to}: Connection refused");
        assert_eq!(probe.on_ready(), Progress::Done(Err(message)));
    }
}

#[test]
fn the_status_counts_before_the_body_is_there() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = ProbeSocket::connect(server.local_addr().unwrap(), None).unwrap();
    let mut probe = HttpProbe::new(socket, request("localhost", "/"));
    wait(&probe.socket, libc::POLLOUT);
    assert_eq!((probe.on_ready(), probe.status()), (Progress::Pending, None));
    let (mut accepted, _) = server.accept().unwrap();
    accepted.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
    wait(&probe.socket, libc::POLLIN);
    assert_eq!((probe.on_ready(), probe.status()), (Progress::Pending, Some(200)));
}
