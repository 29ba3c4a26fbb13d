//! What a fact comes to in words, and what it adds in JSON.
//!
//! Not how much it matters (`init::level`) nor how a line looks (`line`). **Invariant:** [`words`]
//! is the one place that goes over all facts; everything else here takes what a fact holds. The
//! reason of a failure is always in the words.

use std::time::Duration;

use serde_json::{Value, json};

use super::{memory, rolling};
use crate::init::spawn_plan::{exit_code_word, exit_status_word};
use crate::manager::event::{
    Fact, InvocationId, JobKind, JobResult, ProcessRole, SpawnError, StopCause,
};
use crate::manager::state::{ServiceResult, SubState};
use crate::sys::Pid;
use crate::unit::UnitName;
use crate::unit::process::{ExecError, ExitStatus, Signal};
use crate::unit::timespan::format_timespan;

/// What an event's kind adds in JSON.
type Fields = Vec<(&'static str, Value)>;

/// What is said of an event, but for its level and its unit.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Words {
    pub event: &'static str,
    pub invocation: Option<InvocationId>,
    pub message: String,
    pub fields: Fields,
}

impl Words {
    fn new(event: &'static str, message: String, fields: Fields) -> Words {
        Words { event, invocation: None, message, fields }
    }

    /// What is of no kind of its own.
    pub fn message(message: impl Into<String>) -> Words {
        Words::new("message", message.into(), Vec::new())
    }

    fn of(self, invocation: InvocationId) -> Words {
        Words { invocation: Some(invocation), ..self }
    }
}

/// In microseconds, as every duration in JSON is.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A duration to the millisecond, which is what a person reads.
pub(super) fn span(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 && !duration.is_zero() {
        return "less than 1ms".to_owned();
    }
    format_timespan(Duration::from_millis(millis))
}

/// What a fact by itself comes to; `pid` is the process's that it speaks of.
pub(super) fn words(fact: &Fact, pid: Option<Pid>) -> Words {
    match fact {
        Fact::State { invocation, from, to, result, .. } => {
            state(*from, *to, *result).of(*invocation)
        }
        Fact::Job { kind, result, reason, .. } => job(*kind, *result, reason),
        Fact::Follows { kind, leader, dependency, .. } => {
            let verb = kind.verb();
            Words::message(format!("is to {verb} because of {leader} ({dependency}=)"))
        }
        Fact::Started { invocation, role, .. } => started(*role, pid).of(*invocation),
        Fact::Exited { invocation, role, exit, exec_error, clean, ran, .. } => {
            exited(*role, pid, *exit, exec_error.as_ref(), *clean, *ran).of(*invocation)
        }
        Fact::SpawnFailed { role, error, retry_in, .. } => {
            Words::message(not_started(*role, error, *retry_in))
        }
        Fact::RestartScheduled { delay, n_restarts, attempt, .. } => {
            restart(*delay, *n_restarts, *attempt)
        }
        Fact::NotRestarted { exit, .. } => {
            let message = "not restarted by Restart=, because of RestartPreventExitStatus=";
            Words::message(format!("{message} ({exit})"))
        }
        Fact::StartLimitHit { burst, interval, .. } => {
            Words::message(start_limit(*burst, &span(*interval)))
        }
        Fact::Exhausted { burst, interval, up, total, delay, .. } => {
            let message = rolling::exhausted(*burst, *interval, (*up, *total), *delay);
            Words::new("message", message, vec![("delay_usec", json!(micros(*delay)))])
        }
        Fact::Scaled { from, to, .. } => {
            let what = if *to == 1 { "instance is" } else { "instances are" };
            Words::message(format!("{to} {what} wanted now, instead of {from}"))
        }
        Fact::Roll { what, done, total, .. } => {
            let fields = vec![("done", json!(done)), ("total", json!(total))];
            Words::new("roll", rolling::roll(what, *done, *total), fields)
        }
        Fact::ListenFailed { reason, .. } => Words::message(format!("not started: {reason}")),
        Fact::ConnectionRefused { source, directive, limit, .. } => {
            let message = connection_refused(source, directive, *limit);
            Words::message(message)
        }
        Fact::TriggerLimitHit { burst, interval, .. } => {
            Words::message(trigger_limit(*burst, &span(*interval)))
        }
        Fact::TimedOut { state, after, signal, missing, .. } => {
            Words::message(timed_out(*state, *after, *signal, missing))
        }
        Fact::Protocol { reason, .. } => {
            Words::message(format!("{reason}: that is a failure (protocol)"))
        }
        Fact::Watchdog { period, signal, .. } => Words::message(watchdog(*period, *signal)),
        Fact::Health { healthy: true, .. } => Words::message("healthy again"),
        Fact::Health { healthy: false, why, after, stops, .. } => {
            Words::message(unhealthy(why, *after, *stops))
        }
        Fact::OomKill { kill, .. } => Words::new(
            "oom-kill",
            memory::oom_kill(kill),
            vec![("limit", json!(kill.limit)), ("peak", json!(kill.peak))],
        ),
        Fact::MemoryHigh { current, high, .. } => {
            let fields = vec![("current", json!(current)), ("limit", json!(high))];
            Words::new("memory-high", memory::high(*current, *high), fields)
        }
        Fact::Status { status, .. } => Words::message(format!("says: {status}")),
        Fact::Abandoned { .. } => Words::message(
            "no signal that may be sent has ended all its processes; going on without them",
        ),
        Fact::Booted { took } => Words::message(format!("boot done in {}", span(*took))),
        Fact::Stopping { cause, budget, drain, code } => {
            Words::message(stopping(cause, *budget, *drain, *code))
        }
        Fact::Hurried { signal, at_once } => Words::message(hurried(*signal, *at_once)),
        Fact::BudgetSpent { units } => Words::message(budget_spent(units)),
        Fact::Forwarded { signal, .. } => Words::message(format!("{signal} passed on")),
        Fact::SignalIgnored { signal } => Words::message(ignored(*signal)),
    }
}

fn state(from: SubState, to: SubState, result: ServiceResult) -> Words {
    let message = match (from, to) {
        (_, SubState::Failed) => format!("failed ({result})"),
        (SubState::Start | SubState::StartPost, SubState::Dead | SubState::Exited) => {
            "finished".to_owned()
        }
        (SubState::Condition | SubState::Failed | SubState::Dead, SubState::Dead) => {
            format!("{from} → {to}")
        }
        (_, SubState::Dead) => "stopped".to_owned(),
        (
            SubState::Running | SubState::Exited | SubState::Reload,
            SubState::Stop | SubState::StopSigterm | SubState::StopWatchdog,
        ) if result == ServiceResult::Success => "stopping".to_owned(),
        _ => format!("{from} → {to}"),
    };
    let fields = vec![
        ("from", json!(from.as_str())),
        ("to", json!(to.as_str())),
        ("active", json!(to.active_state().as_str())),
        ("result", json!(result.as_str())),
    ];
    Words::new("state", message, fields)
}

fn job(kind: JobKind, result: JobResult, reason: &str) -> Words {
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let message = format!("{} {}{why}", kind.verb(), result.as_str());
    let fields = vec![
        ("job", json!(kind.verb())),
        ("result", json!(result.as_str())),
        ("reason", json!(reason)),
    ];
    Words::new("job", message, fields)
}

fn started(role: ProcessRole, pid: Option<Pid>) -> Words {
    let number = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
    let message = match role {
        ProcessRole::ExecStart => format!("started{number}"),
        ProcessRole::ExecCondition
        | ProcessRole::ExecStartPre
        | ProcessRole::ExecStartPost
        | ProcessRole::ExecReload
        | ProcessRole::ExecStop
        | ProcessRole::ExecStopPost => format!("{} started{number}", role.directive()),
    };
    Words::new("start", message, vec![("role", json!(role.directive())), ("pid", json!(pid))])
}

fn exited(
    role: ProcessRole,
    pid: Option<Pid>,
    exit: ExitStatus,
    exec_error: Option<&ExecError>,
    clean: bool,
    ran: Duration,
) -> Words {
    let directive = role.directive();
    let message = match exec_error {
        Some(error) => format!("{directive}: {error}"),
        None => format!("{directive} {exit} after {}", span(ran)),
    };
    let status = match exit {
        ExitStatus::Exited(code) => json!(code),
        ExitStatus::Killed { .. } => json!(exit_status_word(exit)),
    };
    let fields = vec![
        ("role", json!(directive)),
        ("pid", json!(pid)),
        ("code", json!(exit_code_word(exit))),
        ("status", status),
        ("clean", json!(clean)),
        ("ran_usec", json!(micros(ran))),
    ];
    Words::new("exit", message, fields)
}

fn not_started(role: ProcessRole, error: &SpawnError, retry_in: Option<Duration>) -> String {
    let why = match error {
        SpawnError::Temporary { message, .. } => message,
        SpawnError::Permanent(error) => &error.message,
    };
    let next = match retry_in {
        Some(delay) => format!(", trying again in {}", span(delay)),
        None => String::new(),
    };
    format!("{} not started: {why}{next}", role.directive())
}

fn restart(delay: Duration, n_restarts: u32, attempt: u32) -> Words {
    let message = format!("restarts in {} (restart {n_restarts})", span(delay));
    let fields = vec![
        ("delay_usec", json!(micros(delay))),
        ("n_restarts", json!(n_restarts)),
        ("attempt", json!(attempt)),
    ];
    Words::new("restart", message, fields)
}

fn start_limit(burst: u32, interval: &str) -> String {
    format!(
        "started {burst} times within {interval}: not started again \
         (StartLimitBurst={burst}, StartLimitIntervalSec={interval})"
    )
}

fn connection_refused(source: &str, directive: &str, limit: u32) -> String {
    let whose = if directive == "MaxConnections" { "there are" } else { "from there are" };
    format!("a connection from {source} was closed: {whose} {limit} already ({directive}={limit})")
}

fn trigger_limit(burst: u32, interval: &str) -> String {
    format!(
        "connections started it {burst} times within {interval}: its sockets are closed \
         (TriggerLimitBurst={burst}, TriggerLimitIntervalSec={interval})"
    )
}

fn timed_out(state: SubState, after: Duration, signal: Option<Signal>, missing: &str) -> String {
    let next = match signal {
        Some(signal) => format!(", sending {signal}"),
        None => ", stopping it".to_owned(),
    };
    let after = span(after);
    let up = matches!(state, SubState::Running | SubState::Reload);
    match missing {
        "" if up && signal.is_none() => {
            format!("RuntimeMaxSec= is over after {after}, stopping it")
        }
        "" => format!("{state} took longer than {after}{next}"),
        missing if up => {
            format!("reload took longer than {after}, running on: waited for {missing}")
        }
        missing => format!("{state} took longer than {after}{next}: waited for {missing}"),
    }
}

fn watchdog(period: Option<Duration>, signal: Signal) -> String {
    match period {
        Some(period) => {
            let period = span(period);
            format!("no WATCHDOG=1 for {period} (WatchdogSec=), sending {signal}")
        }
        None => format!("it said WATCHDOG=trigger, sending {signal}"),
    }
}

fn unhealthy(why: &str, after: u32, stops: bool) -> String {
    let next = match stops {
        true => "stopping it (OnUnhealthy=restart)",
        false => "it counts as not ready (OnUnhealthy=none)",
    };
    let times = match after {
        1 => String::new(),
        after => format!(" after {after} bad probes in a row"),
    };
    format!("unhealthy{times}: {why}; {next}")
}

fn stopping(cause: &StopCause, budget: Duration, drain: Duration, code: Option<u8>) -> String {
    let why = match cause {
        StopCause::Signal(signal) => signal.to_string(),
        StopCause::Client => "shutdown asked for".to_owned(),
        StopCause::Failed(unit) => format!("{unit} failed"),
        StopCause::Succeeded(unit) => format!("{unit} is done"),
        StopCause::NothingLeft => "nothing runs or waits any more".to_owned(),
    };
    let status = code.map_or_else(String::new, |code| format!(", exit status {code}"));
    let budget = span(budget);
    let what = match drain.is_zero() {
        true => format!("stopping everything within {budget}"),
        false => format!(
            "serving on for {} (DrainSec=), then stopping everything within {budget} in all",
            span(drain)
        ),
    };
    format!("{why}: {what}{status}")
}

fn hurried(signal: Signal, at_once: bool) -> String {
    match at_once {
        false => format!("{signal} again: what is left gets one second"),
        true => format!("{signal} again: killing what is left"),
    }
}

fn budget_spent(units: &[UnitName]) -> String {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    let what = match names.as_slice() {
        [] => "stray processes".to_owned(),
        names => names.join(", "),
    };
    format!("the time to stop is over: killing {what}")
}

fn ignored(signal: Signal) -> String {
    match signal {
        Signal::HUP => "SIGHUP: nothing to reload (no ExecReload= of a running service)".to_owned(),
        signal => format!("{signal} means nothing here"),
    }
}
