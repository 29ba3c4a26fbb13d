//! (tests) Stories of instances that are to stop: what they wait for before their signal.

use expect_test::{Expect, expect};

use super::event::{Event, JobKind, Notice, NoticeState};
use super::rig::{Rig, command, name, needs, simple};
use crate::unit::Unit;
use crate::unit::process::Signal;
use crate::unit::rolling::Instances;
use crate::unit::service::{KillMode, NotifyAccess, ServiceType};
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

/// Instances behind port 80.
fn listening(count: u32, reuse_port: bool) -> Unit {
    let mut unit = simple("web");
    unit.service.instances = Some(Instances::Count(count));
    let listen = vec![Listen { kind: ListenKind::Stream, address: ListenAddress::Port(80) }];
    unit.socket = Some(Box::new(Socket { listen, reuse_port, ..Socket::default() }));
    unit
}

fn ready() -> Notice {
    Notice { state: Some(NoticeState::Ready), ..Notice::default() }
}

/// Booted, and in these queues or hands somebody is left.
fn busy(unit: Unit, queued: &[&str]) -> Rig {
    let mut rig = Rig::new(vec![unit]);
    rig.boot();
    rig.log();
    rig.queued.extend(queued.iter().map(|stem| name(stem)));
    rig
}

#[test]
fn who_shares_a_socket_is_told_to_stop_when_it_has_read_what_it_accepted() {
    let mut rig = busy(listening(2, false), &["web@1"]);
    rig.ask(JobKind::Stop, "web@1");
    rig.pass(3999);
    rig.event(Event::Quiet { unit: name("web@1") });
    check(
        &mut rig,
        expect![[r#"
            web@1 running > stop
            quiesce web@1
            resume web@1
            web@1 stop > stop-sigterm
            kill web@1 SIGTERM
            web@1 stop-sigterm > dead
            reply Job { result: Done, reason: "", also: [] }
            web@1 stop job done
        "#]],
    );
}

#[test]
fn who_does_not_read_is_told_after_four_seconds() {
    let mut rig = busy(listening(2, false), &["web@1"]);
    rig.ask(JobKind::Stop, "web@1");
    rig.pass(4000);
    rig.event(Event::Quiet { unit: name("web@1") });
    check(
        &mut rig,
        expect![[r#"
            web@1 running > stop
            quiesce web@1
            -- 4.000000s
            resume web@1
            web@1 stop > stop-sigterm
            kill web@1 SIGTERM
            web@1 stop-sigterm > dead
            reply Job { result: Done, reason: "", also: [] }
            web@1 stop job done
        "#]],
    );
}

/// Nobody is held still for longer than the manager waits, whatever ends that.
#[test]
fn whatever_ends_the_wait_lets_it_go_on() {
    let mut rig = busy(listening(2, false), &["web@1", "web@2"]);
    rig.ask(JobKind::Stop, "web@1");
    rig.exits("web@1", 1);
    rig.ask(JobKind::Stop, "web@2");
    rig.signal(Signal::TERM);
    rig.pass(300);
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
            web@1 running > stop
            quiesce web@1
            resume web@1
            web@1 stop > stop-sigterm
            web@1 stop-sigterm > failed
            reply Job { result: Done, reason: "", also: [] }
            web@1 stop job done
            web@2 running > stop
            quiesce web@2
            web running > stop-sigterm
            stopping: Signal(SIGTERM)
            -- 0.120000s
            unlisten web
            resume web@2
            web@2 stop > stop-sigterm
            kill web@2 SIGTERM
            web@2 stop-sigterm > dead
            reply Job { result: Done, reason: "", also: [] }
            web@2 stop job done
            web stop-sigterm > dead
            exit 0
        "#]],
    );
}

/// A command would run before the signal, or there is none.
#[test]
fn nobody_is_held_still_for_a_command_or_for_no_signal() {
    let mut unit = listening(2, false);
    unit.service.exec_stop = vec![command()];
    let mut rig = busy(unit, &[]);
    rig.ask(JobKind::Stop, "web@1");
    let mut unit = listening(2, false);
    unit.service.kill_mode = KillMode::None;
    let mut other = busy(unit, &[]);
    other.ask(JobKind::Stop, "web@1");
    assert!(!rig.log().contains("quiesce") && !other.log().contains("quiesce"));
}

/// Its own queue, too, while all of the service waits for all queues to be empty.
#[test]
fn one_of_a_service_that_waits_for_its_queues_waits_for_its_own() {
    let mut rig = busy(listening(2, true), &["web", "web@1"]);
    rig.ask(JobKind::Stop, "web");
    rig.ask(JobKind::Restart, "web@1");
    check(
        &mut rig,
        expect![[r#"
            web running > stop
            quiesce web
            steer web [2]
            web@1 running > stop
            quiesce web@1
        "#]],
    );
}

/// An instance that comes up meanwhile is not the end of a restart that has yet to stop it.
#[test]
fn a_restart_that_waits_for_queues_is_not_done_by_a_start() {
    let mut unit = needs(listening(2, true), &["db"]);
    unit.service.kind = ServiceType::Notify;
    unit.service.notify_access = NotifyAccess::Main;
    let mut rig = Rig::new(vec![simple("db"), unit]);
    rig.boot();
    rig.says("web@1", ready());
    rig.log();
    rig.queued.insert(name("web"));
    rig.ask(JobKind::Stop, "db");
    rig.ask(JobKind::Restart, "web");
    rig.says("web@2", ready());
    check(
        &mut rig,
        expect![[r#"
            web start job canceled: a newer job took its place
            booted
            web to stop with db by Requires
            web running > stop
            quiesce web
            web stop job canceled: a newer job took its place
            web@2 start > running
            steer web [1, 2]
        "#]],
    );
}

/// Its main process is gone: connections would be sent to nobody till its reload is over.
#[test]
fn who_lost_its_main_process_in_a_reload_gets_no_connection() {
    let mut unit = listening(2, true);
    unit.service.exec_reload = vec![command()];
    let mut rig = busy(unit, &[]);
    rig.ask(JobKind::Reload, "web");
    rig.exits("web@1", 1);
    check(
        &mut rig,
        expect![[r#"
            web@1 running > reload
            spawn web@1 ExecReload
            web@2 running > reload
            spawn web@2 ExecReload
            steer web [2]
        "#]],
    );
}
