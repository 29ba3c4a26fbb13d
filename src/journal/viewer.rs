//! Who looks at the lines: clients of rinit's control socket whose connection came to us.
//!
//! Not who may look (rinit has let them in) and not which lines there are (`ring`). **Invariant:**
//! nobody is waited for: what a client does not read is kept up to [`OUTPUT_MAX`] bytes, then lines
//! are left out for it, and counted.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::line;
use super::protocol::Request;
use super::ring::Record;
use crate::sys::clock;

/// So many look at once.
const VIEWERS_MAX: usize = 64;
/// So much of what comes is kept for a client; what was there before comes whole.
const OUTPUT_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Viewer {
    stream: UnixStream,
    request: Request,
    output: Vec<u8>,
    /// So much of it has gone out.
    sent: usize,
    /// So many lines were left out since the last that was not.
    dropped: u64,
    /// Once all is written it is closed.
    is_ending: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Viewers {
    all: BTreeMap<usize, Viewer>,
    count: usize,
    first_token: usize,
}

impl Viewers {
    /// Nobody; their tokens are from here on.
    pub(super) fn new(first_token: usize) -> Viewers {
        Viewers { all: BTreeMap::new(), count: 0, first_token }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes a client in, and shows it what there is.
    pub(super) fn admit(
        &mut self,
        fd: OwnedFd,
        request: Request,
        records: &[Record],
        registry: &Registry,
    ) {
        self.count += 1;
        let token = Token(self.first_token.saturating_add(self.count));
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest);
        if self.all.len() >= VIEWERS_MAX || registered.is_err() {
            return; // closed: that is an answer, too
        }
        let is_ending = !request.follow;
        let stream = UnixStream::from(fd);
        let mut viewer =
            Viewer { stream, request, output: Vec::new(), sent: 0, dropped: 0, is_ending };
        records.iter().for_each(|record| viewer.show(record));
        if is_ending {
            viewer.end();
        }
        self.all.insert(self.count, viewer);
        self.flush(self.count);
    }

    /// A line came.
    pub(super) fn show(&mut self, record: &Record) {
        let wants = |viewer: &Viewer| {
            let request = &viewer.request;
            !viewer.is_ending && request.is_for(&record.source.unit, record.source.is_instance)
        };
        for viewer in self.all.values_mut().filter(|viewer| wants(viewer)) {
            if viewer.output.len() > OUTPUT_MAX {
                viewer.dropped += 1;
            } else {
                viewer.show(record);
            }
        }
    }

    /// What was shown goes out.
    pub(super) fn flush_all(&mut self) {
        let waiting = self.all.iter().filter(|(_, viewer)| !viewer.output.is_empty());
        let waiting: Vec<usize> = waiting.map(|(number, _)| *number).collect();
        waiting.into_iter().for_each(|number| self.flush(number));
    }

    /// The poll says that a client has news: it reads again, or is gone.
    pub(super) fn on_token(&mut self, token: usize) {
        let number = token.saturating_sub(self.first_token);
        let Some(viewer) = self.all.get_mut(&number) else { return };
        if viewer.is_gone() { self.close(number) } else { self.flush(number) }
    }

    /// No line will come any more.
    pub(super) fn end(&mut self) {
        for viewer in self.all.values_mut().filter(|viewer| !viewer.is_ending) {
            viewer.is_ending = true;
            viewer.end();
        }
        self.flush_all();
    }

    fn flush(&mut self, number: usize) {
        if self.all.get_mut(&number).is_some_and(|viewer| !viewer.flush()) {
            self.close(number);
        }
    }

    /// The descriptor is ours alone by now, so closing takes it out of the poll.
    fn close(&mut self, number: usize) {
        self.all.remove(&number);
    }
}

impl Viewer {
    fn show(&mut self, record: &Record) {
        let time = clock::rfc3339(record.time);
        let dropped = std::mem::take(&mut self.dropped);
        self.output.extend_from_slice(b"{\"parameters\":{\"line\":");
        line::write_json(&mut self.output, &record.source, record.line(), &time);
        self.output.pop(); // the newline
        let rest = format!(",\"dropped\":{dropped}}},\"continues\":true}}\0");
        self.output.extend_from_slice(rest.as_bytes());
    }

    fn end(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        let last = format!("{{\"parameters\":{{\"line\":null,\"dropped\":{dropped}}}}}\0");
        self.output.extend_from_slice(last.as_bytes());
    }

    /// Whether it is still there, and has not got all that it asked for.
    fn flush(&mut self) -> bool {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return false,
                Ok(size) => self.sent += size,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.output.drain(..std::mem::take(&mut self.sent));
                    return true;
                }
                Err(_) => return false,
            }
        }
        (self.output, self.sent) = (Vec::new(), 0);
        !self.is_ending
    }

    /// It has nothing more to say to us; what it says nevertheless is nobody's.
    fn is_gone(&mut self) -> bool {
        loop {
            match self.stream.read(&mut [0; 512]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}
