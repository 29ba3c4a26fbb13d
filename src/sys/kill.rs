//! Signals that rinit sends.
//!
//! Not to whom: `init::members` decides that. **Invariant:** a number that may belong to a
//! stranger by now is only ever signalled through a pidfd, after a second look at its start time.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Pid, proc};
use crate::unit::process::Signal;

/// To a child of ours that is not reaped: its pid cannot be anybody else's.
pub fn child(pid: Pid, signal: Signal) {
    if pid > 1 {
        // SAFETY: kill takes two numbers.
        unsafe { libc::kill(pid, signal.number()) };
    }
}

/// To the process group of a child of ours that leads it and is not reaped.
/// A child that has not come as far as setsid(2) yet leads none, and gets it alone.
pub fn group(leader: Pid, signal: Signal) {
    if leader <= 1 {
        return; // −1 and 0 mean everybody
    }
    // SAFETY: kill takes two numbers.
    if unsafe { libc::kill(-leader, signal.number()) } == -1
        && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
    {
        child(leader, signal);
    }
}

/// To a process that is not our child, known by its pid and its start time.
pub fn stranger(pid: Pid, started: u64, signal: Signal) {
    if pid <= 1 {
        return;
    }
    // SAFETY: pidfd_open takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let same = || proc::stat(pid).is_some_and(|stat| stat.started == started);
    let Ok(fd @ 0..) = libc::c_int::try_from(fd) else {
        if io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) && same() {
            child(pid, signal); // before Linux 5.3: a race of microseconds
        }
        return;
    };
    // SAFETY: the descriptor was just made and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if same() {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open; a null siginfo means what kill(2) would fill in.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal.number(), no_info, 0);
        }
    }
}

/// To every process of the pid namespace but ourselves. Only if we are its PID 1: elsewhere
/// that would be everything that our user runs. Returns whether it was done.
pub fn everybody(signal: Signal) -> bool {
    if super::own_pid() != 1 {
        return false;
    }
    // SAFETY: kill takes two numbers.
    unsafe { libc::kill(-1, signal.number()) };
    true
}

/// Whether anybody is left in a process group (kill(2) with signal 0).
pub fn group_exists(leader: Pid) -> bool {
    // SAFETY: signal 0 is not sent.
    leader > 1
        && (unsafe { libc::kill(-leader, 0) } == 0
            || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}
