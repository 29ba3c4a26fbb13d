//! A simulated kernel and shell: processes, time, and the answers that actions get.
//!
//! Not the manager and not what is right (`invariants`). Times are nanoseconds since the start.
//! **Invariant:** every action gets exactly the answers that `manager::event` promises, as late
//! and in as unlucky an order as a real kernel can bring them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::choices::{Choices, Label};
use super::units::{Plan, Temper};
use crate::manager::event::{
    Action, CheckOutcome, Event, ProcessId, ProcessRole, SpawnError, SpawnRequest,
};
use crate::manager::time::Timestamp;
use crate::unit::process::{ExecError, ExecStage, ExitStatus, Signal};
use crate::unit::service::ServiceType;
use crate::unit::{Unit, UnitName};

pub(super) const MS: u64 = 1_000_000;
const NEVER: u64 = u64::MAX;
/// How long a process lives when it does not live for ever.
const LIVES: [u64; 10] =
    [0, MS, 20 * MS, 300 * MS, 900 * MS, 1500 * MS, 4000 * MS, 12_000 * MS, 70_000 * MS, 0];

/// What a fatal signal other than SIGKILL does to a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reaction {
    Dies,
    Exits(u8),
    Ignores,
}

/// One process: of the manager's making, or one that such a process left behind.
#[derive(Debug)]
pub(super) struct Process {
    /// `None`: a stray, which no event names.
    pub(super) id: Option<ProcessId>,
    /// Whose; `None` once the unit was released with processes left.
    pub(super) unit: Option<usize>,
    pub(super) role: ProcessRole,
    /// SIGKILL was sent.
    pub(super) killed: bool,
    exec_at: Option<u64>,
    exit_at: u64,
    exit: ExitStatus,
    exec_error: Option<ExecError>,
    reaction: Reaction,
    reaction_delay: u64,
    kill_delay: u64,
    /// The first process of a `Type=forking` service.
    first: bool,
}

/// What is due next, and whose it is.
enum Due {
    Exec(usize),
    Exit(usize),
    Pending(usize),
}

/// The kernel.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) processes: Vec<Process>,
    /// Answers that are there at once.
    inbox: VecDeque<Event>,
    /// Answers that come at their time, and what processes will say.
    pub(super) pending: Vec<(u64, Event)>,
    /// One entry for each KillUnit whose Empty is not on its way yet.
    watches: Vec<usize>,
    everything: usize,
    /// Events about processes that are gone, to be told again.
    stale: Vec<Event>,
    names: Vec<UnitName>,
    pub(super) units: Vec<Arc<Unit>>,
    next_id: u64,
    /// SIGKILL went to everything.
    killed: bool,
}

/// The manager did not start who has this id or a higher one.
pub(super) const ADOPTED: u64 = 1 << 50;

impl World {
    pub(super) fn new(plan: &Plan) -> World {
        World {
            now: MS,
            processes: Vec::with_capacity(16),
            inbox: VecDeque::new(),
            pending: Vec::new(),
            watches: Vec::new(),
            everything: 0,
            stale: Vec::new(),
            units: plan.units.clone(),
            next_id: ADOPTED,
            killed: false,
            names: plan.units.iter().map(|unit| unit.name.clone()).collect(),
        }
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp::from_start(Duration::from_nanos(self.now))
    }

    /// The answer that is already there.
    pub(super) fn answer(&mut self) -> Option<Event> {
        self.inbox.pop_front()
    }

    /// Puts an answer there that no process gave.
    pub(super) fn answer_now(&mut self, event: Event) {
        self.inbox.push_back(event);
    }

    /// An event about a process that is gone, as a confused shell might send.
    pub(super) fn stale(&self, choices: &mut Choices) -> Option<Event> {
        let count = self.stale.len();
        (count > 0).then(|| self.stale[choices.pick(Label::Stale, count)].clone())
    }

    /// When something happens by itself.
    pub(super) fn next_time(&self) -> Option<u64> {
        let of = |process: &Process| process.exec_at.unwrap_or(NEVER).min(process.exit_at);
        let processes = self.processes.iter().map(of);
        let first = processes.chain(self.pending.iter().map(|(at, _)| *at)).min();
        first.filter(|at| *at < NEVER)
    }

    /// Goes on to `at`; time never stands still, so that no two deadlines are the same.
    pub(super) fn advance(&mut self, at: u64) {
        self.now = at.max(self.now + 1000);
    }

    /// One of the things that are due now.
    pub(super) fn happen(&mut self, choices: &mut Choices) -> Option<Event> {
        let now = self.now;
        let mut due: Vec<Due> = Vec::new();
        for (index, process) in self.processes.iter().enumerate() {
            if process.exec_at.is_some_and(|at| at <= now && at <= process.exit_at) {
                due.push(Due::Exec(index));
            } else if process.exit_at <= now {
                due.push(Due::Exit(index));
            }
        }
        let answers = self.pending.iter().enumerate().filter(|(_, (at, _))| *at <= now);
        due.extend(answers.map(|(index, _)| Due::Pending(index)));
        let chosen = match due.len() {
            0 => return None,
            1 => 0,
            count => choices.pick(Label::Order, count.min(256)),
        };
        match due[chosen] {
            Due::Exec(index) => {
                self.processes[index].exec_at = None;
                let Process { id, unit, role, killed, exit_at, .. } = self.processes[index];
                let process = id.unwrap_or(ProcessId(0));
                // Who was sent SIGKILL may take its time to go, but makes nobody any more; nor
                // does who is gone, and only had not been told to be the program.
                let gone = killed || exit_at <= now;
                if let (ProcessRole::ExecStart, Some(unit), false) = (role, unit, gone) {
                    let unit = Arc::clone(&self.units[unit]);
                    self.talk(choices, &unit, process);
                }
                Some(Event::Execed { process })
            }
            Due::Exit(index) => self.exit(choices, index),
            Due::Pending(index) => {
                let event = self.pending.remove(index).1;
                self.spoke(choices, &event);
                Some(event).filter(|event| self.can_say(event))
            }
        }
    }

    fn exit(&mut self, choices: &mut Choices, index: usize) -> Option<Event> {
        let Process { id, unit, exit, exec_error, first, .. } = self.processes.remove(index);
        let leaves = first && !self.killed; // else it had left before that SIGKILL
        if let (true, Some(unit), ExitStatus::Exited(0)) = (leaves, unit, exit) {
            self.left_daemon(choices, unit);
        }
        let event = id.map(|process| Event::Exited { process, exit, exec_error });
        if let (Some(event), true) = (&event, self.stale.len() < 4) {
            self.stale.push(event.clone());
        }
        self.look(choices);
        event
    }

    /// Sends the Empty and NothingLeft that have become true.
    fn look(&mut self, choices: &mut Choices) {
        let mut index = 0;
        while let Some(unit) = self.watches.get(index).copied() {
            if self.processes.iter().any(|process| process.unit == Some(unit)) {
                index += 1;
                continue;
            }
            self.watches.remove(index);
            let at = self.now + choices.of(Label::EmptyDelay, &[0, 0, 0, 0, 0, MS, 30 * MS]);
            self.pending.push((at, Event::Empty { unit: self.names[unit].clone() }));
        }
        while self.everything > 0 && self.processes.is_empty() {
            self.everything -= 1;
            self.pending.push((self.now, Event::NothingLeft));
        }
    }

    /// Does what the manager wants done.
    pub(super) fn perform(&mut self, choices: &mut Choices, plan: &Plan, action: Action) {
        match action {
            Action::Check { unit } => self.check(choices, &unit),
            Action::Spawn(request) => self.spawn(choices, plan, &request),
            Action::KillProcess { process, signal } => {
                self.signal(signal, |one| one.id == Some(process));
                self.asked_to_reload(choices, process, signal);
            }
            Action::Forward { process, signal } => {
                if choices.rare(Label::Reaction, 2) {
                    self.signal(signal, |one| one.id == Some(process));
                }
            }
            Action::KillUnit { unit, signal } => {
                let unit = plan.index(&unit);
                if let Some(signal) = signal {
                    self.signal(signal, |one| one.unit == Some(unit));
                }
                self.watches.push(unit);
                self.look(choices);
            }
            Action::Release { unit } => {
                let unit = plan.index(&unit);
                for process in &mut self.processes {
                    if process.unit == Some(unit) && process.id.is_none() {
                        process.unit = None;
                    }
                }
                self.look(choices);
            }
            Action::KillEverything { signal } => {
                self.signal(signal, |_| true);
                self.killed |= signal == Signal::KILL;
                self.everything += 1;
                self.look(choices);
            }
            Action::Load => {
                let sound = !choices.rare(Label::Reaction, 3);
                self.inbox.push_back(Event::Loaded { units: sound.then(|| plan.set.clone()) });
            }
            Action::Listen { unit, .. } => {
                let busy = choices.rare(Label::Listen, 16);
                let outcome = if busy { Err(String::from("bind 0.0.0.0:80")) } else { Ok(()) };
                self.inbox.push_back(Event::Listening { unit: unit.name.clone(), outcome });
            }
            Action::Quiesce { unit } => {
                let at = choices.of(Label::Queue, &[0, 0, MS, 80 * MS, 499 * MS, NEVER]);
                self.later(at, Event::Quiet { unit });
            }
            Action::Await { unit } => {
                let at = choices.of(Label::Connect, &[NEVER, 0, MS, 300 * MS, 5000 * MS]);
                self.later(at, Event::Connection { unit });
            }
            Action::Reply { .. } | Action::Record(_) | Action::Exit { .. } => (),
            Action::Probe { process, kind, .. } => self.probe(choices, process, kind),
            Action::FindMain { unit } => self.find_main(choices, &unit),
            Action::Unlisten { .. }
            | Action::Resume { .. }
            | Action::Steer { .. }
            | Action::Rename { .. } => (),
        }
    }

    /// An answer after a while, or never.
    fn later(&mut self, delay: u64, event: Event) {
        if delay < NEVER {
            self.pending.push((self.now + delay, event));
        }
    }

    fn check(&mut self, choices: &mut Choices, unit: &crate::unit::Unit) {
        let refused = choices.rare(Label::Check, 3);
        let outcome = if refused && !unit.conditions.is_empty() {
            CheckOutcome::ConditionFailed { condition: String::from("ConditionPathExists=/x") }
        } else if refused && !unit.asserts.is_empty() {
            CheckOutcome::AssertFailed { assertion: String::from("AssertPathExists=/x") }
        } else {
            CheckOutcome::Met
        };
        let event = Event::Checked { unit: unit.name.clone(), outcome };
        match choices.of(Label::CheckDelay, &[0, 0, 0, MS, 400 * MS]) {
            0 => self.inbox.push_back(event),
            delay => self.pending.push((self.now + delay, event)),
        }
    }

    fn spawn(&mut self, choices: &mut Choices, plan: &Plan, request: &SpawnRequest) {
        let unit = plan.index(&request.unit.name);
        let process = request.process;
        let fate = self.fate(choices, plan, unit, request);
        let (exit_at, exit) = match fate {
            Fate::Temporary => {
                let message = String::from("fork: Resource temporarily unavailable");
                let error = SpawnError::Temporary { errno: 11, message };
                self.inbox.push_back(Event::SpawnFailed { process, error });
                return;
            }
            Fate::Permanent => {
                let error = SpawnError::Permanent(exec_error(ExecStage::User, 2));
                self.inbox.push_back(Event::SpawnFailed { process, error });
                return;
            }
            Fate::NoExec(stage, errno) => {
                return self.no_exec(choices, unit, request, stage, errno);
            }
            Fate::Lives => (NEVER, ExitStatus::Exited(0)),
            Fate::Ends(life, exit) => (self.now + life, exit),
        };
        self.inbox.push_back(Event::Spawned { process });
        let exec = choices.of(Label::ExecDelay, &[0, 0, 0, 0, MS, 60 * MS]);
        let exit_at = exit_at.saturating_add(exec);
        let exec_at = Some(self.now + exec);
        let one = self.process(choices, unit, request.role, exit_at, exit);
        let first =
            request.unit.service.kind == ServiceType::Forking && one.role == ProcessRole::ExecStart;
        self.processes.push(Process { id: Some(process), exec_at, first, ..one });
        if choices.rare(Label::Stray, 12) {
            let life = choices.of(Label::Life, &LIVES[1..]);
            let exit_at = if life == 0 { NEVER } else { self.now + life };
            let stray = self.process(choices, unit, request.role, exit_at, ExitStatus::Exited(0));
            self.processes.push(stray);
        }
    }

    fn no_exec(
        &mut self,
        choices: &mut Choices,
        unit: usize,
        request: &SpawnRequest,
        stage: ExecStage,
        errno: i32,
    ) {
        self.inbox.push_back(Event::Spawned { process: request.process });
        let exit_at = self.now + choices.of(Label::ExecDelay, &[0, 0, MS, 60 * MS]);
        let exit = ExitStatus::Exited(stage.exit_code());
        let one = self.process(choices, unit, request.role, exit_at, exit);
        let exec_error = Some(exec_error(stage, errno));
        self.processes.push(Process { id: Some(request.process), exec_error, ..one });
    }

    fn process(
        &self,
        choices: &mut Choices,
        unit: usize,
        role: ProcessRole,
        exit_at: u64,
        exit: ExitStatus,
    ) -> Process {
        use Reaction::{Dies, Exits, Ignores};
        let reactions = [Dies, Dies, Exits(0), Exits(0), Exits(143), Exits(3), Ignores, Ignores];
        Process {
            id: None,
            unit: Some(unit),
            role,
            killed: false,
            exec_at: None,
            exit_at,
            exit,
            exec_error: None,
            reaction: choices.of(Label::Reaction, &reactions),
            reaction_delay: choices
                .of(Label::ReactionDelay, &[0, 0, MS, 50 * MS, 400 * MS, 2000 * MS, 15_000 * MS]),
            kill_delay: choices
                .of(Label::KillDelay, &[0, 0, 0, 0, 0, 0, MS, 100 * MS, 700 * MS, 40_000 * MS]),
            first: false,
        }
    }

    /// A name that no process of the manager's making has.
    pub(super) fn new_id(&mut self) -> ProcessId {
        self.next_id += 1;
        ProcessId(self.next_id)
    }

    /// A process that one of the unit's made.
    pub(super) fn child(
        &mut self,
        choices: &mut Choices,
        unit: usize,
        id: Option<ProcessId>,
        exit_at: u64,
    ) {
        let role = ProcessRole::ExecStartPost; // until it is taken for the main process
        let one = self.process(choices, unit, role, exit_at, ExitStatus::Exited(0));
        self.processes.push(Process { id, ..one });
    }

    /// It will end by itself then, if not before.
    pub(super) fn dies_at(&mut self, id: ProcessId, at: u64) {
        for process in self.processes.iter_mut().filter(|one| one.id == Some(id)) {
            process.exit_at = process.exit_at.min(at);
        }
    }

    fn signal(&mut self, signal: Signal, mut to: impl FnMut(&Process) -> bool) {
        let now = self.now;
        for process in &mut self.processes {
            if process.exit_at > now && to(process) {
                process.take(signal, now);
            }
        }
    }

    /// Whether the unit has a process, or an answer about it is still to come.
    pub(super) fn is_awaited(&self, plan: &Plan, unit: usize) -> bool {
        let about = |event: &Event| match event {
            Event::Checked { unit: name, .. }
            | Event::Empty { unit: name }
            | Event::FoundMain { unit: name, .. } => plan.index(name) == unit,
            Event::Spawned { .. } | Event::SpawnFailed { .. } => true,
            Event::Execed { .. } | Event::Exited { .. } | Event::NothingLeft => false,
            Event::Boot | Event::Request { .. } | Event::Loaded { .. } => false,
            Event::Signal(_) | Event::Timer => false,
            Event::Notified { .. }
            | Event::SaidReady { .. }
            | Event::Matched { .. }
            | Event::Probed { .. }
            | Event::Listening { .. }
            | Event::Connection { .. }
            | Event::Accepted { .. }
            | Event::Quiet { .. }
            | Event::OomKill { .. }
            | Event::MemoryHigh { .. } => false,
        };
        self.lives(unit)
            || self.watches.contains(&unit)
            || self.inbox.iter().any(about)
            || self.pending.iter().any(|(_, event)| about(event))
    }

    /// Whether the unit has a process.
    pub(super) fn lives(&self, unit: usize) -> bool {
        self.processes.iter().any(|process| process.unit == Some(unit))
    }

    /// How many main processes the unit has that are younger than the process `given_up`.
    pub(super) fn mains(&self, unit: usize, given_up: u64) -> usize {
        let of = |one: &&Process| one.unit == Some(unit) && one.role == ProcessRole::ExecStart;
        let young = |one: &&Process| one.id.is_some_and(|id| id.0 > given_up && id.0 < ADOPTED);
        self.processes.iter().filter(of).filter(young).count()
    }
}

impl Process {
    /// It has not ended; else its Exited is only still to be told.
    pub(super) fn is_alive(&self, now: u64) -> bool {
        self.exit_at > now
    }

    fn take(&mut self, signal: Signal, now: u64) {
        let killed = |signal| ExitStatus::Killed { signal, core_dumped: signal == Signal::ABRT };
        let (delay, exit) = match (signal, self.reaction) {
            (Signal::KILL, _) => {
                self.killed = true;
                (self.kill_delay, killed(signal))
            }
            (Signal::CONT | Signal::HUP | Signal::WINCH | Signal::USR1 | Signal::USR2, _) => return,
            (_, Reaction::Ignores) => return,
            (_, Reaction::Dies) => (self.reaction_delay / 4, killed(signal)),
            (_, Reaction::Exits(code)) => (self.reaction_delay, ExitStatus::Exited(code)),
        };
        if now + delay < self.exit_at {
            self.exit_at = now + delay;
            self.exit = exit;
            self.exec_error = None;
        }
    }
}

/// What becomes of a Spawn.
enum Fate {
    Lives,
    Ends(u64, ExitStatus),
    NoExec(ExecStage, i32),
    Temporary,
    Permanent,
}

impl World {
    fn fate(
        &self,
        choices: &mut Choices,
        plan: &Plan,
        unit: usize,
        request: &SpawnRequest,
    ) -> Fate {
        let main = request.role == ProcessRole::ExecStart;
        let kind = request.unit.service.kind;
        let lasting = main && !matches!(kind, ServiceType::Oneshot | ServiceType::Forking);
        let well = if lasting { Fate::Lives } else { Fate::Ends(20 * MS, ExitStatus::Exited(0)) };
        let drawn = match plan.tempers[unit] {
            Temper::Sound => choices.pick(Label::Fate, 40).saturating_sub(24),
            Temper::Moody => choices.pick(Label::Fate, 16),
            Temper::Crashing if main => 4 + choices.pick(Label::Fate, 9),
            Temper::Crashing => choices.pick(Label::Fate, 40).saturating_sub(24),
            Temper::Starved if choices.rare(Label::Fate, 2) => 14,
            Temper::Starved => 0,
        };
        let life = |choices: &mut Choices| choices.of(Label::Life, &LIVES);
        match drawn {
            0..=3 => well,
            4..=7 => {
                let code = choices.of(Label::Code, &[1, 1, 3, 70, 143, 255]);
                Fate::Ends(life(choices), ExitStatus::Exited(code))
            }
            8..=10 => Fate::Ends(life(choices), ExitStatus::Exited(0)),
            11 | 12 => {
                let signal = choices.of(Label::Code, &[Signal::SEGV, Signal::TERM, Signal::KILL]);
                let core_dumped = signal == Signal::SEGV && choices.rare(Label::Code, 2);
                Fate::Ends(life(choices), ExitStatus::Killed { signal, core_dumped })
            }
            13 => {
                let stages = ExecStage::ALL.len();
                let stage = ExecStage::ALL[stages - 1 - choices.pick(Label::Stage, stages)];
                Fate::NoExec(stage, choices.of(Label::Stage, &[2, 13]))
            }
            14 => Fate::Temporary,
            _ if choices.rare(Label::Fate, 2) => Fate::Permanent,
            _ if lasting => Fate::Ends(life(choices), ExitStatus::Exited(1)),
            _ => Fate::Lives,
        }
    }
}

fn exec_error(stage: ExecStage, errno: i32) -> ExecError {
    ExecError { stage, errno, message: format!("{stage:?} x: error {errno}") }
}
