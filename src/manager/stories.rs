//! (tests) Stories of whole units: boot, failure, restart, stop.

mod health;
mod memory;
mod readiness;
mod ready;
mod wishes;

use expect_test::{Expect, expect};
use std::time::Duration;

use super::event::{JobKind, ProcessRole};
use super::rig::{Rig, command, name, needs, on, oneshot, simple};
use super::state::SubState;
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::{ExitAction, KillMode, Restart, ServiceType, TimeoutFailureMode};
use crate::unit::{StartedBy, Unit};

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

#[test]
fn steps_then_service_then_stop() {
    let mut step = oneshot("10-migrate");
    step.step = true;
    let mut rig = Rig::new(vec![step, needs(simple("web"), &["10-migrate"])]);
    rig.boot();
    rig.exits("10-migrate", 0);
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
            10-migrate dead > condition
            10-migrate condition > start
            spawn 10-migrate ExecStart
            10-migrate start > stop-sigterm
            10-migrate stop-sigterm > dead
            10-migrate start job done
            web dead > condition
            web condition > start
            spawn web ExecStart
            web start > running
            web start job done
            booted
            stopping: Signal(SIGTERM)
            web running > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > dead
            exit 0
        "#]],
    );
}

#[test]
fn a_failing_step_ends_the_boot_with_its_status() {
    let mut step = oneshot("10-migrate");
    step.step = true;
    let mut rig = Rig::new(vec![step, simple("db"), needs(simple("web"), &["10-migrate"])]);
    rig.boot();
    rig.exits("10-migrate", 7);
    check(
        &mut rig,
        expect![[r#"
            10-migrate dead > condition
            10-migrate condition > start
            spawn 10-migrate ExecStart
            db dead > condition
            db condition > start
            spawn db ExecStart
            db start > running
            db start job done
            10-migrate start > stop-sigterm
            10-migrate stop-sigterm > failed
            10-migrate start job failed: its result is exit-code
            stopping: Failed("10-migrate.service")
            web start job canceled: rinit is stopping
            db running > stop-sigterm
            kill db SIGTERM
            db stop-sigterm > dead
            exit 7
        "#]],
    );
}

fn crashing(stem: &str) -> Unit {
    let mut unit = simple(stem);
    unit.service.restart = Restart::OnFailure;
    unit.service.restart_sec = Duration::from_millis(50);
    unit.start_limit_burst = 4;
    unit
}

#[test]
fn a_crash_loop_ends_at_its_limit_with_the_last_status() {
    let mut rig = Rig::new(vec![crashing("web")]);
    rig.boot();
    for _ in 0..4 {
        rig.exits("web", 70);
        rig.pass(1000);
    }
    assert_eq!(rig.exit, Some(70));
    let log = rig.log();
    assert_eq!(log.matches("spawn web").count(), 4, "{log}");
    assert_eq!(log.matches("start limit hit").count(), 1, "{log}");
}

#[test]
fn chains_stop_in_exact_reverse_order() {
    let chain = |a: &str, b: &str, c: &str| {
        let second = needs(simple(b), &[a]);
        vec![simple(a), second, needs(simple(c), &[b])]
    };
    let mut units = chain("a1", "a2", "a3");
    units.extend(chain("b1", "b2", "b3"));
    let mut rig = Rig::new(units);
    rig.boot();
    rig.log();
    rig.signal(Signal::TERM);
    let log = rig.log();
    let downs: Vec<&str> = log.lines().filter(|line| line.ends_with("> dead")).collect();
    for chain in ["a", "b"] {
        let of: Vec<_> =
            downs.iter().filter(|line| line.starts_with(chain)).map(|l| &l[..2]).collect();
        let expected: Vec<_> = [3, 2, 1].map(|n| format!("{chain}{n}")).to_vec();
        assert_eq!(of, expected, "{log}");
    }
    assert_eq!(rig.exit, Some(0));
}

#[test]
fn what_ignores_sigterm_is_killed_at_its_timeout() {
    let mut web = simple("web");
    web.service.timeout_stop = Some(Duration::from_secs(2));
    let mut rig = Rig::new(vec![web]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    rig.log();
    rig.signal(Signal::TERM);
    rig.pass(2000);
    check(
        &mut rig,
        expect![[r#"
            stopping: Signal(SIGTERM)
            web running > stop-sigterm
            kill web SIGTERM
            -- 2.000000s
            web stop-sigterm timed out after 2s
            web stop-sigterm > stop-sigkill
            kill web SIGKILL
            web stop-sigkill > failed
            exit 137
        "#]],
    );
}

#[test]
fn who_is_born_after_the_stop_signal_gets_it_too() {
    let mut rig = Rig::new(vec![simple("web")]);
    rig.littering.insert(name("web"));
    rig.boot();
    rig.log();
    rig.signal(Signal::TERM);
    rig.pass(50);
    check(
        &mut rig,
        expect![[r#"
            stopping: Signal(SIGTERM)
            web running > stop-sigterm
            kill web SIGTERM
            -- 0.050000s
            kill the late one of web SIGTERM
            web stop-sigterm > dead
            exit 0
        "#]],
    );
}

#[test]
fn ten_that_ignore_sigterm_end_inside_the_budget() {
    let chain: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let units = chain.iter().enumerate().map(|(n, stem)| match n {
        0 => simple(stem),
        _ => needs(simple(stem), &[&chain[n - 1]]),
    });
    let mut rig = Rig::new(units.collect());
    rig.stubborn.extend(chain.iter().map(|stem| name(stem)));
    rig.boot();
    rig.signal(Signal::TERM);
    rig.pass(8_500);
    assert_eq!(rig.exit, Some(137));
    let log = rig.log();
    assert_eq!(log.matches("SIGKILL").count(), 10, "{log}");
}

#[test]
fn a_second_signal_hurries_and_a_third_kills() {
    let mut rig = Rig::new(vec![simple("web")]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    rig.signal(Signal::TERM);
    rig.pass(300);
    rig.signal(Signal::INT);
    rig.pass(999);
    assert_eq!(rig.exit, None);
    rig.pass(1);
    assert_eq!(rig.exit, Some(137));

    let mut rig = Rig::new(vec![simple("web")]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    for _ in 0..3 {
        assert_eq!(rig.exit, None);
        rig.signal(Signal::TERM);
        rig.pass(200);
    }
    assert_eq!(rig.exit, Some(137));
}

#[test]
fn a_stop_during_a_backoff_is_the_end() {
    let mut rig = Rig::new(vec![crashing("web")]);
    rig.boot();
    rig.exits("web", 1);
    rig.log();
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
            stopping: Signal(SIGTERM)
            web auto-restart > dead
            exit 0
        "#]],
    );
}

#[test]
fn on_failure_runs_before_the_exit() {
    let mut web = simple("web");
    web.on_failure = on(&["alert"]);
    let mut alert = oneshot("alert");
    alert.started_by = StartedBy::Demand;
    alert.failure_action = ExitAction::None;
    let mut rig = Rig::new(vec![web, alert, simple("db")]);
    rig.boot();
    rig.log();
    rig.exits("web", 3);
    assert_eq!(rig.exit, None);
    rig.exits("alert", 0);
    check(
        &mut rig,
        expect![[r#"
            web running > stop-sigterm
            web stop-sigterm > failed
            stopping: Failed("web.service")
            alert dead > condition
            alert condition > start
            spawn alert ExecStart
            alert start > stop-sigterm
            alert stop-sigterm > dead
            alert start job done
            db running > stop-sigterm
            kill db SIGTERM
            db stop-sigterm > dead
            exit 3
        "#]],
    );
}

#[test]
fn command_mode_passes_the_status_through() {
    let main = || {
        let mut unit = simple("main");
        unit.success_action = ExitAction::Exit;
        unit.service.kill_mode = KillMode::Process;
        unit
    };
    let in_command_mode = || Rig::with(vec![main()], |config| config.command = Some(name("main")));
    for (exit, code) in [
        (ExitStatus::Exited(0), 0),
        (ExitStatus::Exited(3), 3),
        (ExitStatus::Exited(143), 143),
        (ExitStatus::Killed { signal: Signal::KILL, core_dumped: false }, 137),
        (ExitStatus::Killed { signal: Signal::TERM, core_dumped: false }, 143),
        (ExitStatus::Killed { signal: Signal::SEGV, core_dumped: true }, 139),
    ] {
        let mut rig = in_command_mode();
        rig.boot();
        rig.ends("main", ProcessRole::ExecStart, exit);
        assert_eq!(rig.exit, Some(code), "{exit}");
    }
    let mut rig = in_command_mode();
    rig.boot();
    rig.log();
    rig.signal(Signal::USR1);
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
            kill main SIGUSR1
            stopping: Signal(SIGTERM)
            main running > stop-sigterm
            kill main SIGTERM
            main stop-sigterm > dead
            exit 143
        "#]],
    );
}

#[test]
fn a_stop_of_what_others_require_takes_them_along() {
    let mut rig = Rig::new(vec![simple("db"), needs(simple("web"), &["db"]), simple("other")]);
    rig.boot();
    rig.log();
    rig.ask(JobKind::Stop, "db");
    rig.ask(JobKind::Start, "web");
    rig.ask(JobKind::Restart, "db");
    check(
        &mut rig,
        expect![[r#"
            web to stop with db by Requires
            web running > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > dead
            web stop job done
            db running > stop-sigterm
            kill db SIGTERM
            db stop-sigterm > dead
            reply Job { result: Done, reason: "", also: ["web.service"] }
            db stop job done
            db dead > condition
            db condition > start
            spawn db ExecStart
            db start > running
            db start job done
            web dead > condition
            web condition > start
            spawn web ExecStart
            web start > running
            reply Job { result: Done, reason: "", also: ["db.service"] }
            web start job done
            web to restart with db by Requires
            web running > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > dead
            db running > stop-sigterm
            kill db SIGTERM
            db stop-sigterm > dead
            db dead > condition
            db condition > start
            spawn db ExecStart
            db start > running
            reply Job { result: Done, reason: "", also: ["web.service"] }
            db restart job done
            web dead > condition
            web condition > start
            spawn web ExecStart
            web start > running
            web restart job done
        "#]],
    );
    assert_eq!(rig.exit, None);
}

#[test]
fn every_command_of_a_life() {
    let mut web = simple("web");
    web.service.exec_condition = vec![command()];
    web.service.exec_start_pre = vec![command(), command()];
    web.service.exec_start_post = vec![command()];
    web.service.exec_stop = vec![command()];
    web.service.exec_stop_post = vec![command()];
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    let ok = ExitStatus::Exited(0);
    rig.ends("web", ProcessRole::ExecCondition, ok);
    rig.ends("web", ProcessRole::ExecStartPre, ok);
    rig.ends("web", ProcessRole::ExecStartPre, ok);
    rig.ends("web", ProcessRole::ExecStartPost, ok);
    rig.signal(Signal::TERM);
    rig.ends("web", ProcessRole::ExecStop, ok);
    rig.ends("web", ProcessRole::ExecStopPost, ok);
    check(
        &mut rig,
        expect![[r#"
            web dead > condition
            spawn web ExecCondition
            web condition > start-pre
            spawn web ExecStartPre
            spawn web ExecStartPre
            web start-pre > start
            spawn web ExecStart
            web start > start-post
            spawn web ExecStartPost
            web start-post > running
            web start job done
            booted
            stopping: Signal(SIGTERM)
            web running > stop
            spawn web ExecStop
            web stop > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > stop-post
            spawn web ExecStopPost
            web stop-post > final-sigterm
            web final-sigterm > dead
            exit 0
        "#]],
    );
}

#[test]
fn nothing_left_is_the_end() {
    let mut rig = Rig::new(vec![oneshot("a"), oneshot("b")]);
    rig.boot();
    rig.exits("a", 0);
    assert_eq!(rig.exit, None);
    rig.exits("b", 0);
    assert_eq!(rig.exit, Some(0));

    let mut optional = simple("a");
    optional.failure_action = ExitAction::None;
    let mut rig = Rig::new(vec![optional, simple("b")]);
    rig.boot();
    rig.exits("a", 4);
    assert_eq!(rig.exit, None);
    rig.exits("b", 0);
    assert_eq!(rig.exit, Some(4), "the status of the first that failed");

    let mut skipped = simple("a");
    skipped.conditions = vec![crate::unit::Condition {
        kind: crate::unit::ConditionKind::PathExists,
        parameter: "/x".into(),
        trigger: false,
        negate: false,
    }];
    let mut rig = Rig::new(vec![skipped]);
    rig.unmet.insert(name("a"));
    rig.boot();
    assert_eq!(rig.exit, Some(0));
}

#[test]
fn idle_waits_for_the_others() {
    let mut idle = simple("a-idle");
    idle.service.kind = ServiceType::Idle;
    let mut rig = Rig::new(vec![idle, oneshot("b")]);
    rig.boot();
    assert!(!rig.log().contains("spawn a-idle"));
    rig.exits("b", 0);
    assert!(rig.log().contains("spawn a-idle"));

    let mut idle = simple("a-idle");
    idle.service.kind = ServiceType::Idle;
    let mut rig = Rig::new(vec![idle, oneshot("b")]);
    rig.boot();
    rig.pass(4999);
    assert!(!rig.log().contains("spawn a-idle"));
    rig.pass(1);
    assert!(rig.log().contains("spawn a-idle"));
}

#[test]
fn a_long_run_starts_the_backoff_anew() {
    let mut web = crashing("web");
    web.start_limit_interval = Duration::ZERO;
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    for up in [2000, 2000, 2000, 10_000, 2000] {
        rig.pass(up);
        rig.exits("web", 1);
        rig.pass(1000);
    }
    let log = rig.log();
    let attempts: Vec<&str> = log.lines().filter(|line| line.contains("in a row")).collect();
    assert_eq!(
        attempts,
        [1, 2, 3, 1, 2].map(|n| format!("web restarts, {n}. in a row")),
        "what runs for two seconds backs off too; what ran for RestartResetSec= does not"
    );
}

#[test]
fn bound_units_go_and_come_with_it() {
    let mut web = simple("web");
    web.after = on(&["db"]).into();
    web.binds_to = on(&["db"]);
    let mut db = crashing("db");
    db.start_limit_interval = Duration::ZERO;
    let mut rig = Rig::new(vec![db, web]);
    rig.boot();
    rig.log();
    rig.exits("db", 1);
    rig.pass(100);
    check(
        &mut rig,
        expect![[r#"
            db running > stop-sigterm
            db restarts, 1. in a row
            db stop-sigterm > auto-restart
            web to restart with db by BindsTo
            web running > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > dead
            -- 0.046498s
            db auto-restart > condition
            db condition > start
            spawn db ExecStart
            db start > running
            web dead > condition
            web condition > start
            spawn web ExecStart
            web start > running
            web restart job done
        "#]],
    );
}

#[test]
fn an_upheld_unit_whose_condition_never_holds_is_no_busy_loop() {
    let mut keeper = simple("keeper");
    keeper.upholds = on(&["never"]);
    let mut never = simple("never");
    never.service.restart_sec = Duration::ZERO;
    never.conditions = vec![crate::unit::Condition {
        kind: crate::unit::ConditionKind::PathExists,
        parameter: "/x".into(),
        trigger: false,
        negate: false,
    }];
    let mut rig = Rig::new(vec![keeper, never]);
    rig.unmet.insert(name("never"));
    rig.boot();
    rig.pass(60_000);
    let restarts = rig.log().matches("never restarts").count();
    assert!((5..=12).contains(&restarts), "{restarts} looks in a minute");
}

#[test]
fn send_sigkill_no_is_kept_by_every_way_to_the_end() {
    let stubborn = |mode: KillMode| {
        let mut unit = simple("web");
        unit.service.kill_mode = mode;
        unit.service.send_sigkill = false;
        unit.service.timeout_stop = Some(Duration::from_secs(1));
        unit.service.timeout_start = Some(Duration::from_secs(1));
        unit.service.timeout_stop_failure_mode = TimeoutFailureMode::Kill;
        unit.service.timeout_start_failure_mode = TimeoutFailureMode::Kill;
        unit.failure_action = ExitAction::None;
        unit
    };
    let mut stops = stubborn(KillMode::ControlGroup);
    stops.service.exec_stop = vec![command()];
    let mut starts = stubborn(KillMode::ControlGroup);
    starts.service.exec_start_pre = vec![command()];
    for unit in [stops, starts, stubborn(KillMode::Mixed)] {
        let mut rig = Rig::new(vec![unit, simple("other")]);
        rig.stubborn.insert(name("web"));
        rig.boot();
        rig.ask(JobKind::Stop, "web");
        rig.pass(10_000);
        let log = rig.log();
        assert!(!log.contains("SIGKILL"), "{log}");
        assert!(log.contains("kill web SIGTERM"), "{log}");
        assert!(log.contains("> failed"), "{log}");
    }
}

#[test]
fn the_commands_status_is_passed_on_whatever_fails_after_it() {
    let story = |exit: ExitStatus, kind: ServiceType, fails: ProcessRole| {
        let mut main = simple("main");
        main.success_action = ExitAction::Exit;
        (main.service.kind, main.service.kill_mode) = (kind, KillMode::Process);
        let commands = if fails == ProcessRole::ExecStartPost {
            &mut main.service.exec_start_post
        } else if fails == ProcessRole::ExecStop {
            &mut main.service.exec_stop
        } else {
            &mut main.service.exec_stop_post
        };
        commands.push(command());
        let mut rig = Rig::with(vec![main], |config| config.command = Some(name("main")));
        rig.stubborn.insert(name("main"));
        rig.boot();
        if fails == ProcessRole::ExecStartPost {
            rig.ends("main", fails, ExitStatus::Exited(3));
        }
        rig.ends("main", ProcessRole::ExecStart, exit);
        if fails != ProcessRole::ExecStartPost {
            rig.ends("main", fails, ExitStatus::Exited(3));
        }
        rig.exit
    };
    let (good, simple) = (ExitStatus::Exited(0), ServiceType::Simple);
    assert_eq!(story(good, simple, ProcessRole::ExecStopPost), Some(0));
    assert_eq!(story(good, simple, ProcessRole::ExecStop), Some(0));
    assert_eq!(story(ExitStatus::Exited(4), simple, ProcessRole::ExecStopPost), Some(4));
    assert_eq!(story(good, simple, ProcessRole::ExecStartPost), Some(1), "told to stop by then");
    assert_eq!(story(good, ServiceType::Notify, ProcessRole::ExecStopPost), Some(1), "not ready");
}

#[test]
fn a_command_may_choose_its_statuses() {
    let story = |exit: ExitStatus, stop: bool| {
        let mut main = simple("main");
        main.success_action = ExitAction::Exit;
        main.success_action_exit_status = Some(0);
        main.failure_action_exit_status = Some(9);
        main.service.success_exit_status.codes.insert(143);
        let mut rig = Rig::with(vec![main], |config| config.command = Some(name("main")));
        rig.boot();
        if stop {
            rig.signal(Signal::TERM);
        } else {
            rig.ends("main", ProcessRole::ExecStart, exit);
        }
        rig.exit
    };
    assert_eq!(story(ExitStatus::Exited(143), false), Some(0), "tini -e 143");
    assert_eq!(story(ExitStatus::Exited(4), false), Some(9));
    assert_eq!(story(ExitStatus::Exited(0), true), Some(0), "a clean SIGTERM, remapped");
}

/// RestartPreventExitStatus= is told of where it is the reason, and only there.
#[test]
fn a_restart_that_is_prevented() {
    let story = |restart: Restart, force: bool, code: u8| {
        let mut web = simple("web");
        web.failure_action = ExitAction::None;
        web.service.restart = restart;
        web.service.restart_prevent_exit_status.codes.insert(3);
        if force {
            web.service.restart_force_exit_status.codes.insert(3);
        }
        let mut rig = Rig::new(vec![web, simple("other")]);
        rig.boot();
        rig.exits("web", code);
        let log = rig.log();
        (log.contains("web not restarted: exited with status 3"), rig.status("web").state)
    };
    assert_eq!(story(Restart::Always, false, 3), (true, SubState::Failed));
    assert_eq!(story(Restart::Always, false, 4), (false, SubState::AutoRestart));
    assert_eq!(story(Restart::No, false, 3), (false, SubState::Failed));
    assert_eq!(story(Restart::No, true, 3), (true, SubState::Failed), "it wins");
}
