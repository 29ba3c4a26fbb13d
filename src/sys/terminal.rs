//! The controlling terminal and its foreground process group (tcsetpgrp(3)).
//!
//! Not line settings. **Invariant:** the foreground is only ever handed over by who has it, and
//! a missing terminal is no error.

use std::os::fd::RawFd;

use super::Pid;

/// The standard stream that is our controlling terminal, if our group is its foreground.
pub fn foreground() -> Option<RawFd> {
    // SAFETY: getpgrp takes nothing and cannot fail; tcgetpgrp takes a descriptor, and says
    // ENOTTY or EBADF where that is no terminal of ours.
    (0..=2).find(|fd| unsafe { libc::tcgetpgrp(*fd) == libc::getpgrp() })
}

/// Whether some standard stream is the terminal that controls us.
pub fn is_controlled() -> bool {
    // SAFETY: as above.
    (0..=2).any(|fd| unsafe { libc::tcgetpgrp(fd) } != -1)
}

/// Makes `group` the foreground of the terminal. Async-signal-safe. SIGTTOU must be blocked,
/// as it is in rinit and in its children until exec. Failures (no terminal any more, not ours)
/// are ignored: they must not keep a program from running.
pub fn hand_over(fd: RawFd, group: Pid) {
    // SAFETY: two numbers.
    unsafe { libc::tcsetpgrp(fd, group) };
}

/// Takes the foreground back for our own group, for who comes after us.
pub fn take_back(fd: RawFd) {
    // SAFETY: getpgrp takes nothing and cannot fail.
    hand_over(fd, unsafe { libc::getpgrp() });
}
