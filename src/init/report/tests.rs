//! Tables for `report`.

use std::time::Duration;

use super::*;
use crate::control::events::Event as _;
use crate::manager::event::{
    InvocationId, JobKind, JobResult, ProcessRole, RollEvent, SpawnError, StopCause,
};
use crate::manager::state::{ServiceResult, SubState};
use crate::unit::process::{ExecError, ExecStage, ExitStatus, Signal};

fn web() -> UnitName {
    UnitName::parse("web.service").unwrap()
}

fn line(fact: &Fact) -> Line {
    Line::of(fact, Some(42))
}

fn check(fact: Fact, level: Level, text: &str) {
    let line = line(&fact);
    assert_eq!((line.level, line.text().as_str()), (level, text));
}

fn state(from: SubState, to: SubState, result: ServiceResult) -> Fact {
    Fact::State { unit: web(), invocation: InvocationId(1), from, to, result }
}

fn exited(exit: ExitStatus, exec_error: Option<ExecError>, clean: bool) -> Fact {
    Fact::Exited {
        unit: web(),
        invocation: InvocationId(0xf),
        process: ProcessId(7),
        role: ProcessRole::ExecStart,
        exit,
        exec_error,
        clean,
        ran: Duration::from_micros(2_134_567),
    }
}

#[test]
fn lines_for_people() {
    use SubState::*;
    let ok = ServiceResult::Success;
    check(state(Start, Running, ok), Level::Debug, "rinit: web.service: start → running");
    check(state(Start, Dead, ok), Level::Info, "rinit: web.service: finished");
    check(state(StopSigterm, Dead, ok), Level::Info, "rinit: web.service: stopped");
    check(state(Running, StopSigterm, ok), Level::Info, "rinit: web.service: stopping");
    let failed = "rinit: web.service: failed (exit-code)";
    check(state(Running, Failed, ServiceResult::ExitCode), Level::Error, failed);
    let text = "rinit: web.service: ExecStart exited with status 3 after 2.134s";
    check(exited(ExitStatus::Exited(3), None, false), Level::Warn, text);
    let error = ExecError {
        stage: ExecStage::WorkingDirectory,
        errno: 2,
        message: "chdir /a\nb: No such file or directory".to_owned(),
    };
    let text = "rinit: web.service: ExecStart: chdir /a\\nb: No such file or directory";
    check(exited(ExitStatus::Exited(200), Some(error), true), Level::Warn, text);
    let job = |result, reason: &str| Fact::Job {
        unit: web(),
        kind: JobKind::Start,
        result,
        reason: reason.to_owned(),
    };
    check(job(JobResult::Done, ""), Level::Debug, "rinit: web.service: start done");
    let text = "rinit: web.service: start dependency: db.service failed";
    check(job(JobResult::Dependency, "db.service failed"), Level::Error, text);
    let cause = StopCause::Signal(Signal::TERM);
    let budget = Duration::from_secs(9);
    let stopping = |cause, drain| Fact::Stopping { cause, budget, drain, code: Some(0) };
    let text = "rinit: SIGTERM: stopping everything within 9s, exit status 0";
    check(stopping(cause.clone(), Duration::ZERO), Level::Info, text);
    let text = "rinit: SIGTERM: serving on for 2s (DrainSec=), then stopping everything within 9s \
                in all, exit status 0";
    check(stopping(cause, Duration::from_secs(2)), Level::Info, text);
}

#[test]
fn lines_for_programs() {
    let killed = ExitStatus::Killed { signal: Signal::SEGV, core_dumped: true };
    let json = line(&exited(killed, None, false)).json("T", Duration::from_millis(5));
    assert_eq!(
        json,
        "{\"time\":\"T\",\"monotonic_usec\":5000,\"level\":\"warn\",\"event\":\"exit\",\
         \"unit\":\"web.service\",\"invocation_id\":\"0000000000000000000000000000000f\",\
         \"message\":\"ExecStart killed by SIGSEGV (core dumped) after 2.134s\",\
         \"role\":\"ExecStart\",\"pid\":42,\"code\":\"dumped\",\"status\":\"SEGV\",\
         \"clean\":false,\"ran_usec\":2134567}"
    );
    let keys = |fact: &Fact| {
        let text = line(fact).json("T", Duration::ZERO);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let common =
            ["time", "monotonic_usec", "level", "event", "unit", "invocation_id", "message"];
        let object = value.as_object().unwrap();
        assert!(common.iter().all(|key| object.contains_key(*key)));
        object.keys().filter(|key| !common.contains(&key.as_str())).cloned().collect::<Vec<_>>()
    };
    let ok = ServiceResult::Success;
    let fact = state(SubState::Start, SubState::Running, ok);
    assert_eq!(keys(&fact), ["active", "from", "result", "to"]);
    let delay = Duration::from_millis(100);
    let restart = Fact::RestartScheduled { unit: web(), delay, n_restarts: 3, attempt: 2 };
    assert_eq!(keys(&restart), ["attempt", "delay_usec", "n_restarts"]);
    let message = Line::message(Level::Info, "a \"quote\"\n");
    assert!(message.json("T", Duration::ZERO).contains(r#""message":"a \"quote\"\n""#));
}

#[test]
fn the_commands_own_end_is_not_news() {
    let quiet = Endings::new(Some(web()));
    let exit = ExitStatus::Exited(3);
    assert_eq!(quiet.level(&exited(exit, None, false)), Level::Info);
    let message = "exec nope: not found".to_owned();
    let error = ExecError { stage: ExecStage::Exec, errno: 2, message };
    assert_eq!(quiet.level(&exited(exit, Some(error), false)), Level::Warn);
    let units = Endings::new(None);
    assert_eq!(units.level(&exited(exit, None, false)), Level::Warn);
}

#[test]
fn a_step_finishes_and_a_service_stops() {
    let ok = ServiceResult::Success;
    let exit = || exited(ExitStatus::Exited(0), None, true);
    let mut endings = Endings::new(None);
    let mut last = |facts: &[Fact]| {
        let told: Vec<bool> = facts.iter().map(|fact| endings.has_finished(fact)).collect();
        told.last().copied()
    };
    let dead = || state(SubState::StopSigterm, SubState::Dead, ok);
    let leave = |from| state(from, SubState::StopSigterm, ok);
    assert_eq!(last(&[exit(), leave(SubState::Start), dead()]), Some(true));
    // Told to stop while it worked, and while it ran.
    assert_eq!(last(&[leave(SubState::Start), exit(), dead()]), Some(false));
    assert_eq!(last(&[exit(), leave(SubState::Running), dead()]), Some(false));
    let remains = || state(SubState::Start, SubState::Exited, ok);
    let told = [exit(), remains(), leave(SubState::Exited), dead()];
    assert_eq!(last(&told), Some(false), "RemainAfterExit=");
}

#[test]
fn a_service_that_ends_by_itself_is_not_told_to_stop() {
    let ok = ServiceResult::Success;
    let mut endings = Endings::new(None);
    let stopping = || state(SubState::Running, SubState::StopSigterm, ok);
    assert_eq!(endings.by_itself(&stopping()), None);
    endings.has_finished(&exited(ExitStatus::Exited(0), None, true));
    let text = "ended by itself: ExecStart exited with status 0".to_owned();
    assert_eq!(endings.by_itself(&stopping()), Some(text));
    endings.has_finished(&stopping());
    assert_eq!(endings.by_itself(&stopping()), None);
}

#[test]
fn a_timeout_names_its_cause() {
    let timed_out = |state, signal| Fact::TimedOut {
        unit: web(),
        state,
        after: Duration::from_millis(300),
        signal,
        missing: String::new(),
    };
    let text = "rinit: web.service: RuntimeMaxSec= is over after 300ms, stopping it";
    check(timed_out(SubState::Running, None), Level::Warn, text);
    let text = "rinit: web.service: reload took longer than 300ms, sending SIGKILL";
    check(timed_out(SubState::Reload, Some(Signal::KILL)), Level::Warn, text);
    let text = "rinit: web.service: start took longer than 300ms, sending SIGTERM";
    check(timed_out(SubState::Start, Some(Signal::TERM)), Level::Warn, text);
    let text = "rinit: web.service: start-post took longer than 300ms, stopping it";
    check(timed_out(SubState::StartPost, None), Level::Warn, text);
    let ignored = |signal| Fact::SignalIgnored { signal };
    check(ignored(Signal::CONT), Level::Debug, "rinit: SIGCONT means nothing here");
}

#[test]
fn what_a_service_said_or_failed_to_say() {
    let timed_out = |state, signal| Fact::TimedOut {
        unit: web(),
        state,
        after: Duration::from_secs(90),
        signal,
        missing: "READY=1".to_owned(),
    };
    let text = "rinit: web.service: start took longer than 1min 30s, sending SIGTERM: waited for \
                READY=1";
    check(timed_out(SubState::Start, Some(Signal::TERM)), Level::Warn, text);
    let text = "rinit: web.service: reload took longer than 1min 30s, running on: waited for \
                READY=1";
    check(timed_out(SubState::Reload, None), Level::Warn, text);
    let reason = "its main process ended (exited with status 0) before READY=1".to_owned();
    let text = "rinit: web.service: its main process ended (exited with status 0) before READY=1: \
                that is a failure (protocol)";
    check(Fact::Protocol { unit: web(), reason }, Level::Error, text);
    let period = Some(Duration::from_secs(30));
    let text = "rinit: web.service: no WATCHDOG=1 for 30s (WatchdogSec=), sending SIGABRT";
    check(Fact::Watchdog { unit: web(), period, signal: Signal::ABRT }, Level::Error, text);
    let health = |stops| Fact::Health {
        unit: web(),
        healthy: false,
        why: "connection refused".to_owned(),
        after: 3,
        stops,
    };
    let text = "rinit: web.service: unhealthy after 3 bad probes in a row: connection refused; \
                stopping it (OnUnhealthy=restart)";
    check(health(true), Level::Error, text);
    let text = "rinit: web.service: unhealthy after 3 bad probes in a row: connection refused; \
                it counts as not ready (OnUnhealthy=none)";
    check(health(false), Level::Error, text);
}

/// What the manager gave up on, or puts off.
#[test]
fn what_is_not_done() {
    let (unit, second) = (web(), Duration::from_secs(1));
    let error = SpawnError::Temporary { errno: 11, message: "fork: full".to_owned() };
    let role = ProcessRole::ExecStop;
    let text = "rinit: web.service: ExecStop not started: fork: full, trying again in 1s";
    let retry_in = Some(second);
    check(Fact::SpawnFailed { unit, role, error, retry_in }, Level::Warn, text);
    let unit = web();
    let text = "rinit: web.service: restarts in 1s (restart 3)";
    let restart = Fact::RestartScheduled { unit, delay: second, n_restarts: 3, attempt: 2 };
    check(restart, Level::Info, text);
    let (unit, exit) = (web(), ExitStatus::Exited(3));
    let text = "rinit: web.service: not restarted by Restart=, because of \
                RestartPreventExitStatus= (exited with status 3)";
    check(Fact::NotRestarted { unit, exit }, Level::Info, text);
    let (unit, leader) = (web(), UnitName::parse("db.service").unwrap());
    let text = "rinit: web.service: is to stop because of db.service (BindsTo=)";
    let (kind, dependency) = (JobKind::Stop, "BindsTo");
    check(Fact::Follows { unit, kind, leader, dependency }, Level::Info, text);
    let (unit, burst, interval) = (web(), 5, Duration::from_micros(10));
    let text = "rinit: web.service: started 5 times within less than 1ms: not started again \
                (StartLimitBurst=5, StartLimitIntervalSec=less than 1ms)";
    check(Fact::StartLimitHit { unit, burst, interval }, Level::Error, text);
    let (unit, interval) = (web(), 2 * second);
    let text = "rinit: web.service: connections started it 5 times within 2s: its sockets are \
                closed (TriggerLimitBurst=5, TriggerLimitIntervalSec=2s)";
    check(Fact::TriggerLimitHit { unit, burst, interval }, Level::Error, text);
    let (total, delay) = (2, 60 * second);
    let text = "rinit: web@2.service: 5 starts in 2s were not enough; 1 of 2 instances is up, \
                so it is tried again every 1min";
    let exhausted = |burst, up| {
        let unit = UnitName::parse("web@2.service").unwrap();
        Fact::Exhausted { unit, burst, interval, up, total, delay }
    };
    check(exhausted(5, 1), Level::Error, text);
    let text = "rinit: web@2.service: 1 start in 2s was not enough; 0 of 2 instances are up, \
                if another comes up, it is tried again every 1min";
    check(exhausted(1, 0), Level::Error, text);
    let scaled = |to| Fact::Scaled { unit: web(), from: 2, to };
    let text = "rinit: web.service: 1 instance is wanted now, instead of 2";
    check(scaled(1), Level::Info, text);
    let text = "rinit: web.service: 3 instances are wanted now, instead of 2";
    check(scaled(3), Level::Info, text);
    let text = "rinit: web.service: not started: [::]:80: in use";
    let reason = "[::]:80: in use".to_owned();
    check(Fact::ListenFailed { unit: web(), reason }, Level::Error, text);
    let text = "rinit: web.service: no signal that may be sent has ended all its processes; \
                going on without them";
    check(Fact::Abandoned { unit: web() }, Level::Error, text);
}

#[test]
fn lines_about_rinit_as_a_whole() {
    let took = Duration::from_millis(12);
    check(Fact::Booted { took }, Level::Info, "rinit: boot done in 12ms");
    let hurried = |at_once| Fact::Hurried { signal: Signal::TERM, at_once };
    check(hurried(false), Level::Warn, "rinit: SIGTERM again: what is left gets one second");
    check(hurried(true), Level::Warn, "rinit: SIGTERM again: killing what is left");
    let spent = |units| Fact::BudgetSpent { units };
    let text = "rinit: the time to stop is over: killing web.service";
    check(spent(vec![web()]), Level::Warn, text);
    let text = "rinit: the time to stop is over: killing stray processes";
    check(spent(Vec::new()), Level::Warn, text);
    let forwarded = Fact::Forwarded { signal: Signal::HUP, unit: web() };
    check(forwarded, Level::Debug, "rinit: web.service: SIGHUP passed on");
    let text = "rinit: SIGHUP: nothing to reload (no ExecReload= of a running service)";
    check(Fact::SignalIgnored { signal: Signal::HUP }, Level::Info, text);
}

#[test]
fn what_is_kept_counts_with_its_text() {
    let said = |fact| {
        Recorded::now(Said::Fact { level: Level::of(&fact), fact, pid: None, message: None })
    };
    let status = |status: &str| said(Fact::Status { unit: web(), status: status.to_owned() });
    assert_eq!(status("four").weight(), status("").weight() + 4);
    let reason = "reason".to_owned();
    let roll = |what| said(Fact::Roll { unit: web(), what, done: 0, total: 2 });
    let more = roll(RollEvent::Halted { reason }).weight() - roll(RollEvent::Begun).weight();
    assert_eq!(more, 6);
    let instance = UnitName::parse("web@2.service").unwrap();
    let of_instance = said(Fact::Abandoned { unit: instance });
    assert!(of_instance.is_of(&web()));
    assert!(!said(Fact::Booted { took: Duration::ZERO }).is_of(&web()));
}
