//! More memory than it may have: what a kill by the kernel, or a limit that rinit itself has to
//! keep, means for the service.
//!
//! Not the measuring (`init::memory`). The states are those that systemd's
//! `service_notify_cgroup_oom_event` goes to; rinit's default `OOMPolicy=` is `kill`.
//! **Invariant:** a kill is told before the death that it caused, so the result names the cause.

use super::super::event::{Fact, OomKill, OomKiller};
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::Service;
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::resources::{OomPolicy, Resources};

impl Service {
    /// The kernel killed something of it, or it is over a limit that rinit has to keep.
    pub fn on_oom(&mut self, out: &mut Out, kill: OomKill) {
        if self.is_down() || matches!(self.state, SubState::AutoRestart | SubState::Listening) {
            return; // of a run that is over
        }
        let policy = self.unit.service.resources.as_deref().map(|it| it.oom_policy);
        self.oom_killed |= kill.by != OomKiller::Watchdog;
        let by = kill.by;
        let again = self.result == ServiceResult::OomKill;
        if !(again && by == OomKiller::Watchdog) {
            out.record(Fact::OomKill { unit: self.unit.name.clone(), kill });
        }
        match (by, policy.unwrap_or_default()) {
            // Whose limit that was knows nothing of the rest of this service.
            (OomKiller::Slice | OomKiller::Container, _)
            | (OomKiller::Kernel, OomPolicy::Continue) => (),
            (OomKiller::Watchdog, _) => self.over_memory(out, SubState::StopSigterm),
            (OomKiller::Kernel, OomPolicy::Stop) => self.over_memory(out, SubState::StopSigterm),
            (OomKiller::Kernel, OomPolicy::Kill) => self.over_memory(out, SubState::StopSigkill),
        }
    }

    /// It is stopped, with `state`; what already stops and still grows is killed.
    fn over_memory(&mut self, out: &mut Out, state: SubState) {
        let send_sigkill = self.unit.service.send_sigkill;
        match self.state {
            SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Running
            | SubState::Exited
            | SubState::Reload
            | SubState::Stop => {
                self.note(ServiceResult::OomKill, None);
                self.signal(out, state);
            }
            SubState::StopSigterm | SubState::StopWatchdog if send_sigkill => {
                self.note(ServiceResult::OomKill, None);
                self.signal(out, SubState::StopSigkill);
            }
            SubState::StopPost | SubState::FinalSigterm if send_sigkill => {
                self.note(ServiceResult::OomKill, None);
                self.kill_control(out);
                self.signal(out, SubState::FinalSigkill);
            }
            SubState::StopSigterm
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::StopSigkill
            | SubState::FinalSigkill
            | SubState::Dead
            | SubState::Listening
            | SubState::AutoRestart
            | SubState::Failed => (),
        }
    }

    /// It has been over `MemoryHigh=` for long; whether it is to be replaced.
    pub fn wants_recycling(&mut self, out: &mut Out, current: u64, high: u64) -> bool {
        let recycles = self.unit.service.resources.as_deref().is_some_and(Resources::recycles);
        if self.state != SubState::Running || !recycles || self.place.recycle {
            return false;
        }
        out.record(Fact::MemoryHigh { unit: self.unit.name.clone(), current, high });
        self.place.recycle = self.unit.instance_of.is_some();
        true
    }

    /// The result of a process that the kernel killed for memory says so.
    pub(super) fn oom_result(&self, result: ServiceResult, exit: ExitStatus) -> ServiceResult {
        let killed = matches!(exit, ExitStatus::Killed { signal: Signal::KILL, .. });
        if self.oom_killed && killed { ServiceResult::OomKill } else { result }
    }
}
