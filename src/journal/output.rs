//! One of our two outputs: whole lines go out, and never wait for their reader.
//!
//! Not what a line looks like (`line`). What a pipe takes as a whole is written as a whole, so a
//! kill leaves no half of it. Anything longer is first put into a file in memory that rinit holds
//! too, and goes out from there ([`Writer::write_from`]): the place at which that file stands is
//! how much has gone out, so the next journal goes on in the middle of a line. **Invariant:** a
//! chunk is taken as a whole or not at all, and nothing is written between two parts of it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;

use crate::sys::writer::{PIPE_BUF, Writer};

/// So much is written at once to what is no pipe, in bytes.
const CHUNK: usize = 64 << 10;

/// A file that stands here has nothing left, whatever is written to it.
const NOWHERE: u64 = 1 << 40;

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

/// What of a chunk has not gone out yet: the file from where it stands on.
#[derive(Debug)]
struct Rest {
    file: File,
    size: usize,
}

impl Output {
    /// The output on this descriptor; `file` may hold what our predecessor did not get out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(fd: RawFd, file: File) -> io::Result<Output> {
        Ok(Output {
            writer: Writer::open(fd),
            rest: Rest::new(file)?,
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
        let is_whole = self.writer.is_pipe() && chunk.len() <= PIPE_BUF;
        if !is_whole && self.rest.keep(chunk).is_ok() {
            self.flush();
            return true;
        }
        // A chunk for which there is no memory may be cut short here.
        self.attempt(Some(chunk)) != Some(0)
    }

    /// Writes what is left, as far as there is room; whether nothing is.
    pub fn flush(&mut self) -> bool {
        self.is_full = false;
        while !self.rest.is_empty() {
            match self.attempt(None) {
                Some(0) => return false,
                Some(written) => self.rest.size = self.rest.size.saturating_sub(written),
                None => self.rest.size = 0,
            }
            if self.rest.is_empty() {
                self.rest.forget();
            }
        }
        true
    }

    /// The error that lines were lost to since this was last asked.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// How much was written of these bytes, or of the rest; `None`: it is lost, for the output is broken. A reader that is gone
    /// for good counts as having read everything.
    fn attempt(&mut self, bytes: Option<&[u8]>) -> Option<usize> {
        loop {
            let result = match bytes {
                Some(bytes) => self.writer.write(bytes),
                None => self.writer.write_from(&self.rest.file, self.rest.size),
            };
            match result {
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
    fn new(mut file: File) -> io::Result<Rest> {
        let left = file.metadata()?.len().saturating_sub(file.stream_position()?);
        Ok(Rest { file, size: usize::try_from(left).unwrap_or(0) })
    }

    fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// There is nothing left before there is all of it. A pipe may still hold pages of what was in
    /// the file before: they are never written again, for the file gives them up.
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.forget();
        self.file.write_all_at(bytes, 0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.size = bytes.len();
        Ok(())
    }

    /// Nothing is left, and its memory goes back.
    fn forget(&mut self) {
        self.size = 0;
        // Neither can fail with a file in memory.
        let _ = self.file.seek(SeekFrom::Start(NOWHERE));
        let _ = self.file.set_len(0);
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

    /// Killed right after the system call: nothing of ours knows how much was taken.
    #[test]
    fn a_kill_in_the_middle_of_a_write_tears_nothing() {
        let long: Vec<u8> = (0..150_000u32).map(|n| b'a' + (n % 23) as u8).collect();
        let directory = tempfile::tempdir().unwrap();
        for (name, is_appended) in [("written", false), ("appended", true)] {
            let path = directory.path().join(name);
            let mut options = std::fs::OpenOptions::new();
            let target = options.create(true).append(is_appended).write(true).open(&path).unwrap();
            let rest = file();
            let mut output = Output::new(target.as_raw_fd(), rest.try_clone().unwrap()).unwrap();
            output.rest.keep(&long).unwrap();
            for part in [10_000, 1, 50_000] {
                let Output { writer, rest, .. } = &mut output;
                assert_eq!(writer.write_from(&rest.file, part).unwrap(), part);
            }
            drop(output);
            let mut output = Output::new(target.as_raw_fd(), rest).unwrap();
            assert!(!output.is_empty() && output.write(b"after") && output.is_empty());
            assert_eq!(std::fs::read(path).unwrap(), [&long[..], b"after"].concat(), "{name}");
        }
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
