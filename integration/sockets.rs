//! Sockets that rinit holds: opened before anything runs, kept over every life, closed at the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use serde_json::json;

use crate::harness::varlink::Varlink;
use crate::harness::{Rinit, processes};

/// A port that nobody uses just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn server(port: u16, service: &str, socket: &str) -> String {
    format!(
        "[Service]\nExecStart = \"@probe@ serve 3\"\n{service}\n\
         [Socket]\nListenStream = \"127.0.0.1:{port}\"\n{socket}\n"
    )
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Connects, speaks, and reads the answer: the pid and the number of the instance.
fn ask(port: u16) -> std::io::Result<(i32, String)> {
    let mut stream = TcpStream::connect(address(port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    talk(&mut stream)
}

fn talk(stream: &mut (impl Read + Write)) -> std::io::Result<(i32, String)> {
    stream.write_all(b"hello")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let mut words = answer.split_whitespace();
    let pid = words.next().and_then(|pid| pid.parse().ok());
    let pid = pid.ok_or_else(|| std::io::Error::from(ErrorKind::UnexpectedEof))?;
    Ok((pid, words.next().unwrap_or_default().to_string()))
}

const ALWAYS: &str = "Restart = \"always\"\nRestartSec = \"5ms\"\nRestartMaxDelaySec = \"5ms\"";
const NO_LIMIT: &str = "[Unit]\nStartLimitIntervalSec = 0\n";

/// Whoever connects while no process is there waits in the queue, and is served by the next.
#[test]
fn a_service_killed_fifty_times_refuses_nobody() {
    let port = free_port();
    let unit = format!("{NO_LIMIT}{}", server(port, ALWAYS, ""));
    let mut rinit = Rinit::subreaper().unit("web", &unit).start();
    rinit.wait_line_with("serving ");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let (pid, _) = ask(port).expect("served");
        assert!(seen.insert(pid), "a new process each time");
        processes::kill(pid, libc::SIGKILL);
        // It may be dead or dying: either way the connection is the successor's.
        while processes::process(pid).is_some_and(|process| !process.is_zombie()) {
            std::thread::yield_now();
        }
    }
    rinit.terminate().assert_code(0);
}

/// Says when it runs, waits for the word in a FIFO, and only then for connections.
const LATE_LISTENER: &str = "
import select, sys
print('loading', flush=True)
open(sys.argv[1]).read()
waits = select.epoll()
waits.register(3, select.EPOLLIN)
waits.poll()
";

/// Neither between fork and exec, when it still has rinit's own listening sockets, nor while it
/// loads.
#[test]
fn who_does_not_wait_for_connections_yet_is_not_ready() {
    let unit = format!(
        "{NO_LIMIT}[Service]\nExecStart = \"/usr/bin/env python3 @dir@/late.py @dir@/go\"\n\
         ReadyOn = \"accept\"\n{ALWAYS}\n[Socket]\nListenStream = \"127.0.0.1:{}\"\n",
        free_port()
    );
    let init = Rinit::subreaper().options(&["--socket", "@dir@/control"]).unit("web", &unit);
    std::fs::write(init.path("late.py"), LATE_LISTENER).unwrap();
    let go = init.path("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = init.start();
    for _ in 0..10 {
        rinit.wait_line("loading");
        let mut control = Varlink::connect(&rinit.path("control")).unwrap();
        let state = control.get("Describe", json!({ "unit": "web.service" }));
        assert_eq!(state["properties"]["SubState"], "start", "{state}");
        std::fs::write(&go, "").unwrap(); // opens once it reads
        rinit.wait_state("web", "running");
        let loaded = rinit.processes().into_iter().find(|process| process.ppid == rinit.pid);
        processes::kill(loaded.unwrap().pid, libc::SIGKILL);
    }
    rinit.terminate().assert_code(0);
}

#[test]
fn the_descriptors_and_their_names() {
    let (one, two) = (free_port(), free_port());
    let unit = format!(
        "[Service]\nExecStart = \"@probe@ report env LISTEN_FDS env LISTEN_FDNAMES wait\"\n\
         ExecStartPre = \"@probe@ env LISTEN_FDS\"\n\
         [Socket]\nListenStream = [\"127.0.0.1:{one}\", \"@dir@/app.sock\"]\n\
         ListenDatagram = \"127.0.0.1:{two}\"\nFileDescriptorName = \"http\"\n"
    );
    let mut rinit = Rinit::subreaper().unit("web", &unit).start();
    rinit.wait_line("(unset)"); // ExecStartPre= gets none
    let report = rinit.wait_report();
    assert_eq!(report.fds(), [0, 1, 2, 3, 4, 5]);
    let pid = report.number("pid").to_string();
    assert_eq!(report.env("LISTEN_PID"), Some(pid.as_str()));
    rinit.wait_line("3");
    rinit.wait_line("http:http:http");
    rinit.terminate().assert_code(0);
}

#[test]
fn a_stop_serves_who_is_queued_and_refuses_the_next() {
    let port = free_port();
    let rinit = Rinit::subreaper();
    // The signal of the stop waits for us: the server knows nothing better than to die of it.
    let gate = rinit.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let unit = server(port, &format!("ExecStop = \"@probe@ read {}\"", gate.display()), "");
    let mut rinit = rinit.unit("web", &unit).start();
    rinit.wait_line_with("serving ");
    let mut early = TcpStream::connect(address(port)).unwrap();
    rinit.signal(libc::SIGTERM);
    rinit.wait_state("web", "stop");
    // Refused from the moment that the stop is known, though the process still serves.
    let refused = TcpStream::connect(address(port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    talk(&mut early).expect("who was there before is served");
    std::fs::write(gate, "").unwrap();
    rinit.wait().assert_code(0);
}

#[test]
fn an_address_in_use_fails_the_start_and_says_so() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let unit = server(port, "", "");
    let outcome = Rinit::subreaper().plain().unit("web", &unit).run();
    outcome.assert_code(1);
    let sentence = format!(
        "rinit: web.service: not started: ListenStream=127.0.0.1:{port}: bind 127.0.0.1:{port}: \
         Address already in use (another process listens there)"
    );
    outcome.assert_stderr(&[&sentence]);
}

#[test]
fn the_first_connection_starts_what_is_on_demand() {
    let port = free_port();
    let unit = server(port, "", "[Install]\nEnabled = false");
    let mut rinit =
        Rinit::subreaper().unit("lazy", &unit).service("web", "say up wait", "").start();
    rinit.wait_line("up");
    let (first, _) = ask(port).expect("started by it");
    processes::kill(first, libc::SIGTERM);
    rinit.wait_state("lazy", "dead");
    let (second, _) = ask(port).expect("started again");
    assert_ne!(first, second);
    rinit.terminate().assert_code(0);
}

#[test]
fn a_socket_unit_and_its_service() {
    let port = free_port();
    let socket = format!(
        "[Socket]\nListenStream = \"127.0.0.1:{port}\"\nFileDescriptorName = \"front\"\n\
         Service = \"web.service\"\n"
    );
    let service = "[Service]\nExecStart = \"@probe@ env LISTEN_FDNAMES serve 3\"\n\
                   [Install]\nEnabled = false\n";
    let rinit = Rinit::subreaper().unit("front", &socket).unit("web", service);
    let mut rinit = rinit.start();
    rinit.wait_state("front.socket", "listening");
    ask(port).expect("started by it");
    rinit.wait_line("front");
    rinit.terminate().assert_code(0);
}

#[test]
fn a_path_has_its_mode_and_goes_with_the_socket() {
    let text = |remove: bool| {
        format!(
            "[Service]\nExecStart = \"@probe@ serve 3\"\n[Socket]\n\
             ListenStream = \"@dir@/run/app.sock\"\nSocketMode = \"0600\"\nRemoveOnStop = {remove}\n"
        )
    };
    let setup = Rinit::subreaper().unit("web", &text(true));
    let path = setup.path("run/app.sock");
    let mut rinit = setup.start();
    rinit.wait_line_with("serving ");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    talk(&mut UnixStream::connect(&path).unwrap()).expect("served");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(!path.exists(), "RemoveOnStop=");
}

#[test]
fn a_stale_path_is_replaced_and_a_living_one_is_not() {
    let unit = "[Service]\nExecStart = \"@probe@ serve 3\"\n\
                [Socket]\nListenStream = \"@dir@/app.sock\"\n";
    let setup = Rinit::subreaper().unit("web", unit);
    let path = setup.path("app.sock");
    drop(UnixListener::bind(&path).unwrap()); // its file stays
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    let mut rinit = setup.start();
    rinit.wait_line_with("serving ");
    talk(&mut UnixStream::connect(&path).unwrap()).expect("served");
    rinit.terminate().assert_code(0);
    let setup = Rinit::subreaper().plain().unit("web", unit);
    let path = setup.path("app.sock");
    let _other = UnixListener::bind(&path).unwrap();
    setup.run().assert_code(1).assert_stderr(&["Address already in use"]);
}

#[test]
fn the_socket_is_standard_input() {
    let port = free_port();
    let streams = "StandardInput = \"socket\"\nStandardOutput = \"null\"";
    let unit = server(port, streams, "").replace("serve 3", "serve 0");
    let mut rinit = Rinit::subreaper().unit("web", &unit).start();
    rinit.wait_state("web", "running");
    ask(port).expect("served on descriptor 0");
    rinit.terminate().assert_code(0);
}

#[test]
fn a_command_with_a_socket() {
    let port = free_port();
    let option = format!("ListenStream=127.0.0.1:{port}");
    let rinit = Rinit::subreaper().options(&["-p", &option]).command_probe("serve 3");
    let mut rinit = rinit.start();
    rinit.wait_line_with("serving ");
    ask(port).expect("served");
    rinit.signal(libc::SIGTERM);
    rinit.wait().assert_code(0);
}

/// As `systemd-socket-activate` starts a program: the socket is there before rinit is. A unit
/// claims it by its name whatever address it says, or by the address.
#[test]
fn a_socket_that_a_parent_holds_is_claimed() {
    let port = free_port();
    let pass = |name: &str| format!("{name}=127.0.0.1:{port}");
    for (name, address) in [("web", free_port()), ("other", port)] {
        let unit = server(address, "", "");
        let setup = Rinit::subreaper().unit("web", &unit).launch(&["--listen", &pass(name)]);
        let mut rinit = setup.start();
        rinit.wait_line_with("serving ");
        ask(port).expect("served on the socket of the parent");
        rinit.terminate().assert_code(0);
    }
    let setup = Rinit::subreaper().plain().launch(&["--listen", &pass("nobodys")]);
    let outcome = setup.service("web", "exit 0", "Restart = \"no\"").run();
    let line = format!("the inherited socket \"nobodys\" at 127.0.0.1:{port} is no unit's; closed");
    outcome.assert_stderr(&[&line]);
}
