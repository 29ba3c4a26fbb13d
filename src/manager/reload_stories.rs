//! (tests) Stories of new definitions: SIGHUP while a service with instances is on its way up,
//! and `apply` after a `daemon-reload`.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::event::{ClientId, Event, JobKind, Notice, NoticeState, Request};
use super::rig::{Rig, simple};
use crate::unit::process::Signal;
use crate::unit::rolling::{Instances, RollingOrder};
use crate::unit::service::{ExitAction, NotifyAccess, Restart, ServiceType};
use crate::unit::{StartedBy, Unit, UnitSet};

/// Two instances that say when they are ready.
fn two() -> Unit {
    let mut unit = simple("web");
    unit.service.instances = Some(Instances::Count(2));
    unit.service.rolling_update.order = Some(RollingOrder::StopFirst);
    unit.service.kind = ServiceType::Notify;
    unit.service.notify_access = NotifyAccess::Main;
    unit
}

fn ready() -> Notice {
    Notice { state: Some(NoticeState::Ready), ..Notice::default() }
}

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

/// One instance is up when SIGHUP comes, and the other is on its way: it was started with the
/// old program as well, so both are replaced once the start is over.
#[test]
fn a_reload_waits_for_the_start() {
    let unit = two();
    let mut rig = Rig::new(vec![unit.clone()]);
    rig.on_disk = Some(UnitSet::new([Arc::new(unit)].into_iter()));
    rig.boot();
    rig.says("web@1", ready());
    rig.log();
    rig.signal(Signal::HUP);
    check(
        &mut rig,
        expect![[r#"
        load
    "#]],
    );
    rig.says("web@2", ready());
    check(
        &mut rig,
        expect![[r#"
        web@2 start > running
        web start job done
        booted
        web roll 0/2: Begun
        web@1 running > stop-sigterm
        kill web@1 SIGTERM
        web@1 stop-sigterm > dead
        web@1 dead > condition
        web@1 condition > start
        spawn web@1 ExecStart
    "#]],
    );
}

/// A stop meanwhile is the end of that.
#[test]
fn a_reload_does_not_wait_for_a_start_that_is_stopped() {
    let unit = two();
    let mut rig = Rig::new(vec![unit.clone()]);
    rig.on_disk = Some(UnitSet::new([Arc::new(unit)].into_iter()));
    rig.boot();
    rig.says("web@1", ready());
    rig.signal(Signal::HUP);
    rig.ask(JobKind::Stop, "web");
    rig.log();
    rig.ask(JobKind::Start, "web");
    rig.says("web@1", ready());
    rig.says("web@2", ready());
    check(
        &mut rig,
        expect![[r#"
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
}

fn request(rig: &mut Rig, request: Request) {
    rig.event(Event::Request { client: ClientId(1), request });
}

fn set<const N: usize>(units: [Unit; N]) -> UnitSet {
    UnitSet::new(units.into_iter().map(Arc::new))
}

/// `web` as it is, or with another program.
fn web(changed: bool) -> Unit {
    let mut unit = simple("web");
    unit.failure_action = ExitAction::None;
    unit.service.restart_sec = Duration::from_secs(10);
    unit.service.exec.nice = changed.then_some(5);
    unit
}

/// `web` has failed, and another service keeps rinit going.
fn failed() -> Rig {
    let mut rig = Rig::new(vec![web(false), simple("other")]);
    rig.boot();
    rig.exits("web", 1);
    rig
}

fn reload(rig: &mut Rig, units: &UnitSet) {
    request(rig, Request::Load { units: units.clone() });
}

/// The log of this alone.
fn apply(rig: &mut Rig, units: &UnitSet) -> String {
    rig.log();
    request(rig, Request::Apply { units: units.clone(), dry_run: false });
    rig.log()
}

fn reload_then_apply(rig: &mut Rig, units: &UnitSet) -> String {
    reload(rig, units);
    apply(rig, units)
}

/// `daemon-reload` and then `apply` comes to the same as `apply` alone.
#[test]
fn apply_starts_what_came_with_a_reload() {
    let mut rig = Rig::new(vec![web(false)]);
    rig.boot();
    let mut idle = simple("idle");
    idle.started_by = StartedBy::Demand;
    let units = set([web(false), simple("new"), idle]);
    let log = reload_then_apply(&mut rig, &units);
    assert!(log.contains("new start > running"), "{log}");
    assert!(!log.contains("idle"), "{log}");
    let again = reload_then_apply(&mut rig, &units);
    assert!(again.contains("changes: []"), "{again}");
}

#[test]
fn apply_starts_a_failed_service_that_a_reload_changed() {
    let mut rig = failed();
    let units = set([web(true), simple("other")]);
    let log = reload_then_apply(&mut rig, &units);
    assert!(log.contains("it had failed, and its [Service] changed"), "{log}");
    assert!(log.contains("web start > running"), "{log}");
}

#[test]
fn apply_restarts_a_service_that_waits_for_its_restart_and_that_a_reload_changed() {
    let restarts = |changed| {
        let mut unit = web(changed);
        unit.service.restart = Restart::Always;
        unit
    };
    let mut rig = Rig::new(vec![restarts(false)]);
    rig.boot();
    rig.exits("web", 1);
    let log = reload_then_apply(&mut rig, &set([restarts(true)]));
    assert!(log.contains("web start > running"), "{log}");
}

/// A change that was taken back is none.
#[test]
fn apply_starts_no_failed_service_that_is_as_it_was() {
    let mut rig = failed();
    reload(&mut rig, &set([web(true), simple("other")]));
    let log = reload_then_apply(&mut rig, &set([web(false), simple("other")]));
    assert!(log.contains("changes: []"), "{log}");
}

/// What is told once is not told by each later `apply`, and what was tried is not tried again.
#[test]
fn a_second_apply_has_nothing_to_do() {
    let step = |changed| {
        let mut unit = web(changed);
        (unit.step, unit.service.kind) = (true, ServiceType::Oneshot);
        unit
    };
    let demand = |changed| {
        let mut unit = web(changed);
        unit.started_by = StartedBy::Demand;
        unit
    };
    let instances = |changed| {
        let mut unit = web(changed);
        (unit.service.restart, unit.service.instances) = (Restart::Always, two().service.instances);
        unit
    };
    let of: [&dyn Fn(bool) -> Unit; 4] = [&web, &step, &demand, &instances];
    for unit in of {
        let mut rig = Rig::new(vec![unit(false), simple("other")]);
        rig.boot();
        rig.ask(JobKind::Start, "web");
        for name in ["web", "web@1", "web@2"] {
            if rig.knows(name) && !rig.knows(&format!("{name}@1")) {
                rig.exits(name, 1);
            }
        }
        let units = set([unit(true), simple("other")]);
        apply(&mut rig, &units);
        rig.pass(60_000);
        let log = apply(&mut rig, &units);
        assert!(log.contains("changes: []"), "{log}");
    }
}

/// Its failure is forgotten, and with it that there is something to try again.
#[test]
fn apply_leaves_alone_what_has_no_failure_any_more() {
    let mut rig = failed();
    let units = set([web(true), simple("other")]);
    reload(&mut rig, &units);
    request(&mut rig, Request::ResetFailed { unit: None });
    let log = reload_then_apply(&mut rig, &units);
    assert!(log.contains("changes: []"), "{log}");
}

/// Whom a client stopped before it ever ran is left alone.
#[test]
fn apply_leaves_alone_what_a_client_stopped() {
    let mut rig = Rig::new(vec![web(false)]);
    rig.boot();
    let units = set([web(false), simple("new")]);
    reload(&mut rig, &units);
    rig.ask(JobKind::Stop, "new");
    let log = reload_then_apply(&mut rig, &units);
    assert!(log.contains("changes: []"), "{log}");
}
