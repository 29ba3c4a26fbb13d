//! A small web server on a socket that the probe was passed, as a worker would be one.
//!
//! It says who it is: `x-worker` is its pid and `x-version` its `RINIT_INSTANCE`. It is ill, and
//! answers everything with 503, while there is a file `ill-INSTANCE` in its directory, or if the
//! file `ill` was there when it started. It waits in an epoll set; after SIGTERM it accepts for a
//! tenth of a second more, and ends once every connection that it has is answered.

use std::io::{Read, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::serve::{STOP, on_term};
use std::sync::atomic::Ordering;

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
            // SAFETY: it is new and nobody else's. Read and write is all that is done with it.
            let stream = unsafe { UnixStream::from_raw_fd(accepted) };
            let (name, sign) = (name.clone(), sign.clone());
            threads.push(std::thread::spawn(move || answer(stream, &name, born_ill, &sign)));
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
    let status = if born_ill || sign.exists() { "503 Ill" } else { "200 OK" };
    let head = format!("x-worker: {}\r\nx-version: {name}\r\n", std::process::id());
    let text =
        format!("HTTP/1.1 {status}\r\n{head}Content-Length: 2\r\nConnection: close\r\n\r\nok");
    let _ = stream.write_all(text.as_bytes());
}
