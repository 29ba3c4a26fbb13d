//! Every system call and every `unsafe` block of rinit.
//!
//! Not a decision: nothing here knows a unit's state. `manager` is unknown here, and `sys` is
//! unknown there; they meet in `init`. **Invariant:** a call here returns at once; the one call
//! that waits is `Poll::poll` in `init::event_loop` (the last stand waits with a deadline).

pub mod activity;
pub mod affinity;
pub mod capture;
pub mod cgroup;
pub mod channel;
mod child;
pub mod clock;
pub mod early;
pub mod exec;
pub mod http_probe;
pub mod identity;
pub mod kill;
mod launch;
pub mod listen;
pub mod listener;
pub mod machine;
pub mod memory;
pub mod notify;
pub mod own;
pub mod passive_opens;
pub mod peer;
pub mod pidfd;
pub mod probe;
pub mod proc;
pub mod proc_memory;
pub mod proc_sockets;
mod raw;
pub mod reap;
pub mod signals;
pub mod socket;
pub mod stderr;
pub mod steer;
pub mod tcp_diag;
pub mod terminal;
pub mod writer;

use std::io;

/// A process id as the kernel has it; only `sys` and `init::processes` keep any.
pub type Pid = i32;

/// The kernel's words for an error number, as in `No such file or directory` (strerror(3)).
pub fn reason(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// The error number of an I/O error; 0 where it has none.
pub fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Nothing there just now, or a signal came in between: to be tried again, not an error.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A system call's result: −1 is an error, its reason in `errno`.
fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes a descriptor that was open when we were started and that nobody else has taken; it
/// is close-on-exec from here on.
///
/// # Errors
/// EBADF: there is none with this number.
pub fn inherited(fd: std::os::fd::RawFd) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: numbers only; it says whether there is such a descriptor at all.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and by the caller's word nobody else has it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// As many open files as we may have (getrlimit(2)); what the limits were, if they were less.
pub fn raise_open_files() -> Option<(u64, u64)> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft >= hard {
        return None;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    Some((soft, hard))
}

/// The path by which we were executed (getauxval(3), AT_EXECFN), if it does not depend on where.
pub fn own_path() -> Option<std::ffi::CString> {
    // SAFETY: it takes a number; what it gives is a C string that lives as long as we do, or null.
    let path = unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!path.is_null()).then(|| std::ffi::CStr::from_ptr(path))
    };
    path.filter(|path| path.to_bytes().starts_with(b"/")).map(Into::into)
}

/// Our own process id.
pub fn own_pid() -> Pid {
    Pid::try_from(std::process::id()).unwrap_or(0)
}

/// Our effective user id.
pub fn own_uid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// A number that no one can guess, for jitter and invocation ids (getrandom(2)).
/// Falls back to the clock and the pid where the kernel's pool is not there yet.
pub fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the pointer and the length are those of `bytes`.
    let got =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    if got == 8 {
        return u64::from_ne_bytes(bytes);
    }
    let now = clock::monotonic();
    (u64::from(now.subsec_nanos()) << 32) ^ now.as_secs() ^ u64::from(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_bare_words() {
        assert_eq!(reason(libc::ENOENT), "No such file or directory");
        assert_eq!(reason(libc::E2BIG), "Argument list too long");
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed(), seed());
    }
}
