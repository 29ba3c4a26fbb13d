//! One run: a manager, a world, and the rules, from the boot to the exit.
//!
//! First a storm, in which clients, signals and confused shells come at any instant; then calm,
//! in which a stop signal ends it. **Invariant:** what a run does depends on its choices alone.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, UnwindSafe};
use std::sync::Once;

use super::choices::{Choices, Label, Script};
use super::invariants::Checker;
use super::planted::{Bug, Planted};
use super::rules::{Broken, Rule};
use super::starting::nanos;
use super::units::{self, Plan};
use super::world::World;
use crate::manager::Manager;
use crate::manager::event::{Action, ClientId, Event, Fact, JobKind, Request};
use crate::unit::UnitName;
use crate::unit::process::Signal;

/// A name that no unit has.
pub(super) const UNKNOWN: &str = "zz.service";
/// No run has more events than this.
const MOST_EVENTS: u32 = 5000;

/// What came of a run.
pub(super) struct Outcome {
    pub(super) broken: Option<Broken>,
    /// A fingerprint of every event and action.
    pub(super) hash: u64,
    /// How many events there were.
    pub(super) events: u32,
    pub(super) script: Script,
    /// The units, the events and the actions in words, if they were asked for.
    pub(super) trace: Vec<String>,
}

struct Run<'a> {
    plan: &'a Plan,
    choices: &'a mut Choices,
    manager: Manager,
    world: World,
    checker: Checker<'a>,
    planted: Planted,
    storm: usize,
    last_call: bool,
    clients: u64,
    events: u32,
    hash: u64,
    performed: Vec<Action>,
    trace: Option<Vec<String>>,
}

/// Runs what the choices say, with a planted bug or without.
pub(super) fn run(choices: &mut Choices, bug: Option<Bug>, trace: bool) -> Outcome {
    let plan = units::draw(choices);
    let planted = Planted::new(bug);
    let (set, config) = planted.distort(&plan);
    let storm = choices.of(Label::Storm, &[40, 15, 60, 100]);
    let mut run = Run {
        plan: &plan,
        choices,
        manager: Manager::new(set, config),
        world: World::new(&plan),
        checker: Checker::new(&plan),
        planted,
        storm,
        last_call: false,
        clients: 0,
        events: 0,
        hash: 0xcbf2_9ce4_8422_2325,
        performed: Vec::new(),
        trace: trace.then(|| describe(&plan)),
    };
    run.deliver(Event::Boot, false);
    while run.checker.broken.is_none() && run.checker.stop.exited.is_none() && run.turn() {}
    if run.checker.broken.is_none() {
        run.after_the_end();
    }
    let Run { checker, hash, events, trace, .. } = run;
    let broken = checker.broken;
    let script =
        if broken.is_some() || trace.is_some() { choices.script() } else { Script::default() };
    Outcome { broken, hash, events, script, trace: trace.unwrap_or_default() }
}

impl Run<'_> {
    /// One event; false when there is none any more.
    fn turn(&mut self) -> bool {
        if self.events > MOST_EVENTS {
            let at = self.world.now;
            self.checker.broken(Rule::Livelock, |_| format!("{MOST_EVENTS} events by {at} ns"));
            return false;
        }
        if let Some(event) = self.world.answer() {
            self.deliver(event, false);
            return true;
        }
        if self.storm > 0 {
            self.storm -= 1;
            if self.inject() {
                return true;
            }
        } else if !self.last_call {
            return self.call_it_a_day();
        }
        self.natural()
    }

    fn deadline(&self) -> Option<u64> {
        self.planted.deadline(self.manager.next_deadline()).map(|at| nanos(at.since_start()))
    }

    /// What happens by itself: a process, an answer, or a deadline.
    fn natural(&mut self) -> bool {
        let (next, deadline) = (self.world.next_time(), self.deadline());
        let Some(at) = next.into_iter().chain(deadline).min() else {
            if self.checker.stop.begun.is_none() {
                self.checker.quiet(&self.world);
                self.storm = 0;
            }
            return !self.last_call && self.call_it_a_day();
        };
        self.world.advance(at);
        let now = self.world.now;
        let timer = deadline.is_some_and(|at| at <= now);
        let ready = next.is_some_and(|at| at <= now);
        if timer && (!ready || self.choices.pick(Label::Order, 2) == 0) {
            self.deliver(Event::Timer, false);
        } else if let Some(event) = self.world.happen(self.choices) {
            self.deliver(event, false);
        }
        true
    }

    /// The signal that ends a run that did not end by itself.
    fn call_it_a_day(&mut self) -> bool {
        self.last_call = true;
        if self.checker.stop.begun.is_none() {
            self.world.advance(0);
            self.deliver(Event::Signal(Signal::TERM), false);
        }
        true
    }

    /// Perhaps something that nobody expects just now.
    fn inject(&mut self) -> bool {
        let not_due = self.deadline().is_none_or(|at| at > self.world.now);
        match self.choices.pick(Label::Step, 32) {
            28 if not_due => self.deliver(Event::Timer, true),
            29 if not_due => match self.world.stale(self.choices) {
                Some(event) => self.deliver(event, true),
                None => return false,
            },
            30 => self.request(),
            31 => self.signal(),
            _ => return false,
        }
        true
    }

    fn request(&mut self) {
        self.world.advance(0);
        self.clients += 1;
        let client = ClientId(self.clients);
        let drawn = self.choices.pick(Label::RequestUnit, 24);
        let unit = match self.plan.units.get(drawn % self.plan.units.len()) {
            Some(unit) if drawn < 23 => unit.name.clone(),
            _ => UnitName::parse(UNKNOWN).unwrap(),
        };
        use JobKind::{Reload, Restart, Start, Stop};
        let kinds = [Start, Start, Start, Stop, Stop, Stop, Restart, Restart, Reload];
        let request = match self.choices.pick(Label::Request, kinds.len() + 4) {
            9 | 10 if drawn < 23 => Request::ResetFailed { unit: Some(unit) },
            12 => Request::Shutdown,
            kind => Request::Job { kind: kinds[kind % kinds.len()], unit },
        };
        self.deliver(Event::Request { client, request }, false);
    }

    fn signal(&mut self) {
        let hurry = self.checker.stop.begun.is_some() && self.choices.rare(Label::Signal, 2);
        let later = if hurry { 300_000_000 } else { 0 };
        let next = self.world.next_time().into_iter().chain(self.deadline()).min();
        let at = self.world.now + later;
        self.world.advance(next.map_or(at, |next| at.min(next)));
        let signals = [
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::USR1,
            Signal::USR2,
            Signal::WINCH,
            Signal::RTMIN_3,
            Signal::CHLD,
        ];
        let signal = self.choices.of(Label::Signal, &signals);
        self.deliver(Event::Signal(signal), false);
    }

    fn deliver(&mut self, event: Event, stale: bool) {
        self.events += 1;
        self.hash = mix(self.hash, self.world.now);
        self.say(|now| format!("{now} <- {}", hear(&event)));
        self.checker.event(self.world.now, &event, stale);
        let timer = event == Event::Timer;
        if let Some(event) = self.planted.event(event) {
            let now = self.world.timestamp();
            let manager = AssertUnwindSafe(&mut self.manager);
            if let Err(panic) = quietly(|| { manager }.handle(now, event)) {
                self.checker.broken(Rule::Panics, |_| panic);
                return;
            }
        }
        let mut performed = std::mem::take(&mut self.performed);
        while let Some(action) = self.manager.poll_action() {
            self.planted.action(action, &mut performed);
            for action in performed.drain(..) {
                self.perform(action);
            }
        }
        self.performed = performed;
        let deadline = self.deadline();
        self.checker.settled(&self.world, deadline, timer && !stale);
    }

    fn perform(&mut self, action: Action) {
        self.hash = mix(self.hash, fingerprint(self.plan, &action));
        self.say(|_| format!("        -> {}", tell(&action)));
        self.checker.action(&action, &self.world);
        if let Some(event) = self.planted.answer(&action) {
            self.world.answer_now(event);
        } else {
            self.world.perform(self.choices, self.plan, action);
        }
    }

    fn after_the_end(&mut self) {
        self.checker.over();
        if self.checker.stop.exited.is_some() {
            for event in [Event::Timer, Event::Signal(Signal::TERM), Event::NothingLeft] {
                self.world.advance(0);
                self.deliver(event, false);
            }
        }
    }

    fn say(&mut self, line: impl FnOnce(crate::manager::time::Timestamp) -> String) {
        let now = self.world.timestamp();
        if let Some(trace) = &mut self.trace {
            trace.push(line(now));
        }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does it; what a panic says is the error, and is not printed.
fn quietly(act: impl FnOnce() + UnwindSafe) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let done = panic::catch_unwind(act);
    QUIET.set(false);
    done.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string()));
        text.unwrap_or_default()
    })
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}

/// A number for an action; two that differ in a way that matters rarely have the same.
fn fingerprint(plan: &Plan, action: &Action) -> u64 {
    let unit = |name: &UnitName| plan.index(name) as u64;
    let (kind, a, b) = match action {
        Action::Check { unit: one } => (1, unit(&one.name), 0),
        Action::Spawn(request) => {
            let role = request.role as u64 * 8 + request.index as u64;
            (2, request.process.0, role ^ request.invocation.0 as u64)
        }
        Action::KillProcess { process, signal } => (3, process.0, signal.number() as u64),
        Action::Forward { process, signal } => (4, process.0, signal.number() as u64),
        Action::KillUnit { unit: one, signal } => {
            let signal = signal.map_or(0, |signal| signal.number() as u64);
            (5, unit(one), signal)
        }
        Action::Release { unit: one } => (6, unit(one), 0),
        Action::KillEverything { signal } => (7, signal.number() as u64, 0),
        Action::Reply { client, .. } => (8, client.0, 0),
        Action::Record(Fact::State { unit: one, from, to, result, .. }) => {
            (9, unit(one), *from as u64 * 1024 + *to as u64 * 32 + *result as u64)
        }
        Action::Record(Fact::RestartScheduled { unit: one, delay, .. }) => {
            (10, unit(one), nanos(*delay))
        }
        Action::Record(Fact::Job { unit: one, kind, result, .. }) => {
            (11, unit(one), *kind as u64 * 16 + *result as u64)
        }
        Action::Record(_) => (12, 0, 0),
        Action::Exit { code } => (13, u64::from(*code), 0),
        Action::Load => (14, 0, 0),
        Action::Probe { .. }
        | Action::FindMain { .. }
        | Action::Listen { .. }
        | Action::Unlisten { .. }
        | Action::Await { .. }
        | Action::Quiesce { .. }
        | Action::Resume { .. }
        | Action::Steer { .. }
        | Action::Rename { .. } => (15, 0, 0),
    };
    mix(mix(kind, a), b)
}

/// An event in one line.
fn hear(event: &Event) -> String {
    match event {
        Event::Loaded { units: Some(set) } => {
            let names: Vec<&str> = set.units.keys().map(UnitName::as_str).collect();
            format!("Loaded {}", names.join(" "))
        }
        _ => format!("{event:?}"),
    }
}

/// An action in one line.
fn tell(action: &Action) -> String {
    match action {
        Action::Check { unit } => format!("Check {}", unit.name),
        Action::Spawn(request) => {
            let (process, unit, role) = (request.process.0, &request.unit.name, request.role);
            format!("Spawn {process}: {unit} {role:?} {}", request.index)
        }
        Action::Probe { process, unit, kind } => {
            format!("Probe {}: {} {kind:?}", process.0, unit.name)
        }
        Action::FindMain { unit } => format!("FindMain {}", unit.name),
        Action::Listen { unit, instances } => format!("Listen {} for {instances}", unit.name),
        Action::Record(fact) => {
            let text = format!("{fact:?}");
            match (text.find("invocation: InvocationId("), text.find("), ")) {
                (Some(at), Some(end)) if at < end => [&text[..at], &text[end + 3..]].concat(),
                _ => text,
            }
        }
        Action::KillProcess { .. }
        | Action::Forward { .. }
        | Action::KillUnit { .. }
        | Action::Release { .. }
        | Action::KillEverything { .. }
        | Action::Reply { .. }
        | Action::Load
        | Action::Unlisten { .. }
        | Action::Await { .. }
        | Action::Quiesce { .. }
        | Action::Resume { .. }
        | Action::Steer { .. }
        | Action::Rename { .. }
        | Action::Exit { .. } => format!("{action:?}"),
    }
}

/// What differs from the defaults, a line a unit, as `{:#?}` has it.
fn describe(plan: &Plan) -> Vec<String> {
    let mut lines = vec![format!("{:?}", plan.config)];
    for (unit, temper) in plan.units.iter().zip(&plan.tempers) {
        let plain = format!("{:#?}", crate::unit::Unit::new(unit.name.clone()));
        let text = format!("{unit:#?}");
        let known: std::collections::BTreeSet<&str> = plain.lines().collect();
        let differs: Vec<&str> =
            text.lines().filter(|line| !known.contains(line)).map(str::trim).collect();
        let mut line = format!("{} ({temper:?}): {}", unit.name, differs.join(" "));
        let plain_command = "ExecCommand { program: \"x\", argv0: None, arguments: [], ";
        let plain_prefixes = "no_expansion: false, full_privileges: false, no_setuid: false, ";
        for noise in [plain_command, plain_prefixes, "Dependency { name: ", "span: None, }, "] {
            line = line.replace(noise, "");
        }
        lines.push(line);
    }
    lines
}
