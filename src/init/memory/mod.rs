//! By what the limits of each unit hold here, and what it uses of what it may.
//!
//! Not what a limit that was met means (`manager::service::memory`) and not the cgroup file system
//! (`sys::cgroup`). **Invariant:** a unit is on one rung at a time, and it is the strongest that
//! works here of those that `MemoryEnforce=` allows.

mod carried;
mod container;
mod measure;
mod watch;
mod watchdog;

pub use container::ContainerOom;
pub use watchdog::Watchdog;

use std::time::Duration;

use crate::sys::proc_memory;
use crate::unit::Unit;
use crate::unit::resources::{Amount, MemoryEnforce, Resources};

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

    /// Whether the kernel knows what the unit as a whole uses.
    pub fn is_cgroup(self) -> bool {
        matches!(self, Rung::CgroupV2 | Rung::CgroupV1)
    }
}

/// What a unit uses and may use; `None` is not known, for limits: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Its memory now, in bytes.
    pub current: Option<u64>,
    /// The most memory that it had in this run, in bytes.
    pub peak: Option<u64>,
    /// `MemoryMax=` in bytes, as it is in force.
    pub max: Option<u64>,
    /// `MemoryHigh=` in bytes, as it is in force.
    pub high: Option<u64>,
    /// How many of its processes the kernel killed for memory.
    pub oom_kills: Option<u64>,
    /// Its processes and threads now.
    pub tasks: Option<u64>,
    /// The processor time of all its processes, dead ones included.
    pub cpu: Option<Duration>,
}

/// What is known of the units' limits, beside the loop.
#[derive(Debug, Default)]
pub struct Memory {
    /// What the container may have, in bytes: of this `MemoryMax=25%` is a share.
    total: Option<u64>,
    /// Whether the kernel merges pages, once somebody wanted to know.
    can_merge: Option<bool>,
    /// Our own `oom_score_adj`.
    own_oom_score: Option<i32>,
}

impl Memory {
    /// In a container with so much memory.
    pub fn new(total: Option<u64>) -> Memory {
        Memory { total, can_merge: None, own_oom_score: proc_memory::own_oom_score_adjust() }
    }

    /// By what the limits of a unit hold; [`Rung::None`] for one that has none.
    pub fn rung(&self, unit: &Unit) -> Rung {
        let Some(resources) = unit.service.resources.as_deref() else { return Rung::None };
        if !resources.limits_memory() {
            return Rung::None;
        }
        match resources.enforce {
            MemoryEnforce::Auto | MemoryEnforce::Cgroup | MemoryEnforce::Watchdog => Rung::Watchdog,
            MemoryEnforce::Rlimit => Rung::Rlimit,
            MemoryEnforce::None => Rung::None,
        }
    }

    /// `MemoryMax=` and `MemoryHigh=` of a unit in bytes.
    pub fn limits(&self, resources: &Resources) -> (Option<u64>, Option<u64>) {
        let bytes = |amount: Option<Amount>| amount?.bytes(self.total);
        (bytes(resources.memory_max), bytes(resources.memory_high))
    }
}
