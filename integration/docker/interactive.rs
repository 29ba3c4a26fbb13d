//! `docker run -it`: Ctrl-C, and a shell that has the terminal.

use super::images;
use super::terminal::{CONTROL_C, Terminal};
use crate::tools;

#[test]
fn control_c_stops_units_and_ends_with_0() {
    let Some(image) = tools::need(images::bare()) else { return };
    let unit = "[Service]\nExecStart = '/demo-server 8080'\nRestart = 'always'\n";
    let status = Terminal::with_units(image, &[("web.toml", unit)], |terminal| {
        terminal.wait_for("listening");
        terminal.type_in(CONTROL_C);
        terminal.wait()
    });
    assert_eq!(status, 0);
}

#[test]
fn control_c_ends_a_command_with_130() {
    let Some(image) = tools::need(images::tools()) else { return };
    let script = "echo ready; sleep 1000";
    let mut terminal = Terminal::run(image, &[], &["--", "sh", "-c", script]);
    terminal.wait_for("ready");
    terminal.type_in(CONTROL_C);
    assert_eq!(terminal.wait(), 130);
}

/// The shell owns the terminal: Ctrl-C ends what it runs, not the shell and not the container.
#[test]
fn an_interactive_shell_keeps_its_terminal() {
    let Some(image) = tools::need(images::tools()) else { return };
    let mut terminal = Terminal::run(image, &["--env", "PS1=prompt> "], &["--", "sh"]);
    terminal.wait_for("prompt> ");
    // The quotes keep the echo of what is typed from looking like the answer.
    terminal.type_in("echo be''gun; sleep 1000\n");
    terminal.wait_for("begun");
    terminal.type_in(CONTROL_C);
    terminal.wait_for("prompt> ");
    terminal.type_in("echo al''ive\n");
    terminal.wait_for("alive");
    terminal.type_in("exit 7\n");
    assert_eq!(terminal.wait(), 7);
}
