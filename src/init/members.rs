//! Which processes belong to a unit where no control group says so, and when none is left.
//!
//! Not the processes that rinit forked (`processes`): their descendants. A process is a unit's if
//! its parent is, or its session or group is one of the unit's; an orphan that cut all three ties
//! is told by the `INVOCATION_ID` in its first environment. Once recorded it stays recorded.
//! /proc is walked as a whole once; after that only pids that were born since are looked at, so
//! that the end of a thousand services costs a thousand glances and not a million.
//! **Invariant:** a process that is not a child of ours is signalled only through a pidfd, with
//! the start time it was recorded with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::processes::ProcessTable;
use crate::manager::event::InvocationId;
use crate::sys::proc::{self, LastPid, Stat};
use crate::sys::{Pid, clock, kill, own_pid};
use crate::unit::UnitName;
use crate::unit::process::Signal;

/// More births than this since the last look: walking /proc is cheaper than asking for each.
const BIRTHS: Pid = 1024;

/// A longer time since the last look, and the numbers may have gone round once (32,768 of them,
/// by default): then "born since" cannot be told from them.
const RECENT: Duration = Duration::from_millis(100);

/// How often SIGKILL looks again for those who forked meanwhile.
const KILL_ROUNDS: usize = 8;

/// A process of a unit that is not in the process table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    unit: UnitName,
    started: u64,
}

/// A signal that goes to the recorded members, too: once this batch of actions is done.
#[derive(Debug)]
struct PendingKill {
    signal: Signal,
    /// These groups have had it.
    groups: BTreeSet<Pid>,
}

/// Everything known about processes that rinit did not fork itself.
#[derive(Debug)]
pub struct Members {
    /// Sessions and groups by their first process, as long as the unit is not released.
    groups: BTreeMap<Pid, (UnitName, InvocationId)>,
    leaders: BTreeSet<(UnitName, Pid)>,
    recorded: BTreeMap<Pid, Member>,
    of_unit: BTreeMap<UnitName, BTreeSet<Pid>>,
    last_pid: LastPid,
    /// Every pid up to this one has been looked at.
    seen_to: Option<Pid>,
    /// When that was.
    looked: Duration,
    /// Numbers given out, but not seen in /proc yet: looked at once more.
    unborn: BTreeSet<Pid>,
    watched: BTreeSet<UnitName>,
    dirty: BTreeSet<UnitName>,
    /// Those of them that the last look can answer for.
    answerable: BTreeSet<UnitName>,
    pending: BTreeMap<UnitName, Vec<PendingKill>>,
    /// /proc cannot be read: sessions and groups are all there is.
    blind: bool,
    told: bool,
}

impl Default for Members {
    fn default() -> Members {
        Members::new()
    }
}

impl Members {
    /// Nobody yet.
    pub fn new() -> Members {
        Members {
            groups: BTreeMap::new(),
            leaders: BTreeSet::new(),
            recorded: BTreeMap::new(),
            of_unit: BTreeMap::new(),
            last_pid: LastPid::default(),
            seen_to: None,
            looked: Duration::ZERO,
            unborn: BTreeSet::new(),
            watched: BTreeSet::new(),
            dirty: BTreeSet::new(),
            answerable: BTreeSet::new(),
            pending: BTreeMap::new(),
            blind: false,
            told: false,
        }
    }

    /// A child was forked; it leads a session or a group.
    pub fn spawned(&mut self, pid: Pid, unit: UnitName, invocation: InvocationId) {
        self.forget(pid);
        if let Some((former, _)) = self.groups.insert(pid, (unit.clone(), invocation)) {
            self.leaders.remove(&(former, pid));
        }
        self.leaders.insert((unit, pid));
    }

    /// What this process began is over with it: nobody who belongs to it is left.
    pub fn no_leader(&mut self, pid: Pid) {
        if let Some((unit, _)) = self.groups.remove(&pid) {
            self.leaders.remove(&(unit, pid));
        }
    }

    /// Repacks after a burst, as [`ProcessTable::shrink`] does.
    pub fn shrink(&mut self) {
        self.groups = std::mem::take(&mut self.groups).into_iter().collect();
        self.leaders = std::mem::take(&mut self.leaders).into_iter().collect();
    }

    /// A child is dead and reaped.
    pub fn reaped(&mut self, pid: Pid, unit: Option<UnitName>) {
        let recorded = self.forget(pid).map(|member| member.unit);
        match unit.or(recorded) {
            Some(unit) if self.watched.contains(&unit) => {
                self.answerable.remove(&unit);
                self.dirty.insert(unit);
            }
            None if self.blind => self.dirty.clone_from(&self.watched),
            Some(_) | None => {}
        }
    }

    /// Whose a process is that is not in the table: from now on it is recorded as that.
    pub fn identify(&mut self, pid: Pid, table: &ProcessTable) -> Option<UnitName> {
        let stat = proc::stat(pid)?;
        if self.recorded.get(&pid).is_none_or(|member| member.started != stat.started) {
            let stats = ancestors(stat);
            self.record(&stat, &stats, table);
        }
        self.recorded.get(&pid).map(|member| member.unit.clone())
    }

    /// Records a process as a unit's that none of its ties would show as such.
    pub fn assign(&mut self, pid: Pid, started: u64, unit: &UnitName) {
        self.forget(pid);
        self.of_unit.entry(unit.clone()).or_default().insert(pid);
        self.recorded.insert(pid, Member { unit: unit.clone(), started });
    }

    /// The living processes of a unit that are recorded now, and those that were born since.
    pub fn living_of(&mut self, unit: &UnitName, table: &ProcessTable) -> Vec<Stat> {
        self.look(table);
        let pids: Vec<Pid> = self.of_unit.get(unit).into_iter().flatten().copied().collect();
        pids.into_iter().filter_map(|pid| self.living(pid)).collect()
    }

    /// The processes of a unit but for those that were born less than `unseen` ago; some may be
    /// gone by now.
    pub fn pids_of(&mut self, unit: &UnitName, table: &ProcessTable, unseen: Duration) -> Vec<Pid> {
        let births = || self.last_pid.read().is_none_or(|last| self.seen_to != Some(last));
        let old = clock::monotonic().saturating_sub(self.looked) > unseen;
        if old && (!self.unborn.is_empty() || births()) {
            self.look(table);
        }
        let children = table.of_unit(unit).filter(|process| !process.exited);
        let mut pids: BTreeSet<Pid> = children.map(|process| process.pid).collect();
        pids.extend(self.of_unit.get(unit).into_iter().flatten());
        pids.into_iter().collect()
    }

    /// The unit of a process that is not in the table, as far as it was recorded.
    pub fn recorded_unit(&self, pid: Pid) -> Option<&UnitName> {
        self.recorded.get(&pid).map(|member| &member.unit)
    }

    /// The unit has another name from now on.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) {
        for leader in self.leaders_of(from) {
            self.leaders.remove(&(from.clone(), leader));
            self.leaders.insert((to.clone(), leader));
            if let Some((unit, _)) = self.groups.get_mut(&leader) {
                *unit = to.clone();
            }
        }
        for pid in self.of_unit.remove(from).unwrap_or_default() {
            if let Some(member) = self.recorded.get_mut(&pid) {
                member.unit = to.clone();
            }
            self.of_unit.entry(to.clone()).or_default().insert(pid);
        }
        for units in [&mut self.watched, &mut self.dirty, &mut self.answerable] {
            if units.remove(from) {
                units.insert(to.clone());
            }
        }
        if let Some(kills) = self.pending.remove(from) {
            self.pending.entry(to.clone()).or_default().extend(kills);
        }
    }

    /// The unit ended: its sessions mean nothing any more.
    pub fn release(&mut self, unit: &UnitName) {
        for leader in self.leaders_of(unit) {
            self.groups.remove(&leader);
            self.leaders.remove(&(unit.clone(), leader));
        }
        for pid in self.of_unit.remove(unit).unwrap_or_default() {
            self.recorded.remove(&pid);
        }
        self.watched.remove(unit);
        self.dirty.remove(unit);
        self.answerable.remove(unit);
    }

    fn leaders_of(&self, unit: &UnitName) -> Vec<Pid> {
        let all = (unit.clone(), Pid::MIN)..=(unit.clone(), Pid::MAX);
        self.leaders.range(all).map(|(_, leader)| *leader).collect()
    }

    /// Signals the processes of a unit, those in groups of our children at once, the others with
    /// [`Members::flush`]; and watches until none is left.
    pub fn kill_unit(&mut self, table: &ProcessTable, unit: UnitName, signal: Option<Signal>) {
        if let Some(signal) = signal {
            let pending = signal_groups(table, &unit, signal);
            self.pending.entry(unit.clone()).or_default().push(pending);
        }
        self.answerable.remove(&unit);
        self.dirty.insert(unit.clone());
        self.watched.insert(unit);
    }

    /// Signals every process of a unit at once, and watches nothing.
    pub fn signal_unit(&mut self, table: &ProcessTable, unit: &UnitName, signal: Signal) {
        let rest = signal_groups(table, unit, signal);
        self.look(table);
        self.signal_members(unit, &[rest]);
    }

    /// Sends what [`Members::kill_unit`] left for the end of the batch.
    pub fn flush(&mut self, table: &ProcessTable) {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        for round in 0..KILL_ROUNDS {
            self.look(table);
            let mut killed = false;
            for (unit, kills) in &pending {
                let deadly = kills.iter().any(|kill| kill.signal == Signal::KILL);
                if round == 0 || deadly {
                    killed |= self.signal_members(unit, kills) && deadly;
                }
            }
            if !killed {
                return;
            }
        }
    }

    /// Whether anybody was signalled.
    fn signal_members(&mut self, unit: &UnitName, kills: &[PendingKill]) -> bool {
        let pids: Vec<Pid> = self.of_unit.get(unit).into_iter().flatten().copied().collect();
        let mut sent = false;
        for pid in pids {
            let Some(stat) = self.living(pid) else { continue };
            for kill in kills.iter().filter(|kill| !kill.groups.contains(&stat.group)) {
                kill::stranger(pid, stat.started, kill.signal);
                sent = true;
            }
        }
        sent
    }

    /// Signals every descendant, if we are not PID 1 and may not simply signal everybody.
    pub fn kill_everything(&mut self, table: &ProcessTable, signal: Signal) {
        if kill::everybody(signal) {
            return;
        }
        for process in table.all() {
            kill::group(process.pid, signal);
        }
        let groups: BTreeSet<Pid> = table.all().map(|process| process.pid).collect();
        let rounds = if signal == Signal::KILL { KILL_ROUNDS } else { 1 };
        for _ in 0..rounds {
            let stats = descendants();
            let others = stats.iter().filter(|stat| !groups.contains(&stat.group));
            let others: Vec<&Stat> = others.filter(|stat| stat.is_alive()).collect();
            for stat in &others {
                kill::stranger(stat.pid, stat.started, signal);
            }
            if others.is_empty() {
                return;
            }
        }
    }

    /// A watched unit of which no process is left, once for each [`Members::kill_unit`].
    /// To be asked when all deaths so far have been handled.
    pub fn next_empty(&mut self, table: &ProcessTable) -> Option<UnitName> {
        if self.answerable.is_empty() && !self.dirty.is_empty() {
            // One look answers for all whose deaths are known by now.
            self.answerable = std::mem::take(&mut self.dirty);
            self.look(table);
        }
        while let Some(unit) = self.answerable.pop_first() {
            if table.lives(&unit) || !self.watched.contains(&unit) {
                continue;
            }
            let had_members = self.of_unit.contains_key(&unit);
            if self.has_living_members(&unit) {
                continue;
            }
            if had_members && !self.blind {
                self.dirty.insert(unit); // who died since the look may have left somebody
                continue;
            }
            self.watched.remove(&unit);
            return Some(unit);
        }
        None
    }

    /// Whether [`Members::next_empty`] has something to look at: no reason to wait before.
    pub fn has_questions(&self) -> bool {
        !self.dirty.is_empty() || !self.answerable.is_empty()
    }

    /// What a person should know, once: rinit cannot see descendants here.
    pub fn warning(&mut self) -> Option<&'static str> {
        let news = self.blind && !self.told;
        self.told |= news;
        news.then_some(
            "/proc cannot be read: processes that left their service's process group are not \
             found when it stops, only when rinit ends",
        )
    }

    fn has_living_members(&mut self, unit: &UnitName) -> bool {
        if self.blind {
            return self.leaders_of(unit).into_iter().any(kill::group_exists);
        }
        let pids: Vec<Pid> = self.of_unit.get(unit).into_iter().flatten().copied().collect();
        pids.into_iter().any(|pid| self.living(pid).is_some())
    }

    /// A recorded member, if it is still that one and alive; else it is forgotten.
    fn living(&mut self, pid: Pid) -> Option<Stat> {
        let started = self.recorded.get(&pid)?.started;
        let stat = proc::stat(pid).filter(|stat| stat.started == started && stat.is_alive());
        if stat.is_none() {
            self.forget(pid);
        }
        stat
    }

    fn forget(&mut self, pid: Pid) -> Option<Member> {
        let member = self.recorded.remove(&pid)?;
        if let Some(pids) = self.of_unit.get_mut(&member.unit) {
            pids.remove(&pid);
            if pids.is_empty() {
                self.of_unit.remove(&member.unit);
            }
        }
        Some(member)
    }

    /// Looks at every process that was born since the last look, and records whose it is.
    fn look(&mut self, table: &ProcessTable) {
        let last = self.last_pid.read();
        let now = clock::monotonic();
        let recent = now.saturating_sub(std::mem::replace(&mut self.looked, now)) <= RECENT;
        let pids: Vec<Pid> = match (self.seen_to, last) {
            (Some(from), Some(to)) if recent && from <= to && to - from <= BIRTHS => {
                (from + 1..=to).chain(std::mem::take(&mut self.unborn)).collect()
            }
            _ => match proc::pids() {
                Ok(pids) => pids,
                Err(_) => {
                    self.blind = true;
                    return;
                }
            },
        };
        self.blind = false;
        let previous = self.seen_to;
        self.seen_to = last;
        let mut stats = BTreeMap::new();
        for pid in pids {
            if table.id_of(pid).is_some() || pid == own_pid() {
                continue;
            }
            match proc::stat(pid) {
                Some(stat) if !stat.is_thread => {
                    stats.insert(pid, stat);
                }
                Some(_) => {}
                None if previous.is_some_and(|previous| pid > previous) => {
                    self.unborn.insert(pid);
                }
                None => {}
            }
        }
        for stat in stats.values() {
            self.record(stat, &stats, table);
        }
    }

    fn record(&mut self, stat: &Stat, stats: &BTreeMap<Pid, Stat>, table: &ProcessTable) {
        let known = self.recorded.get(&stat.pid);
        if known.is_some_and(|member| member.started == stat.started) {
            return;
        }
        self.forget(stat.pid); // the number belongs to somebody else now
        if let Some(unit) = self.unit_of(stat, stats, table) {
            self.of_unit.entry(unit.clone()).or_default().insert(stat.pid);
            self.recorded.insert(stat.pid, Member { unit, started: stat.started });
        }
    }

    /// By parent, session and group, from the process up to the child of ours that it stems from.
    fn unit_of(
        &self,
        stat: &Stat,
        stats: &BTreeMap<Pid, Stat>,
        table: &ProcessTable,
    ) -> Option<UnitName> {
        let mut current = stat;
        for _ in 0..stats.len().saturating_add(1) {
            if let Some(unit) = table.unit_of(current.parent) {
                return Some(unit.clone());
            }
            if let Some(parent) = self.recorded.get(&current.parent)
                && parent.started <= current.started
            {
                return Some(parent.unit.clone());
            }
            for group in [current.session, current.group] {
                if let Some((unit, _)) = self.groups.get(&group) {
                    return Some(unit.clone());
                }
            }
            if current.parent == own_pid() {
                let invocation = InvocationId(proc::invocation_id(current.pid)?);
                let mut owners = self.groups.values();
                return owners.find(|(_, id)| *id == invocation).map(|(unit, _)| unit.clone());
            }
            current = stats.get(&current.parent)?;
        }
        None
    }
}

/// Signals the groups that children of ours lead; the rest of the unit is still to get it.
fn signal_groups(table: &ProcessTable, unit: &UnitName, signal: Signal) -> PendingKill {
    let groups: BTreeSet<Pid> = table.of_unit(unit).map(|process| process.pid).collect();
    for leader in &groups {
        kill::group(*leader, signal);
    }
    PendingKill { signal, groups }
}

/// A process, its parent, and so on up to us.
fn ancestors(stat: Stat) -> BTreeMap<Pid, Stat> {
    let mut found = BTreeMap::new();
    let mut current = Some(stat);
    while let Some(stat) = current {
        if stat.pid == own_pid() || found.insert(stat.pid, stat).is_some() {
            break;
        }
        current = proc::stat(stat.parent);
    }
    found
}

/// Whether we have no child but this one; `None`: /proc does not tell.
pub(super) fn is_only_child(pid: Pid) -> Option<bool> {
    let own = own_pid();
    let mut stats = proc::pids().ok()?.into_iter().filter_map(proc::stat);
    Some(!stats.any(|stat| stat.parent == own && stat.pid != pid && !stat.is_thread))
}

/// Every process that stems from us, as /proc shows it now.
fn descendants() -> Vec<Stat> {
    let mut rest: Vec<Stat> =
        proc::pids().unwrap_or_default().into_iter().filter_map(proc::stat).collect();
    let mut found = Vec::new();
    let mut parents = BTreeSet::from([own_pid()]);
    while !parents.is_empty() {
        let (children, others): (Vec<Stat>, Vec<Stat>) =
            rest.into_iter().partition(|stat| parents.contains(&stat.parent));
        parents = children.iter().map(|stat| stat.pid).collect();
        found.extend(children);
        rest = others;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    fn stat(pid: Pid, parent: Pid, group: Pid, session: Pid) -> Stat {
        Stat { pid, state: b'S', parent, group, session, is_thread: false, started: 1 }
    }

    /// `web` has session 1000000100, `db` 1000000200: numbers that no kernel gives out.
    fn members() -> Members {
        let mut members = Members::new();
        members.spawned(1_000_000_100, name("web.service"), InvocationId(1));
        members.spawned(1_000_000_200, name("db.service"), InvocationId(2));
        members
    }

    #[test]
    fn whose_a_process_is() {
        let (web, db) = (1_000_000_100, 1_000_000_200);
        let all = [
            stat(1_000_000_001, 1_000_000_050, web, web), // its parent is unknown, its session not
            stat(1_000_000_002, 1_000_000_001, 1_000_000_002, 1_000_000_002), // left, but a child
            stat(1_000_000_003, 1_000_000_002, 1_000_000_003, 1_000_000_003),
            stat(1_000_000_004, own_pid(), db, 1_000_000_004), // an orphan with its group only
            stat(1_000_000_005, own_pid(), 1_000_000_005, 1_000_000_005), // nothing left to tell
            stat(1_000_000_006, 0, 1_000_000_006, 1_000_000_006), // exec'ed into the container
        ];
        let stats: BTreeMap<Pid, Stat> = all.iter().map(|stat| (stat.pid, *stat)).collect();
        let members = members();
        let table = ProcessTable::default();
        let whose = |stat: &Stat| members.unit_of(stat, &stats, &table);
        let found: Vec<Option<UnitName>> = all.iter().map(whose).collect();
        let web = Some(name("web.service"));
        let db = Some(name("db.service"));
        assert_eq!(found, [web.clone(), web.clone(), web, db, None, None]);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        // A pid that was used again between two glances can make one.
        let all =
            [stat(1_000_000_001, 1_000_000_002, 1, 1), stat(1_000_000_002, 1_000_000_001, 1, 1)];
        let stats: BTreeMap<Pid, Stat> = all.iter().map(|stat| (stat.pid, *stat)).collect();
        assert_eq!(members().unit_of(&all[0], &stats, &ProcessTable::default()), None);
    }

    #[test]
    fn who_was_recorded_stays_until_it_is_gone() {
        let mut members = members();
        let one = stat(1_000_000_001, 1_000_000_050, 1_000_000_100, 1_000_000_100);
        let stats = BTreeMap::from([(one.pid, one)]);
        members.record(&one, &stats, &ProcessTable::default());
        // It left its session, and its parent is somebody else.
        let moved = Stat { parent: 0, session: 7, group: 7, ..one };
        members.record(&moved, &BTreeMap::new(), &ProcessTable::default());
        assert_eq!(members.recorded.get(&one.pid).map(|m| &m.unit), Some(&name("web.service")));
        // Another process with its number is nobody's.
        let other = Stat { started: 2, ..moved };
        members.record(&other, &BTreeMap::new(), &ProcessTable::default());
        assert_eq!(members.recorded.get(&one.pid), None);
        assert!(members.of_unit.is_empty());
    }

    #[test]
    fn a_unit_without_processes_is_empty_at_once_and_once() {
        let mut members = members();
        let table = ProcessTable::default();
        members.kill_unit(&table, name("web.service"), None);
        assert!(members.has_questions());
        assert_eq!(members.next_empty(&table), Some(name("web.service")));
        assert!(!members.has_questions());
        assert_eq!(members.next_empty(&table), None);
        members.kill_unit(&table, name("web.service"), None);
        members.release(&name("web.service"));
        assert_eq!(members.next_empty(&table), None);
    }
}
