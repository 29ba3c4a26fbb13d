//! (tests) Stories of rolls: both orders, failures, and what interrupts them.

use expect_test::{Expect, expect};
use std::time::Duration;

use super::event::{ClientId, Event, JobKind, Request};
use super::rig::{Rig, name, simple};
use crate::unit::process::Signal;
use crate::unit::rolling::{Instances, RollingFailure, RollingOrder};
use crate::unit::service::Restart;
use crate::unit::socket::Socket;
use crate::unit::{Unit, UnitSet};

/// A service whose replacements have to stay up for a second.
fn several(count: u32, order: RollingOrder) -> Unit {
    let mut unit = simple("web");
    unit.service.instances = Some(Instances::Count(count));
    unit.service.restart = Restart::OnFailure;
    unit.service.rolling_update.order = Some(order);
    unit.service.rolling_update.monitor = Duration::from_secs(1);
    unit
}

fn booted(unit: Unit) -> Rig {
    let mut rig = Rig::new(vec![unit]);
    rig.boot();
    rig.log();
    rig
}

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

fn apply(rig: &mut Rig, unit: &Unit) {
    let units = [(unit.name.clone(), std::sync::Arc::new(unit.clone()))];
    let units = UnitSet { units: units.into(), ..UnitSet::default() };
    let request = Request::Apply { units, dry_run: false };
    rig.event(Event::Request { client: ClientId(7), request });
}

fn scale(rig: &mut Rig, count: u32) {
    let request = Request::Scale { unit: name("web"), count };
    rig.event(Event::Request { client: ClientId(8), request });
}

/// What `Instances=` may not say, a client may not say either.
#[test]
fn a_number_beyond_all_bounds_is_refused() {
    let mut rig = booted(several(2, RollingOrder::StopFirst));
    rig.log();
    scale(&mut rig, 4097);
    let told = "reply Refused { reason: \"4097 instances are too many: 4096 at most\" }\n";
    assert_eq!(rig.log(), told);
}

#[test]
fn stop_first_goes_one_by_one() {
    let mut rig = booted(several(2, RollingOrder::StopFirst));
    rig.ask(JobKind::Restart, "web");
    rig.pass(5000);
    check(
        &mut rig,
        expect![[r#"
        web roll 0/2: Begun
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@1 stop-sigterm > dead
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@1 start > running
        -- 1.000000s
        web roll 1/2: Replaced { instance: "web@1.service" }
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web@2 stop-sigterm > dead
        web@2 dead > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
        -- 2.000000s
        web roll 2/2: Replaced { instance: "web@2.service" }
        web roll 2/2: Ended
        reply Job { result: Done, reason: "", also: [] }
        web restart job done
    "#]],
    );
}

#[test]
fn start_first_takes_the_place_and_steers() {
    let mut unit = several(2, RollingOrder::StartFirst);
    unit.socket = Some(Box::new(Socket { reuse_port: true, ..Socket::default() }));
    let mut rig = booted(unit);
    rig.ask(JobKind::Reload, "web");
    rig.pass(5000);
    check(
        &mut rig,
        expect![[r#"
            web roll 0/2: Begun
            web@1+new dead > condition
            web@1+new condition > start
            spawn web@1+new ExecStart
            web@1+new start > running
            rename web@1 web@1+old1
            rename web@1+new web@1
            web@1+old1 running > stop
            quiesce web@1+old1
            resume web@1+old1
            web@1+old1 stop > stop-sigterm
            kill web@1+old1 SIGTERM
            web@1+old1 stop-sigterm > dead
            -- 1.000000s
            web roll 1/2: Replaced { instance: "web@1.service" }
            web@2+new dead > condition
            web@2+new condition > start
            spawn web@2+new ExecStart
            web@2+new start > running
            rename web@2 web@2+old2
            rename web@2+new web@2
            web@2+old2 running > stop
            quiesce web@2+old2
            resume web@2+old2
            web@2+old2 stop > stop-sigterm
            kill web@2+old2 SIGTERM
            web@2+old2 stop-sigterm > dead
            -- 2.000000s
            web roll 2/2: Replaced { instance: "web@2.service" }
            web roll 2/2: Ended
            reply Job { result: Done, reason: "", also: [] }
            web reload job done
        "#]],
    );
}

#[test]
fn who_is_to_be_stopped_gets_no_new_connection_before() {
    let mut unit = several(2, RollingOrder::StopFirst);
    unit.socket = Some(Box::new(Socket { reuse_port: true, ..Socket::default() }));
    let mut rig = booted(unit);
    rig.ask(JobKind::Stop, "web@2");
    rig.exits("web@1", 1);
    rig.pass(1000);
    scale(&mut rig, 0);
    check(
        &mut rig,
        expect![[r#"
            steer web [1]
            web@2 running > stop
            quiesce web@2
            resume web@2
            web@2 stop > stop-sigterm
            kill web@2 SIGTERM
            web@2 stop-sigterm > dead
            reply Job { result: Done, reason: "", also: [] }
            web@2 stop job done
            web@1 running > stop-sigterm
            web running > stop-sigterm
            steer web []
            web@1 restarts, 1. in a row
            web@1 stop-sigterm > auto-restart
            web stop-sigterm > auto-restart
            -- 0.096404s
            web@1 auto-restart > condition
            web@1 condition > start
            spawn web@1 ExecStart
            web@1 start > running
            web auto-restart > running
            steer web [1]
            web scaled 2 > 0
            listen web
            steer web []
            web@1 running > stop
            quiesce web@1
            resume web@1
            web@1 stop > stop-sigterm
            kill web@1 SIGTERM
            web@1 stop-sigterm > dead
            reply Job { result: Done, reason: "", also: [] }
        "#]],
    );
}

#[test]
fn a_replacement_that_dies_halts_the_roll_and_the_old_ones_keep_their_definition() {
    let old = several(3, RollingOrder::StartFirst);
    let mut rig = booted(old.clone());
    let mut new = old;
    new.service.kill_signal = Signal::INT;
    apply(&mut rig, &new);
    rig.exits("web@1", 3);
    rig.pass(2000);
    check(
        &mut rig,
        expect![[r#"
        reply Plan { changes: [Change { unit: "web.service", action: Restart, reason: "its [Service] changed" }] }
        web roll 0/3: Begun
        web@1+new dead > condition
        web@1+new condition > start
        spawn web@1+new ExecStart
        web@1+new start > running
        rename web@1 web@1+old1
        rename web@1+new web@1
        web@1+old1 running > stop-sigterm
        kill web@1+old1 SIGTERM
        web@1+old1 stop-sigterm > dead
        web@1 running > stop-sigterm
        web roll 0/3: Halted { reason: "web@1.service did not stay up (exit-code, status 3): the roll halts, 2 old instances serve on" }
        web restart job failed: web@1.service did not stay up (exit-code, status 3): the roll halts, 2 old instances serve on
        web@1 restarts, 1. in a row
        web@1 stop-sigterm > auto-restart
        -- 0.093856s
        web@1 auto-restart > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@1 start > running
    "#]],
    );
    let outdated = |rig: &Rig| rig.status("web").instances.map(|it| it.outdated);
    assert_eq!(outdated(&rig), Some(2));
    rig.exits("web@2", 1);
    rig.pass(1000);
    assert_eq!(outdated(&rig), Some(2), "it comes back as it was");
    rig.log();
    apply(&mut rig, &new);
    rig.pass(5000);
    let log = rig.log();
    assert!(log.contains("web roll 3/3: Ended"), "{log}");
    assert_eq!(outdated(&rig), Some(0));
}

#[test]
fn rollback_gives_back_the_old_definition() {
    let mut old = several(2, RollingOrder::StopFirst);
    old.service.rolling_update.failure_action = RollingFailure::Rollback;
    let mut rig = booted(old.clone());
    let mut new = old;
    new.service.kill_signal = Signal::INT;
    apply(&mut rig, &new);
    rig.pass(1100);
    rig.log();
    rig.exits("web@2", 3);
    rig.pass(5000);
    check(
        &mut rig,
        expect![[r#"
        web@2 running > stop-sigterm
        web roll 1/2: GoesBack { reason: "web@2.service did not stay up (exit-code, status 3)" }
        web@2 stop-sigterm > failed
        web@2 failed > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
        -- 2.100000s
        web roll 1/2: Replaced { instance: "web@2.service" }
        web@1 running > stop-sigterm
        kill web@1 SIGINT
        web@1 stop-sigterm > dead
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@1 start > running
        -- 3.100000s
        web roll 2/2: Replaced { instance: "web@1.service" }
        web roll 2/2: WentBack
        web restart job failed: web@2.service did not stay up (exit-code, status 3): every instance has its old definition again
    "#]],
    );
    assert_eq!(rig.status("web").instances.map(|it| it.outdated), Some(2));
}

/// Who had begun to make room is missing, too.
#[test]
fn a_rollback_takes_no_more_away_than_it_may() {
    let mut old = several(4, RollingOrder::StopFirst);
    old.service.rolling_update.failure_action = RollingFailure::Rollback;
    old.service.rolling_update.parallelism = 2;
    let mut rig = booted(old.clone());
    rig.stubborn.insert(name("web@4"));
    let mut new = old;
    new.service.kill_signal = Signal::INT;
    apply(&mut rig, &new);
    rig.pass(1100);
    rig.log();
    rig.exits("web@3", 3);
    rig.pass(1000);
    check(
        &mut rig,
        expect![[r#"
            web@3 running > stop-sigterm
            web roll 2/4: GoesBack { reason: "web@3.service did not stay up (exit-code, status 3)" }
            web@3 stop-sigterm > failed
            web@3 failed > condition
            web@3 condition > start
            spawn web@3 ExecStart
            web@3 start > running
            -- 2.100000s
            web roll 1/4: Replaced { instance: "web@3.service" }
            web@2 running > stop-sigterm
            kill web@2 SIGINT
            web@2 stop-sigterm > dead
            web@2 dead > condition
            web@2 condition > start
            spawn web@2 ExecStart
            web@2 start > running
        "#]],
    );
}

#[test]
fn continue_goes_past_a_failure() {
    let mut unit = several(2, RollingOrder::StopFirst);
    unit.service.rolling_update.failure_action = RollingFailure::Continue;
    let mut rig = booted(unit);
    rig.ask(JobKind::Restart, "web");
    rig.exits("web@1", 3);
    rig.pass(5000);
    check(
        &mut rig,
        expect![[r#"
        web roll 0/2: Begun
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@1 stop-sigterm > dead
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@1 start > running
        web@1 running > stop-sigterm
        web roll 0/2: GoesOn { reason: "web@1.service did not stay up (exit-code, status 3)" }
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web running > stop-sigterm
        web@1 restarts, 1. in a row
        web@1 stop-sigterm > auto-restart
        web stop-sigterm > auto-restart
        web@2 stop-sigterm > dead
        web@2 dead > condition
        web@2 condition > start
        spawn web@2 ExecStart
        web@2 start > running
        web auto-restart > running
        -- 0.098584s
        web@1 auto-restart > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web@1 start > running
        -- 1.000000s
        web roll 1/2: Replaced { instance: "web@2.service" }
        web roll 1/2: Ended
        reply Job { result: Failed, reason: "web@1.service did not stay up (exit-code, status 3): 1 of 2 were replaced", also: [] }
        web restart job failed: web@1.service did not stay up (exit-code, status 3): 1 of 2 were replaced
    "#]],
    );
}

#[test]
fn a_stop_a_newer_restart_and_a_shutdown_interrupt_it() {
    let mut rig = booted(several(2, RollingOrder::StartFirst));
    rig.ask(JobKind::Restart, "web");
    rig.pass(500);
    rig.log();
    rig.ask(JobKind::Restart, "web");
    check(
        &mut rig,
        expect![[r#"
        web roll 0/2: Interrupted
        reply Job { result: Canceled, reason: "a newer job took its place", also: [] }
        web restart job canceled: a newer job took its place
        web roll 0/2: Begun
        web@1+new dead > condition
        web@1+new condition > start
        spawn web@1+new ExecStart
        web@1+new start > running
        rename web@1 web@1+old2
        rename web@1+new web@1
        web@1+old2 running > stop-sigterm
        kill web@1+old2 SIGTERM
        web@1+old2 stop-sigterm > dead
    "#]],
    );
    rig.ask(JobKind::Stop, "web");
    check(
        &mut rig,
        expect![[r#"
        web roll 0/2: Interrupted
        reply Job { result: Canceled, reason: "a newer job took its place", also: [] }
        web restart job canceled: a newer job took its place
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
    "#]],
    );
    rig.ask(JobKind::Start, "web");
    rig.ask(JobKind::Restart, "web");
    rig.log();
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
        web roll 0/2: Interrupted
        reply Job { result: Canceled, reason: "rinit is stopping", also: [] }
        web restart job canceled: rinit is stopping
        stopping: Signal(SIGTERM)
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web running > stop-sigterm
        web@1 stop-sigterm > dead
        web@2 stop-sigterm > dead
        web stop-sigterm > dead
        exit 0
    "#]],
    );
}

#[test]
fn scale_up_down_and_to_nothing() {
    let mut rig = booted(several(2, RollingOrder::StartFirst));
    scale(&mut rig, 3);
    check(
        &mut rig,
        expect![[r#"
        web scaled 2 > 3
        web@3 dead > condition
        web@3 condition > start
        spawn web@3 ExecStart
        web@3 start > running
        reply Job { result: Done, reason: "", also: [] }
    "#]],
    );
    scale(&mut rig, 1);
    check(
        &mut rig,
        expect![[r#"
        web scaled 3 > 1
        web@3 running > stop-sigterm
        kill web@3 SIGTERM
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web@3 stop-sigterm > dead
        web@2 stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
    "#]],
    );
    scale(&mut rig, 0);
    rig.pass(1000);
    check(
        &mut rig,
        expect![[r#"
            web scaled 1 > 0
            web@1 running > stop-sigterm
            kill web@1 SIGTERM
            web@1 stop-sigterm > dead
            reply Job { result: Done, reason: "", also: [] }
        "#]],
    );
    assert_eq!(rig.exit, None);
    scale(&mut rig, 1);
    check(
        &mut rig,
        expect![[r#"
        web scaled 0 > 1
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
        web running > auto-restart
        web@1 start > running
        reply Job { result: Done, reason: "", also: [] }
        web auto-restart > running
    "#]],
    );
}

/// However its stop ended: nobody wants it up.
#[test]
fn one_that_a_client_stopped_is_no_failure_of_a_scale() {
    let mut rig = booted(several(2, RollingOrder::StartFirst));
    rig.stubborn.insert(name("web@2"));
    rig.ask(JobKind::Stop, "web@2");
    rig.pass(100_000);
    rig.log();
    scale(&mut rig, 3);
    check(
        &mut rig,
        expect![[r#"
            web scaled 2 > 3
            web@3 dead > condition
            web@3 condition > start
            spawn web@3 ExecStart
            web@3 start > running
            reply Job { result: Done, reason: "", also: [] }
        "#]],
    );
}

#[test]
fn an_old_one_that_drains_holds_up_nothing_else() {
    let mut unit = several(2, RollingOrder::StartFirst);
    unit.service.timeout_stop = Some(Duration::from_secs(20));
    let mut rig = booted(unit);
    rig.stubborn.insert(name("web@1"));
    rig.ask(JobKind::Restart, "web");
    rig.pass(5000);
    rig.log();
    rig.exits("web@2", 1);
    rig.pass(1000);
    check(
        &mut rig,
        expect![[r#"
            web@2 running > stop-sigterm
            web@2 restarts, 1. in a row
            web@2 stop-sigterm > auto-restart
            -- 5.098584s
            web@2 auto-restart > condition
            web@2 condition > start
            spawn web@2 ExecStart
            web@2 start > running
        "#]],
    );
    rig.pass(30_000);
    let log = rig.log();
    assert!(log.contains("web roll 2/2: Ended"), "{log}");
}

#[test]
fn what_has_run_for_long_is_replaced_one_at_a_time() {
    let mut unit = several(2, RollingOrder::StopFirst);
    unit.service.runtime_max = Some(Duration::from_secs(60));
    let mut rig = booted(unit);
    rig.pass(59_000);
    rig.log();
    rig.pass(3_500);
    check(
        &mut rig,
        expect![[r#"
        -- 60.000000s
        web roll 0/1: Recycles { instance: "web@1.service" }
        web@1+new dead > condition
        web@1+new condition > start
        spawn web@1+new ExecStart
        web@1+new start > running
        rename web@1 web@1+old1
        rename web@1+new web@1
        web@1+old1 running > stop-sigterm
        kill web@1+old1 SIGTERM
        web@1+old1 stop-sigterm > dead
        -- 61.000000s
        web roll 1/1: Replaced { instance: "web@1.service" }
        web roll 1/1: Ended
        web roll 0/1: Recycles { instance: "web@2.service" }
        web@2+new dead > condition
        web@2+new condition > start
        spawn web@2+new ExecStart
        web@2+new start > running
        rename web@2 web@2+old2
        rename web@2+new web@2
        web@2+old2 running > stop-sigterm
        kill web@2+old2 SIGTERM
        web@2+old2 stop-sigterm > dead
        -- 62.000000s
        web roll 1/1: Replaced { instance: "web@2.service" }
        web roll 1/1: Ended
    "#]],
    );
}

#[test]
fn a_restart_in_the_wait_of_a_stop_is_no_roll() {
    let mut unit = several(2, RollingOrder::StartFirst);
    unit.socket = Some(Box::new(Socket { reuse_port: true, ..Socket::default() }));
    let mut rig = booted(unit);
    rig.queued.insert(name("web"));
    rig.ask(JobKind::Stop, "web");
    rig.ask(JobKind::Restart, "web");
    rig.pass(2000);
    check(
        &mut rig,
        expect![[r#"
        web running > stop
        quiesce web
        reply Job { result: Canceled, reason: "a newer job took its place", also: [] }
        web stop job canceled: a newer job took its place
        -- 0.500000s
        steer web []
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@2 running > stop-sigterm
        kill web@2 SIGTERM
        web stop > stop-sigterm
        web@1 stop-sigterm > dead
        web@2 stop-sigterm > dead
        web stop-sigterm > dead
        unlisten web
        listen web
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
        steer web [1]
        web@2 start > running
        reply Job { result: Done, reason: "", also: [] }
        web restart job done
        steer web [1, 2]
    "#]],
    );
}

#[test]
fn an_instance_that_waits_gets_no_try_in_a_stop_and_the_last_end_ends_the_wait() {
    let mut unit = several(2, RollingOrder::StartFirst);
    unit.socket = Some(Box::new(Socket { reuse_port: true, ..Socket::default() }));
    let mut rig = booted(unit);
    rig.queued.insert(name("web"));
    rig.exits("web@1", 1);
    rig.log();
    rig.ask(JobKind::Stop, "web");
    rig.pass(400);
    check(
        &mut rig,
        expect![[r#"
        web running > stop
        quiesce web
        web@1 auto-restart > dead
    "#]],
    );
    rig.exits("web@2", 1);
    check(
        &mut rig,
        expect![[r#"
        web@2 running > stop-sigterm
        steer web []
        web stop > stop-sigterm
        web@2 stop-sigterm > failed
        web stop-sigterm > failed
        reply Job { result: Done, reason: "", also: [] }
        web stop job done
        unlisten web
    "#]],
    );
}

#[test]
fn a_stop_of_no_instances_ends() {
    let mut unit = several(1, RollingOrder::StartFirst);
    unit.socket = Some(Box::new(Socket { reuse_port: true, ..Socket::default() }));
    let mut rig = booted(unit);
    rig.queued.insert(name("web"));
    scale(&mut rig, 0);
    rig.log();
    rig.ask(JobKind::Stop, "web");
    check(
        &mut rig,
        expect![[r#"
        web running > stop
        quiesce web
        web stop > dead
        reply Job { result: Done, reason: "", also: [] }
        web stop job done
        unlisten web
    "#]],
    );
}
