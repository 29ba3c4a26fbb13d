//! Tables over units with sockets, instances, readiness and health: what they come to, and
//! every problem drawn.

use std::net::SocketAddr;
use std::time::Duration;

use expect_test::expect;

use super::health::{HealthCheck, OnUnhealthy};
use super::process::Signal;
use super::rolling::{Instances, RollingFailure, RollingOrder};
use super::service::{NotifyAccess, ServiceType, StandardStream, StorePreserve};
use super::socket::{BindIpv6Only, ListenAddress, ListenKind};
use super::verify_tests::{check_order, check_problems, drawn, read};
use super::{StartedBy, Unit, UnitName};

/// The one unit of this text, without any problem.
fn unit(text: &str) -> Unit {
    let (units, problems) = read(&[("web", text)], None);
    assert_eq!(drawn(&problems), "");
    let unit = units.units.into_values().next().unwrap();
    (*unit).clone()
}

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

const APP: &str = "[Service]\nExecStart = 'app'\n";

#[test]
fn every_directive_of_a_socket() {
    let web = unit(&format!(
        "{APP}[Socket]
ListenStream = [8000, '127.0.0.1:8001', '/run/%N.sock', '@%n']
ListenDatagram = '[::1]:53'
ListenSequentialPacket = '@seq'
ListenFIFO = '/run/fifo'
SocketUser = 'app'
SocketGroup = 33
SocketMode = 0o660
DirectoryMode = '0750'
Backlog = 512
BindIPv6Only = 'both'
DeferAcceptSec = '5s'
NoDelay = false
KeepAlive = true
FreeBind = 'yes'
FileDescriptorName = 'http'
RemoveOnStop = true
Accept = false
ReceiveBuffer = '64K'
SendBuffer = 4096
PassCredentials = true
TriggerLimitIntervalSec = '1min'
TriggerLimitBurst = 7
"
    ));
    let socket = web.socket.as_ref().unwrap();
    let ip = |text: &str| ListenAddress::Ip(text.parse::<SocketAddr>().unwrap());
    let listens: Vec<_> = socket.listen.iter().map(|l| (l.kind, l.address.clone())).collect();
    assert_eq!(
        listens,
        [
            (ListenKind::Stream, ListenAddress::Port(8000)),
            (ListenKind::Stream, ip("127.0.0.1:8001")),
            (ListenKind::Stream, ListenAddress::Path("/run/web.sock".into())),
            (ListenKind::Stream, ListenAddress::Abstract("web.service".into())),
            (ListenKind::Datagram, ip("[::1]:53")),
            (ListenKind::SequentialPacket, ListenAddress::Abstract("seq".into())),
            (ListenKind::Fifo, ListenAddress::Path("/run/fifo".into())),
        ]
    );
    assert_eq!((socket.user.as_deref(), socket.group.as_deref()), (Some("app"), Some("33")));
    assert_eq!((socket.mode, socket.directory_mode, socket.backlog), (0o660, 0o750, 512));
    assert_eq!(socket.bind_ipv6_only, BindIpv6Only::Both);
    assert_eq!(socket.defer_accept, Duration::from_secs(5));
    assert!(!socket.no_delay && socket.keep_alive && socket.free_bind && socket.remove_on_stop);
    assert!(!socket.accept && !socket.reuse_port && socket.pass_credentials);
    assert_eq!(socket.descriptor_name.as_deref(), Some("http"));
    assert_eq!((socket.receive_buffer, socket.send_buffer), (Some(65_536), Some(4096)));
    assert_eq!((socket.max_connections, socket.trigger_limit_burst), (64, 7));
    assert_eq!(socket.trigger_limit_interval, Duration::from_secs(60));
    let reset = unit(&format!("{APP}[Socket]\nListenStream = [80, '', 81]\nReusePort = true\n"));
    let socket = reset.socket.as_ref().unwrap();
    assert_eq!((socket.listen.len(), socket.reuse_port), (1, true));
}

#[test]
fn every_directive_of_health() {
    let web = unit(&format!(
        "{APP}[Health]
Exec = 'probe -x'
IntervalSec = 5
TimeoutSec = '1s'
StartPeriodSec = '20s'
StartIntervalSec = '100ms'
Retries = 2
SuccessThreshold = 4
OnUnhealthy = 'none'
StallSec = '30s'
"
    ));
    let health = web.service.health.as_ref().unwrap();
    let Some(HealthCheck::Exec(command)) = &health.check else { panic!("{health:?}") };
    assert_eq!((command.program.as_str(), command.arguments.len()), ("probe", 1));
    let seconds = Duration::from_secs;
    assert_eq!((health.interval, health.timeout), (seconds(5), seconds(1)));
    assert_eq!((health.start_period, health.stall), (seconds(20), seconds(30)));
    assert_eq!(health.start_interval, Duration::from_millis(100));
    assert_eq!((health.retries, health.success_threshold), (2, 4));
    assert_eq!(health.on_unhealthy, OnUnhealthy::None);
    let stall = unit(&format!("{APP}[Health]\nStallSec = '30s'\n"));
    assert_eq!(stall.service.health.as_ref().unwrap().check, None);
}

#[test]
fn every_directive_of_readiness_and_workers() {
    let web = unit(
        "[Service]
ExecStart = 'app'
Type = 'notify-reload'
NotifyAccess = 'all'
NotificationFd = 9
ReadyOn = 'accept'
ReloadSignal = 'SIGUSR2'
WatchdogSec = '10s'
FileDescriptorStoreMax = 3
FileDescriptorStorePreserve = true
NonBlocking = true
Instances = 'auto'
RollingUpdate = { Parallelism = 2, Order = 'stop-first', MonitorSec = 1, FailureAction = 'rollback' }
ForwardSignals = ['SIGUSR1', 'WINCH']
[Socket]
ListenStream = 80
",
    );
    let service = &web.service;
    assert_eq!(service.kind, ServiceType::NotifyReload);
    assert_eq!(service.notify_access, NotifyAccess::All);
    assert_eq!((service.notification_fd, service.ready_on_accept), (Some(9), true));
    assert_eq!(service.reload_signal, Signal::USR2);
    assert_eq!(service.watchdog, Some(Duration::from_secs(10)));
    assert_eq!(service.descriptor_store_max, 3);
    assert_eq!(service.descriptor_store_preserve, StorePreserve::Yes);
    assert!(service.non_blocking);
    assert_eq!(service.instances, Some(Instances::Auto));
    let update = service.rolling_update;
    assert_eq!((update.parallelism, update.order), (2, Some(RollingOrder::StopFirst)));
    assert_eq!(update.monitor, Duration::from_secs(1));
    assert_eq!(update.failure_action, RollingFailure::Rollback);
    let signals = [Signal::USR1, Signal::WINCH];
    assert_eq!(service.forward_signals, Some(signals.into()));
    let old =
        unit("[Service]\nExecStart='d'\nType='forking'\nPIDFile='d.pid'\nGuessMainPID=false\n");
    assert_eq!(old.service.kind, ServiceType::Forking);
    assert_eq!(old.service.pid_file.as_deref(), Some("/run/d.pid"));
    assert!(!old.service.guess_main_pid);
    let none = unit(&format!("{APP}ForwardSignals = []\n"));
    assert_eq!(none.service.forward_signals, Some([].into()));
}

#[test]
fn what_needs_notifications_takes_them() {
    for (line, access) in [
        ("", NotifyAccess::None),
        ("Type = 'notify'", NotifyAccess::Main),
        ("Type = 'notify-reload'", NotifyAccess::Main),
        ("Type = 'notify'\nNotifyAccess = 'none'", NotifyAccess::Main),
        ("Type = 'notify'\nNotifyAccess = 'exec'", NotifyAccess::Exec),
        ("WatchdogSec = 5", NotifyAccess::Main),
        ("WatchdogSec = 0", NotifyAccess::None),
        ("FileDescriptorStoreMax = 1", NotifyAccess::Main),
    ] {
        let unit = unit(&format!("{APP}{line}\n"));
        assert_eq!(unit.service.notify_access, access, "{line}");
    }
}

#[test]
fn a_command_gets_all_of_it() {
    let properties = [
        "ListenStream=8000",
        "Socket.DeferAcceptSec=5",
        "Http=/healthz",
        "Health.Retries=1",
        "Instances=4",
        "RollingUpdate=Parallelism=2 Order=start-first",
        "Type=notify",
        "Description=%i",
    ];
    let (units, problems) = read(&[], Some(&properties));
    assert_eq!(problems.iter().filter(|p| p.severity > super::Severity::Note).count(), 0);
    let main = units.get(&name("main.service")).unwrap();
    assert_eq!(main.socket.as_ref().unwrap().listen.len(), 1);
    assert_eq!(main.service.health.as_ref().unwrap().retries, 1);
    assert_eq!(main.service.instances, Some(Instances::Count(4)));
    assert_eq!(main.service.rolling_update.parallelism, 2);
    assert_eq!(main.description, "*");
    let (_, problems) = read(&[], Some(&["ListenStream=localhost:80", "RollingUpdate=Order=x"]));
    expect![[r#"
        error: ListenStream: "localhost:80" is no address: "localhost" is a name
         --> -p:1:14
          |
        1 | ListenStream=localhost:80
          |              ^^^^^^^^^
          |
          = help: an address, not a name: 127.0.0.1:80, or [::1]:80

        warning: RollingUpdate has no effect: main.service has no Instances
         --> -p:1:15
          |
        1 | RollingUpdate=Order=x
          |               ^^^^^^^

        error: RollingUpdate: "x" is not one of its words
         --> -p:1:15
          |
        1 | RollingUpdate=Order=x
          |               ^^^^^^^
          |
          = help: RollingUpdate takes one of start-first, stop-first

        2 errors, 1 warning: nothing was started
    "#]]
    .assert_eq(&drawn(&problems));
}

#[test]
fn a_socket_in_a_file_of_its_own() {
    let shared = "[Socket]\nListenStream = 80\nService = 'web.service'\n";
    let files = [
        ("front", shared),
        ("web", APP),
        ("10-step", "[Service]\nType='oneshot'\nExecStart='x'\n"),
    ];
    let (units, problems) = read(&files, None);
    assert_eq!(drawn(&problems), "");
    let front = units.get(&name("front.socket")).unwrap();
    assert_eq!(front.socket.as_ref().unwrap().service, Some(name("web.service")));
    assert_eq!((front.started_by, front.is_on_demand()), (StartedBy::Boot, false));
    let web = units.get(&name("web.service")).unwrap();
    assert_eq!(web.sockets[0].name, name("front.socket"));
    // A socket is open before anything starts: it waits for no step.
    check_order(
        &files,
        expect![[r#"
            10-step step
            front
            web after=front,10-step requires=10-step
        "#]],
    );
    let only_inherited = [
        ("front", "[Socket]\nListenStream = 80\n"),
        ("web", &format!("{APP}Sockets = 'front.socket'\n")),
    ];
    check_order(
        &only_inherited,
        expect![[r#"
            front
            web after=front wants=front
        "#]],
    );
    let off = format!("{shared}[Install]\nEnabled = false\n");
    let (units, _) = read(&[("front", &off), ("web", APP)], None);
    assert_eq!(units.get(&name("front.socket")).unwrap().started_by, StartedBy::Demand);
}

#[test]
fn on_demand() {
    let text = format!("{APP}[Socket]\nListenStream = 80\n");
    assert!(!unit(&text).is_on_demand());
    let web = unit(&format!("{text}[Install]\nEnabled = false\n"));
    assert!(web.is_on_demand());
    assert_eq!(web.failure_action, super::service::ExitAction::None);
    assert!(!unit(&format!("{APP}[Install]\nEnabled = false\n")).is_on_demand());
    // A page that says "sorry" on the same port opens it when its turn comes.
    let sorry =
        [("sorry", text.as_str()), ("web", &format!("[Unit]\nOnFailure='sorry.service'\n{text}"))];
    let (units, problems) = read(&sorry, None);
    assert_eq!(drawn(&problems), "");
    let sorry = units.get(&name("sorry.service")).unwrap();
    assert_eq!((sorry.started_by, sorry.is_on_demand()), (StartedBy::Demand, false));
}

#[test]
fn whom_a_probe_judges() {
    for (lines, health, shared) in [
        ("", "Http = '/x'", false),
        ("Instances = 2", "Http = '/x'", true),
        ("Instances = 2", "Http = '/%i'", true),
        ("Instances = 2", "Tcp = 5", true),
        ("Instances = 2", "Tcp = '127.0.0.1:5%i'", false),
        ("Instances = 2", "Exec = 'x'", false),
        ("Instances = 2", "StallSec = 5", false),
    ] {
        let text = format!("{APP}{lines}\n[Socket]\nListenStream = 80\n[Health]\n{health}\n");
        let (units, _) = read(&[("web", &text)], None);
        let web = units.get(&name("web.service")).unwrap();
        assert_eq!(web.service.health.as_ref().unwrap().shared, shared, "{text}");
        let one = super::instances::instance(web, 1);
        assert_eq!(one.service.health.as_ref().unwrap().shared, shared, "{text}");
        let reuse = text.replace("[Health]", "ReusePort = true\n[Health]");
        let (units, _) = read(&[("web", &reuse)], None);
        let web = units.get(&name("web.service")).unwrap();
        let each = shared && health.starts_with("Tcp");
        assert_eq!(web.service.health.as_ref().unwrap().shared, each, "{reuse}");
    }
}

#[test]
fn input_from_a_socket() {
    let web = unit(&format!("{APP}StandardInput = 'socket'\n[Socket]\nListenStream = 80\n"));
    assert_eq!(web.service.exec.standard_input, Some(StandardStream::Socket));
}

/// The template's own `[Socket]` is the unit of its name; what stands beside it in `[Unit]` too.
#[test]
fn a_template_for_connections() {
    let texts = [
        (
            "echo@",
            "[Unit]\nAfter = 'db.service'\nRequires = 'db.service'\nConditionPathExists = '/x'\n\
             BindsTo = 'db.service'\nFailureAction = 'none'\nDescription = 'of %i'\n\
             [Service]\nExecStart = 'app %i %n %p'\nStandardInput = 'socket'\n\
             [Socket]\nListenStream = 7\nAccept = true\nMaxConnectionsPerSource = 3\n\
             PollLimitBurst = 5\nPollLimitIntervalSec = 1\n",
        ),
        ("db", APP),
        ("two", "[Socket]\nListenStream = 8\nAccept = true\nTriggerLimitBurst = 9\n"),
        (
            "two@",
            "[Unit]\nRequires = 'db.service'\nAfter = 'db.service'\n\
             [Service]\nExecStart = 'app'\nStandardOutput = 'socket'\n",
        ),
    ];
    let (units, problems) = read(&texts, None);
    assert_eq!(drawn(&problems), "");
    let socket = units.get(&name("echo.socket")).unwrap();
    let names = |list: &[super::Dependency]| -> Vec<String> {
        list.iter().map(|it| it.name.to_string()).collect()
    };
    assert_eq!(names(&socket.after), ["db.service"]);
    assert_eq!(
        (names(&socket.requires), socket.started_by),
        (names(&socket.after), StartedBy::Boot)
    );
    let said = socket.socket.as_ref().unwrap();
    assert_eq!((said.max_connections, said.max_connections_per_source), (64, 3));
    assert_eq!((said.trigger_limit_burst, said.poll_limit_burst), (0, 5));
    assert_eq!(socket.binds_to.len(), 1);
    assert_eq!(socket.failure_action, super::service::ExitAction::None);
    assert_eq!(said.poll_limit_interval, Duration::from_secs(1));
    assert_eq!(said.service, Some(name("echo@.service")));
    let template = units.get(&name("echo@.service")).unwrap();
    assert_eq!((template.socket.as_ref(), template.started_by), (None, StartedBy::Demand));
    let made = super::connections::connection(template, &socket.name, "0-::1:7-::1:9").unwrap();
    assert_eq!(made.name.as_str(), "echo@0-::1:7-::1:9.service");
    let words = &made.service.exec_start[0].arguments;
    assert_eq!(words, &["0-::1:7-::1:9", "echo@0-::1:7-::1:9.service", "echo"]);
    assert_eq!((made.after.len(), made.requires.len(), made.conditions.len()), (0, 0, 1));
    assert_eq!(made.connection_of, Some(socket.name.clone()));
    assert!(!format!("{made:?}").contains("fdd0"), "{made:?}");
    assert_eq!(super::connections::connection(template, &socket.name, "a/b"), None);
    assert_eq!(made.description, "of 0-::1:7-::1:9");
    let two = units.get(&name("two.socket")).unwrap();
    assert_eq!(
        (names(&two.requires), names(&two.after)),
        (names(&socket.after), names(&socket.after))
    );
    assert_eq!(two.socket.as_ref().unwrap().trigger_limit_burst, 9);
}

#[test]
fn connections_that_cannot_be() {
    check_problems(
        &[
            ("a", &format!("{APP}[Socket]\nListenStream = 1\nAccept = true\n")),
            ("b", "[Socket]\nListenDatagram = 2\nAccept = true\nReusePort = true\n"),
            ("b@", &format!("{APP}Restart = 'always'\nType = 'forking'\nRemainAfterExit = true\n")),
            ("c", "[Socket]\nListenStream = 3\nAccept = true\n"),
            ("c@", &format!("{APP}[Socket]\nListenStream = 4\nAccept = true\n")),
            ("d@", &format!("{APP}[Socket]\nListenStream = 5\nMaxConnections = 7\n")),
            ("e", &format!("{APP}Sockets = 'c.socket'\n")),
            (&"f".repeat(150), "[Socket]\nListenStream = 6\nAccept = true\n"),
            (&format!("{}@", "f".repeat(150)), APP),
            ("g", "[Socket]\nListenStream = 8\nAccept = true\n"),
            (
                "g@",
                "[Unit]\nOnFailure = 'e.service'\n[Service]\nType = 'oneshot'\n\
                 ExecStart = ['one; two', 'three']\nFileDescriptorStoreMax = 3\n",
            ),
        ],
        expect![[r#"
            error: a.service has Accept=yes: each connection is an instance of it
             --> a.toml:5:10
              |
            5 | Accept = true
              |          ^^^^
              |
              = help: call the file a@.toml; the instances are a@0-….service

            error: b.socket has Accept=yes, and a socket that has no connections
             --> b.toml:2:18
              |
            2 | ListenDatagram = 2
              |                  ^
              |
              = help: ListenDatagram and ListenFIFO go to one service: put them into another file

            warning: ReusePort has no effect: with Accept=yes rinit takes the connections itself
             --> b.toml:4:13
              |
            4 | ReusePort = true
              |             ^^^^

            warning: Restart of b@.service has no effect: a connection does not come a second time
             --> b@.toml:3:11
              |
            3 | Restart = 'always'
              |           ^^^^^^^^

            error: b@.service is Type=forking, and gets one connection to serve
             --> b@.toml:4:8
              |
            4 | Type = 'forking'
              |        ^^^^^^^^^
              |
              = help: let it stay in the foreground: Type = "exec"

            warning: RemainAfterExit of b@.service has no effect: a connection is over when who serves it is gone
             --> b@.toml:5:19
              |
            5 | RemainAfterExit = true
              |                   ^^^^

            error: [Socket] of c@.service is c.socket, and there is one already
             --> c@.toml:3:2
              |
            3 | [Socket]
              |  ^^^^^^
              |
             ::: c.toml:1:1
              |
            1 | [Socket]
              | - c.socket is here
              |
              = help: keep one of the two

            error: d@.service is a template, which nothing starts, and has a [Socket]
             --> d@.toml:3:2
              |
            3 | [Socket]
              |  ^^^^^^
              |
              = help: Accept = true starts an instance for each connection; for a number of them that share the socket take the @ out of the name and say Instances = N

            warning: MaxConnections has no effect: it is for Accept=yes
             --> d@.toml:5:18
              |
            5 | MaxConnections = 7
              |                  ^

            error: e.service names c.socket in Sockets, which has Accept=yes
             --> e.toml:3:11
              |
            3 | Sockets = 'c.socket'
              |           ^^^^^^^^^^
              |
              = help: its connections go to instances of its own; nobody else gets it

            error: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff@.service is too long for the name of each connection to follow the @
             --> ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff@.toml:1:1
              |
            1 | [Service]
              | ^
              |
              = help: at most 143 bytes

            warning: OnFailure of g@.service has no effect: it is not asked for each connection; say it in the socket's file
             --> g@.toml:2:13
              |
            2 | OnFailure = 'e.service'
              |             ^^^^^^^^^^^

            warning: FileDescriptorStoreMax of g@.service has no effect: no process comes after the one that serves a connection
             --> g@.toml:6:26
              |
            6 | FileDescriptorStoreMax = 3
              |                          ^

            7 errors, 6 warnings: nothing was started
        "#]],
    );
}

#[test]
fn sockets_for_nobody_and_from_nowhere() {
    check_problems(
        &[
            ("a", "[Socket]\nListenStream = 80\n"),
            ("b", "[Socket]\nListenStream = 81\nService = 'wep.service'\n"),
            ("c", "[Socket]\nService = 'web.service'\n"),
            ("d", "[Socket]\nListenStream = 82\nService = 'web.socket'\n"),
            ("e", "[Socket]\nListenStream = 83\nService = 'w@.service'\n"),
            ("f", "[Socket]\nListenStream = 84\nAccept = true\nService = 'web.service'\n"),
            ("g", "[Socket]\nListenStream = 85\nService = 'web.service'\n[Health]\nTcp = 85\n"),
            ("own", &format!("{APP}[Socket]\nListenStream = 86\nService = 'web.service'\n")),
            ("w@", APP),
            ("web", &format!("{APP}Sockets = 'bb.socket x.service'\n[Socket]\n")),
        ],
        expect![[r#"
            error: a.socket is for no service: it has no Service, and no other names it
             --> a.toml:1:1
              |
            1 | [Socket]
              | ^
              |
              = help: say Service = "NAME.service", or put [Socket] into the service's own file

            error: b.socket: Service names wep.service, and there is no such unit
             --> b.toml:3:11
              |
            3 | Service = 'wep.service'
              |           ^^^^^^^^^^^^^
              |
              = help: did you mean web.service?

            error: [Socket] of c.socket listens nowhere
             --> c.toml:1:2
              |
            1 | [Socket]
              |  ^^^^^^
              |
              = help: say where: ListenStream = 8000, "127.0.0.1:8000" or "/run/app.sock"

            error: Service: web.socket is not a service
             --> d.toml:3:11
              |
            3 | Service = 'web.socket'
              |           ^^^^^^^^^^^^
              |
              = help: Service takes names of units such as "db.service", or an array of them

            error: d.socket is for no service: it has no Service, and no other names it
             --> d.toml:3:11
              |
            3 | Service = 'web.socket'
              |           ^^^^^^^^^^^^
              |
              = help: say Service = "NAME.service", or put [Socket] into the service's own file

            error: e.socket is for w@.service, which is a template
             --> e.toml:3:11
              |
            3 | Service = 'w@.service'
              |           ^^^^^^^^^^^^
              |
              = help: a template never runs: name one instance, or say Accept = true in the socket of its name

            error: f.socket has Accept=yes, and there is no f@.service
             --> f.toml:3:10
              |
            3 | Accept = true
              |          ^^^^
              |
              = help: write f@.toml: each connection is an instance of it

            error: f.socket has Accept=yes, so it is for f@.service and for no other
             --> f.toml:4:11
              |
            4 | Service = 'web.service'
              |           ^^^^^^^^^^^^^
              |
              = help: take Service away

            error: g.socket has [Health], which is for a service
             --> g.toml:4:2
              |
            4 | [Health]
              |  ^^^^^^
              |
              = help: move it to the service's file

            error: own.service has a [Socket] of its own, which is for itself
             --> own.toml:5:11
              |
            5 | Service = 'web.service'
              |           ^^^^^^^^^^^^^
              |
              = help: Service= stands in a file that has [Socket] and no [Service]

            error: Sockets: x.service is not a socket
             --> web.toml:3:11
              |
            3 | Sockets = 'bb.socket x.service'
              |           ^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write x.socket

            error: web.service: Sockets names bb.socket, and there is no such unit
             --> web.toml:3:12
              |
            3 | Sockets = 'bb.socket x.service'
              |            ^^^^^^^^^

            12 errors: nothing was started
        "#]],
    );
}

#[test]
fn addresses_that_are_none() {
    check_problems(
        &[(
            "web",
            &format!(
                "{APP}[Socket]
ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
ListenSequentialPacket = '80'
ListenFIFO = 'x'
FileDescriptorName = 'a:b'
SocketMode = 660
Backlog = -1
KeepAliveTimeSec = 5
TimeoutSec = 5
"
            ),
        )],
        expect![[r#"
            error: ListenStream: "localhost:80" is no address: "localhost" is a name
             --> web.toml:4:18
              |
            4 | ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
              |                  ^^^^^^^^^
              |
              = help: an address, not a name: 127.0.0.1:80, or [::1]:80

            error: ListenStream: "0" is no port
             --> web.toml:4:33
              |
            4 | ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
              |                                 ^
              |
              = help: a port is a number from 1 to 65535

            error: ListenStream: "70000" is no port
             --> web.toml:4:47
              |
            4 | ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
              |                                               ^^^^^
              |
              = help: a port is a number from 1 to 65535

            error: ListenStream: "run/x" is neither an address nor an absolute path
             --> web.toml:4:55
              |
            4 | ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
              |                                                       ^^^^^^^
              |
              = help: 8000, 127.0.0.1:8000, [::1]:8000, /run/app.sock or @name

            error: ListenStream: ":80" is no address
             --> web.toml:4:64
              |
            4 | ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
              |                                                                ^^^^^
              |
              = help: 80 for all addresses, or 127.0.0.1:80

            error: ListenStream: "%x" is neither an address nor an absolute path
             --> web.toml:4:71
              |
            4 | ListenStream = ['localhost:80', 0, '127.0.0.1:70000', 'run/x', ':80', '%%x']
              |                                                                       ^^^^^
              |
              = help: 8000, 127.0.0.1:8000, [::1]:8000, /run/app.sock or @name

            error: ListenSequentialPacket: "80" is no address of a sequential packet
             --> web.toml:5:26
              |
            5 | ListenSequentialPacket = '80'
              |                          ^^^^
              |
              = help: a path such as /run/app.sock, or @name

            error: ListenFIFO: "x" is not an absolute path
             --> web.toml:6:14
              |
            6 | ListenFIFO = 'x'
              |              ^^^
              |
              = help: a FIFO is a file, as in /run/app.fifo

            error: FileDescriptorName: "a:b" is not up to 255 ASCII characters without :
             --> web.toml:7:22
              |
            7 | FileDescriptorName = 'a:b'
              |                      ^^^^^
              |
              = help: FileDescriptorName takes a string

            error: SocketMode: 660 is a decimal number, and a mode is octal
             --> web.toml:8:14
              |
            8 | SocketMode = 660
              |              ^^^
              |
              = help: write 0o660 or "0660"

            error: Backlog: -1 is not in the range from 0 to 4294967295
             --> web.toml:9:11
              |
            9 | Backlog = -1
              |           ^^
              |
              = help: Backlog takes a whole number from 0

            error: KeepAliveTimeSec is not supported by this version of rinit
              --> web.toml:10:1
               |
            10 | KeepAliveTimeSec = 5
               | ^^^^^^^^^^^^^^^^
               |
               = help: it is refused so that nobody believes it holds

            note: TimeoutSec has no effect here: rinit runs no command for a socket
              --> web.toml:11:1
               |
            11 | TimeoutSec = 5
               | ^^^^^^^^^^

            12 errors, 1 note: nothing was started
        "#]],
    );
}

#[test]
fn two_sockets_on_one_address() {
    let socket = |lines: &str| format!("[Socket]\n{lines}\nService = 'web.service'\n");
    check_problems(
        &[
            ("a", &socket("ListenStream = [80, '127.0.0.1:81', '/run/a', '@a', '127.0.0.1:90']")),
            ("b", &socket("ListenStream = ['127.0.0.1:80', '[::1]:81', '@b', '/run/b']")),
            ("c", &socket("ListenStream = '0.0.0.0:81'\nListenFIFO = '/run/a'")),
            ("d", &socket("ListenStream = ['127.0.0.1:90', 91, 91]\nListenDatagram = [80, '@a']")),
            ("e", &socket("ListenStream = ['[::]:92', '0.0.0.0:92']\nBindIPv6Only = 'ipv6-only'")),
            ("f", &socket("ListenStream = ['[::]:93', '0.0.0.0:93']")),
            ("g", &socket("ListenStream = 94\nReusePort = true")),
            ("h", &socket("ListenStream = 94\nReusePort = true")),
            ("web", APP),
        ],
        expect![[r#"
            error: b.socket listens on 127.0.0.1:80, where a.socket does already
             --> b.toml:2:17
              |
            2 | ListenStream = ['127.0.0.1:80', '[::1]:81', '@b', '/run/b']
              |                 ^^^^^^^^^^^^^^
              |
             ::: a.toml:2:17
              |
            2 | ListenStream = [80, '127.0.0.1:81', '/run/a', '@a', '127.0.0.1:90']
              |                 -- a.socket listens here
              |
              = help: an IPv6 socket takes IPv4 as well: BindIPv6Only = "ipv6-only" keeps them apart

            error: c.socket listens on 0.0.0.0:81, where a.socket does already
             --> c.toml:2:16
              |
            2 | ListenStream = '0.0.0.0:81'
              |                ^^^^^^^^^^^^
              |
             ::: a.toml:2:21
              |
            2 | ListenStream = [80, '127.0.0.1:81', '/run/a', '@a', '127.0.0.1:90']
              |                     -------------- a.socket listens here
              |
              = help: with ReusePort = true in both the kernel would spread connections over them

            error: c.socket listens on /run/a, where a.socket does already
             --> c.toml:3:14
              |
            3 | ListenFIFO = '/run/a'
              |              ^^^^^^^^
              |
             ::: a.toml:2:37
              |
            2 | ListenStream = [80, '127.0.0.1:81', '/run/a', '@a', '127.0.0.1:90']
              |                                     -------- a.socket listens here
              |
              = help: take one of them away

            error: d.socket listens on 127.0.0.1:90, where a.socket does already
             --> d.toml:2:17
              |
            2 | ListenStream = ['127.0.0.1:90', 91, 91]
              |                 ^^^^^^^^^^^^^^
              |
             ::: a.toml:2:53
              |
            2 | ListenStream = [80, '127.0.0.1:81', '/run/a', '@a', '127.0.0.1:90']
              |                                                     -------------- a.socket listens here
              |
              = help: with ReusePort = true in both the kernel would spread connections over them

            error: d.socket listens twice on 91
             --> d.toml:2:37
              |
            2 | ListenStream = ['127.0.0.1:90', 91, 91]
              |                                     ^^
              |
             ::: d.toml:2:33
              |
            2 | ListenStream = ['127.0.0.1:90', 91, 91]
              |                                 -- d.socket listens here
              |
              = help: take one of them away

            error: f.socket listens twice on 0.0.0.0:93
             --> f.toml:2:28
              |
            2 | ListenStream = ['[::]:93', '0.0.0.0:93']
              |                            ^^^^^^^^^^^^
              |
             ::: f.toml:2:17
              |
            2 | ListenStream = ['[::]:93', '0.0.0.0:93']
              |                 --------- f.socket listens here
              |
              = help: an IPv6 socket takes IPv4 as well: BindIPv6Only = "ipv6-only" keeps them apart

            6 errors: nothing was started
        "#]],
    );
}

#[test]
fn instances_that_cannot_be() {
    let instances = format!("{APP}Instances = 2\n");
    check_problems(
        &[
            ("a", &format!("{APP}Instances = 0\n")),
            ("b", &format!("{APP}Instances = 'many'\n")),
            ("c", &format!("{APP}Instances = 5000\n")),
            ("d", "[Service]\nType = 'oneshot'\nExecStart = 'x'\nInstances = 2\n"),
            ("e@1", &instances),
            ("web", &instances),
            ("web@", APP),
            ("web@1", APP),
            ("f", &format!("{APP}RollingUpdate = 'Order=start-first'\n")),
            ("g", &format!("{instances}RollingUpdate = {{ Ordr = 'x', Parallelism = 0 }}\n")),
            (
                "h",
                &format!(
                    "{instances}RollingUpdate = 'Parallelism'\n[Unit]\nAfter = 'web-%i.service'\n"
                ),
            ),
            ("i", &format!("{instances}[Socket]\nListenStream = '800%i'\n")),
            ("j", &format!("{APP}Instances = 10\n[Health]\nTcp = '127.0.0.1:800%i'\n")),
            ("k", &format!("{instances}[Socket]\nListenStream = '/run/k'\nReusePort = true\n")),
        ],
        expect![[r#"
            error: Instances: 0 is not in the range from 1 to 4096
             --> a.toml:3:13
              |
            3 | Instances = 0
              |             ^
              |
              = help: [Install] Enabled = false keeps it from being started; rinitctl scale may go down to 0

            error: Instances: "many" is no number from 1 to 4096
             --> b.toml:3:13
              |
            3 | Instances = 'many'
              |             ^^^^^^
              |
              = help: Instances takes a whole number from 1, or "auto"

            error: Instances: 5000 is not in the range from 1 to 4096
             --> c.toml:3:13
              |
            3 | Instances = 5000
              |             ^^^^
              |
              = help: Instances takes a whole number from 1, or "auto"

            error: d.service is a oneshot, which has no instances
             --> d.toml:4:13
              |
            4 | Instances = 2
              |             ^
              |
              = help: use Type = "exec"

            error: e@1.service has Instances, and is an instance or a template itself
             --> e@1.toml:3:13
              |
            3 | Instances = 2
              |             ^
              |
              = help: with Instances e.toml is e@1.service, e@2.service, …

            warning: RollingUpdate has no effect: f.service has no Instances
             --> f.toml:3:17
              |
            3 | RollingUpdate = 'Order=start-first'
              |                 ^^^^^^^^^^^^^^^^^^^

            error: RollingUpdate: there is no Ordr
             --> g.toml:4:26
              |
            4 | RollingUpdate = { Ordr = 'x', Parallelism = 0 }
              |                          ^^^
              |
              = help: did you mean Order?

            error: RollingUpdate: 0 is not in the range from 1 to 4096
             --> g.toml:4:45
              |
            4 | RollingUpdate = { Ordr = 'x', Parallelism = 0 }
              |                                             ^
              |
              = help: RollingUpdate takes a table such as { Parallelism = 1, Order = "start-first" }

            error: RollingUpdate: "Parallelism" is not KEY=VALUE
             --> h.toml:4:18
              |
            4 | RollingUpdate = 'Parallelism'
              |                  ^^^^^^^^^^^
              |
              = help: as in Parallelism=1 Order=start-first

            error: After: "web-%i.service" is another one for each instance, which After cannot
             --> h.toml:6:9
              |
            6 | After = 'web-%i.service'
              |         ^^^^^^^^^^^^^^^^
              |
              = help: After is the service's, for all its instances

            error: ListenStream: "800%i" is another one for each instance, which ListenStream cannot
             --> i.toml:5:16
              |
            5 | ListenStream = '800%i'
              |                ^^^^^^^
              |
              = help: ListenStream is the service's, for all its instances

            error: for j@10.service: "80010" is no port
             --> j.toml:5:7
              |
            5 | Tcp = '127.0.0.1:800%i'
              |       ^^^^^^^^^^^^^^^^^

            error: ReusePort of k.service is for ports, not for paths and names
             --> k.toml:6:13
              |
            6 | ReusePort = true
              |             ^^^^
              |
             ::: k.toml:5:16
              |
            5 | ListenStream = '/run/k'
              |                -------- not a port
              |
              = help: instances share a socket without it; or put the port into another file

            error: web.service has Instances, and there is the template web@.service beside it
             --> web.toml:3:13
              |
            3 | Instances = 2
              |             ^
              |
             ::: web@.toml:1:1
              |
            1 | [Service]
              | - web@.service is here
              |
              = help: its instances are web@1.service, …: give one of them another name

            error: web.service has Instances, and there is the unit web@1.service beside it
             --> web.toml:3:13
              |
            3 | Instances = 2
              |             ^
              |
             ::: web@1.toml:1:1
              |
            1 | [Service]
              | - web@1.service is here
              |
              = help: its instances are web@1.service, …: give one of them another name

            14 errors, 1 warning: nothing was started
        "#]],
    );
}

#[test]
fn readiness_and_health_that_cannot_be() {
    let socket = "[Socket]\nListenStream = ";
    check_problems(
        &[
            ("a", &format!("{APP}ReadyOn = 'accept'\n")),
            ("b", &format!("{APP}ReadyOn = 'listen'\n{socket}1\n")),
            ("c", &format!("{APP}NotificationFd = 2\n")),
            ("d", &format!("{APP}NotificationFd = 4\n{socket}[2, 3]\n")),
            ("d2", &format!("{APP}NotificationFd = 4\nFileDescriptorStoreMax = 2\n")),
            ("e", &format!("{APP}[Health]\nIntervalSec = 5\n")),
            ("f", &format!("{APP}[Health]\nHttp = '/x'\nTcp = 5\n")),
            ("g", &format!("{APP}[Health]\nHttp = '/x'\n")),
            ("h", &format!("{APP}[Health]\nHttp = 'https://localhost/x'\n")),
            ("i", &format!("{APP}[Health]\nHttp = 'http://db/x'\nRetries = 0\nTimeoutSec = 0\n")),
            ("j", &format!("{APP}Instances = 2\n{socket}4\n[Health]\nHttp = '/x'\n")),
            (
                "k",
                &format!(
                    "{APP}Instances = 2\n{socket}5\nReusePort = true\n[Health]\nHttp = '/x'\n"
                ),
            ),
            ("l", &format!("{APP}StandardInput = 'socket'\n{socket}[6, 7]\n")),
            ("m", &format!("{APP}StandardInput = 'socket'\n")),
            ("n", &format!("{APP}{socket}'/run/n'\nDeferAcceptSec = 5\n")),
            (
                "o",
                "[Service]\nType = 'oneshot'\nExecStart = 'x'\nWatchdogSec = 5\n[Health]\nTcp = 5\n",
            ),
            ("p", &format!("{APP}ReloadSignal = 'HUP'\nGuessMainPID = true\nPIDFile = '/run/'\n")),
            ("q", &format!("{APP}[Health]\nExec = 'a ; b'\n")),
            ("r", &format!("{APP}ForwardSignals = 'USR1 KILL NOPE'\n")),
            ("s", &format!("{APP}Type = 'notify'\nNotifyAccess = 'mani'\n")),
        ],
        expect![[r#"
            error: ReadyOn of a.service needs a socket that takes connections
             --> a.toml:3:11
              |
            3 | ReadyOn = 'accept'
              |           ^^^^^^^^
              |
              = help: with [Socket] ListenStream = … rinit holds the port for it

            error: ReadyOn: "listen" is not one of its words
             --> b.toml:3:11
              |
            3 | ReadyOn = 'listen'
              |           ^^^^^^^^
              |
              = help: ReadyOn takes one of accept

            error: NotificationFd: 2 is not in the range from 3 to 1023
             --> c.toml:3:18
              |
            3 | NotificationFd = 2
              |                  ^
              |
              = help: NotificationFd takes a whole number from 3 to 1023

            error: NotificationFd=4 of d.service is one of the descriptors that it is passed
             --> d.toml:3:18
              |
            3 | NotificationFd = 4
              |                  ^
              |
              = help: its sockets and what it stores are from 3 on: take 5 or more

            error: NotificationFd=4 of d2.service is one of the descriptors that it is passed
             --> d2.toml:3:18
              |
            3 | NotificationFd = 4
              |                  ^
              |
              = help: its sockets and what it stores are from 3 on: take 5 or more

            error: [Health] of e.service says nothing to ask
             --> e.toml:3:2
              |
            3 | [Health]
              |  ^^^^^^
              |
              = help: give Http = "/healthz", Tcp =, Exec =, or StallSec =

            error: f.service has both Http and Tcp
             --> f.toml:5:7
              |
            5 | Tcp = 5
              |       ^
              |
             ::: f.toml:4:8
              |
            4 | Http = '/x'
              |        ---- Http
              |
              = help: one check says whether it is well: keep one

            error: Http=/x of g.service needs a TCP socket of the service
             --> g.toml:4:8
              |
            4 | Http = '/x'
              |        ^^^^
              |
              = help: add [Socket] ListenStream = 8000, or give a whole URL: http://127.0.0.1:8000/x

            error: Http: rinit speaks no TLS, so https cannot be asked
             --> h.toml:4:9
              |
            4 | Http = 'https://localhost/x'
              |         ^^^^^
              |
              = help: ask a plain port, or use Exec= with a program that can

            error: Http: "db" is neither an address nor localhost
             --> i.toml:4:16
              |
            4 | Http = 'http://db/x'
              |                ^^
              |
              = help: rinit looks no name up: an init must not wait for a resolver

            error: Retries: 0 is not in the range from 1 to 4294967295
             --> i.toml:5:11
              |
            5 | Retries = 0
              |           ^
              |
              = help: Retries takes a whole number from 1

            error: TimeoutSec: it has to be more than 0
             --> i.toml:6:14
              |
            6 | TimeoutSec = 0
              |              ^
              |
              = help: TimeoutSec takes a time span such as "5s"

            note: the health check of j.service reaches any of its instances, so it speaks for the service and no instance is judged by it
             --> j.toml:7:8
              |
            7 | Http = '/x'
              |        ^^^^
              |
              = help: for each by itself: ReusePort = true, Exec =, or a port with %i in a URL

            error: l.service has StandardInput=socket, and gets 2 sockets
             --> l.toml:3:17
              |
            3 | StandardInput = 'socket'
              |                 ^^^^^^^^
              |
              = help: it takes exactly one: [Socket] with one ListenStream

            error: m.service has StandardInput=socket, and gets 0 sockets
             --> m.toml:3:17
              |
            3 | StandardInput = 'socket'
              |                 ^^^^^^^^
              |
              = help: it takes exactly one: [Socket] with one ListenStream

            warning: DeferAcceptSec has no effect: it is for TCP
             --> n.toml:5:18
              |
            5 | DeferAcceptSec = 5
              |                  ^

            warning: WatchdogSec has no effect: o.service is a oneshot
             --> o.toml:4:15
              |
            4 | WatchdogSec = 5
              |               ^

            error: o.service is a oneshot, which has no health
             --> o.toml:5:2
              |
            5 | [Health]
              |  ^^^^^^
              |
              = help: use Type = "exec"

            warning: ReloadSignal has no effect: it is for Type=notify-reload
             --> p.toml:3:16
              |
            3 | ReloadSignal = 'HUP'
              |                ^^^^^

            warning: GuessMainPID has no effect: it is for Type=forking
             --> p.toml:4:16
              |
            4 | GuessMainPID = true
              |                ^^^^

            error: PIDFile: "/run/" is not the path of a file
             --> p.toml:5:11
              |
            5 | PIDFile = '/run/'
              |           ^^^^^^^
              |
              = help: PIDFile takes a path such as "/run/app"

            error: Exec: a health check is one command
             --> q.toml:4:8
              |
            4 | Exec = 'a ; b'
              |        ^^^^^^^
              |
              = help: a ; begins another

            error: ForwardSignals: "NOPE" is no signal
             --> r.toml:3:18
              |
            3 | ForwardSignals = 'USR1 KILL NOPE'
              |                  ^^^^^^^^^^^^^^^^
              |
              = help: a name such as SIGTERM, RTMIN+3, or a number from 1 to 64

            error: ForwardSignals: SIGKILL cannot be forwarded
             --> r.toml:3:18
              |
            3 | ForwardSignals = 'USR1 KILL NOPE'
              |                  ^^^^^^^^^^^^^^^^
              |
              = help: ForwardSignals takes signals such as "SIGUSR1 SIGUSR2", or an array of them

            error: NotifyAccess: "mani" is not one of its words
             --> s.toml:4:16
              |
            4 | NotifyAccess = 'mani'
              |                ^^^^^^
              |
              = help: did you mean main?

            20 errors, 4 warnings, 1 note: nothing was started
        "#]],
    );
}
