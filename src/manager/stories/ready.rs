//! (tests) Stories of readiness: what a start waits for, and what happens if it does not come.

use expect_test::expect;
use std::time::Duration;

use super::check;
use crate::manager::event::{
    Event, JobKind, Notice, NoticeState, ProbeKind, ProcessId, ProcessRole, Watchdog,
};
use crate::manager::rig::{Rig, command, name, needs, simple};
use crate::manager::state::SubState;
use crate::unit::Unit;
use crate::unit::health::{Health, HealthCheck};
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::{NotifyAccess, Restart, ServiceType};

fn notify(stem: &str) -> Unit {
    let mut unit = simple(stem);
    unit.service.kind = ServiceType::Notify;
    unit.service.notify_access = NotifyAccess::Main;
    unit
}

fn state(state: NoticeState) -> Notice {
    Notice { state: Some(state), ..Notice::default() }
}

fn ready() -> Notice {
    state(NoticeState::Ready)
}

#[test]
fn who_comes_after_waits_for_ready() {
    let mut web = notify("web");
    web.service.exec_start_post = vec![command()];
    let mut rig = Rig::new(vec![web, needs(simple("app"), &["web"])]);
    rig.boot();
    rig.says("web", ready());
    rig.ends("web", ProcessRole::ExecStartPost, ExitStatus::Exited(0));
    check(
        &mut rig,
        expect![[r#"
        web dead > condition
        web condition > start
        spawn web ExecStart
        web start > start-post
        spawn web ExecStartPost
        web start-post > running
        web start job done
        app dead > condition
        app condition > start
        spawn app ExecStart
        app start > running
        app start job done
        booted
    "#]],
    );
}

#[test]
fn everything_declared_must_come() {
    let mut web = notify("web");
    web.service.notification_fd = Some(5);
    web.service.ready_on_accept = true;
    web.service.ready_log_pattern = Some("up".to_string());
    web.service.health = Some(Box::new(Health {
        check: Some(HealthCheck::HttpPath("/".to_string())),
        ..Health::default()
    }));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.pass(0);
    let process = rig.process("web", ProcessRole::ExecStart);
    rig.event(Event::SaidReady { process });
    rig.says("web", ready());
    rig.probed("web", ProbeKind::Accept, true);
    assert_eq!(rig.status("web").state, SubState::Start);
    rig.event(Event::Matched { process });
    assert_eq!(rig.status("web").state, SubState::Start);
    rig.probed("web", ProbeKind::Health, true);
    check(
        &mut rig,
        expect![[r#"
        web dead > condition
        web condition > start
        spawn web ExecStart
        -- 0.000000s
        probe web Health
        probe web Accept
        web start > running
        web start job done
        booted
    "#]],
    );
}

#[test]
fn a_limit_is_told_not_when_rinit_saw_it() {
    let mut web = notify("web");
    web.service.timeout_start = Some(Duration::from_secs(5));
    web.service.exec_start_pre = vec![command(), command()];
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.pass(2000);
    rig.ends("web", ProcessRole::ExecStartPre, ExitStatus::Exited(0));
    rig.log();
    rig.lateness = Duration::from_millis(7);
    rig.pass(5010);
    let log = rig.log();
    assert!(log.contains("-- 7.007000s\nweb start-pre timed out after 5s\n"), "{log}");
}

/// However often the kernel had no room for its process.
#[test]
fn the_limit_is_for_all_tries_together() {
    let mut web = notify("web");
    web.service.timeout_start = Some(Duration::from_secs(5));
    let mut rig = Rig::new(vec![web]);
    rig.full = true;
    rig.boot();
    rig.lateness = Duration::from_millis(7);
    rig.pass(5010);
    let log = rig.log();
    assert!(log.contains("web start timed out after 5s: its main process and READY=1\n"), "{log}");
}

#[test]
fn what_has_not_come_is_named() {
    let mut web = notify("web");
    web.service.timeout_start = Some(Duration::from_secs(5));
    web.service.health = Some(Box::new(Health {
        check: Some(HealthCheck::HttpPath("/".to_string())),
        ..Health::default()
    }));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.pass(4900);
    rig.probed("web", ProbeKind::Health, false);
    rig.log();
    rig.pass(100);
    check(
        &mut rig,
        expect![[r#"
            -- 4.910000s
            probe web Health
            -- 5.000000s
            web start timed out after 5s: READY=1 and a good probe of [Health]; the last word was: connection refused
            web start > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > failed
            web start job failed: its result is timeout
            booted
            stopping: Failed("web.service")
            exit 143
        "#]],
    );
}

#[test]
fn success_before_ready_is_a_broken_promise() {
    let mut web = notify("web");
    web.service.restart = Restart::OnAbnormal;
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.log();
    rig.exits("web", 0);
    check(
        &mut rig,
        expect![[r#"
        web: its main process ended (exited with status 0) before READY=1
        web start > stop-sigterm
        web restarts, 1. in a row
        web stop-sigterm > auto-restart
    "#]],
    );
    assert_eq!(rig.status("web").result.as_str(), "protocol");
}

#[test]
fn who_may_speak() {
    use NotifyAccess as A;
    let by = |access| {
        let mut web = notify("web");
        web.service.notify_access = access;
        web.service.exec_start_post = vec![command()];
        let mut rig = Rig::new(vec![web]);
        rig.boot();
        let main = rig.process("web", ProcessRole::ExecStart);
        rig.says("web", ready());
        let control = if access == A::None {
            ProcessId(77)
        } else {
            rig.process("web", ProcessRole::ExecStartPost)
        };
        let mut heard = Vec::new();
        for (who, process) in [("main", Some(main)), ("control", Some(control)), ("other", None)] {
            let notice = Notice { status: Some(who.to_string()), ..Notice::default() };
            rig.event(Event::Notified { unit: name("web"), process, notice });
            if rig.status("web").status_text.as_deref() == Some(who) {
                heard.push(who);
            }
        }
        heard
    };
    assert_eq!(by(A::None), [""; 0]);
    assert_eq!(by(A::Main), ["main"]);
    assert_eq!(by(A::Exec), ["main", "control"]);
    assert_eq!(by(A::All), ["main", "control", "other"]);
}

#[test]
fn words_are_kept_until_the_next_start() {
    let mut rig = Rig::new(vec![notify("web")]);
    rig.boot();
    let notice = Notice { status: Some("half".to_string()), errno: Some(28), ..Notice::default() };
    rig.says("web", notice);
    let said = |rig: &Rig| {
        let status = rig.status("web");
        (status.status_text, status.status_errno)
    };
    assert_eq!(said(&rig), (Some("half".to_string()), Some(28)));
    rig.ask(JobKind::Stop, "web");
    assert_eq!(said(&rig), (Some("half".to_string()), Some(28)));
    rig.ask(JobKind::Start, "web");
    assert_eq!(said(&rig), (None, None));
}

#[test]
fn another_process_becomes_the_main_one() {
    let mut rig = Rig::new(vec![notify("web")]);
    rig.boot();
    let old = rig.process("web", ProcessRole::ExecStart);
    let new = rig.forks("web", 900);
    rig.event(Event::Notified {
        unit: name("web"),
        process: Some(old),
        notice: Notice { main: Some(new), ..ready() },
    });
    let exit = ExitStatus::Exited(1);
    rig.event(Event::Exited { process: old, exit, exec_error: None });
    assert_eq!((rig.status("web").main, rig.status("web").state), (Some(new), SubState::Running));
    rig.log();
    rig.event(Event::Exited { process: new, exit, exec_error: None });
    check(
        &mut rig,
        expect![[r#"
        web running > stop-sigterm
        kill web SIGTERM
        kill web SIGTERM
        web stop-sigterm > failed
        stopping: Failed("web.service")
        exit 1
    "#]],
    );
}

#[test]
fn it_stops_by_itself() {
    let mut web = notify("web");
    web.service.exec_stop = vec![command()];
    web.service.timeout_stop = Some(Duration::from_secs(3));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.says("web", ready());
    rig.log();
    rig.says("web", state(NoticeState::Stopping));
    rig.pass(3000);
    check(
        &mut rig,
        expect![[r#"
            web running > stop-sigterm
            -- 3.000000s
            web stop-sigterm timed out after 3s
            web stop-sigterm > stop-sigkill
            kill web SIGKILL
            web stop-sigkill > failed
            stopping: Failed("web.service")
            exit 137
        "#]],
    );
}

#[test]
fn it_reloads_by_itself() {
    let mut web = notify("web");
    web.service.timeout_start = Some(Duration::from_secs(3));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.says("web", ready());
    rig.log();
    rig.says("web", state(NoticeState::Reloading(None)));
    rig.says("web", ready());
    rig.says("web", state(NoticeState::Reloading(None)));
    rig.pass(3000);
    check(
        &mut rig,
        expect![[r#"
            web running > reload
            web reload > running
            web running > reload
            -- 3.000000s
            web reload timed out after 3s: READY=1
            web reload > running
        "#]],
    );
}

#[test]
fn a_reload_by_signal_waits_for_both_words() {
    let mut web = notify("web");
    web.service.kind = ServiceType::NotifyReload;
    web.service.reload_signal = Signal::USR1;
    web.service.timeout_start = Some(Duration::from_secs(3));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.says("web", ready());
    rig.pass(1000);
    let (before, earlier) = (rig.now(), crate::manager::time::Timestamp::ZERO);
    rig.log();
    rig.ask(JobKind::Reload, "web");
    rig.says("web", ready());
    rig.says("web", state(NoticeState::Reloading(None)));
    rig.says("web", state(NoticeState::Reloading(Some(earlier))));
    rig.says("web", ready());
    assert_eq!(rig.status("web").state, SubState::Reload);
    rig.says("web", state(NoticeState::Reloading(Some(before))));
    rig.says("web", ready());
    rig.ask(JobKind::Reload, "web");
    rig.pass(3000);
    check(
        &mut rig,
        expect![[r#"
            kill web SIGUSR1
            kill web SIGCONT
            web running > reload
            web reload > running
            reply Job { result: Done, reason: "", also: [] }
            web reload job done
            kill web SIGUSR1
            kill web SIGCONT
            web running > reload
            -- 4.000000s
            web reload timed out after 3s: READY=1
            web reload > running
            reply Job { result: Timeout, reason: "RELOADING=1 and READY=1 have not come", also: [] }
            web reload job timeout: RELOADING=1 and READY=1 have not come
        "#]],
    );
}

#[test]
fn more_time_is_given() {
    let more = |sec| Notice { extend_timeout: Some(Duration::from_secs(sec)), ..Notice::default() };
    let mut web = notify("web");
    web.service.timeout_start = Some(Duration::from_secs(5));
    web.service.timeout_stop = Some(Duration::from_secs(5));
    web.service.runtime_max = Some(Duration::from_secs(5));
    let mut rig = Rig::new(vec![web]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    rig.pass(4000);
    rig.says("web", more(10));
    rig.says("web", more(2)); // never less than it has
    rig.pass(9999);
    rig.says("web", ready());
    rig.says("web", more(20));
    rig.pass(19_999);
    assert_eq!(rig.status("web").state, SubState::Running);
    rig.pass(1);
    assert_eq!(rig.status("web").state, SubState::StopSigterm);
    rig.says("web", more(7));
    rig.pass(6999);
    assert_eq!(rig.status("web").state, SubState::StopSigterm);
    rig.pass(1);
    assert_eq!(rig.status("web").state, SubState::Failed);
}

fn guarded(stem: &str) -> Unit {
    let mut unit = notify(stem);
    unit.service.watchdog = Some(Duration::from_secs(2));
    unit
}

#[test]
fn a_watchdog_that_is_not_fed() {
    let ping = || Notice { watchdog: Some(Watchdog::Ping), ..Notice::default() };
    let mut rig = Rig::new(vec![guarded("web")]);
    rig.boot();
    rig.pass(60_000); // not before it is ready
    rig.says("web", ready());
    for _ in 0..3 {
        rig.pass(1999);
        rig.says("web", ping());
    }
    rig.log();
    rig.pass(2000);
    check(
        &mut rig,
        expect![[r#"
        -- 67.997000s
        web watchdog, SIGABRT
        web running > stop-watchdog
        kill web SIGABRT
        web stop-watchdog > failed
        stopping: Failed("web.service")
        exit 134
    "#]],
    );
    assert_eq!(rig.status("web").result.as_str(), "watchdog");
}

#[test]
fn a_watchdog_of_another_period() {
    let every = |sec| {
        let period = Some(Duration::from_secs(sec));
        Notice { watchdog_period: period, ..Notice::default() }
    };
    let mut rig = Rig::new(vec![guarded("web")]);
    rig.boot();
    rig.says("web", every(10));
    rig.says("web", ready());
    rig.pass(9999);
    assert_eq!(rig.status("web").state, SubState::Running);
    rig.says("web", every(0));
    rig.pass(100_000);
    assert_eq!(rig.status("web").state, SubState::Running);
    rig.says("web", Notice { watchdog: Some(Watchdog::Trigger), ..Notice::default() });
    assert_eq!(rig.status("web").result.as_str(), "watchdog");
}

fn forking(stem: &str, pid_file: bool) -> Unit {
    let mut unit = simple(stem);
    unit.service.kind = ServiceType::Forking;
    unit.service.pid_file = pid_file.then(|| "/run/web.pid".to_string());
    unit.service.timeout_start = Some(Duration::from_secs(5));
    unit
}

#[test]
fn a_daemon_by_its_pid_file() {
    let mut rig = Rig::new(vec![forking("web", true)]);
    rig.boot();
    rig.daemons.insert(name("web"), Err("/run/web.pid: No such file".to_string()));
    let daemon = rig.forks("web", 900);
    rig.exits("web", 0);
    rig.pass(300);
    assert_eq!(rig.status("web").state, SubState::Start);
    rig.daemons.insert(name("web"), Ok(daemon));
    rig.pass(100);
    assert_eq!(
        (rig.status("web").main, rig.status("web").state),
        (Some(daemon), SubState::Running)
    );
    // It hands over to another, and then it ends.
    let next = rig.forks("web", 901);
    rig.daemons.insert(name("web"), Ok(next));
    rig.exits("web", 0);
    assert_eq!((rig.status("web").main, rig.status("web").state), (Some(next), SubState::Running));
    rig.daemons.insert(name("web"), Err("/run/web.pid: No such file".to_string()));
    rig.log();
    rig.exits("web", 3);
    check(
        &mut rig,
        expect![[r#"
        web running > stop-sigterm
        web stop-sigterm > failed
        stopping: Failed("web.service")
        exit 3
    "#]],
    );
}

#[test]
fn a_pid_file_that_never_comes() {
    for (lives, result) in [(true, "timeout"), (false, "protocol")] {
        let mut rig = Rig::new(vec![forking("web", true)]);
        rig.boot();
        rig.daemons.insert(name("web"), Err("/run/web.pid: No such file".to_string()));
        if lives {
            rig.forks("web", 900);
        }
        rig.exits("web", 0);
        rig.pass(5000);
        assert_eq!(rig.status("web").result.as_str(), result);
    }
}

#[test]
fn a_pid_file_that_exec_start_post_writes() {
    let mut web = forking("web", true);
    web.service.exec_start_post = vec![command()];
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.daemons.insert(name("web"), Err("/run/web.pid: No such file".to_string()));
    let daemon = rig.forks("web", 900);
    rig.exits("web", 0);
    assert_eq!(rig.status("web").state, SubState::StartPost);
    rig.daemons.insert(name("web"), Ok(daemon));
    rig.ends("web", ProcessRole::ExecStartPost, ExitStatus::Exited(0));
    assert_eq!(
        (rig.status("web").main, rig.status("web").state),
        (Some(daemon), SubState::Running)
    );
}

#[test]
fn a_daemon_that_nobody_finds_lasts_until_the_unit_is_empty() {
    let mut rig = Rig::new(vec![forking("web", false)]);
    rig.boot();
    rig.forks("web", 900);
    rig.exits("web", 0);
    assert_eq!((rig.status("web").main, rig.status("web").state), (None, SubState::Running));
    rig.log();
    rig.exits("web", 0);
    rig.event(Event::Empty { unit: name("web") });
    check(
        &mut rig,
        expect![[r#"
        web running > stop-sigterm
        web stop-sigterm > dead
        stopping: NothingLeft
        exit 0
    "#]],
    );
}

#[test]
fn a_first_process_that_fails() {
    let mut rig = Rig::new(vec![forking("web", false)]);
    rig.boot();
    rig.log();
    rig.exits("web", 4);
    check(
        &mut rig,
        expect![[r#"
        web start > stop-sigterm
        web stop-sigterm > failed
        web start job failed: its result is exit-code
        booted
        stopping: Failed("web.service")
        exit 4
    "#]],
    );
}
