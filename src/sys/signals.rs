//! Signals to rinit: all blocked, read from a descriptor (signalfd(2)).
//!
//! Not signals that rinit sends (`kill`). **Invariant:** no handler ever runs, so nothing here
//! needs to be async-signal-safe and no signal is lost between two reads.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::raw::call;
use crate::unit::process::Signal;

/// Bit n−1 stands for signal n, as the kernel has it. The kernel's calls are used instead of
/// glibc's, which hides the signals 32 and 33 from every set: one of them would end rinit.
pub type Mask = u64;

/// Everything but what the processor itself raises: blocked, those would end the process anyway.
pub const ALL_BUT_FAULTS: Mask = !(bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGABRT)
    | bit(libc::SIGSYS));

/// The set that holds one signal.
pub const fn bit(number: i32) -> Mask {
    1 << (number - 1)
}

/// What a signal does that nobody catches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// SIG_DFL.
    Default,
    /// SIG_IGN.
    Ignore,
}

/// Sets the mask of the calling thread (sigprocmask(2)). Async-signal-safe.
pub fn set_mask(mask: Mask) {
    let place = (&raw const mask).expose_provenance();
    let how = libc::SIG_SETMASK as usize;
    // SAFETY: the set lives through the call and has the size that is given; no old set is asked.
    let _ = unsafe { call(libc::SYS_rt_sigprocmask, [how, place, 0, size_of::<Mask>()]) };
}

/// The kernel's `struct sigaction` of x86-64, arm64 and riscv64; zeroed but for the handler.
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: Mask,
}

/// Sets a disposition (sigaction(2)); SIGKILL and SIGSTOP refuse, which is ignored.
/// Async-signal-safe.
pub fn set_disposition(number: i32, disposition: Disposition) {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    let action = KernelSigaction { handler, flags: 0, restorer: 0, mask: 0 };
    let (number, place) = (number as usize, (&raw const action).expose_provenance());
    // SAFETY: `action` is laid out as the kernel reads it; neither handler is code of ours.
    let _ = unsafe { call(libc::SYS_rt_sigaction, [number, place, 0, size_of::<Mask>()]) };
}

/// The descriptor from which blocked signals are read.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

/// How many signals one read takes: a stack buffer of 2 KiB.
const BATCH: usize = 16;

impl SignalFd {
    /// Opens it for everything that [`ALL_BUT_FAULTS`] blocks.
    ///
    /// # Errors
    /// signalfd(2)'s: no descriptor or memory left.
    pub fn open() -> io::Result<SignalFd> {
        let mask = ALL_BUT_FAULTS;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set lives through the call and has the size that is given.
        let fd = unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, &raw const mask, size_of::<Mask>(), flags)
        };
        let fd = super::cvt(libc::c_int::try_from(fd).unwrap_or(-1))?;
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Appends what has come; returns whether there may be more.
    /// A SIGPIPE that our own write caused is nobody's message, and left out.
    ///
    /// # Errors
    /// read(2)'s, but for "nothing there" and interruptions.
    pub fn read(&self, into: &mut Vec<Signal>) -> io::Result<bool> {
        // SAFETY: a `signalfd_siginfo` is plain numbers; all zeroes is one.
        let mut buffer: [libc::signalfd_siginfo; BATCH] = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer and the length are those of `buffer`.
        let size = unsafe {
            libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), size_of_val(&buffer))
        };
        let Ok(size) = usize::try_from(size) else {
            let error = io::Error::last_os_error();
            let interrupted = error.kind() == io::ErrorKind::Interrupted;
            return if super::is_passing(&error) { Ok(interrupted) } else { Err(error) };
        };
        let count = size / size_of::<libc::signalfd_siginfo>();
        for info in buffer.iter().take(count) {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == libc::SIGPIPE && info.ssi_pid == std::process::id() {
                continue;
            }
            into.extend(Signal::from_number(number));
        }
        Ok(count == BATCH)
    }

    /// Waits until a signal has come or the time is over; only for the last stand.
    pub fn wait(&self, timeout: std::time::Duration) {
        let mut fd = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = libc::c_int::try_from(timeout.as_millis().max(1)).unwrap_or(1_000);
        // SAFETY: one pollfd, which lives through the call.
        unsafe { libc::poll(&raw mut fd, 1, millis) };
    }
}

impl Source for SignalFd {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_not_blocked_and_the_hidden_ones_are() {
        for number in [libc::SIGSEGV, libc::SIGABRT, libc::SIGSYS] {
            assert_eq!(ALL_BUT_FAULTS & bit(number), 0);
        }
        for number in [libc::SIGTERM, libc::SIGCHLD, 32, 33, 64] {
            assert_ne!(ALL_BUT_FAULTS & bit(number), 0, "{number}");
        }
    }

    #[test]
    fn a_blocked_signal_is_read_and_an_own_broken_pipe_is_not() {
        // The mask is this thread's alone; tgkill reaches this thread alone.
        set_mask(bit(libc::SIGUSR2) | bit(libc::SIGPIPE));
        let signals = SignalFd::open().unwrap();
        for number in [libc::SIGPIPE, libc::SIGUSR2] {
            // SAFETY: a signal to ourselves, blocked.
            unsafe { libc::pthread_kill(libc::pthread_self(), number) };
        }
        let mut got = Vec::new();
        while signals.read(&mut got).unwrap() {}
        assert_eq!(got, [Signal::USR2]);
        set_mask(0);
    }
}
