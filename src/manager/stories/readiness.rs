//! (tests) Stories of /readyz: who counts, and when.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};

use crate::manager::event::{ClientId, Event, JobKind, Notice, NoticeState, ProbeKind, Request};
use crate::manager::readiness::ServingPhase;
use crate::manager::rig::{Rig, name, needs, oneshot, simple};
use crate::unit::health::{Health, HealthCheck};
use crate::unit::process::Signal;
use crate::unit::rolling::Instances;
use crate::unit::service::{ExitAction, NotifyAccess, Restart, ServiceType};
use crate::unit::{StartedBy, Unit, UnitSet};

/// Who counts, with a sign, and what it comes to.
fn check(rig: &Rig, expected: Expect) {
    let readiness = rig.readiness();
    let phase = match readiness.phase {
        ServingPhase::Up => "",
        ServingPhase::Draining => " draining",
        ServingPhase::Stopping => " stopping",
    };
    let sign = |ready: bool| if ready { '+' } else { '-' };
    let units = readiness.units.iter();
    let units: Vec<String> =
        units.map(|unit| format!("{}{}", sign(unit.ready), unit.unit.stem())).collect();
    let found = format!("{}{phase} {}", sign(readiness.is_ready()), units.join(" "));
    expected.assert_eq(found.trim_end());
}

fn optional(stem: &str) -> Unit {
    let mut unit = simple(stem);
    unit.failure_action = ExitAction::None;
    unit.service.restart = Restart::Always;
    unit
}

fn notify(stem: &str) -> Unit {
    let mut unit = simple(stem);
    unit.service.kind = ServiceType::Notify;
    unit.service.notify_access = NotifyAccess::Main;
    unit
}

fn restarting(mut unit: Unit) -> Unit {
    unit.service.restart = Restart::Always;
    unit
}

#[test]
fn a_boot_with_a_step() {
    let mut step = oneshot("10-step");
    step.step = true;
    let units = vec![step, needs(simple("web"), &["10-step"]), optional("extra"), notify("late")];
    let mut rig = Rig::new(units);
    check(&rig, expect!["- -10-step -late -web"]);
    rig.boot();
    check(&rig, expect!["- -10-step -late -web"]);
    rig.exits("10-step", 0);
    check(&rig, expect!["- +10-step -late +web"]);
    rig.says("late", Notice { state: Some(NoticeState::Ready), ..Notice::default() });
    check(&rig, expect!["+ +10-step +late +web"]);
}

#[test]
fn what_is_optional_does_not_count() {
    let mut demand = simple("demand");
    (demand.started_by, demand.failure_action) = (StartedBy::Demand, ExitAction::None);
    let mut rig = Rig::new(vec![simple("web"), optional("extra"), demand]);
    rig.boot();
    rig.exits("extra", 1);
    check(&rig, expect!["+ +web"]);
}

#[test]
fn a_restart_a_stop_and_an_end() {
    let mut rig = Rig::new(vec![restarting(simple("web")), simple("task")]);
    rig.boot();
    rig.exits("web", 1);
    check(&rig, expect!["- +task -web"]);
    rig.pass(200);
    check(&rig, expect!["+ +task +web"]);
    rig.exits("task", 0); // it is no oneshot: nobody serves there any more
    check(&rig, expect!["- -task +web"]);
    rig.ask(JobKind::Start, "task");
    rig.ask(JobKind::Stop, "web");
    check(&rig, expect!["- +task -web"]);
}

#[test]
fn the_end_begins_with_its_drain() {
    let mut rig = Rig::with(vec![simple("web")], |config| config.drain = Duration::from_secs(2));
    rig.stubborn.insert(name("web"));
    rig.boot();
    rig.signal(Signal::TERM);
    check(&rig, expect!["- draining +web"]);
    rig.pass(2_000);
    check(&rig, expect!["- stopping -web"]);
}

#[test]
fn one_instance_is_enough() {
    let mut web = restarting(simple("web"));
    web.service.instances = Some(Instances::Count(2));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    rig.exits("web@1", 1);
    check(&rig, expect!["+ +web"]);
    rig.exits("web@2", 1);
    check(&rig, expect!["- -web"]);
    rig.pass(1_000);
    check(&rig, expect!["+ +web"]);
}

#[test]
fn probes_count() {
    let mut web = simple("web");
    let check_it = HealthCheck::Tcp { host: "localhost".into(), port: 1 };
    web.service.health = Some(Box::new(Health {
        check: Some(check_it),
        on_unhealthy: crate::unit::health::OnUnhealthy::None,
        retries: 1,
        ..Health::default()
    }));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    check(&rig, expect!["- -web"]);
    rig.pass(10);
    rig.probed("web", ProbeKind::Health, true);
    check(&rig, expect!["+ +web"]);
    rig.pass(20_000);
    rig.probed("web", ProbeKind::Health, false);
    check(&rig, expect!["- -web"]);
}

#[test]
fn a_condition_skips() {
    let mut rig = Rig::new(vec![simple("web"), simple("extra")]);
    rig.unmet.insert(name("extra"));
    rig.boot();
    check(&rig, expect!["+ +extra +web"]);
}

/// It requires what failed, so it is down, although nothing of it ever ran.
#[test]
fn a_refused_start_counts() {
    let mut db = simple("db");
    db.service.kind = ServiceType::Exec;
    db.failure_action = ExitAction::None;
    let mut setup = oneshot("setup");
    setup.failure_action = ExitAction::None;
    let mut rig = Rig::new(vec![db, setup, needs(simple("web"), &["setup"])]);
    rig.boot();
    rig.exits("setup", 1);
    check(&rig, expect!["- -web"]);
}

/// A new file counts once it is started.
#[test]
fn a_reload_alone_changes_nothing() {
    let mut rig = Rig::new(vec![simple("web")]);
    rig.boot();
    let units = UnitSet::new([simple("web"), simple("new")].map(Arc::new).into_iter());
    rig.event(Event::Request { client: ClientId(1), request: Request::Load { units } });
    check(&rig, expect!["+ +web"]);
    rig.ask(JobKind::Start, "new");
    check(&rig, expect!["+ +new +web"]);
    rig.ask(JobKind::Stop, "new");
    check(&rig, expect!["- -new +web"]);
}
