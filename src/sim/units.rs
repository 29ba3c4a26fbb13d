//! Random sets of units: every type, restart mode, kill mode, timeout and kind of dependency.
//!
//! Not files and not `unit::verify`: a set drawn here is what a load without an error gives.
//! **Invariant:** the k-th unit depends on earlier ones only, so that there is no cycle, and
//! no start pulls in two units that conflict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::choices::{Choices, Label};
use crate::manager::event::ManagerConfig;
use crate::unit::command::ExecCommand;
use crate::unit::process::Signal;
use crate::unit::service::{
    ExitAction, KillMode, Restart, Service, ServiceSettings, ServiceType, TimeoutFailureMode,
};
use crate::unit::{Condition, ConditionKind, Dependency, StartedBy, Unit, UnitName, UnitSet};

/// At most so many units in a set, the COMMAND included.
pub(super) const MAX_UNITS: usize = 9;

const NAMES: [&str; 8] = [
    "a.service",
    "b.service",
    "c.service",
    "d.service",
    "e.service",
    "f.service",
    "g.service",
    "h.service",
];

/// How the processes of a unit tend to behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Temper {
    /// Nearly always well.
    Sound,
    /// Anything may happen.
    Moody,
    /// The main process ends early, again and again.
    Crashing,
    /// fork often fails.
    Starved,
}

/// A set of units, and what surrounds it.
pub(super) struct Plan {
    pub(super) set: UnitSet,
    pub(super) config: ManagerConfig,
    /// The units by index; bit k of a mask is the k-th of these.
    pub(super) units: Vec<Arc<Unit>>,
    pub(super) tempers: Vec<Temper>,
}

impl Plan {
    /// The index of a name; the names are one letter each, but for the COMMAND's.
    pub(super) fn index(&self, name: &UnitName) -> usize {
        match name.as_str().as_bytes() {
            [b'm', ..] => self.units.len() - 1,
            [letter, ..] => usize::from(letter - b'a'),
            [] => usize::MAX,
        }
    }

    /// What boot starts, as a mask.
    pub(super) fn boot(&self) -> u16 {
        self.set.boot().iter().fold(0, |mask, name| mask | 1 << self.index(name))
    }

    /// The indices of a list of dependencies, as a mask.
    pub(super) fn mask(&self, list: &[Dependency]) -> u16 {
        list.iter().fold(0, |mask, one| mask | 1 << self.index(&one.name))
    }
}

/// Draws a set.
pub(super) fn draw(choices: &mut Choices) -> Plan {
    let with_command = choices.rare(Label::Command, 6);
    let count = choices.pick(Label::Units, 8) + usize::from(!with_command);
    let count = count.min(NAMES.len());
    let steps = choices.of(Label::Steps, &[0, 0, 0, 1, 1, 2, 3]).min(count);
    let mut units: Vec<Unit> = Vec::with_capacity(MAX_UNITS);
    let mut tempers = Vec::with_capacity(MAX_UNITS);
    for (index, name) in NAMES.into_iter().enumerate().take(count) {
        let name = UnitName::parse(name).unwrap();
        let mut unit = Unit::new(name);
        unit.step = index < steps;
        tempers.push(dress(choices, &mut unit));
        units.push(unit);
    }
    if with_command {
        units.push(command_unit(choices));
        tempers.push(draw_temper(choices));
    }
    link(choices, &mut units, steps, with_command);
    handlers(choices, &mut units);
    sockets(choices, &mut units);
    let config = draw_config(choices, with_command.then(|| units[count].name.clone()));
    let units: Vec<Arc<Unit>> = units.into_iter().map(Arc::new).collect();
    let by_name = units.iter().map(|unit| (unit.name.clone(), Arc::clone(unit)));
    let set = UnitSet { units: by_name.collect::<BTreeMap<_, _>>(), ..UnitSet::default() };
    Plan { set, config, units, tempers }
}

/// Some services have a socket; of those that boot does not start, a connection starts them.
fn sockets(choices: &mut Choices, units: &mut [Unit]) {
    for unit in units.iter_mut().filter(|unit| unit.service.kind != ServiceType::Oneshot) {
        if choices.rare(Label::Socket, 3) {
            unit.socket = Some(Box::default());
        }
    }
}

fn draw_config(choices: &mut Choices, command: Option<UnitName>) -> ManagerConfig {
    let seconds = Duration::from_secs_f64;
    ManagerConfig {
        shutdown_timeout: seconds(
            choices.of(Label::Budget, &[9.0, 9.0, 9.0, 3.0, 30.0, 1.0, 0.3, 0.0]),
        ),
        drain: seconds(choices.of(Label::Drain, &[0.0, 0.0, 0.0, 0.0, 1.0, 20.0])),
        stop_signal: choices.rare(Label::StopSignal, 6).then_some(Signal::WINCH),
        command,
        seed: choices.pick(Label::Seed, 256) as u64,
    }
}

fn draw_temper(choices: &mut Choices) -> Temper {
    use Temper::{Crashing, Moody, Sound, Starved};
    choices.of(Label::Temper, &[Sound, Sound, Sound, Moody, Moody, Crashing, Crashing, Starved])
}

fn command_unit(choices: &mut Choices) -> Unit {
    let mut unit = Unit::new(UnitName::parse("main.service").unwrap());
    unit.success_action = ExitAction::Exit;
    unit.service.exec_start = vec![command(false)].into();
    if choices.rare(Label::Plain, 2) {
        unit.service.timeout_stop = timeout(choices, Label::TimeoutStop, Duration::from_secs(90));
        kill(choices, &mut unit.service);
    }
    unit
}

fn command(ignore_failure: bool) -> ExecCommand {
    ExecCommand {
        program: String::from("x"),
        argv0: None,
        arguments: Vec::new(),
        ignore_failure,
        no_expansion: false,
        full_privileges: false,
        no_setuid: false,
    }
}

/// Everything of a unit but its dependencies.
fn dress(choices: &mut Choices, unit: &mut Unit) -> Temper {
    let temper = draw_temper(choices);
    let demand = !unit.step && choices.rare(Label::Demand, 4);
    if demand {
        unit.started_by = StartedBy::Demand;
        unit.failure_action = ExitAction::None;
    }
    use ServiceType::{Exec, Idle, Oneshot, Simple};
    let drawn =
        choices.of(Label::Kind, &[Simple, Simple, Simple, Exec, Exec, Oneshot, Oneshot, Idle]);
    unit.service.kind = if unit.step { Oneshot } else { drawn };
    if unit.service.kind == Oneshot {
        unit.service.timeout_start = None;
        unit.service.remain_after_exit = choices.rare(Label::Remain, 2);
    }
    unit.service.exec_start = vec![command(false)].into();
    unit.service.restart = restart(choices, unit.service.kind);
    super::talk::dress(choices, &mut unit.service);
    if choices.pick(Label::Plain, 3) != 0 {
        commands(choices, &mut unit.service);
        restarts(choices, &mut unit.service);
        timeouts(choices, &mut unit.service);
        kill(choices, &mut unit.service);
    }
    limits(choices, unit);
    actions(choices, unit);
    conditions(choices, unit);
    temper
}

fn restart(choices: &mut Choices, kind: ServiceType) -> Restart {
    use Restart::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess, OnWatchdog};
    match choices.of(
        Label::Restart,
        &[No, No, OnFailure, OnFailure, Always, Always, OnSuccess, OnAbnormal, OnAbort, OnWatchdog],
    ) {
        Always | OnSuccess if kind == ServiceType::Oneshot => OnFailure,
        restart => restart,
    }
}

fn commands(choices: &mut Choices, service: &mut Service) {
    let lists = choices.pick(Label::Lists, 128);
    let one = |choices: &mut Choices, bit: usize| -> Vec<ExecCommand> {
        if lists & (1 << bit) == 0 || choices.rare(Label::Commands, 3) {
            return Vec::new();
        }
        let count = 1 + choices.pick(Label::Commands, 2);
        (0..count).map(|_| command(choices.rare(Label::Dash, 4))).collect()
    };
    service.exec_start_pre = one(choices, 0);
    service.exec_start_post = one(choices, 1);
    service.exec_stop = one(choices, 2);
    service.exec_stop_post = one(choices, 3);
    service.exec_reload = one(choices, 4);
    service.exec_condition = one(choices, 5);
    if service.kind == ServiceType::Oneshot {
        service.exec_start.extend(one(choices, 6));
        if choices.rare(Label::Commands, 12) && !service.exec_stop.is_empty() {
            service.exec_start.clear(); // only ExecStop=: legal with RemainAfterExit=
            service.remain_after_exit = true;
        }
    } else {
        service.remain_after_exit = choices.rare(Label::Remain, 8);
        service.exec_start[0].ignore_failure = choices.rare(Label::Dash, 12);
    }
}

fn restarts(choices: &mut Choices, service: &mut Service) {
    let ms = |ms: u64| Duration::from_millis(ms);
    service.restart_sec = ms(choices.of(Label::RestartSec, &[100, 0, 1, 1000, 7, 5000, 31_000]));
    service.restart_steps = choices.of(Label::RestartSteps, &[None, None, Some(1), Some(3)]);
    let max = choices.of(Label::RestartMax, &[Some(30_000), None, Some(1000), Some(5000), Some(0)]);
    service.restart_max_delay = max.map(ms);
    service.restart_reset = ms(choices.of(Label::RestartReset, &[10_000, 0, 1000, 60_000]));
    let statuses = choices.pick(Label::Statuses, 32);
    if statuses >= 24 {
        let service: &mut ServiceSettings = service;
        let clean = [&mut service.success_exit_status, &mut service.restart_prevent_exit_status];
        for (bit, set) in clean.into_iter().enumerate() {
            if statuses & (1 << bit) != 0 {
                set.codes.insert(3);
                set.signals.insert(Signal::SEGV);
            }
        }
        if statuses & 4 != 0 && service.kind != ServiceType::Oneshot {
            service.restart_force_exit_status.codes.insert(0);
        }
    }
}

fn timeout(choices: &mut Choices, label: Label, default: Duration) -> Option<Duration> {
    let ms = |ms: u64| Some(Duration::from_millis(ms));
    choices.of(label, &[Some(default), Some(default), ms(1000), ms(100), ms(5000), ms(0), None])
}

fn timeouts(choices: &mut Choices, service: &mut Service) {
    use TimeoutFailureMode::{Abort, Kill, Terminate};
    let modes = [Terminate, Terminate, Abort, Kill];
    if service.kind != ServiceType::Oneshot || choices.rare(Label::TimeoutStart, 2) {
        let drawn = timeout(choices, Label::TimeoutStart, Duration::from_secs(90));
        service.timeout_start = drawn;
    }
    service.timeout_stop = timeout(choices, Label::TimeoutStop, Duration::from_secs(90));
    service.timeout_start_failure_mode = choices.of(Label::TimeoutMode, &modes);
    service.timeout_stop_failure_mode = choices.of(Label::TimeoutMode, &modes);
    if choices.rare(Label::TimeoutMode, 4) {
        service.timeout_abort = Some(Duration::from_millis(700));
    }
    if service.kind != ServiceType::Oneshot {
        let second = Duration::from_secs(1);
        service.runtime_max = choices
            .of(Label::RuntimeMax, &[None, None, None, None, Some(second), Some(8 * second)]);
        if choices.rare(Label::RuntimeMax, 4) {
            service.runtime_randomized_extra = 2 * second;
        }
    }
}

fn kill(choices: &mut Choices, service: &mut Service) {
    use KillMode::{ControlGroup, Mixed, None, Process};
    let modes = [ControlGroup, ControlGroup, ControlGroup, Mixed, Mixed, Process, None];
    service.kill_mode = choices.of(Label::KillMode, &modes);
    let signals =
        [Signal::TERM, Signal::TERM, Signal::TERM, Signal::INT, Signal::QUIT, Signal::KILL];
    service.kill_signal = choices.of(Label::KillSignal, &signals);
    if choices.rare(Label::KillSignal, 5) {
        service.restart_kill_signal = Some(Signal::INT);
    }
    let flags = choices.pick(Label::KillFlags, 16);
    service.send_sighup = flags & 3 == 3;
    service.send_sigkill = flags & 12 != 12;
}

fn limits(choices: &mut Choices, unit: &mut Unit) {
    let ms = |ms: u64| Duration::from_millis(ms);
    unit.start_limit_interval =
        ms(choices.of(Label::LimitInterval, &[10_000, 10_000, 0, 1000, 60_000]));
    if unit.service.restart_sec < ms(100) && unit.start_limit_interval.is_zero() {
        unit.start_limit_interval = ms(1000); // else the unit itself asks for a busy loop
    }
    unit.start_limit_burst = choices.of(Label::LimitBurst, &[5, 5, 2, 3, 1]);
    let seconds = choices.of(Label::JobTimeout, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 20]);
    unit.job_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
}

fn actions(choices: &mut Choices, unit: &mut Unit) {
    use ExitAction::{Exit, ExitForce, None};
    let drawn = choices.pick(Label::FailureAction, 12);
    unit.failure_action = match (drawn, unit.started_by) {
        (0..6, _) => unit.failure_action,
        (6..10, _) => None,
        (10, _) => Exit,
        (_, _) => ExitForce,
    };
    let rarely = [None, None, None, None, None, None, None, None, None, Exit, ExitForce];
    unit.start_limit_action = choices.of(Label::LimitAction, &rarely);
    unit.success_action = choices.of(Label::SuccessAction, &rarely);
    if choices.rare(Label::SuccessAction, 8) {
        unit.success_action_exit_status = Some(40);
        unit.failure_action_exit_status = Some(41);
    }
}

fn conditions(choices: &mut Choices, unit: &mut Unit) {
    let one = || Condition {
        kind: ConditionKind::PathExists,
        parameter: String::from("/x"),
        trigger: false,
        negate: false,
    };
    match choices.pick(Label::Condition, 12) {
        10 => unit.conditions.push(one()),
        11 => unit.asserts.push(one()),
        _ => (),
    }
}

/// Dependencies on earlier units, the implicit order after steps, and the COMMAND's after all.
fn link(choices: &mut Choices, units: &mut [Unit], steps: usize, with_command: bool) {
    let mut loners = 0_u16; // units with Conflicts=: nobody requires them
    let count = units.len();
    for index in 0..count {
        let (before, rest) = units.split_at_mut(index);
        let Some(unit) = rest.first_mut() else { continue };
        let last = with_command && index + 1 == count;
        for (j, other) in before.iter_mut().enumerate() {
            if j < steps || last {
                unit.after.push(on(other));
                if j < steps && other.failure_action != ExitAction::None {
                    unit.requires.push(on(other));
                } else if j < steps {
                    unit.wants.push(on(other));
                }
                continue;
            }
            let kind = choices.pick(Label::Link, 28);
            let alone = (loners >> j | loners >> index) & 1 == 1;
            if kind == 27 && unit.started_by == StartedBy::Demand && unrelated(unit) {
                loners |= 1 << index;
                unit.conflicts.push(on(other));
            } else if alone {
                if kind > 14 {
                    unit.after.push(on(other));
                }
            } else {
                depend(unit, other, kind);
            }
        }
    }
}

fn unrelated(unit: &Unit) -> bool {
    let lists = [&*unit.requires, &*unit.wants, &unit.binds_to, &unit.upholds, &unit.part_of];
    lists.iter().all(|list| list.is_empty()) && unit.requisite.is_empty()
}

fn depend(unit: &mut Unit, other: &mut Unit, kind: usize) {
    let list = match kind {
        12..=14 => &mut unit.after,
        15 | 16 | 24 => &mut unit.requires,
        17 | 25 => &mut unit.wants,
        18 | 19 => &mut unit.binds_to,
        20 => &mut unit.requisite,
        21 | 26 => &mut unit.part_of,
        22 => &mut unit.upholds,
        23 => {
            unit.wants.push(on(other));
            &mut unit.part_of
        }
        _ => return,
    };
    list.push(on(other));
    if (15..=21).contains(&kind) {
        unit.after.push(on(other));
    }
}

fn on(other: &Unit) -> Dependency {
    Dependency { name: other.name.clone(), span: None }
}

/// `OnFailure=` and `OnSuccess=`: a later unit that only something else starts.
fn handlers(choices: &mut Choices, units: &mut [Unit]) {
    for index in 0..units.len() {
        let drawn = choices.pick(Label::Handler, 6);
        let Some(handler) = units
            .iter()
            .skip(index + 1)
            .rfind(|unit| unit.started_by == StartedBy::Demand && unit.conflicts.is_empty())
        else {
            continue;
        };
        let handler = on(handler);
        match drawn {
            3 | 4 => units[index].on_failure.push(handler),
            5 => units[index].on_success.push(handler),
            _ => (),
        }
    }
}
