//! Processes by the name of their unit, and the answers that actions get.
//!
//! Not what is right (`checker`). An answer that is on its way when a unit is renamed comes under
//! the old name, as it may from a real shell.

use std::collections::VecDeque;

use super::super::choices::{Choices, Label};
use super::draw::{Mood, Plan, version};
use crate::manager::event::{Action, Event, ProcessId, ProcessRole, SpawnError, SpawnRequest};
use crate::unit::UnitName;
use crate::unit::process::{ExitStatus, Signal};

pub(super) const MS: u64 = 1_000_000;
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    pub(super) unit: UnitName,
    pub(super) role: ProcessRole,
    pub(super) killed: bool,
    exec_at: Option<u64>,
    exit_at: u64,
    exit: ExitStatus,
    stubborn: bool,
    delay: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) processes: Vec<Process>,
    inbox: VecDeque<Event>,
    pending: Vec<(u64, Event)>,
    watches: Vec<UnitName>,
    everything: usize,
    /// No process fails any more.
    pub(super) calm: bool,
}

impl World {
    pub(super) fn new() -> World {
        World {
            now: MS,
            processes: Vec::new(),
            inbox: VecDeque::new(),
            pending: Vec::new(),
            watches: Vec::new(),
            everything: 0,
            calm: false,
        }
    }

    pub(super) fn answer(&mut self) -> Option<Event> {
        self.inbox.pop_front()
    }

    pub(super) fn next_time(&self) -> Option<u64> {
        let of = |one: &Process| one.exec_at.unwrap_or(NEVER).min(one.exit_at);
        let processes = self.processes.iter().map(of);
        processes.chain(self.pending.iter().map(|(at, _)| *at)).min().filter(|at| *at < NEVER)
    }

    pub(super) fn advance(&mut self, at: u64) {
        self.now = at.max(self.now + 1000);
    }

    /// The first thing that is due.
    pub(super) fn happen(&mut self) -> Option<Event> {
        let now = self.now;
        let exec = |one: &Process| one.exec_at.is_some_and(|at| at <= now && at <= one.exit_at);
        if let Some(one) = self.processes.iter_mut().find(|one| exec(one)) {
            one.exec_at = None;
            return Some(Event::Execed { process: one.id });
        }
        if let Some(index) = self.processes.iter().position(|one| one.exit_at <= now) {
            let Process { id, exit, .. } = self.processes.remove(index);
            self.look();
            return Some(Event::Exited { process: id, exit, exec_error: None });
        }
        let index = self.pending.iter().position(|(at, _)| *at <= now)?;
        Some(self.pending.remove(index).1)
    }

    /// A process ends, just so.
    pub(super) fn crash(&mut self, choices: &mut Choices) {
        let mains: Vec<usize> = (0..self.processes.len())
            .filter(|index| self.processes[*index].unit.instance().is_some())
            .collect();
        if !mains.is_empty() {
            let index = mains[choices.pick(Label::WishUnit, mains.len().min(256))];
            self.processes[index].exit_at = self.now;
            self.processes[index].exit = ExitStatus::Exited(choices.of(Label::Code, &[1, 0, 3]));
        }
    }

    fn look(&mut self) {
        let gone = |unit: &UnitName| !self.processes.iter().any(|one| one.unit == *unit);
        let (empty, left) = std::mem::take(&mut self.watches).into_iter().partition(gone);
        self.watches = left;
        let empty: Vec<UnitName> = empty;
        self.pending.extend(empty.into_iter().map(|unit| (self.now, Event::Empty { unit })));
        while self.everything > 0 && self.processes.is_empty() {
            self.everything -= 1;
            self.pending.push((self.now, Event::NothingLeft));
        }
    }

    pub(super) fn perform(&mut self, choices: &mut Choices, plan: &Plan, action: Action) {
        match action {
            Action::Spawn(request) => self.spawn(choices, plan, &request),
            Action::KillProcess { process, signal } => {
                self.signal(signal, |one| one.id == process);
            }
            Action::KillUnit { unit, signal } => {
                if let Some(signal) = signal {
                    self.signal(signal, |one| one.unit == unit);
                }
                self.watches.push(unit);
                self.look();
            }
            Action::KillEverything { signal } => {
                self.signal(signal, |_| true);
                self.everything += 1;
                self.look();
            }
            Action::Rename { from, to } => {
                let units = self.processes.iter_mut().map(|one| &mut one.unit);
                for unit in units.chain(&mut self.watches).filter(|unit| **unit == from) {
                    *unit = to.clone();
                }
            }
            Action::Listen { unit, .. } => {
                let unit = unit.name.clone();
                self.inbox.push_back(Event::Listening { unit, outcome: Ok(()) });
            }
            Action::Quiesce { unit } => {
                let delay = choices.of(Label::ReactionDelay, &[0, MS, 300 * MS]);
                self.pending.push((self.now + delay, Event::Quiet { unit }));
            }
            Action::Check { unit } => {
                let outcome = crate::manager::event::CheckOutcome::Met;
                self.inbox.push_back(Event::Checked { unit: unit.name.clone(), outcome });
            }
            Action::Load => {
                let changed = choices.pick(Label::Version, 2) as u8;
                self.inbox.push_back(Event::Loaded { units: Some(plan.set(changed)) });
            }
            Action::Reply { .. } | Action::Record(_) | Action::Exit { .. } => (),
            Action::Forward { .. }
            | Action::Release { .. }
            | Action::Probe { .. }
            | Action::FindMain { .. }
            | Action::Unlisten { .. }
            | Action::Await { .. }
            | Action::Resume { .. }
            | Action::Steer { .. } => (),
        }
    }

    fn spawn(&mut self, choices: &mut Choices, plan: &Plan, request: &SpawnRequest) {
        let process = request.process;
        let instance = request.unit.instance_of.is_some();
        let version = version(&request.unit);
        let main = request.role == ProcessRole::ExecStart;
        let bad = plan.mood == Mood::BadVersion && version == 1 && main && !self.calm;
        let moody = plan.mood == Mood::Moody && instance && !self.calm;
        let fate = if moody { choices.pick(Label::Fate, 16) } else { 0 };
        if fate == 15 {
            let message = String::from("fork: Resource temporarily unavailable");
            let error = SpawnError::Temporary { errno: 11, message };
            self.inbox.push_back(Event::SpawnFailed { process, error });
            return;
        }
        let life = match fate {
            _ if bad => choices.of(Label::Life, &[0, 300 * MS, 2000 * MS]),
            12 => 0,
            13 => 300 * MS,
            14 => 4000 * MS,
            _ if main => NEVER,
            _ => MS,
        };
        // Some never become the program: only their timeout ends them.
        let exec =
            if fate == 11 { NEVER } else { choices.of(Label::ExecDelay, &[0, MS, 400 * MS]) };
        let code = if life == MS { 0 } else { choices.of(Label::Code, &[1, 0, 3]) };
        self.inbox.push_back(Event::Spawned { process });
        self.processes.push(Process {
            id: process,
            unit: request.unit.name.clone(),
            role: request.role,
            killed: false,
            exec_at: (exec != NEVER).then_some(self.now.saturating_add(exec)),
            exit_at: self.now.saturating_add(life),
            exit: ExitStatus::Exited(code),
            stubborn: instance && choices.rare(Label::Reaction, 6),
            delay: choices.of(Label::ReactionDelay, &[0, MS, 50 * MS, 2000 * MS]),
        });
    }

    fn signal(&mut self, signal: Signal, to: impl Fn(&Process) -> bool) {
        let now = self.now;
        for one in self.processes.iter_mut().filter(|one| to(one)) {
            let delay = match signal {
                Signal::KILL => {
                    one.killed = true;
                    0
                }
                Signal::TERM if !one.stubborn => one.delay,
                _ => continue,
            };
            if now + delay < one.exit_at {
                one.exit_at = now + delay;
                one.exit = ExitStatus::Killed { signal, core_dumped: false };
            }
        }
    }

    /// How many main processes run under a name.
    pub(super) fn mains(&self, unit: &UnitName) -> usize {
        let of = |one: &&Process| one.unit == *unit && one.role == ProcessRole::ExecStart;
        self.processes.iter().filter(of).count()
    }
}
