//! What of a unit's words about memory each of its processes carries itself.
//!
//! Not a cgroup and not the watchdog: RLIMIT_DATA, the flag for KSM, and who the kernel takes first
//! when the whole container has no memory left. **Invariant:** nothing of it makes a start fail,
//! and what the unit says of it by its own directive (`LimitDATA=`, `OOMScoreAdjust=`) stands.

use crate::init::event_loop::Shell;
use crate::init::memory::Rung;
use crate::init::report::Level;
use crate::manager::event::SpawnRequest;
use crate::sys::exec::{ExecPlan, Rlimit};
use crate::sys::proc_memory;
use crate::unit::Unit;
use crate::unit::resources::Resources;

/// So much more likely than rinit is a worker to be the victim: each thousandth counts as much as
/// a thousandth of the container's memory (proc(5), `oom_score_adj`).
const EXPENDABLE: i32 = 100;

/// The kernel's greatest.
const SCORE_MAX: i32 = 1000;

impl Shell {
    /// Adds it to the plan of a process.
    pub(in crate::init) fn restrict(&mut self, request: &SpawnRequest, plan: &mut ExecPlan) {
        let unit = &request.unit;
        let Some(resources) = unit.service.resources.as_deref() else { return };
        if self.memory.rung(unit) == Rung::Rlimit
            && let (Some(limit), _) = self.memory.limits(resources)
            && !plan.limits.iter().any(|it| it.resource == libc::RLIMIT_DATA)
        {
            let name = "DATA (MemoryEnforce=rlimit)";
            plan.limits.push(Rlimit {
                resource: libc::RLIMIT_DATA,
                name,
                soft: limit,
                hard: limit,
            });
        }
        plan.merges_memory = resources.memory_ksm && self.can_merge(unit);
    }

    fn can_merge(&mut self, unit: &Unit) -> bool {
        *self.memory.can_merge.get_or_insert_with(|| {
            let can = proc_memory::can_merge();
            if !can {
                let text = "MemoryKSM= is ignored: this kernel merges no pages of whole processes \
                            (Linux 6.4, built with KSM)";
                self.report.message(Level::Warn, format!("{}: {text}", unit.name));
            }
            can
        })
    }

    /// The `oom_score_adj` that a process of the unit gets once it is the program. It belongs to
    /// the memory, which the child may share with us before that.
    pub(in crate::init) fn oom_score_adjust(&self, unit: &Unit) -> Option<i32> {
        let service = &unit.service;
        let limited = service.resources.as_deref().is_some_and(Resources::limits_memory);
        let expendable = limited || unit.instance_of.is_some();
        if !expendable || service.exec.oom_score_adjust.is_some() {
            return None;
        }
        let own = if self.spawner.oom_protected { 0 } else { self.memory.own_oom_score()? };
        (own < SCORE_MAX).then_some((own + EXPENDABLE).min(SCORE_MAX))
    }
}
