//! Up: the main process runs, ends, is reloaded; and what every timer means.
//!
//! Not how it is stopped (`stop`).

use std::time::Duration;

use super::super::event::{Fact, JobResult, ProcessId, ProcessRole};
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::{Live, Service};
use crate::unit::process::{ExecError, ExitStatus, Signal};
use crate::unit::service::ServiceType;

/// Ends by these signals are clean for a daemon (systemd's `is_clean_exit`).
const CLEAN_SIGNALS: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE];

impl Service {
    /// ExecStartPost= is done: the unit is up, or its main process has ended meanwhile.
    pub(super) fn up(&mut self, out: &mut Out) {
        self.ready_at = Some(out.now);
        if self.main.is_some() || self.is_mainless() {
            self.run_on(out);
            self.recover_later(out);
            let service = &self.unit.service;
            let extra = out.random.up_to(service.runtime_randomized_extra);
            self.runtime_deadline = match (service.runtime_max, service.kind) {
                (Some(_), ServiceType::Oneshot) | (None, _) => None,
                (
                    Some(most),
                    ServiceType::Simple
                    | ServiceType::Exec
                    | ServiceType::Idle
                    | ServiceType::Notify
                    | ServiceType::NotifyReload
                    | ServiceType::Forking,
                ) => Some(out.now.after(most.saturating_add(extra))),
            };
        } else {
            self.main_gone(out);
        }
    }

    /// The main process is gone while the unit was up.
    pub(super) fn main_gone(&mut self, out: &mut Out) {
        let stays = self.unit.service.remain_after_exit && self.result == ServiceResult::Success;
        if stays {
            self.enter(out, SubState::Exited, None);
        } else {
            self.exec_stop(out);
        }
    }

    fn run_on(&mut self, out: &mut Out) {
        self.enter(out, SubState::Running, None);
        if self.is_mainless() {
            self.watch_empty(out);
        }
    }

    /// The reload is over, well or not: the service runs on with what it has.
    pub(super) fn reloaded(&mut self, out: &mut Out) {
        if self.main.is_some() || self.is_mainless() {
            self.run_on(out);
        } else {
            self.main_gone(out);
        }
    }

    /// A process ended.
    pub fn on_exited(
        &mut self,
        out: &mut Out,
        process: ProcessId,
        exit: ExitStatus,
        exec_error: Option<ExecError>,
    ) {
        let Some(live) = self.live(process) else { return };
        let clean = exec_error.is_none() && self.is_clean(live.role, exit);
        let clean = clean || live.ignore_failure;
        out.record(Fact::Exited {
            unit: self.unit.name.clone(),
            invocation: self.invocation,
            process,
            role: live.role,
            exit,
            exec_error,
            clean,
            ran: out.now.since(live.since),
        });
        let was_main = self.forget(live);
        if was_main {
            self.main_exit = Some(exit);
            self.last_exit = Some(exit);
        }
        let result = self.oom_result(result_of(exit), exit);
        self.ended(out, live.role, was_main, result, exit, clean);
        if was_main {
            self.main_ended_well = self.result == ServiceResult::Success;
        }
    }

    /// The process is gone; whether it was the main one.
    pub(super) fn forget(&mut self, live: Live) -> bool {
        let was_main = self.main.is_some_and(|main| main.process == live.process);
        if was_main {
            self.main = None;
        } else {
            self.control = None;
        }
        was_main
    }

    /// Whether such an end of such a process is a success.
    fn is_clean(&self, role: ProcessRole, exit: ExitStatus) -> bool {
        let daemon =
            role == ProcessRole::ExecStart && self.unit.service.kind != ServiceType::Oneshot;
        let clean = match exit {
            ExitStatus::Exited(code) => code == 0,
            ExitStatus::Killed { signal, core_dumped } => {
                daemon && !core_dumped && CLEAN_SIGNALS.contains(&signal)
            }
        };
        clean || self.unit.service.success_exit_status.contains(exit)
    }

    /// A process of `role` is gone: what the unit does now.
    pub(super) fn ended(
        &mut self,
        out: &mut Out,
        role: ProcessRole,
        was_main: bool,
        result: ServiceResult,
        exit: ExitStatus,
        clean: bool,
    ) {
        let result = if clean { ServiceResult::Success } else { result };
        match role {
            ProcessRole::ExecStart if !was_main => self.first_ended(out, result, exit),
            ProcessRole::ExecStart => self.main_ended(out, result, exit),
            ProcessRole::ExecCondition => self.condition_ended(out, result, exit),
            ProcessRole::ExecStartPre
            | ProcessRole::ExecStartPost
            | ProcessRole::ExecReload
            | ProcessRole::ExecStop
            | ProcessRole::ExecStopPost => self.control_ended(out, role, result, exit),
        }
    }

    fn main_ended(&mut self, out: &mut Out, result: ServiceResult, exit: ExitStatus) {
        if !self.hands_over(out, result, exit) {
            self.main_is_gone(out, result, exit);
        }
    }

    pub(super) fn main_is_gone(&mut self, out: &mut Out, result: ServiceResult, exit: ExitStatus) {
        if self.state != SubState::Start || self.unit.service.kind != ServiceType::Oneshot {
            self.note(result, Some(exit));
        }
        match self.state {
            SubState::Start => self.main_ended_in_start(out, result, exit),
            SubState::Running => self.main_gone(out),
            SubState::Stop if self.quiescing => self.exec_stop(out),
            SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::FinalSigterm
            | SubState::FinalSigkill => self.process_gone(out),
            SubState::Reload if self.control.is_none() && self.retry.is_none() => {
                self.reloaded(out);
            }
            // A control process runs: what comes next is decided when that has ended.
            SubState::Reload => self.place.leaving = true,
            SubState::StartPost | SubState::Stop | SubState::StopPost => (),
            SubState::Dead
            | SubState::Condition
            | SubState::StartPre
            | SubState::Listening
            | SubState::Exited
            | SubState::AutoRestart
            | SubState::Failed => (),
        }
    }

    fn main_ended_in_start(&mut self, out: &mut Out, result: ServiceResult, exit: ExitStatus) {
        let oneshot = self.unit.service.kind == ServiceType::Oneshot;
        if oneshot && result == ServiceResult::Success {
            self.next_command(out, ProcessRole::ExecStart);
        } else {
            if result == ServiceResult::Success {
                self.ended_unready(out, exit);
            }
            self.note(result, Some(exit));
            self.signal(out, SubState::StopSigterm);
        }
    }

    /// 0 goes on, 1 to 254 skips the unit, all else fails it (systemd.service(5), ExecCondition=).
    fn condition_ended(&mut self, out: &mut Out, result: ServiceResult, exit: ExitStatus) {
        if self.state != SubState::Condition {
            self.process_gone(out);
            return;
        }
        if result == ServiceResult::Success {
            self.next_command(out, ProcessRole::ExecCondition);
            return;
        }
        let skips = result == ServiceResult::ExitCode && exit != ExitStatus::Exited(255);
        if skips {
            self.note(ServiceResult::ExecCondition, Some(exit));
            self.verdict = Some(Box::new((JobResult::Skipped, format!("ExecCondition= {exit}"))));
        } else {
            self.note(result, Some(exit));
        }
        self.signal(out, SubState::StopSigterm);
    }

    fn control_ended(
        &mut self,
        out: &mut Out,
        role: ProcessRole,
        result: ServiceResult,
        exit: ExitStatus,
    ) {
        let success = result == ServiceResult::Success;
        match self.state {
            SubState::StartPre | SubState::StartPost | SubState::Stop | SubState::StopPost
                if success =>
            {
                self.next_command(out, role);
            }
            SubState::Reload if success && out.stopping => self.reloaded(out),
            SubState::Reload if success => self.next_command(out, role),
            // ExecStop= is for what was started whole (systemd.service(5)).
            SubState::StartPre | SubState::StartPost => {
                self.note(result, Some(exit));
                self.signal(out, SubState::StopSigterm);
            }
            SubState::Reload => {
                self.verdict = Some(Box::new((JobResult::Failed, format!("ExecReload= {exit}"))));
                self.reloaded(out);
            }
            SubState::Stop => {
                self.note(result, Some(exit));
                self.signal(out, SubState::StopSigterm);
            }
            SubState::StopPost => {
                self.note(result, Some(exit));
                self.signal(out, SubState::FinalSigterm);
            }
            SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::FinalSigterm
            | SubState::FinalSigkill => self.process_gone(out),
            // A control process that a later state forgot.
            SubState::Dead
            | SubState::Condition
            | SubState::Start
            | SubState::Listening
            | SubState::Running
            | SubState::Exited
            | SubState::AutoRestart
            | SubState::Failed => (),
        }
    }

    /// The deadlines that have passed.
    pub fn on_timer(&mut self, out: &mut Out) {
        if let Some(retry) = self.retry.filter(|retry| retry.at <= out.now) {
            let (armed_at, deadline) = (self.armed_at, self.deadline);
            self.retry = None;
            if out.stopping && retry.role == ProcessRole::ExecReload {
                self.reloaded(out); // it waits for its turn to stop, and starts nothing any more
                return;
            }
            if out.stopping && self.is_coming() {
                self.stop(out, false); // its service waits for its queues: it need not come for that
                return;
            }
            self.spawn(out, retry.role);
            // The time that its state has runs on over all tries.
            (self.armed_at, self.deadline) = (armed_at, deadline);
        }
        if self.late_at.is_some_and(|at| at <= out.now) {
            self.signal_late(out);
        }
        self.recover(out);
        if let Some(deadline) = self.deadline.filter(|deadline| *deadline <= out.now) {
            self.deadline = None;
            self.timed_out(out, deadline.since(self.armed_at));
        } else if self.is_recycled(out.now) {
            self.runtime_deadline = None;
        } else if self.runtime_deadline.is_some_and(|deadline| deadline <= out.now) {
            self.runtime_deadline = None;
            let limit = self.unit.service.runtime_max.unwrap_or_default();
            self.record_timeout(out, limit, None, String::new());
            self.note(ServiceResult::Timeout, None);
            self.exec_stop(out);
        }
        if self.watchdog_deadline.is_some_and(|deadline| deadline <= out.now) {
            self.watchdog_over(out, false);
        }
        self.find_again(out);
        self.on_probe_timer(out);
    }

    /// Its present state has lasted for `limit`, as long as it may.
    fn timed_out(&mut self, out: &mut Out, limit: Duration) {
        match self.state {
            SubState::Condition | SubState::StartPre | SubState::Start | SubState::StartPost => {
                self.start_timed_out(out, limit);
            }
            SubState::Reload => {
                let command = self.control.map(|_| Signal::KILL);
                self.record_timeout(out, limit, command, self.missing());
                let reason = match command {
                    Some(_) => "ExecReload= took too long",
                    None => "RELOADING=1 and READY=1 have not come",
                };
                self.verdict = Some(Box::new((JobResult::Timeout, reason.to_string())));
                self.kill_control(out);
                self.reloaded(out);
            }
            SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill => self.stop_timed_out(out, limit),
            SubState::AutoRestart => self.restart_is_due(out),
            SubState::Dead
            | SubState::Listening
            | SubState::Running
            | SubState::Exited
            | SubState::Failed => (),
        }
    }

    pub(super) fn record_timeout(
        &mut self,
        out: &mut Out,
        limit: Duration,
        signal: Option<Signal>,
        missing: String,
    ) {
        out.record(Fact::TimedOut {
            unit: self.unit.name.clone(),
            state: self.state,
            after: limit,
            signal,
            missing,
        });
    }
}

fn result_of(exit: ExitStatus) -> ServiceResult {
    match exit {
        ExitStatus::Exited(_) => ServiceResult::ExitCode,
        ExitStatus::Killed { core_dumped: false, .. } => ServiceResult::Signal,
        ExitStatus::Killed { core_dumped: true, .. } => ServiceResult::CoreDump,
    }
}
