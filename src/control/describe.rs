//! A unit in JSON: systemd's names and values for what rinit knows of it.
//!
//! Not where it comes from (`manager::status`, and pids and clocks from `init`). **Invariant:** a
//! property always has the same type, whether there is something to say or not.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::manager::event::{InvocationId, ProcessId};
use crate::manager::state::ActiveState;
use crate::manager::status::UnitStatus;
use crate::manager::time::Timestamp;
use crate::unit::process::ExitStatus;
use crate::unit::service::{KillMode, NotifyAccess, Restart, ServiceType};
use crate::unit::{Dependency, StartedBy, Unit, UnitName};

/// What only the shell knows.
pub struct Shell<'a> {
    /// The time of a moment, as RFC 3339.
    pub wall: &'a dyn Fn(Timestamp) -> String,
    /// The pid of a process that is not reaped yet.
    pub pid: &'a dyn Fn(ProcessId) -> Option<i32>,
    /// Now.
    pub now: Timestamp,
    /// The file was changed after it was read.
    pub file_changed: bool,
    /// How many descriptors are stored for it.
    pub n_stored: usize,
    /// What it uses, and by what that is limited ([`super::usage::Usage::properties`]).
    pub usage: &'a Value,
}

impl std::fmt::Debug for Shell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("now", &self.now).finish_non_exhaustive()
    }
}

/// `Description=`, for which the name stands in.
fn description(unit: &Unit) -> &str {
    if unit.description.is_empty() { unit.name.as_str() } else { &unit.description }
}

/// systemctl's words for whether boot starts it: what rinit made has no file to say so.
fn file_state(unit: &Unit) -> &'static str {
    match unit.started_by {
        _ if unit.instance_of.is_some() => "static",
        StartedBy::Boot => "enabled",
        StartedBy::Demand => "disabled",
    }
}

fn load_state(status: &UnitStatus) -> &'static str {
    if status.loaded { "loaded" } else { "not-found" }
}

/// One line of `List`.
pub fn list_entry(status: &UnitStatus) -> Value {
    json!({
        "unit": status.unit.name.as_str(),
        "load": load_state(status),
        "active": status.state.active_state().as_str(),
        "sub": status.state.as_str(),
        "description": description(&status.unit),
    })
}

/// `Describe`.
pub fn properties(status: &UnitStatus, all: &[Arc<Unit>], shell: &Shell<'_>) -> Value {
    let mut properties = Map::new();
    let Value::Object(fields) = of_the_run(status, shell) else { return Value::Null };
    properties.extend(fields);
    let Value::Object(fields) = of_the_unit(&status.unit) else { return Value::Null };
    properties.extend(fields);
    properties.extend(shell.usage.as_object().cloned().unwrap_or_default());
    let Value::Object(fields) = of_the_instances(status, all) else { return Value::Null };
    properties.extend(fields);
    for (kind, names) in dependencies(&status.unit, all) {
        properties.insert(kind.to_owned(), json!(names));
    }
    Value::Object(properties)
}

fn of_the_run(status: &UnitStatus, shell: &Shell<'_>) -> Value {
    let wall = |at: Option<Timestamp>| at.map(shell.wall).unwrap_or_default();
    let pid = |process: Option<ProcessId>| process.and_then(shell.pid).unwrap_or(0);
    let (code, exit_status) = match status.main_exit {
        None => ("", 0),
        Some(ExitStatus::Exited(code)) => ("exited", i32::from(code)),
        Some(ExitStatus::Killed { signal, core_dumped: false }) => ("killed", signal.number()),
        Some(ExitStatus::Killed { signal, core_dumped: true }) => ("dumped", signal.number()),
    };
    let invocation = match status.invocation {
        InvocationId(0) => String::new(),
        id => id.to_string(),
    };
    let is_down =
        matches!(status.state.active_state(), ActiveState::Inactive | ActiveState::Failed);
    let next = status.restart_at.map_or(Duration::ZERO, |at| at.since(shell.now));
    let since = status.since.map_or(Duration::ZERO, Timestamp::since_start);
    json!({
        "LoadState": load_state(status),
        "ActiveState": status.state.active_state().as_str(),
        "SubState": status.state.as_str(),
        "Result": status.result.as_str(),
        "MainPID": pid(status.main),
        "ControlPID": pid(status.control),
        "NRestarts": status.n_restarts,
        "ExecMainCode": code,
        "ExecMainStatus": exit_status,
        "ExecMainStartTimestamp": wall(status.main_since),
        "ActiveEnterTimestamp": wall(status.ready_at),
        // Not recorded: it is in the exit event.
        "ExecMainExitTimestamp": "",
        "InactiveEnterTimestamp": if is_down { wall(status.since) } else { String::new() },
        "StateChangeTimestamp": wall(status.since),
        "StateChangeTimestampMonotonic": usec(since),
        "InvocationID": invocation,
        "RestartNextUSec": usec(next),
        "RestartAttempt": status.attempt,
        "NeedDaemonReload": shell.file_changed,
        "Job": status.job.map_or("", |kind| kind.verb()),
        "StatusText": status.status_text.as_deref().unwrap_or_default(),
        "StatusErrno": status.status_errno.unwrap_or(0),
        "NFileDescriptorStore": shell.n_stored,
        "Health": health_word(status),
        "InstanceOf": status.instance_of.as_ref().map_or("", UnitName::as_str),
        "Exhausted": status.exhausted,
    })
}

/// `healthy`, `unhealthy`; `unknown` until a probe was answered, and nothing without probes.
fn health_word(status: &UnitStatus) -> &'static str {
    let is_asked = status.unit.service.health.is_some() && status.instances.is_none();
    match status.healthy {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None if is_asked && status.main.is_some() => "unknown",
        None => "",
    }
}

/// The instances of a service; 0 and nothing for any other.
fn of_the_instances(status: &UnitStatus, all: &[Arc<Unit>]) -> Value {
    let name = &status.unit.name;
    let own = all.iter().filter(|unit| unit.instance_of.as_ref() == Some(name));
    let names: Vec<&str> = own.map(|unit| unit.name.as_str()).collect();
    let count = status.instances.as_ref();
    let roll = count.and_then(|count| count.roll.as_ref());
    let current = roll.map_or(&[][..], |roll| &roll.current);
    json!({
        "Instances": names,
        "InstancesWanted": count.map_or(0, |count| count.wanted),
        "InstancesReady": count.map_or(0, |count| count.ready),
        "InstancesExhausted": count.map_or(0, |count| count.exhausted),
        "InstancesOutdated": count.map_or(0, |count| count.outdated),
        "Rolling": roll.is_some(),
        "RollBack": roll.is_some_and(|roll| roll.back),
        "RollDone": roll.map_or(0, |roll| roll.done),
        "RollTotal": roll.map_or(0, |roll| roll.total),
        "RollCurrent": current.iter().map(UnitName::as_str).collect::<Vec<_>>(),
    })
}

fn of_the_unit(unit: &Unit) -> Value {
    let (service, exec) = (&unit.service, &unit.service.exec);
    let path = unit.file.as_ref().map(|file| file.path.display().to_string());
    let directory = exec.working_directory.as_ref().map_or("", |directory| &directory.path);
    json!({
        "Id": unit.name.as_str(),
        "Names": [unit.name.as_str()],
        "Description": description(unit),
        "Documentation": unit.documentation,
        "FragmentPath": path.unwrap_or_default(),
        "UnitFileState": file_state(unit),
        "Type": type_word(service.kind),
        "Restart": restart_word(service.restart),
        "RestartUSec": usec(service.restart_sec),
        "RestartMaxDelayUSec": service.restart_max_delay.map_or(u64::MAX, usec),
        "RemainAfterExit": service.remain_after_exit,
        "StartLimitBurst": unit.start_limit_burst,
        "StartLimitIntervalUSec": usec(unit.start_limit_interval),
        "TimeoutStartUSec": service.timeout_start.map_or(u64::MAX, usec),
        "TimeoutStopUSec": service.timeout_stop.map_or(u64::MAX, usec),
        "KillMode": kill_mode_word(service.kill_mode),
        "KillSignal": service.kill_signal.number(),
        "CanReload": !service.exec_reload.is_empty()
            || service.kind == ServiceType::NotifyReload
            || service.instances.is_some(),
        "NotifyAccess": access_word(service.notify_access),
        "WatchdogUSec": service.watchdog.map_or(0, usec),
        "FileDescriptorStoreMax": service.descriptor_store_max,
        "PIDFile": service.pid_file.as_deref().unwrap_or_default(),
        "User": exec.user.as_deref().unwrap_or_default(),
        "Group": exec.group.as_deref().unwrap_or_default(),
        "WorkingDirectory": directory,
        "Step": unit.step,
    })
}

/// Names by kind, both directions; systemd's names of the kinds.
pub fn dependencies(unit: &Unit, all: &[Arc<Unit>]) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for (forward, backward, list) in KINDS {
        let names = list(unit).iter().map(|dependency| dependency.name.to_string());
        found.entry(forward).or_default().extend(names);
        let mut others = all.iter().filter(|other| list(other).iter().any(|d| d.name == unit.name));
        let names = others.by_ref().map(|other| other.name.to_string());
        found.entry(backward).or_default().extend(names);
    }
    found
}

type List = fn(&Unit) -> &[Dependency];

/// A kind, what it is called from the other end, and where it stands. After and Before are each
/// other's.
const KINDS: [(&str, &str, List); 11] = [
    ("Requires", "RequiredBy", |unit| &unit.requires),
    ("Wants", "WantedBy", |unit| &unit.wants),
    ("Requisite", "RequisiteOf", |unit| &unit.requisite),
    ("BindsTo", "BoundBy", |unit| &unit.binds_to),
    ("PartOf", "ConsistsOf", |unit| &unit.part_of),
    ("Upholds", "UpheldBy", |unit| &unit.upholds),
    ("Conflicts", "ConflictedBy", |unit| &unit.conflicts),
    ("After", "Before", |unit| &unit.after),
    ("Before", "After", |unit| &unit.before),
    ("OnFailure", "OnFailureOf", |unit| &unit.on_failure),
    ("OnSuccess", "OnSuccessOf", |unit| &unit.on_success),
];

/// Microseconds; infinity is the largest number, as on systemd's bus.
fn usec(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn type_word(kind: ServiceType) -> &'static str {
    match kind {
        ServiceType::Simple => "simple",
        ServiceType::Exec => "exec",
        ServiceType::Oneshot => "oneshot",
        ServiceType::Idle => "idle",
        ServiceType::Notify => "notify",
        ServiceType::NotifyReload => "notify-reload",
        ServiceType::Forking => "forking",
    }
}

fn access_word(access: NotifyAccess) -> &'static str {
    match access {
        NotifyAccess::None => "none",
        NotifyAccess::Main => "main",
        NotifyAccess::Exec => "exec",
        NotifyAccess::All => "all",
    }
}

fn restart_word(restart: Restart) -> &'static str {
    match restart {
        Restart::No => "no",
        Restart::Always => "always",
        Restart::OnSuccess => "on-success",
        Restart::OnFailure => "on-failure",
        Restart::OnAbnormal => "on-abnormal",
        Restart::OnAbort => "on-abort",
        Restart::OnWatchdog => "on-watchdog",
    }
}

fn kill_mode_word(mode: KillMode) -> &'static str {
    match mode {
        KillMode::ControlGroup => "control-group",
        KillMode::Mixed => "mixed",
        KillMode::Process => "process",
        KillMode::None => "none",
    }
}

/// The names of all units.
pub fn names(all: &[Arc<Unit>]) -> impl Iterator<Item = &UnitName> {
    all.iter().map(|unit| &unit.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(stem: &str) -> Unit {
        Unit::new(UnitName::service(stem).unwrap())
    }

    fn on(stem: &str) -> crate::unit::shared::Shared<Vec<Dependency>> {
        vec![Dependency { name: UnitName::service(stem).unwrap(), span: None }].into()
    }

    #[test]
    fn both_directions() {
        let (mut web, mut worker, db) = (unit("web"), unit("worker"), unit("db"));
        web.requires = on("db");
        web.after = on("db");
        worker.wants = on("web");
        worker.before = on("web").to_vec();
        let all: Vec<Arc<Unit>> = [web, worker, db].map(Arc::new).to_vec();
        let of = |at: usize, kind: &str| {
            let found = dependencies(&all[at], &all).remove(kind).unwrap();
            found.into_iter().collect::<Vec<String>>().join(" ")
        };
        for (at, kind, names) in [
            (0, "Requires", "db.service"),
            (0, "After", "db.service worker.service"),
            (0, "WantedBy", "worker.service"),
            (0, "RequiredBy", ""),
            (1, "Before", "web.service"),
            (2, "RequiredBy", "web.service"),
            (2, "Before", "web.service"),
            (2, "After", ""),
        ] {
            assert_eq!(of(at, kind), names, "{} {kind}", all[at].name);
        }
    }
}
