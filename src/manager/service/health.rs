//! Whether the main process is well, as its probes say: when it is asked, and how answers count.
//!
//! Not the probing (`init`). **Invariant:** a main process is asked in `start` and `running`
//! only, once at a time in each way; an answer that does not come counts as a bad one.

use std::time::Duration;

use super::super::event::{Action, Fact, ProbeKind, ProbeOutcome, ProcessId};
use super::super::out::{Change, Out};
use super::super::state::{ServiceResult, SubState};
use super::super::time::Timestamp;
use super::Service;
use super::ready::Source;
use crate::unit::health::{Health, OnUnhealthy};

/// How often `ReadyOn = "accept"` is looked at.
const ACCEPT_EVERY: Duration = Duration::from_millis(200);
/// How long the looks that need no network may take.
const LOOK: Duration = Duration::from_secs(2);
/// How much longer than `TimeoutSec=` an answer is waited for.
const SLACK: Duration = Duration::from_secs(1);
/// Nobody is asked more often than this.
const LEAST: Duration = Duration::from_millis(10);

/// Good and bad answers in a row, and what they come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    good: u32,
    bad: u32,
    healthy: Option<bool>,
}

impl Count {
    /// One more answer; what the service is from now on, if that is something else than before.
    /// Until it was healthy once, bad answers only break a row of good ones.
    fn add(&mut self, good: bool, health: &Health) -> Option<bool> {
        if good {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
            let well = self.good >= health.success_threshold.max(1);
            (well && self.healthy != Some(true)).then(|| self.turn(true))
        } else {
            self.good = 0;
            let was = self.healthy?;
            self.bad = self.bad.saturating_add(1);
            let ill = self.bad >= health.retries.max(1);
            (ill && was).then(|| self.turn(false))
        }
    }

    fn turn(&mut self, healthy: bool) -> bool {
        self.healthy = Some(healthy);
        healthy
    }
}

/// One way of asking: when it is done next, and until when the answer may come.
#[derive(Clone, Copy, Debug, Default)]
struct Asking {
    next: Option<Timestamp>,
    asked: Option<Timestamp>,
    lost: Option<Timestamp>,
    /// It was put in an earlier state: its answer says nothing of this one.
    outdated: bool,
}

/// What is asked of one main process.
#[derive(Debug)]
pub(super) struct Probes {
    process: ProcessId,
    count: Count,
    /// `StallSec=` is over; it never is unless it was looked at.
    stalled: Option<bool>,
    health: Asking,
    accept: Asking,
    stall: Asking,
}

const KINDS: [ProbeKind; 3] = [ProbeKind::Health, ProbeKind::Accept, ProbeKind::Stall];

impl Probes {
    fn of(&self, kind: ProbeKind) -> &Asking {
        match kind {
            ProbeKind::Health => &self.health,
            ProbeKind::Accept => &self.accept,
            ProbeKind::Stall => &self.stall,
        }
    }

    fn of_mut(&mut self, kind: ProbeKind) -> &mut Asking {
        match kind {
            ProbeKind::Health => &mut self.health,
            ProbeKind::Accept => &mut self.accept,
            ProbeKind::Stall => &mut self.stall,
        }
    }

    /// Nothing more is asked; what was asked is still answered, and nobody is asked beside it.
    fn pause(&mut self) {
        for kind in KINDS {
            let asking = self.of_mut(kind);
            asking.next = None;
            asking.outdated = asking.lost.is_some();
        }
    }

    /// When there is something to ask, or an answer to give up.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let askings = [self.health, self.accept, self.stall];
        askings.into_iter().flat_map(|asking| [asking.next, asking.lost]).flatten().min()
    }

    fn healthy(&self) -> Option<bool> {
        match (self.count.healthy, self.stalled) {
            (_, Some(true)) => Some(false),
            (None, stalled) => stalled.map(|stalled| !stalled),
            (healthy, _) => healthy,
        }
    }
}

impl Service {
    /// Whether its probes say that it is well; `None` while they have not said anything.
    pub fn healthy(&self) -> Option<bool> {
        self.probes.as_ref().and_then(|probes| probes.healthy())
    }

    fn health(&self) -> Option<&Health> {
        self.unit.service.health.as_deref()
    }

    /// A main process is there: it can be asked.
    pub(super) fn main_lives(&mut self, out: &mut Out) {
        let Some(process) = self.main.map(|main| main.process) else { return };
        let asks = self.health().is_some_and(|it| it.check.is_some() || !it.stall.is_zero());
        if !asks && !self.unit.service.ready_on_accept {
            return;
        }
        let (count, stalled) = match self.probes.take() {
            Some(old) => (old.count, old.stalled),
            None => (Count::default(), None),
        };
        let none = Asking::default;
        let (health, accept, stall) = (none(), none(), none());
        self.probes = Some(Box::new(Probes { process, count, stalled, health, accept, stall }));
        self.plan_probes(out);
    }

    /// When each question is put next, on coming to a state or to a new main process.
    pub(super) fn plan_probes(&mut self, out: &mut Out) {
        let (state, accepts) = (self.state, self.awaited.has(Source::Accept));
        let Some(probes) = &mut self.probes else { return };
        probes.pause();
        let Some(health) = self.unit.service.health.as_deref() else {
            if state == SubState::Start && accepts {
                probes.accept.next = Some(out.now);
            }
            return;
        };
        match state {
            SubState::Start => {
                let first = out.now.after(health.start_period);
                probes.health.next = health.check.as_ref().map(|_| first);
                probes.accept.next = accepts.then_some(out.now);
            }
            SubState::Running => {
                let next = out.now.after(out.random.jitter(health.interval).max(LEAST));
                probes.health.next = health.check.as_ref().map(|_| next);
                let stall = out.random.jitter(health.stall / 2).max(LEAST);
                let next = out.now.after(stall);
                probes.stall.next = (!health.stall.is_zero()).then_some(next);
            }
            SubState::Dead
            | SubState::Condition
            | SubState::StartPre
            | SubState::StartPost
            | SubState::Listening
            | SubState::Exited
            | SubState::Reload
            | SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill
            | SubState::AutoRestart
            | SubState::Failed => (),
        }
    }

    /// Asks what is due, and gives up answers that are.
    pub(super) fn on_probe_timer(&mut self, out: &mut Out) {
        for kind in KINDS {
            let Some(asking) = self.probes.as_ref().map(|probes| *probes.of(kind)) else { return };
            if asking.lost.is_some_and(|lost| lost <= out.now) {
                let waited = asking.asked.map_or(Duration::ZERO, |asked| out.now.since(asked));
                let why = format!("no answer within {} s", waited.as_secs());
                self.answered(out, kind, ProbeOutcome::Bad(why));
            }
            let Some(probes) = &mut self.probes else { return };
            let (process, asking) = (probes.process, probes.of_mut(kind));
            if asking.next.is_some_and(|next| next <= out.now) {
                if asking.lost.is_some() {
                    asking.next = asking.lost; // one of an earlier state is still to be answered
                    continue;
                }
                let patience = match kind {
                    ProbeKind::Health => self.unit.service.health.as_ref().map(|it| it.timeout),
                    ProbeKind::Accept | ProbeKind::Stall => Some(LOOK),
                };
                let lost = patience.unwrap_or(LOOK).saturating_add(SLACK);
                let (asked, lost) = (Some(out.now), Some(out.now.after(lost)));
                *asking = Asking { next: None, asked, lost, outdated: false };
                out.act(Action::Probe { process, unit: self.unit.clone(), kind });
            }
        }
    }

    /// The answer of a main process.
    pub fn on_probed(
        &mut self,
        out: &mut Out,
        process: ProcessId,
        kind: ProbeKind,
        outcome: ProbeOutcome,
    ) {
        let Some(probes) = &self.probes else { return };
        if probes.process == process && probes.of(kind).lost.is_some() {
            self.answered(out, kind, outcome);
        }
    }

    fn answered(&mut self, out: &mut Out, kind: ProbeKind, outcome: ProbeOutcome) {
        let Some(asking) = self.probes.as_mut().map(|probes| probes.of_mut(kind)) else { return };
        if asking.outdated {
            *asking = Asking { next: asking.next, ..Asking::default() };
            return;
        }
        self.plan_next(out, kind);
        if let ProbeOutcome::Bad(why) = &outcome
            && self.state == SubState::Start
            && kind == ProbeKind::Health
        {
            self.last_word = Some(why.as_str().into());
        }
        match kind {
            ProbeKind::Health => self.health_answered(out, outcome),
            ProbeKind::Accept if outcome == ProbeOutcome::Good => self.came(out, Source::Accept),
            ProbeKind::Accept => (),
            ProbeKind::Stall => self.stall_answered(out, outcome),
        }
    }

    /// From the start of one question to that of the next, whatever the answer took.
    fn plan_next(&mut self, out: &mut Out, kind: ProbeKind) {
        let starting = self.state == SubState::Start;
        let health = self.unit.service.health.as_deref();
        let Some(probes) = &mut self.probes else { return };
        let asking = probes.of_mut(kind);
        let gap = match kind {
            ProbeKind::Accept => ACCEPT_EVERY,
            ProbeKind::Health if starting => {
                health.map_or(ACCEPT_EVERY, |health| health.start_interval)
            }
            ProbeKind::Health => {
                out.random.jitter(health.map_or(ACCEPT_EVERY, |health| health.interval))
            }
            ProbeKind::Stall => {
                out.random.jitter(health.map_or(ACCEPT_EVERY, |health| health.stall / 2))
            }
        };
        let from = asking.asked.unwrap_or(out.now);
        let next = from.after(gap).max(out.now.after(LEAST));
        *asking = Asking { next: Some(next), ..Asking::default() };
    }

    fn health_answered(&mut self, out: &mut Out, outcome: ProbeOutcome) {
        let starting = self.state == SubState::Start;
        let (Some(probes), Some(health)) = (&mut self.probes, self.unit.service.health.as_deref())
        else {
            return;
        };
        let (before, good) = (probes.healthy(), outcome == ProbeOutcome::Good);
        if starting && !good {
            probes.count.good = 0; // only TimeoutStartSec= limits a start
            return;
        }
        let turned = probes.count.add(good, health);
        let after = health.retries.max(1);
        match (turned, outcome) {
            (Some(true), _) if starting => self.came(out, Source::Health),
            (Some(true), _) => self.turned(out, before, String::new(), health_after(self)),
            (Some(false), ProbeOutcome::Bad(why)) => self.turned(out, before, why, after),
            (Some(false), ProbeOutcome::Good) | (None, _) => (),
        }
    }

    fn stall_answered(&mut self, out: &mut Out, outcome: ProbeOutcome) {
        let Some(probes) = &mut self.probes else { return };
        let before = probes.healthy();
        probes.stalled = Some(outcome != ProbeOutcome::Good);
        let why = match outcome {
            ProbeOutcome::Good => String::new(),
            ProbeOutcome::Bad(why) => why,
        };
        self.turned(out, before, why, 1);
    }

    /// It is well or not well, and was not `before`.
    fn turned(&mut self, out: &mut Out, before: Option<bool>, why: String, after: u32) {
        let now = self.healthy();
        let was_well = before != Some(false);
        let is_well = now != Some(false);
        if was_well == is_well {
            return;
        }
        let unit = self.unit.name.clone();
        let restarts = self.health().is_some_and(|it| it.on_unhealthy == OnUnhealthy::Restart);
        let stops = !is_well && restarts;
        out.record(Fact::Health { unit: unit.clone(), healthy: is_well, why, after, stops });
        if stops {
            self.note(ServiceResult::Health, None);
            self.exec_stop(out);
        } else {
            // Who counts the ready ones looks again.
            out.changes.push_back(Change { unit, from: self.state, to: self.state });
        }
    }
}

fn health_after(service: &Service) -> u32 {
    service.health().map_or(1, |health| health.success_threshold.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` good, `-` bad; in the answer `H` healthy, `U` unhealthy, `.` as before.
    fn count(answers: &str, threshold: u32, retries: u32) -> String {
        let health = Health { success_threshold: threshold, retries, ..Health::default() };
        let mut count = Count::default();
        let turns = answers.chars().map(|c| match count.add(c == '+', &health) {
            Some(true) => 'H',
            Some(false) => 'U',
            None => '.',
        });
        turns.collect()
    }

    #[test]
    fn answers_in_a_row() {
        for (answers, threshold, retries, turns) in [
            ("----+", 1, 3, "....H"),
            ("+---", 1, 3, "H..U"),
            ("+--+--+---", 1, 3, "H........U"),
            ("+----+", 1, 3, "H..U.H"),
            ("+---+-++", 2, 2, ".......H"),
            ("++--+-++", 2, 2, ".H.U...H"),
            ("-+++", 3, 1, "...H"),
            ("+-+", 0, 0, "HUH"),
        ] {
            assert_eq!(count(answers, threshold, retries), turns, "{answers}");
        }
    }
}
