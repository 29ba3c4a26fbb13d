//! (tests) Stories of sockets with `Accept=yes`: a service for each connection.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::event::JobKind;
use super::random::Random;
use super::rig::{Rig, name, needs, oneshot, simple};
use crate::unit::process::Signal;
use crate::unit::service::ServiceType;
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};
use crate::unit::{StartedBy, Unit, UnitName, UnitSet};

fn check(rig: &mut Rig, expected: Expect) {
    expected.assert_eq(&rig.log());
}

/// `echo.socket` and its template.
fn echo(adjust: impl FnOnce(&mut Socket)) -> Vec<Unit> {
    let mut template = simple("echo@");
    template.started_by = StartedBy::Demand;
    let listen = vec![Listen { kind: ListenKind::Stream, address: ListenAddress::Port(7) }];
    let service = Some(name("echo@"));
    let mut socket = Socket { listen, service, accept: true, ..Socket::default() };
    adjust(&mut socket);
    let mut unit = Unit::new(UnitName::parse("echo.socket").unwrap());
    unit.socket = Some(Box::new(socket));
    vec![template, unit]
}

fn booted(adjust: impl FnOnce(&mut Socket)) -> Rig {
    let mut rig = Rig::new(echo(adjust));
    rig.boot();
    rig
}

#[test]
fn each_connection_has_a_service_that_goes_with_it() {
    let mut rig = booted(|_| ());
    rig.connect("0", "10.0.0.1");
    rig.connect("1", "10.0.0.2");
    assert_eq!(rig.status("echo@1").unit.connection_of, UnitName::parse("echo.socket").ok());
    rig.exits("echo@0", 0);
    rig.exits("echo@1", 1);
    check(
        &mut rig,
        expect![[r#"
        listen echo
        echo dead > condition
        echo condition > listening
        echo start job done
        booted
        await echo
        echo@0 dead > condition
        echo@0 condition > start
        spawn echo@0 ExecStart
        echo@0 start > running
        echo@0 start job done
        echo@1 dead > condition
        echo@1 condition > start
        spawn echo@1 ExecStart
        echo@1 start > running
        echo@1 start job done
        echo@0 running > stop-sigterm
        let go echo@0
        echo@0 stop-sigterm > dead
        echo@1 running > stop-sigterm
        let go echo@1
        echo@1 stop-sigterm > failed
    "#]],
    );
    assert!(!rig.knows("echo@0") && !rig.knows("echo@1"), "nothing is left of them");
    rig.connect("2", "10.0.0.1");
    check(
        &mut rig,
        expect![[r#"
        echo@2 dead > condition
        echo@2 condition > start
        spawn echo@2 ExecStart
        echo@2 start > running
        echo@2 start job done
    "#]],
    );
}

/// One that fails, or cannot be started, is nobody's failure: rinit's status stays 0.
#[test]
fn a_failed_connection_is_no_failure_of_the_whole() {
    let mut units = echo(|_| ());
    units[0].conditions = vec![crate::unit::Condition {
        kind: crate::unit::ConditionKind::PathExists,
        parameter: "/x".into(),
        trigger: false,
        negate: false,
    }];
    let mut rig = Rig::new(units);
    rig.boot();
    rig.unmet.insert(name("echo@0"));
    rig.connect("0", "10.0.0.1");
    rig.connect("1", "10.0.0.1");
    rig.exits("echo@1", 3);
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
            listen echo
            echo dead > condition
            echo condition > listening
            echo start job done
            booted
            await echo
            echo@0 dead > condition
            let go echo@0
            echo@0 condition > dead
            echo@0 start job skipped: ConditionPathExists=/x was not met
            echo@1 dead > condition
            echo@1 condition > start
            spawn echo@1 ExecStart
            echo@1 start > running
            echo@1 start job done
            echo@1 running > stop-sigterm
            let go echo@1
            echo@1 stop-sigterm > failed
            stopping: Signal(SIGTERM)
            echo listening > dead
            unlisten echo
            exit 0
        "#]],
    );
    assert_eq!(rig.exit, Some(0));
}

#[test]
fn so_many_at_once() {
    let mut rig = booted(|socket| socket.max_connections = 2);
    for number in ["0", "1", "2", "3"] {
        rig.connect(number, "10.0.0.1");
    }
    rig.log();
    rig.exits("echo@0", 0);
    rig.connect("4", "10.0.0.1");
    rig.connect("5", "10.0.0.1");
    check(
        &mut rig,
        expect![[r#"
        echo@0 running > stop-sigterm
        let go echo@0
        echo@0 stop-sigterm > dead
        echo@4 dead > condition
        echo@4 condition > start
        spawn echo@4 ExecStart
        echo@4 start > running
        echo@4 start job done
        echo refuses 10.0.0.1: MaxConnections=2
        let go echo@5
    "#]],
    );
}

#[test]
fn so_many_from_one_address() {
    let mut rig = booted(|socket| socket.max_connections_per_source = 1);
    rig.connect("0", "10.0.0.1");
    rig.log();
    rig.connect("1", "10.0.0.1");
    rig.connect("2", "10.0.0.2");
    rig.exits("echo@0", 0);
    rig.connect("3", "10.0.0.1");
    check(
        &mut rig,
        expect![[r#"
        echo refuses 10.0.0.1: MaxConnectionsPerSource=1
        let go echo@1
        echo@2 dead > condition
        echo@2 condition > start
        spawn echo@2 ExecStart
        echo@2 start > running
        echo@2 start job done
        echo@0 running > stop-sigterm
        let go echo@0
        echo@0 stop-sigterm > dead
        echo@3 dead > condition
        echo@3 condition > start
        spawn echo@3 ExecStart
        echo@3 start > running
        echo@3 start job done
    "#]],
    );
}

#[test]
fn so_many_in_so_short_a_time() {
    let mut rig = booted(|socket| socket.trigger_limit_burst = 2);
    for number in ["0", "1", "2", "3"] {
        rig.connect(number, "10.0.0.1");
    }
    check(
        &mut rig,
        expect![[r#"
        listen echo
        echo dead > condition
        echo condition > listening
        echo start job done
        booted
        await echo
        echo@0 dead > condition
        echo@0 condition > start
        spawn echo@0 ExecStart
        echo@0 start > running
        echo@0 start job done
        echo@1 dead > condition
        echo@1 condition > start
        spawn echo@1 ExecStart
        echo@1 start > running
        echo@1 start job done
        echo trigger limit hit
        unlisten echo
        echo listening > failed
        let go echo@2
        stopping: Failed("echo.socket")
        echo@0 running > stop-sigterm
        kill echo@0 SIGTERM
        echo@1 running > stop-sigterm
        kill echo@1 SIGTERM
        let go echo@0
        echo@0 stop-sigterm > dead
        let go echo@1
        echo@1 stop-sigterm > dead
        exit 1
    "#]],
    );
}

/// What is being served goes on when the socket is stopped, as in systemd; a connection that was
/// taken just then is closed.
#[test]
fn a_stop_of_the_socket_leaves_who_is_served() {
    let mut rig = booted(|_| ());
    rig.connect("0", "10.0.0.1");
    rig.log();
    rig.ask_of(JobKind::Stop, UnitName::parse("echo.socket").unwrap());
    rig.connect("1", "10.0.0.1");
    check(
        &mut rig,
        expect![[r#"
        echo listening > dead
        reply Job { result: Done, reason: "", also: [] }
        echo stop job done
        unlisten echo
        let go echo@1
    "#]],
    );
    rig.exits("echo@0", 0);
    check(
        &mut rig,
        expect![[r#"
        echo@0 running > stop-sigterm
        let go echo@0
        echo@0 stop-sigterm > dead
    "#]],
    );
}

/// What the socket comes after is what its services need: it stops after them all.
#[test]
fn the_end_of_everything_begins_with_who_is_served() {
    let mut units = echo(|_| ());
    let socket = units.pop().unwrap();
    units.extend([simple("db"), needs(socket, &["db"])]);
    let mut rig = Rig::new(units);
    rig.boot();
    rig.stubborn.insert(name("echo@0"));
    rig.connect("0", "10.0.0.1");
    rig.log();
    rig.signal(Signal::TERM);
    rig.connect("1", "10.0.0.1");
    rig.pass(9_000);
    check(
        &mut rig,
        expect![[r#"
            stopping: Signal(SIGTERM)
            echo@0 running > stop-sigterm
            kill echo@0 SIGTERM
            let go echo@1
            -- 6.500000s
            echo@0 stop-sigterm timed out after 6.5s
            echo@0 stop-sigterm > stop-sigkill
            kill echo@0 SIGKILL
            let go echo@0
            echo@0 stop-sigkill > failed
            echo listening > dead
            db running > stop-sigterm
            kill db SIGTERM
            unlisten echo
            db stop-sigterm > dead
            exit 137
        "#]],
    );
}

/// One whose start is called off before it began is over as well: nothing waits for it.
#[test]
fn a_start_that_is_called_off() {
    let mut units = echo(|socket| socket.max_connections = 1);
    units[0].service.kind = ServiceType::Idle;
    units.push(oneshot("slow"));
    let mut rig = Rig::new(units);
    rig.boot();
    rig.connect("0", "10.0.0.1");
    rig.log();
    rig.ask(JobKind::Stop, "echo@0");
    rig.connect("1", "10.0.0.1");
    check(
        &mut rig,
        expect![[r#"
        echo@0 start job canceled: a newer job took its place
        reply Job { result: Done, reason: "", also: [] }
        echo@0 stop job done
        let go echo@0
    "#]],
    );
    rig.signal(Signal::TERM);
    check(
        &mut rig,
        expect![[r#"
        stopping: Signal(SIGTERM)
        echo@1 start job canceled: rinit is stopping
        slow start job canceled: rinit is stopping
        echo listening > dead
        slow start > stop-sigterm
        kill slow SIGTERM
        unlisten echo
        let go echo@1
        slow stop-sigterm > failed
        exit 0
    "#]],
    );
}

/// While the stop waits for DrainSec=, whoever connects is served.
#[test]
fn a_drain_serves_on() {
    let mut rig = Rig::with(echo(|_| ()), |config| config.drain = Duration::from_secs(1));
    rig.boot();
    rig.log();
    rig.signal(Signal::TERM);
    rig.connect("0", "10.0.0.1");
    rig.pass(1_000);
    check(
        &mut rig,
        expect![[r#"
        stopping: Signal(SIGTERM)
        echo@0 dead > condition
        echo@0 condition > start
        spawn echo@0 ExecStart
        echo@0 start > running
        echo@0 start job done
        -- 1.000000s
        echo@0 running > stop-sigterm
        kill echo@0 SIGTERM
        let go echo@0
        echo@0 stop-sigterm > dead
        echo listening > dead
        unlisten echo
        exit 0
    "#]],
    );
}

/// Nobody but a connection starts an instance, and the template is none.
#[test]
fn a_template_is_not_started() {
    let mut rig = booted(|_| ());
    rig.log();
    rig.ask(JobKind::Start, "echo@");
    rig.ask(JobKind::Restart, "echo@");
    check(
        &mut rig,
        expect![[r#"
        reply Refused { reason: "echo@.service is a template, which never runs itself" }
        reply Refused { reason: "echo@.service is a template, which never runs itself" }
    "#]],
    );
}

/// Sockets that are opened anew are waited on anew.
#[test]
fn a_socket_that_changed() {
    let mut rig = booted(|_| ());
    let units = echo(|socket| socket.backlog = 7);
    rig.on_disk = Some(UnitSet::new(units.into_iter().map(std::sync::Arc::new)));
    rig.signal(Signal::HUP);
    rig.log();
    rig.ask_of(JobKind::Restart, UnitName::parse("echo.socket").unwrap());
    rig.connect("0", "10.0.0.1");
    check(
        &mut rig,
        expect![[r#"
        echo listening > dead
        listen echo
        echo dead > condition
        echo condition > listening
        reply Job { result: Done, reason: "", also: [] }
        echo restart job done
        await echo
        echo@0 dead > condition
        echo@0 condition > start
        spawn echo@0 ExecStart
        echo@0 start > running
        echo@0 start job done
    "#]],
    );
}

/// New definitions are for new connections; nobody is forgotten or stopped by them.
#[test]
fn a_reload_touches_no_connection() {
    let mut rig = booted(|_| ());
    rig.connect("0", "10.0.0.1");
    let mut units = echo(|_| ());
    units[0].description = "new".to_string();
    rig.on_disk = Some(UnitSet::new(units.into_iter().map(std::sync::Arc::new)));
    rig.log();
    rig.signal(Signal::HUP);
    rig.ask(JobKind::Restart, "echo@0");
    rig.connect("1", "10.0.0.1");
    assert_eq!(rig.status("echo@1").unit.description, "new");
    check(
        &mut rig,
        expect![[r#"
        load
        reply Refused { reason: "echo@0.service serves one connection, and ends with it" }
        echo@1 dead > condition
        echo@1 condition > start
        spawn echo@1 ExecStart
        echo@1 start > running
        echo@1 start job done
    "#]],
    );
    rig.ask(JobKind::Stop, "echo@0");
    check(
        &mut rig,
        expect![[r#"
        echo@0 running > stop-sigterm
        kill echo@0 SIGTERM
        let go echo@0
        echo@0 stop-sigterm > dead
        reply Job { result: Done, reason: "", also: [] }
        echo@0 stop job done
    "#]],
    );
}

/// Whatever happens in whatever order: each connection is served by one process or let go, never
/// more than allowed, and nothing is left of it.
#[test]
fn connections_in_any_order() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut below = |count: u64| random.next() % count;
        let mut units = echo(|socket| {
            (socket.max_connections, socket.max_connections_per_source) = (3, 2);
            socket.trigger_limit_burst = 0;
        });
        units[1].start_limit_interval = Duration::ZERO;
        units.push(simple("other"));
        let socket = UnitName::parse("echo.socket").unwrap();
        let mut rig = Rig::new(units.clone());
        rig.boot();
        rig.on_disk = Some(UnitSet::new(units.into_iter().map(std::sync::Arc::new)));
        for step in 0..60 {
            let (served, _) = rig.connections();
            let one = served.get(usize::try_from(below(4)).unwrap());
            let one = one.map(|status| status.unit.name.stem().to_string());
            match (below(12), one) {
                (0..5, _) => rig.connect(&step.to_string(), &format!("from-{}", below(3))),
                (5 | 6, Some(one)) => rig.exits(&one, u8::try_from(below(2)).unwrap()),
                (7, Some(one)) => rig.ask(JobKind::Stop, &one),
                (8, _) => rig.ask_of(JobKind::Stop, socket.clone()),
                (9, _) => rig.ask_of(JobKind::Start, socket.clone()),
                (10, _) => rig.signal(Signal::HUP),
                (_, _) => rig.pass(50),
            }
            let (served, accepted) = rig.connections();
            assert_eq!(served.len(), accepted, "seed {seed}: {}", rig.log());
            assert!(served.len() <= 3, "seed {seed}: {}", rig.log());
            assert!(served.iter().all(|it| it.main.is_some()), "seed {seed}: {}", rig.log());
        }
        rig.signal(Signal::TERM);
        rig.pass(9_000);
        let exit = rig.exit;
        assert_eq!(exit, Some(0), "seed {seed}: {}", rig.log());
        let (served, accepted) = rig.connections();
        assert_eq!((served.len(), accepted), (0, 0), "seed {seed}: {}", rig.log());
    }
}
