//! The rules of the stop: its order, its budget, its signals, and the exit status.
//!
//! Part of the checker of `invariants`.

use std::time::Duration;

use super::invariants::Checker;
use super::rules::Rule;
use super::starting::nanos;
use super::world::World;
use crate::manager::event::{ProcessRole, StopCause};
use crate::manager::state::SubState;
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::ExitAction;

const MS: u64 = 1_000_000;
/// How much later than its deadline an event may be seen: time's granularity.
const SLACK: u64 = 2 * MS;

/// What was seen of the stop of everything.
pub(super) struct Stop {
    pub(super) begun: Option<u64>,
    cause: Option<StopCause>,
    /// How the main process of the unit that failed had ended.
    main: Option<ExitStatus>,
    /// The status that the stop's begin announced.
    code: Option<u8>,
    /// When rinit must have exited.
    deadline: Option<u64>,
    /// Order no longer counts: everything is killed.
    pub(super) forced: bool,
    pub(super) exited: Option<u8>,
    signals: Vec<u64>,
    hurried: u32,
    killed: bool,
    timed_out: bool,
}

impl Stop {
    pub(super) fn new() -> Stop {
        Stop {
            begun: None,
            cause: None,
            main: None,
            code: None,
            deadline: None,
            forced: false,
            exited: None,
            signals: Vec::new(),
            hurried: 0,
            killed: false,
            timed_out: false,
        }
    }

    pub(super) fn begin(
        &mut self,
        now: u64,
        cause: &StopCause,
        budget: Duration,
        code: Option<u8>,
        main: Option<ExitStatus>,
    ) {
        self.main = main;
        self.begun = Some(now);
        self.cause = Some(cause.clone());
        self.code = code;
        self.limit(now.saturating_add(nanos(budget)));
    }

    pub(super) fn asked(&mut self, now: u64, budget: Duration) {
        self.limit(now.saturating_add(nanos(budget)));
    }

    fn limit(&mut self, at: u64) {
        self.deadline = Some(self.deadline.map_or(at, |before| before.min(at)));
    }

    pub(super) fn hurried(&mut self, at_once: bool) {
        self.hurried += 1;
        self.forced |= at_once;
    }

    pub(super) fn kill_everything(&mut self, signal: Signal) {
        self.forced = true;
        self.killed |= signal == Signal::KILL;
    }

    pub(super) fn kill(&mut self, signal: Signal) {
        self.killed |= signal == Signal::KILL && self.begun.is_some();
    }

    pub(super) fn timed_out(&mut self, signal: Option<Signal>) {
        self.timed_out |= signal.is_some();
    }
}

impl Checker<'_> {
    /// Whether this signal stops everything.
    pub(super) fn stops(&self, signal: Signal) -> bool {
        let config = &self.plan.config;
        if config.command.is_some() {
            return signal == Signal::TERM || Some(signal) == config.stop_signal;
        }
        let usual = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::PWR, Signal::RTMIN_3];
        usual.contains(&signal) || Some(signal) == config.stop_signal
    }

    pub(super) fn stop_signal(&mut self, signal: Signal) {
        if self.stops(signal) && self.stop.exited.is_none() {
            self.stop.asked(self.now, self.plan.config.shutdown_timeout);
            let repeat = self.stop.signals.last().is_some_and(|at| self.now - at < 200 * MS);
            if !repeat {
                self.stop.signals.push(self.now);
            }
        }
    }

    /// Handlers of a failure may still run; nothing else starts.
    pub(super) fn spawn_in_stop(&mut self, unit: usize, role: ProcessRole) {
        let Some(begun) = self.stop.begun else { return };
        let config = &self.plan.config;
        let grace = match &self.stop.cause {
            Some(StopCause::Failed(name) | StopCause::Succeeded(name)) => {
                let cause = &self.plan.units[self.plan.index(name)];
                let handled = !cause.on_failure.is_empty() || !cause.on_success.is_empty();
                handled.then_some(config.shutdown_timeout / 2)
            }
            Some(StopCause::Signal(_) | StopCause::Client | StopCause::NothingLeft) | None => {
                Some(config.drain).filter(|drain| !drain.is_zero())
            }
        };
        let graceful =
            grace.is_some_and(|grace| self.now <= begun.saturating_add(nanos(grace)) + SLACK);
        if !graceful || self.stop.forced || self.stop.hurried > 0 {
            let name = self.name(unit);
            self.broken(Rule::NoStartInStop, |_| format!("{} of {name}", role.directive()));
        }
    }

    /// Until the handlers of the unit that ends it all have run, a client's stop may go on.
    fn has_handlers(&self) -> bool {
        match &self.stop.cause {
            Some(StopCause::Failed(name)) => {
                !self.plan.units[self.plan.index(name)].on_failure.is_empty()
            }
            Some(StopCause::Succeeded(name)) => {
                !self.plan.units[self.plan.index(name)].on_success.is_empty()
            }
            Some(StopCause::Signal(_) | StopCause::Client | StopCause::NothingLeft) | None => false,
        }
    }

    /// A unit leaves its start or its life for its end.
    pub(super) fn stop_begins(&mut self, unit: usize) {
        let binds = self.plan.mask(&self.plan.units[unit].binds_to);
        let bound = (0..self.seen.len()).any(|it| binds & (1 << it) != 0 && !self.seen[it].is_up());
        let by_itself = self.about == Some(unit) || self.seen[unit].timed_out || bound;
        if by_itself || self.stop.forced || self.has_handlers() {
            return;
        }
        let asked = self.asked.last().and_then(|asked| asked.stops.map(|unit| (unit, asked)));
        let explicit = asked.is_some_and(|(asked_for, asked)| asked_for == unit && !asked.answered);
        for other in 0..self.seen.len() {
            let after = self.after[other] & (1 << unit) != 0;
            if !after || self.seen[other].is_down() {
                continue;
            }
            let declared = &self.plan.units[other];
            let lists = [&*declared.requires, &declared.binds_to, &declared.part_of];
            let follows = lists.iter().any(|list| self.plan.mask(list) & (1 << unit) != 0)
                && self.handlers & (1 << other) == 0;
            // Before its own stops begin, a client's may still be under way.
            let others = self.asked.iter().any(|asked| !asked.answered);
            let drained = nanos(self.plan.config.drain);
            let begun = self.stop.begun.is_some_and(|at| self.now >= at.saturating_add(drained));
            if begun && !others || explicit && follows {
                let state = self.seen[other].state;
                let (name, still) = (self.name(unit), self.name(other));
                self.broken(Rule::StopOrder, |_| format!("{name}, but {still} is {state}"));
            }
        }
    }

    pub(super) fn stop_settled(&mut self, world: &World, wakes: Option<u64>) {
        if wakes.is_some_and(|at| at <= world.now) {
            return; // a timer is still to come for this very moment
        }
        if self.stop.exited.is_some() {
            return;
        }
        if let Some(deadline) = self.stop.deadline {
            if world.now > deadline.saturating_add(SLACK) {
                self.broken(Rule::Budget, |_| format!("{} ns late", world.now - deadline));
            }
            let last = deadline.saturating_sub(500 * MS).saturating_add(SLACK);
            if world.now > last && spared(world) {
                self.broken(Rule::BudgetKill, |_| alive(world, "was not sent SIGKILL"));
            }
        }
        let effective = self.stop.signals.len() as u32;
        let told = self.stop.hurried.min(2);
        if effective.saturating_sub(1).min(2) > told && self.stop.begun.is_some() {
            self.broken(Rule::HurryTold, |_| format!("{effective} signals, {told} told"));
        }
        if told == 2 && spared(world) {
            self.broken(Rule::HurryTold, |_| alive(world, "lives after the third signal"));
        }
        let patience = nanos(self.plan.config.shutdown_timeout).saturating_add(SLACK);
        for unit in 0..self.seen.len() {
            let declared = &self.plan.units[unit];
            let wished = self.seen[unit].touched || self.seen[unit].told;
            let counts = declared.failure_action != ExitAction::None && !wished;
            let failed = self.seen[unit].failed_at.filter(|_| counts && self.stop.begun.is_none());
            if failed.is_some_and(|at| world.now > at.saturating_add(patience)) {
                let name = self.name(unit);
                self.broken(Rule::FailureAction, |_| {
                    format!("{name} has failed, and nothing stops")
                });
            }
        }
        self.requested_stops(world);
    }

    /// A requested stop ends in bounded time where every timeout is finite.
    fn requested_stops(&mut self, world: &World) {
        let Some(asked) = self.asked.iter().find(|asked| !asked.answered && asked.stops.is_some())
        else {
            return;
        };
        let mut bound = Duration::from_secs(60);
        for unit in &self.plan.units {
            let service = &unit.service;
            let Some(stop) = service.timeout_stop.filter(|stop| !stop.is_zero()) else { return };
            let commands = service.exec_stop.len() + service.exec_stop_post.len() + 5;
            bound += (stop + service.timeout_abort.unwrap_or(stop)) * commands as u32;
        }
        if world.now > asked.at.saturating_add(nanos(bound)) {
            let client = asked.client;
            self.broken(Rule::StopBounded, |_| format!("{client:?} waits for {bound:?}"));
        }
    }

    pub(super) fn exit(&mut self, code: u8, world: &World) {
        self.stop.exited = Some(code);
        if spared(world) {
            self.broken(Rule::ExitClean, |_| alive(world, "lives"));
        }
        if let Some(asked) = self.asked.iter().find(|asked| !asked.answered) {
            let client = asked.client;
            self.broken(Rule::OneReply, |_| format!("{client:?} was not answered at the exit"));
        }
        let (expected, why) = match self.stop.code {
            Some(announced) => (Some(announced), "announced"),
            None => self.expected(),
        };
        if expected.is_some_and(|expected| expected != code) {
            self.broken(Rule::ExitCode, |_| format!("{code}, not {expected:?}: {why}"));
        }
        if self.stop.code.is_some() {
            if let (Some(reference), why) = self.expected() {
                if reference != code {
                    self.broken(Rule::ExitCode, |_| format!("{code}, not {reference}: {why}"));
                }
            }
        }
    }

    /// The status where it is simple to tell.
    fn expected(&self) -> (Option<u8>, &'static str) {
        let config = &self.plan.config;
        let status = |exit: ExitStatus| exit.shell_code();
        match &self.stop.cause {
            Some(StopCause::Signal(_) | StopCause::Client) if config.command.is_some() => {
                (None, "command mode")
            }
            Some(StopCause::Signal(_) | StopCause::Client) if !self.stop.killed => {
                (Some(0), "a requested stop that killed nobody")
            }
            Some(StopCause::Failed(name)) if config.command.is_none() => {
                let unit = self.plan.index(name);
                let declared = self.plan.units[unit].failure_action_exit_status;
                let main = self.stop.main.map(status);
                match (declared, main) {
                    (Some(declared), _) => (Some(declared), "FailureActionExitStatus="),
                    (None, Some(0) | None) => (None, "no failed main process"),
                    (None, main) => (main, "the status of the unit that failed"),
                }
            }
            Some(StopCause::NothingLeft) if config.command.is_none() => {
                let well = |seen: &super::invariants::Seen| {
                    !seen.ever_failed && seen.boot_result.is_none_or(|result| result.is_success())
                };
                if self.seen.iter().all(well) {
                    return (Some(0), "everything ended well");
                }
                (None, "something failed")
            }
            Some(_) | None => (None, "not simple"),
        }
    }

    /// The whole run is over: what must have happened by now.
    pub(super) fn over(&mut self) {
        if self.stop.exited.is_none() {
            let states: Vec<SubState> = self.seen.iter().map(|seen| seen.state).collect();
            self.broken(Rule::Stuck, |_| format!("the stop does not end: {states:?}"));
        }
    }
}

/// Whether a process lives that was not sent SIGKILL.
fn spared(world: &World) -> bool {
    world.processes.iter().any(|one| !one.killed && one.is_alive(world.now))
}

fn alive(world: &World, what: &str) -> String {
    let mut one = world.processes.iter().filter(|one| !one.killed && one.is_alive(world.now));
    format!("{:?} {what}", one.next().map(|one| (one.id, one.role, one.unit)))
}
