//! Health as rinit asks for it: probes of servers that answer, hang, babble, block.
//!
//! The servers are Python's own `http.server` and a few lines of `socket`; the port is the
//! kernel's choice, handed on through a unit that is written once it is known.

use std::net::TcpListener;

use crate::harness::{Event, Outcome, Rinit, Running};
use crate::require;

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server on a port: `answer(connection)` is the script's.
const SERVER: &str = r#"
import os, socket, sys, time
port = int(sys.argv[1])
here = os.path.dirname(sys.argv[0])
def well(): return not os.path.exists(os.path.join(here, 'ill'))
def request(c):
    data = b''
    while b'\r\n\r\n' not in data:
        more = c.recv(4096)
        if not more: break
        data += more
    return data
def reply(c, status):
    c.sendall(b'HTTP/1.1 %s X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok' % status)
def serve(answer):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', port))
    s.listen(16)
    print('up', flush=True)
    while True:
        c, _ = s.accept()
        try: answer(c)
        except OSError: pass
        c.close()
"#;

/// `web` is that server, restarted when it is unhealthy, with these lines of `[Health]`.
fn server(answer: &str, port: u16, health: &str) -> Rinit {
    let init = Rinit::subreaper();
    std::fs::write(init.path("web.py"), format!("{SERVER}{answer}")).unwrap();
    let unit = format!(
        "[Service]\nExecStart = \"/usr/bin/env python3 @dir@/web.py {port}\"\nRestart = \"always\"\n\
         RestartSec = \"1ms\"\n[Health]\n{health}\nRetries = 2\nIntervalSec = \"50ms\"\n\
         StartIntervalSec = \"20ms\"\n"
    );
    init.unit("web", &unit)
}

fn http(port: u16, more: &str) -> String {
    format!("Http = \"http://127.0.0.1:{port}/healthz\"\n{more}")
}

/// What rinit says of an ill service.
#[track_caller]
fn wait_ill(rinit: &mut Running, why: &str) {
    rinit.wait_event(&format!("web to be unhealthy: {why}"), |event| {
        event.text("message").contains("unhealthy") && event.text("message").contains(why)
    });
}

/// A service that falls ill is stopped with result health and started again.
#[track_caller]
fn assert_replaced(outcome: &Outcome) {
    let ill = |e: &Event| e.text("event") == "state" && e.text("result") == "health";
    outcome.assert(outcome.events().any(ill), "result health");
    outcome.assert(outcome.n_starts("web") >= 2, "started again");
}

fn fall_ill(rinit: &Running) {
    std::fs::write(rinit.path("ill"), "").unwrap();
}

fn recover(rinit: &Running) {
    std::fs::remove_file(rinit.path("ill")).unwrap();
}

/// Ready at the first good answer; stopped after two bad ones; well again.
#[track_caller]
fn falls_ill(answer: &str, health: &str, why: &str) {
    require!("python3");
    let port = free_port();
    let health = health.replace("PORT", &port.to_string());
    let mut rinit = server(answer, port, &health).start();
    rinit.wait_state("web", "running");
    fall_ill(&rinit);
    wait_ill(&mut rinit, &why.replace("PORT", &port.to_string()));
    recover(&rinit);
    rinit.wait_restart("web");
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_replaced(&outcome);
}

const HTTP: &str = "Http = \"http://127.0.0.1:PORT/healthz\"";

#[test]
fn a_503_is_ill() {
    let answer = "serve(lambda c: (request(c), reply(c, b'200' if well() else b'503')))";
    falls_ill(answer, HTTP, "HTTP 503 from 127.0.0.1:PORT/healthz");
}

#[test]
fn no_answer_is_ill() {
    let answer = "
def answer(c):
    request(c)
    if well(): reply(c, b'204')
    else: time.sleep(1000)
serve(answer)
";
    let health = format!("{HTTP}\nTimeoutSec = \"200ms\"");
    falls_ill(answer, &health, "no answer in 200ms from 127.0.0.1:PORT/healthz");
}

/// A head that comes byte by byte has no more time than one that does not come.
#[test]
fn a_slow_head_is_ill() {
    let answer = "
def answer(c):
    request(c)
    if well(): return reply(c, b'301')
    for byte in b'HTTP/1.1 200 OK' * 100:
        c.sendall(bytes([byte]))
        time.sleep(0.02)
serve(answer)
";
    let health = format!("{HTTP}\nTimeoutSec = \"200ms\"");
    falls_ill(answer, &health, "no answer in 200ms");
}

#[test]
fn garbage_is_ill() {
    let answer = "
def answer(c):
    request(c)
    if well(): reply(c, b'200')
    else: c.sendall(b'SSH-2.0-OpenSSH\\r\\n')
serve(answer)
";
    falls_ill(answer, HTTP, "not HTTP: \"SSH-2.0-OpenSSH");
}

#[test]
fn a_closed_port_is_ill() {
    let answer = "
def answer(c):
    if well(): return
    s.close()
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', port))
s.listen(16)
while True:
    if well():
        s.settimeout(0.05)
        try: s.accept()[0].close()
        except socket.timeout: pass
    else:
        s.close()
        time.sleep(1000)
";
    falls_ill(answer, "Tcp = \"localhost:PORT\"", "onnection refused");
}

/// A worker in `while True` answers nobody: its probe has it replaced, and no other service.
#[test]
fn an_endless_loop_is_replaced() {
    require!("python3");
    let port = free_port();
    let answer = "
def answer(c):
    request(c)
    if well(): return reply(c, b'200')
    while True: pass
serve(answer)
";
    let init = server(answer, port, &http(port, "TimeoutSec = \"200ms\""));
    let mut rinit = init.service("other", "say here wait", "").start();
    rinit.wait_line("here");
    rinit.wait_state("web", "running");
    fall_ill(&rinit);
    wait_ill(&mut rinit, "no answer in 200ms");
    recover(&rinit);
    rinit.wait_restart("web");
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    assert_replaced(&outcome);
    outcome.assert_code(0).assert(outcome.n_starts("other") == 1, "the other was left alone");
}

/// Until the first success a failed probe counts for nothing.
#[test]
fn a_slow_start_is_not_ill() {
    let answer = "
while not os.path.exists(os.path.join(here, 'go')): time.sleep(0.01)
serve(lambda c: (request(c), reply(c, b'200')))
";
    require!("python3");
    let port = free_port();
    let mut rinit = server(answer, port, &http(port, "")).start();
    rinit.wait_start("web", "ExecStart");
    std::fs::write(rinit.path("go"), "").unwrap();
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.n_starts("web") == 1, "started once");
}

/// Exec=: by its exit status, in the unit's environment, as a process of the unit.
#[test]
fn a_command_says_how_it_is() {
    let unit = "[Service]\nExecStart = \"@probe@ wait\"\nEnvironment = \"COLOUR=red\"\n\
                Restart = \"always\"\nRestartSec = \"1ms\"\n[Health]\nRetries = 2\n\
                IntervalSec = \"20ms\"\nStartIntervalSec = \"20ms\"\n\
                Exec = \"@probe@ env COLOUR must-exist @dir@/well\"\n";
    let init = Rinit::subreaper().unit("web", unit);
    std::fs::write(init.path("well"), "").unwrap();
    let mut rinit = init.start();
    rinit.wait_state("web", "running");
    rinit.wait_line("red");
    std::fs::remove_file(rinit.path("well")).unwrap();
    wait_ill(&mut rinit, "Exec exited with status 1");
    std::fs::write(rinit.path("well"), "").unwrap();
    rinit.wait_restart("web");
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_replaced(&outcome);
}

/// One that hangs is killed with all that it started.
#[test]
fn a_hanging_command_is_killed() {
    let unit = "[Service]\nExecStart = \"@probe@ say up wait\"\nRestart = \"always\"\n\
                RestartSec = \"1ms\"\n[Health]\nRetries = 2\nIntervalSec = \"20ms\"\n\
                TimeoutSec = \"200ms\"\nStartIntervalSec = \"20ms\"\n\
                Exec = \"@probe@ nth @dir@/count 1 0 fork [ ignore TERM wait ] ignore TERM wait\"\n";
    let mut rinit = Rinit::subreaper().unit("web", unit).start();
    rinit.wait_state("web", "running");
    wait_ill(&mut rinit, "no answer in 200ms");
    rinit.wait_restart("web");
    let outcome = rinit.terminate();
    outcome.assert(outcome.n_starts("web") >= 1, "started");
}

/// A program that is not there.
#[test]
fn a_command_that_cannot_run_says_so() {
    let unit = "[Service]\nExecStart = \"@probe@ wait\"\nRestart = \"always\"\n\
                RestartSec = \"1ms\"\n[Health]\nRetries = 1\nIntervalSec = \"20ms\"\n\
                StartIntervalSec = \"20ms\"\nExec = \"@dir@/check ok\"\n";
    let init = Rinit::subreaper().unit("web", unit);
    std::os::unix::fs::symlink(crate::harness::probe(), init.path("check")).unwrap();
    let mut rinit = init.start();
    rinit.wait_state("web", "running");
    std::fs::remove_file(rinit.path("check")).unwrap();
    wait_ill(&mut rinit, "No such file or directory");
    rinit.terminate();
}
