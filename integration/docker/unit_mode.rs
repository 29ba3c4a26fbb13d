//! `docker run IMAGE` with units in /etc/rinit: steps, stops, signals, exit codes.

use super::container::{Container, LOCKED_DOWN, end};
use super::images;
use crate::lines::Lines;
use crate::{http, tools};

const WEB: (&str, &str) = (
    "web.toml",
    r#"
    [Service]
    ExecStart = "/demo-server 8080"
    Restart = "always"
    "#,
);

#[test]
fn docker_stop_lets_a_request_finish_and_ends_with_0() {
    let Some(image) = tools::need(images::bare()) else { return };
    let container = Container::run_units(image, &[], &[WEB]);
    let mut lines = container.follow();
    lines.wait_for_text("listening");
    let mut slow = container.connect(8080);
    http::ask(&mut slow, "/slow?seconds=3");
    lines.wait_for_text("slow request of 3 s begins");
    let stopping = container.begin_stop(60);
    let answer = http::receive(&mut slow);
    assert_eq!((answer.status, answer.body.as_str()), (200, "That took 3 s.\n"));
    assert_eq!(end(stopping), Some(0));
    assert_eq!(container.wait(), 0);
}

#[test]
fn a_step_that_fails_gives_the_container_its_status() {
    let Some(image) = tools::need(images::tools()) else { return };
    let step = r#"
        [Service]
        Type = "oneshot"
        ExecStart = ["sh", "-c", "echo step ran; exit 42"]
        "#;
    let container = Container::run_units(image, &[], &[("10-fails.toml", step), WEB]);
    assert_eq!(container.wait(), 42);
    let logs = container.logs();
    assert!(logs.contains("step ran"), "{logs}");
    assert!(!logs.contains("listening"), "the service was started:\n{logs}");
}

#[test]
fn steps_run_in_order_and_before_the_service() {
    let Some(image) = tools::need(images::tools()) else { return };
    let step = |text: &str| {
        format!("[Service]\nType = 'oneshot'\nExecStart = ['sh', '-c', 'echo {text}']\n")
    };
    let (first, second) = (step("first step"), step("second step"));
    let units = [WEB, ("20-second.toml", second.as_str()), ("10-first.toml", first.as_str())];
    let container = Container::run_units(image, &[], &units);
    let mut lines = container.follow();
    // `wait_for` only looks ahead: out of order, it would not find the second.
    lines.wait_for("first step", |line| line.ends_with("first step"));
    lines.wait_for("second step", |line| line.ends_with("second step"));
    lines.wait_for_text("listening");
    assert_eq!(container.stop(60), 0);
}

#[test]
fn a_locked_down_container_runs_units() {
    let Some(image) = tools::need(images::bare()) else { return };
    let container = Container::run_units(image, &LOCKED_DOWN, &[WEB]);
    container.follow().wait_for_text("listening");
    assert_eq!(http::get(container.connect(8080), "/").status, 200);
    assert_eq!(container.stop(60), 0);
}

#[test]
fn a_killed_service_comes_back_and_the_container_stays() {
    let Some(image) = tools::need(images::tools()) else { return };
    let container = Container::run_units(image, &[], &[WEB]);
    let mut lines = container.follow();
    let first = demo_server_pid(&mut lines);
    end(container.exec(&["kill", "-KILL", &first]));
    let second = demo_server_pid(&mut lines);
    assert_ne!(first, second);
    assert_eq!(http::get(container.connect(8080), "/").status, 200);
    assert_eq!(container.stop(60), 0);
}

/// Waits for the demo server's next start; its process id inside.
fn demo_server_pid(lines: &mut Lines) -> String {
    let line = lines.wait_for_text("listening");
    let (_, after) = line.split_once("pid ").unwrap_or_else(|| panic!("no pid in {line}"));
    after.chars().take_while(char::is_ascii_digit).collect()
}

/// nginx and php-fpm images set it, and an image that is built on them inherits it.
#[test]
fn an_inherited_stopsignal_quit_stops() {
    let Some(image) = tools::need(images::bare()) else { return };
    let container = Container::run_units(image, &["--stop-signal", "QUIT"], &[WEB]);
    container.follow().wait_for_text("listening");
    assert_eq!(container.stop(60), 0);
}

#[test]
fn docker_kill_passes_usr1_to_a_service_that_catches_it() {
    let Some(image) = tools::need(images::tools()) else { return };
    let unit = r#"
        [Service]
        ExecStart = ["sh", "-c", """
            trap 'echo got USR1' USR1
            sleep 1000 &
            echo ready
            while :; do wait; done"""]
        "#;
    let container = Container::run_units(image, &[], &[("catcher.toml", unit)]);
    let mut lines = container.follow();
    lines.wait_for_text("ready");
    container.signal("USR1");
    lines.wait_for_text("got USR1");
    assert_eq!(container.stop(60), 0);
}

#[test]
fn hup_reloads_and_stops_nothing() {
    let Some(image) = tools::need(images::tools()) else { return };
    let unit = r#"
        [Service]
        ExecReload = ["sh", "-c", "kill -USR1 $MAINPID"]
        ExecStart = ["sh", "-c", """
            trap 'echo reloaded' USR1
            sleep 1000 &
            echo ready
            while :; do wait; done"""]
        "#;
    let container = Container::run_units(image, &[], &[("reloader.toml", unit)]);
    let mut lines = container.follow();
    lines.wait_for_text("ready");
    container.signal("HUP");
    lines.wait_for("reloaded", |line| line.ends_with("reloaded"));
    assert_eq!(container.stop(60), 0);
    let starts = container.logs().lines().filter(|line| line.ends_with("ready")).count();
    assert_eq!(starts, 1, "a reload is no restart");
}

/// Those processes are no children of rinit and may never end; the container's end takes them.
#[test]
fn an_open_exec_session_does_not_delay_a_stop() {
    let Some(image) = tools::need(images::tools()) else { return };
    // A budget so large that a stop which waits for the session misses every deadline here.
    let options = ["--env", "RINIT_SHUTDOWN_TIMEOUT=3600s"];
    let container = Container::run_units(image, &options, &[WEB]);
    container.follow().wait_for_text("listening");
    let mut session = container.exec(&["sh", "-c", "echo open; trap '' TERM; sleep 3600"]);
    let output = session.stdout.take().expect("stdout is a pipe");
    Lines::of(output).wait_for_text("open");
    assert_eq!(container.stop(3600), 0);
    end(session);
}

#[test]
fn a_service_that_ignores_term_is_killed_and_the_status_tells() {
    let Some(image) = tools::need(images::tools()) else { return };
    let unit = r#"
        [Service]
        ExecStart = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
        TimeoutStopSec = "300ms"
        "#;
    let container = Container::run_units(image, &[], &[("stubborn.toml", unit)]);
    container.follow().wait_for("ready", |line| line.ends_with("ready"));
    assert_eq!(container.stop(60), 137);
    assert_eq!(container.inspect("{{.State.OOMKilled}}"), "false");
}
