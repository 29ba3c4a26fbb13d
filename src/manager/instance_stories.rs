//! (tests) Stories of services with instances: start, crash, exhaustion, stop, scale, roll.

use expect_test::{Expect, expect};
use std::time::Duration;

use super::event::JobKind;
use super::rig::{Rig, needs, simple};
use crate::unit::Unit;
use crate::unit::process::Signal;
use crate::unit::rolling::Instances;
use crate::unit::service::Restart;

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

fn several(stem: &str, count: u32) -> Unit {
    let mut unit = simple(stem);
    unit.service.instances = Some(Instances::Count(count));
    unit.service.restart = Restart::OnFailure;
    unit.service.restart_sec = Duration::from_millis(50);
    unit.start_limit_burst = 3;
    unit
}

#[test]
fn all_start_in_order_and_stop_together() {
    let mut rig = Rig::new(vec![simple("db"), needs(several("web", 2), &["db"])]);
    rig.boot();
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
        db dead > condition
        db condition > start
        spawn db ExecStart
        db start > running
        db start job done
        web dead > condition
        web condition > start
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@2 dead > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@1 start > running
        web start > running
        web@2 start > running
        web start job done
        booted
        stopping: Signal(SIGTERM)
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web running > stop-sigterm
        web@1 stop-sigterm > dead
        web@2 stop-sigterm > dead
        web stop-sigterm > dead
        db running > stop-sigterm
        kill db SIGTERM
        db stop-sigterm > dead
        exit 0
    "#]],
    );
}

#[test]
fn one_that_crashes_comes_back_alone() {
    let mut rig = Rig::new(vec![several("web", 2)]);
    rig.boot();
    rig.log();
    rig.exits("web@2", 1);
    rig.pass(100);
    check(
        &mut rig,
        expect![[r#"
        web@2 running > stop-sigterm
        web@2 restarts, 1. in a row
        web@2 stop-sigterm > auto-restart
        -- 0.048202s
        web@2 auto-restart > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
    "#]],
    );
}

#[test]
fn one_that_always_crashes_is_tried_again_seldom() {
    let mut rig = Rig::new(vec![several("web", 2)]);
    rig.boot();
    rig.log();
    for _ in 0..3 {
        rig.exits("web@2", 1);
        rig.pass(1000);
    }
    check(
        &mut rig,
        expect![[r#"
        web@2 running > stop-sigterm
        web@2 restarts, 1. in a row
        web@2 stop-sigterm > auto-restart
        -- 0.048202s
        web@2 auto-restart > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
        web@2 running > stop-sigterm
        web@2 restarts, 2. in a row
        web@2 stop-sigterm > auto-restart
        -- 1.095014s
        web@2 auto-restart > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
        web@2 running > stop-sigterm
        web@2 restarts, 3. in a row
        web@2 stop-sigterm > auto-restart
        -- 2.203199s
        web@2 auto-restart > condition
        web@2 condition > auto-restart
        web@2 exhausted, 1 of 2 up, 30s
    "#]],
    );
    rig.pass(34_000);
    check(
        &mut rig,
        expect![[r#"
        -- 32.722469s
        web@2 auto-restart > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
    "#]],
    );
    rig.exits("web@2", 1);
    rig.pass(34_000);
    check(
        &mut rig,
        expect![[r#"
        web@2 running > stop-sigterm
        web@2 restarts, 4. in a row
        web@2 stop-sigterm > auto-restart
        -- 64.438540s
        web@2 auto-restart > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
    "#]],
    );
    rig.pass(11_000);
    rig.exits("web@2", 1);
    rig.pass(100);
    check(
        &mut rig,
        expect![[r#"
        -- 74.438540s
        web@2 running > stop-sigterm
        web@2 restarts, 1. in a row
        web@2 stop-sigterm > auto-restart
        -- 82.045958s
        web@2 auto-restart > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
    "#]],
    );
    assert_eq!(rig.exit, None);
}

#[test]
fn when_all_are_exhausted_the_service_fails_with_the_last_status() {
    let mut rig = Rig::new(vec![several("web", 2)]);
    rig.boot();
    for code in [1, 2, 3] {
        rig.exits("web@1", code);
        rig.exits("web@2", code + 10);
        rig.pass(1000);
    }
    let log = rig.log();
    assert_eq!(rig.exit, Some(13), "{log}");
    assert_eq!(log.matches("exhausted").count(), 1, "{log}");
}

#[test]
fn jobs_on_a_single_instance() {
    let mut rig = Rig::new(vec![several("web", 2)]);
    rig.boot();
    rig.log();
    rig.ask(JobKind::Stop, "web@2");
    rig.ask(JobKind::Start, "web@2");
    rig.ask(JobKind::Restart, "web@1");
    check(
        &mut rig,
        expect![[r#"
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web@2 stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
        web@2 stop job done
        web@2 dead > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
        reply Job { result: Done, reason: "", also: [] }
        web@2 start job done
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@1 stop-sigterm > dead
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@1 start > running
        reply Job { result: Done, reason: "", also: [] }
        web@1 restart job done
    "#]],
    );
}

#[test]
fn a_stopped_service_waits_for_its_client() {
    let mut rig = Rig::new(vec![several("web", 2)]);
    rig.boot();
    rig.log();
    rig.ask(JobKind::Stop, "web");
    rig.ask(JobKind::Start, "web@1");
    rig.ask(JobKind::Start, "web");
    check(
        &mut rig,
        expect![[r#"
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web running > stop-sigterm
        web@1 stop-sigterm > dead
        web@2 stop-sigterm > dead
        web stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
        web stop job done
        reply Refused { reason: "web.service is not up: start that" }
        web dead > condition
        web condition > start
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@2 dead > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@1 start > running
        web start > running
        web@2 start > running
        reply Job { result: Done, reason: "", also: [] }
        web start job done
    "#]],
    );
    assert_eq!(rig.exit, None);
}
