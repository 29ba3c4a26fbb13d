//! rinit as the keeper of `MemoryMax=` where no cgroup is, and of `MemoryHigh=` everywhere.
//!
//! Not the judgement of one unit (`watch`) and not what follows from it
//! (`manager::service::memory`). Also in a cgroup it is the processes that are asked for
//! `MemoryHigh=`: the cgroup counts the page cache, which is no leak. **Invariant:** without a unit
//! that has a limit to keep there is no wakeup; all looks together use at most a [`SHARE`]-th of a
//! processor, and at most [`SLICE`] (and one process more) of one turn of the loop, however many
//! processes there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::measure::{Look, Sample};
use super::watch::{Bounds, Verdict, Watch, jitter};
use super::{Memory, Rung};
use crate::init::event_loop::{Shell, now};
use crate::manager::event::{Event, OomKill, OomKiller};
use crate::manager::time::Timestamp;
use crate::sys::clock;
use crate::unit::resources::Resources;
use crate::unit::{Unit, UnitName};

/// One part of so many of a processor is what looking may take.
const SHARE: u32 = 50;

/// What looking may take at once: a look that decides does not wait for its share.
const BURST: Duration = Duration::from_millis(50);

/// What of it one turn of the loop may take: whoever knocks at PID 1 waits for no more than that.
const SLICE: Duration = Duration::from_millis(10);

/// A process that was born so short ago may not have been counted yet.
const UNSEEN: Duration = Duration::from_millis(500);

/// The units under watch.
#[derive(Debug, Default)]
pub struct Watchdog {
    watches: BTreeMap<UnitName, (Watch, Timestamp)>,
    due: BTreeSet<(Timestamp, UnitName)>,
    budget: Budget,
    looking: Option<Looking>,
    /// This turn had its slice.
    rests: bool,
}

/// A look that goes on in the next turn. In between pids may become somebody else's, but their
/// numbers take longer to go round.
#[derive(Debug)]
struct Looking {
    unit: UnitName,
    look: Look,
    cost: Duration,
}

/// Processor time that was used and is not paid for by time that passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Budget {
    debt: Duration,
    at: Timestamp,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { debt: Duration::ZERO, at: Timestamp::ZERO }
    }
}

impl Budget {
    fn spend(&mut self, now: Timestamp, cost: Duration) {
        self.debt = self.debt.saturating_sub(now.since(self.at) / SHARE) + cost;
        self.at = now;
    }

    /// No look before.
    fn next(&self) -> Timestamp {
        self.at.after(self.debt.saturating_sub(BURST) * SHARE)
    }
}

impl Watchdog {
    /// A process of this unit was started.
    pub fn begin(&mut self, now: Timestamp, unit: &Unit, memory: &Memory) {
        if self.watches.contains_key(&unit.name) {
            return;
        }
        let bounds = unit.service.resources.as_deref().map(|it| bounds(unit, it, memory));
        if let Some(bounds) = bounds.filter(|it| it.max.is_some() || it.high.is_some()) {
            let watch = Watch::new(now, bounds);
            let at = now.after(watch.period());
            self.insert(unit.name.clone(), watch, at);
        }
    }

    /// The unit ended for now.
    pub fn end(&mut self, unit: &UnitName) {
        self.remove(unit);
        self.looking.take_if(|looking| looking.unit == *unit);
    }

    /// The unit has another name from now on.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) {
        if let Some((watch, at)) = self.remove(from) {
            self.insert(to.clone(), watch, at);
        }
        if let Some(looking) = self.looking.as_mut().filter(|looking| looking.unit == *from) {
            looking.unit = to.clone();
        }
    }

    /// The loop has been round.
    pub fn begin_turn(&mut self) {
        self.rests = false;
    }

    /// What the last look at a unit saw, and the most that any did.
    pub fn seen(&self, unit: &UnitName) -> Option<(Sample, u64)> {
        let (watch, _) = self.watches.get(unit)?;
        Some((watch.last()?, watch.peak))
    }

    /// Whether the pages that the unit's processes share may be seen as shared; `None`: nobody
    /// needed to know yet.
    pub fn sees_sharing(&self, unit: &UnitName) -> Option<bool> {
        self.watches.get(unit)?.0.sees_sharing()
    }

    /// When the next look is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.looking.is_some() {
            return Some(Timestamp::ZERO);
        }
        Some(self.due.first()?.0.max(self.budget.next()))
    }

    /// A unit that is to be looked at now, and from where on exactly.
    fn next(&self, now: Timestamp) -> Option<(UnitName, u64)> {
        let (_, unit) = self.due.first().filter(|_| self.next_deadline() <= Some(now))?;
        let (watch, _) = self.watches.get(unit)?;
        Some((unit.clone(), watch.bounds().near()))
    }

    /// The rest of a look is for the next turn.
    fn pause(&mut self, looking: Looking) {
        self.looking = Some(looking);
        self.rests = true;
    }

    /// Takes in a look that cost so much, and plans the next.
    fn looked(
        &mut self,
        now: Timestamp,
        unit: UnitName,
        sample: Sample,
        cost: Duration,
    ) -> Option<Event> {
        self.budget.spend(now, cost);
        let (mut watch, _) = self.remove(&unit)?;
        let verdict = watch.look(now, sample);
        let (bounds, peak) = (*watch.bounds(), watch.peak);
        let at = now.after(watch.period());
        self.insert(unit.clone(), watch, at);
        match verdict {
            Verdict::Fine => None,
            Verdict::OverMax => {
                let kill = OomKill { by: OomKiller::Watchdog, limit: bounds.max, peak: Some(peak) };
                Some(Event::OomKill { unit, kill })
            }
            Verdict::OverHigh => {
                Some(Event::MemoryHigh { unit, current: sample.bytes, high: bounds.high? })
            }
        }
    }

    fn insert(&mut self, unit: UnitName, watch: Watch, at: Timestamp) {
        self.due.insert((at, unit.clone()));
        self.watches.insert(unit, (watch, at));
    }

    fn remove(&mut self, unit: &UnitName) -> Option<(Watch, Timestamp)> {
        let found = self.watches.remove(unit)?;
        self.due.remove(&(found.1, unit.clone()));
        Some(found)
    }
}

/// What of a unit's limits is ours to keep.
fn bounds(unit: &Unit, resources: &Resources, memory: &Memory) -> Bounds {
    let (max, high) = memory.limits(resources);
    let max = max.filter(|_| memory.rung(unit) == Rung::Watchdog);
    let high = high.filter(|_| resources.recycles());
    let jitter = high.map_or(0, |high| jitter(unit.name.as_str(), high));
    Bounds { max, high, jitter }
}

impl Shell {
    /// Looks at the units whose time it is, until this turn's slice is used; what is to be done
    /// with one of them.
    pub(in crate::init) fn next_memory(&mut self) -> Option<Event> {
        let ends = clock::processor_time() + SLICE;
        while !self.watchdog.rests {
            let before = clock::processor_time();
            let mut looking = self.next_look()?;
            let sample = looking.look.go_on(|| clock::processor_time() >= ends);
            looking.cost += clock::processor_time().saturating_sub(before);
            let Some(sample) = sample else {
                self.watchdog.pause(looking);
                break;
            };
            let Looking { unit, cost, .. } = looking;
            if let Some(event) = self.watchdog.looked(now(), unit, sample, cost) {
                return Some(event);
            }
        }
        None
    }

    /// The one that was begun, or a new one if one is due.
    fn next_look(&mut self) -> Option<Looking> {
        if let Some(looking) = self.watchdog.looking.take() {
            return Some(looking);
        }
        let (unit, near) = self.watchdog.next(now())?;
        let pids = self.members.pids_of(&unit, &self.table, UNSEEN);
        Some(Looking { unit, look: Look::new(pids, near), cost: Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;

    use super::super::measure::Kind;
    use super::*;
    use crate::unit::resources::Amount;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(milliseconds))
    }

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    fn watchdog(units: &[&str]) -> Watchdog {
        let mut watchdog = Watchdog::default();
        for unit in units {
            let watch = Watch::new(at(0), Bounds { max: Some(100 << 20), ..Bounds::default() });
            watchdog.insert(name(unit), watch, at(1000));
        }
        watchdog
    }

    fn sample(mebibytes: u64) -> Sample {
        Sample { bytes: mebibytes << 20, kind: Kind::Proportional }
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_do() {
        assert_eq!(Watchdog::default().next_deadline(), None);
        let mut watchdog = watchdog(&["web.service"]);
        assert_eq!(watchdog.next_deadline(), Some(at(1000)));
        watchdog.rename(&name("web.service"), &name("old.service"));
        assert_eq!(watchdog.next(at(999)), None);
        assert_eq!(watchdog.next(at(1000)).map(|it| it.0), Some(name("old.service")));
        watchdog.end(&name("old.service"));
        assert_eq!((watchdog.next_deadline(), watchdog.due.len()), (None, 0));
    }

    /// `MemoryMax=` where nothing else keeps it; `MemoryHigh=` of what is recycled, whatever keeps
    /// its maximum.
    #[test]
    fn what_is_ours_to_keep() {
        use crate::unit::resources::MemoryEnforce::{None as Nothing, Rlimit, Watchdog as Ours};
        use crate::unit::resources::MemoryHighAction;
        let (none, recycle) = (MemoryHighAction::None, MemoryHighAction::Recycle);
        let rows = [
            (Ours, none, (Some(100), None)),
            (Ours, recycle, (Some(100), Some(50))),
            (Rlimit, none, (None, None)),
            (Rlimit, recycle, (None, Some(50))),
            (Nothing, none, (None, None)),
        ];
        let memory = Memory { total: OnceCell::from(Some(200)), ..Memory::default() };
        for (enforce, high_action, expected) in rows {
            let mut unit = Unit::new(name("web.service"));
            unit.service.resources = Some(Box::new(Resources {
                memory_max: Some(Amount::Share(5_000)),
                memory_high: Some(Amount::Bytes(50)),
                enforce,
                high_action,
                ..Resources::default()
            }));
            let mut watchdog = Watchdog::default();
            watchdog.begin(at(0), &unit, &memory);
            let bounds = watchdog.watches.get(&unit.name).map(|(watch, _)| *watch.bounds());
            let found = bounds.map_or((None, None), |bounds| (bounds.max, bounds.high));
            assert_eq!(found, expected, "{enforce:?}, {high_action:?}");
        }
    }

    /// However dear a look is, the looks of a minute take a fiftieth of it and one burst.
    #[test]
    fn all_looks_together_have_a_budget() {
        for cost in [1, 5, 40, 300] {
            let mut watchdog = watchdog(&["a.service", "b.service", "c.service"]);
            let (mut used, mut looks) = (Duration::ZERO, BTreeMap::new());
            for millisecond in 1..=60_000 {
                while let Some((unit, _)) = watchdog.next(at(millisecond)) {
                    let cost = Duration::from_millis(cost);
                    used += cost;
                    *looks.entry(unit.clone()).or_insert(0) += 1;
                    watchdog.looked(at(millisecond), unit, sample(99), cost);
                }
            }
            let most = Duration::from_secs(60) / SHARE + BURST + Duration::from_millis(cost);
            assert!(used <= most, "{cost} ms: {used:?}");
            // Nobody starves.
            let (least, most) = (looks.values().min().unwrap(), looks.values().max().unwrap());
            assert!(looks.len() == 3 && most - least <= 1, "{cost} ms: {looks:?}");
        }
    }

    /// It is due at once, in the next turn, and it is its unit's, whatever becomes of that.
    #[test]
    fn a_look_goes_on_in_the_next_turn() {
        let paused = || {
            let mut watchdog = watchdog(&["web.service", "other.service"]);
            let (unit, near) = watchdog.next(at(1000)).unwrap();
            let look = Look::new(Vec::new(), near);
            watchdog.pause(Looking { unit, look, cost: Duration::ZERO });
            watchdog
        };
        let unit = |watchdog: &Watchdog| watchdog.looking.as_ref().map(|it| it.unit.to_string());
        let mut watchdog = paused();
        assert_eq!((watchdog.next_deadline(), watchdog.rests), (Some(Timestamp::ZERO), true));
        watchdog.begin_turn();
        assert!(!watchdog.rests);
        watchdog.end(&name("web.service"));
        watchdog.rename(&name("other.service"), &name("new.service"));
        assert_eq!(unit(&watchdog).as_deref(), Some("new.service"));
        watchdog.end(&name("new.service"));
        assert_eq!((unit(&watchdog), watchdog.next_deadline()), (None, None));
    }

    #[test]
    fn over_the_limit_is_told_with_the_limit_and_the_peak() {
        let mut watchdog = watchdog(&["web.service"]);
        let unit = || name("web.service");
        assert_eq!(watchdog.looked(at(1000), unit(), sample(100), Duration::ZERO), None);
        let kill =
            OomKill { by: OomKiller::Watchdog, limit: Some(100 << 20), peak: Some(101 << 20) };
        let event = Some(Event::OomKill { unit: unit(), kill });
        assert_eq!(watchdog.looked(at(1050), unit(), sample(101), Duration::ZERO), event);
    }
}
