//! `docker run -it`: Ctrl-C, and a shell that has the terminal.

use super::images;
use super::terminal::{CONTROL_C, TerminalContainer};
use crate::tools;

#[test]
fn control_c_stops_units_and_ends_with_0() {
    let Some(image) = tools::need(images::bare()) else { return };
    let unit = "[Service]\nExecStart = '/demo-server 8080'\nRestart = 'always'\n";
    let mut container = TerminalContainer::run_units(image, &[("web.toml", unit)]);
    container.terminal.wait_text("listening");
    container.terminal.type_keys(CONTROL_C);
    assert_eq!(container.wait(), 0);
}

#[test]
fn control_c_ends_a_command_with_130() {
    let Some(image) = tools::need(images::tools()) else { return };
    let script = "echo ready; sleep 1000";
    let mut container = TerminalContainer::run(image, &[], &["--", "sh", "-c", script]);
    container.terminal.wait_text("ready");
    container.terminal.type_keys(CONTROL_C);
    assert_eq!(container.wait(), 130);
}

/// The shell owns the terminal: Ctrl-C ends what it runs, not the shell and not the container.
#[test]
fn an_interactive_shell_keeps_its_terminal() {
    let Some(image) = tools::need(images::tools()) else { return };
    let mut container = TerminalContainer::run(image, &["--env", "PS1=prompt> "], &["--", "sh"]);
    container.terminal.wait_text("prompt> ");
    // The quotes keep the echo of what is typed from looking like the answer.
    container.terminal.type_keys("echo be''gun; sleep 1000\n");
    container.terminal.wait_text("begun");
    container.terminal.type_keys(CONTROL_C);
    container.terminal.wait_text("prompt> ");
    container.terminal.type_keys("echo al''ive\n");
    container.terminal.wait_text("alive");
    container.terminal.type_keys("exit 7\n");
    assert_eq!(container.wait(), 7);
}
