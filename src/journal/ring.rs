//! The last lines of each unit.
//!
//! In memory, and gone with the journal process. **Invariant:** a unit's lines take no more than
//! [`UNIT_BYTES`], all lines no more than [`ALL_BYTES`]; the oldest go first, and of the unit that
//! has the most where there is no room for all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::line::Line;
use super::protocol::{Request, Source, Stream};

/// The last lines of so many units are kept: more than there are in any container.
const RINGS_MAX: usize = 16 << 10;

/// So many bytes of a unit are kept.
const UNIT_BYTES: usize = 256 << 10;
/// So many bytes of all units are kept.
const ALL_BYTES: usize = 16 << 20;
/// What a line costs beside its text.
const OVERHEAD: usize = size_of::<Entry>();

/// A line that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Lines are counted, those of all units.
    pub serial: u64,
    /// When it was read, since 1970.
    pub time: Duration,
    /// Whose it is.
    pub source: Source,
    /// Without its newline.
    pub text: Vec<u8>,
    /// Only a part of the line.
    pub is_cut: bool,
}

impl Record {
    /// As it was written.
    pub fn line(&self) -> Line<'_> {
        Line { text: &self.text, is_cut: self.is_cut }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    serial: u64,
    time: Duration,
    pid: i32,
    size: usize,
    stream: Stream,
    is_cut: bool,
}

#[derive(Debug, Default)]
struct Ring {
    is_instance: bool,
    text: VecDeque<u8>,
    lines: VecDeque<Entry>,
}

impl Ring {
    fn bytes(&self) -> usize {
        self.text.len() + self.lines.len() * OVERHEAD
    }

    fn drop_first(&mut self) -> bool {
        let Some(entry) = self.lines.pop_front() else { return false };
        drop(self.text.drain(..entry.size.min(self.text.len())));
        true
    }

    /// The last lines that are wanted, the newest first.
    fn newest<'a>(
        &'a self,
        unit: &'a Arc<str>,
        request: &'a Request,
    ) -> impl Iterator<Item = Record> {
        let mut end = self.text.len();
        let since = request.since();
        let lines = self
            .lines
            .iter()
            .rev()
            .take(request.most())
            .take_while(move |entry| since.is_none_or(|since| entry.time >= since));
        lines.map(move |entry| {
            let start = end.saturating_sub(entry.size);
            let text = self.text.range(start..end).copied().collect();
            end = start;
            let source = Source {
                unit: Arc::clone(unit),
                is_instance: self.is_instance,
                stream: entry.stream,
                pid: entry.pid,
            };
            Record { serial: entry.serial, time: entry.time, source, text, is_cut: entry.is_cut }
        })
    }
}

/// Of all units.
#[derive(Debug, Default)]
pub struct Rings {
    units: BTreeMap<Arc<str>, Ring>,
    bytes: usize,
    count: u64,
}

impl Rings {
    /// Keeps a line; its number.
    pub fn push(&mut self, source: &Source, line: Line<'_>, time: Duration) -> u64 {
        self.count += 1;
        let serial = self.count;
        if !self.units.contains_key(&source.unit) {
            self.forget_old();
            let ring = Ring { is_instance: source.is_instance, ..Ring::default() };
            self.units.insert(Arc::clone(&source.unit), ring);
        }
        let Some(ring) = self.units.get_mut(&source.unit) else { return serial };
        let before = ring.bytes();
        ring.text.extend(line.text);
        let (size, is_cut) = (line.text.len(), line.is_cut);
        let (pid, stream) = (source.pid, source.stream);
        ring.lines.push_back(Entry { serial, time, pid, size, stream, is_cut });
        while ring.bytes() > UNIT_BYTES && ring.drop_first() {}
        self.bytes = (self.bytes + ring.bytes()).saturating_sub(before);
        if self.bytes > ALL_BYTES {
            self.make_room();
        }
        serial
    }

    /// Units come and go (a connection has one of its own): those that have been silent for longest
    /// are forgotten, a quarter at once, because to look for them costs a glance at each.
    fn forget_old(&mut self) {
        if self.units.len() < RINGS_MAX {
            return;
        }
        let last = |ring: &Ring| ring.lines.back().map_or(0, |entry| entry.serial);
        let mut serials: Vec<u64> = self.units.values().map(last).collect();
        let (_, oldest, _) = serials.select_nth_unstable(RINGS_MAX / 4);
        let oldest = *oldest;
        self.units.retain(|_, ring| last(ring) > oldest);
        self.bytes = self.units.values().map(Ring::bytes).sum();
    }

    /// Half of the largest goes at once: to look for it costs a glance at each.
    fn make_room(&mut self) {
        let Some(ring) = self.units.values_mut().max_by_key(|ring| ring.bytes()) else { return };
        let before = ring.bytes();
        while ring.bytes() > before / 2 && ring.drop_first() {}
        ring.text.shrink_to_fit();
        self.bytes = (self.bytes + ring.bytes()).saturating_sub(before);
    }

    /// The last lines of the units that a request names, the oldest first.
    pub fn last(&self, request: &Request) -> Vec<Record> {
        let wanted =
            self.units.iter().filter(|(unit, ring)| request.is_for(unit, ring.is_instance));
        let mut found: Vec<Record> =
            wanted.flat_map(|(unit, ring)| ring.newest(unit, request)).collect();
        found.sort_unstable_by_key(|record| record.serial);
        found.drain(..found.len().saturating_sub(request.most()));
        found
    }

    /// A unit has another name; what another unit of that name wrote stays.
    pub fn rename(&mut self, from: &str, to: &str) {
        let Some(moved) = self.units.remove(from) else { return };
        let name: Arc<str> = to.into();
        let Some(there) = self.units.remove(to) else {
            self.units.insert(name, moved);
            return;
        };
        self.bytes = self.bytes.saturating_sub(moved.bytes() + there.bytes());
        let all = Request::default();
        let mut records: Vec<Record> =
            moved.newest(&name, &all).chain(there.newest(&name, &all)).collect();
        records.sort_unstable_by_key(|record| record.serial);
        let is_instance = there.is_instance || moved.is_instance;
        let mut ring = Ring { is_instance, ..Ring::default() };
        for record in records {
            ring.lines.push_back(Entry {
                serial: record.serial,
                time: record.time,
                pid: record.source.pid,
                size: record.text.len(),
                stream: record.source.stream,
                is_cut: record.is_cut,
            });
            ring.text.extend(record.text);
        }
        while ring.bytes() > UNIT_BYTES && ring.drop_first() {}
        self.bytes += ring.bytes();
        self.units.insert(name, ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(unit: &str) -> Source {
        let is_instance = unit.contains('@');
        Source { unit: unit.into(), is_instance, stream: Stream::Stdout, pid: 1 }
    }

    fn push(rings: &mut Rings, unit: &str, text: &str, second: u64) {
        let line = Line { text: text.as_bytes(), is_cut: false };
        rings.push(&source(unit), line, Duration::from_secs(second));
    }

    fn texts(rings: &Rings, request: &Request) -> Vec<String> {
        let all = rings.last(request).into_iter();
        all.map(|record| String::from_utf8(record.text).unwrap()).collect()
    }

    #[test]
    fn the_last_of_those_that_are_asked_for() {
        let mut rings = Rings::default();
        for (unit, text, second) in [
            ("web@1.service", "a", 1),
            ("db.service", "b", 2),
            ("web@2.service", "", 3),
            ("web@1.service", "d", 4),
            ("webs@1.service", "e", 5),
        ] {
            push(&mut rings, unit, text, second);
        }
        let request = |units: &[&str], lines, since_usec| Request {
            units: units.iter().map(|unit| (*unit).to_owned()).collect(),
            lines,
            since_usec,
            follow: false,
        };
        for (request, expected) in [
            (request(&[], None, None), &["a", "b", "", "d", "e"][..]),
            (request(&["web.service"], None, None), &["a", "", "d"]),
            (request(&["web.service"], Some(2), None), &["", "d"]),
            (request(&["web@1.service", "db.service"], None, None), &["a", "b", "d"]),
            (request(&[], None, Some(4_000_000)), &["d", "e"]),
            (request(&["web.service"], Some(0), None), &[]),
            (request(&["other.service"], None, None), &[]),
        ] {
            assert_eq!(texts(&rings, &request), expected, "{request:?}");
        }
        rings.rename("web@1.service", "web@2.service");
        let renamed = request(&["web@2.service"], None, None);
        assert_eq!(texts(&rings, &renamed), ["a", "", "d"]);
        rings.rename("db.service", "new.service");
        assert_eq!(texts(&rings, &request(&["new.service"], None, None)), ["b"]);
    }

    #[test]
    fn units_that_are_gone_are_forgotten() {
        let mut rings = Rings::default();
        push(&mut rings, "stays.service", "first", 1);
        for number in 0..RINGS_MAX * 2 {
            push(&mut rings, &format!("c@{number}.service"), "x", 1);
            if number % 1000 == 0 {
                push(&mut rings, "stays.service", "again", 1);
            }
        }
        assert!(rings.units.len() <= RINGS_MAX, "{}", rings.units.len());
        assert_eq!(rings.bytes, rings.units.values().map(Ring::bytes).sum::<usize>());
        let stays = Request { units: vec!["stays.service".to_owned()], ..Request::default() };
        assert_eq!(texts(&rings, &stays).first().map(String::as_str), Some("first"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut rings = Rings::default();
        let text = "x".repeat(1000);
        for number in 0..40_000 {
            push(&mut rings, &format!("u{}.service", number % 100), &text, number);
        }
        let counted: usize = rings.units.values().map(Ring::bytes).sum();
        assert_eq!(rings.bytes, counted);
        assert!(counted <= ALL_BYTES && counted > ALL_BYTES / 2);
        for _ in 0..1_000 {
            push(&mut rings, "one.service", &text, 1);
        }
        let one = Request { units: vec!["one.service".to_owned()], ..Request::default() };
        let count = rings.last(&one).len();
        assert!(count * (1000 + OVERHEAD) <= UNIT_BYTES && count > 200, "{count}");
    }
}
