//! The rules of readiness, notices, probes and the watchdog.
//!
//! Part of the checker of `invariants`: who may speak, what has come and what is asked is noted
//! here once more, from the events and the actions alone.

use super::invariants::Checker;
use super::rules::Rule;
use super::starting::nanos;
use super::world::{ADOPTED, World};
use crate::manager::event::{
    Action, Event, Notice, NoticeState, ProbeKind, ProbeOutcome, ProcessId, ProcessRole,
    SpawnRequest, Watchdog,
};
use crate::manager::state::SubState;
use crate::unit::health::OnUnhealthy;
use crate::unit::service::{NotifyAccess, ServiceType};

/// How late an expiry may be seen.
const SLACK: u64 = 2_000_000;

/// An answer that comes so late has been given up.
const GIVEN_UP: u64 = 5_000_000_000;

const PROCESS: u8 = 1;
const NOTICE: u8 = 2;
const LINE: u8 = 4;
const HEALTH: u8 = 8;
const ACCEPT: u8 = 16;

/// A question that was not answered.
#[derive(Clone, Copy)]
struct Asked {
    process: ProcessId,
    at: u64,
    /// In another state than this one: the answer counts for nothing.
    outdated: bool,
}

/// What was seen of one unit's main process.
#[derive(Clone, Default)]
pub(super) struct Word {
    pub(super) main: Option<ProcessId>,
    control: Option<ProcessId>,
    /// What a start still waits for.
    missing: u8,
    /// For each kind: who was asked, and when.
    asked: [Option<Asked>; 3],
    good: u32,
    bad: u32,
    /// The last look found it stalled.
    stalled: bool,
    period: Option<u64>,
    /// Until when `WATCHDOG=1` must come.
    fed_until: Option<u64>,
    triggered: bool,
    /// This event made it unhealthy.
    ill: bool,
}

impl Checker<'_> {
    /// A process of a start or a stop is wanted.
    pub(super) fn word_of_spawn(&mut self, unit: usize, request: &SpawnRequest) {
        let service = &self.plan.units[unit].service;
        let word = &mut self.seen[unit].word;
        let forking = service.kind == ServiceType::Forking;
        if request.role != ProcessRole::ExecStart || forking {
            word.control = Some(request.process);
        }
        if request.role != ProcessRole::ExecStart {
            return;
        }
        *word = Word { control: word.control, ..Word::default() };
        word.main = (!forking).then_some(request.process);
        word.period = service.watchdog.map(nanos).filter(|period| *period > 0);
        let notifies = matches!(service.kind, ServiceType::Notify | ServiceType::NotifyReload);
        let probed = service.health.as_ref().is_some_and(|health| health.check.is_some());
        word.missing = PROCESS;
        if service.kind != ServiceType::Oneshot {
            for (declared, bit) in [
                (notifies, NOTICE),
                (service.notification_fd.is_some(), LINE),
                (probed, HEALTH),
                (service.ready_on_accept, ACCEPT),
            ] {
                word.missing |= u8::from(declared) * bit;
            }
        }
    }

    /// An event that says something of a unit's main process.
    pub(super) fn word(&mut self, event: &Event) {
        for seen in &mut self.seen {
            seen.word.ill = false;
        }
        match event {
            Event::Spawned { process } => {
                let exec = |kind| matches!(kind, ServiceType::Exec | ServiceType::Oneshot);
                self.process_is_there(*process, |kind| !exec(kind) && kind != ServiceType::Forking);
            }
            Event::Execed { process } => {
                self.process_is_there(*process, |kind| kind == ServiceType::Exec);
            }
            Event::Exited { process, .. } => self.process_is_gone(*process),
            Event::SpawnFailed { process, .. } => self.process_is_gone(*process),
            Event::FoundMain { unit, main } => {
                let unit = self.plan.index(unit);
                self.about = Some(unit);
                self.found(unit, main.as_ref().ok().copied());
            }
            Event::SaidReady { process } => {
                if let Some((unit, _)) = self.owner(*process) {
                    self.about = Some(unit);
                    self.seen[unit].word.missing &= !LINE;
                }
            }
            Event::Notified { unit, process, notice } => {
                let unit = self.plan.index(unit);
                self.about = Some(unit);
                self.notified(unit, *process, notice);
            }
            Event::Probed { process, kind, outcome } => self.probed(*process, *kind, outcome),
            Event::Empty { unit } => self.about = Some(self.plan.index(unit)),
            _ => (),
        }
    }

    fn process_is_there(&mut self, process: ProcessId, enough: impl Fn(ServiceType) -> bool) {
        let Some((unit, ProcessRole::ExecStart)) = self.owner(process) else { return };
        if enough(self.plan.units[unit].service.kind) {
            self.seen[unit].word.missing &= !PROCESS;
        }
    }

    fn process_is_gone(&mut self, process: ProcessId) {
        let Some((unit, role)) = self.owner(process) else { return };
        let kind = self.plan.units[unit].service.kind;
        let oneshot = kind == ServiceType::Oneshot;
        let word = &mut self.seen[unit].word;
        if oneshot && role == ProcessRole::ExecStart {
            word.missing &= !PROCESS;
        }
        if word.control == Some(process) {
            word.control = None;
            if kind == ServiceType::Forking && word.main.is_some() {
                word.missing &= !PROCESS; // it has named its daemon before
            }
        }
        if word.main == Some(process) {
            word.main = None;
        }
    }

    fn found(&mut self, unit: usize, main: Option<ProcessId>) {
        let service = &self.plan.units[unit].service;
        let may_lack = service.pid_file.is_none() || !service.exec_start_post.is_empty();
        let state = self.seen[unit].state;
        let lives = matches!(state, SubState::Start | SubState::StartPost | SubState::Running);
        if let (Some(main), true) = (main, lives) {
            self.takes_over(unit, main);
            self.seen[unit].word.missing &= !PROCESS;
        } else if may_lack {
            self.seen[unit].word.missing &= !PROCESS;
        }
    }

    /// Another process is the main one: what the old one was asked says nothing any more.
    fn takes_over(&mut self, unit: usize, main: ProcessId) {
        self.adopt(unit, main);
        if let Some(old) = self.seen[unit].word.main.filter(|old| old.0 < ADOPTED) {
            // It may live on, beside the next one even, where KillMode= spares it.
            self.seen[unit].given_up = self.seen[unit].given_up.max(old.0);
        }
        let word = &mut self.seen[unit].word;
        word.main = Some(main);
        word.asked = [None; 3];
    }

    fn notified(&mut self, unit: usize, process: Option<ProcessId>, notice: &Notice) {
        let state = self.seen[unit].state;
        let forking = self.plan.units[unit].service.kind == ServiceType::Forking;
        let word = &self.seen[unit].word;
        let is = |it: Option<ProcessId>| it.is_some() && it == process;
        let allowed = match self.plan.units[unit].service.notify_access {
            NotifyAccess::None => false,
            NotifyAccess::Main => is(word.main),
            NotifyAccess::Exec => is(word.main) || is(word.control),
            NotifyAccess::All => true,
        };
        if !allowed {
            return;
        }
        let starts = matches!(state, SubState::Start | SubState::StartPost);
        let up = matches!(state, SubState::Running | SubState::Reload);
        if let (Some(main), true) = (notice.main, starts || up) {
            self.takes_over(unit, main);
            let word = &mut self.seen[unit].word;
            if word.control.is_none() && forking {
                word.missing &= !PROCESS;
            }
        }
        let now = self.now;
        let word = &mut self.seen[unit].word;
        if state == SubState::Start && notice.state == Some(NoticeState::Ready) {
            word.missing &= !NOTICE;
        }
        if let Some(period) = notice.watchdog_period {
            word.period = Some(nanos(period)).filter(|period| *period > 0);
        }
        if notice.watchdog == Some(Watchdog::Ping) || notice.watchdog_period.is_some() {
            let guarded = up || state == SubState::StartPost;
            let period = word.period.filter(|_| guarded);
            word.fed_until = period.map(|period| now.saturating_add(period));
        }
        if let Some(by) = notice.extend_timeout {
            word.fed_until = word.fed_until.map(|at| at.max(now.saturating_add(nanos(by))));
        }
        word.triggered |= notice.watchdog == Some(Watchdog::Trigger) && (starts || up);
    }

    fn probed(&mut self, process: ProcessId, kind: ProbeKind, outcome: &ProbeOutcome) {
        let Some((unit, _)) = self.owner(process) else { return };
        let now = self.now;
        let word = &mut self.seen[unit].word;
        let asked = word.asked[kind as usize];
        let late = |at: u64| now >= at.saturating_add(GIVEN_UP);
        let Some(asked) = asked.filter(|asked| asked.process == process && !late(asked.at)) else {
            return;
        };
        word.asked[kind as usize] = None;
        self.about = Some(unit);
        if !asked.outdated {
            self.counts(unit, kind, *outcome == ProbeOutcome::Good);
        }
    }

    fn counts(&mut self, unit: usize, kind: ProbeKind, good: bool) {
        let state = self.seen[unit].state;
        let health = self.plan.units[unit].service.health.clone().unwrap_or_default();
        let word = &mut self.seen[unit].word;
        match (kind, good) {
            (ProbeKind::Accept, true) => word.missing &= !ACCEPT,
            (ProbeKind::Accept, false) => (),
            (ProbeKind::Health, true) => {
                (word.good, word.bad) = (word.good + 1, 0);
                if word.good >= health.success_threshold {
                    word.missing &= !HEALTH;
                }
            }
            (ProbeKind::Health, false) => {
                word.good = 0;
                word.bad += u32::from(state == SubState::Running);
                word.ill |= word.bad == health.retries;
            }
            (ProbeKind::Stall, good) => {
                word.ill |= !good && !word.stalled && word.bad < health.retries;
                word.stalled = !good;
            }
        }
    }

    /// A probe is wanted: of a living main process, and once at a time.
    pub(super) fn word_of_action(&mut self, action: &Action, world: &World) {
        let Action::Probe { process, unit, kind } = action else { return };
        let index = self.plan.index(&unit.name);
        let state = self.seen[index].state;
        let name = &unit.name;
        let word = &self.seen[index].word;
        let alive = word.main == Some(*process) && world.is_there(*process);
        if !alive || !matches!(state, SubState::Start | SubState::Running) {
            self.broken(Rule::ProbeLiving, |_| format!("{name} is {state}, {process:?} is asked"));
        }
        let timeout = unit.service.health.as_ref().map_or(0, |health| nanos(health.timeout));
        if let Some(Asked { at, outdated, .. }) = self.seen[index].word.asked[*kind as usize] {
            if self.now < at.saturating_add(if *kind == ProbeKind::Health { timeout } else { 0 }) {
                self.broken(Rule::ProbeOnce, |_| format!("{name}: {kind:?}"));
            }
            if !outdated {
                self.counts(index, *kind, false); // it was given up before
            }
        }
        let asked = Asked { process: *process, at: self.now, outdated: false };
        self.seen[index].word.asked[*kind as usize] = Some(asked);
    }

    /// A unit changes its state.
    pub(super) fn word_of_change(&mut self, unit: usize, from: SubState, to: SubState) {
        use SubState::{Reload, Running, Start, StartPost};
        let now = self.now;
        let name = self.name(unit);
        let well = matches!(to, StartPost | Running);
        if from == Start && well && self.seen[unit].word.missing != 0 {
            let missing = self.seen[unit].word.missing;
            self.broken(Rule::ReadyFirst, |_| format!("{name} lacks {missing:#b}"));
        }
        // TimeoutSec= and a second: who has not answered by then is not well.
        let declared = self.plan.units[unit].service.health.as_ref();
        let patience = declared.map_or(0, |health| nanos(health.timeout) + 1_000_000_000);
        let word = &mut self.seen[unit].word;
        let health = &mut word.asked[ProbeKind::Health as usize];
        let given_up = |asked: &mut Asked| !asked.outdated && now > asked.at + patience;
        word.bad += u32::from(health.take_if(given_up).is_some()); // it was before this change
        word.asked.iter_mut().flatten().for_each(|asked| asked.outdated = true);
        if from == Start && well {
            word.bad = 0;
            word.fed_until = word.period.map(|period| now.saturating_add(period));
        } else if !matches!(to, StartPost | Running | Reload) {
            word.fed_until = None;
        }
    }

    /// It is said to be unhealthy: so its probes said, and it is stopped if it shall be.
    pub(super) fn said_unhealthy(&mut self, unit: usize, stops: bool) {
        let health = self.plan.units[unit].service.health.clone().unwrap_or_default();
        let asked = self.seen[unit].word.asked.iter().flatten();
        let lost = asked.filter(|asked| !asked.outdated).count() as u32;
        let word = &self.seen[unit].word;
        let ill = word.bad + lost >= health.retries || word.stalled || lost > 0;
        let restarts = health.on_unhealthy == OnUnhealthy::Restart;
        if !ill || stops != restarts {
            let (name, bad) = (self.name(unit), word.bad);
            self.broken(Rule::Unhealthy, |_| format!("{name} after {bad} bad probes"));
        }
        self.seen[unit].timed_out = true;
    }

    /// The watchdog bites.
    pub(super) fn watchdog(&mut self, unit: usize) {
        let word = &self.seen[unit].word;
        let due = word.fed_until.is_some_and(|at| self.now + SLACK >= at) || word.triggered;
        if !due {
            let name = self.name(unit);
            self.broken(Rule::WatchdogKept, |_| format!("{name} was fed"));
        }
        self.seen[unit].timed_out = true;
    }

    /// Everything that follows from an event is done.
    pub(super) fn word_settled(&mut self, unit: usize, deadline: Option<u64>) {
        if deadline.is_some_and(|at| at <= self.now) {
            return; // a timer is still to come for this very moment
        }
        let state = self.seen[unit].state;
        let (word, name) = (&self.seen[unit].word, self.name(unit));
        let guarded = matches!(state, SubState::Running | SubState::StartPost | SubState::Reload);
        let late = word.fed_until.is_some_and(|at| self.now > at.saturating_add(SLACK));
        if guarded && (late || word.triggered) {
            self.broken(Rule::WatchdogKept, |_| format!("{name} is {state}, and was not fed"));
        }
        let word = &self.seen[unit].word;
        let health = self.plan.units[unit].service.health.as_ref();
        let stops = health.is_some_and(|it| it.on_unhealthy == OnUnhealthy::Restart);
        if word.ill && stops && state == SubState::Running {
            self.broken(Rule::Unhealthy, |_| format!("{name} runs on"));
        }
    }
}
