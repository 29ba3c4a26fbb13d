//! The rules of instances and rolls, seen from outside: facts, actions and the kernel.
//!
//! None of the manager's code is called here. **Invariant:** a rule names what it demands.

use std::collections::{BTreeMap, BTreeSet};

use super::super::starting::nanos;
use super::draw::{Plan, name};
use super::seen::Seen;
use super::world::{MS, World};
use crate::manager::event::{
    Action, ClientId, Event, Fact, JobKind, JobResult, ProcessId, ProcessRole, Reply, Request,
    RollEvent, SpawnRequest, StopCause,
};
use crate::manager::state::{ActiveState, SubState};
use crate::unit::UnitName;
use crate::unit::process::Signal;
use crate::unit::rolling::RollingFailure;
use crate::unit::service::Restart;

/// One demand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rule {
    /// The manager does not go on for ever.
    Livelock,
    /// A change of state begins where the one before it ended.
    StateChain,
    /// A record has one main process at most.
    OneMain,
    /// A number has one record that comes or serves, and one more only in a roll that brings up
    /// its replacement.
    OnePlace,
    /// No more than Parallelism= are being replaced at a time.
    Parallel,
    /// A roll takes nobody away, start-first; stop-first at most Parallelism=.
    Floor,
    /// Without a roll, a request or an end of its own no instance is stopped.
    StopsOnlyInRoll,
    /// With `pause` no further instance is replaced after a failure.
    Halts,
    /// A replacement is told only when it was up for MonitorSec=.
    Monitored,
    /// A roll begins once and ends once, and who asked for it is told after that, and the truth.
    OneEnd,
    /// A request is answered exactly once…
    OneReply,
    /// …and is answered.
    Forgotten,
    /// Nothing starts before what its service is After, and that does not stop before.
    Order,
    /// The instances that get connections are those that serve, and the shell is told only news.
    Steer,
    /// Who is stopped got no new connection any more.
    SteeredAway,
    /// Queues are emptied once in a stop, and the signals wait for that.
    Quiesce,
    /// An exhausted instance is tried again only after RestartMaxDelaySec=.
    Exhausted,
    /// The service's state is what its instances make it.
    Whole,
    /// When nothing fails any more, every instance serves and no roll is left.
    Settles,
    /// Nothing starts once the stop has begun, and rinit exits in time.
    Stop,
}

#[derive(Debug)]
#[allow(dead_code)] // it is printed
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) seen: String,
}

pub(super) struct Checker<'a> {
    plan: &'a Plan,
    now: u64,
    seen: BTreeMap<UnitName, Seen>,
    owners: BTreeMap<ProcessId, UnitName>,
    about: Option<UnitName>,
    wanted: u32,
    /// A roll is under way; `Some(true)`: it recycles one instance.
    roll: Option<bool>,
    halted: bool,
    /// Clients' jobs on single instances, and stops of the whole, that are under way.
    jobs: BTreeMap<ClientId, (JobKind, UnitName)>,
    asked: BTreeMap<ClientId, bool>,
    asked_at: u64,
    /// The service was restarted while what it needs was down: a restart pulls in nothing.
    alone: bool,
    /// Who is being replaced.
    touched: BTreeSet<u32>,
    /// In this event a roll failed.
    failed: bool,
    hurried: bool,
    quiesced: BTreeMap<UnitName, Option<u64>>,
    listening: bool,
    drains: bool,
    steered: Option<BTreeSet<u32>>,
    stop_begun: Option<u64>,
    deadline: Option<u64>,
    pub(super) exited: bool,
    pub(super) broken: Option<Broken>,
    actions: usize,
}

fn number(unit: &UnitName) -> Option<u32> {
    unit.instance()?.parse().ok()
}

impl<'a> Checker<'a> {
    pub(super) fn new(plan: &'a Plan) -> Checker<'a> {
        Checker {
            plan,
            now: 0,
            seen: BTreeMap::new(),
            owners: BTreeMap::new(),
            about: None,
            wanted: plan.count(),
            roll: None,
            halted: false,
            jobs: BTreeMap::new(),
            asked: BTreeMap::new(),
            asked_at: 0,
            alone: false,
            touched: BTreeSet::new(),
            failed: false,
            hurried: false,
            quiesced: BTreeMap::new(),
            listening: false,
            drains: false,
            steered: None,
            stop_begun: None,
            deadline: None,
            exited: false,
            broken: None,
            actions: 0,
        }
    }

    pub(super) fn broken(&mut self, rule: Rule, seen: impl Into<String>) {
        if self.broken.is_none() {
            self.broken = Some(Broken { rule, seen: seen.into() });
        }
    }

    fn of(&self, unit: &UnitName) -> Seen {
        self.seen.get(unit).cloned().unwrap_or_default()
    }

    pub(super) fn event(&mut self, now: u64, event: &Event) {
        self.now = now;
        self.actions = 0;
        self.failed = false;
        self.about = match event {
            Event::Exited { process, .. }
            | Event::SpawnFailed { process, .. }
            | Event::Spawned { process }
            | Event::Execed { process } => self.owners.get(process).cloned(),
            Event::Empty { unit } => Some(unit.clone()),
            _ => None,
        };
        match event {
            Event::Request { client, request } => self.request(*client, request),
            Event::Signal(Signal::TERM) => self.limit(now),
            Event::Signal(_) => self.asked_at = now,
            Event::Loaded { .. } => self.restarts(),
            Event::Quiet { unit } => {
                self.quiesced.entry(unit.clone()).and_modify(|until| *until = None);
            }
            _ => (),
        }
    }

    fn restarts(&mut self) {
        // A restart waits for what its service needs only if that is coming by itself.
        let stops =
            self.jobs.values().any(|(kind, unit)| *unit == name("db") && *kind == JobKind::Stop);
        self.alone |= stops || !self.of(&name("db")).is_up();
        self.seen.values_mut().for_each(|seen| seen.not_before = 0);
    }

    fn limit(&mut self, now: u64) {
        let at = now + nanos(self.plan.config.shutdown_timeout);
        self.deadline = Some(self.deadline.map_or(at, |before| before.min(at)));
    }

    fn request(&mut self, client: ClientId, request: &Request) {
        self.asked.insert(client, false);
        self.asked_at = self.now;
        match request {
            Request::Job { kind, unit } => {
                if let Some(number) = number(unit) {
                    let name = name("web").numbered(number);
                    let seen = self.seen.entry(name).or_default();
                    seen.own = true;
                    seen.done = match kind {
                        JobKind::Stop => true,
                        JobKind::Start | JobKind::Restart => false,
                        JobKind::Reload => seen.done,
                    };
                    self.touched.remove(&number);
                }
                self.restarts();
                self.jobs.insert(client, (*kind, unit.clone()));
            }
            Request::Apply { .. } | Request::Load { .. } | Request::Scale { .. } => self.restarts(),
            Request::Shutdown => self.limit(self.now),
            _ => (),
        }
    }

    pub(super) fn action(&mut self, action: &Action, world: &World) {
        self.actions += 1;
        if self.exited {
            self.broken(Rule::Stop, format!("after the exit: {action:?}"));
        }
        match action {
            Action::Spawn(request) => self.spawn(request, world),
            Action::Rename { from, to } => {
                if let Some(seen) = self.seen.remove(from) {
                    self.seen.insert(to.clone(), seen);
                }
                let owners = self.owners.values_mut().filter(|unit| **unit == *from);
                owners.for_each(|unit| *unit = to.clone());
                if self.about.as_ref() == Some(from) {
                    self.about = Some(to.clone());
                }
                if let Some(until) = self.quiesced.remove(from) {
                    self.quiesced.insert(to.clone(), until);
                }
            }
            Action::Quiesce { unit } => {
                let most = if self.plan.steers() || number(unit).is_none() { 500 } else { 2000 };
                let until = Some(self.now + most * MS);
                if self.quiesced.insert(unit.clone(), until).is_some() {
                    self.broken(Rule::Quiesce, format!("{unit} once more"));
                }
            }
            Action::Listen { unit, .. } if unit.name == name("web") => {
                self.quiesced.remove(&unit.name);
                self.listening = true;
            }
            Action::Unlisten { .. } => {
                self.steered = None;
                self.listening = false;
            }
            Action::KillUnit { unit, signal: Some(Signal::TERM) } => self.told(unit, world),
            Action::Steer { ready, .. } => self.steer(ready),
            Action::Reply { client, reply } => self.reply(*client, reply),
            Action::Record(fact) => self.fact(fact),
            Action::Exit { .. } => {
                self.exited = true;
                if world.processes.iter().any(|one| !one.killed) {
                    self.broken(Rule::Stop, "a process lives at the exit");
                }
            }
            _ => (),
        }
    }

    /// The first signal of a stop.
    fn told(&mut self, unit: &UnitName, world: &World) {
        let now = self.now;
        // Its queue is empty, it ended by itself, or a client wants this one down meanwhile.
        let answered = self.quiesced.get(unit) == Some(&None);
        let asked =
            self.jobs.values().any(|(_, on)| number(on).is_some_and(|it| Some(it) == number(unit)));
        let extra = number(unit).is_some_and(|it| it > self.wanted);
        // Who was never up accepts nobody.
        let idle = !self.of(unit).ran || world.mains(unit) == 0;
        if number(unit).is_none() || answered || asked || extra || idle {
            return;
        }
        let pending = |it: &UnitName| {
            self.quiesced.get(it).copied().flatten().is_some_and(|until| now < until)
        };
        if !self.hurried && self.deadline.is_none() && (pending(unit) || pending(&name("web"))) {
            self.broken(Rule::Quiesce, format!("{unit} is not waited for"));
        }
    }

    fn spawn(&mut self, request: &SpawnRequest, world: &World) {
        let unit = request.unit.name.clone();
        self.owners.insert(request.process, unit.clone());
        if request.role != ProcessRole::ExecStart {
            return;
        }
        if number(&unit).is_some() && !self.of(&name("db")).is_up() && !self.alone {
            self.broken(Rule::Order, format!("{unit} starts without db"));
        }
        let drain = if self.drains { nanos(self.plan.config.drain) } else { 0 };
        if self.stop_begun.is_some_and(|begun| self.now > begun + drain + 2 * MS) {
            self.broken(Rule::Stop, format!("{unit} starts in the stop"));
        }
        let rolls = number(&unit).is_some_and(|number| self.touched.contains(&number));
        if self.now < self.of(&unit).not_before && !rolls {
            self.broken(Rule::Exhausted, format!("{unit} is tried again too early"));
        }
        if unit.mark() == Some("new") {
            self.touch(&unit);
        }
        if world.mains(&unit) > 0 {
            self.broken(Rule::OneMain, unit.to_string());
        }
    }

    /// Its replacement has begun.
    fn touch(&mut self, unit: &UnitName) {
        let Some(place) = number(unit) else { return };
        self.touched.insert(place);
        let most = match self.roll {
            Some(true) => 1,
            _ => self.plan.web.service.rolling_update.parallelism as usize,
        };
        if self.touched.len() > most {
            let touched = self.touched.clone();
            self.broken(Rule::Parallel, format!("{touched:?} are being replaced"));
        }
    }

    fn steer(&mut self, ready: &[u32]) {
        let ready: BTreeSet<u32> = ready.iter().copied().collect();
        if self.steered.as_ref() == Some(&ready) {
            self.broken(Rule::Steer, format!("{ready:?} is no news"));
        }
        for number in &ready {
            if !self.serves(*number) {
                self.broken(Rule::Steer, format!("{number} does not serve"));
            }
        }
        self.steered = Some(ready);
    }

    fn records(&self, place: u32) -> impl Iterator<Item = (&UnitName, &Seen)> {
        self.seen.iter().filter(move |(unit, _)| number(unit) == Some(place))
    }

    fn serves(&self, number: u32) -> bool {
        self.records(number).any(|(_, seen)| seen.serves())
    }

    fn reply(&mut self, client: ClientId, reply: &Reply) {
        let job = self.jobs.remove(&client);
        let rolled =
            job.is_some_and(|(kind, unit)| unit == name("web") && matches!(kind, JobKind::Restart));
        let done = matches!(reply, Reply::Job { result: JobResult::Done, .. });
        if rolled && done && (self.failed || self.roll == Some(false)) {
            self.broken(Rule::OneEnd, format!("{client:?} is told of success"));
        }
        match self.asked.insert(client, true) {
            Some(false) => (),
            Some(true) | None => self.broken(Rule::OneReply, format!("{client:?}: {reply:?}")),
        }
    }

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::State { unit, from, to, .. } => self.change(unit, *from, *to),
            Fact::Stopping { cause, .. } => {
                self.stop_begun = Some(self.now);
                self.drains = matches!(cause, StopCause::Signal(_) | StopCause::Client);
                self.limit(self.now);
            }
            Fact::Hurried { .. } | Fact::BudgetSpent { .. } => self.hurried = true,
            Fact::Scaled { to, .. } => {
                self.wanted = *to;
                for (unit, seen) in &mut self.seen {
                    if number(unit).is_some_and(|it| it > *to) {
                        seen.served = false;
                        seen.extra = true;
                    }
                }
                self.touched.retain(|number| number <= to);
            }
            Fact::Exhausted { unit, delay, .. } => {
                let at = self.now + nanos(*delay) * 9 / 10;
                self.seen.entry(unit.clone()).or_default().not_before = at;
            }
            // Nobody is there any more while its reload is under way.
            Fact::Exited { unit, role: ProcessRole::ExecStart, .. } => {
                let seen = self.seen.entry(unit.clone()).or_default();
                if seen.state() == SubState::Reload {
                    (seen.unhealthy, seen.own) = (true, true);
                }
            }
            Fact::TimedOut { unit, .. } => self.seen.entry(unit.clone()).or_default().own = true,
            Fact::Health { unit, healthy, .. } => {
                let seen = self.seen.entry(unit.clone()).or_default();
                seen.unhealthy = !healthy;
                seen.own |= !healthy;
                if *healthy && seen.is_up() {
                    seen.own = false;
                }
            }
            Fact::Roll { what, .. } => self.roll_event(what),
            _ => (),
        }
    }

    fn roll_event(&mut self, what: &RollEvent) {
        let begins = matches!(what, RollEvent::Begun | RollEvent::Recycles { .. });
        if begins == self.roll.is_some() {
            self.broken(Rule::OneEnd, format!("{what:?} with roll {:?}", self.roll));
        }
        match what {
            RollEvent::Begun | RollEvent::Recycles { .. } => {
                self.roll = Some(*what != RollEvent::Begun);
                self.halted = false;
                self.touched.clear();
                if *what != RollEvent::Begun {
                    self.forgive_missing(); // a roll before this one, interrupted, took them
                }
            }
            RollEvent::Replaced { instance } => {
                let monitor = nanos(self.plan.web.service.rolling_update.monitor);
                let seen = self.of(instance);
                let since = seen.up_since;
                if since.is_none_or(|since| self.now < since + monitor) || seen.unhealthy {
                    self.broken(Rule::Monitored, format!("{instance} is up since {since:?}"));
                }
                self.touched.retain(|it| Some(*it) != number(instance));
            }
            RollEvent::GoesOn { reason } => {
                if self.plan.web.service.rolling_update.failure_action != RollingFailure::Continue {
                    self.broken(Rule::Halts, format!("{what:?}"));
                }
                let failed = |it: &u32| reason.starts_with(name("web").numbered(*it).as_str());
                self.touched.retain(|it| !failed(it));
            }
            RollEvent::GoesBack { .. } => {
                if self.plan.web.service.rolling_update.failure_action != RollingFailure::Rollback {
                    self.broken(Rule::Halts, format!("{what:?}"));
                }
                self.touched.clear();
            }
            RollEvent::Halted { .. } => {
                self.failed = true;
                self.halted = true;
                self.end_roll();
            }
            RollEvent::WentBack => {
                self.failed = true;
                self.end_roll();
            }
            RollEvent::Interrupted | RollEvent::Ended => self.end_roll(),
        }
    }

    /// Who does not serve now is not missing because of what begins now.
    fn forgive_missing(&mut self) {
        for place in (1..=self.wanted).filter(|place| !self.serves(*place)).collect::<Vec<_>>() {
            self.seen.entry(name("web").numbered(place)).or_default().own = true;
        }
    }

    fn end_roll(&mut self) {
        self.roll = None;
        self.touched.clear();
    }

    fn change(&mut self, unit: &UnitName, from: SubState, to: SubState) {
        let before = self.of(unit);
        // One that is too many is forgotten once it is down, and begins anew.
        let forgotten = before.extra && before.is_down() && from == SubState::Dead;
        if before.state() != from && !forgotten {
            let was = before.state();
            self.broken(Rule::StateChain, format!("{unit}: {was}, then from {from}"));
        }
        let own = self.about.as_ref() == Some(unit);
        let wanted = self.wanted;
        let was_up = before.is_up();
        let now = self.now;
        let entry = self.seen.entry(unit.clone()).or_default();
        entry.state = Some(to);
        entry.since = now;
        entry.ran = was_up || entry.is_up() || entry.ran && !entry.is_down() && !entry.comes();
        if from == SubState::AutoRestart && to == SubState::Dead {
            entry.not_before = 0; // it waits no more: its turn in a roll is a start like a client's
        }
        entry.extra = unit.mark().is_some() || number(unit).is_some_and(|it| it > wanted);
        let is_up = entry.is_up();
        match (was_up, is_up) {
            (false, true) => {
                entry.up_since = Some(now);
                entry.own = false;
                entry.done = false;
                entry.served = true;
            }
            (true, false) => {
                entry.up_since = None;
                entry.unhealthy = false;
            }
            _ => (),
        }
        let fails = matches!(to, SubState::Failed | SubState::AutoRestart);
        let ended = own && (was_up || before.comes()) && !is_up && !entry.comes();
        if ended || fails {
            entry.own = true;
        }
        if *unit == name("web")
            && matches!(to, SubState::Condition | SubState::Dead | SubState::Failed)
        {
            self.seen.values_mut().for_each(|seen| seen.served = false);
        }
        if *unit == name("db") && is_up {
            self.alone = false;
        }
        if number(unit).is_some() && self.of(unit).is_down() {
            self.quiesced.remove(unit);
        }
        if was_up && !is_up && !own && number(unit).is_some() {
            self.stopped(unit);
        }
        if *unit == name("db") && was_up && !is_up {
            let live = self.seen.iter().any(|(it, seen)| number(it).is_some() && !seen.is_down());
            // A start that a client asks for takes the place of the stop that db waits for.
            let again = (JobKind::Start, name("web"));
            let again = self.jobs.values().any(|job| *job == again);
            if live && !self.hurried && !again {
                self.broken(Rule::Order, "db stops before web");
            }
        }
    }

    /// A record that was up is being stopped, and not by its own end.
    fn stopped(&mut self, unit: &UnitName) {
        let Some(place) = number(unit) else { return };
        let whole = |(kind, on): &(JobKind, UnitName)| match kind {
            JobKind::Stop | JobKind::Restart => number(on).is_none_or(|it| it == place),
            JobKind::Start | JobKind::Reload => false,
        };
        let asked = self.jobs.values().any(whole) || self.asked_at == self.now;
        let ends = self.stop_begun.is_some();
        let extra = place > self.wanted || unit.mark().is_some();
        let web = self.of(&name("web")).state().active_state();
        let failing = web == ActiveState::Deactivating || self.of(unit).own;
        if self.roll.is_none() && !asked && !ends && !extra && !failing {
            let rule = if self.halted { Rule::Halts } else { Rule::StopsOnlyInRoll };
            self.broken(rule, format!("{unit}"));
        }
        if self.roll.is_some() && !asked && !ends && !extra && !failing {
            self.touch(unit);
        }
        let other = self.records(place).any(|(it, seen)| it != unit && seen.is_up());
        if self.plan.steers() && !other {
            let steered = self.steered.as_ref().is_some_and(|ready| ready.contains(&place));
            if steered {
                self.broken(Rule::SteeredAway, format!("{unit} is stopped"));
            }
        }
    }

    /// The event and all its actions are done.
    pub(super) fn settled(&mut self, world: &World) {
        if self.actions > 2000 {
            self.broken(Rule::Livelock, format!("{} actions", self.actions));
        }
        if self.deadline.is_some_and(|at| self.now > at + 2 * MS) && !self.exited {
            self.broken(Rule::Stop, "rinit does not exit in time");
        }
        for one in &world.processes {
            if one.role == ProcessRole::ExecStart && world.mains(&one.unit) > 1 {
                self.broken(Rule::OneMain, one.unit.to_string());
                return;
            }
        }
        self.places();
        self.floor();
        self.whole();
        if self.plan.steers() && !self.exited {
            let serving: BTreeSet<u32> = (1..=64).filter(|number| self.serves(*number)).collect();
            let steered = self.steered.clone().unwrap_or_default();
            if steered != serving && self.listening {
                self.broken(Rule::Steer, format!("{steered:?}, but {serving:?} serve"));
            }
        }
    }

    fn places(&mut self) {
        let numbers: BTreeSet<u32> = self.seen.keys().filter_map(number).collect();
        for place in numbers {
            let live = |(_, seen): &(&UnitName, &Seen)| seen.is_up() || seen.comes();
            let lives = self.records(place).filter(live).count();
            let beside = self.records(place).filter(live).any(|(it, _)| it.mark().is_some());
            if lives > 1 + usize::from(beside) || beside && self.roll.is_none() {
                self.broken(Rule::OnePlace, format!("{lives} at {place}, roll {:?}", self.roll));
            }
        }
    }

    fn floor(&mut self) {
        let Some(recycles) = self.roll else { return };
        let missing: Vec<u32> = (1..=self.wanted)
            .filter(|place| !self.serves(*place))
            .filter(|place| {
                let seen = self.of(&name("web").numbered(*place));
                !seen.own && seen.served
            })
            .collect();
        let update = self.plan.web.service.rolling_update;
        let start_first = recycles || self.plan.start_first();
        let most = if start_first { 0 } else { update.parallelism as usize };
        if missing.len() > most {
            self.broken(Rule::Floor, format!("{missing:?} do not serve"));
        }
    }

    /// The service's state is what its instances make it.
    fn whole(&mut self) {
        let web = self.of(&name("web"));
        let records: Vec<&Seen> = self
            .seen
            .iter()
            .filter(|(unit, _)| number(unit).is_some())
            .map(|(_, seen)| seen)
            .collect();
        let up = records.iter().any(|seen| seen.is_up());
        let state = web.state();
        let bad = match state {
            SubState::Dead | SubState::Failed => records.iter().any(|seen| !seen.is_down()),
            SubState::Running => !up && self.wanted > 0,
            SubState::Start | SubState::AutoRestart => up,
            _ => false,
        };
        if bad {
            let states: Vec<SubState> = records.iter().map(|seen| seen.state()).collect();
            self.broken(Rule::Whole, format!("web is {state}: {states:?}"));
        }
    }

    /// Nothing has failed for long, and nobody asks anything.
    pub(super) fn calm(&mut self, now: u64) {
        let open: Vec<ClientId> =
            self.asked.iter().filter(|(_, done)| !**done).map(|(client, _)| *client).collect();
        if !open.is_empty() {
            self.broken(Rule::Forgotten, format!("{open:?}"));
        }
        if let Some(recycles) = self.roll.filter(|recycles| !recycles) {
            self.broken(Rule::Settles, format!("a roll is left: {recycles}"));
        }
        let web = self.of(&name("web"));
        if !web.is_up() && !web.is_down() {
            self.broken(Rule::Settles, format!("web is {}", web.state()));
        }
        // Recycling has no end: what it replaces just now is well, but not for long.
        let longest = 2 * 90_000 * MS;
        let recycled = |seen: &Seen| self.roll == Some(true) && now < seen.since + longest;
        let left = |(it, seen): &(&UnitName, &Seen)| {
            it.mark().is_some() && !seen.is_down() && !recycled(seen)
        };
        let marked = self.seen.iter().find(left);
        if let Some((unit, seen)) = marked {
            let told = format!("{unit} is {}", seen.state());
            self.broken(Rule::Settles, told);
        }
        for place in (1..=self.wanted).filter(|_| web.is_up()) {
            let seen = self.of(&name("web").numbered(place));
            let stays = seen.is_down() && (seen.done || !self.returns(&seen));
            if !self.serves(place) && !stays {
                self.broken(Rule::Settles, format!("{place} is {}", seen.state()));
            }
        }
    }

    /// Whether an instance that is down by itself has to come back.
    fn returns(&self, seen: &Seen) -> bool {
        !seen.own || self.plan.web.service.restart == Restart::Always
    }
}
