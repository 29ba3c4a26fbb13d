//! rinitctl under the name systemctl: what scripts and maintainers' scripts in images call, and
//! the exit statuses that they look at.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::harness::{Rinit, Running};

/// Exit status and what it printed.
fn systemctl(rinit: &Running, line: &str) -> (i32, String) {
    let mut command = Command::new(rinit.path("systemctl"));
    command.args(line.split_whitespace()).env("RINIT_SOCKET", rinit.path("socket"));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn what_scripts_in_images_call() {
    let setup = Rinit::subreaper().options(&["--socket", "@dir@/socket"]);
    let setup = setup.service("web", "wait", "ExecReload = \"@probe@ ok\"");
    let setup = setup.service("plain", "wait", "");
    let setup = setup.service("idle", "wait", "[Install]\nEnabled = false");
    let failing = "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 4\"\n";
    let mut rinit = setup.unit("bad", failing).start();
    symlink(env!("CARGO_BIN_EXE_rinitctl"), rinit.path("systemctl")).unwrap();
    rinit.wait_state("bad", "failed");
    rinit.wait_state("web", "running");
    rinit.wait_state("plain", "running");
    for (line, code, words) in [
        ("is-active web", 0, "active"),
        ("--quiet is-active web.service", 0, ""),
        ("is-active idle", 3, "inactive"),
        ("is-active nosuch", 4, "nosuch.service"),
        ("is-failed bad", 0, "failed"),
        ("is-failed web", 1, "active"),
        ("is-enabled web", 0, "enabled"),
        ("is-enabled idle", 1, "disabled"),
        ("is-enabled nosuch", 1, "not-found"),
        ("is-system-running", 1, "degraded"),
        ("status web --no-pager -l", 0, "active (running)"),
        ("status idle", 3, "inactive (dead)"),
        ("status nosuch", 4, "could not be found"),
        ("show web -p ActiveState --value", 0, "active"),
        ("show --property=SubState web", 0, "SubState=running"),
        ("list-units --type=service --all --no-legend", 0, "web.service"),
        ("", 0, "web.service"),
        ("enable web", 0, "this is rinit, so this enables nothing"),
        ("unmask web", 0, "this is rinit"),
        ("disable idle", 0, "this disables nothing"),
        ("try-restart idle", 0, ""),
        ("is-active idle", 3, "inactive"),
        ("enable --now idle", 0, ""),
        ("is-active idle", 0, "active"),
        ("disable --now idle", 0, ""),
        ("is-active idle", 3, "inactive"),
        ("start nosuch", 5, "nosuch.service"),
        ("stop nosuch.service", 5, "nosuch.service"),
        ("start bad", 0, ""),
        ("reload plain", 1, "ExecReload="),
        ("reload web", 0, ""),
        ("reload-or-restart web plain", 0, ""),
        ("force-reload web", 0, ""),
        ("try-reload-or-restart idle", 0, ""),
        ("condrestart web", 0, ""),
        ("kill --signal=SIGCONT --kill-who=main web", 0, ""),
        ("reset-failed bad", 0, ""),
        ("is-failed bad", 1, "inactive"),
        ("daemon-reload", 0, ""),
        ("daemon-reexec", 0, ""),
        ("frobnicate", 1, "frobnicate"),
        ("--frobnicate start web", 1, "--frobnicate"),
        ("poweroff", 0, ""),
        ("is-active web", 1, "rinit"), // nobody answers
    ] {
        let (found, text) = systemctl(&rinit, line);
        assert!(found == code && text.contains(words), "{line}: {found}\n{text}");
    }
    rinit.wait().assert_code(0);
}
