//! From down to up: conditions, ExecStartPre=, the main process, ExecStartPost=.
//!
//! Not what happens once it is up (`run`).

use std::time::Duration;

use super::super::event::{Action, CheckOutcome, Fact, InvocationId, JobResult, ProcessRole};
use super::super::event::{ProcessId, SpawnError};
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::ready::Source;
use super::{Retry, Service, Waiting};
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::{ServiceType, TimeoutFailureMode};

/// The first wait after a fork that the kernel had no room for; it doubles up to the second.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(10);

/// Why a start begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum StartReason {
    /// The boot, a client, another unit.
    Asked,
    /// `Restart=`.
    Automatic,
}

impl Service {
    /// Begins a start. Nothing happens unless the service is down or waits to be restarted.
    pub fn start(&mut self, out: &mut Out, reason: StartReason) {
        if !self.is_down() && self.state != SubState::AutoRestart {
            return;
        }
        match reason {
            StartReason::Asked => {
                self.n_restarts = 0;
                self.attempt = 0;
            }
            StartReason::Automatic => {
                self.n_restarts = self.n_restarts.saturating_add(1);
                self.by_client &= self.ready_at.is_none();
            }
        }
        self.held = false;
        self.begin_run(out);
        // The answer to a check always comes; an ExecCondition= has its own time.
        self.enter(out, SubState::Condition, None);
        if self.unit.conditions.is_empty() && self.unit.asserts.is_empty() {
            self.conditions_met(out);
        } else {
            self.checking = true;
            self.unanswered += 1;
            out.act(Action::Check { unit: self.unit.clone() });
        }
    }

    /// Nothing of it can be started: its sockets could not be opened, or were closed because of
    /// it. As after any start that failed `Restart=` decides whether it is tried again, with its
    /// delays and its limit; for `StartLimitHit` and `TriggerLimitHit` that is over.
    /// `wanted`: somebody is starting it; else a socket of its own could only not be opened.
    pub fn cannot_start(
        &mut self,
        out: &mut Out,
        result: ServiceResult,
        reason: String,
        wanted: bool,
    ) {
        if !self.is_down() && self.state != SubState::AutoRestart {
            return;
        }
        if self.state == SubState::AutoRestart {
            self.n_restarts = self.n_restarts.saturating_add(1);
        } else {
            (self.n_restarts, self.attempt) = (0, 0);
        }
        self.held = false;
        self.begin_run(out);
        if !matches!(self.state, SubState::Dead) {
            self.enter(out, SubState::Condition, None); // or it would be no news
        }
        self.main_exit = None;
        self.failed_exit = None;
        self.verdict = Some(Box::new((JobResult::Failed, reason)));
        self.result = result;
        let (burst, interval) = (self.unit.start_limit_burst, self.unit.start_limit_interval);
        self.may_restart = wanted && result == ServiceResult::Resources;
        if self.may_restart && !self.start_limit.allow(out.now, burst, interval) {
            out.record(Fact::StartLimitHit { unit: self.unit.name.clone(), burst, interval });
            self.result = ServiceResult::StartLimitHit;
            self.may_restart = false;
        }
        self.finish(out);
    }

    fn begin_run(&mut self, out: &mut Out) {
        self.result = ServiceResult::Success;
        self.invocation = InvocationId(out.random.next_wide());
        self.is_new = false;
        self.ran_by = None;
        self.verdict = None;
        self.killed_late = false;
        self.index = 0;
        self.n_retries = 0;
        self.ready_at = None;
        self.up = None;
        self.started = false;
        self.waiting = Waiting::ForProcesses;
        self.may_restart = true;
        self.restarting = false;
        self.told_to_stop = false;
        self.last_word = None;
        self.said = None;
        self.oom_killed = false;
    }

    /// The conditions were looked at.
    pub fn on_checked(&mut self, out: &mut Out, outcome: CheckOutcome) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if !self.checking || self.unanswered > 0 {
            return; // of an earlier start
        }
        self.checking = false;
        match outcome {
            CheckOutcome::Met => self.conditions_met(out),
            CheckOutcome::ConditionFailed { condition } => {
                self.verdict =
                    Some(Box::new((JobResult::Skipped, format!("{condition} was not met"))));
                self.enter(out, SubState::Dead, None);
            }
            CheckOutcome::AssertFailed { assertion } => {
                self.verdict =
                    Some(Box::new((JobResult::Assert, format!("{assertion} was not met"))));
                self.enter(out, SubState::Dead, None);
            }
        }
    }

    /// A start is counted only once its conditions hold (systemd's `unit_start`).
    fn conditions_met(&mut self, out: &mut Out) {
        if self.is_group() {
            self.show(out, SubState::Start); // its instances are started now
            return;
        }
        let (burst, interval) = (self.unit.start_limit_burst, self.unit.start_limit_interval);
        if self.place.exhausted || self.start_limit.allow(out.now, burst, interval) {
            self.limit_told = false;
            // A refused start keeps the status of the last run: it is what rinit exits with.
            self.main_exit = None;
            self.failed_exit = None;
            if self.is_socket() {
                self.listens(out);
            } else {
                self.run_list(out, ProcessRole::ExecCondition);
            }
            return;
        }
        if self.may_be_exhausted() {
            self.exhaust(out);
            return;
        }
        out.record(Fact::StartLimitHit { unit: self.unit.name.clone(), burst, interval });
        self.result = ServiceResult::StartLimitHit;
        self.may_restart = false;
        self.enter(out, SubState::Failed, None);
    }

    /// Runs the commands of `role` from the first on, or goes on if it has none.
    pub(super) fn run_list(&mut self, out: &mut Out, role: ProcessRole) {
        self.index = 0;
        let state = match role {
            ProcessRole::ExecCondition => SubState::Condition,
            ProcessRole::ExecStartPre => SubState::StartPre,
            ProcessRole::ExecStart => SubState::Start,
            ProcessRole::ExecStartPost => SubState::StartPost,
            ProcessRole::ExecReload => SubState::Reload,
            ProcessRole::ExecStop => SubState::Stop,
            ProcessRole::ExecStopPost => SubState::StopPost,
        };
        if self.commands(role).is_empty() {
            self.list_done(out, role);
        } else {
            // The time of a command is armed when it is spawned.
            self.enter(out, state, None);
            self.spawn(out, role);
        }
    }

    /// The next command of `role`, or what comes after the last one.
    pub(super) fn next_command(&mut self, out: &mut Out, role: ProcessRole) {
        self.index += 1;
        if self.index < self.commands(role).len() {
            self.spawn(out, role);
        } else {
            self.list_done(out, role);
        }
    }

    pub(super) fn list_done(&mut self, out: &mut Out, role: ProcessRole) {
        let ran = !self.commands(role).is_empty();
        match role {
            ProcessRole::ExecCondition | ProcessRole::ExecStartPre if ran => self.clear(out, role),
            ProcessRole::ExecCondition => self.run_list(out, ProcessRole::ExecStartPre),
            ProcessRole::ExecStartPre => self.run_list(out, ProcessRole::ExecStart),
            ProcessRole::ExecStart => {
                self.started = true;
                self.begin_watchdog(out);
                self.run_list(out, ProcessRole::ExecStartPost);
            }
            ProcessRole::ExecStartPost => self.start_posted(out),
            ProcessRole::ExecReload => self.reload_commands_done(out),
            ProcessRole::ExecStop => self.signal(out, SubState::StopSigterm),
            ProcessRole::ExecStopPost if ran => self.signal(out, SubState::FinalSigterm),
            ProcessRole::ExecStopPost => self.finish(out),
        }
    }

    /// What ExecCondition= and ExecStartPre= leave behind is killed before the next process
    /// runs (systemd.service(5), ExecStartPre=).
    fn clear(&mut self, out: &mut Out, role: ProcessRole) {
        self.clearing = Some(role);
        self.arm(out, self.unit.service.timeout_start);
        out.act(Action::KillUnit { unit: self.unit.name.clone(), signal: Some(Signal::KILL) });
    }

    pub(super) fn cleared(&mut self, out: &mut Out, role: ProcessRole) {
        self.clearing = None;
        match role {
            ProcessRole::ExecCondition => self.run_list(out, ProcessRole::ExecStartPre),
            ProcessRole::ExecStartPre
            | ProcessRole::ExecStart
            | ProcessRole::ExecStartPost
            | ProcessRole::ExecReload
            | ProcessRole::ExecStop
            | ProcessRole::ExecStopPost => self.run_list(out, ProcessRole::ExecStart),
        }
    }

    /// A child was forked: that is all that `Type=simple` waits for.
    pub fn on_spawned(&mut self, out: &mut Out, process: ProcessId) {
        self.n_retries = 0;
        let is_main = self.main.is_some_and(|live| live.process == process);
        if !is_main || self.state != SubState::Start {
            return;
        }
        match self.unit.service.kind {
            ServiceType::Oneshot => (),
            ServiceType::Exec => self.main_lives(out),
            ServiceType::Simple
            | ServiceType::Idle
            | ServiceType::Notify
            | ServiceType::NotifyReload
            | ServiceType::Forking => {
                self.main_lives(out);
                self.came(out, Source::Process);
            }
        }
    }

    /// The child became the program: that is what `Type=exec` waits for.
    pub fn on_execed(&mut self, out: &mut Out, process: ProcessId) {
        let Some(live) = self.live(process) else { return };
        out.record(Fact::Started {
            unit: self.unit.name.clone(),
            invocation: self.invocation,
            process,
            role: live.role,
        });
        let exec = self.unit.service.kind == ServiceType::Exec;
        if live.role == ProcessRole::ExecStart && exec && self.state == SubState::Start {
            self.came(out, Source::Process);
        }
    }

    /// No process came to be: tried again where that can help, else as if it had failed.
    pub fn on_spawn_failed(
        &mut self,
        out: &mut Out,
        process: ProcessId,
        error: SpawnError,
        code: u8,
    ) {
        let Some(live) = self.live(process) else { return };
        let was_main = self.forget(live);
        let retry_in = match &error {
            SpawnError::Temporary { .. } => self.plan_retry(out, live.role),
            SpawnError::Permanent(_) => None,
        };
        out.record(Fact::SpawnFailed {
            unit: self.unit.name.clone(),
            role: live.role,
            error,
            retry_in,
        });
        if retry_in.is_none() {
            let exit = ExitStatus::Exited(code);
            let (result, clean) = (ServiceResult::Resources, live.ignore_failure);
            self.ended(out, live.role, was_main, result, exit, clean);
        }
    }

    /// A fork that failed for want of room is tried again for as long as its state may last;
    /// not once the unit is being stopped by signals.
    fn plan_retry(&mut self, out: &mut Out, role: ProcessRole) -> Option<Duration> {
        let runs = matches!(
            self.state,
            SubState::Condition
                | SubState::StartPre
                | SubState::Start
                | SubState::StartPost
                | SubState::Reload
                | SubState::Stop
                | SubState::StopPost
        );
        if !runs {
            return None;
        }
        let delay = RETRY_FIRST.saturating_mul(2u32.saturating_pow(self.n_retries)).min(RETRY_MOST);
        self.n_retries = self.n_retries.saturating_add(1);
        self.retry = Some(Retry { role, at: out.now.after(delay) });
        Some(delay)
    }

    /// The start took longer than `TimeoutStartSec=`.
    pub(super) fn start_timed_out(&mut self, out: &mut Out, limit: Duration) {
        let service = &self.unit.service;
        let next = match service.timeout_start_failure_mode {
            TimeoutFailureMode::Abort => SubState::StopWatchdog,
            TimeoutFailureMode::Kill if service.send_sigkill => SubState::StopSigkill,
            TimeoutFailureMode::Terminate | TimeoutFailureMode::Kill => SubState::StopSigterm,
        };
        self.record_timeout(out, limit, Some(self.signal_of(next)), self.missing());
        self.note(ServiceResult::Timeout, None);
        self.signal(out, next);
    }
}
