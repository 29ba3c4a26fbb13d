//! One message to the journal: as much of what it does not know yet as fits into one.
//!
//! Not the sending. A wake of the journal and a system call for each pipe would be most of what a
//! boot of many costs. **Invariant:** what is in a letter is told only when the letter has been
//! sent; until then nothing is forgotten, and the next letter has it once more.

use std::os::fd::{AsFd, BorrowedFd};

use super::{Held, Journal, Queued};
use crate::journal::protocol::{self, Order};
use crate::sys::channel::DESCRIPTORS_MAX;
use crate::unit::UnitName;

/// What is known once it has been sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    /// So many renames, from the first.
    pub(super) renames: usize,
    /// The streams up to this number.
    pub(super) streams: u64,
    /// So many other orders, from the first.
    pub(super) orders: usize,
}

/// A message in the making.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) bytes: Vec<u8>,
    pub(super) with: Vec<BorrowedFd<'a>>,
    pub(super) told: Told,
}

impl Journal {
    /// The next message; `None`: all is told. Streams that are still to be opened have their new
    /// names already, so renames come before them; what is asked about a stream comes after it.
    pub(super) fn letter(&self) -> Option<Letter<'_>> {
        let told = Told { renames: 0, streams: self.told, orders: 0 };
        let mut letter = Letter { bytes: Vec::new(), with: Vec::new(), told };
        let _has_all = self.renames.iter().all(|(from, to)| letter.rename(from, to))
            && self.untold().all(|(id, held)| letter.open(*id, held))
            && self.orders.iter().all(|order| letter.order(order));
        (!letter.bytes.is_empty()).then_some(letter)
    }
}

impl<'a> Letter<'a> {
    /// `false`, as in the others: it is full.
    fn rename(&mut self, from: &UnitName, to: &UnitName) -> bool {
        let order = || Order::Rename { from: from.to_string(), to: to.to_string() };
        let has_room = self.add(order, None);
        self.told.renames += usize::from(has_room);
        has_room
    }

    fn open(&mut self, id: u64, held: &'a Held) -> bool {
        let order = || {
            let extras = held.extras.as_ref().map(|extras| Box::new(extras.0.clone()));
            Order::Open { id, source: held.source.clone(), extras }
        };
        let has_room = self.add(order, Some(held.pipe.as_fd()));
        if has_room {
            self.told.streams = id;
        }
        has_room
    }

    fn order(&mut self, order: &'a Queued) -> bool {
        let has_room = match order {
            Queued::Failed(unit) => self.add(|| Order::Failed { unit: unit.to_string() }, None),
            Queued::Show(show) => {
                let (request, client) = &**show;
                self.add(|| Order::Show(request.clone()), Some(client.as_fd()))
            }
        };
        self.told.orders += usize::from(has_room);
        has_room
    }

    fn add(&mut self, order: impl FnOnce() -> Order, with: Option<BorrowedFd<'a>>) -> bool {
        let has_room = self.bytes.len() < protocol::FULL && self.with.len() < DESCRIPTORS_MAX;
        if has_room {
            protocol::append(&mut self.bytes, &order());
            self.with.extend(with);
        }
        has_room
    }
}
