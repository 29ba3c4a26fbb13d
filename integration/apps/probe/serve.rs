//! A small server on a socket that the probe was passed.
//!
//! It answers each connection with one line, its pid and `RINIT_INSTANCE`, once the client has
//! spoken; after SIGTERM it goes on for a tenth of a second, as servers with a loop do.

use std::io::{Read, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub static STOP: AtomicBool = AtomicBool::new(false);

pub extern "C" fn on_term(_: libc::c_int) {
    STOP.store(true, Ordering::SeqCst);
}

/// Serves on descriptor `fd` until SIGTERM.
pub fn serve(fd: RawFd) {
    // SAFETY: the handler only stores a flag.
    unsafe { libc::signal(libc::SIGTERM, on_term as *const () as libc::sighandler_t) };
    let name = std::env::var("RINIT_INSTANCE").unwrap_or_default();
    super::say(&format!("serving {}", std::process::id()));
    loop {
        let stopping = STOP.load(Ordering::SeqCst);
        while wait(fd) {
            let Ok(accepted) = nix::sys::socket::accept(fd) else { break };
            // SAFETY: it is new and nobody else's. Of whatever family: read and write is all.
            let mut stream = unsafe { UnixStream::from_raw_fd(accepted) };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let mut request = [0; 256];
            if stream.read(&mut request).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(format!("{} {name}\n", std::process::id()).as_bytes());
            }
        }
        if stopping {
            return;
        }
    }
}

/// Whether somebody connects within a tenth of a second.
fn wait(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    (unsafe { libc::poll(&raw mut poll, 1, 100) }) == 1 && poll.revents & libc::POLLIN != 0
}
