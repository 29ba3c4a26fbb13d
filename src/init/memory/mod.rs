//! By what the limits of each unit hold here, and what it uses of what it may.
//!
//! Not what a limit that was met means (`manager::service::memory`) and not the cgroup file system
//! (`sys::cgroup`). **Invariant:** a unit is on one rung at a time, and it is the strongest that
//! works here of those that `MemoryEnforce=` allows.

mod carried;
mod container;
mod groups;
mod measure;
mod shell;
mod watch;
mod watchdog;

use std::cell::OnceCell;

pub use container::ContainerOom;
pub use watchdog::Watchdog;

pub use crate::control::usage::Usage;
use crate::sys::proc_memory;
use crate::unit::load::Container;
use crate::unit::resources::{Amount, MemoryEnforce, Resources};
use crate::unit::{Unit, UnitName};
use groups::Groups;

/// By what `MemoryMax=` holds, from the strongest to nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rung {
    /// The kernel, for the whole unit: a leaf of cgroup v2.
    CgroupV2,
    /// The kernel, one process at a time: a leaf of cgroup v1.
    CgroupV1,
    /// rinit, which looks at the unit's processes from time to time.
    Watchdog,
    /// The kernel, for each process by itself: RLIMIT_DATA.
    Rlimit,
    /// Nothing.
    None,
}

impl Rung {
    /// As `show` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::CgroupV2 => "cgroup",
            Rung::CgroupV1 => "cgroup-v1",
            Rung::Watchdog => "watchdog",
            Rung::Rlimit => "rlimit",
            Rung::None => "none",
        }
    }
}

/// What is known of the units' limits, beside the loop.
#[derive(Debug, Default)]
pub struct Memory {
    /// What the container may have, in bytes, once somebody wanted to know.
    total: OnceCell<Option<u64>>,
    /// Whether the kernel merges pages, once somebody wanted to know.
    can_merge: Option<bool>,
    /// Our own `oom_score_adj`, once somebody wanted to know.
    own_oom_score: OnceCell<Option<i32>>,
    /// The control groups.
    pub(super) groups: Groups,
}

impl Memory {
    /// What the container may have, in bytes: of this `MemoryMax=25%` is a share.
    pub(super) fn total(&self) -> Option<u64> {
        *self.total.get_or_init(|| Container::read().room.memory)
    }

    fn own_oom_score(&self) -> Option<i32> {
        *self.own_oom_score.get_or_init(proc_memory::own_oom_score_adjust)
    }

    /// By what the limits of a unit hold; [`Rung::None`] for one that has none.
    pub fn rung(&self, unit: &Unit) -> Rung {
        let Some(resources) = unit.service.resources.as_deref() else { return Rung::None };
        if !resources.limits_memory() {
            return Rung::None;
        }
        match resources.enforce {
            MemoryEnforce::Auto | MemoryEnforce::Cgroup => self.groups.rung(&unit.name),
            MemoryEnforce::Watchdog => Rung::Watchdog,
            MemoryEnforce::Rlimit => Rung::Rlimit,
            MemoryEnforce::None => Rung::None,
        }
    }

    /// `MemoryMax=` and `MemoryHigh=` of a unit in bytes.
    pub fn limits(&self, resources: &Resources) -> (Option<u64>, Option<u64>) {
        let bytes = |amount: Option<Amount>| amount?.bytes(self.total());
        (bytes(resources.memory_max), bytes(resources.memory_high))
    }

    /// What a unit uses, as far as it is known, and what it may use.
    pub fn usage(&self, unit: &Unit) -> Usage {
        let resources = unit.service.resources.as_deref();
        let (max, high) = resources.map_or((None, None), |resources| self.limits(resources));
        let tasks_max = resources.and_then(|resources| resources.tasks_max);
        let used = self.groups.used(&unit.name).unwrap_or_default();
        Usage { max: used.max.or(max), high: used.high.or(high), tasks_max, ..used }
    }

    /// Where a unit's control group is; empty: it has none.
    pub fn group(&self, unit: &UnitName) -> String {
        self.groups.path(unit).unwrap_or_default()
    }
}
