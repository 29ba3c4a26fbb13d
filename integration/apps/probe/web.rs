//! A small web server on a socket that the probe was passed, as a worker would be one.
//!
//! It says who it is: `x-worker` is its pid and `x-version` its `RINIT_INSTANCE`. It is ill, and
//! answers everything with 503, while there is a file `ill-INSTANCE` in its directory, or if the
//! file `ill` was there when it started. If there is a file `accepted`, it adds a line `PORT INSTANCE`
//! there for each client before it does anything with him. `GET /leak/INSTANCE` makes that one keep
//! 20 MiB more, while it accepts nobody. It waits in an epoll set; after SIGTERM it accepts for a
//! tenth of a second more, and ends once every connection that it has is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::serve::{STOP, on_term};
use std::sync::atomic::{AtomicBool, Ordering};

/// Somebody wants it to grow.
static LEAK: AtomicBool = AtomicBool::new(false);

/// Serves on descriptor `fd` until SIGTERM.
pub fn web(fd: RawFd, directory: &str) {
    // SAFETY: the handler only stores a flag.
    unsafe { libc::signal(libc::SIGTERM, on_term as *const () as libc::sighandler_t) };
    let name = std::env::var("RINIT_INSTANCE").unwrap_or_default();
    let born_ill = Path::new(directory).join("ill").exists();
    let sign = Path::new(directory).join(format!("ill-{name}"));
    // SAFETY: plain calls on descriptors that are ours. Several share the socket: who comes too
    // late to accept must not wait there.
    let epoll = unsafe {
        libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
        epoll
    };
    super::say(&format!("serving {} {name}", std::process::id()));
    let mut threads = Vec::new();
    loop {
        let stopping = STOP.load(Ordering::SeqCst);
        wait(epoll);
        while let Ok(accepted) = nix::sys::socket::accept(fd) {
            // SAFETY: it is new and nobody else's.
            let stream = unsafe { TcpStream::from_raw_fd(accepted) };
            note(&stream, &name, directory);
            // Of whatever family: read and write is all that is done with it.
            let stream = UnixStream::from(OwnedFd::from(stream));
            let (name, sign) = (name.clone(), sign.clone());
            threads.push(std::thread::spawn(move || answer(stream, &name, born_ill, &sign)));
        }
        if LEAK.swap(false, Ordering::SeqCst) {
            super::memory::allocate(20);
        }
        threads.retain(|thread| !thread.is_finished());
        if stopping {
            break;
        }
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// For a tenth of a second, or until somebody connects.
fn wait(epoll: RawFd) {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event, which lives through the call.
    unsafe { libc::epoll_wait(epoll, &raw mut event, 1, 100) };
}

fn note(stream: &TcpStream, name: &str, directory: &str) {
    let path = Path::new(directory).join("accepted");
    let port = stream.peer_addr().map_or(0, |address| address.port());
    if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(path) {
        let _ = file.write_all(format!("{port} {name}\n").as_bytes());
    }
}

/// So many requests, each on a connection of its own, one after another. Prints `cut PORT` for each
/// that is not answered well.
pub fn visit(port: u16, count: i64, path: &str) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let mut answer = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut answer);
        if !(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok")) {
            super::say(&format!("cut {}", stream.local_addr().expect("a port").port()));
        }
    }
}

fn answer(mut stream: UnixStream, name: &str, born_ill: bool, sign: &Path) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut some = [0; 256];
        match stream.read(&mut some) {
            Ok(count @ 1..) => request.extend_from_slice(&some[..count]),
            Ok(_) | Err(_) => return,
        }
    }
    let leak = format!("GET /leak/{name} ");
    LEAK.fetch_or(request.starts_with(leak.as_bytes()), Ordering::SeqCst);
    let status = if born_ill || sign.exists() { "503 Ill" } else { "200 OK" };
    let head = format!("x-worker: {}\r\nx-version: {name}\r\n", std::process::id());
    let text =
        format!("HTTP/1.1 {status}\r\n{head}Content-Length: 2\r\nConnection: close\r\n\r\nok");
    let _ = stream.write_all(text.as_bytes());
}
