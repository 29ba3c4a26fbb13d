//! The descriptors that services gave rinit to keep over a restart (`FDSTORE=1`).
//!
//! Not who may give any (`init::notify`). **Invariant:** no unit has more than its
//! `FileDescriptorStoreMax=`, and nothing is read from a descriptor in here.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::unit::UnitName;

/// One descriptor that is kept.
#[derive(Debug)]
struct Stored {
    /// In the poll it is known by this number.
    serial: usize,
    name: String,
    file: File,
    /// The poll has it.
    watched: bool,
}

/// All that is kept, by unit, in the order in which it came.
#[derive(Debug, Default)]
pub struct Store {
    of_unit: BTreeMap<UnitName, Vec<Stored>>,
    serials: usize,
}

/// What became of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is kept, and known by this number.
    As(usize),
    /// The same open file is kept already.
    Duplicate,
    /// There is no room for it.
    Full,
}

impl Store {
    /// Keeps a descriptor, unless the unit has `max` already or has this very one.
    pub fn add(&mut self, unit: &UnitName, name: &str, fd: OwnedFd, max: u32) -> Kept {
        let file = File::from(fd);
        let kept = self.of_unit.entry(unit.clone()).or_default();
        if kept.iter().any(|stored| is_same(&stored.file, &file)) {
            return Kept::Duplicate;
        }
        if kept.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Kept::Full;
        }
        self.serials += 1;
        let name = name.to_owned();
        kept.push(Stored { serial: self.serials, name, file, watched: false });
        Kept::As(self.serials)
    }

    /// The poll has it from now on.
    pub fn watched(&mut self, unit: &UnitName, serial: usize) {
        let kept = self.of_unit.get_mut(unit).into_iter().flatten();
        kept.filter(|stored| stored.serial == serial).for_each(|stored| stored.watched = true);
    }

    /// Drops those with this name; the descriptors that the poll is to let go first.
    pub fn remove(&mut self, unit: &UnitName, name: &str, forget: impl FnMut(RawFd)) -> usize {
        self.drop_of(unit, |stored| stored.name == name, forget)
    }

    /// Drops all of a unit.
    pub fn clear(&mut self, unit: &UnitName, forget: impl FnMut(RawFd)) -> usize {
        self.drop_of(unit, |_| true, forget)
    }

    /// Drops the one with this number: the other end hung up.
    pub fn hung_up(&mut self, serial: usize, mut forget: impl FnMut(RawFd)) {
        let units: Vec<UnitName> = self.of_unit.keys().cloned().collect();
        for unit in units {
            self.drop_of(&unit, |stored| stored.serial == serial, &mut forget);
        }
    }

    fn drop_of(
        &mut self,
        unit: &UnitName,
        goes: impl Fn(&Stored) -> bool,
        mut forget: impl FnMut(RawFd),
    ) -> usize {
        let Some(kept) = self.of_unit.get_mut(unit) else { return 0 };
        let before = kept.len();
        kept.iter()
            .filter(|stored| stored.watched && goes(stored))
            .for_each(|stored| forget(stored.file.as_raw_fd()));
        kept.retain(|stored| !goes(stored));
        let dropped = before - kept.len();
        if kept.is_empty() {
            self.of_unit.remove(unit);
        }
        dropped
    }

    /// What a unit's main process is handed back, with the names.
    pub fn of(&self, unit: &UnitName) -> impl Iterator<Item = (RawFd, &str)> {
        let kept = self.of_unit.get(unit).into_iter().flatten();
        kept.map(|stored| (stored.file.as_raw_fd(), stored.name.as_str()))
    }

    /// How many a unit has (`NFileDescriptorStore`).
    pub fn count(&self, unit: &UnitName) -> usize {
        self.of_unit.get(unit).map_or(0, Vec::len)
    }

    /// The unit has another name from now on.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) {
        if let Some(kept) = self.of_unit.remove(from) {
            self.of_unit.entry(to.clone()).or_default().extend(kept);
        }
    }
}

/// Whether both are the same file. Those without a type of their own (eventfd, epoll) all have
/// one inode, so of them nothing is known.
fn is_same(one: &File, other: &File) -> bool {
    let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) else { return false };
    let kind = one.file_type();
    let has_inode = kind.is_socket() || kind.is_fifo() || kind.is_file() || kind.is_char_device();
    has_inode && (one.dev(), one.ino(), one.rdev()) == (other.dev(), other.ino(), other.rdev())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    #[test]
    fn up_to_the_limit_and_each_once() {
        let web = name("web.service");
        let mut store = Store::default();
        let (one, other) = UnixStream::pair().unwrap();
        let again = one.try_clone().unwrap();
        assert_eq!(store.add(&web, "a", one.into(), 2), Kept::As(1));
        assert_eq!(store.add(&web, "b", again.into(), 2), Kept::Duplicate);
        assert_eq!(store.add(&web, "b", other.into(), 2), Kept::As(2));
        let third = UnixStream::pair().unwrap().0;
        assert_eq!(store.add(&web, "c", third.into(), 2), Kept::Full);
        assert_eq!(store.of(&web).map(|(_, name)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(store.count(&web), 2);
    }

    #[test]
    fn what_goes_is_let_go_by_the_poll_first() {
        let (web, new) = (name("web.service"), name("db.service"));
        let mut store = Store::default();
        let (one, other) = UnixStream::pair().unwrap();
        let (first, second) = (one.as_raw_fd(), other.as_raw_fd());
        store.add(&web, "a", one.into(), 9);
        store.add(&web, "b", other.into(), 9);
        store.watched(&web, 1);
        store.rename(&web, &new);
        let mut forgotten = Vec::new();
        assert_eq!(store.remove(&web, "a", |_| ()), 0);
        assert_eq!(store.remove(&new, "a", |fd| forgotten.push(fd)), 1);
        assert_eq!(forgotten, [first]);
        assert_eq!(store.of(&new).collect::<Vec<_>>(), [(second, "b")]);
        store.hung_up(2, |fd| forgotten.push(fd));
        assert_eq!((forgotten, store.count(&new)), (vec![first], 0));
    }
}
