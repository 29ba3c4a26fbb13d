//! What happened, as lines on standard error: text for people, JSON for programs.
//!
//! Not what happens (`manager` says that in [`Fact`]s), and the only place that logs.
//! **Invariant:** one line a fact, no line ever waits for its reader, and the reason of a failure
//! is always in the line that tells it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::events::{Event, Ring};
use crate::manager::event::{
    Fact, InvocationId, JobResult, ProcessId, ProcessRole, SpawnError, StopCause,
};
use crate::manager::state::{ServiceResult, SubState};
use crate::sys::stderr::Stderr;
use crate::sys::{Pid, clock};
use crate::unit::UnitName;
use crate::unit::problem::{Problem, Severity};
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::timespan::format_timespan;

pub use super::level::Level;
use super::spawn_plan::{exit_code_word, exit_status_word};

/// `--log-format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// `rinit: web.service: …`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One line to be.
#[derive(Clone, PartialEq, Debug)]
struct Line {
    level: Level,
    event: &'static str,
    unit: Option<UnitName>,
    invocation: Option<InvocationId>,
    message: String,
    /// What the event's kind adds in JSON.
    fields: Vec<(&'static str, Value)>,
}

/// Something that was said, kept for who asks later. Not as text: most of it nobody asks for.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Since 1970.
    time: Duration,
    monotonic: Duration,
    said: Said,
}

#[derive(Clone, Debug)]
enum Said {
    Fact {
        fact: Fact,
        pid: Option<Pid>,
        /// What is better said than what the fact by itself comes to.
        message: Option<Box<str>>,
        own_end: bool,
    },
    Message {
        level: Level,
        text: Box<str>,
    },
}

impl Said {
    fn level(&self) -> Level {
        match self {
            Said::Message { level, .. } => *level,
            Said::Fact { fact, own_end: true, .. } => Level::of(fact).max(Level::Info),
            Said::Fact { fact, own_end: false, .. } => Level::of(fact),
        }
    }

    fn line(&self) -> Line {
        match self {
            Said::Message { level, text } => Line::new(*level, "message", None, &**text),
            Said::Fact { fact, pid, message, .. } => {
                let mut line = describe(fact, |_| *pid);
                line.level = self.level();
                if let Some(message) = message {
                    (**message).clone_into(&mut line.message);
                }
                line
            }
        }
    }
}

impl Event for Recorded {
    fn weight(&self) -> usize {
        let more = match &self.said {
            Said::Message { text, .. } => text.len(),
            Said::Fact { fact, .. } => match fact {
                Fact::Job { reason, .. }
                | Fact::Protocol { reason, .. }
                | Fact::ListenFailed { reason, .. } => reason.len(),
                Fact::TimedOut { missing: text, .. }
                | Fact::Health { why: text, .. }
                | Fact::Status { status: text, .. } => text.len(),
                Fact::Roll { what, .. } => rolling::weight(what),
                Fact::Exited { exec_error: Some(error), .. }
                | Fact::SpawnFailed { error: SpawnError::Permanent(error), .. } => {
                    error.message.len()
                }
                Fact::SpawnFailed { error: SpawnError::Temporary { message, .. }, .. } => {
                    message.len()
                }
                Fact::BudgetSpent { units } => units.len() * size_of::<UnitName>(),
                Fact::State { .. }
                | Fact::Exited { exec_error: None, .. }
                | Fact::Started { .. }
                | Fact::RestartScheduled { .. }
                | Fact::StartLimitHit { .. }
                | Fact::Watchdog { .. }
                | Fact::Exhausted { .. }
                | Fact::Scaled { .. }
                | Fact::TriggerLimitHit { .. }
                | Fact::Abandoned { .. }
                | Fact::Booted { .. }
                | Fact::Stopping { .. }
                | Fact::Hurried { .. }
                | Fact::Forwarded { .. }
                | Fact::SignalIgnored { .. } => 0,
            },
        };
        size_of::<Recorded>() + more
    }

    fn is_of(&self, unit: &UnitName) -> bool {
        match &self.said {
            Said::Message { .. } => false,
            Said::Fact { fact, .. } => {
                unit_of(fact).is_some_and(|of| of == unit || of.is_numbered_of(unit))
            }
        }
    }

    fn json(&self) -> String {
        self.said.line().json(&clock::rfc3339(self.time), self.monotonic)
    }
}

/// Writes lines.
#[derive(Debug)]
pub struct Reporter {
    stderr: Stderr,
    level: Level,
    format: Format,
    /// The COMMAND: its own end is its own affair, and its status rinit's.
    command: Option<UnitName>,
    /// The unit whose ExecStart= ended well just now, and how.
    ended: Option<(UnitName, ExitStatus)>,
    /// Units that end because their work is done, not because they are stopped.
    finishing: BTreeSet<UnitName>,
    /// What was said lately, whatever the level; `None`: there will be nobody to ask for it.
    recent: Option<Ring<Recorded>>,
}

impl Reporter {
    /// Lines up to `level`.
    pub fn new(level: Level, format: Format, command: Option<UnitName>) -> Reporter {
        let (ended, finishing) = (None, BTreeSet::new());
        let (stderr, recent) = (Stderr::open(), None);
        Reporter { stderr, level, format, command, ended, finishing, recent }
    }

    /// From now on what is said is also remembered.
    pub fn remember(&mut self) {
        self.recent.get_or_insert_default();
    }

    /// Nobody can ask any more.
    pub fn forget(&mut self) {
        self.recent = None;
    }

    /// What was said lately.
    pub fn recent(&self) -> Option<&Ring<Recorded>> {
        self.recent.as_ref()
    }

    /// A problem of the units, in one line.
    pub fn problem(&mut self, problem: &Problem) {
        let level = match problem.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warn,
            Severity::Note => Level::Info,
        };
        let place = problem.span.as_ref().map_or_else(String::new, |span| format!("{span}: "));
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        self.message(level, format!("{place}{}{hint}", problem.message));
    }

    /// A line about rinit itself.
    pub fn message(&mut self, level: Level, message: impl Into<String>) {
        let text: String = message.into();
        if level <= self.level || self.recent.is_some() {
            self.say(Said::Message { level, text: text.into() });
        }
    }

    /// A fact; `pid` is the process's that it speaks of, where it still has one.
    pub fn fact(&mut self, fact: &Fact, pid: impl Fn(ProcessId) -> Option<Pid>) {
        let pid = match fact {
            Fact::Started { process, .. } | Fact::Exited { process, .. } => pid(*process),
            Fact::State { .. }
            | Fact::Job { .. }
            | Fact::SpawnFailed { .. }
            | Fact::RestartScheduled { .. }
            | Fact::StartLimitHit { .. }
            | Fact::Exhausted { .. }
            | Fact::Scaled { .. }
            | Fact::Roll { .. }
            | Fact::ListenFailed { .. }
            | Fact::TriggerLimitHit { .. }
            | Fact::TimedOut { .. }
            | Fact::Protocol { .. }
            | Fact::Watchdog { .. }
            | Fact::Health { .. }
            | Fact::Status { .. }
            | Fact::Abandoned { .. }
            | Fact::Booted { .. }
            | Fact::Stopping { .. }
            | Fact::Hurried { .. }
            | Fact::BudgetSpent { .. }
            | Fact::Forwarded { .. }
            | Fact::SignalIgnored { .. } => None,
        };
        let own_end = self.is_commands_own_end(fact);
        let by_itself = self.ended_by_itself(fact);
        let finished = self.has_finished(fact).then(|| "finished".to_owned());
        let message = finished.or(by_itself).map(String::into_boxed_str);
        self.say(Said::Fact { fact: fact.clone(), pid, message, own_end });
    }

    fn say(&mut self, said: Said) {
        if said.level() <= self.level {
            self.write(&said.line());
        }
        if let Some(recent) = &mut self.recent {
            let (time, monotonic) = (clock::wall_time(), clock::monotonic());
            recent.push(Recorded { time, monotonic, said });
        }
    }

    /// A daemon that leaves with status 0 is not "stopping": nobody told it to, and somebody will
    /// ask why it is gone.
    fn ended_by_itself(&self, fact: &Fact) -> Option<String> {
        let (ended, exit) = self.ended.as_ref()?;
        let Fact::State { unit, from: SubState::Running | SubState::Reload, to, .. } = fact else {
            return None;
        };
        let stops = matches!(to, SubState::Stop | SubState::StopSigterm) && ended == unit;
        stops.then(|| format!("ended by itself: ExecStart {exit}"))
    }

    /// A step that is done goes the same way to its end as a service that is stopped; what tells
    /// them apart is whether it ended before or after it was told to.
    fn has_finished(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::Exited { unit, role: ProcessRole::ExecStart, clean: true, exit, .. } => {
                self.ended = Some((unit.clone(), *exit));
                false
            }
            Fact::State { unit, from, to, .. } => {
                let ended = self.ended.take();
                let starting = matches!(from, SubState::Start | SubState::StartPost);
                if starting && ended.as_ref().map(|(ended, _)| ended) == Some(unit) {
                    self.finishing.insert(unit.clone());
                }
                match to {
                    SubState::Dead => self.finishing.remove(unit),
                    SubState::Failed | SubState::AutoRestart | SubState::Running => {
                        self.finishing.remove(unit);
                        false
                    }
                    SubState::Condition
                    | SubState::StartPre
                    | SubState::Start
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
                    | SubState::FinalSigkill => false,
                }
            }
            Fact::Exited { .. }
            | Fact::Stopping { .. }
            | Fact::Job { .. }
            | Fact::Started { .. }
            | Fact::SpawnFailed { .. }
            | Fact::RestartScheduled { .. }
            | Fact::StartLimitHit { .. }
            | Fact::Exhausted { .. }
            | Fact::Scaled { .. }
            | Fact::Roll { .. }
            | Fact::ListenFailed { .. }
            | Fact::TriggerLimitHit { .. }
            | Fact::TimedOut { .. }
            | Fact::Protocol { .. }
            | Fact::Watchdog { .. }
            | Fact::Health { .. }
            | Fact::Status { .. }
            | Fact::Abandoned { .. }
            | Fact::Booted { .. }
            | Fact::Hurried { .. }
            | Fact::BudgetSpent { .. }
            | Fact::Forwarded { .. }
            | Fact::SignalIgnored { .. } => false,
        }
    }

    /// Writes what is queued; whether nothing is left.
    pub fn flush(&mut self) -> bool {
        let flushed = self.stderr.flush();
        match self.stderr.take_dropped() {
            Some(count) => {
                let message = format!("{count} messages were dropped: standard error was full");
                self.message(Level::Error, message);
                self.stderr.flush()
            }
            None => flushed,
        }
    }

    /// What to wait on while something is left.
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        self.stderr.descriptor()
    }

    /// `rinit -- false` says no more than `false` does.
    fn is_commands_own_end(&self, fact: &Fact) -> bool {
        let unit = match fact {
            Fact::Exited { unit, exec_error: None, .. }
            | Fact::State { unit, to: SubState::Failed, .. }
            | Fact::Job { unit, result: JobResult::Failed, .. }
            | Fact::Stopping { cause: StopCause::Failed(unit), .. } => unit,
            Fact::Exited { .. }
            | Fact::State { .. }
            | Fact::Stopping { .. }
            | Fact::Job { .. }
            | Fact::Started { .. }
            | Fact::SpawnFailed { .. }
            | Fact::RestartScheduled { .. }
            | Fact::StartLimitHit { .. }
            | Fact::Exhausted { .. }
            | Fact::Scaled { .. }
            | Fact::Roll { .. }
            | Fact::ListenFailed { .. }
            | Fact::TriggerLimitHit { .. }
            | Fact::TimedOut { .. }
            | Fact::Protocol { .. }
            | Fact::Watchdog { .. }
            | Fact::Health { .. }
            | Fact::Status { .. }
            | Fact::Abandoned { .. }
            | Fact::Booted { .. }
            | Fact::Hurried { .. }
            | Fact::BudgetSpent { .. }
            | Fact::Forwarded { .. }
            | Fact::SignalIgnored { .. } => return false,
        };
        self.command.as_ref() == Some(unit)
    }

    fn write(&mut self, line: &Line) {
        let mut text = match self.format {
            Format::Text => line.text(),
            Format::Json => line.json(&clock::wall(), clock::monotonic()),
        };
        text.push('\n');
        self.stderr.push(text.into_bytes());
    }
}

impl Line {
    fn new(
        level: Level,
        event: &'static str,
        unit: Option<&UnitName>,
        message: impl Into<String>,
    ) -> Line {
        let (unit, message) = (unit.cloned(), message.into());
        Line { level, event, unit, invocation: None, message, fields: Vec::new() }
    }

    fn of(mut self, invocation: InvocationId) -> Line {
        self.invocation = Some(invocation);
        self
    }

    fn with(mut self, fields: Vec<(&'static str, Value)>) -> Line {
        self.fields = fields;
        self
    }

    /// One line whatever the message holds: a path may have a newline in it.
    fn text(&self) -> String {
        let message = self.message.replace('\n', "\\n");
        match &self.unit {
            Some(unit) => format!("rinit: {unit}: {message}"),
            None => format!("rinit: {message}"),
        }
    }

    fn json(&self, time: &str, monotonic: Duration) -> String {
        let head = [
            ("time", json!(time)),
            ("monotonic_usec", json!(micros(monotonic))),
            ("level", json!(self.level.as_str())),
            ("event", json!(self.event)),
            ("unit", json!(self.unit.as_ref().map(UnitName::as_str))),
            ("invocation_id", json!(self.invocation.map(|id| id.to_string()))),
            ("message", json!(self.message)),
        ];
        let pairs = head.iter().chain(&self.fields);
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A duration to the millisecond, which is what a person reads.
fn span(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 && !duration.is_zero() {
        return "less than 1ms".to_owned();
    }
    format_timespan(Duration::from_millis(millis))
}

fn describe(fact: &Fact, pid: impl Fn(ProcessId) -> Option<Pid>) -> Line {
    match fact {
        Fact::State { .. } => describe_state(fact),
        Fact::Job { .. } => describe_job(fact),
        Fact::Started { unit, invocation, process, role } => {
            let pid = pid(*process);
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
            let fields = vec![("role", json!(role.directive())), ("pid", json!(pid))];
            Line::new(Level::of(fact), "start", Some(unit), message).of(*invocation).with(fields)
        }
        Fact::Exited { .. } => describe_exit(fact, pid),
        Fact::SpawnFailed { unit, role, error, retry_in } => {
            let why = match error {
                SpawnError::Temporary { message, .. } => message,
                SpawnError::Permanent(error) => &error.message,
            };
            let role = role.directive();
            let next = match retry_in {
                Some(delay) => format!(", trying again in {}", span(*delay)),
                None => String::new(),
            };
            let message = format!("{role} not started: {why}{next}");
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::RestartScheduled { unit, delay, n_restarts, attempt } => {
            let message = format!("restarts in {} (restart {n_restarts})", span(*delay));
            let fields = vec![
                ("delay_usec", json!(micros(*delay))),
                ("n_restarts", json!(n_restarts)),
                ("attempt", json!(attempt)),
            ];
            Line::new(Level::of(fact), "restart", Some(unit), message).with(fields)
        }
        Fact::StartLimitHit { unit, burst, interval } => {
            let interval = span(*interval);
            let message = format!(
                "started {burst} times within {interval}: not started again \
                 (StartLimitBurst={burst}, StartLimitIntervalSec={interval})"
            );
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::Exhausted { unit, burst, interval, up, total, delay } => {
            let message = rolling::exhausted(*burst, *interval, (*up, *total), *delay);
            let fields = vec![("delay_usec", json!(micros(*delay)))];
            Line::new(Level::of(fact), "message", Some(unit), message).with(fields)
        }
        Fact::Scaled { unit, from, to } => {
            let message = format!("{to} instances are wanted now, instead of {from}");
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::Roll { unit, what, done, total } => {
            let message = rolling::roll(what, *done, *total);
            let fields = vec![("done", json!(done)), ("total", json!(total))];
            Line::new(Level::of(fact), "roll", Some(unit), message).with(fields)
        }
        Fact::ListenFailed { unit, reason } => {
            Line::new(Level::of(fact), "message", Some(unit), format!("not started: {reason}"))
        }
        Fact::TriggerLimitHit { unit, burst, interval } => {
            let interval = span(*interval);
            let message = format!(
                "connections started it {burst} times within {interval}: its sockets are closed \
                 (TriggerLimitBurst={burst}, TriggerLimitIntervalSec={interval})"
            );
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::TimedOut { unit, .. } => {
            Line::new(Level::of(fact), "message", Some(unit), describe_timeout(fact))
        }
        Fact::Protocol { .. }
        | Fact::Watchdog { .. }
        | Fact::Health { .. }
        | Fact::Status { .. } => describe_word(fact),
        Fact::Abandoned { unit } => {
            let message =
                "no signal that may be sent has ended all its processes; going on without them";
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::Booted { .. }
        | Fact::Stopping { .. }
        | Fact::Hurried { .. }
        | Fact::BudgetSpent { .. }
        | Fact::Forwarded { .. }
        | Fact::SignalIgnored { .. } => describe_whole(fact),
    }
}

/// The unit that a fact is about.
fn unit_of(fact: &Fact) -> Option<&UnitName> {
    match fact {
        Fact::State { unit, .. }
        | Fact::Job { unit, .. }
        | Fact::Started { unit, .. }
        | Fact::Exited { unit, .. }
        | Fact::SpawnFailed { unit, .. }
        | Fact::RestartScheduled { unit, .. }
        | Fact::StartLimitHit { unit, .. }
        | Fact::ListenFailed { unit, .. }
        | Fact::TriggerLimitHit { unit, .. }
        | Fact::TimedOut { unit, .. }
        | Fact::Abandoned { unit }
        | Fact::Protocol { unit, .. }
        | Fact::Watchdog { unit, .. }
        | Fact::Health { unit, .. }
        | Fact::Status { unit, .. }
        | Fact::Exhausted { unit, .. }
        | Fact::Scaled { unit, .. }
        | Fact::Roll { unit, .. }
        | Fact::Forwarded { unit, .. } => Some(unit),
        Fact::Booted { .. }
        | Fact::Stopping { .. }
        | Fact::Hurried { .. }
        | Fact::BudgetSpent { .. }
        | Fact::SignalIgnored { .. } => None,
    }
}

fn describe_timeout(fact: &Fact) -> String {
    let Fact::TimedOut { state, after, signal, missing, .. } = fact else { return String::new() };
    let next = match signal {
        Some(signal) => format!(", sending {signal}"),
        None => String::new(),
    };
    let after = span(*after);
    let up = matches!(state, SubState::Running | SubState::Reload);
    match missing.as_str() {
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

/// What a service said, or failed to say.
fn describe_word(fact: &Fact) -> Line {
    match fact {
        Fact::Protocol { unit, reason } => Line::new(
            Level::of(fact),
            "message",
            Some(unit),
            format!("{reason}: that is a failure (protocol)"),
        ),
        Fact::Watchdog { unit, period: Some(period), signal } => {
            let period = span(*period);
            let message = format!("no WATCHDOG=1 for {period} (WatchdogSec=), sending {signal}");
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::Watchdog { unit, period: None, signal } => {
            let message = format!("it said WATCHDOG=trigger, sending {signal}");
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::Health { unit, healthy: true, .. } => {
            Line::new(Level::of(fact), "message", Some(unit), "healthy again")
        }
        Fact::Health { unit, healthy: false, why, after, stops } => {
            let next = match stops {
                true => "stopping it (OnUnhealthy=restart)",
                false => "it counts as not ready (OnUnhealthy=none)",
            };
            let times = match after {
                1 => String::new(),
                after => format!(" after {after} bad probes in a row"),
            };
            let message = format!("unhealthy{times}: {why}; {next}");
            Line::new(Level::of(fact), "message", Some(unit), message)
        }
        Fact::Status { unit, status } => {
            Line::new(Level::of(fact), "message", Some(unit), format!("says: {status}"))
        }
        Fact::State { .. }
        | Fact::Job { .. }
        | Fact::Started { .. }
        | Fact::Exited { .. }
        | Fact::SpawnFailed { .. }
        | Fact::RestartScheduled { .. }
        | Fact::StartLimitHit { .. }
        | Fact::Exhausted { .. }
        | Fact::Scaled { .. }
        | Fact::Roll { .. }
        | Fact::ListenFailed { .. }
        | Fact::TriggerLimitHit { .. }
        | Fact::TimedOut { .. }
        | Fact::Abandoned { .. }
        | Fact::Booted { .. }
        | Fact::Stopping { .. }
        | Fact::Hurried { .. }
        | Fact::BudgetSpent { .. }
        | Fact::Forwarded { .. }
        | Fact::SignalIgnored { .. } => describe_whole(fact),
    }
}

/// Facts about rinit as a whole.
fn describe_whole(fact: &Fact) -> Line {
    let message = match fact {
        Fact::Booted { took } => format!("boot done in {}", span(*took)),
        Fact::Stopping { cause, budget, code } => stopping(cause, *budget, *code),
        Fact::Hurried { signal, at_once: false } => {
            format!("{signal} again: what is left gets one second")
        }
        Fact::Hurried { signal, at_once: true } => format!("{signal} again: killing what is left"),
        Fact::BudgetSpent { units } => {
            let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            let what = match names.as_slice() {
                [] => "stray processes".to_owned(),
                names => names.join(", "),
            };
            format!("the time to stop is over: killing {what}")
        }
        Fact::Forwarded { signal, unit } => {
            let message = format!("{signal} passed on");
            return Line::new(Level::of(fact), "message", Some(unit), message);
        }
        Fact::SignalIgnored { signal: Signal::HUP } => {
            "SIGHUP: nothing to reload (no ExecReload= of a running service)".to_owned()
        }
        Fact::SignalIgnored { signal } => format!("{signal} means nothing here"),
        Fact::State { .. }
        | Fact::Job { .. }
        | Fact::Started { .. }
        | Fact::Exited { .. }
        | Fact::SpawnFailed { .. }
        | Fact::RestartScheduled { .. }
        | Fact::StartLimitHit { .. }
        | Fact::Exhausted { .. }
        | Fact::Scaled { .. }
        | Fact::Roll { .. }
        | Fact::ListenFailed { .. }
        | Fact::TriggerLimitHit { .. }
        | Fact::TimedOut { .. }
        | Fact::Protocol { .. }
        | Fact::Watchdog { .. }
        | Fact::Health { .. }
        | Fact::Status { .. }
        | Fact::Abandoned { .. } => String::new(), // described by their unit
    };
    Line::new(Level::of(fact), "message", None, message)
}

fn stopping(cause: &StopCause, budget: Duration, code: Option<u8>) -> String {
    let why = match cause {
        StopCause::Signal(signal) => signal.to_string(),
        StopCause::Client => "shutdown asked for".to_owned(),
        StopCause::Failed(unit) => format!("{unit} failed"),
        StopCause::Succeeded(unit) => format!("{unit} is done"),
        StopCause::NothingLeft => "nothing runs or waits any more".to_owned(),
    };
    let status = code.map_or_else(String::new, |code| format!(", exit status {code}"));
    format!("{why}: stopping everything within {}{status}", span(budget))
}

fn describe_state(fact: &Fact) -> Line {
    let Fact::State { unit, invocation, from, to, result } = fact else {
        return describe_whole(fact);
    };
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
        ) if *result == ServiceResult::Success => "stopping".to_owned(),
        _ => format!("{from} → {to}"),
    };
    let fields = vec![
        ("from", json!(from.as_str())),
        ("to", json!(to.as_str())),
        ("active", json!(to.active_state().as_str())),
        ("result", json!(result.as_str())),
    ];
    Line::new(Level::of(fact), "state", Some(unit), message).of(*invocation).with(fields)
}

fn describe_job(fact: &Fact) -> Line {
    let Fact::Job { unit, kind, result, reason } = fact else { return describe_whole(fact) };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let message = format!("{} {}{why}", kind.verb(), result.as_str());
    let fields = vec![
        ("job", json!(kind.verb())),
        ("result", json!(result.as_str())),
        ("reason", json!(reason)),
    ];
    Line::new(Level::of(fact), "job", Some(unit), message).with(fields)
}

fn describe_exit(fact: &Fact, pid: impl Fn(ProcessId) -> Option<Pid>) -> Line {
    let Fact::Exited { unit, invocation, process, role, exit, exec_error, clean, ran } = fact
    else {
        return describe_whole(fact);
    };
    let directive = role.directive();
    let message = match exec_error {
        Some(error) => format!("{directive}: {error}"),
        None => format!("{directive} {exit} after {}", span(*ran)),
    };
    let status = match exit {
        ExitStatus::Exited(code) => json!(code),
        ExitStatus::Killed { .. } => json!(exit_status_word(*exit)),
    };
    let fields = vec![
        ("role", json!(directive)),
        ("pid", json!(pid(*process))),
        ("code", json!(exit_code_word(*exit))),
        ("status", status),
        ("clean", json!(clean)),
        ("ran_usec", json!(micros(*ran))),
    ];
    Line::new(Level::of(fact), "exit", Some(unit), message).of(*invocation).with(fields)
}

#[path = "report_rolling.rs"]
mod rolling;

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
