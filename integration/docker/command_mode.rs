//! `docker run IMAGE -- COMMAND`: what a person expects who had tini there before.

use super::client::docker;
use super::container::{Container, LOCKED_DOWN, run_to_end};
use super::images;
use crate::{http, tools};

#[test]
fn a_scratch_image_needs_nothing_but_rinit_and_its_command() {
    let Some(image) = tools::need(images::bare()) else { return };
    let container = Container::run(image, &[], &["--", "/demo-server", "8080"]);
    container.follow().wait_for_text("listening");
    let answer = http::get(container.connect(8080), "/");
    assert_eq!(answer.status, 200);
    // COMMAND is a child of rinit, which is process 1.
    assert!(answer.body.contains("I am process "), "{}", answer.body);
    assert!(!answer.body.contains("I am process 1,"), "{}", answer.body);
    // The server ends well on SIGTERM, and its status is the container's.
    assert_eq!(container.stop(60), 0);
}

#[test]
fn the_commands_exit_status_is_the_containers() {
    let Some(image) = tools::need(images::tools()) else { return };
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
    ] {
        let output = run_to_end(image, &[], &["--", "sh", "-c", script]);
        assert_eq!(output.status, status, "{script}: {}", output.stderr);
    }
}

#[test]
fn a_command_that_cannot_run_is_127_or_126_and_the_message_names_it() {
    let Some(image) = tools::need(images::tools()) else { return };
    for (command, status) in [("/nowhere/to-be-found", 127), ("/bin", 126)] {
        let output = run_to_end(image, &[], &["--", command]);
        assert_eq!(output.status, status, "{command}: {}", output.stderr);
        assert!(output.stderr.contains(command), "{command}: {}", output.stderr);
    }
}

#[test]
fn the_commands_output_and_input_are_the_containers() {
    let Some(image) = tools::need(images::tools()) else { return };
    let output = run_to_end(image, &[], &["--", "sh", "-c", "echo out; echo err >&2"]);
    // Nothing of rinit's own: in command mode it is silent below a warning.
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    let mut piped = super::client::command(&["run", "--rm", "--interactive", "--network", "none"]);
    piped.args([image, "--", "cat"]);
    let output = super::client::run_with_input(piped, b"hello".to_vec(), crate::harness::DEADLINE);
    assert_eq!((output.status, output.stdout.as_str()), (0, "hello"), "{}", output.stderr);
}

#[test]
fn docker_stop_reaches_a_command_and_its_status_says_so() {
    let Some(image) = tools::need(images::tools()) else { return };
    let script = "echo ready; exec sleep 1000";
    let container = Container::run(image, &[], &["--", "sh", "-c", script]);
    container.follow().wait_for_text("ready");
    assert_eq!(container.stop(60), 143);
}

#[test]
fn docker_kill_passes_hup_usr1_and_quit_on() {
    let Some(image) = tools::need(images::tools()) else { return };
    // `wait` comes back at once when a trapped signal arrives; a foreground sleep would not.
    let script = "
        for name in HUP USR1 QUIT; do trap \"echo got $name\" $name; done
        trap 'echo got TERM; exit 5' TERM
        sleep 1000 &
        echo ready
        while :; do wait; done";
    let container = Container::run(image, &[], &["--", "sh", "-c", script]);
    let mut lines = container.follow();
    lines.wait_for_text("ready");
    for name in ["HUP", "USR1", "QUIT"] {
        container.signal(name);
        lines.wait_for_text(&format!("got {name}"));
    }
    container.signal("TERM");
    lines.wait_for_text("got TERM");
    assert_eq!(container.wait(), 5);
}

#[test]
fn a_locked_down_container_runs_a_command() {
    let Some(image) = tools::need(images::tools()) else { return };
    let script = "id -u; exit 4";
    let output = run_to_end(image, &LOCKED_DOWN, &["--", "sh", "-c", script]);
    assert_eq!((output.status, output.stdout.as_str()), (4, "10001\n"), "{}", output.stderr);
    assert_eq!(output.stderr, "", "a dropped privilege is no reason for a warning here");
}

#[test]
fn without_units_and_command_there_is_nothing_to_run() {
    let Some(image) = tools::need(images::bare()) else { return };
    let output = docker(&["run", "--rm", "--network", "none", image]);
    assert_eq!(output.status, 78, "{}", output.stderr);
    assert!(output.stderr.contains("/etc/rinit"), "{}", output.stderr);
}
