//! `--http`: what probes, Prometheus and a browser get, and what a bad client cannot do.
//!
//! `page` is read by a real browser, `metrics` by Prometheus' own parser.

mod metrics;
mod page;
mod proxy;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::json;

use crate::harness::varlink::Varlink;
use crate::harness::{DEADLINE, Rinit, Running, processes};
use crate::http::{self, Response};

/// An address that is free just now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// With HTTP on a port of its own.
fn served(rinit: Rinit) -> (Rinit, SocketAddr) {
    let address = free_address();
    (rinit.options(&["--http", &address.port().to_string()]), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn get(address: SocketAddr, path: &str) -> Response {
    http::get(connect(address), path)
}

/// Status and body.
#[track_caller]
fn assert_says(address: SocketAddr, path: &str, status: u16, body: &str) {
    let answer = get(address, path);
    assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
}

/// Sends bytes, and reads to the end.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    let _ = stream.write_all(request);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn main_pid(rinit: &Running, unit: &str) -> i32 {
    let mut control = Varlink::connect(&rinit.path("control")).unwrap();
    let unit = control.get("Describe", json!({ "unit": format!("{unit}.service") }));
    i32::try_from(unit["properties"]["MainPID"].as_i64().unwrap()).unwrap()
}

/// A step, an app, a drain: ready between the last step and the first sign of the end.
#[test]
fn ready_from_the_boot_to_the_drain() {
    let step = "Type = \"oneshot\"";
    let (setup, address) = served(Rinit::subreaper());
    let setup = setup
        .service("10-step", "read @dir@/gate", step)
        .service("web", "say up wait", "")
        .unit("rinit.toml", "[Manager]\nDrainSec = \"50s\"\nShutdownTimeoutSec = \"100s\"\n")
        .options(&["--socket", "@dir@/control"]);
    let gate = setup.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = setup.start();
    rinit.wait_start("10-step", "ExecStart");
    let failed = "[-]10-step.service activating (start)\n[-]web.service inactive (dead)\n\
        readyz check failed\n";
    assert_says(address, "/readyz", 503, failed);
    assert_says(address, "/livez", 200, "ok\n");
    std::fs::write(&gate, "open\n").unwrap();
    rinit.wait_message("boot done");
    assert_says(address, "/readyz", 200, "ok\n");
    let passed = "[+]10-step.service finished\n[+]web.service active (running)\n\
        readyz check passed\n";
    assert_says(address, "/readyz?verbose", 200, passed);
    let web = main_pid(&rinit, "web");

    rinit.signal(libc::SIGTERM);
    rinit.wait_message("stopping");
    let draining = "[-]rinit draining: send no more traffic\nreadyz check failed\n";
    assert_says(address, "/readyz", 503, draining);
    assert_says(address, "/livez", 200, "ok\n");
    // The app serves on. Its end is the drain's.
    processes::kill(web, libc::SIGKILL);
    let outcome = rinit.wait();
    outcome.assert_code(0);
    outcome.assert(outcome.n_starts("web") == 1, "not started again");
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

/// Between two runs of what counts: 503. What the container can do without does not count.
#[test]
fn a_failing_unit_counts_if_it_is_essential() {
    let (setup, address) = served(Rinit::subreaper());
    let restart = "Restart = \"always\"\nRestartSec = \"1h\"\nRestartMaxDelaySec = \"1h\"\n";
    let optional = format!(
        "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 1\"\n{restart}"
    );
    let setup = setup
        .service("web", "say up wait", restart)
        .unit("extra", &optional)
        .options(&["--socket", "@dir@/control"]);
    let mut rinit = setup.start();
    rinit.wait_message("boot done");
    rinit.wait_state("extra", "auto-restart");
    assert_says(address, "/readyz", 200, "ok\n");
    processes::kill(main_pid(&rinit, "web"), libc::SIGKILL);
    rinit.wait_state("web", "auto-restart");
    let failed = "[-]web.service activating (auto-restart)\nreadyz check failed\n";
    assert_says(address, "/readyz", 503, failed);
    let mut control = Varlink::connect(&rinit.path("control")).unwrap();
    control.get("Start", json!({ "unit": "web.service" }));
    assert_says(address, "/readyz", 200, "ok\n");
    rinit.terminate().assert_code(0);
}

/// Each mistake has its status, and the answer arrives although rinit does not read on.
#[test]
fn what_is_not_there_is_refused() {
    let (setup, address) = served(Rinit::subreaper().service("web", "say up wait", ""));
    let mut rinit = setup.start();
    rinit.wait_line("up");
    let long = "x".repeat(5000);
    let much = "x".repeat(40_000);
    for (request, status) in [
        ("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".to_string(), "200 OK"),
        ("GET /livez HTTP/1.0\r\n\r\n".to_string(), "200 OK"),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_string(), "404 Not Found"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_string(), "405 Method Not Allowed"),
        (
            format!("PUT /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n{much}"),
            "405 Method Not Allowed",
        ),
        ("GET /livez HTTP/1.1\r\n\r\n".to_string(), "400 Bad Request"),
        ("hello\r\n\r\n".to_string(), "400 Bad Request"),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "414 URI Too Long"),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {long}\r\n\r\n"),
            "431 Request Header Fields Too Large",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_string(), "505 HTTP Version Not Supported"),
    ] {
        let answer = exchange(address, request.as_bytes());
        let line = answer.lines().next().unwrap_or_default();
        assert_eq!(line, format!("HTTP/1.1 {status}"), "{}", &request[..request.len().min(60)]);
    }
    let head = exchange(address, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nDate: ") && head.ends_with("\r\n\r\n"), "{head}");
    let length = |head: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        line.unwrap().parse::<usize>().unwrap()
    };
    assert!(length(&head) > 1000, "of what GET would have: {head}");
    rinit.terminate().assert_code(0);
}

/// A request that never ends is answered by the clock; so is one that trickles.
#[test]
fn half_a_request_is_timed_out() {
    let (setup, address) = served(Rinit::subreaper().service("web", "say up wait", ""));
    let mut rinit = setup.start();
    rinit.wait_line("up");
    let mut slow = connect(address);
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
    assert_says(address, "/livez", 200, "ok\n");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    let mut silent = connect(address);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed without a word");
    rinit.terminate().assert_code(0);
}

/// 1,000 connections that say nothing, and 64 that take nothing: who asks is served throughout.
#[test]
fn silent_connections_starve_nobody() {
    let (mut setup, address) = served(Rinit::subreaper().service("web", "say up wait", ""));
    for number in 0..50 {
        setup = setup.service(&format!("extra-{number:02}"), "wait", "");
    }
    let mut rinit = setup.start();
    rinit.wait_message("boot done");
    let mut silent = Vec::new();
    for round in 0..10 {
        silent.extend((0..100).map(|_| connect(address)));
        assert_says(address, "/livez", 200, "ok\n");
        if round > 2 {
            silent.drain(..100);
        }
    }
    let deaf: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = connect(address);
            http::ask(&mut stream, "/metrics");
            stream
        })
        .collect();
    assert_says(address, "/readyz", 200, "ok\n");
    assert_eq!(get(address, "/metrics").status, 200);
    drop((silent, deaf));
    assert_says(address, "/livez", 200, "ok\n");
    rinit.terminate().assert_code(0);
}

/// Off unless asked for; the command line goes before the environment, and that before the file.
#[test]
fn where_it_is() {
    let (file, environment) = (free_address(), free_address());
    let manager = format!("[Manager]\nHttpListen = \"{file}\"\n");
    let plain = |manager: &str| {
        Rinit::subreaper().service("web", "say up wait", "").unit("rinit.toml", manager)
    };
    let mut rinit = plain(&manager).start();
    rinit.wait_line("up");
    assert_says(file, "/livez", 200, "ok\n");
    // Busy: nothing is started.
    let second = plain(&manager).run();
    second.assert_code(71);
    let message = format!("--http: bind {file}: Address already in use");
    second.assert(second.log().contains(&message), &message);
    second.assert(second.starts("ExecStart").is_empty(), "nothing was started");
    rinit.terminate().assert_code(0);

    let mut rinit = plain(&manager).env("RINIT_HTTP", &environment.to_string()).start();
    rinit.wait_line("up");
    assert_says(environment, "/livez", 200, "ok\n");
    assert!(TcpStream::connect(file).is_err());
    rinit.terminate().assert_code(0);

    let rinit = plain(&manager).env("RINIT_HTTP", &environment.to_string());
    let mut rinit = rinit.options(&["--http", "none"]).start();
    rinit.wait_line("up");
    assert!(TcpStream::connect(file).is_err() && TcpStream::connect(environment).is_err());
    rinit.terminate().assert_code(0);

    let wrong = plain("[Manager]\nHttpListen = \":9000\"\n").plain().run();
    wrong.assert_code(78).assert_stderr(&["rinit.toml:2", "9000 for loopback"]);
    let wrong = Rinit::subreaper().plain().options(&["--http", "web:80"]).command(&["true"]).run();
    wrong.assert_code(64).assert_stderr(&["\"web\" is neither an address nor localhost"]);
}
