//! `Accept=yes`: rinit takes the connections, and starts a service for each.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::Rinit;
use crate::harness::event::Event;
use crate::harness::varlink::Varlink;
use crate::readme::shown;
use crate::require;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The template and its socket in one file.
fn template(port: u16, actions: &str, service: &str, socket: &str) -> String {
    format!(
        "[Service]\nExecStart = \"@probe@ {actions}\"\n{service}\n\
         [Socket]\nListenStream = \"127.0.0.1:{port}\"\nAccept = true\n{socket}\n"
    )
}

/// As inetd has it.
const STREAMS: &str = "StandardInput = \"socket\"\nStandardOutput = \"socket\"";
const NO_LIMITS: &str = "PollLimitBurst = 0\nTriggerLimitIntervalSec = 0";

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Says something, ends, and reads until the other end has closed.
fn echoed(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn each_connection_has_a_service() {
    let port = free_port();
    let unit = template(port, "cat", STREAMS, NO_LIMITS);
    let mut rinit = Rinit::subreaper().unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    let mut open: Vec<TcpStream> = (0..3).map(|_| connect(port)).collect();
    for (number, stream) in open.iter_mut().enumerate().rev() {
        let text = format!("hello {number}");
        assert_eq!(echoed(stream, &text), text);
    }
    rinit.terminate().assert_code(0);
}

#[test]
fn it_is_told_what_it_serves() {
    let port = free_port();
    let unit = template(port, "report say %i close 3 wait", "", "");
    let mut rinit = Rinit::subreaper().unit("one@", &unit).start();
    rinit.wait_state("one.socket", "listening");
    let mut stream = connect(port);
    let report = rinit.wait_report();
    let own = stream.local_addr().unwrap().port();
    assert_eq!(report.fds(), [0, 1, 2, 3]);
    for (name, value) in [
        ("LISTEN_FDS", "1"),
        ("LISTEN_FDNAMES", "connection"),
        ("LISTEN_PID", &report.number("pid").to_string()),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", &own.to_string()),
    ] {
        assert_eq!(report.env(name), Some(value), "{name}");
    }
    rinit.wait_line(&format!("0-127.0.0.1:{port}-127.0.0.1:{own}"));
    // The service is the only one that has it: when it closes it, it is closed.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    rinit.terminate().assert_code(0);
}

#[test]
fn a_path_and_a_socket_in_a_file_of_its_own() {
    let socket = "[Socket]\nListenStream = \"@dir@/app.sock\"\nAccept = true\n";
    let service = "[Service]\nExecStart = \"@probe@ say %i cat\"\n\
                   StandardInput = \"socket\"\nStandardOutput = \"journal\"\n";
    let rinit = Rinit::subreaper().unit("app", socket).unit("app@", service);
    let path = rinit.path("app.sock");
    let mut rinit = rinit.start();
    rinit.wait_state("app.socket", "listening");
    let mut stream = UnixStream::connect(path).unwrap();
    let me = std::process::id();
    rinit.wait_line(&format!("0-{me}-{}", nix::unistd::getuid()));
    stream.write_all(b"over\n").unwrap();
    rinit.wait_line("over");
    rinit.terminate().assert_code(0);
}

/// A connection of packets is one, too.
#[test]
fn sequential_packets() {
    use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};
    let socket = "[Socket]\nListenSequentialPacket = \"@dir@/app.sock\"\nAccept = true\n";
    let service = format!("[Service]\nExecStart = \"@probe@ cat\"\n{STREAMS}\n");
    let rinit = Rinit::subreaper().unit("app", socket).unit("app@", &service);
    let path = rinit.path("app.sock");
    let mut rinit = rinit.start();
    rinit.wait_state("app.socket", "listening");
    let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    let client = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::connect(client.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    for text in ["one", "two"] {
        let mut answer = [0; 16];
        socket::send(client.as_raw_fd(), text.as_bytes(), MsgFlags::empty()).unwrap();
        let size = socket::recv(client.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
        assert_eq!(&answer[..size], text.as_bytes());
    }
    rinit.terminate().assert_code(0);
}

/// One too many is closed at once, and served when it comes again.
#[test]
fn so_many_at_once() {
    let port = free_port();
    let unit = template(port, "cat", STREAMS, "MaxConnections = 1");
    let mut rinit = Rinit::subreaper().unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    let mut first = connect(port);
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0]).unwrap(); // it is being served
    let mut second = connect(port);
    let mut answer = Vec::new();
    let closed = second.read_to_end(&mut answer);
    let waited = closed.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(!waited && answer.is_empty(), "{closed:?} {answer:?}");
    rinit.wait_message(
        "a connection from 127.0.0.1 was closed: there are 1 already (MaxConnections=1)",
    );
    assert_eq!(echoed(&mut first, "y"), "y");
    rinit.wait_event("the end of the first", |event| came_to(event, "echo@0", "dead"));
    assert_eq!(echoed(&mut connect(port), "z"), "z");
    rinit.terminate().assert_code(0);
}

/// Those that come too fast wait, and are served.
#[test]
fn a_flood_waits() {
    let port = free_port();
    let limit = "PollLimitBurst = 2\nPollLimitIntervalSec = \"50ms\"";
    let unit = template(port, "cat", STREAMS, limit);
    let mut rinit = Rinit::subreaper().unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    let mut open: Vec<TcpStream> = (0..7).map(|_| connect(port)).collect();
    rinit.wait_message("echo.socket: 2 connections within 50ms (PollLimitBurst=): the next wait");
    for stream in &mut open {
        assert_eq!(echoed(stream, "hello"), "hello");
    }
    rinit.terminate().assert_code(0);
}

/// No descriptor is left: that is said, nobody is lost, and each is served when there is room: those
/// who were taken first, so that no newcomer takes the room that they wait for.
#[test]
fn no_descriptor_is_left() {
    let port = free_port();
    // A pipe of each is rinit's.
    let streams = format!("{STREAMS}\nStandardError = \"journal\"");
    let unit = template(port, "cat", &streams, NO_LIMITS);
    let setup = Rinit::subreaper().launch(&["--limit", "nofile=32:32"]).unit("echo@", &unit);
    let mut rinit = setup.start();
    rinit.wait_state("echo.socket", "listening");
    let mut clients: Vec<TcpStream> = (0..40).map(|_| connect(port)).collect();
    rinit.wait_message("Too many open files");
    // Each that goes makes room for one that waits.
    for (number, client) in clients.iter_mut().enumerate() {
        let text = format!("hello {number}");
        assert_eq!(echoed(client, &text), text);
    }
    rinit.terminate().assert_code(0);
}

/// A client that has reset its connection before it was taken is nobody's business.
#[test]
fn who_has_gone_again_is_nobody() {
    let port = free_port();
    let mut rinit = Rinit::subreaper().unit("echo@", &template(port, "cat", STREAMS, "")).start();
    rinit.wait_state("echo.socket", "listening");
    rinit.signal(libc::SIGSTOP);
    for _ in 0..3 {
        reset(connect(port));
    }
    let mut last = connect(port);
    rinit.signal(libc::SIGCONT);
    assert_eq!(echoed(&mut last, "hello"), "hello");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let started = outcome.starts("ExecStart");
    outcome.assert(started.len() == 1, &format!("one was started: {started:?}"));
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

/// One address is not left out for another at which many connect.
#[test]
fn each_address_has_its_turn() {
    let (crowded, quiet) = (free_port(), free_port());
    let limits = "PollLimitBurst = 2\nPollLimitIntervalSec = \"1h\"";
    let both = format!("ListenStream = [\"127.0.0.1:{crowded}\", \"127.0.0.1:{quiet}\"]");
    let unit = template(crowded, "cat", STREAMS, limits);
    let unit = unit.replace(&format!("ListenStream = \"127.0.0.1:{crowded}\""), &both);
    let mut rinit = Rinit::subreaper().unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    rinit.signal(libc::SIGSTOP);
    let _crowd: Vec<TcpStream> = (0..5).map(|_| connect(crowded)).collect();
    let mut one = connect(quiet);
    rinit.signal(libc::SIGCONT);
    assert_eq!(echoed(&mut one, "hello"), "hello");
    rinit.terminate().assert_code(0);
}

/// New options make a new socket, from which connections are taken as from the old one.
#[test]
fn a_socket_that_changed() {
    let port = free_port();
    let options = ["--socket", "@dir@/control"];
    let unit = template(port, "cat", STREAMS, "");
    let mut rinit = Rinit::subreaper().options(&options).unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    assert_eq!(echoed(&mut connect(port), "one"), "one");
    let probe = crate::harness::probe();
    let changed = template(port, "cat", STREAMS, "Backlog = 77").replace("@probe@", probe);
    std::fs::write(rinit.path("units/echo@.toml"), changed).unwrap();
    rinit.signal(libc::SIGHUP);
    rinit.wait_message("reload: 2 units read again");
    let mut control = Varlink::connect(&rinit.path("control")).unwrap();
    control.get("Restart", json!({ "unit": "echo.socket" }));
    assert_eq!(echoed(&mut connect(port), "two"), "two");
    drop(control);
    rinit.terminate().assert_code(0);
}

/// A server that was made for inetd.
#[test]
fn git_is_served() {
    require!("git");
    let port = free_port();
    let git = |arguments: &[&str]| {
        let author = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        let done = Command::new("git").args(author).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let service = "[Service]\nExecStart = \"git daemon --inetd --export-all --base-path=@dir@\"\n\
                   StandardInput = \"socket\"\nStandardError = \"journal\"\n";
    let socket = format!("[Socket]\nListenStream = \"127.0.0.1:{port}\"\nAccept = true\n");
    let rinit = Rinit::subreaper().unit("git@", service).unit("git", &socket);
    let repository = rinit.path("one");
    let repository = repository.to_str().unwrap();
    git(&["init", "-q", repository]);
    git(&["-C", repository, "commit", "-q", "--allow-empty", "-m", "first"]);
    let head = git(&["-C", repository, "rev-parse", "HEAD"]);
    let mut rinit = rinit.start();
    rinit.wait_state("git.socket", "listening");
    for _ in 0..3 {
        let found = git(&["ls-remote", &format!("git://127.0.0.1:{port}/one"), "HEAD"]);
        assert_eq!(found, format!("{}\tHEAD\n", head.trim()));
    }
    rinit.terminate().assert_code(0);
}

/// The README's.
#[test]
fn the_example() {
    let port = free_port();
    let unit = shown("accept").replace("127.0.0.1:7007", &format!("127.0.0.1:{port}"));
    let mut rinit = Rinit::subreaper().unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    assert_eq!(echoed(&mut connect(port), "hello"), "hello");
    rinit.terminate().assert_code(0);
}

/// Neither a descriptor nor a unit is left of hundreds.
#[test]
fn nothing_is_left_of_a_connection() {
    let port = free_port();
    let unit = template(port, "cat", STREAMS, NO_LIMITS);
    let options = ["--socket", "@dir@/control"];
    let mut rinit = Rinit::subreaper().options(&options).unit("echo@", &unit).start();
    rinit.wait_state("echo.socket", "listening");
    assert_eq!(echoed(&mut connect(port), "first"), "first");
    rinit.wait_event("the end", |event| came_to(event, "echo@0-", "dead"));
    let before = open_files(rinit.pid);
    for _ in 0..300 {
        assert_eq!(echoed(&mut connect(port), "more"), "more");
    }
    rinit.wait_event("the last end", |event| came_to(event, "echo@300-", "dead"));
    let mut control = Varlink::connect(&rinit.path("control")).unwrap();
    let units = control.get("List", json!({}));
    let names: Vec<&str> = units["units"].as_array().unwrap().iter().map(name_of).collect();
    assert_eq!(names, ["echo.socket", "echo@.service"]);
    drop(control);
    // The last pipes to the journal may be open yet.
    let after = open_files(rinit.pid);
    assert!(after < before + 10, "{before} files were open, and now {after}");
    rinit.terminate().assert_code(0);
}

/// Failures of those that serve connections are theirs: rinit stays, and ends well.
#[test]
fn a_connection_that_fails_ends_nothing_else() {
    let port = free_port();
    let mut rinit = Rinit::subreaper().unit("bad@", &template(port, "exit 7", "", "")).start();
    rinit.wait_state("bad.socket", "listening");
    for number in 0..3 {
        let mut answer = Vec::new();
        let _ = connect(port).read_to_end(&mut answer);
        let name = format!("bad@{number}-");
        rinit.wait_event("a failure", |event| came_to(event, &name, "failed"));
    }
    rinit.terminate().assert_code(0);
}

/// SIGTERM reaches those that serve, and their clients see the end.
#[test]
fn a_stop_ends_who_is_served() {
    let port = free_port();
    let unit = template(port, "say up wait", "", "");
    let mut rinit = Rinit::pid1().unit("long@", &unit).start();
    rinit.wait_state("long.socket", "listening");
    let mut stream = connect(port);
    rinit.wait_line("up");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"");
}

fn came_to(event: &Event, unit: &str, state: &str) -> bool {
    event.text("event") == "state"
        && event.text("unit").starts_with(unit)
        && event.text("to") == state
}

fn open_files(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn name_of(unit: &serde_json::Value) -> &str {
    unit["unit"].as_str().unwrap_or_default()
}
