//! (tests) Stories of units with sockets: when they are opened, who starts, when they close.

use expect_test::{Expect, expect};

use super::event::{Event, JobKind};
use super::rig::{Rig, name, needs, on, oneshot, simple};
use crate::unit::process::Signal;
use crate::unit::service::{ExitAction, Restart};
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};
use crate::unit::{StartedBy, Unit};

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

fn listening(stem: &str) -> Unit {
    let mut unit = simple(stem);
    let listen = vec![Listen { kind: ListenKind::Stream, address: ListenAddress::Port(80) }];
    unit.socket = Some(Box::new(Socket { listen, ..Socket::default() }));
    unit
}

fn on_demand(stem: &str) -> Unit {
    let mut unit = listening(stem);
    unit.started_by = StartedBy::Demand;
    unit.failure_action = ExitAction::None;
    unit
}

#[test]
fn sockets_are_open_before_anything_starts_and_close_after_the_signal() {
    let mut rig = Rig::new(vec![simple("a"), listening("web")]);
    rig.stubborn.insert(name("web"));
    rig.boot();
    rig.signal(Signal::TERM);
    rig.pass(200);
    check(
        &mut rig,
        expect![[r#"
        listen web
        a dead > condition
        a condition > start
        spawn a ExecStart
        web dead > condition
        web condition > start
        spawn web ExecStart
        a start > running
        a start job done
        web start > running
        web start job done
        booted
        stopping: Signal(SIGTERM)
        a running > stop-sigterm
        kill a SIGTERM
        web running > stop
        quiesce web
        a stop-sigterm > dead
        web stop > stop-sigterm
        kill web SIGTERM
        -- 0.120000s
        unlisten web
    "#]],
    );
}

#[test]
fn who_is_queued_is_accepted_before_the_signal() {
    let mut rig = Rig::new(vec![listening("web"), simple("other")]);
    rig.queued.insert(name("web"));
    rig.boot();
    rig.log();
    rig.ask(JobKind::Stop, "web");
    rig.event(Event::Quiet { unit: name("web") });
    check(
        &mut rig,
        expect![[r#"
        web running > stop
        quiesce web
        web stop > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
        web stop job done
        unlisten web
    "#]],
    );
    rig.ask(JobKind::Start, "web");
    rig.log();
    rig.ask(JobKind::Stop, "web");
    rig.pass(600); // nobody accepts
    check(
        &mut rig,
        expect![[r#"
        web running > stop
        quiesce web
        -- 0.500000s
        web stop > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
        web stop job done
        unlisten web
    "#]],
    );
}

#[test]
fn a_second_signal_waits_for_no_queue() {
    let mut rig = Rig::new(vec![listening("web")]);
    rig.queued.insert(name("web"));
    rig.boot();
    rig.log();
    rig.signal(Signal::TERM);
    rig.pass(300);
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
        stopping: Signal(SIGTERM)
        web running > stop
        quiesce web
        web stop > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > dead
        unlisten web
        exit 0
    "#]],
    );
}

#[test]
fn a_restart_and_a_crash_keep_the_socket() {
    let mut unit = listening("web");
    unit.service.restart = Restart::Always;
    let mut rig = Rig::new(vec![unit]);
    rig.boot();
    rig.exits("web", 1);
    rig.pass(1000);
    rig.ask(JobKind::Restart, "web");
    check(
        &mut rig,
        expect![[r#"
        listen web
        web dead > condition
        web condition > start
        spawn web ExecStart
        web start > running
        web start job done
        booted
        web running > stop-sigterm
        web restarts, 1. in a row
        web stop-sigterm > auto-restart
        -- 0.103462s
        web auto-restart > condition
        web condition > start
        spawn web ExecStart
        web start > running
        web running > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > dead
        web dead > condition
        web condition > start
        spawn web ExecStart
        web start > running
        reply Job { result: Done, reason: "", also: [] }
        web restart job done
    "#]],
    );
}

#[test]
fn a_port_in_use_fails_the_start() {
    let mut rig = Rig::new(vec![listening("web"), needs(simple("next"), &["web"])]);
    rig.busy.insert(name("web"));
    rig.boot();
    check(
        &mut rig,
        expect![[r#"
            listen web
            web cannot listen: bind 0.0.0.0:80: Address already in use
            web dead > failed
            web start job failed: bind 0.0.0.0:80: Address already in use
            stopping: Failed("web.service")
            next start job canceled: rinit is stopping
            exit 1
        "#]],
    );
    assert_eq!(rig.exit, Some(1));
}

#[test]
fn a_port_in_use_is_tried_again_where_restart_says_so() {
    let mut web = listening("web");
    web.service.restart = Restart::Always;
    let mut rig = Rig::new(vec![web, simple("other")]);
    rig.busy.insert(name("web"));
    rig.boot();
    rig.pass(150);
    rig.busy.clear();
    rig.pass(500);
    check(
        &mut rig,
        expect![[r#"
        listen web
        web cannot listen: bind 0.0.0.0:80: Address already in use
        web restarts, 1. in a row
        web dead > auto-restart
        other dead > condition
        other condition > start
        spawn other ExecStart
        other start > running
        other start job done
        -- 0.093291s
        listen web
        web cannot listen: bind 0.0.0.0:80: Address already in use
        web auto-restart > condition
        web restarts, 2. in a row
        web condition > auto-restart
        -- 0.286099s
        listen web
        -- 0.286099s
        web auto-restart > condition
        web condition > start
        spawn web ExecStart
        web start > running
        web start job done
        booted
    "#]],
    );
}

/// Sockets are opened before the steps; a start that must wait for one waits also when that failed.
#[test]
fn a_port_in_use_at_boot_does_not_overtake_a_step() {
    let mut web = needs(listening("web"), &["migrate"]);
    web.service.restart = Restart::Always;
    let mut rig = Rig::new(vec![oneshot("migrate"), web]);
    rig.busy.insert(name("web"));
    rig.boot();
    rig.pass(500);
    rig.busy.clear();
    rig.exits("migrate", 0);
    check(
        &mut rig,
        expect![[r#"
        listen web
        migrate dead > condition
        migrate condition > start
        spawn migrate ExecStart
        migrate start > stop-sigterm
        migrate stop-sigterm > dead
        migrate start job done
        listen web
        web dead > condition
        web condition > start
        spawn web ExecStart
        web start > running
        web start job done
        booted
    "#]],
    );
}

/// The limit that ends it is the one of any start.
#[test]
fn a_port_that_stays_in_use_ends_at_the_start_limit() {
    let mut web = listening("web");
    web.service.restart = Restart::OnFailure;
    web.start_limit_burst = 2;
    let mut rig = Rig::new(vec![web]);
    rig.busy.insert(name("web"));
    rig.boot();
    rig.pass(5000);
    check(
        &mut rig,
        expect![[r#"
        listen web
        web cannot listen: bind 0.0.0.0:80: Address already in use
        web restarts, 1. in a row
        web dead > auto-restart
        -- 0.093291s
        listen web
        web cannot listen: bind 0.0.0.0:80: Address already in use
        web auto-restart > condition
        web restarts, 2. in a row
        web condition > auto-restart
        -- 0.300672s
        listen web
        web cannot listen: bind 0.0.0.0:80: Address already in use
        web auto-restart > condition
        web start limit hit
        web condition > failed
        web start job failed: bind 0.0.0.0:80: Address already in use
        booted
        stopping: Failed("web.service")
        exit 1
    "#]],
    );
}

#[test]
fn a_service_that_ends_closes_its_socket() {
    let mut web = listening("web");
    web.failure_action = ExitAction::None;
    let mut rig = Rig::new(vec![web, simple("other")]);
    rig.boot();
    rig.log();
    rig.exits("web", 1);
    check(
        &mut rig,
        expect![[r#"
        web running > stop-sigterm
        web stop-sigterm > failed
        unlisten web
    "#]],
    );
    rig.ask(JobKind::Start, "web");
    check(
        &mut rig,
        expect![[r#"
        listen web
        web failed > condition
        web condition > start
        spawn web ExecStart
        web start > running
        reply Job { result: Done, reason: "", also: [] }
        web start job done
    "#]],
    );
}

#[test]
fn a_connection_starts_what_is_on_demand() {
    let mut rig = Rig::new(vec![on_demand("lazy")]);
    rig.boot();
    assert_eq!(rig.exit, None, "a socket that is awaited keeps rinit");
    rig.event(Event::Connection { unit: name("lazy") });
    rig.exits("lazy", 0);
    rig.event(Event::Connection { unit: name("lazy") });
    rig.ask(JobKind::Stop, "lazy");
    rig.signal(Signal::TERM);
    rig.event(Event::Connection { unit: name("lazy") });
    check(
        &mut rig,
        expect![[r#"
        listen lazy
        await lazy
        lazy dead > condition
        lazy condition > start
        spawn lazy ExecStart
        lazy start > running
        lazy start job done
        booted
        lazy running > stop-sigterm
        lazy stop-sigterm > dead
        await lazy
        lazy dead > condition
        lazy condition > start
        spawn lazy ExecStart
        lazy start > running
        lazy start job done
        lazy running > stop-sigterm
        kill lazy SIGTERM
        lazy stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
        lazy stop job done
        await lazy
        stopping: Signal(SIGTERM)
        unlisten lazy
        exit 0
    "#]],
    );
}

#[test]
fn connections_that_start_it_in_vain_close_the_socket() {
    let mut unit = on_demand("lazy");
    unit.requires = on(&["db"]).into();
    unit.after = on(&["db"]).into();
    let mut db = simple("db");
    db.started_by = StartedBy::Demand;
    db.failure_action = ExitAction::None;
    db.start_limit_burst = 0;
    db.service.exec_start_pre = vec![super::rig::command()];
    let mut rig = Rig::new(vec![unit, db, simple("other")]);
    rig.boot();
    for _ in 0..20 {
        rig.event(Event::Connection { unit: name("lazy") });
        rig.ends(
            "db",
            super::event::ProcessRole::ExecStartPre,
            crate::unit::process::ExitStatus::Exited(1),
        );
    }
    let log = rig.log();
    assert_eq!(log.matches("await lazy").count(), 21, "{log}");
    rig.event(Event::Connection { unit: name("lazy") });
    check(
        &mut rig,
        expect![[r#"
            lazy trigger limit hit
            unlisten lazy
            lazy dead > failed
        "#]],
    );
}

/// `stem.socket` for `stem.service`, and the service, which comes after it.
fn separate(stem: &str) -> [Unit; 2] {
    let mut socket = listening(stem);
    socket.name = crate::unit::UnitName::parse(&format!("{stem}.socket")).unwrap();
    socket.service = crate::unit::service::Service::default();
    let own = vec![crate::unit::Dependency { name: socket.name.clone(), span: None }];
    let mut service = simple(stem);
    service.started_by = StartedBy::Demand;
    service.failure_action = ExitAction::None;
    service.after = own.clone().into();
    service.wants = own.clone().into();
    service.sockets = own;
    [socket, service]
}

#[test]
fn a_socket_unit_outlives_its_service() {
    let mut rig = Rig::new(separate("web").into());
    let socket = crate::unit::UnitName::parse("web.socket").unwrap();
    rig.boot();
    rig.event(Event::Connection { unit: socket.clone() });
    rig.exits("web", 0);
    rig.event(Event::Connection { unit: socket });
    rig.queued.insert(crate::unit::UnitName::parse("web.socket").unwrap());
    rig.signal(Signal::TERM);
    rig.pass(700);
    check(
        &mut rig,
        expect![[r#"
        listen web
        web dead > condition
        web condition > listening
        web start job done
        booted
        await web
        web dead > condition
        web condition > start
        spawn web ExecStart
        web listening > running
        web start > running
        web start job done
        web running > stop-sigterm
        web stop-sigterm > dead
        web running > listening
        await web
        web dead > condition
        web condition > start
        spawn web ExecStart
        web listening > running
        web start > running
        web start job done
        stopping: Signal(SIGTERM)
        web running > stop
        quiesce web
        -- 0.500000s
        web stop > stop-sigterm
        kill web SIGTERM
        web stop-sigterm > dead
        web running > dead
        unlisten web
        exit 0
    "#]],
    );
    assert_eq!(rig.exit, Some(0));
}

#[test]
fn a_socket_fails_with_a_service_that_used_up_its_starts() {
    let [socket, mut service] = separate("web");
    service.start_limit_burst = 2;
    let mut rig = Rig::new(vec![socket, service, simple("other")]);
    let socket = crate::unit::UnitName::parse("web.socket").unwrap();
    rig.boot();
    for _ in 0..2 {
        rig.event(Event::Connection { unit: socket.clone() });
        rig.exits("web", 1);
    }
    rig.log();
    rig.event(Event::Connection { unit: socket });
    check(
        &mut rig,
        expect![[r#"
            web failed > condition
            web start limit hit
            web condition > failed
            web start job failed: its result is start-limit-hit
            web listening > failed
            stopping: Failed("web.socket")
            other running > stop-sigterm
            kill other SIGTERM
            unlisten web
            other stop-sigterm > dead
            exit 1
        "#]],
    );
}

#[test]
fn a_restart_in_the_wait_of_a_stop_opens_the_sockets_anew() {
    let mut rig = Rig::new(vec![listening("web")]);
    rig.queued.insert(name("web"));
    rig.boot();
    rig.ask(JobKind::Stop, "web");
    rig.log();
    rig.ask(JobKind::Restart, "web");
    rig.pass(2000);
    check(
        &mut rig,
        expect![[r#"
            reply Job { result: Canceled, reason: "a newer job took its place", also: [] }
            web stop job canceled: a newer job took its place
            -- 0.500000s
            web stop > stop-sigterm
            kill web SIGTERM
            web stop-sigterm > dead
            unlisten web
            listen web
            web dead > condition
            web condition > start
            spawn web ExecStart
            web start > running
            reply Job { result: Done, reason: "", also: [] }
            web restart job done
        "#]],
    );
}
