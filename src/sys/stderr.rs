//! rinit's own lines on their way to standard error, without ever waiting for a reader.
//!
//! Not what they say (`init::report`). O_NONBLOCK is never set on the inherited descriptor: the
//! flag belongs to the open file, which others share. **Invariant:** a write returns at once; what
//! does not fit is kept up to a bound, then dropped and counted.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

/// How many bytes wait at most for a reader that does not read.
/// The boot of a thousand units is a quarter of it.
const QUEUE_BYTES: usize = 1 << 20;

/// A pipe takes so many bytes as a whole (pipe(7), PIPE_BUF).
const CHUNK: usize = 4096;

/// How a write to standard error is kept from waiting.
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

/// The queue before standard error.
#[derive(Debug)]
pub struct Stderr {
    /// `None`: nothing was written yet, and what nobody uses is not looked at.
    way: Option<Way>,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

impl Stderr {
    /// An empty queue; what standard error is, the first line finds out.
    pub fn open() -> Stderr {
        Stderr { way: None, lines: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// Takes a line, newline included.
    pub fn push(&mut self, line: Vec<u8>) {
        if self.bytes.saturating_add(line.len()) > QUEUE_BYTES && !self.flush() {
            self.dropped += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// Writes what can be written; returns whether nothing is left. A reader that is gone for
    /// good (EPIPE) counts as having read everything.
    pub fn flush(&mut self) -> bool {
        while let Some(chunk) = self.next_chunk() {
            match self.write(&chunk) {
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.consume(chunk.len()),
            }
        }
        true
    }

    /// How many lines were lost since this was last asked, once there is room again to say so.
    pub fn take_dropped(&mut self) -> Option<u64> {
        let tell = self.dropped > 0 && self.bytes < QUEUE_BYTES / 2;
        tell.then(|| std::mem::take(&mut self.dropped))
    }

    /// The descriptor to wait on for room, while [`Stderr::flush`] says that something is left.
    pub fn descriptor(&self) -> RawFd {
        match &self.way {
            Some(Way::Reopened(file)) => file.as_raw_fd(),
            Some(Way::Plain | Way::Socket | Way::Careful) | None => libc::STDERR_FILENO,
        }
    }

    /// Whole lines up to a pipe's atomic size, so that they stay whole beside others' lines.
    fn next_chunk(&self) -> Option<Vec<u8>> {
        let mut chunk = self.lines.front()?.clone();
        for line in self.lines.iter().skip(1) {
            if chunk.len() + line.len() > CHUNK {
                break;
            }
            chunk.extend_from_slice(line);
        }
        chunk.truncate(CHUNK);
        Some(chunk)
    }

    fn consume(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(front) = self.lines.front_mut() {
            if front.len() > written {
                front.drain(..written);
                return;
            }
            written -= front.len();
            self.lines.pop_front();
        }
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        match self.way.get_or_insert_with(find_way) {
            Way::Plain => write_plain(chunk),
            Way::Socket => send(chunk),
            Way::Reopened(file) => file.write(chunk),
            Way::Careful => write_carefully(chunk),
        }
    }
}

/// One line, at once and without a queue: for the panic hook.
pub fn write_line(line: &str) {
    let mut chunk = line.as_bytes().to_vec();
    chunk.push(b'\n');
    let mut stderr = Stderr::open();
    stderr.push(chunk);
    stderr.flush();
}

fn find_way() -> Way {
    let Ok(kind) = std::fs::metadata("/proc/self/fd/2").map(|meta| meta.file_type()) else {
        return Way::Careful;
    };
    if kind.is_socket() {
        return Way::Socket;
    }
    if kind.is_file() || kind.is_dir() {
        return Way::Plain;
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    match OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2") {
        Ok(file) => Way::Reopened(file),
        Err(_) => Way::Careful,
    }
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn write_plain(chunk: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of `chunk`.
    count(unsafe { libc::write(libc::STDERR_FILENO, chunk.as_ptr().cast(), chunk.len()) })
}

fn send(chunk: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and the length are those of `chunk`.
    count(unsafe { libc::send(libc::STDERR_FILENO, chunk.as_ptr().cast(), chunk.len(), flags) })
}

fn write_carefully(chunk: &[u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: chunk.as_ptr().cast_mut().cast(), iov_len: chunk.len() };
    // SAFETY: one iovec that describes `chunk`, which is only read; offset −1 is "where it is".
    let written =
        unsafe { libc::pwritev2(libc::STDERR_FILENO, &raw const part, 1, -1, libc::RWF_NOWAIT) };
    if written >= 0 {
        return count(written);
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ESPIPE)) {
        return Err(error);
    }
    let mut fd = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd, which lives through the call; timeout 0 returns at once.
    let ready = unsafe { libc::poll(&raw mut fd, 1, 0) };
    if ready != 1 || fd.revents & libc::POLLOUT == 0 {
        let gone = fd.revents & (libc::POLLERR | libc::POLLNVAL) != 0;
        return Err(if gone {
            io::ErrorKind::BrokenPipe.into()
        } else {
            io::ErrorKind::WouldBlock.into()
        });
    }
    write_plain(chunk) // a pipe with room takes PIPE_BUF bytes at once
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn over_a_pipe() -> (std::io::PipeReader, Stderr) {
        let (reader, writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let file =
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        let way = Some(Way::Reopened(file));
        (reader, Stderr { way, lines: VecDeque::new(), bytes: 0, dropped: 0 })
    }

    #[test]
    fn a_full_pipe_drops_whole_lines_and_says_how_many() {
        let (mut reader, mut stderr) = over_a_pipe();
        let line = [[b'x'; 99].as_slice(), b"\n"].concat();
        for _ in 0..50_000 {
            stderr.push(line.clone());
        }
        assert!(!stderr.flush());
        assert_eq!(stderr.take_dropped(), None, "there is no room to tell it yet");
        let mut text = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while !stderr.flush() {
            let size = reader.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..size]);
        }
        let dropped = stderr.take_dropped().unwrap();
        assert_eq!(stderr.take_dropped(), None);
        drop(stderr);
        reader.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|text| text.as_bytes() == &line[..99]));
        assert_eq!(text.lines().count() as u64 + dropped, 50_000);
    }

    #[test]
    fn a_reader_that_is_gone_is_survived() {
        let (reader, mut stderr) = over_a_pipe();
        drop(reader);
        stderr.push(b"line\n".to_vec());
        assert!(stderr.flush());
        assert_eq!(stderr.bytes, 0);
    }
}
