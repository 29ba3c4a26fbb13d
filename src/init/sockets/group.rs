//! Which instance has which socket of a service with `ReusePort=`.
//!
//! All sockets at one address are the members of one reuseport group. There are more members than
//! instances: a start-first replacement takes a spare one while the instance that it replaces
//! still has its own, so each is probed, steered to and drained by itself. An instance has its
//! member from its first process on and over every crash and restart, so what is queued for a
//! killed process is its successor's; with a new name (a replacement takes the place of the old
//! one) it keeps it. A member is free again when who has it is gone for good: what only came or
//! went (a marked name), and a number above those that are wanted.
//!
//! Not the sockets (`sockets`), not the program that chooses one (`sys::steer`).
//! **Invariant:** no two names have the same member, unless no more could be opened; and a new
//! connection never comes to a member that nobody has while somebody has one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::unit::UnitName;

/// The instances of one service, and their members.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// So many are wanted.
    pub instances: u32,
    /// The numbers of those that new connections are for.
    pub ready: Vec<u32>,
    members: BTreeMap<UnitName, usize>,
}

impl Group {
    /// The member of an instance; before its first process, that of its number.
    pub fn member_of(&self, unit: &UnitName) -> Option<usize> {
        self.members.get(unit).copied().or_else(|| home(unit))
    }

    /// Gives an instance its member: its own since long, that of its number, or of the free ones
    /// that in whose queue most wait; of none of `count` is free, one more.
    pub fn take(&mut self, unit: &UnitName, count: usize, queued: impl Fn(usize) -> u32) -> usize {
        if let Some(member) = self.members.get(unit) {
            return *member;
        }
        let taken: BTreeSet<usize> = self.members.values().copied().collect();
        let is_free = |member: &usize| !taken.contains(member);
        let home = home(unit).filter(|home| unit.mark().is_none() && *home < count);
        let free = || {
            let free = (0..count).filter(is_free);
            free.max_by_key(|member| (queued(*member), Reverse(*member)))
        };
        let member = home.filter(is_free).or_else(free);
        let member = member.or_else(|| (count..).find(is_free)).unwrap_or(count);
        self.members.insert(unit.clone(), member);
        member
    }

    /// There is no such member: it shares that of another, as `count` are all there are.
    pub fn share(&mut self, unit: &UnitName, count: usize) {
        let member = home(unit).unwrap_or(0).min(count.saturating_sub(1));
        self.members.insert(unit.clone(), member);
    }

    /// An instance goes by another name; whether it has a member.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) -> bool {
        let member = self.members.remove(from);
        member.is_some_and(|member| {
            self.members.insert(to.clone(), member);
            true
        })
    }

    /// The processes of an instance are gone: whether its member is free now.
    pub fn release(&mut self, unit: &UnitName) -> bool {
        let number = home(unit).and_then(|home| u32::try_from(home).ok());
        let stays = unit.mark().is_none() && number.is_some_and(|it| it < self.instances);
        !stays && self.members.remove(unit).is_some()
    }

    /// To which members new connections go: those of the ready instances; where there are none,
    /// a queue is better than a refusal: of all who have a member, or will have.
    pub fn open_members(&self) -> BTreeSet<usize> {
        let unmarked = || self.members.iter().filter(|(unit, _)| unit.mark().is_none());
        let is_ready = |unit: &UnitName| {
            let number = home(unit).and_then(|home| u32::try_from(home + 1).ok());
            number.is_some_and(|number| self.ready.contains(&number))
        };
        let ready: BTreeSet<usize> =
            unmarked().filter(|(unit, _)| is_ready(unit)).map(|(_, member)| *member).collect();
        if !ready.is_empty() {
            return ready;
        }
        let some: BTreeSet<usize> = unmarked().map(|(_, member)| *member).collect();
        if !some.is_empty() {
            return some;
        }
        let any: BTreeSet<usize> = self.members.values().copied().collect();
        let first = || (0..usize::try_from(self.instances.max(1)).unwrap_or(1)).collect();
        if any.is_empty() { first() } else { any }
    }
}

/// The member of `web@1.service` is 0 as long as nothing was replaced.
fn home(unit: &UnitName) -> Option<usize> {
    unit.instance()?.parse::<usize>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stem: &str) -> UnitName {
        UnitName::service(stem).unwrap()
    }

    fn two() -> Group {
        let mut group = Group { instances: 2, ..Group::default() };
        assert_eq!(group.open_members(), BTreeSet::from([0, 1]));
        assert_eq!(group.take(&name("web@1"), 3, |_| 0), 0);
        assert_eq!(group.take(&name("web@2"), 3, |_| 0), 1);
        group.ready = vec![1, 2];
        group
    }

    /// `web@2` is replaced start-first, with all that the shell is told of it.
    #[test]
    fn a_replacement_has_a_member_of_its_own() {
        let mut group = two();
        let (new, now, old) = (name("web@2").marked("new"), name("web@2"), name("web@2"));
        let old = old.marked("old1");
        assert_eq!(group.take(&new, 3, |_| 0), 2);
        assert_eq!(group.open_members(), BTreeSet::from([0, 1]), "not yet");
        assert!(group.rename(&now, &old) && group.rename(&new, &now));
        assert_eq!((group.member_of(&now), group.member_of(&old)), (Some(2), Some(1)));
        assert_eq!(group.open_members(), BTreeSet::from([0, 2]), "not the old one");
        assert!(group.release(&old));
        assert!(!group.release(&now), "it crashed, and comes again");
        assert_eq!(group.take(&now, 3, |_| 0), 2, "who is queued there is its");
        assert_eq!(group.take(&name("web@1").marked("new"), 3, |_| 0), 1, "free again");
    }

    #[test]
    fn a_free_member_with_a_queue_comes_first_and_none_is_given_twice() {
        let mut group = two();
        let new = |number: u32| name("web").numbered(number).marked("new");
        assert_eq!(group.take(&new(1), 5, |member| u32::from(member == 3)), 3);
        assert_eq!(group.take(&new(2), 5, |_| 0), 2);
        assert_eq!(group.take(&name("web@3"), 5, |_| 0), 4);
        assert_eq!(group.take(&name("web@4"), 5, |_| 0), 5, "one more has to be opened");
        group.share(&name("web@4"), 5);
        assert_eq!(group.member_of(&name("web@4")), Some(3));
    }

    #[test]
    fn fewer_instances_free_their_members() {
        let mut group = two();
        group.instances = 1;
        assert!(group.release(&name("web@2")) && !group.release(&name("web@1")));
        group.ready = vec![];
        assert_eq!(group.open_members(), BTreeSet::from([0]), "not where nobody is");
    }
}
