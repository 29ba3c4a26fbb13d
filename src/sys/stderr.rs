//! rinit's own lines on their way to standard error, without ever waiting for a reader.
//!
//! Not what they say (`init::report`) nor how a write is kept from waiting (`writer`).
//! **Invariant:** a write returns at once; what
//! does not fit is kept up to a bound, then dropped and counted.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use super::writer::{PIPE_BUF, Writer};

/// How many bytes wait at most for a reader that does not read.
/// The boot of a thousand units is a quarter of it.
const QUEUE_BYTES: usize = 1 << 20;

/// The queue before standard error.
#[derive(Debug)]
pub struct Stderr {
    /// `None`: nothing was written yet, and what nobody uses is not looked at.
    writer: Option<Writer>,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

impl Stderr {
    /// An empty queue; what standard error is, the first line finds out.
    pub fn open() -> Stderr {
        Stderr { writer: None, lines: VecDeque::new(), bytes: 0, dropped: 0 }
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
        self.writer.as_ref().map_or(libc::STDERR_FILENO, Writer::descriptor)
    }

    /// Whole lines up to a pipe's atomic size, so that they stay whole beside others' lines.
    fn next_chunk(&self) -> Option<Vec<u8>> {
        let mut chunk = self.lines.front()?.clone();
        for line in self.lines.iter().skip(1) {
            if chunk.len() + line.len() > PIPE_BUF {
                break;
            }
            chunk.extend_from_slice(line);
        }
        chunk.truncate(PIPE_BUF);
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
        self.writer.get_or_insert_with(|| Writer::open(libc::STDERR_FILENO)).write(chunk)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    fn over_a_pipe() -> (std::io::PipeReader, Stderr) {
        let (reader, writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let file =
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        let writer = Some(Writer::reopened(file));
        (reader, Stderr { writer, lines: VecDeque::new(), bytes: 0, dropped: 0 })
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
