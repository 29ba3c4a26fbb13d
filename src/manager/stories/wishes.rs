//! (tests) Stories of ends that somebody wanted: they end what was to end, and not all.

use expect_test::expect;
use std::time::Duration;

use super::check;
use crate::manager::event::ClientId;
use crate::manager::event::{Event, JobKind, ProcessRole, Request};
use crate::manager::rig::{Rig, command, name, needs, on, oneshot, simple};
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::ExitAction;
use crate::unit::{Unit, UnitSet};

/// Booted; their processes answer SIGTERM only when the story says so.
fn up(units: Vec<Unit>, slow: &[&str]) -> Rig {
    let mut rig = Rig::new(units);
    rig.stubborn = slow.iter().map(|stem| name(stem)).collect();
    rig.boot();
    rig.log();
    rig
}

/// A process that was told to stop ends by this status.
fn obeys(rig: &mut Rig, stem: &str, code: u8) {
    rig.exits(stem, code);
    rig.event(Event::Empty { unit: name(stem) });
}

fn step(stem: &str) -> Unit {
    let mut step = oneshot(stem);
    step.step = true;
    step
}

/// As every JVM does: status 143 on SIGTERM.
#[test]
fn a_restart_whose_stop_fails_is_a_restart() {
    let mut rig = up(vec![simple("a"), simple("b")], &["a"]);
    rig.ask(JobKind::Restart, "a");
    obeys(&mut rig, "a", 143);
    check(
        &mut rig,
        expect![[r#"
            a running > stop-sigterm
            kill a SIGTERM
            a stop-sigterm > failed
            a failed > condition
            a condition > start
            spawn a ExecStart
            a start > running
            reply Job { result: Done, reason: "", also: [] }
            a restart job done
        "#]],
    );
    // What it does after that by itself counts.
    rig.exits("a", 3);
    assert!(rig.log().contains("stopping: Failed(\"a.service\")"));
    assert_eq!(rig.exit, Some(3));
}

#[test]
fn a_stop_that_fails_is_a_stop() {
    let mut rig = up(vec![simple("a")], &["a"]);
    rig.ask(JobKind::Stop, "a");
    obeys(&mut rig, "a", 143);
    check(
        &mut rig,
        expect![[r#"
            a running > stop-sigterm
            kill a SIGTERM
            a stop-sigterm > failed
            reply Job { result: Done, reason: "", also: [] }
            a stop job done
        "#]],
    );
    rig.signal(Signal::TERM);
    assert_eq!(rig.exit, Some(0), "rinit waited for the client's next word");
}

#[test]
fn who_goes_down_with_another_has_not_failed() {
    let mut web = simple("web");
    web.binds_to = on(&["db"]);
    let mut db = simple("db");
    db.failure_action = ExitAction::None;
    let mut rig = up(vec![db, web, simple("other")], &["web"]);
    rig.exits("db", 1);
    obeys(&mut rig, "web", 143);
    check(
        &mut rig,
        expect![[r#"
            db running > stop-sigterm
            db stop-sigterm > failed
            web to stop with db by BindsTo
            web running > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > failed
            web stop job done
        "#]],
    );
}

#[test]
fn restarts_by_hand_that_are_too_many_end_nothing() {
    let mut unit = simple("a");
    unit.start_limit_burst = 2;
    unit.start_limit_interval = Duration::from_secs(10);
    let mut rig = up(vec![unit, simple("b")], &[]);
    rig.ask(JobKind::Restart, "a");
    rig.log();
    rig.ask(JobKind::Restart, "a");
    assert!(rig.log().contains("reply Job { result: Failed"));
    assert_eq!((rig.exit, rig.status("b").state.to_string()), (None, "running".to_string()));
}

/// A migration that is run once more is nobody else's matter.
#[test]
fn a_step_that_is_run_again_touches_nobody() {
    let mut rig = Rig::new(vec![step("1"), needs(simple("web"), &["1"])]);
    rig.boot();
    rig.exits("1", 0);
    rig.log();
    rig.ask(JobKind::Stop, "1");
    rig.ask(JobKind::Restart, "1");
    rig.exits("1", 5);
    check(
        &mut rig,
        expect![[r#"
            reply Job { result: Done, reason: "", also: [] }
            1 stop job done
            1 dead > condition
            1 condition > start
            spawn 1 ExecStart
            1 start > stop-sigterm
            1 stop-sigterm > failed
            reply Job { result: Failed, reason: "its result is exit-code", also: [] }
            1 restart job failed: its result is exit-code
        "#]],
    );
}

/// But who says that it goes down with a step does.
#[test]
fn who_is_part_of_a_step_is_restarted_with_it() {
    let mut web = needs(simple("web"), &["1"]);
    web.part_of = on(&["1"]);
    let mut rig = Rig::new(vec![step("1"), web]);
    rig.boot();
    rig.exits("1", 0);
    rig.log();
    rig.ask(JobKind::Restart, "1");
    assert!(rig.log().contains("web running > stop-sigterm"));
}

/// What `apply` starts is a client's wish: the client is told.
#[test]
fn a_new_step_that_fails_ends_nothing() {
    let mut rig = up(vec![simple("a")], &[]);
    let units = [simple("a"), step("1")].map(|unit| (unit.name.clone(), std::sync::Arc::new(unit)));
    let units = UnitSet { units: units.into(), ..UnitSet::default() };
    let request = Request::Apply { units, dry_run: false };
    rig.event(Event::Request { client: ClientId(1), request });
    rig.exits("1", 1);
    assert!(rig.log().contains("1 stop-sigterm > failed"));
    assert_eq!((rig.exit, rig.status("a").state.to_string()), (None, "running".to_string()));
}

#[test]
fn a_restart_of_what_ends_all_is_no_end() {
    let mut unit = simple("job");
    unit.success_action = ExitAction::Exit;
    let command = Some(name("job"));
    let mut rig = Rig::with(vec![unit], |config| config.command = command);
    rig.boot();
    rig.ask(JobKind::Restart, "job");
    assert_eq!(rig.exit, None);
    rig.exits("job", 4);
    assert_eq!(rig.exit, Some(4), "the status of the end, and not of the restart");
}

/// A client's start in vain is told to the client; once it was up its end counts again.
#[test]
fn a_start_in_vain_is_the_clients_and_a_later_end_is_not() {
    let mut unit = simple("a");
    unit.service.exec_start_pre = vec![command()];
    let mut rig = up(vec![unit, simple("b")], &[]);
    rig.ends("a", ProcessRole::ExecStartPre, ExitStatus::Exited(0));
    rig.ask(JobKind::Restart, "a");
    rig.ends("a", ProcessRole::ExecStartPre, ExitStatus::Exited(2));
    assert!(rig.log().contains("reply Job { result: Failed"));
    assert_eq!(rig.exit, None);
    rig.ask(JobKind::Start, "a");
    rig.ends("a", ProcessRole::ExecStartPre, ExitStatus::Exited(0));
    rig.exits("a", 6);
    assert_eq!(rig.exit, Some(6));
}

/// systemd.service(5): ExecStop= is not run where ExecStartPost= failed or took too long.
#[test]
fn no_stop_command_without_a_whole_start() {
    let mut unit = simple("a");
    unit.service.exec_start_post = vec![command()];
    unit.service.exec_stop = vec![command()];
    unit.service.timeout_start = Some(Duration::from_secs(1));
    let mut rig = Rig::new(vec![unit.clone()]);
    rig.boot();
    rig.ends("a", ProcessRole::ExecStartPost, ExitStatus::Exited(1));
    assert!(!rig.log().contains("ExecStop"));
    let mut rig = Rig::new(vec![unit]);
    rig.boot();
    rig.pass(1000);
    let log = rig.log();
    assert!(log.contains("start-post > stop-sigterm") && !log.contains("ExecStop\n"), "{log}");
}
