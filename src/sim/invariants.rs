//! Watches a run from outside and says which rule it breaks first.
//!
//! It knows the units, the events, the actions and the kernel, never the manager's inside.
//! **Invariant:** a rule is computed apart from the manager: none of its code is called here.
//! `starting` holds the rules of restarts, `stopping` those of the stop and the exit status.

use std::sync::Arc;

use super::rules::{Broken, Rule};
pub(super) use super::seen::Seen;
use super::stopping::Stop;
use super::units::{MAX_UNITS, Plan};
use super::world::{ADOPTED, World};
use crate::manager::event::{
    Action, CheckOutcome, ClientId, Event, Fact, JobKind, JobResult, ProcessId, ProcessRole,
    Request, SpawnRequest, StopCause,
};
use crate::manager::state::{ActiveState, ServiceResult, SubState};
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::{KillMode, ServiceType};
use crate::unit::{Unit, UnitName};

/// One request of a client.
pub(super) struct Asked {
    pub(super) client: ClientId,
    pub(super) stops: Option<usize>,
    pub(super) at: u64,
    pub(super) unit: Option<(JobKind, usize)>,
    pub(super) answered: bool,
}

/// Watches.
pub(super) struct Checker<'a> {
    pub(super) plan: &'a Plan,
    pub(super) seen: Vec<Seen>,
    pub(super) now: u64,
    pub(super) asked: Vec<Asked>,
    pub(super) stop: Stop,
    /// The unit whose process or answer the event is about.
    pub(super) about: Option<usize>,
    pub(super) after: [u16; MAX_UNITS],
    /// Units that another unit's failure or restart may start at any time.
    pub(super) driven: u16,
    /// Handlers of OnFailure= and OnSuccess=, and what they pull in.
    pub(super) handlers: u16,
    processes: Vec<(ProcessId, usize, ProcessRole)>,
    actions: usize,
    idle_timers: u32,
    stale: bool,
    pub(super) broken: Option<Broken>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(plan: &'a Plan) -> Checker<'a> {
        let mut after = [0; MAX_UNITS];
        for (slot, unit) in after.iter_mut().zip(&plan.units) {
            *slot = plan.mask(&unit.after);
        }
        Checker {
            plan,
            seen: vec![Seen::new(); plan.units.len()],
            now: 0,
            asked: Vec::new(),
            stop: Stop::new(),
            about: None,
            after,
            driven: driven(plan) | handlers(plan),
            handlers: handlers(plan),
            processes: Vec::with_capacity(32),
            actions: 0,
            idle_timers: 0,
            stale: false,
            broken: None,
        }
    }

    /// Notes the first rule that does not hold.
    pub(super) fn broken(&mut self, rule: Rule, seen: impl FnOnce(&Self) -> String) {
        if self.broken.is_none() {
            self.broken = Some(Broken { rule, seen: seen(self) });
        }
    }

    pub(super) fn name(&self, unit: usize) -> &'a UnitName {
        &self.plan.units[unit].name
    }

    /// An event is about to be handled; `stale` ones must change nothing.
    pub(super) fn event(&mut self, now: u64, event: &Event, stale: bool) {
        self.now = now;
        self.actions = 0;
        self.stale = stale;
        self.about = None;
        for seen in &mut self.seen {
            seen.visited = 1 << seen.state as u32;
            seen.timed_out = false;
            (seen.forwarded, seen.hasty) = (false, false);
            seen.signalled = false;
        }
        if !stale {
            self.word(event);
        }
        match event {
            Event::Boot => self.boot(),
            Event::Request { client, request } => self.request(*client, request),
            Event::Signal(signal) => self.stop_signal(*signal),
            Event::Checked { unit, outcome } => {
                let unit = self.plan.index(unit);
                self.about = Some(unit);
                self.seen[unit].refused = *outcome != CheckOutcome::Met;
                self.seen[unit].ever_failed |= matches!(outcome, CheckOutcome::AssertFailed { .. });
            }
            Event::Exited { process, exit, .. } if !stale => self.exited(*process, *exit),
            Event::Spawned { process }
            | Event::SpawnFailed { process, .. }
            | Event::Execed { process }
            | Event::Exited { process, .. } => self.about = self.owner(*process).map(|(u, _)| u),
            Event::Empty { unit } => self.about = Some(self.plan.index(unit)),
            Event::NothingLeft | Event::Loaded { .. } | Event::Timer => (),
            Event::Notified { .. }
            | Event::SaidReady { .. }
            | Event::Matched { .. }
            | Event::Probed { .. }
            | Event::FoundMain { .. }
            | Event::Accepted { .. }
            | Event::OomKill { .. }
            | Event::MemoryHigh { .. } => (),
            Event::Listening { unit, outcome } => {
                let seen = &mut self.seen[self.plan.index(unit)];
                seen.listens |= outcome.is_ok();
                if outcome.is_err() {
                    (seen.main_exit, seen.ever_failed) = (None, true);
                }
            }
            Event::Connection { unit } => {
                self.seen[self.plan.index(unit)].awaited = false;
                // It wants it as a client does, whatever became of it at boot.
                self.seen.iter_mut().for_each(|seen| seen.touched = true);
            }
            Event::Quiet { unit } => self.seen[self.plan.index(unit)].quiesced = None,
        }
    }

    pub(super) fn owner(&self, process: ProcessId) -> Option<(usize, ProcessRole)> {
        let of = self.processes.iter().rfind(|(id, _, _)| *id == process);
        of.map(|(_, unit, role)| (*unit, *role))
    }

    /// The main process of a unit is this one, which rinit did not start.
    pub(super) fn adopt(&mut self, unit: usize, main: ProcessId) {
        self.processes.retain(|(_, of, role)| *of != unit || *role != ProcessRole::ExecStart);
        self.processes.push((main, unit, ProcessRole::ExecStart));
        self.seen[unit].main_exit = None;
    }

    fn exited(&mut self, process: ProcessId, exit: ExitStatus) {
        let Some((unit, role)) = self.owner(process) else { return };
        self.about = Some(unit);
        self.seen[unit].quiesced = None;
        let given_up = process.0 <= self.seen[unit].given_up;
        if role == ProcessRole::ExecStart && !given_up {
            self.seen[unit].main_exit = Some(exit);
        }
    }

    /// The boot has a start job for what it starts and what that pulls in.
    fn boot(&mut self) {
        let closure = pulled(self.plan, self.plan.boot());
        for (index, seen) in self.seen.iter_mut().enumerate() {
            seen.pending = closure & (1 << index) != 0;
        }
    }

    fn request(&mut self, client: ClientId, request: &Request) {
        let unit = match request {
            Request::Job { kind, unit } if unit.as_str() != super::run::UNKNOWN => {
                Some((*kind, self.plan.index(unit)))
            }
            Request::ResetFailed { unit: Some(unit) } => {
                let unit = self.plan.index(unit);
                self.seen[unit].window = None;
                self.seen[unit].touched = true;
                None
            }
            // The others are not asked here.
            Request::Job { .. }
            | Request::ResetFailed { unit: None }
            | Request::Kill { .. }
            | Request::Load { .. }
            | Request::Apply { .. }
            | Request::Scale { .. }
            | Request::Shutdown => None,
        };
        if unit.is_some() {
            self.seen.iter_mut().for_each(|seen| seen.touched = true);
        }
        if *request == Request::Shutdown {
            self.stop.asked(self.now, self.plan.config.shutdown_timeout);
        }
        let stops = unit.filter(|(kind, _)| *kind == JobKind::Stop).map(|(_, unit)| unit);
        self.asked.push(Asked { client, stops, at: self.now, unit, answered: false });
    }

    /// The manager wants something done.
    pub(super) fn action(&mut self, action: &Action, world: &World) {
        self.actions += 1;
        if self.stop.exited.is_some() {
            self.broken(Rule::AfterExit, |_| format!("{action:?}"));
        }
        if self.stale {
            self.broken(Rule::StaleIgnored, |_| format!("{action:?}"));
        }
        self.word_of_action(action, world);
        match action {
            Action::Spawn(request) => self.spawn(request, world),
            Action::KillProcess { process, signal } => {
                if let Some((unit, _)) = self.owner(*process) {
                    self.kill(unit, *signal);
                }
            }
            Action::KillUnit { unit, signal: Some(signal), .. } => {
                self.kill(self.plan.index(unit), *signal);
            }
            Action::KillEverything { signal } => self.stop.kill_everything(*signal),
            Action::Reply { client, .. } => self.reply(*client),
            Action::Record(fact) => self.fact(fact),
            Action::Exit { code } => {
                if let Some(unit) = self.seen.iter().position(|seen| seen.listens) {
                    self.broken(Rule::SocketsClosed, |it| it.name(unit).to_string());
                }
                self.exit(*code, world);
            }
            Action::Check { unit } => {
                let unit = self.plan.index(&unit.name);
                self.seen[unit].refused = false;
            }
            Action::KillUnit { signal: None, .. }
            | Action::Load
            | Action::Forward { .. }
            | Action::Release { .. } => (),
            Action::Probe { .. }
            | Action::FindMain { .. }
            | Action::Listen { .. }
            | Action::Resume { .. }
            | Action::Steer { .. }
            | Action::Rename { .. } => (),
            Action::Unlisten { unit } => {
                let seen = &mut self.seen[self.plan.index(unit)];
                (seen.listens, seen.awaited) = (false, false);
            }
            Action::Await { unit } => self.seen[self.plan.index(unit)].awaited = true,
            Action::Quiesce { unit } => {
                self.seen[self.plan.index(unit)].quiesced = Some(self.now);
            }
        }
    }

    fn spawn(&mut self, request: &SpawnRequest, world: &World) {
        let unit = self.plan.index(&request.unit.name);
        let forking = request.unit.service.kind == ServiceType::Forking;
        // The first process of a `Type=forking` service is not the main one.
        let role = match request.role {
            ProcessRole::ExecStart if forking => ProcessRole::ExecStartPost,
            role => role,
        };
        self.processes.push((request.process, unit, role));
        self.word_of_spawn(unit, request);
        if request.role == ProcessRole::ExecStart {
            if self.plan.units[unit].socket.is_some() && !self.seen[unit].listens {
                self.broken(Rule::SocketsFirst, |_| request.unit.name.to_string());
            }
            self.seen[unit].main_exit = None;
        }
        if matches!(request.role, ProcessRole::ExecStop | ProcessRole::ExecStopPost) {
            return;
        }
        self.spawn_in_stop(unit, request.role);
        if self.seen[unit].refused {
            self.broken(Rule::ConditionHolds, |_| {
                format!("{:?} of {}", request.role, request.unit.name)
            });
        }
        let conflicts = self.plan.mask(&request.unit.conflicts);
        for other in 0..self.seen.len() {
            let theirs = self.plan.mask(&self.plan.units[other].conflicts);
            let conflict = (conflicts >> other | theirs >> unit) & 1 == 1;
            if conflict && world.mains(other, 0) > 0 && self.seen[other].is_up() {
                self.broken(Rule::ConflictHolds, |_| request.unit.name.to_string());
            }
        }
        self.spawn_in_time(unit, request);
    }

    fn kill(&mut self, unit: usize, signal: Signal) {
        self.stop.kill(signal);
        let quiesced = self.seen[unit].quiesced.take();
        let early = quiesced.is_some_and(|since| self.now < since + QUIESCE_MOST);
        self.seen[unit].hasty |= early && self.stop.begun.is_none();
        // What an ExecCondition= or ExecStartPre= leaves behind is killed before the next command.
        let state = self.seen[unit].state;
        let leftovers =
            signal == Signal::KILL && matches!(state, SubState::Condition | SubState::StartPre);
        if !leftovers && !matches!(signal, Signal::CONT | Signal::HUP) {
            self.seen[unit].signalled = true;
        }
    }

    fn reply(&mut self, client: ClientId) {
        let asked = self.asked.iter_mut().find(|asked| asked.client == client);
        let first = asked.is_some_and(|asked| !std::mem::replace(&mut asked.answered, true));
        if !first {
            self.broken(Rule::OneReply, |_| format!("{client:?} is answered again"));
        }
    }

    fn fact(&mut self, fact: &Fact) {
        let plan = self.plan;
        let of = |unit: &UnitName| plan.index(unit);
        match fact {
            Fact::State { unit, from, to, result, .. } => {
                self.end_of_what_was_well(of(unit), *to, *result);
                self.change(of(unit), *from, *to);
            }
            Fact::Job { unit, kind, result, .. } => self.job_ended(of(unit), *kind, *result),
            Fact::RestartScheduled { unit, delay, attempt, .. } => {
                self.scheduled(of(unit), *delay, *attempt)
            }
            Fact::StartLimitHit { unit, .. } => self.limit_hit(of(unit)),
            Fact::SpawnFailed { unit, retry_in: Some(delay), .. } => self.retry(of(unit), *delay),
            Fact::TimedOut { unit, signal, .. } => {
                let unit = of(unit);
                self.seen[unit].timed_out = true;
                self.stop.timed_out(*signal);
            }
            Fact::Forwarded { unit, .. } => self.seen[of(unit)].forwarded = true,
            Fact::Stopping { cause, budget, code, .. } => {
                let main = match cause {
                    StopCause::Failed(name) => self.seen[of(name)].main_exit,
                    StopCause::Signal(_) | StopCause::Client => None,
                    StopCause::Succeeded(_) | StopCause::NothingLeft => None,
                };
                self.stop.begin(self.now, cause, *budget, *code, main);
                self.seen.iter_mut().for_each(|seen| seen.pending = false);
            }
            Fact::ListenFailed { unit, .. } => self.seen[self.plan.index(unit)].unheard = true,
            Fact::Hurried { at_once, .. } => self.stop.hurried(*at_once),
            Fact::BudgetSpent { .. } => self.stop.forced = true,
            Fact::Abandoned { unit } => self.give_up(of(unit)),
            Fact::Protocol { unit, .. } => self.seen[of(unit)].timed_out = true,
            Fact::Watchdog { unit, .. } => self.watchdog(of(unit)),
            Fact::Health { unit, healthy: false, stops, .. } => {
                self.said_unhealthy(of(unit), *stops)
            }
            Fact::TriggerLimitHit { unit, .. } => {
                let seen = &mut self.seen[of(unit)];
                (seen.main_exit, seen.ever_failed) = (None, true);
            }
            Fact::Health { .. }
            | Fact::OomKill { .. }
            | Fact::MemoryHigh { .. }
            | Fact::Status { .. }
            | Fact::ConnectionRefused { .. }
            | Fact::Exhausted { .. }
            | Fact::Scaled { .. }
            | Fact::Roll { .. }
            | Fact::Follows { .. }
            | Fact::NotRestarted { .. }
            | Fact::Started { .. }
            | Fact::Exited { .. }
            | Fact::SpawnFailed { .. }
            | Fact::Booted { .. }
            | Fact::SignalIgnored { .. } => (),
        }
    }

    /// What lives of a unit by now is nobody's any more.
    fn give_up(&mut self, unit: usize) {
        self.processes.retain(|(process, of, _)| *of != unit || process.0 < ADOPTED);
        let ours = self.processes.iter().map(|(process, _, _)| process.0);
        // One that another process took the place of is no more in the list.
        let before = self.seen[unit].given_up;
        self.seen[unit].given_up = ours.filter(|id| *id < ADOPTED).max().unwrap_or(0).max(before);
    }

    /// A stop that begins while the main process lives and nothing is wrong is somebody's wish.
    fn end_of_what_was_well(&mut self, unit: usize, to: SubState, result: ServiceResult) {
        let seen = &mut self.seen[unit];
        let was_up = !matches!(
            seen.state.active_state(),
            ActiveState::Inactive | ActiveState::Failed | ActiveState::Deactivating
        );
        if was_up && to.active_state() == ActiveState::Deactivating {
            seen.told = result == ServiceResult::Success && seen.main_exit.is_none();
        }
    }

    fn change(&mut self, unit: usize, from: SubState, to: SubState) {
        let was = self.seen[unit].state;
        if from != was {
            self.broken(Rule::StateChain, |it| {
                format!("{}: {was}, then from {from}", it.name(unit))
            });
        }
        if !may_follow(from, to) {
            self.broken(Rule::StateTable, |it| format!("{}: {from} to {to}", it.name(unit)));
        }
        self.word_of_change(unit, from, to);
        let begins = matches!(was, SubState::Dead | SubState::Failed)
            && to.active_state() == ActiveState::Activating
            && to != SubState::AutoRestart;
        if begins {
            self.begins(unit);
        }
        let ends = to.active_state() == ActiveState::Deactivating
            && was.active_state() != ActiveState::Deactivating;
        // What is not up yet is nobody's ground to stand on.
        if ends && to != SubState::FinalSigkill && was.active_state() != ActiveState::Activating {
            self.stop_begins(unit);
        }
        let spares = matches!(self.plan.units[unit].service.kill_mode, KillMode::None);
        if spares && matches!(to, SubState::Dead | SubState::Failed | SubState::AutoRestart) {
            self.give_up(unit);
        }
        let now = self.now;
        let seen = &mut self.seen[unit];
        if seen.refork {
            seen.refork = false; // the try belonged to the state that is left
            seen.not_before = 0;
        }
        seen.state = to;
        seen.visited |= 1 << to as u32;
        match (seen.is_up(), seen.up_since) {
            (true, None) => seen.up_since = Some(now),
            (false, Some(since)) => {
                seen.was_up = now - since;
                seen.up_since = None;
            }
            (true, Some(_)) | (false, None) => (),
        }
        seen.failed_at = (to == SubState::Failed).then_some(now);
        seen.ever_failed |= to == SubState::Failed;
    }

    /// A start begins, not by a restart.
    fn begins(&mut self, unit: usize) {
        self.seen[unit].fresh = true;
        for other in 0..self.seen.len() {
            if self.after[unit] & (1 << other) == 0 {
                continue;
            }
            if self.seen[other].pending {
                self.broken(Rule::AfterWaits, |it| {
                    format!("{} before {}", it.name(unit), it.name(other))
                });
            }
            let needs = self.plan.mask(&self.plan.units[unit].requires);
            let failed = self.seen[other].boot_result.is_some_and(|result| !result.is_success());
            if needs & (1 << other) != 0
                && failed
                && !self.seen[unit].touched
                && self.handlers & (1 << unit) == 0
            {
                let job = self.seen[other].boot_result;
                if self.seen[other].is_down() && job != Some(JobResult::Canceled) {
                    self.broken(Rule::RequiresHolds, |it| {
                        format!("{} without {}", it.name(unit), it.name(other))
                    });
                }
            }
        }
    }

    fn job_ended(&mut self, unit: usize, kind: JobKind, result: JobResult) {
        let seen = &mut self.seen[unit];
        seen.pending = false;
        if matches!(kind, JobKind::Start | JobKind::Restart) && seen.boot_result.is_none() {
            seen.boot_result = Some(result);
        }
    }

    /// The event and all its actions are done.
    pub(super) fn settled(&mut self, world: &World, deadline: Option<u64>, timer: bool) {
        for asked in &self.asked {
            if let (Some((kind, unit)), false) = (asked.unit, asked.answered) {
                let fresh = asked.at == self.now && self.stop.begun.is_none();
                self.seen[unit].pending |= fresh && kind != JobKind::Reload;
            }
        }
        let idle = timer && self.actions == 0 && deadline.is_some_and(|at| at <= world.now);
        self.idle_timers = if idle { self.idle_timers + 1 } else { 0 };
        if self.idle_timers > 2 {
            self.broken(Rule::Livelock, |it| format!("{} timers", it.idle_timers));
        }
        if self.actions > 40 * (self.seen.len() + 2) {
            self.broken(Rule::ActionFlood, |it| format!("{} actions", it.actions));
        }
        for unit in 0..self.seen.len() {
            self.unit_settled(unit, world, deadline);
            self.word_settled(unit, deadline);
        }
        self.stop_settled(world, deadline);
    }

    fn unit_settled(&mut self, unit: usize, world: &World, deadline: Option<u64>) {
        if world.mains(unit, self.seen[unit].given_up) > 1 {
            self.broken(Rule::OneMain, |it| it.name(unit).to_string());
        }
        if self.seen[unit].hasty && !self.seen[unit].forwarded {
            self.broken(Rule::QuietFirst, |it| it.name(unit).to_string());
        }
        let seen = &self.seen[unit];
        if seen.signalled && seen.visited & KILLING == 0 && !seen.forwarded && !self.stop.forced {
            self.broken(Rule::KillInState, |it| {
                format!("{} is {}", it.name(unit), it.seen[unit].state)
            });
        }
        if self.stop.exited.is_some() || !waits(self.seen[unit].state) {
            return;
        }
        if deadline.is_none() && !world.is_awaited(self.plan, unit) {
            self.broken(Rule::WaitEnds, |it| {
                format!("{} is {}", it.name(unit), it.seen[unit].state)
            });
        }
        let killing = SIGNAL_WAITS & (1 << self.seen[unit].state as u32) != 0;
        if killing && !world.is_awaited(self.plan, unit) {
            self.broken(Rule::StopPrompt, |it| {
                format!("{} is {}", it.name(unit), it.seen[unit].state)
            });
        }
    }

    /// Nothing can happen any more, and the manager waits for nothing.
    pub(super) fn quiet(&mut self, world: &World) {
        let mut waiting = false;
        let stalled = self.seen.iter().any(|seen| waits(seen.state));
        for unit in 0..self.seen.len() {
            let state = self.seen[unit].state;
            waiting |= waits(state);
            if waits(state) && !world.lives(unit) {
                self.broken(Rule::Stuck, |it| format!("{} is {state}", it.name(unit)));
            }
            let binds = self.plan.mask(&self.plan.units[unit].binds_to) & self.after[unit];
            for other in (0..self.seen.len()).filter(|other| binds & (1 << other) != 0) {
                // Its stop may wait in order for another's that has no timeout.
                if !stalled && self.seen[unit].is_up() && self.seen[other].is_down() {
                    self.broken(Rule::BindsToHolds, |it| {
                        format!("{} without {}", it.name(unit), it.name(other))
                    });
                }
            }
        }
        let forgotten = self.asked.iter().find(|asked| !asked.answered).map(|asked| asked.client);
        if let (Some(client), false) = (forgotten, waiting) {
            self.broken(Rule::Forgotten, |_| format!("{client:?}"));
        }
        let touched = self.asked.iter().any(|asked| asked.unit.is_some());
        let awaited = self.seen.iter().any(|seen| seen.awaited);
        if world.processes.is_empty() && !waiting && !touched && !awaited {
            self.broken(Rule::Stuck, |_| String::from("rinit stays, and nothing is left"));
        }
    }
}

/// How long a stop may wait for a queue.
const QUIESCE_MOST: u64 = 500_000_000;

/// Units and all that their start pulls in.
fn pulled(plan: &Plan, mut closure: u16) -> u16 {
    loop {
        let mut grown = closure;
        for (index, unit) in plan.units.iter().enumerate() {
            if closure & (1 << index) != 0 {
                let lists = [&*unit.requires, &*unit.wants, &unit.binds_to, &unit.upholds];
                grown |= lists.iter().fold(0, |mask, list| mask | plan.mask(list));
            }
        }
        if grown == closure {
            return closure;
        }
        closure = grown;
    }
}

/// Handlers and what they pull in.
fn handlers(plan: &Plan) -> u16 {
    let lists = |unit: &Arc<Unit>| plan.mask(&unit.on_failure) | plan.mask(&unit.on_success);
    pulled(plan, plan.units.iter().fold(0, |mask, unit| mask | lists(unit)))
}

/// What goes up and down with another unit.
fn driven(plan: &Plan) -> u16 {
    let follows = |unit: &Unit| !unit.binds_to.is_empty() || !unit.requires.is_empty();
    let units = plan.units.iter().enumerate();
    pulled(plan, units.fold(0, |mask, (k, unit)| mask | u16::from(follows(unit)) << k))
}

/// States in which a fatal signal may be sent: those that end a unit, and a reload's timeout.
const KILLING: u32 = SIGNAL_WAITS
    | 1 << SubState::Reload as u32
    | 1 << SubState::Stop as u32
    | 1 << SubState::StopPost as u32;

/// States that wait for nothing but the end of processes.
const SIGNAL_WAITS: u32 = 1 << SubState::StopSigterm as u32
    | 1 << SubState::StopSigkill as u32
    | 1 << SubState::StopWatchdog as u32
    | 1 << SubState::FinalSigterm as u32
    | 1 << SubState::FinalSigkill as u32;

fn waits(state: SubState) -> bool {
    !matches!(state, SubState::Dead | SubState::Failed | SubState::Running | SubState::Exited)
}

/// The pairs of states that may follow each other.
fn may_follow(from: SubState, to: SubState) -> bool {
    use SubState::*;
    let rest = matches!(from, Dead | Failed | AutoRestart);
    let before = matches!(from, Condition | StartPre);
    let up = matches!(from, Start | StartPost | Running | Exited | Reload);
    match to {
        Condition => rest || from == Condition,
        StartPre => rest || before,
        Start => rest || before || from == Start,
        StartPost => rest || before || matches!(from, Start | StartPost),
        Running => matches!(from, Start | StartPost | Reload),
        Listening => false, // no unit here is a socket
        Exited => rest || before || up && from != Exited,
        Reload => matches!(from, Running | Exited | Reload),
        Stop => up || from == Stop,
        StopSigterm => before || up || from == Stop,
        StopWatchdog => before || up || matches!(from, Stop | StopSigterm),
        StopSigkill => before || up || matches!(from, Stop | StopSigterm | StopWatchdog),
        StopPost => !rest && !matches!(from, FinalSigterm | FinalSigkill),
        FinalSigterm => !rest && !matches!(from, FinalSigterm | FinalSigkill),
        FinalSigkill => !rest && from != FinalSigkill,
        AutoRestart => from != AutoRestart, // from a rest where another unit upholds it
        Dead => from != Dead,
        Failed => from != Failed,
    }
}
