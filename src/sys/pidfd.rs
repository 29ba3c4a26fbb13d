//! A handle of a process that is not our child, as `MAINPID=` and `PIDFile=` name one.
//!
//! Not for children: those are peeked at (`reap`). The handle becomes readable when the process
//! has ended; its status is not to be had, because only a parent can ask (pidfd_open(2)).
//! **Invariant:** a handle is the process that had the number when it was opened; whether that is
//! the one that was meant is for the caller to check after it, as [`super::kill::stranger`] does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Pid, cvt};
use crate::unit::process::Signal;

/// A process, held by its handle: its number may be given to another, the handle never.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

/// Opens the handle of a process; it is close-on-exec.
///
/// # Errors
/// pidfd_open(2)'s: ESRCH if there is none (a dead one that is not reaped has one), ENOSYS before
/// Linux 5.3, EINVAL for a thread and for a number that is none.
pub fn open(pid: Pid) -> io::Result<PidFd> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = cvt(libc::c_int::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
}

impl PidFd {
    /// Whether it has ended, reaped or not (poll(2)).
    pub fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives through the call; it does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLIN != 0 }
    }

    /// Sends a signal (pidfd_send_signal(2)).
    ///
    /// # Errors
    /// ESRCH if it has ended, EPERM.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        let fd = self.0.as_raw_fd();
        // SAFETY: the descriptor is open; a null siginfo means what kill(2) would fill in.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), no_info, 0) };
        cvt(libc::c_int::try_from(sent).unwrap_or(-1)).map(drop)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_grandchild_is_followed_to_its_end() {
        // The shell's own child outlives it, and becomes somebody else's.
        let script = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
        let shell = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()).output();
        let text = String::from_utf8(shell.unwrap().stdout).unwrap();
        let pid: Pid = text.trim().parse().unwrap();
        let handle = open(pid).unwrap();
        assert!(!handle.has_ended());
        handle.signal(Signal::KILL).unwrap();
        let mut poll = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives through the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, -1) }, 1);
        assert!(handle.has_ended());
    }

    #[test]
    fn who_is_gone_has_no_handle() {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        let handle = open(pid).unwrap();
        child.wait().unwrap();
        assert!(handle.has_ended());
        assert_eq!(handle.signal(Signal::TERM).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(open(pid).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        for no_pid in [0, -1] {
            assert_eq!(open(no_pid).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
    }
}
