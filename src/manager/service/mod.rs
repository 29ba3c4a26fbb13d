//! One service's life: its states, what each waits for, and the one place that assigns them.
//!
//! Not its jobs (`job`) and not what its end means for others (`ends`). The machine is
//! systemd's (service.c), a file for each part of a life: `start`, `ready`, `run`, `stop`, `end`;
//! `notify` and `health` are what a service says of itself, and what its probes say of it.
//! **Invariant:** only [`Service::enter`] assigns a state, and it cancels what the next state
//! must not have. A state that waits has a deadline or a live process.

mod end;
mod health;
mod instance;
mod memory;
mod notify;
mod quiesce;
mod ready;
mod run;
mod socket;
mod start;
mod stop;

pub(super) use instance::Place;
pub(super) use start::StartReason;

use std::sync::Arc;
use std::time::Duration;

use super::backoff::StartLimit;
use super::event::{
    Action, Fact, InvocationId, JobResult, Monitor, ProcessId, ProcessRole, SpawnRequest,
};
use super::out::{Change, Out};
use super::state::{ServiceResult, SubState};
use super::time::Timestamp;
use crate::unit::command::ExecCommand;
use crate::unit::process::ExitStatus;
use crate::unit::service::ServiceType;
use crate::unit::{Unit, UnitName};
use health::Probes;
use notify::{Reloading, Said};
use ready::{Awaited, Search};

/// A process of the service that lives, as far as anybody has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Live {
    pub process: ProcessId,
    pub role: ProcessRole,
    pub since: Timestamp,
    /// Prefix `-`: its failure counts as success.
    pub ignore_failure: bool,
}

/// A command whose fork failed for want of room, and when it is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Retry {
    pub role: ProcessRole,
    pub at: Timestamp,
}

/// What the end of a stop waits for, besides the main and the control process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waiting {
    /// Nothing more.
    ForProcesses,
    /// That no process of the unit is left at all.
    ForEmpty,
}

/// One service at run time.
#[derive(Debug)]
pub(super) struct Service {
    /// The definition it was started by.
    pub unit: Arc<Unit>,
    pub state: SubState,
    /// Of the present run, or of the last one.
    pub result: ServiceResult,
    pub invocation: InvocationId,
    /// Is `Some` while the main process lives.
    pub main: Option<Live>,
    /// How the last main process ended; `None` before the first end of a run.
    pub main_exit: Option<ExitStatus>,
    /// How the last main process ended, whatever run it was of.
    pub last_exit: Option<ExitStatus>,
    /// The status that `result` speaks of: the main process's or a control process's.
    pub failed_exit: Option<ExitStatus>,
    /// Nothing had failed when the last main process had ended.
    pub main_ended_well: bool,
    /// Is `Some` while a control process lives.
    pub control: Option<Live>,
    /// Automatic restarts since it was last started otherwise (`NRestarts`).
    pub n_restarts: u32,
    /// It came with a reload, and nobody has started it yet.
    pub is_new: bool,
    /// The definition that its last run was by, if that ended before there was a new one, which
    /// `apply` is to try.
    pub ran_by: Option<Arc<Unit>>,
    /// A client stopped it: rinit waits for that client's next word.
    pub held: bool,
    /// A client started it, and it has not been up since.
    pub by_client: bool,
    /// A client or another unit wanted this run to end.
    pub told_to_stop: bool,
    /// The boot, a client or another unit wanted it up at least once.
    pub wanted: bool,
    /// What a start job is told if this run ends without having been up.
    pub verdict: Option<Box<(JobResult, String)>>,
    /// Handed to handlers of OnFailure= and OnSuccess=.
    pub monitor: Option<Box<Monitor>>,
    /// A stop timeout or the budget ran out and a process was then sent SIGKILL.
    pub killed_late: bool,
    /// While rinit stops: no wait for a graceful end may last longer than until here…
    pub graceful_until: Option<Timestamp>,
    /// …and none at all longer than until here.
    pub abandon_at: Option<Timestamp>,
    /// Its handlers know that the start limit refuses it; they are not started for each refusal.
    pub limit_told: bool,
    /// The deadline under which the manager has it listed.
    pub indexed: Option<Timestamp>,
    start_limit: StartLimit,
    /// Restarts in a row, as the backoff counts them.
    attempt: u32,
    /// Which command of its list runs.
    index: usize,
    state_since: Timestamp,
    deadline: Option<Timestamp>,
    /// When the time began that is over at `deadline`.
    armed_at: Timestamp,
    runtime_deadline: Option<Timestamp>,
    /// Until when `WATCHDOG=1` has to come.
    watchdog_deadline: Option<Timestamp>,
    retry: Option<Retry>,
    /// When who was born after the stop signal is sent it too.
    late_at: Option<Timestamp>,
    n_retries: u32,
    /// When this run became ready.
    ready_at: Option<Timestamp>,
    /// How long this run was up, once it is not any more: its stop does not count.
    up: Option<Duration>,
    /// The main command was started with success: ExecStop= has something to stop.
    started: bool,
    waiting: Waiting,
    /// The state waits for the answer to a check…
    checking: bool,
    /// …and so many are outstanding, those that nobody waits for any more included.
    unanswered: u32,
    /// What a start still waits for.
    awaited: Awaited,
    /// Where its main process is, if `Type=forking` hides it.
    search: Search,
    /// What a failed probe or search said last during a start.
    last_word: Option<Box<str>>,
    /// What it said over `NOTIFY_SOCKET`.
    said: Option<Box<Said>>,
    /// The part of a reload that it tells.
    reloading: Reloading,
    /// What its main process is asked.
    probes: Option<Box<Probes>>,
    /// The leftovers of ExecCondition= or ExecStartPre= are being killed; then this goes on.
    clearing: Option<ProcessRole>,
    /// Whether this end may be followed by an automatic restart.
    may_restart: bool,
    /// This stop is the first half of a restart: `RestartKillSignal=`.
    restarting: bool,
    /// What only one of several instances has.
    pub place: Place,
    /// In [`SubState::Stop`]: who waits in its sockets' queues is accepted first.
    quiescing: bool,
    /// The kernel killed something of this run for its memory.
    oom_killed: bool,
}

impl Service {
    pub fn new(unit: Arc<Unit>) -> Service {
        Service {
            unit,
            state: SubState::Dead,
            result: ServiceResult::Success,
            invocation: InvocationId::default(),
            main: None,
            main_exit: None,
            last_exit: None,
            failed_exit: None,
            main_ended_well: false,
            control: None,
            n_restarts: 0,
            is_new: false,
            ran_by: None,
            held: false,
            by_client: false,
            told_to_stop: false,
            wanted: false,
            verdict: None,
            monitor: None,
            killed_late: false,
            graceful_until: None,
            abandon_at: None,
            limit_told: false,
            indexed: None,
            start_limit: StartLimit::default(),
            attempt: 0,
            index: 0,
            state_since: Timestamp::ZERO,
            deadline: None,
            armed_at: Timestamp::ZERO,
            runtime_deadline: None,
            watchdog_deadline: None,
            retry: None,
            late_at: None,
            n_retries: 0,
            ready_at: None,
            up: None,
            started: false,
            waiting: Waiting::ForProcesses,
            checking: false,
            unanswered: 0,
            awaited: Awaited::default(),
            search: Search::Over,
            last_word: None,
            said: None,
            reloading: Reloading::Untold,
            probes: None,
            clearing: None,
            may_restart: false,
            restarting: false,
            place: Place::default(),
            quiescing: false,
            oom_killed: false,
        }
    }

    pub fn name(&self) -> &UnitName {
        &self.unit.name
    }

    /// Whether somebody wanted the end of its last run, or a client a start of it that was in vain.
    pub fn is_wished(&self) -> bool {
        self.told_to_stop || self.by_client && self.ready_at.is_none()
    }

    /// Nothing runs and nothing is waited for.
    pub fn is_down(&self) -> bool {
        matches!(self.state, SubState::Dead | SubState::Failed)
    }

    /// When it came to its present state; `None` if it has been in no other.
    pub fn since(&self) -> Option<Timestamp> {
        (self.state_since != Timestamp::ZERO).then_some(self.state_since)
    }

    /// When this run became ready.
    pub fn ready_at(&self) -> Option<Timestamp> {
        self.ready_at
    }

    /// Restarts in a row, as the backoff counts them.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the automatic restart is due that it waits for.
    pub fn restart_at(&self) -> Option<Timestamp> {
        self.deadline.filter(|_| self.state == SubState::AutoRestart)
    }

    /// When `on_timer` has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let retry = self.retry.map(|retry| retry.at);
        let probes = self.probes.as_ref().and_then(|probes| probes.next_deadline());
        let own = [self.deadline, self.runtime_deadline, self.watchdog_deadline, self.late_at];
        let more = [retry, self.search.again_at(), probes, self.place.recovers_at];
        own.into_iter().chain(more).flatten().min()
    }

    /// Forgets a failure and the starts so far.
    pub fn reset_failed(&mut self, out: &mut Out) {
        self.start_limit.reset();
        self.attempt = 0;
        self.n_restarts = 0;
        self.place.exhausted = false;
        if self.state == SubState::Failed {
            self.result = ServiceResult::Success;
            self.enter(out, SubState::Dead, None);
        }
    }

    /// The one place where a state is assigned.
    fn enter(&mut self, out: &mut Out, state: SubState, timeout: Option<Duration>) {
        let from = self.state;
        self.armed_at = out.now;
        self.deadline = timeout.map(|timeout| self.limited(out.now, state, timeout));
        self.retry = None;
        self.late_at = None;
        self.clearing = None;
        self.leave_behind(state);
        self.resume(out);
        if state != SubState::Condition {
            self.checking = false;
        }
        if matches!(state, SubState::Dead | SubState::Failed | SubState::AutoRestart) {
            self.forget_processes(out);
        }
        if from == state {
            return;
        }
        if from == SubState::Running {
            self.verdict = None; // of its last reload
        }
        let was_up = matches!(from, SubState::Running | SubState::Exited | SubState::Reload);
        let is_up = matches!(state, SubState::Running | SubState::Exited | SubState::Reload);
        if was_up && !is_up {
            self.up = self.ready_at.map(|ready| out.now.since(ready));
        }
        self.state = state;
        self.state_since = out.now;
        self.plan_probes(out);
        out.record(Fact::State {
            unit: self.unit.name.clone(),
            invocation: self.invocation,
            from,
            to: state,
            result: self.result,
        });
        out.changes.push_back(Change { unit: self.unit.name.clone(), from, to: state });
    }

    /// Cancels what `state` must not have.
    fn leave_behind(&mut self, state: SubState) {
        let up = matches!(state, SubState::Running | SubState::Reload);
        let starts = matches!(state, SubState::Start | SubState::StartPost);
        if !up {
            self.runtime_deadline = None;
            self.place.is_not_up();
        }
        if !up && state != SubState::StartPost {
            self.watchdog_deadline = None;
        }
        if state != SubState::Reload {
            self.reloading = Reloading::Untold;
        }
        if !up && !starts {
            self.probes = None;
            self.end_search();
        }
    }

    /// A wait of a stop ends when the budget says so, if that is earlier.
    fn limited(&self, now: Timestamp, state: SubState, timeout: Duration) -> Timestamp {
        let wanted = now.after(timeout);
        let limit = match state {
            SubState::StopSigkill | SubState::FinalSigkill => self.abandon_at,
            SubState::Stop
            | SubState::StopSigterm
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm => self.graceful_until,
            SubState::Dead
            | SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Listening
            | SubState::Running
            | SubState::Exited
            | SubState::Reload
            | SubState::AutoRestart
            | SubState::Failed => None,
        };
        limit.map_or(wanted, |limit| wanted.min(limit.max(now)))
    }

    /// Arms the deadline of the present state anew.
    fn arm(&mut self, out: &Out, timeout: Option<Duration>) {
        self.armed_at = out.now;
        self.deadline = timeout.map(|timeout| self.limited(out.now, self.state, timeout));
    }

    fn forget_processes(&mut self, out: &mut Out) {
        for live in [self.main.take(), self.control.take()].into_iter().flatten() {
            out.processes.remove(&live.process);
        }
        out.act(Action::Release { unit: self.unit.name.clone() });
    }

    fn commands(&self, role: ProcessRole) -> &[ExecCommand] {
        let service = &self.unit.service;
        match role {
            ProcessRole::ExecCondition => &service.exec_condition,
            ProcessRole::ExecStartPre => &service.exec_start_pre,
            ProcessRole::ExecStart => &service.exec_start,
            ProcessRole::ExecStartPost => &service.exec_start_post,
            ProcessRole::ExecReload => &service.exec_reload,
            ProcessRole::ExecStop => &service.exec_stop,
            ProcessRole::ExecStopPost => &service.exec_stop_post,
        }
    }

    /// The process of this name, if it is one that lives.
    fn live(&self, process: ProcessId) -> Option<Live> {
        [self.main, self.control].into_iter().flatten().find(|live| live.process == process)
    }

    /// Starts the present command of `role`, with the time that such a command has.
    fn spawn(&mut self, out: &mut Out, role: ProcessRole) {
        let process = out.new_process(&self.unit.name);
        let command = self.commands(role).get(self.index);
        let ignore_failure = command.is_some_and(|command| command.ignore_failure);
        let live = Live { process, role, since: out.now, ignore_failure };
        let main = self.main.map(|live| live.process);
        let forking = self.unit.service.kind == ServiceType::Forking;
        let timeout = match role {
            ProcessRole::ExecStart => {
                // The first process of a `Type=forking` service is not the one that stays.
                *(if forking { &mut self.control } else { &mut self.main }) = Some(live);
                self.main_exit = None;
                self.awaited = Awaited::of(&self.unit.service);
                self.unit.service.timeout_start
            }
            ProcessRole::ExecCondition
            | ProcessRole::ExecStartPre
            | ProcessRole::ExecStartPost
            | ProcessRole::ExecReload => {
                self.control = Some(live);
                self.unit.service.timeout_start
            }
            ProcessRole::ExecStop | ProcessRole::ExecStopPost => {
                self.control = Some(live);
                self.unit.service.timeout_stop
            }
        };
        self.arm(out, timeout);
        let says_result = matches!(role, ProcessRole::ExecStop | ProcessRole::ExecStopPost);
        let says_monitor = matches!(role, ProcessRole::ExecStart | ProcessRole::ExecStartPre);
        out.act(Action::Spawn(Box::new(SpawnRequest {
            process,
            unit: Arc::clone(&self.unit),
            role,
            index: self.index,
            invocation: self.invocation,
            main,
            result: says_result.then_some((self.result, self.main_exit)),
            monitor: if says_monitor { self.monitor.as_deref().cloned() } else { None },
        })));
    }

    /// The first failure of a run is the one that its result names.
    fn note(&mut self, result: ServiceResult, exit: Option<ExitStatus>) {
        if self.result == ServiceResult::Success && result != ServiceResult::Success {
            self.result = result;
            self.failed_exit = exit;
        }
    }
}
