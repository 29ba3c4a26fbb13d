//! (tests) Stories of services that want more memory than they may have.

use expect_test::{Expect, expect};

use crate::manager::event::{Event, OomKill, OomKiller, ProcessRole};
use crate::manager::rig::{Rig, name, simple};
use crate::unit::Unit;
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::resources::{Amount, MemoryHighAction, OomPolicy, Resources};
use crate::unit::rolling::Instances;
use crate::unit::service::Restart;

const KILLED: ExitStatus = ExitStatus::Killed { signal: Signal::KILL, core_dumped: false };

fn capped(policy: OomPolicy) -> Unit {
    let mut unit = simple("web");
    unit.service.restart = Restart::OnFailure;
    unit.service.resources = Some(Box::new(Resources {
        memory_max: Some(Amount::Bytes(64 << 20)),
        oom_policy: policy,
        high_action: MemoryHighAction::Recycle,
        ..Resources::default()
    }));
    unit
}

impl Rig {
    fn oom(&mut self, stem: &str, by: OomKiller) {
        let kill = OomKill { by, limit: Some(64 << 20), peak: Some(64 << 20) };
        self.event(Event::OomKill { unit: name(stem), kill });
    }
}

fn story(policy: OomPolicy, tell: impl FnOnce(&mut Rig), expected: Expect) {
    let mut rig = Rig::new(vec![capped(policy)]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    rig.log();
    tell(&mut rig);
    expected.assert_eq(&rig.log());
}

#[test]
fn the_kernel_killed_one_and_the_rest_goes_with_it() {
    story(
        OomPolicy::Kill,
        |rig| rig.oom("web", OomKiller::Kernel),
        expect![[r#"
        web oom-kill by Kernel
        web running > stop-sigkill
        kill web SIGKILL
        web restarts, 1. in a row
        web stop-sigkill > auto-restart
    "#]],
    );
}

#[test]
fn the_kernel_killed_one_and_the_rest_is_stopped() {
    story(
        OomPolicy::Stop,
        |rig| rig.oom("web", OomKiller::Kernel),
        expect![[r#"
        web oom-kill by Kernel
        web running > stop-sigterm
        kill web SIGTERM
    "#]],
    );
}

#[test]
fn the_kernel_killed_one_and_the_rest_goes_on() {
    story(
        OomPolicy::Continue,
        |rig| rig.oom("web", OomKiller::Kernel),
        expect![[r#"
        web oom-kill by Kernel
    "#]],
    );
}

#[test]
fn a_main_process_that_was_the_victim_has_that_result() {
    story(
        OomPolicy::Continue,
        |rig| {
            rig.oom("web", OomKiller::Kernel);
            rig.ends("web", ProcessRole::ExecStart, KILLED);
        },
        expect![[r#"
            web oom-kill by Kernel
            web running > stop-sigterm
            web restarts, 1. in a row
            web stop-sigterm > auto-restart
        "#]],
    );
}

/// One that grows on while it is stopped has no more time.
#[test]
fn the_watchdog_stops_it_and_then_kills_it() {
    story(
        OomPolicy::Kill,
        |rig| {
            rig.oom("web", OomKiller::Watchdog);
            rig.oom("web", OomKiller::Watchdog);
        },
        expect![[r#"
            web oom-kill by Watchdog
            web running > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > stop-sigkill
            kill web SIGKILL
            web restarts, 1. in a row
            web stop-sigkill > auto-restart
        "#]],
    );
}

/// The container's own limit took one process: nothing else of the service is wrong.
#[test]
fn the_container_is_full() {
    story(
        OomPolicy::Kill,
        |rig| rig.oom("web", OomKiller::Container),
        expect![[r#"
        web oom-kill by Container
    "#]],
    );
}

#[test]
fn what_has_no_instances_is_restarted_when_it_is_high() {
    let high = Event::MemoryHigh { unit: name("web"), current: 60 << 20, high: 50 << 20 };
    let mut rig = Rig::new(vec![capped(OomPolicy::Kill)]);
    rig.boot();
    rig.log();
    rig.event(high);
    expect![[r#"
        web memory high
        web running > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > dead
        web dead > condition
        web condition > start
        spawn web ExecStart
        web start > running
        web restart job done
    "#]]
    .assert_eq(&rig.log());
}

#[test]
fn instances_that_are_high_are_replaced_one_at_a_time() {
    let mut unit = capped(OomPolicy::Kill);
    unit.service.instances = Some(Instances::Count(2));
    let mut rig = Rig::new(vec![unit]);
    rig.boot();
    rig.log();
    for instance in ["web@1", "web@2"] {
        rig.event(Event::MemoryHigh { unit: name(instance), current: 60 << 20, high: 50 << 20 });
    }
    rig.pass(20_000);
    expect![[r#"
        web@1 memory high
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
        web@2 memory high
        -- 5.000000s
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
        -- 10.000000s
        web roll 1/1: Replaced { instance: "web@2.service" }
        web roll 1/1: Ended
    "#]]
    .assert_eq(&rig.log());
}
