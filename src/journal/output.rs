//! One of our two outputs: whole lines go out, and never wait for their reader.
//!
//! Not what a line looks like (`line`). What a pipe takes as a whole is written as a whole, so a
//! kill leaves no half of it. Of a longer one a part may have gone out when there is no more room:
//! its rest is kept in a file in memory that rinit holds too, so that the next journal finishes
//! the line before it writes anything else. **Invariant:** a chunk is taken as a whole or not at
//! all, and nothing is written between two parts of it.

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;

use crate::sys::writer::{PIPE_BUF, Writer};

/// So much is written at once to what is no pipe, in bytes.
const CHUNK: usize = 64 << 10;

/// At the beginning of the file: where the rest begins and where it ends.
const HEADER: usize = 16;

/// An output.
#[derive(Debug)]
pub struct Output {
    writer: Writer,
    rest: Rest,
    /// There was no room.
    is_full: bool,
    /// The last failure to write.
    failed: Option<io::Error>,
}

/// What of a chunk has not gone out yet.
#[derive(Debug)]
struct Rest {
    file: File,
    start: usize,
    end: usize,
}

impl Output {
    /// The output on this descriptor; `file` may hold what our predecessor did not get out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(fd: RawFd, file: File) -> io::Result<Output> {
        Ok(Output {
            writer: Writer::open(fd),
            rest: Rest::read(file)?,
            is_full: false,
            failed: None,
        })
    }

    /// How long a chunk of several lines should be at most.
    pub fn chunk_max(&self) -> usize {
        if self.writer.is_pipe() { PIPE_BUF } else { CHUNK }
    }

    /// A person may look at it directly.
    pub fn is_terminal(&self) -> bool {
        self.writer.is_terminal()
    }

    /// Nothing is taken until [`Output::flush`] finds room.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Nothing of what was taken is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The descriptor to wait on for room.
    pub fn descriptor(&self) -> RawFd {
        self.writer.descriptor()
    }

    /// Takes a chunk, or says that there is no room.
    pub fn write(&mut self, chunk: &[u8]) -> bool {
        if !self.flush() {
            return false;
        }
        match self.attempt(chunk) {
            Some(0) => false,
            Some(written) if written < chunk.len() => {
                self.is_full = true;
                // In the worst case the line is cut short here, if we are killed now.
                let _ = self.rest.keep(chunk.get(written..).unwrap_or_default());
                true
            }
            Some(_) | None => true,
        }
    }

    /// Writes what is left, as far as there is room; whether nothing is.
    pub fn flush(&mut self) -> bool {
        self.is_full = false;
        while !self.rest.is_empty() {
            let Ok(bytes) = self.rest.bytes() else {
                self.rest.consume(usize::MAX);
                break;
            };
            match self.attempt(&bytes) {
                Some(0) => return false,
                Some(written) => self.rest.consume(written),
                None => self.rest.consume(bytes.len()),
            }
        }
        true
    }

    /// The error that lines were lost to since this was last asked.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// How much was written; `None`: it is lost, for the output is broken. A reader that is gone
    /// for good counts as having read everything.
    fn attempt(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            match self.writer.write(bytes) {
                Ok(written) => return Some(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return Some(0);
                }
                Err(error) => {
                    self.failed = Some(error);
                    return None;
                }
            }
        }
    }
}

impl Rest {
    fn read(file: File) -> io::Result<Rest> {
        let mut header = [0; HEADER];
        let (start, end) = match file.read_at(&mut header, 0)? {
            HEADER => {
                let number = |bytes: &[u8]| {
                    let bytes = bytes.try_into().map(u64::from_ne_bytes).unwrap_or(0);
                    usize::try_from(bytes).unwrap_or(0)
                };
                let (start, end) = header.split_at(HEADER / 2);
                (number(start), number(end))
            }
            _ => (0, 0),
        };
        Ok(Rest { file, start, end })
    }

    fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// First the bytes, then that they are there.
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.start, self.end) = (0, bytes.len());
        self.file.write_all_at(bytes, HEADER as u64)?;
        self.write_header()
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.end.saturating_sub(self.start)];
        self.file.read_exact_at(&mut bytes, (HEADER + self.start) as u64)?;
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        let _ = self.write_header(); // sixteen bytes that are there already
        if self.is_empty() {
            let _ = self.file.set_len(HEADER as u64); // its memory goes back
        }
    }

    /// In one piece: it lies on one page.
    fn write_header(&self) -> io::Result<()> {
        let mut header = [0; HEADER];
        let numbers = (self.start as u64).to_ne_bytes().into_iter();
        let numbers = numbers.chain((self.end as u64).to_ne_bytes());
        header.iter_mut().zip(numbers).for_each(|(to, from)| *to = from);
        self.file.write_all_at(&header, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};
    use std::os::fd::AsRawFd;

    fn file() -> File {
        tempfile::tempfile().unwrap()
    }

    #[test]
    fn what_is_full_takes_nothing_more() {
        let (mut reader, writer) = pipe().unwrap();
        let mut output = Output::new(writer.as_raw_fd(), file()).unwrap();
        let chunk = [b'x'; PIPE_BUF];
        let mut taken = 0;
        while output.write(&chunk) {
            taken += chunk.len();
        }
        assert!(taken >= chunk.len() && output.is_full() && output.is_empty());
        let mut buffer = vec![0; taken];
        reader.read_exact(&mut buffer).unwrap();
        assert!(output.write(b"again") && !output.is_full());
    }

    #[test]
    fn a_successor_finishes_a_long_line_first() {
        let (mut reader, writer) = pipe().unwrap();
        let rest = file();
        let long: Vec<u8> = (0..200_000u32).map(|n| b'a' + (n % 26) as u8).collect();
        let mut output = Output::new(writer.as_raw_fd(), rest.try_clone().unwrap()).unwrap();
        assert!(output.write(&long));
        assert!(output.is_full() && !output.is_empty());
        assert!(!output.write(b"between"), "not before the rest");
        drop(output);
        let mut output = Output::new(writer.as_raw_fd(), rest).unwrap();
        let mut read = Vec::new();
        let mut buffer = vec![0; 10_000];
        while !output.flush() {
            let size = reader.read(&mut buffer).unwrap();
            read.extend_from_slice(&buffer[..size]);
        }
        assert!(output.write(b"after"));
        drop((output, writer));
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, [&long[..], b"after"].concat());
    }

    #[test]
    fn a_reader_that_is_gone_is_survived() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut output = Output::new(writer.as_raw_fd(), file()).unwrap();
        assert!(output.write(b"line\n") && !output.is_full());
        let why = output.take_failure().unwrap();
        assert_eq!(why.kind(), io::ErrorKind::BrokenPipe);
    }
}
