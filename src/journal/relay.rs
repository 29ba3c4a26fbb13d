//! The loop of the journal process: streams in, whole lines out.
//!
//! Not what a line looks like (`line`) nor how it goes out (`output`). Every stream that has news
//! gets a turn, in order, and in a turn no more than its pipe held, so that a flood of one holds
//! up no other. **Invariant:** what is taken out of a pipe has been taken by its output before.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::line::{self, Format, Line};
use super::output::Output;
use regex_lite::Regex;

use super::protocol::{self, Extras, LogFile, Order, Rate, Request, Source, Stream, Word};
use super::rate::Limit;
use super::ring::{Record, Rings};
use super::rotate::LogFiles;
use super::viewer::Viewers;
use crate::sys::capture::{self, Look, Peeker};
use crate::sys::channel::{Channel, Received};
use crate::sys::{clock, reason, writer};

const CHANNEL: Token = Token(0);
/// Output n has this token and n more.
const FIRST_OUTPUT: usize = 1;
/// The stream with number n has this token and n more.
const FIRST_STREAM: usize = 16;

/// The client with number n has this token and n more.
const FIRST_VIEWER: usize = usize::MAX / 2;

/// So many of its last lines are shown when a unit fails.
const TAIL: usize = 10;
/// So many turns the streams of a unit that failed get for its last words.
const LAST_TURNS: usize = 64;

/// The queue keeps the memory for so many streams when it is empty.
const QUEUE_KEPT: usize = 64;

/// So many units have their lines counted; of those that are gone only what was left out.
const LIMITS_MAX: usize = 16 << 10;

/// So many events are taken from the kernel at once.
const EVENTS: usize = 256;

/// The longest part of a character in UTF-8 that can lack its last byte.
const CHARACTER_MAX: usize = 3;

/// One stream of one process.
#[derive(Debug)]
struct Captured {
    source: Source,
    pipe: OwnedFd,
    /// It is in the queue.
    is_ready: bool,
    wishes: Option<Box<Wishes>>,
}

/// What few streams have.
#[derive(Debug)]
struct Wishes {
    /// Until a line has it.
    pattern: Option<Regex>,
    rate: Option<Rate>,
    file: Option<LogFile>,
}

impl Wishes {
    fn new(extras: Extras) -> Wishes {
        let pattern = extras.pattern.and_then(|pattern| Regex::new(&pattern).ok());
        Wishes { pattern, rate: extras.rate, file: extras.file }
    }
}

/// What a turn of a stream came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// There may be more.
    Again,
    /// Its output is full.
    Blocked,
    /// Nothing can be done before it has news.
    Idle,
    /// Nobody can write to it any more, and all of it has been relayed.
    Over,
}

/// All of the journal process.
#[derive(Debug)]
pub(super) struct Relay {
    poll: Poll,
    /// `None`: rinit has closed it; what is in the pipes is still relayed.
    channel: Option<Channel>,
    /// Standard output, and standard error unless it is the same.
    outputs: Vec<Output>,
    /// Those in the poll.
    watched: Vec<usize>,
    streams: BTreeMap<u64, Captured>,
    ready: VecDeque<u64>,
    format: Format,
    peeker: Peeker,
    /// What the stream whose turn it is holds.
    bytes: Vec<u8>,
    /// What is to go out together; then what is taken out of a pipe, which nobody looks at.
    chunk: Vec<u8>,
    /// For rinit, once there is room.
    words: VecDeque<Word>,
    /// A failure of an output has been told.
    told: bool,
    rings: Rings,
    /// Of the units that have a rate.
    limits: BTreeMap<Arc<str>, Limit>,
    files: LogFiles,
    /// What is to go into a file.
    filed: Vec<u8>,
    viewers: Viewers,
    /// Units whose last lines are to be shown.
    failed: VecDeque<String>,
}

impl Relay {
    /// Ready for orders.
    ///
    /// # Errors
    /// The kernel has no epoll or pipe for us.
    pub(super) fn new(channel: Channel, mut kept: Vec<File>, format: Format) -> io::Result<Relay> {
        let note = kept.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let poll = Poll::new()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&channel.as_raw_fd()), CHANNEL, interest)?;
        let mut outputs = Vec::new();
        for (fd, rest) in [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().zip(kept) {
            // Two that are one would write into each other's lines.
            if fd == libc::STDOUT_FILENO || !writer::are_same(libc::STDOUT_FILENO, fd) {
                outputs.push(Output::new(fd, rest)?);
            }
        }
        Ok(Relay {
            poll,
            channel: Some(channel),
            outputs,
            watched: Vec::new(),
            streams: BTreeMap::new(),
            ready: VecDeque::new(),
            format,
            peeker: Peeker::new()?,
            bytes: Vec::new(),
            chunk: Vec::new(),
            words: VecDeque::from([Word::Started]),
            told: false,
            rings: Rings::default(),
            limits: BTreeMap::new(),
            files: LogFiles::new(note),
            filed: Vec::new(),
            viewers: Viewers::new(FIRST_VIEWER),
            failed: VecDeque::new(),
        })
    }

    /// Until rinit is gone and all is relayed.
    ///
    /// # Errors
    /// epoll's.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.flush_outputs();
        loop {
            self.obey();
            self.take_turns();
            self.show_tails();
            self.watch_outputs();
            self.viewers.flush_all();
            self.tell_failures();
            self.speak();
            if self.is_done() {
                self.viewers.end();
                return Ok(());
            }
            let timeout = self.has_work().then_some(Duration::ZERO);
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let tokens: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            tokens.into_iter().for_each(|token| self.on_token(token));
        }
    }

    fn on_token(&mut self, token: usize) {
        if token >= FIRST_VIEWER {
            return self.viewers.on_token(token);
        }
        match token.checked_sub(FIRST_STREAM) {
            Some(number) => self.wake(u64::try_from(number).unwrap_or(0)),
            None if token >= FIRST_OUTPUT => self.flush_outputs(),
            None => {} // orders are looked for each time
        }
    }

    fn is_done(&self) -> bool {
        let relayed = self.streams.is_empty() && self.outputs.iter().all(Output::is_empty);
        self.channel.is_none() && relayed && self.failed.is_empty()
    }

    /// Whether a stream can go on at once.
    fn has_work(&self) -> bool {
        let is_full = |stream: &Captured| {
            self.outputs
                .get(output_of(stream.source.stream, self.outputs.len()))
                .is_some_and(Output::is_full)
        };
        self.ready.iter().filter_map(|id| self.streams.get(id)).any(|stream| !is_full(stream))
    }

    /// Takes rinit's orders.
    fn obey(&mut self) {
        while let Some(channel) = &self.channel {
            match channel.receive() {
                Ok(Received::Message(bytes, fds)) => {
                    let mut fds = fds.into_iter();
                    for order in protocol::parts(&bytes) {
                        self.follow(order, &mut fds);
                    }
                }
                Ok(Received::Nothing) => return,
                // A descriptor was lost for lack of room; our end is that rinit sends all again.
                Ok(Received::End) | Err(_) => self.hang_up(),
            }
        }
    }

    fn hang_up(&mut self) {
        if let Some(channel) = self.channel.take() {
            let _ = self.poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd()));
        }
    }

    /// What comes along with an order is next in `with`.
    fn follow(&mut self, order: Order, with: &mut impl Iterator<Item = OwnedFd>) {
        match order {
            Order::Open { id, mut source, extras } => {
                let Some(pipe) = with.next() else {
                    return self.words.push_back(Word::Closed { id });
                };
                // The other stream of a process has the same name: it is kept once.
                let twin = self.streams.last_key_value().map(|(_, twin)| &twin.source.unit);
                if let Some(unit) = twin.filter(|unit| **unit == source.unit) {
                    source.unit = Arc::clone(unit);
                }
                let wishes = extras.map(|extras| Box::new(Wishes::new(*extras)));
                self.open(id, Captured { source, pipe, is_ready: false, wishes });
            }
            Order::Rename { from, to } => {
                let name: Arc<str> = to.as_str().into();
                for stream in self.streams.values_mut().filter(|it| *it.source.unit == *from) {
                    stream.source.unit = Arc::clone(&name);
                }
                self.rings.rename(&from, &to);
            }
            Order::Failed { unit } => self.failed.push_back(unit),
            Order::Show(request) => {
                let records = self.rings.last(&request);
                if let Some(client) = with.next() {
                    self.viewers.admit(client, request, &records, self.poll.registry());
                }
            }
        }
    }

    /// The last lines of units that failed, after the last of them have come.
    fn show_tails(&mut self) {
        while self.outputs.last().is_some_and(|output| !output.is_full()) {
            let Some(unit) = self.failed.pop_front() else { return };
            let of_unit = self.streams.iter().filter(|(_, stream)| *stream.source.unit == *unit);
            let of_unit: Vec<u64> = of_unit.map(|(id, _)| *id).collect();
            for id in of_unit {
                let mut turns = (0..LAST_TURNS).map(|_| self.turn(id));
                turns.find(|turn| *turn != Turn::Again);
            }
            let request = Request { units: vec![unit], lines: Some(TAIL), ..Request::default() };
            let tail = self.rings.last(&request);
            let (Some(output), false) = (self.outputs.last_mut(), tail.is_empty()) else {
                continue;
            };
            self.chunk.clear();
            for unit in &request.units {
                line::write_tail(&mut self.chunk, unit, &tail, self.format, output.is_terminal());
            }
            output.write(&self.chunk); // if there is no room now, they were there before
        }
    }

    fn open(&mut self, id: u64, stream: Captured) {
        let token = Token(usize::try_from(id).unwrap_or(0).saturating_add(FIRST_STREAM));
        let fd = stream.pipe.as_raw_fd();
        let registry = self.poll.registry();
        if registry.register(&mut SourceFd(&fd), token, Interest::READABLE).is_err() {
            // No memory in the kernel: the process could not be heard, so it is heard never.
            self.words.push_back(Word::Closed { id });
            return;
        }
        // If there is something in it, that is news.
        self.streams.insert(id, stream);
    }

    fn wake(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// One turn for each stream that has news.
    fn take_turns(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { return };
            match self.turn(id) {
                Turn::Again | Turn::Blocked => self.ready.push_back(id),
                Turn::Idle => {
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.is_ready = false;
                    }
                }
                Turn::Over => self.close(id),
            }
        }
        // All streams were in it once, when they were opened.
        if self.ready.is_empty() && self.ready.capacity() > QUEUE_KEPT {
            self.ready = VecDeque::new();
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            // Not just closed: rinit has the same open file.
            let fd = stream.pipe.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
        self.words.push_back(Word::Closed { id });
    }

    /// Relays what the pipe of a stream holds.
    fn turn(&mut self, id: u64) -> Turn {
        let Some(stream) = self.streams.get_mut(&id) else { return Turn::Over };
        let output = output_of(stream.source.stream, self.outputs.len());
        let Some(output) = self.outputs.get_mut(output) else { return Turn::Over };
        if output.is_full() {
            return Turn::Blocked;
        }
        let look = match self.peeker.look(stream.pipe.as_fd(), &mut self.bytes) {
            Ok(look) => look,
            Err(_) => return Turn::Over, // it is no pipe
        };
        if self.bytes.is_empty() {
            return if look.ended { Turn::Over } else { Turn::Idle };
        }
        let now = clock::wall_time();
        let file = stream.wishes.as_ref().and_then(|wishes| wishes.file.as_ref());
        let time = match self.format {
            Format::Text if file.is_none() => String::new(),
            Format::Text | Format::Json => clock::rfc3339(now),
        };
        let limit = stream.wishes.as_ref().and_then(|wishes| wishes.rate).map(|rate| {
            let unit = Arc::clone(&stream.source.unit);
            if self.limits.len() >= LIMITS_MAX {
                self.limits.retain(|_, limit| limit.has_left_out());
            }
            (rate, clock::monotonic(), self.limits.entry(unit).or_default())
        });
        let format = Formatted {
            format: self.format,
            source: &stream.source,
            time: &time,
            terminal: output.is_terminal(),
        };
        self.filed.clear();
        let filed = file.is_some().then_some(&mut self.filed);
        let taken = relay(&self.bytes, look, output, &mut self.chunk, filed, &format, limit);
        if let Some(file) = file
            && let Some(why) = self.files.append(file, &self.filed, clock::monotonic())
        {
            let unit = stream.source.unit.to_string();
            self.words.push_back(Word::FileFailed { unit, why });
        }
        if capture::consume(stream.pipe.as_fd(), taken, &mut self.chunk).is_err() {
            return Turn::Over;
        }
        for (line, end) in Lines::new(&self.bytes, look) {
            if end > taken {
                break;
            }
            if let Some(wishes) = &mut stream.wishes
                && let Some(pattern) = &wishes.pattern
                && pattern.is_match(&String::from_utf8_lossy(line.text))
            {
                wishes.pattern = None;
                self.words.push_back(Word::Matched { id });
            }
            let serial = self.rings.push(&stream.source, line, now);
            if !self.viewers.is_empty() {
                let source = stream.source.clone();
                let (text, is_cut) = (line.text.to_vec(), line.is_cut);
                self.viewers.show(&Record { serial, time: now, source, text, is_cut });
            }
        }
        match (taken, output.is_full()) {
            (_, true) => Turn::Blocked,
            (0, false) => Turn::Idle,
            (_, false) => Turn::Again,
        }
    }

    /// A full output says when there is room; what epoll does not take (a file) is never full.
    fn watch_outputs(&mut self) {
        for (index, output) in self.outputs.iter().enumerate() {
            if output.is_full() && !self.watched.contains(&index) {
                let token = Token(FIRST_OUTPUT.saturating_add(index));
                let fd = output.descriptor();
                let _ =
                    self.poll.registry().register(&mut SourceFd(&fd), token, Interest::WRITABLE);
                self.watched.push(index);
            }
        }
    }

    fn flush_outputs(&mut self) {
        for output in &mut self.outputs {
            output.flush();
        }
        self.watch_outputs();
    }

    fn tell_failures(&mut self) {
        for output in &mut self.outputs {
            match output.take_failure() {
                // Nobody reads any more: nothing is lost on anybody.
                Some(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Some(error) if !std::mem::replace(&mut self.told, true) => {
                    let why = reason(error.raw_os_error().unwrap_or(libc::EIO));
                    self.words.push_back(Word::Failed { why });
                }
                Some(_) | None => {}
            }
        }
    }

    /// Tells rinit what it should know, as far as there is room.
    fn speak(&mut self) {
        while let (Some(channel), false) = (&self.channel, self.words.is_empty()) {
            let (mut message, mut count) = (Vec::new(), 0);
            for word in &self.words {
                if message.len() >= protocol::FULL {
                    break;
                }
                protocol::append(&mut message, word);
                count += 1;
            }
            match channel.send(&message, &[]) {
                Ok(true) => drop(self.words.drain(..count)),
                Ok(false) => return,
                Err(_) => self.hang_up(),
            }
        }
    }
}

/// Which of so many outputs is a stream's.
fn output_of(stream: Stream, outputs: usize) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => outputs.saturating_sub(1),
    }
}

/// How the lines of a stream are written.
struct Formatted<'a> {
    format: Format,
    source: &'a Source,
    time: &'a str,
    terminal: bool,
}

impl Formatted<'_> {
    /// A line that comes out; how many did not comes before it.
    fn write_limited(
        &self,
        into: &mut Vec<u8>,
        filed: Option<&mut Vec<u8>>,
        line: Line<'_>,
        limit: &mut Option<(Rate, Duration, &mut Limit)>,
    ) {
        let mut left_out = None;
        if let Some((rate, now, limit)) = limit {
            if !limit.admit(*rate, *now) {
                return;
            }
            left_out = limit.take_left_out().map(|count| {
                format!("({count} lines were left out: LogRateLimitBurst={})", rate.burst)
            });
        }
        let before = left_out.as_ref().map(|text| Line { text: text.as_bytes(), is_cut: false });
        let lines = || before.into_iter().chain([line]);
        lines().for_each(|line| self.write(into, line, self.terminal));
        if let Some(filed) = filed {
            lines().for_each(|line| self.write_filed(filed, line));
        }
    }

    fn write_filed(&self, into: &mut Vec<u8>, line: Line<'_>) {
        if self.format == Format::Text {
            into.extend_from_slice(self.time.as_bytes());
            into.push(b' ');
        }
        self.write(into, line, false);
    }

    fn write(&self, into: &mut Vec<u8>, line: Line<'_>, terminal: bool) {
        match self.format {
            Format::Text => line::write_text(into, self.source, line, terminal),
            Format::Json => line::write_json(into, self.source, line, self.time),
        }
    }
}

/// Writes the lines that are there; how many bytes of them the output took. Just those are in
/// `filed`, then.
fn relay(
    bytes: &[u8],
    look: Look,
    output: &mut Output,
    chunk: &mut Vec<u8>,
    mut filed: Option<&mut Vec<u8>>,
    format: &Formatted<'_>,
    mut limit: Option<(Rate, Duration, &mut Limit)>,
) -> usize {
    let most = output.chunk_max();
    let (mut taken, mut in_chunk) = (0, 0);
    let mut filed_taken = 0;
    chunk.clear();
    // As it was before the first line of the chunk: a chunk that is refused comes once more.
    let mut earlier = limit.as_ref().map(|(_, _, limit)| **limit);
    for (line, end) in Lines::new(bytes, look) {
        let before = chunk.len();
        let filed_before = filed.as_ref().map_or(0, |filed| filed.len());
        let so_far = limit.as_ref().map(|(_, _, limit)| **limit);
        format.write_limited(chunk, filed.as_deref_mut(), line, &mut limit);
        if before > 0 && chunk.len() > most {
            if !output.write(chunk.get(..before).unwrap_or_default()) {
                filed.into_iter().for_each(|filed| filed.truncate(filed_taken));
                reset(&mut limit, earlier);
                return taken;
            }
            (taken, filed_taken) = (in_chunk, filed_before);
            chunk.drain(..before);
            earlier = so_far;
        }
        in_chunk = end;
    }
    // An empty one is of lines that are left out.
    if chunk.is_empty() || output.write(chunk) {
        return in_chunk;
    }
    filed.into_iter().for_each(|filed| filed.truncate(filed_taken));
    reset(&mut limit, earlier);
    taken
}

fn reset(limit: &mut Option<(Rate, Duration, &mut Limit)>, earlier: Option<Limit>) {
    if let (Some((_, _, limit)), Some(earlier)) = (limit, earlier) {
        **limit = earlier;
    }
}

/// The lines of what a pipe holds, each with where the next begins.
struct Lines<'a> {
    bytes: &'a [u8],
    look: Look,
    at: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8], look: Look) -> Lines<'a> {
        Lines { bytes, look, at: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (Line<'a>, usize);

    fn next(&mut self) -> Option<(Line<'a>, usize)> {
        let rest = self.bytes.get(self.at..)?;
        let (text, size, is_cut) = match memchr::memchr(b'\n', rest) {
            Some(size) => (rest.get(..size)?, size + 1, false),
            None if rest.is_empty() => return None,
            None if self.look.ended => (rest, rest.len(), false),
            None if self.look.full && self.at == 0 => {
                let size = whole_characters(rest);
                (rest.get(..size)?, size, true)
            }
            None => return None, // its end is still to come
        };
        self.at += size;
        Some((Line { text, is_cut }, self.at))
    }
}

/// How many bytes there are without a character that is cut at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(CHARACTER_MAX);
    let is_start = |byte: &u8| *byte >= 0xc0;
    let Some(back) = bytes.get(tail..).unwrap_or_default().iter().rposition(is_start) else {
        return bytes.len();
    };
    let start = tail + back;
    let is_whole = std::str::from_utf8(bytes.get(start..).unwrap_or_default()).is_ok();
    if is_whole || start == 0 { bytes.len() } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], ended: bool, full: bool) -> Vec<(String, usize, bool)> {
        let all = Lines::new(bytes, Look { ended, full });
        let text = |text: &[u8]| text.escape_ascii().to_string();
        all.map(|(line, end)| (text(line.text), end, line.is_cut)).collect()
    }

    #[test]
    fn where_lines_end() {
        let line = |text: &str, end, is_cut| (text.to_string(), end, is_cut);
        for (bytes, ended, full, expected) in [
            (&b""[..], true, false, vec![]),
            (
                b"a\n\nb\n",
                false,
                false,
                vec![line("a", 2, false), line("", 3, false), line("b", 5, false)],
            ),
            (b"a\nb", false, false, vec![line("a", 2, false)]),
            (b"a\nb", false, true, vec![line("a", 2, false)]),
            (b"a\nb", true, false, vec![line("a", 2, false), line("b", 3, false)]),
            (b"ab", false, false, vec![]),
            (b"ab", false, true, vec![line("ab", 2, true)]),
            (b"ab\xc3", false, true, vec![line("ab", 2, true)]),
            (b"ab\xc3\xa4", false, true, vec![line(r"ab\xc3\xa4", 4, true)]),
            (b"ab\xf0\x9f\x92", false, true, vec![line("ab", 2, true)]),
            (b"\xc3", false, true, vec![line(r"\xc3", 1, true)]),
            (b"ab\xa4\xa4\xa4\xa4", false, true, vec![line(r"ab\xa4\xa4\xa4\xa4", 6, true)]),
        ] {
            assert_eq!(lines(bytes, ended, full), expected, "{bytes:?}");
        }
    }
}
