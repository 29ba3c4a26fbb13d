//! (tests) Stories of SIGHUP while a service with instances is on its way up.

use std::sync::Arc;

use expect_test::{Expect, expect};

use super::event::{JobKind, Notice, NoticeState};
use super::rig::{Rig, simple};
use crate::unit::process::Signal;
use crate::unit::rolling::{Instances, RollingOrder};
use crate::unit::service::{NotifyAccess, ServiceType};
use crate::unit::{Unit, UnitSet};

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
