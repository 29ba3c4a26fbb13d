//! `/metrics`: which families there are, and from what.
//!
//! Not how they are written (`exposition`). Instances have samples of their own, named as their
//! units are (`web@1.service`), with `instance_of` to sum by; what can be summed is not given for
//! their service once more. There is no label `instance`: that is Prometheus' own word for a
//! scraped address. **Invariant:** what is not known has no sample; a time is a moment in seconds
//! since 1970, never an age.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Answer;
use super::exposition::{Exposition, Format, Kind, Label};
use super::view::View;
use crate::control::usage::Usage;
use crate::manager::readiness::Readiness;
use crate::manager::state::ActiveState;
use crate::manager::status::{SystemState, UnitStatus};
use crate::unit::UnitName;
use crate::unit::process::ExitStatus;

const ACTIVE_STATES: [ActiveState; 6] = [
    ActiveState::Active,
    ActiveState::Reloading,
    ActiveState::Inactive,
    ActiveState::Failed,
    ActiveState::Activating,
    ActiveState::Deactivating,
];

const SYSTEM_STATES: [SystemState; 4] =
    [SystemState::Starting, SystemState::Running, SystemState::Degraded, SystemState::Stopping];

/// All of them.
pub fn answer(format: Format, view: &dyn View) -> Answer {
    let mut text = Exposition::new(format);
    let mut units = view.used_units();
    // Who connects is not to decide how many series there are.
    units.retain(|(unit, _)| unit.unit.connection_of.is_none());
    of_the_whole(&mut text, view);
    of_the_life(&mut text, &units, view);
    of_the_instances(&mut text, &units);
    of_usage(&mut text, &units);
    of_rinit(&mut text, view);
    Answer { status: 200, content_type: format.content_type(), headers: "", body: text.finish() }
}

fn of_the_whole(text: &mut Exposition, view: &dyn View) {
    let (state, readiness): (SystemState, Readiness) = (view.system_state(), view.readiness());
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family(Kind::Info, "rinit_build", "The version of rinit.").sample(&version, true);
    let mut family =
        text.family(Kind::Gauge, "rinit_system_state", "1 for the state of the whole.");
    for known in SYSTEM_STATES {
        family.sample(&[("state", known.as_str())], known == state);
    }
    text.family(Kind::Gauge, "rinit_ready", "Whether /readyz says 200.")
        .sample(&[], readiness.is_ready());
}

/// `unit`, and of an instance the service that it is one of.
fn labels(unit: &UnitStatus) -> [Label<'_>; 2] {
    let service = unit.instance_of.as_ref().map_or("", UnitName::as_str);
    [("unit", unit.unit.name.as_str()), ("instance_of", service)]
}

fn of_the_life(text: &mut Exposition, units: &[(UnitStatus, Usage)], view: &dyn View) {
    let mut family = text.family(
        Kind::Gauge,
        "rinit_unit_state",
        "1 for the unit's ActiveState, as systemd has it.",
    );
    for (unit, _) in units {
        let [name, service] = labels(unit);
        for state in ACTIVE_STATES {
            let is_it = unit.state.active_state() == state;
            family.sample(&[name, service, ("state", state.as_str())], is_it);
        }
    }
    let mut family = text.family(
        Kind::Gauge,
        "rinit_unit_ready",
        "Whether the unit is up, and not found ill by its probes; of a service with instances, whether one is.",
    );
    for (unit, _) in units {
        family.sample(&labels(unit), is_ready(unit));
    }
    // A service with instances has the sum of theirs: that is not said twice.
    let single = || units.iter().map(|(unit, _)| unit).filter(|unit| unit.instances.is_none());
    let mut family = text.family(
        Kind::Counter,
        "rinit_unit_restarts",
        "Automatic restarts since somebody started the unit (NRestarts).",
    );
    single().for_each(|unit| family.sample(&labels(unit), u64::from(unit.n_restarts)));
    let mut family = text.family(
        Kind::Gauge,
        "rinit_unit_start_time_seconds",
        "When the main process that runs was started, since 1970.",
    );
    for (unit, since) in single().filter_map(|unit| Some((unit, unit.main_since?))) {
        family.sample(&labels(unit), view.wall(since));
    }
    let mut family = text.family(
        Kind::Gauge,
        "rinit_unit_last_exit_status",
        "How the last main process ended: its status, or 128+n for signal n.",
    );
    for (unit, exit) in single().filter_map(|unit| Some((unit, unit.last_exit?))) {
        family.sample(&labels(unit), exit_number(exit));
    }
}

/// Ready as a part: `/readyz` asks more of the whole.
pub(super) fn is_ready(unit: &UnitStatus) -> bool {
    let up = matches!(unit.state.active_state(), ActiveState::Active | ActiveState::Reloading);
    unit.healthy != Some(false) && unit.instances.as_ref().map_or(up, |it| it.ready > 0)
}

fn exit_number(exit: ExitStatus) -> u64 {
    match exit {
        ExitStatus::Exited(code) => u64::from(code),
        ExitStatus::Killed { signal, .. } => 128 + u64::try_from(signal.number()).unwrap_or(0),
    }
}

fn of_the_instances(text: &mut Exposition, units: &[(UnitStatus, Usage)]) {
    let groups = || units.iter().filter_map(|(unit, _)| Some((unit, unit.instances.as_ref()?)));
    let mut family =
        text.family(Kind::Gauge, "rinit_unit_instances", "So many instances there are to be.");
    groups().for_each(|(unit, it)| family.sample(&labels(unit), u64::from(it.wanted)));
    let mut family =
        text.family(Kind::Gauge, "rinit_unit_instances_ready", "So many instances are ready.");
    groups().for_each(|(unit, it)| family.sample(&labels(unit), u64::from(it.ready)));
    let mut family = text.family(
        Kind::Gauge,
        "rinit_unit_instances_exhausted",
        "So many instances used up their start limit and are tried seldom.",
    );
    groups().for_each(|(unit, it)| family.sample(&labels(unit), u64::from(it.exhausted)));
}

fn of_usage(text: &mut Exposition, units: &[(UnitStatus, Usage)]) {
    type Get = fn(&Usage) -> Option<u64>;
    let numbers: [(Kind, &str, &str, Get); 4] = [
        (Kind::Gauge, "rinit_unit_memory_current_bytes", "Memory in use.", |it| it.current),
        (
            Kind::Gauge,
            "rinit_unit_memory_peak_bytes",
            "The most memory that was ever in use.",
            |it| it.peak,
        ),
        (Kind::Gauge, "rinit_unit_memory_max_bytes", "As much memory as may be in use.", |it| {
            it.max
        }),
        (Kind::Counter, "rinit_unit_oom_kills", "Processes killed for want of memory.", |it| {
            it.oom_kills
        }),
    ];
    for (kind, name, help, get) in numbers {
        let mut family = text.family(kind, name, help);
        for (unit, number) in units.iter().filter_map(|(unit, it)| Some((unit, get(it)?))) {
            family.sample(&labels(unit), number);
        }
    }
    let help = "Time on CPUs of the unit's processes, of those that are gone as well.";
    let mut family = text.family(Kind::Counter, "rinit_unit_cpu_seconds", help);
    for (unit, cpu) in units.iter().filter_map(|(unit, it)| Some((unit, it.cpu?))) {
        family.sample(&labels(unit), cpu);
    }
}

fn of_rinit(text: &mut Exposition, view: &dyn View) {
    let own = view.own();
    for (name, help, value) in [
        ("rinit_loop_turns", "Turns of rinit's loop.", own.turns),
        ("rinit_loop_events", "Events that rinit's loop took.", own.events),
        ("rinit_http_requests", "Requests over HTTP that were answered.", own.requests),
    ] {
        text.family(Kind::Counter, name, help).sample(&[], value);
    }
    text.family(
        Kind::Counter,
        "rinit_loop_busy_seconds",
        "What turns of the loop took, waits not counted.",
    )
    .sample(&[], own.busy);
    text.family(Kind::Gauge, "rinit_loop_longest_turn_seconds", "The longest turn of the loop.")
        .sample(&[], own.longest);
    // Prometheus' own names for the process that is scraped.
    text.family(Kind::Gauge, "process_start_time_seconds", "When rinit began, since 1970.")
        .sample(&[], view.wall(own.started));
    if let Some(cpu) = own.cpu {
        text.family(Kind::Counter, "process_cpu_seconds", "rinit's own time on CPUs.")
            .sample(&[], cpu);
    }
    for (name, help, value) in [
        ("process_resident_memory_bytes", "rinit's own resident memory.", own.resident),
        ("process_open_fds", "rinit's own open descriptors.", own.open_fds),
        ("process_max_fds", "As many descriptors as rinit may have.", own.max_fds),
    ] {
        if let Some(value) = value {
            text.family(Kind::Gauge, name, help).sample(&[], value);
        }
    }
}
