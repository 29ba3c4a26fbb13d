//! What a unit uses of what it may, in JSON: systemd's names and one of ours.
//!
//! Not the measuring (`init::memory`). **Invariant:** what is not known is the largest number, as
//! on systemd's bus, and so is a limit that is not there.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use serde_json::{Value, json};

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
    /// How many it may have.
    pub tasks_max: Option<u64>,
    /// The processor time of all its processes, dead ones included.
    pub cpu: Option<Duration>,
}

impl Usage {
    /// What two use together; their limits are each one's own.
    #[must_use]
    pub fn and(self, other: Usage) -> Usage {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, other) => one.or(other),
        };
        let time = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let cpu = sum(self.cpu.map(time), other.cpu.map(time));
        Usage {
            current: sum(self.current, other.current),
            oom_kills: sum(self.oom_kills, other.oom_kills),
            tasks: sum(self.tasks, other.tasks),
            cpu: cpu.map(Duration::from_nanos),
            peak: None,
            max: None,
            high: None,
            tasks_max: None,
        }
    }

    /// With by what it is held, and where.
    pub fn properties(&self, enforced: &str, group: &str) -> Value {
        let cpu = self.cpu.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        let known = |number: Option<u64>| number.unwrap_or(u64::MAX);
        json!({
            "MemoryCurrent": known(self.current),
            "MemoryPeak": known(self.peak),
            "MemoryMax": known(self.max),
            "MemoryHigh": known(self.high),
            "MemoryEnforced": enforced,
            "OOMKills": self.oom_kills.unwrap_or(0),
            "TasksCurrent": known(self.tasks),
            "TasksMax": known(self.tasks_max),
            "CPUUsageNSec": known(cpu),
            "ControlGroup": group,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_use_together() {
        let one = Usage {
            current: Some(3),
            peak: Some(9),
            max: Some(10),
            tasks: Some(1),
            cpu: Some(Duration::from_nanos(5)),
            ..Usage::default()
        };
        let both = one.and(Usage { current: Some(4), ..Usage::default() }).and(Usage::default());
        assert_eq!((both.current, both.tasks, both.peak, both.max), (Some(7), Some(1), None, None));
        let json = both.properties("cgroup", "/a.service");
        assert_eq!(json["CPUUsageNSec"], 5);
        assert_eq!(json["MemoryPeak"], u64::MAX);
    }
}
