//! Deaths of children: looked at first, taken away later.
//!
//! Not what a death means. **Invariant:** between [`peek`] and [`reap`] the zombie pins its pid
//! and its process group, so a signal sent in between cannot hit a stranger.

use super::Pid;
use crate::unit::process::{ExitStatus, Signal};

/// What waitid(2) sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peeked {
    /// This child is dead and not yet reaped.
    Dead(Pid, ExitStatus),
    /// There are children, and all of them live.
    AllAlive,
    /// There is no child at all (ECHILD).
    NoChildren,
}

/// The next dead child, left where it is.
pub fn peek() -> Peeked {
    wait(libc::P_ALL, 0, libc::WNOWAIT)
}

/// Whether this child is dead, left where it is.
pub fn peek_at(pid: Pid) -> Peeked {
    let id = libc::id_t::try_from(pid).unwrap_or(libc::id_t::MAX);
    wait(libc::P_PID, id, libc::WNOWAIT)
}

/// Takes a dead child away; its pid means nothing from here on.
pub fn reap(pid: Pid) {
    if let Ok(id) = libc::id_t::try_from(pid) {
        wait(libc::P_PID, id, 0);
    }
}

fn wait(which: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> Peeked {
    loop {
        // SAFETY: a `siginfo_t` is plain numbers; all zeroes is one.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL | flags;
        // SAFETY: `info` is a valid place for the result.
        if unsafe { libc::waitid(which, id, &raw mut info, options) } == -1 {
            match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => continue,
                _ => return Peeked::NoChildren,
            }
        }
        // SAFETY: after a successful waitid these fields are filled, or zero if nobody is dead.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return match pid {
            0 => Peeked::AllAlive,
            _ => Peeked::Dead(pid, exit_status(info.si_code, status)),
        };
    }
}

fn exit_status(code: i32, status: i32) -> ExitStatus {
    if code == libc::CLD_EXITED {
        return ExitStatus::Exited(u8::try_from(status & 0xff).unwrap_or(u8::MAX));
    }
    let signal = Signal::from_number(status).unwrap_or(Signal::KILL);
    ExitStatus::Killed { signal, core_dumped: code == libc::CLD_DUMPED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_as_the_kernel_tells_them() {
        assert_eq!(exit_status(libc::CLD_EXITED, 127), ExitStatus::Exited(127));
        let killed = |core_dumped| ExitStatus::Killed { signal: Signal::SEGV, core_dumped };
        assert_eq!(exit_status(libc::CLD_KILLED, 11), killed(false));
        assert_eq!(exit_status(libc::CLD_DUMPED, 11), killed(true));
    }
}
