//! The rules of instances and rolls, seen from outside: facts, actions and the kernel.
//!
//! None of the manager's code is called here. **Invariant:** a rule names what it demands.

use std::collections::{BTreeMap, BTreeSet};

use super::super::starting::nanos;
use super::draw::{Plan, name, version};
use super::world::{MS, World};
use crate::manager::event::{
    Action, ClientId, Event, Fact, JobKind, ProcessId, ProcessRole, Reply, Request, RollEvent,
    SpawnRequest,
};
use crate::manager::state::{ActiveState, SubState};
use crate::unit::UnitName;
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
    /// A number has two records that come or serve at most, and one without a roll.
    OnePlace,
    /// Start-first all that do not fail by themselves serve, stop-first all but Parallelism=.
    Floor,
    /// Without a roll, a request or an end of its own no instance is stopped.
    StopsOnlyInRoll,
    /// With `pause` no further instance is replaced after a failure.
    Halts,
    /// A replacement is told only when it was up for MonitorSec=.
    Monitored,
    /// A request is answered exactly once.
    OneReply,
    Forgotten,
    /// Nothing starts before what its service is After, and that does not stop before.
    Order,
    /// The instances that get connections are those that serve, and the shell is told only news.
    Steer,
    /// Who is stopped got no new connection any more.
    SteeredAway,
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

/// What was seen of one record.
#[derive(Clone, Default)]
struct Seen {
    state: Option<SubState>,
    up_since: Option<u64>,
    /// It does not serve because of itself, or of a client.
    own: bool,
    /// It has been up since the service was last started.
    served: bool,
    not_before: u64,
    version: u8,
}

impl Seen {
    fn state(&self) -> SubState {
        self.state.unwrap_or(SubState::Dead)
    }

    fn is_up(&self) -> bool {
        matches!(self.state(), SubState::Running | SubState::Exited | SubState::Reload)
    }

    fn is_down(&self) -> bool {
        matches!(self.state(), SubState::Dead | SubState::Failed)
    }
}

pub(super) struct Checker<'a> {
    plan: &'a Plan,
    now: u64,
    seen: BTreeMap<UnitName, Seen>,
    owners: BTreeMap<ProcessId, UnitName>,
    about: Option<UnitName>,
    timer: bool,
    wanted: u32,
    /// A roll is under way; `Some(true)`: it recycles one instance.
    roll: Option<bool>,
    halted: bool,
    /// Clients' jobs on single instances, and stops of the whole, that are under way.
    jobs: BTreeMap<ClientId, (JobKind, UnitName)>,
    asked: BTreeMap<ClientId, bool>,
    asked_at: u64,
    /// A client had its way with what the service needs: a restart pulls in nothing.
    db_touched: bool,
    scaled: bool,
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
            timer: false,
            wanted: plan.count(),
            roll: None,
            halted: false,
            jobs: BTreeMap::new(),
            asked: BTreeMap::new(),
            asked_at: 0,
            db_touched: false,
            scaled: false,
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
        self.timer = matches!(event, Event::Timer);
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
            Event::Signal(crate::unit::process::Signal::TERM) => self.limit(now),
            Event::Signal(_) => self.asked_at = now,
            _ => (),
        }
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
                    self.seen.entry(name).or_default().own = true;
                }
                self.db_touched |= *unit == name("db");
                self.jobs.insert(client, (*kind, unit.clone()));
            }
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
            }
            Action::Steer { ready, .. } => self.steer(ready),
            Action::Reply { client, reply } => self.reply(*client, reply),
            Action::Record(fact) => self.fact(fact, world),
            Action::Exit { .. } => {
                self.exited = true;
                if world.processes.iter().any(|one| !one.killed) {
                    self.broken(Rule::Stop, "a process lives at the exit");
                }
            }
            _ => (),
        }
    }

    fn spawn(&mut self, request: &SpawnRequest, world: &World) {
        let unit = request.unit.name.clone();
        self.owners.insert(request.process, unit.clone());
        if request.role != ProcessRole::ExecStart {
            return;
        }
        if number(&unit).is_some() && !self.of(&name("db")).is_up() && !self.db_touched {
            self.broken(Rule::Order, format!("{unit} starts without db"));
        }
        let drain = nanos(self.plan.config.drain).max(2 * MS);
        let grace = nanos(self.plan.config.shutdown_timeout) / 2;
        let late = |begun: u64| self.now > begun + drain.max(grace);
        if self.stop_begun.is_some_and(late) {
            self.broken(Rule::Stop, format!("{unit} starts in the stop"));
        }
        let seen = self.of(&unit);
        if self.now + MS < seen.not_before && self.asked_at < seen.not_before && self.roll.is_none()
        {
            if self.asked_at + 1 < seen.up_since.unwrap_or(0) || self.asked_at == 0 {
                self.broken(Rule::Exhausted, format!("{unit} is tried again too early"));
            }
        }
        let entry = self.seen.entry(unit.clone()).or_default();
        entry.version = version(&request.unit);
        if world.mains(&unit) > 0 {
            self.broken(Rule::OneMain, unit.to_string());
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
        self.records(number).any(|(_, seen)| seen.is_up())
    }

    fn reply(&mut self, client: ClientId, reply: &Reply) {
        self.jobs.remove(&client);
        match self.asked.insert(client, true) {
            Some(false) => (),
            Some(true) | None => self.broken(Rule::OneReply, format!("{client:?}: {reply:?}")),
        }
    }

    fn fact(&mut self, fact: &Fact, world: &World) {
        match fact {
            Fact::State { unit, from, to, .. } => self.change(unit, *from, *to),
            Fact::Stopping { .. } => {
                self.stop_begun = Some(self.now);
                self.limit(self.now);
            }
            Fact::Scaled { to, .. } => {
                self.wanted = *to;
                self.scaled = true;
            }
            Fact::Exhausted { unit, delay, .. } => {
                let at = self.now + nanos(*delay) * 9 / 10;
                self.seen.entry(unit.clone()).or_default().not_before = at;
            }
            Fact::Roll { what, .. } => self.roll_event(what, world),
            _ => (),
        }
    }

    fn roll_event(&mut self, what: &RollEvent, world: &World) {
        match what {
            RollEvent::Begun => {
                self.roll = Some(false);
                self.halted = false;
            }
            RollEvent::Recycles { .. } => {
                self.roll = Some(true);
                self.halted = false;
            }
            RollEvent::Replaced { instance } => {
                let monitor = nanos(self.plan.web.service.rolling_update.monitor);
                let since = self.of(instance).up_since;
                if since.is_none_or(|since| self.now < since + monitor) {
                    self.broken(Rule::Monitored, format!("{instance} is up since {since:?}"));
                }
            }
            RollEvent::GoesOn { .. } | RollEvent::GoesBack { .. } => {
                if self.plan.web.service.rolling_update.failure_action == RollingFailure::Pause {
                    self.broken(Rule::Halts, format!("{what:?}"));
                }
            }
            RollEvent::Halted { .. } => {
                self.roll = None;
                self.halted = true;
            }
            RollEvent::WentBack | RollEvent::Interrupted | RollEvent::Ended => self.roll = None,
        }
        let _ = world;
    }

    fn change(&mut self, unit: &UnitName, from: SubState, to: SubState) {
        let before = self.of(unit);
        if before.state() != from {
            let was = before.state();
            self.broken(Rule::StateChain, format!("{unit}: {was}, then from {from}"));
        }
        let own = self.about.as_ref() == Some(unit);
        let was_up = before.is_up();
        let now = self.now;
        let entry = self.seen.entry(unit.clone()).or_default();
        entry.state = Some(to);
        let is_up = entry.is_up();
        match (was_up, is_up) {
            (false, true) => {
                entry.up_since = Some(now);
                entry.own = false;
                entry.served = true;
            }
            (true, false) => entry.up_since = None,
            _ => (),
        }
        let fails = matches!(to, SubState::Failed | SubState::AutoRestart);
        if was_up && !is_up && own || fails {
            entry.own = true;
        }
        if *unit == name("web") && to == SubState::Condition {
            self.seen.values_mut().for_each(|seen| seen.served = false);
        }
        if was_up && !is_up && !own && number(unit).is_some() {
            self.stopped(unit);
        }
        if *unit == name("db") && was_up && !is_up {
            let forced = self.stop_begun.is_some();
            let live = self.seen.iter().any(|(it, seen)| number(it).is_some() && !seen.is_down());
            if live && !forced {
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
        let starting = self.of(&name("web")).state() == SubState::Start;
        let failing = self.of(&name("web")).state().active_state() == ActiveState::Deactivating;
        if self.roll.is_none() && !asked && !ends && !extra && !starting && !failing && !self.timer
        {
            let rule = if self.halted { Rule::Halts } else { Rule::StopsOnlyInRoll };
            self.broken(rule, format!("{unit}"));
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
        if self.plan.steers() && self.stop_begun.is_none() {
            let serving: BTreeSet<u32> = (1..=64).filter(|number| self.serves(*number)).collect();
            let steered = self.steered.clone().unwrap_or_default();
            // One that is about to be stopped has left the set already.
            if !steered.is_subset(&serving) {
                self.broken(Rule::Steer, format!("{steered:?}, but {serving:?} serve"));
            }
            let left: Vec<u32> = serving.difference(&steered).copied().collect();
            let quiet = self.jobs.is_empty() && self.roll.is_none() && !self.timer;
            if quiet && left.iter().any(|number| *number <= self.wanted) && self.asked_at == 0 {
                self.broken(Rule::Steer, format!("{left:?} serve and get nothing"));
            }
        }
    }

    fn places(&mut self) {
        let coming =
            |(unit, seen): &(&UnitName, &Seen)| unit.mark() == Some("new") && !seen.is_down();
        let beside = self.seen.iter().filter(coming).count();
        let most = self.plan.web.service.rolling_update.parallelism as usize;
        if beside > 0 && self.roll.is_none() || beside > most {
            self.broken(Rule::OnePlace, format!("{beside} beside, roll {:?}", self.roll));
        }
    }

    fn floor(&mut self) {
        let up = self.of(&name("web")).is_up();
        let whole = self
            .jobs
            .values()
            .any(|(kind, unit)| number(unit).is_none() && matches!(kind, JobKind::Stop));
        if !up || self.stop_begun.is_some() || whole {
            return;
        }
        let missing: Vec<u32> = (1..=self.wanted)
            .filter(|place| !self.serves(*place))
            .filter(|place| {
                let seen = self.of(&name("web").numbered(*place));
                !seen.own && seen.served
            })
            .collect();
        let update = self.plan.web.service.rolling_update;
        let most = if self.plan.start_first() { 0 } else { update.parallelism as usize };
        // What is scaled up again comes back as fast as it can.
        if missing.len() > most && !self.scaled {
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
    pub(super) fn calm(&mut self) {
        let open: Vec<ClientId> =
            self.asked.iter().filter(|(_, done)| !**done).map(|(client, _)| *client).collect();
        if !open.is_empty() {
            self.broken(Rule::Forgotten, format!("{open:?}"));
        }
        if let Some(recycles) = self.roll.filter(|recycles| !recycles) {
            self.broken(Rule::Settles, format!("a roll is left: {recycles}"));
        }
        if !self.of(&name("web")).is_up() || self.plan.web.service.restart != Restart::Always {
            return;
        }
        for place in 1..=self.wanted {
            let seen = self.of(&name("web").numbered(place));
            if !self.serves(place) && seen.state() != SubState::Dead {
                self.broken(Rule::Settles, format!("{place} is {}", seen.state()));
            }
        }
    }
}
