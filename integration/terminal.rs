//! A terminal, as `docker run -it` gives it: Ctrl-C, job control, who owns the foreground.

use crate::harness::{Rinit, processes};
use crate::require;

/// Ctrl-C reaches the command, once; it ends by SIGINT and rinit says 130.
#[test]
fn trap_34_ctrl_c_reaches_the_command_once() {
    require!("user namespace");
    let actions = "say-on INT interrupted exit-on TERM 0 say ready wait";
    let (rinit, mut terminal) = Rinit::pid1().plain().command_probe(actions).terminal();
    let rinit = rinit.start();
    terminal.wait_text("ready");
    terminal.type_keys("\x03");
    terminal.wait_text("interrupted");
    rinit.terminate().assert_code(0);
    let screen = terminal.read_to_end();
    assert_eq!(screen.matches("interrupted").count(), 1, "{screen}");

    let (rinit, mut terminal) = Rinit::pid1().plain().command_probe("say ready wait").terminal();
    let rinit = rinit.start();
    terminal.wait_text("ready");
    terminal.type_keys("\x03");
    rinit.wait().assert_code(130);
}

/// A shell has job control: it owns the terminal, stops and continues its jobs.
#[test]
fn trap_34_job_control_in_a_shell() {
    require!("user namespace", "bash");
    let shell = ["bash", "--norc", "--noprofile", "-i"];
    let (rinit, mut terminal) = Rinit::pid1().plain().command(&shell).terminal();
    let rinit = rinit.env("TERM", "dumb").env("PS1", "prompt> ").env("HISTFILE", "").start();
    terminal.wait_text("prompt> ");
    terminal.type_keys(
        "@probe@ say job-up wait\n".replace("@probe@", crate::harness::probe()).as_str(),
    );
    terminal.wait_text("\njob-up");
    terminal.type_keys("\x1a");
    terminal.wait_text("Stopped");
    terminal.wait_text("prompt> ");
    terminal.type_keys("jobs -r; kill %1; fg; echo done-$?\n");
    terminal.wait_text("\ndone-143");
    terminal.type_keys("exit 7\n");
    rinit.wait().assert_code(7);
    let screen = terminal.read_to_end();
    assert!(!screen.contains("no job control"), "{screen}");
}

/// `rinit -- sh` and Ctrl-C at a sleeping foreground job: the shell's own 130.
#[test]
fn trap_34_ctrl_c_at_a_foreground_job() {
    require!("user namespace", "bash");
    let shell = ["bash", "--norc", "--noprofile", "-i"];
    let (rinit, mut terminal) = Rinit::pid1().plain().command(&shell).terminal();
    let rinit = rinit.env("TERM", "dumb").env("PS1", "prompt> ").start();
    terminal.wait_text("prompt> ");
    terminal.type_keys(&format!("{} say job-up wait\n", crate::harness::probe()));
    terminal.wait_text("\njob-up");
    terminal.type_keys("\x03");
    terminal.wait_text("prompt> ");
    terminal.type_keys("exit\n");
    rinit.wait().assert_code(130);
}

/// With units Ctrl-C is a stop like any other: 0.
#[test]
fn ctrl_c_with_units_is_a_stop() {
    require!("user namespace");
    let setup = Rinit::pid1().plain().service("web", "say ready wait", "");
    let (rinit, mut terminal) = setup.terminal();
    let rinit = rinit.start();
    terminal.wait_text("ready");
    terminal.type_keys("\x03");
    rinit.wait().assert_code(0);
}

/// rinit writes to a terminal that is the command's and stops background writers: it must not stop.
#[test]
fn trap_35_rinit_writes_to_a_tostop_terminal() {
    require!("user namespace");
    let setup = Rinit::pid1().options(&["--log-level", "debug"]).plain();
    let (rinit, mut terminal) =
        setup.command_probe("tostop foreground say ready cat exit 4").terminal();
    let rinit = rinit.start();
    terminal.wait_text("ready");
    // rinit logs the forwarding, from what is now the terminal's background.
    rinit.signal(libc::SIGURG);
    rinit.signal(libc::SIGTSTP);
    rinit.signal(libc::SIGTTOU);
    rinit.signal(libc::SIGTTIN);
    rinit.signal(libc::SIGCONT);
    terminal.type_keys("still here\n");
    // The terminal's echo, and the command's; rinit's lines may stand between.
    terminal.wait_text("still here");
    terminal.wait_text("still here");
    terminal.type_keys("\x04");
    rinit.wait().assert_code(4);
}

/// The command is the terminal's foreground; its session's leader is rinit or itself.
#[test]
fn trap_36_the_command_owns_the_foreground() {
    require!("user namespace");
    let (rinit, mut terminal) = Rinit::pid1().plain().command_probe("report exit 3").terminal();
    let rinit = rinit.start();
    rinit.wait().assert_code(3);
    let screen = terminal.read_to_end();
    let line = screen.lines().find(|line| line.starts_with("{\"argv\"")).unwrap();
    let report = crate::harness::payload::Report::parse(line.trim_end()).unwrap();
    assert_eq!(report.number("foreground"), report.number("pgid"), "{screen}");
}

/// stdin is no terminal, or closed, or a terminal that is not ours: none of it is fatal.
#[test]
fn trap_36_no_terminal_is_not_fatal() {
    for steps in [&["--close", "0"][..], &["--leak", "0=/dev/ptmx"], &["--leak", "0=/etc/hostname"]]
    {
        let setup = Rinit::subreaper().plain().launch(steps);
        let outcome = setup.command_probe("exit 3").run();
        outcome.assert_code(3).assert(outcome.stderr().is_empty(), "and no noise");
    }
}

/// A hangup that comes of handing the terminal over is not taken for a reload or a stop.
#[test]
fn trap_37_a_terminal_that_is_handed_over_is_no_hangup() {
    require!("user namespace");
    let lines = "ExecReload = \"@probe@ append @dir@/reloads one\"";
    let setup = Rinit::pid1().service("web", "say-on HUP hup say ready wait", lines);
    let (rinit, mut terminal) = setup.terminal();
    let rinit = rinit.start();
    terminal.wait_text("ready");
    assert_eq!(processes::inner_pid(rinit.pid), Some(1));
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.lines_of("reloads").is_empty(), "no reload");
    assert!(!terminal.read_to_end().contains("\nhup"));
}
