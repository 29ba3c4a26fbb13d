//! Writing to a descriptor that others share, without ever waiting for its reader.
//!
//! Not a queue (`stderr`, `journal::output`). O_NONBLOCK is never set on the inherited descriptor:
//! the flag belongs to the open file, which others share. **Invariant:** a write returns at once.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};

/// A pipe takes so many bytes as a whole (pipe(7), PIPE_BUF).
pub const PIPE_BUF: usize = 4096;

/// How a write is kept from waiting.
#[derive(Debug)]
enum Way {
    /// A file: writing never waits for a reader.
    Plain,
    /// A socket: MSG_DONTWAIT.
    Socket,
    /// A pipe or terminal, opened a second time with O_NONBLOCK of its own.
    Reopened(File),
    /// It cannot be opened again (another user's): RWF_NOWAIT, or a look whether there is room.
    Careful,
}

/// A way to write to one of our standard streams.
#[derive(Debug)]
pub struct Writer {
    fd: RawFd,
    way: Way,
    is_pipe: bool,
}

impl Writer {
    /// Finds out what the stream is: 1 is standard output, 2 is standard error.
    pub fn open(fd: RawFd) -> Writer {
        let path = path_of(fd);
        let kind = std::fs::metadata(&path).map(|meta| meta.file_type()).ok();
        let is = |test: fn(&std::fs::FileType) -> bool| kind.as_ref().is_some_and(test);
        let way = match kind {
            None => Way::Careful,
            Some(_) if is(FileTypeExt::is_socket) => Way::Socket,
            Some(_) if is(std::fs::FileType::is_file) || is(std::fs::FileType::is_dir) => {
                Way::Plain
            }
            Some(_) => {
                let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
                match OpenOptions::new().write(true).custom_flags(flags).open(&path) {
                    Ok(file) => Way::Reopened(file),
                    Err(_) => Way::Careful,
                }
            }
        };
        Writer { fd, is_pipe: kind.is_none() || is(FileTypeExt::is_fifo), way }
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// write(2)'s: `WouldBlock` where there is no room, EPIPE where the reader is gone for good.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.way {
            Way::Plain => write_plain(self.fd, bytes),
            Way::Socket => send(self.fd, bytes),
            Way::Reopened(file) => file.write(bytes),
            Way::Careful => write_carefully(self.fd, bytes),
        }
    }

    /// Writes so much of a file, from where the file stands. The kernel moves that place on by
    /// what it takes, in the same system call (sendfile(2)): whoever shares the open file knows
    /// it, even if we are killed in the middle. Sockets, and files that are appended to, cannot
    /// be written in this way: for them the place is moved after the write.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_from(&mut self, mut file: &File, count: usize) -> io::Result<usize> {
        if let Way::Plain | Way::Reopened(_) = self.way {
            let (out, input) = (self.descriptor(), file.as_raw_fd());
            // SAFETY: numbers only; without an offset it is that of the open file.
            let sent = unsafe { libc::sendfile(out, input, std::ptr::null_mut(), count) };
            let error = match usize::try_from(sent) {
                Ok(0) => return Err(io::ErrorKind::WouldBlock.into()),
                Ok(sent) => return Ok(sent),
                Err(_) => io::Error::last_os_error(),
            };
            if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) {
                return Err(error);
            }
        }
        let place = file.stream_position()?;
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, place)?;
        let written = self.write(&bytes)?;
        file.seek(SeekFrom::Start(place + written as u64))?;
        Ok(written)
    }

    /// The descriptor to wait on for room.
    pub fn descriptor(&self) -> RawFd {
        match &self.way {
            Way::Reopened(file) => file.as_raw_fd(),
            Way::Plain | Way::Socket | Way::Careful => self.fd,
        }
    }

    /// Only [`PIPE_BUF`] bytes at once are sure to stay together.
    pub fn is_pipe(&self) -> bool {
        self.is_pipe
    }

    /// A person may look at it directly.
    pub fn is_terminal(&self) -> bool {
        // SAFETY: isatty takes a number.
        unsafe { libc::isatty(self.fd) == 1 }
    }

    #[cfg(test)]
    pub(super) fn reopened(file: File) -> Writer {
        Writer { fd: file.as_raw_fd(), way: Way::Reopened(file), is_pipe: true }
    }
}

/// Whether two of our descriptors are the same pipe, terminal or file.
pub fn are_same(one: RawFd, other: RawFd) -> bool {
    let identity = |fd| std::fs::metadata(path_of(fd)).map(|meta| (meta.dev(), meta.ino())).ok();
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

fn path_of(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn write_plain(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of `bytes`.
    count(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and the length are those of `bytes`.
    count(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

fn write_carefully(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one iovec that describes `bytes`, which is only read; offset −1 is "where it is".
    let written = unsafe { libc::pwritev2(fd, &raw const part, 1, -1, libc::RWF_NOWAIT) };
    if written >= 0 {
        return count(written);
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ESPIPE)) {
        return Err(error);
    }
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd, which lives through the call; timeout 0 returns at once.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    if ready != 1 || poll.revents & libc::POLLOUT == 0 {
        let gone = poll.revents & (libc::POLLERR | libc::POLLNVAL) != 0;
        return Err(if gone {
            io::ErrorKind::BrokenPipe.into()
        } else {
            io::ErrorKind::WouldBlock.into()
        });
    }
    // A pipe with room takes PIPE_BUF bytes at once, and might make us wait for more.
    write_plain(fd, bytes.get(..PIPE_BUF).unwrap_or(bytes))
}
