//! One run: a storm of requests and ends, a calm in which everything must settle, and the stop.

use super::super::choices::{Choices, Label, Script};
use super::super::starting::nanos;
use super::checker::{Broken, Checker, Rule};
use super::draw::{self, Plan, name};
use super::planted::{Bug, Planted};
use super::world::{MS, World};
use crate::manager::Manager;
use crate::manager::event::{ClientId, Event, JobKind, Request};
use crate::manager::time::Timestamp;
use crate::unit::process::Signal;

const MOST_EVENTS: u32 = 6000;

pub(super) struct Outcome {
    pub(super) broken: Option<Broken>,
    pub(super) events: u32,
    pub(super) script: Script,
    pub(super) trace: Vec<String>,
}

struct Run<'a> {
    plan: &'a Plan,
    choices: &'a mut Choices,
    manager: Manager,
    world: World,
    checker: Checker<'a>,
    planted: Planted,
    clients: u64,
    events: u32,
    trace: Option<Vec<String>>,
}

pub(super) fn run(choices: &mut Choices, bug: Option<Bug>, trace: bool) -> Outcome {
    let plan = draw::draw(choices);
    let storm = choices.of(Label::Storm, &[80, 30, 200]);
    let planted = Planted::new(bug);
    let set = planted.distort(plan.set(0));
    let mut run = Run {
        plan: &plan,
        manager: Manager::new(set, plan.config.clone()),
        world: World::new(),
        checker: Checker::new(&plan),
        planted,
        choices,
        clients: 0,
        events: 0,
        trace: trace.then(|| vec![format!("{plan:#?}")]),
    };
    run.deliver(Event::Boot);
    run.storm(storm);
    run.calm();
    run.stop();
    let Run { checker, events, trace, .. } = run;
    let broken = checker.broken;
    Outcome { broken, events, script: choices.script(), trace: trace.unwrap_or_default() }
}

impl Run<'_> {
    fn goes_on(&self) -> bool {
        self.checker.broken.is_none() && !self.checker.exited
    }

    fn storm(&mut self, storm: usize) {
        for _ in 0..storm {
            if !self.goes_on() {
                return;
            }
            if let Some(event) = self.world.answer() {
                self.deliver(event);
                continue;
            }
            match self.choices.pick(Label::Step, 16) {
                13 => {
                    self.world.advance(0);
                    self.world.crash(self.choices);
                }
                14 | 15 => self.wish(),
                _ => {
                    if !self.natural(u64::MAX) {
                        self.wish();
                    }
                }
            }
        }
    }

    /// Nothing fails any more: in a quarter of an hour everything has settled.
    fn calm(&mut self) {
        self.world.calm = true;
        // A roll waits for each instance that ignores its signal: at most seven, 90 s each.
        let until = self.world.now + 900_000 * MS;
        while self.goes_on() && self.natural(until) {}
        if self.goes_on() {
            let cut = self.events > MOST_EVENTS;
            self.checker.calm(if cut { self.world.now } else { until });
        }
    }

    fn stop(&mut self) {
        if self.goes_on() {
            self.world.advance(0);
            self.deliver(Event::Signal(Signal::TERM));
        }
        for _ in 0..self.choices.of(Label::Signal, &[0, 0, 0, 1, 2]) {
            let wait = self.choices.of(Label::NoticeDelay, &[300, 100, 700, 2500]);
            let until = self.world.now + wait * MS;
            while self.goes_on() && self.natural(until) {}
            if self.goes_on() {
                self.world.advance(until);
                self.deliver(Event::Signal(Signal::TERM));
            }
        }
        let until = self.world.now + 60_000 * MS;
        while self.goes_on() && self.natural(until) {}
        if self.checker.broken.is_none() && !self.checker.exited {
            self.checker.broken(Rule::Stop, "the stop does not end");
        }
    }

    /// What happens by itself, before `until`; false if nothing does.
    fn natural(&mut self, until: u64) -> bool {
        if self.events > MOST_EVENTS {
            if self.plan.web.service.runtime_max.is_none() {
                self.checker.broken(Rule::Livelock, "too many events");
            }
            return false;
        }
        if let Some(event) = self.world.answer() {
            self.deliver(event);
            return true;
        }
        let deadline = self.manager.next_deadline().map(|at| nanos(at.since_start()));
        let next = self.world.next_time();
        let Some(at) = next.into_iter().chain(deadline).min().filter(|at| *at <= until) else {
            return false;
        };
        self.world.advance(at);
        let now = self.world.now;
        let timer = deadline.is_some_and(|at| at <= now);
        let ready = next.is_some_and(|at| at <= now);
        if timer && (!ready || self.choices.pick(Label::Order, 2) == 0) {
            self.deliver(Event::Timer);
        } else if let Some(event) = self.world.happen() {
            self.deliver(event);
        }
        true
    }

    /// A client, or a signal.
    fn wish(&mut self) {
        use JobKind::{Reload, Restart, Start, Stop};
        self.world.advance(0);
        self.clients += 1;
        let client = ClientId(self.clients);
        let web = name("web");
        let unit = match self.choices.pick(Label::WishUnit, 10) {
            0..=6 => web.clone(),
            7 => name("db"),
            number => web.numbered(number as u32 - 7),
        };
        let job = |kind| Request::Job { kind, unit: unit.clone() };
        let request = match self.choices.pick(Label::Wish, 24) {
            0..=5 => job(Restart),
            6 | 7 => job(Reload),
            8 => job(Stop),
            9..=11 => job(Start),
            12..=15 => {
                let count = self.choices.of(Label::WishCount, &[2, 3, 1, 0, 5]);
                Request::Scale { unit: web, count }
            }
            16..=19 => {
                let version = self.choices.pick(Label::Version, 2) as u8;
                let units = self.planted.distort(self.plan.set(version));
                Request::Apply { units, dry_run: false }
            }
            20 => {
                let version = self.choices.pick(Label::Version, 2) as u8;
                Request::Load { units: self.planted.distort(self.plan.set(version)) }
            }
            21 => Request::ResetFailed { unit: Some(unit) },
            22 => {
                self.deliver(Event::Signal(Signal::HUP));
                return;
            }
            _ if self.choices.rare(Label::Signal, 6) => {
                self.deliver(Event::Signal(Signal::TERM));
                return;
            }
            _ if self.choices.rare(Label::Wish, 6) => Request::Shutdown,
            _ => job(Restart),
        };
        self.deliver(Event::Request { client, request });
    }

    fn deliver(&mut self, event: Event) {
        self.events += 1;
        if let Some(trace) = &mut self.trace {
            let text = match &event {
                Event::Request { client, request: Request::Apply { .. } } => {
                    format!("{client:?} applies")
                }
                Event::Loaded { .. } => String::from("Loaded"),
                event => format!("{event:?}"),
            };
            trace.push(format!("{} <- {text}", self.world.now as f64 / 1e9));
        }
        self.checker.event(self.world.now, &event);
        let now = Timestamp::from_start(std::time::Duration::from_nanos(self.world.now));
        self.manager.handle(now, event);
        while let Some(action) = self.manager.poll_action() {
            for action in self.planted.action(action) {
                if let Some(trace) = &mut self.trace {
                    trace.push(format!("        -> {}", super::tell(&action)));
                }
                self.checker.action(&action, &self.world);
                self.world.perform(self.choices, self.plan, action);
            }
        }
        self.checker.settled(&self.world);
    }
}
