//! Everything of a run is gone: failed, dead, or started again after a while.
//!
//! Not what that means for other units and for rinit (`ends`).

use std::time::Duration;

use super::super::backoff::{refused_delay, restart_delay};
use super::super::event::Fact;
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::Service;
use super::start::StartReason;
use crate::unit::service::{ExitStatusSet, Restart, ServiceType};

impl Service {
    /// The run is over.
    pub(super) fn finish(&mut self, out: &mut Out) {
        if self.shall_restart(out) {
            self.schedule_restart(out, |_| Duration::ZERO);
        } else if matches!(self.result, ServiceResult::Success | ServiceResult::ExecCondition) {
            self.enter(out, SubState::Dead, None);
        } else {
            self.enter(out, SubState::Failed, None);
        }
    }

    /// systemd's `service_shall_restart`: a stop that somebody asked for never restarts;
    /// RestartPreventExitStatus= wins, RestartForceExitStatus= comes next, then the table.
    fn shall_restart(&self, out: &mut Out) -> bool {
        if !self.may_restart || out.stopping {
            return false;
        }
        let service = &self.unit.service;
        let is_in = |set: &ExitStatusSet| self.main_exit.filter(|exit| set.contains(*exit));
        let over = service.kind == ServiceType::Oneshot && self.result == ServiceResult::Success;
        let restarts = is_in(&service.restart_force_exit_status).is_some()
            || (!over && restarts(service.restart, self.result));
        match is_in(&service.restart_prevent_exit_status).filter(|_| restarts) {
            Some(exit) => {
                out.record(Fact::NotRestarted { unit: self.unit.name.clone(), exit });
                false
            }
            None => restarts,
        }
    }

    /// Whether `Restart=` repeats a start for which rinit could not do its part.
    pub fn repeats_failed_start(&self) -> bool {
        restarts(self.unit.service.restart, ServiceResult::Resources)
    }

    /// It is down and another unit upholds it. No limit counts a start that a condition refused:
    /// with RestartSec=0 it would be looked at without end, so one that was not even up waits.
    pub fn restart_later(&mut self, out: &mut Out) {
        if self.is_down() {
            let never_up = self.ready_at.is_none();
            self.schedule_restart(out, if never_up { refused_delay } else { |_| Duration::ZERO });
        }
    }

    fn schedule_restart(&mut self, out: &mut Out, at_zero: fn(u32) -> Duration) {
        let service = &self.unit.service;
        if self.up.is_some_and(|up| up >= service.restart_reset) {
            self.attempt = 0;
            self.place.exhausted = false;
        }
        self.attempt = self.attempt.saturating_add(1);
        let formula = restart_delay(service, self.attempt);
        let formula = if formula.is_zero() { at_zero(self.attempt) } else { formula };
        let formula = if self.place.exhausted { self.exhausted_delay() } else { formula };
        let delay = out.random.jitter(formula);
        out.record(Fact::RestartScheduled {
            unit: self.unit.name.clone(),
            delay,
            n_restarts: self.n_restarts.saturating_add(1),
            attempt: self.attempt,
        });
        self.enter(out, SubState::AutoRestart, Some(delay));
    }

    /// The delay is over.
    pub(super) fn restart_is_due(&mut self, out: &mut Out) {
        self.start(out, StartReason::Automatic);
    }
}

/// The table of systemd.service(5), Restart=, and its two rows that only the source has. A
/// service that its probes gave up counts like one that its watchdog gave up.
fn restarts(restart: Restart, result: ServiceResult) -> bool {
    let success = result == ServiceResult::Success;
    match restart {
        Restart::No => false,
        Restart::OnWatchdog => matches!(result, ServiceResult::Watchdog | ServiceResult::Health),
        Restart::Always => result != ServiceResult::ExecCondition,
        Restart::OnSuccess => success,
        Restart::OnFailure => !success && result != ServiceResult::ExecCondition,
        Restart::OnAbnormal => !matches!(
            result,
            ServiceResult::Success | ServiceResult::ExitCode | ServiceResult::ExecCondition
        ),
        Restart::OnAbort => matches!(result, ServiceResult::Signal | ServiceResult::CoreDump),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use ServiceResult as R;
        let rows = [
            //                  no always success failure abnormal abort watchdog
            (R::Success, [false, true, true, false, false, false, false]),
            (R::ExitCode, [false, true, false, true, false, false, false]),
            (R::Signal, [false, true, false, true, true, true, false]),
            (R::CoreDump, [false, true, false, true, true, true, false]),
            (R::Timeout, [false, true, false, true, true, false, false]),
            (R::Resources, [false, true, false, true, true, false, false]),
            (R::Protocol, [false, true, false, true, true, false, false]),
            (R::Watchdog, [false, true, false, true, true, false, true]),
            (R::OomKill, [false, true, false, true, true, false, false]),
            (R::Health, [false, true, false, true, true, false, true]),
            (R::ExecCondition, [false, false, false, false, false, false, false]),
        ];
        let columns = [
            Restart::No,
            Restart::Always,
            Restart::OnSuccess,
            Restart::OnFailure,
            Restart::OnAbnormal,
            Restart::OnAbort,
            Restart::OnWatchdog,
        ];
        for (result, expected) in rows {
            let row = columns.map(|restart| restarts(restart, result));
            assert_eq!(row, expected, "{result:?}");
        }
    }
}
