//! The control groups beside the loop: where actions and deaths meet them.
//!
//! Not which group is whose (`groups`). **Invariant:** who is in a unit's group is recorded as the
//! unit's before a signal goes to the unit, and a unit is empty only if its group is.

use std::ffi::CString;
use std::sync::Arc;

use serde_json::Value;

use super::groups::Note;
use super::{Rung, Usage};
use crate::init::event_loop::{FIRST_GROUP, Shell, now};
use crate::init::report::Level;
use crate::manager::event::{Event, SpawnError};
use crate::sys::{Pid, proc};
use crate::unit::process::Signal;
use crate::unit::resources::Resources;
use crate::unit::slice::Slices;
use crate::unit::{Unit, UnitName};

impl Shell {
    /// Has the control groups if a unit needs them, and says so.
    ///
    /// # Errors
    /// The sentence: a unit must have one and cannot.
    pub(in crate::init) fn settle_groups(
        &mut self,
        units: &[Arc<Unit>],
        slices: &Slices,
    ) -> Result<(), String> {
        if !slices.is_empty() || units.iter().any(|unit| unit.service.resources.is_some()) {
            self.container_oom.begin(); // not in a cgroup that we moved into
        }
        for note in self.memory.groups.settle(units, slices)? {
            match note {
                Note::Info(text) => self.report.message(Level::Info, text),
                Note::Warning(text) => self.report.message(Level::Warn, text),
            }
        }
        Ok(())
    }

    /// The doors of the group that a process of the unit is to enter.
    pub(in crate::init) fn enter_group(&mut self, unit: &Unit) -> Result<Vec<CString>, SpawnError> {
        let limited = unit.service.resources.is_some();
        let (mut notes, total) = (Vec::new(), limited.then(|| self.memory.total()).flatten());
        let registry = self.poll.registry();
        let entered = self.memory.groups.enter(unit, total, registry, FIRST_GROUP, &mut notes);
        for note in notes {
            self.report.message(Level::Warn, note);
        }
        entered.map_err(SpawnError::Permanent)
    }

    /// Signals a unit: its own processes, and whoever is in its group.
    pub(in crate::init) fn kill_unit(&mut self, unit: UnitName, signal: Option<Signal>) {
        if signal.is_some() {
            self.record_members(&unit);
        }
        self.members.kill_unit(&self.table, unit.clone(), signal);
        if signal == Some(Signal::KILL) {
            self.memory.groups.kill(&unit);
        }
    }

    fn record_members(&mut self, unit: &UnitName) {
        for pid in self.memory.groups.thawed(unit) {
            if self.table.id_of(pid).is_none()
                && let Some(stat) = proc::stat(pid)
            {
                self.members.assign(pid, stat.started, unit);
            }
        }
    }

    /// What a unit uses and by what it is held, for `show`; a service with instances: what these
    /// use together.
    pub(in crate::init) fn usage_of(&self, unit: &Unit, all: &[Arc<Unit>]) -> Value {
        let instances = all.iter().filter(|it| it.instance_of.as_ref() == Some(&unit.name));
        let together =
            instances.map(|it| self.with_watched(it, self.memory.usage(it))).reduce(Usage::and);
        let blind = self.watchdog.sees_sharing(&unit.name) == Some(false);
        let enforced = match self.memory.rung(unit) {
            Rung::Watchdog if blind => "watchdog(rss)",
            Rung::None if !limits_memory(unit) => "",
            rung @ (Rung::CgroupV2
            | Rung::CgroupV1
            | Rung::Watchdog
            | Rung::Rlimit
            | Rung::None) => rung.as_str(),
        };
        let usage = match together {
            Some(together) => {
                let own = self.memory.usage(unit);
                Usage { max: own.max, high: own.high, tasks_max: own.tasks_max, ..together }
            }
            None => self.with_watched(unit, self.memory.usage(unit)),
        };
        usage.properties(enforced, &self.memory.group(&unit.name))
    }

    /// Without a group: what the watchdog saw last.
    pub(in crate::init) fn with_watched(&self, unit: &Unit, usage: Usage) -> Usage {
        let seen = self.watchdog.seen(&unit.name);
        let (current, peak) = (seen.map(|(sample, _)| sample.bytes), seen.map(|(_, peak)| peak));
        Usage { current: usage.current.or(current), peak: usage.peak.or(peak), ..usage }
    }

    /// Signals everything that is ours.
    pub(in crate::init) fn kill_everything(&mut self, signal: Signal) {
        self.members.kill_everything(&self.table, signal);
        self.memory.groups.signal_all(signal == Signal::KILL);
    }

    /// The unit ended.
    pub(in crate::init) fn release_group(&mut self, unit: &UnitName) {
        self.memory.groups.release(unit, self.poll.registry(), now());
    }

    /// The unit has another name.
    pub(in crate::init) fn rename_group(&mut self, from: &UnitName, to: &UnitName) {
        self.memory.groups.rename(from, to, self.poll.registry());
    }

    /// A kill by the kernel that a group told of.
    pub(in crate::init) fn next_kill(&mut self) -> Option<Event> {
        let (unit, kill, killed) = self.memory.groups.next_kill(self.container_oom.limit())?;
        self.told(killed);
        Some(Event::OomKill { unit, kill })
    }

    /// What a death by SIGKILL was for, if its group says so: to be told before the death. Each
    /// kill is told once.
    pub(in crate::init) fn kill_before(&mut self, pid: Pid) -> Option<Event> {
        let Some(unit) = self.table.unit_of(pid).cloned() else {
            self.memory.groups.suspect_all();
            return self.next_kill();
        };
        let (kill, killed) = self.memory.groups.kill_in(&unit, self.container_oom.limit())?;
        self.told(killed);
        Some(Event::OomKill { unit, kill })
    }

    /// In v2 what is counted in a group is counted in those that hold it, too.
    fn told(&mut self, killed: u64) {
        if self.memory.groups.counts_upwards() {
            self.container_oom.told_elsewhere(killed);
        }
    }

    /// A unit of which no process is left; only once every death so far is known.
    pub(in crate::init) fn next_empty(&mut self) -> Option<UnitName> {
        for unit in self.memory.groups.due(now()) {
            self.members.kill_unit(&self.table, unit, None);
        }
        while let Some(unit) = self.members.next_empty(&self.table) {
            if !self.memory.groups.is_populated(&unit, now()) {
                return Some(unit);
            }
        }
        None
    }
}

fn limits_memory(unit: &Unit) -> bool {
    unit.service.resources.as_deref().is_some_and(Resources::limits_memory)
}
