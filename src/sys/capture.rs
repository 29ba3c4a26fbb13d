//! The pipe of a captured stream: how it is made, looked into and emptied.
//!
//! Not what is in it (`journal`). **Invariant:** looking (tee(2)) takes nothing out: whoever is
//! killed between a look and [`consume`] leaves everything to whoever looks next.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::cvt;

/// The two ends of a pipe: ours, which does not wait, and the service's, which does.
///
/// # Errors
/// pipe(2)'s, fcntl(2)'s: EMFILE.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors.
    cvt(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let [read, write] = fds;
    // SAFETY: both were just made and nobody else has them.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(read), OwnedFd::from_raw_fd(write)) };
    // SAFETY: numbers only. Each end is an open file of its own, so the other is not changed.
    cvt(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((read, write))
}

/// Makes the pipe the user's, who may then open `/dev/stdout` as well as write to it.
pub fn give_to(pipe: BorrowedFd<'_>, uid: u32) {
    // Without the privilege it stays ours, and an inherited stream would not be theirs either.
    let _ = std::os::unix::fs::fchown(pipe, Some(uid), None);
}

/// A file in memory (memfd_create(2)).
///
/// # Errors
/// memfd_create(2)'s.
pub fn memory_file(name: &std::ffi::CStr) -> io::Result<File> {
    // SAFETY: a C string and a number.
    let fd = cvt(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: it was just made and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// What a look into a pipe found beside the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Nobody can write to it any more: there is nothing behind these bytes.
    pub ended: bool,
    /// There is no room for more before something is consumed.
    pub full: bool,
}

/// Looks into pipes, by way of a pipe of its own.
#[derive(Debug)]
pub struct Peeker {
    read: File,
    write: OwnedFd,
    capacity: libc::c_int,
}

impl Peeker {
    /// With an empty pipe of its own.
    ///
    /// # Errors
    /// pipe(2)'s.
    pub fn new() -> io::Result<Peeker> {
        let (read, write) = pipe()?;
        let capacity = capacity(write.as_fd());
        Ok(Peeker { read: File::from(read), write, capacity })
    }

    /// Replaces `bytes` by all that is in the pipe.
    ///
    /// # Errors
    /// tee(2)'s, but for "nothing there".
    pub fn look(&mut self, pipe: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> io::Result<Look> {
        bytes.clear();
        // First: what nobody can write to when it is looked into is looked into as a whole.
        let polled_before = polled(pipe, libc::POLLIN);
        let ended = polled_before & libc::POLLHUP != 0;
        if polled_before & (libc::POLLIN | libc::POLLNVAL) == 0 {
            return Ok(Look { ended, full: false });
        }
        self.resize(capacity(pipe));
        let most = usize::try_from(self.capacity).unwrap_or(0);
        let (from, to) = (pipe.as_raw_fd(), self.write.as_raw_fd());
        // SAFETY: numbers only.
        let count = unsafe { libc::tee(from, to, most, libc::SPLICE_F_NONBLOCK) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            let look = Look { ended, full: false };
            return if super::is_passing(&error) { Ok(look) } else { Err(error) };
        };
        // Both have as much room, and the copy is made page by page.
        let full = count > 0 && polled(self.write.as_fd(), libc::POLLOUT) & libc::POLLOUT == 0;
        bytes.resize(count, 0);
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            let size = self.read.read(rest)?;
            rest = rest.get_mut(size..).unwrap_or_default();
        }
        Ok(Look { ended, full })
    }

    /// As much room as the pipe that is looked into has; less, if more is not allowed.
    fn resize(&mut self, wanted: libc::c_int) {
        if wanted != self.capacity {
            // SAFETY: numbers only.
            let set = unsafe { libc::fcntl(self.write.as_raw_fd(), libc::F_SETPIPE_SZ, wanted) };
            self.capacity = if set > 0 { set } else { capacity(self.write.as_fd()) };
        }
    }
}

/// Takes so many bytes out that were looked at before; `scratch` is overwritten.
///
/// # Errors
/// read(2)'s.
pub fn consume(pipe: BorrowedFd<'_>, mut count: usize, scratch: &mut Vec<u8>) -> io::Result<()> {
    scratch.resize(scratch.len().max(count), 0);
    while count > 0 {
        // SAFETY: the pointer is that of `scratch`, which is at least that long.
        let size = unsafe { libc::read(pipe.as_raw_fd(), scratch.as_mut_ptr().cast(), count) };
        match usize::try_from(size) {
            Ok(0) => return Ok(()),
            Ok(size) => count = count.saturating_sub(size),
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// Which of these pipes are empty and can be written to by nobody; none, if it cannot be said.
pub fn are_over(pipes: &[BorrowedFd<'_>]) -> Vec<bool> {
    let poll = |pipe: &BorrowedFd<'_>| libc::pollfd {
        fd: pipe.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polls: Vec<libc::pollfd> = pipes.iter().map(poll).collect();
    let count = polls.len() as libc::nfds_t;
    // SAFETY: the pointer and the length are those of `polls`; timeout 0 returns at once.
    unsafe { libc::poll(polls.as_mut_ptr(), count, 0) };
    polls.iter().map(|poll| poll.revents == libc::POLLHUP).collect()
}

fn capacity(pipe: BorrowedFd<'_>) -> libc::c_int {
    // SAFETY: numbers only.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) }
}

fn polled(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::c_short {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd, which lives through the call; timeout 0 returns at once.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_look_takes_nothing_and_sees_the_end() {
        let (read, write) = pipe().unwrap();
        let mut write = File::from(write);
        let mut peeker = Peeker::new().unwrap();
        let mut bytes = vec![1];
        let nothing = Look { ended: false, full: false };
        assert_eq!(peeker.look(read.as_fd(), &mut bytes).unwrap(), nothing);
        assert!(bytes.is_empty());
        write.write_all(b"one\ntwo").unwrap();
        for _ in 0..2 {
            assert_eq!(peeker.look(read.as_fd(), &mut bytes).unwrap(), nothing);
            assert_eq!(bytes, b"one\ntwo");
        }
        consume(read.as_fd(), 4, &mut Vec::new()).unwrap();
        drop(write);
        let ended = Look { ended: true, full: false };
        assert_eq!(peeker.look(read.as_fd(), &mut bytes).unwrap(), ended);
        assert_eq!(bytes, b"two");
        let (other, _write) = pipe().unwrap();
        assert_eq!(are_over(&[read.as_fd(), other.as_fd()]), [false, false]);
        consume(read.as_fd(), 3, &mut Vec::new()).unwrap();
        assert_eq!(are_over(&[read.as_fd(), other.as_fd()]), [true, false]);
        assert_eq!(peeker.look(read.as_fd(), &mut bytes).unwrap(), ended);
        assert!(bytes.is_empty());
    }

    #[test]
    fn a_pipe_is_full_when_its_writer_waits() {
        // Whatever the size of a write: each may leave a page half empty.
        for size in [1, 100, 2049, 4096, 5000, 70_000] {
            let (read, write) = pipe().unwrap();
            // SAFETY: numbers only.
            cvt(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })
                .unwrap();
            let mut write = File::from(write);
            let mut peeker = Peeker::new().unwrap();
            let mut bytes = Vec::new();
            while write.write(&vec![b'x'; size]).is_ok() {}
            assert!(peeker.look(read.as_fd(), &mut bytes).unwrap().full, "{size}");
            consume(read.as_fd(), 8192, &mut Vec::new()).unwrap();
            assert!(!peeker.look(read.as_fd(), &mut bytes).unwrap().full, "{size}");
        }
    }

    #[test]
    fn a_smaller_pipe_is_full_earlier() {
        let (read, write) = pipe().unwrap();
        // SAFETY: numbers only.
        cvt(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, 8192) }).unwrap();
        let mut peeker = Peeker::new().unwrap();
        File::from(write.try_clone().unwrap()).write_all(&[b'x'; 8192]).unwrap();
        assert!(peeker.look(read.as_fd(), &mut Vec::new()).unwrap().full);
    }
}
