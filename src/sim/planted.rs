//! Bugs planted between the manager and the world, each of which the rules must find.
//!
//! Not in the manager: it stays clean. A bug distorts what the manager is told (its units, its
//! configuration, an event) or what it wants (an action, a deadline); the rules see the true
//! units and the distorted actions, as if the manager itself were wrong.

use std::sync::Arc;
use std::time::Duration;

use super::units::Plan;
use crate::manager::event::{
    Action, CheckOutcome, Event, Fact, ManagerConfig, ProcessId, ProcessRole, SpawnRequest,
    Watchdog,
};
use crate::manager::time::Timestamp;
use crate::unit::health::{Health, OnUnhealthy};
use crate::unit::process::Signal;
use crate::unit::service::{ExitAction, KillMode, NotifyAccess, ServiceType};
use crate::unit::{Unit, UnitSet};

/// One bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    /// next_deadline is forgotten.
    NoDeadline,
    /// A deadline stays in the past.
    DeadlineStays,
    /// SIGKILL to a unit is never sent.
    KillDropped,
    /// A process is started twice.
    SpawnTwice,
    /// A second restart is scheduled for one end: its Spawn comes again at the next event.
    RestartTwice,
    /// After= is not kept.
    AfterIgnored,
    /// Requires= is not kept.
    RequiresIgnored,
    /// BindsTo= is not kept.
    BindsToIgnored,
    /// Conflicts= is not kept.
    ConflictIgnored,
    /// A false condition counts as true.
    ConditionIgnored,
    /// The delay is half as long again.
    DelayWrong,
    /// The delay does not grow.
    DelayConstant,
    /// One start more than StartLimitBurst=.
    LimitOff,
    /// The backoff falls back too early.
    ResetEarly,
    /// FailureAction= is forgotten.
    FailureIgnored,
    /// The exit status is off.
    ExitCodeWrong,
    /// The first failure's status is replaced.
    ExitCodeZero,
    /// A reply is forgotten.
    ReplyForgotten,
    /// A reply is given twice.
    ReplyTwice,
    /// A change of state is not recorded.
    StateSkipped,
    /// Empty is not heard.
    EmptyLost,
    /// An Exited is not heard.
    ExitedLost,
    /// A signal to a unit in any state.
    KillAnyTime,
    /// A start goes on although the stop has begun.
    StartInStop,
    /// The budget is doubled.
    BudgetDoubled,
    /// At half a second before the end nothing is killed.
    LastKillMissing,
    /// The second stop signal is not heard.
    HurryLost,
    /// The sweep before the exit is left out.
    SweepSkipped,
    /// Something is done after the exit.
    ActionAfterExit,
    /// The stop does not go in reverse order.
    StopAtOnce,
    /// A failed fork is tried again at once.
    ForkAtOnce,
    /// READY=1 is not waited for.
    ReadyAtFork,
    /// Anybody may say READY=1.
    StrangerHeard,
    /// One good probe is enough.
    ThresholdIgnored,
    /// One bad probe more than Retries=.
    RetriesOff,
    /// OnUnhealthy= is turned round.
    UnhealthyTurned,
    /// A main process is asked twice at once.
    ProbeTwice,
    /// WatchdogSec= is forgotten.
    WatchdogDeaf,
    /// WATCHDOG=1 is not heard.
    PingLost,
    /// Nobody opens the sockets before the start.
    SocketIgnored,
    /// The sockets are not closed.
    UnlistenLost,
    /// The signals go out although somebody is queued.
    QuietIgnored,
}

impl Bug {
    /// Every bug.
    pub(super) const ALL: [Bug; 42] = [
        Bug::NoDeadline,
        Bug::DeadlineStays,
        Bug::KillDropped,
        Bug::SpawnTwice,
        Bug::RestartTwice,
        Bug::AfterIgnored,
        Bug::RequiresIgnored,
        Bug::BindsToIgnored,
        Bug::ConflictIgnored,
        Bug::ConditionIgnored,
        Bug::DelayWrong,
        Bug::DelayConstant,
        Bug::LimitOff,
        Bug::ResetEarly,
        Bug::FailureIgnored,
        Bug::ExitCodeWrong,
        Bug::ExitCodeZero,
        Bug::ReplyForgotten,
        Bug::ReplyTwice,
        Bug::StateSkipped,
        Bug::EmptyLost,
        Bug::ExitedLost,
        Bug::KillAnyTime,
        Bug::StartInStop,
        Bug::BudgetDoubled,
        Bug::LastKillMissing,
        Bug::HurryLost,
        Bug::SweepSkipped,
        Bug::ActionAfterExit,
        Bug::StopAtOnce,
        Bug::ForkAtOnce,
        Bug::ReadyAtFork,
        Bug::StrangerHeard,
        Bug::ThresholdIgnored,
        Bug::RetriesOff,
        Bug::UnhealthyTurned,
        Bug::ProbeTwice,
        Bug::WatchdogDeaf,
        Bug::PingLost,
        Bug::SocketIgnored,
        Bug::UnlistenLost,
        Bug::QuietIgnored,
    ];
}

/// Stands between the manager and the world.
pub(super) struct Planted {
    bug: Option<Bug>,
    count: u32,
    stopping: bool,
    past: Option<Timestamp>,
    last: Option<Box<SpawnRequest>>,
    units: Vec<Arc<Unit>>,
}

impl Planted {
    pub(super) fn new(bug: Option<Bug>) -> Planted {
        Planted { bug, count: 0, stopping: false, past: None, last: None, units: Vec::new() }
    }

    /// True for the second of its kind and every third after it.
    fn now_and_then(&mut self) -> bool {
        self.count += 1;
        self.count % 3 == 2
    }

    /// What the manager is told of the units and the configuration.
    pub(super) fn distort(&self, plan: &Plan) -> (UnitSet, ManagerConfig) {
        let (mut set, mut config) = (plan.set.clone(), plan.config.clone());
        let Some(bug) = self.bug else { return (set, config) };
        if bug == Bug::BudgetDoubled {
            config.shutdown_timeout *= 2;
        }
        for unit in set.units.values_mut() {
            distort_unit(bug, Arc::make_mut(unit));
        }
        (set, config)
    }

    /// What the manager hears of an event.
    pub(super) fn event(&mut self, event: Event) -> Option<Event> {
        match (self.bug, &event) {
            (Some(Bug::EmptyLost), Event::Empty { .. })
            | (Some(Bug::ExitedLost), Event::Exited { .. }) => {
                (!self.now_and_then()).then_some(event)
            }
            (Some(Bug::PingLost), Event::Notified { notice, .. })
                if notice.watchdog == Some(Watchdog::Ping) =>
            {
                None
            }
            (Some(Bug::HurryLost), Event::Signal(_)) if self.stopping => None,
            (Some(Bug::ConditionIgnored), Event::Checked { unit, .. }) => {
                Some(Event::Checked { unit: unit.clone(), outcome: CheckOutcome::Met })
            }
            _ => Some(event),
        }
    }

    /// When the manager says that it wants to be woken.
    pub(super) fn deadline(&self, deadline: Option<Timestamp>) -> Option<Timestamp> {
        match self.bug {
            Some(Bug::NoDeadline) => None,
            Some(Bug::DeadlineStays) => self.past.or(deadline),
            Some(_) | None => deadline,
        }
    }

    /// An answer that is given without doing the action.
    pub(super) fn answer(&self, action: &Action) -> Option<Event> {
        match (self.bug, action) {
            (Some(Bug::SweepSkipped), Action::KillEverything { .. }) => Some(Event::NothingLeft),
            _ => None,
        }
    }

    /// What the world sees of an action.
    pub(super) fn action(&mut self, action: Action, out: &mut Vec<Action>) {
        let Some(bug) = self.bug else { return out.push(action) };
        let stops = matches!(action, Action::Record(Fact::Stopping { .. }));
        self.stopping |= stops;
        match (bug, action) {
            (Bug::KillDropped, Action::KillUnit { unit, signal: Some(Signal::KILL) }) => {
                out.push(Action::KillUnit { unit, signal: None });
            }
            (Bug::ProbeTwice, action @ Action::Probe { .. }) => {
                out.extend([action.clone(), action]);
            }
            (Bug::SpawnTwice, Action::Spawn(request)) => self.spawn_twice(request, out),
            (Bug::RestartTwice | Bug::StartInStop, action) => self.spawn_again(bug, action, out),
            (Bug::ExitCodeWrong, Action::Exit { code }) => {
                out.push(Action::Exit { code: code.wrapping_add(1) });
            }
            (Bug::ExitCodeZero, Action::Exit { .. }) => out.push(Action::Exit { code: 0 }),
            (Bug::UnlistenLost, Action::Unlisten { .. }) => (),
            (Bug::QuietIgnored, Action::Quiesce { unit }) => {
                let signal = Some(Signal::TERM);
                out.extend([
                    Action::Quiesce { unit: unit.clone() },
                    Action::KillUnit { unit, signal },
                ]);
            }
            (Bug::ReplyForgotten, Action::Reply { .. }) if self.now_and_then() => (),
            (Bug::ReplyTwice, action @ Action::Reply { .. }) => {
                out.extend([action.clone(), action])
            }
            (Bug::StateSkipped, Action::Record(Fact::State { .. })) if self.now_and_then() => (),
            (Bug::LastKillMissing, Action::KillEverything { signal: Signal::KILL }) => {
                out.push(Action::KillEverything { signal: Signal::CONT });
            }
            (Bug::ActionAfterExit, action @ Action::Exit { .. }) => {
                out.extend([action, Action::KillEverything { signal: Signal::TERM }]);
            }
            (Bug::DeadlineStays, action) => {
                self.past = Some(Timestamp::ZERO);
                out.push(action);
            }
            (Bug::KillAnyTime | Bug::StopAtOnce, action) => self.kill_now(bug, action, out),
            (Bug::ForkAtOnce, Action::Record(fact)) => {
                if let (Fact::SpawnFailed { retry_in: Some(_), .. }, Some(request)) =
                    (&fact, self.last.take())
                {
                    out.extend([Action::Record(fact), Action::Spawn(request)]);
                } else {
                    out.push(Action::Record(fact));
                }
            }
            (Bug::ForkAtOnce, Action::Spawn(request)) => {
                self.last = Some(request.clone());
                out.push(Action::Spawn(request));
            }
            (_, action) => out.push(action),
        }
    }

    fn spawn_twice(&mut self, request: Box<SpawnRequest>, out: &mut Vec<Action>) {
        if request.role == ProcessRole::ExecStart {
            let mut again = request.clone();
            again.process = ProcessId(request.process.0 + (1 << 40));
            out.extend([Action::Spawn(request), Action::Spawn(again)]);
        } else {
            out.push(Action::Spawn(request));
        }
    }

    /// Starts the last main process once more: at a restart, or when the stop begins.
    fn spawn_again(&mut self, bug: Bug, action: Action, out: &mut Vec<Action>) {
        let restart = matches!(action, Action::Record(Fact::RestartScheduled { .. }));
        let stopping = matches!(action, Action::Record(Fact::Stopping { .. }));
        if let Action::Spawn(request) = &action {
            if request.role == ProcessRole::ExecStart {
                self.last = Some(request.clone());
            }
        }
        out.push(action);
        if bug == Bug::RestartTwice && restart || bug == Bug::StartInStop && stopping {
            if let Some(mut request) = self.last.take() {
                request.process = ProcessId(request.process.0 + (1 << 40));
                out.push(Action::Spawn(request));
            }
        }
    }

    /// Signals a unit out of turn: when it is ready, or all at once when the stop begins.
    fn kill_now(&mut self, bug: Bug, action: Action, out: &mut Vec<Action>) {
        if let Action::Spawn(request) = &action {
            if !self.units.iter().any(|unit| unit.name == request.unit.name) {
                self.units.push(Arc::clone(&request.unit));
            }
        }
        let ready = matches!(action, Action::Record(Fact::Started { .. }));
        let stopping = matches!(action, Action::Record(Fact::Stopping { .. }));
        out.push(action);
        if bug == Bug::KillAnyTime && ready || bug == Bug::StopAtOnce && stopping {
            for unit in &self.units {
                let unit = unit.name.clone();
                out.push(Action::KillUnit { unit, signal: Some(Signal::TERM) });
            }
        }
    }
}

fn distort_unit(bug: Bug, unit: &mut Unit) {
    let service = &mut unit.service;
    match bug {
        Bug::AfterIgnored => unit.after.clear(),
        Bug::RequiresIgnored => unit.wants.append(&mut unit.requires),
        Bug::BindsToIgnored => {
            let bound = std::mem::take(&mut unit.binds_to);
            unit.wants.extend(bound);
        }
        Bug::ConflictIgnored => unit.conflicts.clear(),
        Bug::SocketIgnored => unit.socket = None,
        Bug::DelayWrong => {
            service.restart_sec = service.restart_sec * 3 / 2;
            service.restart_max_delay = service.restart_max_delay.map(|max| max * 3 / 2);
        }
        Bug::DelayConstant => service.restart_max_delay = None,
        Bug::LimitOff => unit.start_limit_burst += 1,
        Bug::ResetEarly => service.restart_reset = Duration::ZERO,
        Bug::ReadyAtFork => {
            if matches!(service.kind, ServiceType::Notify | ServiceType::NotifyReload) {
                service.kind = ServiceType::Simple;
            }
        }
        Bug::StrangerHeard if service.notify_access != NotifyAccess::None => {
            service.notify_access = NotifyAccess::All;
        }
        Bug::WatchdogDeaf => service.watchdog = None,
        Bug::ThresholdIgnored | Bug::RetriesOff | Bug::UnhealthyTurned => {
            if let Some(health) = &mut service.health {
                distort_health(bug, health);
            }
        }
        Bug::FailureIgnored => unit.failure_action = ExitAction::None,
        Bug::LastKillMissing => service.kill_mode = KillMode::None,
        _ => (),
    }
}

fn distort_health(bug: Bug, health: &mut Health) {
    match (bug, health.on_unhealthy) {
        (Bug::ThresholdIgnored, _) => health.success_threshold = 1,
        (Bug::RetriesOff, _) => health.retries += 1,
        (_, OnUnhealthy::Restart) => health.on_unhealthy = OnUnhealthy::None,
        (_, OnUnhealthy::None) => health.on_unhealthy = OnUnhealthy::Restart,
    }
}
