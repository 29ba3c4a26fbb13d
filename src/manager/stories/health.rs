//! (tests) Stories of probes: when a service is asked, and what its answers do.

use expect_test::expect;
use std::time::Duration;

use super::check;
use crate::manager::event::{Event, JobKind, ProbeKind, ProcessRole};
use crate::manager::rig::{Rig, command, name, simple};
use crate::manager::state::SubState;
use crate::unit::Unit;
use crate::unit::health::{Health, HealthCheck, OnUnhealthy};
use crate::unit::process::ExitStatus;
use crate::unit::service::Restart;

const SECOND: Duration = Duration::from_secs(1);

fn probed(adjust: impl FnOnce(&mut Health)) -> Unit {
    let mut health = Health {
        check: Some(HealthCheck::HttpPath("/".to_string())),
        start_period: Duration::from_secs(1),
        ..Health::default()
    };
    adjust(&mut health);
    let mut unit = simple("web");
    unit.service.health = Some(Box::new(health));
    unit.service.timeout_start = Some(Duration::from_secs(20));
    unit
}

/// The times of the probes until `ms` from now; each is answered.
fn probes(rig: &mut Rig, ms: u64, good: bool) -> Vec<u64> {
    let mut times = Vec::new();
    for _ in 0..ms / 10 {
        rig.pass(10);
        for _ in rig.log().lines().filter(|line| *line == "probe web Health") {
            times.push(rig.now().since_start().as_millis() as u64);
            rig.probed("web", ProbeKind::Health, good);
        }
    }
    times
}

#[test]
fn bad_answers_mean_nothing_until_the_first_good_one() {
    let mut rig = Rig::new(vec![probed(|health| health.success_threshold = 2)]);
    rig.boot();
    let bad = probes(&mut rig, 3000, false);
    assert_eq!(bad, [1000, 1500, 2000, 2500, 3000]);
    assert_eq!(rig.status("web").healthy, None);
    assert_eq!(probes(&mut rig, 500, true), [3500]);
    assert_eq!(rig.status("web").state, SubState::Start);
    assert_eq!(probes(&mut rig, 500, true), [4000]);
    assert_eq!(
        (rig.status("web").state, rig.status("web").healthy),
        (SubState::Running, Some(true))
    );
}

#[test]
fn three_bad_ones_in_a_row_restart_it() {
    let mut web = probed(|_| ());
    web.service.restart = Restart::OnWatchdog;
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    probes(&mut rig, 1000, true);
    rig.log();
    let mut times = Vec::new();
    while rig.status("web").n_restarts == 0 {
        times.extend(probes(&mut rig, 10, false));
    }
    assert_eq!(times.len(), 3, "{times:?}");
    let gaps = [times[0] - 1000, times[1] - times[0], times[2] - times[1]];
    assert!(gaps.iter().all(|gap| (8990..=11_010).contains(gap)), "{gaps:?}");
}

#[test]
fn unhealthy_is_an_orderly_stop() {
    let mut web = probed(|health| health.retries = 1);
    web.service.exec_stop = vec![command()];
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    probes(&mut rig, 1000, true);
    rig.pass(11_000);
    rig.log();
    rig.probed("web", ProbeKind::Health, false);
    rig.ends("web", ProcessRole::ExecStop, ExitStatus::Exited(0));
    check(
        &mut rig,
        expect![[r#"
        web healthy false after 1
        web running > stop
        spawn web ExecStop
        web stop > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > failed
        stopping: Failed("web.service")
        exit 143
    "#]],
    );
    assert_eq!(rig.status("web").result.as_str(), "health");
}

#[test]
fn without_a_restart_it_counts_as_not_ready() {
    let adjust = |health: &mut Health| {
        (health.retries, health.success_threshold) = (1, 2);
        health.on_unhealthy = OnUnhealthy::None;
        health.timeout = Duration::from_secs(60);
    };
    let mut rig = Rig::new(vec![probed(adjust)]);
    rig.boot();
    probes(&mut rig, 2000, true);
    let mut ask = |good| {
        rig.pass(11_000);
        rig.probed("web", ProbeKind::Health, good);
        assert_eq!(rig.status("web").state, SubState::Running);
        rig.status("web").healthy
    };
    let seen = [false, false, true, true].map(&mut ask);
    assert_eq!(seen, [Some(false), Some(false), Some(false), Some(true)]);
}

#[test]
fn an_answer_that_does_not_come_is_a_bad_one() {
    let adjust = |health: &mut Health| {
        (health.retries, health.timeout) = (2, Duration::from_secs(3));
    };
    let mut rig = Rig::new(vec![probed(adjust)]);
    rig.boot();
    probes(&mut rig, 1000, true);
    rig.log();
    rig.pass(60_000);
    check(
        &mut rig,
        expect![[r#"
        -- 10.329190s
        probe web Health
        -- 14.329190s
        -- 20.698260s
        probe web Health
        -- 24.698260s
        web healthy false after 2
        web running > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > failed
        stopping: Failed("web.service")
        exit 143
    "#]],
    );
    assert_eq!(rig.status("web").result.as_str(), "health");
}

#[test]
fn who_was_asked_before_it_was_ready_is_not_asked_twice_at_once() {
    let mut web = probed(|health| (health.interval, health.retries) = (SECOND, 1));
    web.service.notification_fd = Some(5);
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    probes(&mut rig, 1000, true);
    rig.log();
    rig.pass(500);
    let process = rig.process("web", ProcessRole::ExecStart);
    rig.event(Event::SaidReady { process });
    rig.pass(3000);
    rig.probed("web", ProbeKind::Health, false);
    assert_eq!(rig.status("web").healthy, Some(true), "the question was of before");
    check(
        &mut rig,
        expect![[r#"
            -- 1.500000s
            probe web Health
            web start > running
            web start job done
            booted
            -- 2.432919s
        "#]],
    );
    rig.pass(3000);
    rig.probed("web", ProbeKind::Health, false);
    assert_eq!(rig.status("web").result.as_str(), "health");
}

#[test]
fn nobody_is_asked_once_it_is_stopped() {
    let mut web = probed(|_| ());
    web.service.timeout_stop = Some(Duration::from_secs(60));
    let mut rig = Rig::new(vec![web]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    probes(&mut rig, 1000, true);
    rig.log();
    rig.ask(JobKind::Stop, "web");
    rig.pass(59_000);
    for good in [true, false] {
        rig.probed("web", ProbeKind::Health, good);
    }
    check(
        &mut rig,
        expect![[r#"
        web running > stop-sigterm
        kill web SIGTERM
    "#]],
    );
}

#[test]
fn one_that_waits_for_connections_is_ready() {
    let mut web = simple("web");
    web.service.ready_on_accept = true;
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    for good in [false, true] {
        rig.pass(200);
        rig.probed("web", ProbeKind::Accept, good);
    }
    rig.pass(10_000);
    check(
        &mut rig,
        expect![[r#"
        web dead > condition
        web condition > start
        spawn web ExecStart
        -- 0.000000s
        probe web Accept
        -- 0.210000s
        probe web Accept
        web start > running
        web start job done
        booted
    "#]],
    );
}

#[test]
fn one_that_stalls_is_unhealthy_at_once() {
    let mut web = simple("web");
    let stall = Duration::from_secs(10);
    web.service.health = Some(Box::new(Health { stall, ..Health::default() }));
    let mut rig = Rig::new(vec![web]);
    rig.boot();
    for good in [true, false] {
        rig.pass(5500);
        rig.probed("web", ProbeKind::Stall, good);
    }
    check(
        &mut rig,
        expect![[r#"
        web dead > condition
        web condition > start
        spawn web ExecStart
        web start > running
        web start job done
        booted
        -- 5.173105s
        probe web Stall
        -- 10.357640s
        probe web Stall
        web healthy false after 1
        web running > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > failed
        stopping: Failed("web.service")
        exit 143
    "#]],
    );
}
