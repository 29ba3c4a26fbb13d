//! `rinit -- COMMAND` is transparent, as tini and dumb-init are: status by status, signal by signal.
//!
//! The same rows run against tini and dumb-init where they are installed. Where they differ from
//! rinit, the row has their own answer, so that every difference is written down here.

use crate::harness::processes::{self, inner_pid};
use crate::harness::{Outcome, Rinit};
use crate::require;

/// What stands in PID 1's place.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Init {
    Rinit,
    Tini,
    Dumb,
}

impl Init {
    /// rinit, and the others where they are installed.
    fn all() -> Vec<Init> {
        let mut inits = vec![Init::Rinit];
        for (init, name) in [(Init::Tini, "tini"), (Init::Dumb, "dumb-init")] {
            if crate::harness::available(name) {
                inits.push(init);
            }
        }
        inits
    }

    fn pid1(self) -> Rinit {
        match self {
            Init::Rinit => Rinit::pid1().plain(),
            Init::Tini => Rinit::pid1().peer("/usr/bin/tini"),
            Init::Dumb => Rinit::pid1().peer("/usr/bin/dumb-init"),
        }
    }

    fn subreaper(self) -> Rinit {
        match self {
            Init::Rinit => Rinit::subreaper().plain(),
            Init::Tini => Rinit::subreaper().peer("/usr/bin/tini").options(&["-s"]),
            Init::Dumb => Rinit::subreaper().peer("/usr/bin/dumb-init"),
        }
    }
}

/// An exit status passes through unchanged, 126 to 128 and 255 too (trap 4).
#[test]
fn trap_04_every_exit_status_passes_through() {
    require!("user namespace");
    for init in Init::all() {
        for code in [0, 1, 2, 63, 64, 70, 71, 78, 125, 126, 127, 128, 129, 137, 143, 203, 254, 255]
        {
            let outcome = init.pid1().command_probe(&format!("exit {code}")).run();
            assert_eq!(outcome.code(), code, "{init:?}");
        }
    }
    for code in 0..=255 {
        Rinit::subreaper().plain().command_probe(&format!("exit {code}")).run().assert_code(code);
    }
}

/// A command that a signal ends makes 128 + n, never 0 (trap 18).
#[test]
fn trap_18_a_death_by_signal_is_128_plus_n() {
    for init in Init::all() {
        for signal in
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 31]
        {
            let actions = format!("default {signal} kill-self {signal} exit 0");
            let outcome = init.subreaper().command_probe(&actions).run();
            assert_eq!(outcome.code(), 128 + signal, "{init:?}, signal {signal}");
        }
    }
}

/// Signals that a command can catch and that none of the three inits needs for itself.
const FORWARDED: [i32; 21] =
    [1, 2, 3, 10, 12, 14, 15, 16, 18, 23, 24, 25, 26, 27, 28, 29, 30, 34, 37, 50, 64];

/// Each of them reaches a command that catches it, and its exit is rinit's.
#[test]
fn every_signal_is_forwarded_to_the_command() {
    for init in Init::all() {
        for signal in FORWARDED {
            let actions = format!("exit-on {signal} 42 say ready wait");
            let mut rinit = init.subreaper().command_probe(&actions).start();
            rinit.wait_line("ready");
            rinit.signal(signal);
            assert_eq!(rinit.wait().code(), 42, "{init:?}, signal {signal}");
        }
    }
}

/// It arrives once, and as PID 1 as well. SIGKILL is what the kernel alone decides.
#[test]
fn every_signal_is_forwarded_once_as_pid_1() {
    require!("user namespace");
    let mut rinit = Rinit::pid1().plain().command_probe("catch-all say ready wait").start();
    rinit.wait_line("ready");
    for signal in FORWARDED.into_iter().filter(|signal| *signal != libc::SIGTERM) {
        rinit.signal(signal);
        rinit.wait_line(&format!("got {signal}"));
    }
    rinit.signal(libc::SIGTERM);
    rinit.wait_line("got 15");
    // A signal that comes now is still passed on; SIGCONT after SIGTERM is part of a stop.
    rinit.signal(libc::SIGUSR1);
    rinit.wait_line("got 10");
    let child = rinit.processes().first().map(|process| process.pid).unwrap();
    processes::kill(child, libc::SIGKILL);
    let outcome = rinit.wait();
    outcome.assert_code(137);
    for signal in FORWARDED.into_iter().filter(|s| ![libc::SIGUSR1, libc::SIGCONT].contains(s)) {
        let line = format!("got {signal}");
        let times = outcome.stdout().into_iter().filter(|text| *text == line).count();
        outcome.assert(times == 1, &format!("{line} {times} times"));
    }
}

/// A command without handlers ends as the signal's default is: 128 + n is rinit's status.
#[test]
fn a_signal_with_default_disposition_ends_the_command() {
    require!("user namespace");
    for init in Init::all() {
        for signal in [1, 2, 3, 10, 12, 14, 15, 30, 34, 37, 64] {
            let mut rinit = init.pid1().command_probe("say ready wait").start();
            rinit.wait_line("ready");
            rinit.signal(signal);
            eprintln!("{init:?}, signal {signal}");
            assert_eq!(rinit.wait().code(), 128 + signal, "{init:?}, signal {signal}");
        }
    }
}

/// Nothing happens on these: they are about rinit itself, or mean nothing to who has no handler.
#[test]
fn signals_that_nobody_answers_change_nothing() {
    require!("user namespace");
    let mut rinit = Rinit::pid1().plain().command_probe("exit-on USR1 9 say ready wait").start();
    rinit.wait_line("ready");
    for signal in [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
        32,
        33,
    ] {
        rinit.signal(signal);
    }
    rinit.signal(libc::SIGUSR1);
    let outcome = rinit.wait();
    // 32 and 33 are forwarded like any other, and end who does not catch them.
    outcome.assert([9, 160, 161].contains(&outcome.code()), "rinit lives on");
}

/// 127 not found, 126 not executable, and the path in words (trap 19).
#[test]
fn trap_19_exec_failures_say_which_path() {
    let rinit = || Rinit::subreaper().plain();
    rinit()
        .command(&["@dir@/nothing-here"])
        .run()
        .assert_code(127)
        .assert_stderr(&["nothing-here"]);
    rinit().command(&["no-such-program-at-all"]).run().assert_code(127);
    let no_file = rinit().options(&["-p", "EnvironmentFile=/nope"]).command(&["true"]).run();
    no_file.assert_code(126).assert_stderr(&["EnvironmentFile=/nope: No such file"]);
    let setup = rinit();
    std::fs::write(setup.path("plain-file"), "hello").unwrap();
    setup.command(&["@dir@/plain-file"]).run().assert_code(126).assert_stderr(&["plain-file"]);
    rinit().command(&["@dir@"]).run().assert_code(126);
    let setup = rinit();
    script(&setup, "bad-interpreter", "#!/nope/nothing\n");
    let outcome = setup.command(&["@dir@/bad-interpreter"]).run();
    outcome.assert_code(127).assert_stderr(&["bad-interpreter", "/nope/nothing"]);
    // As in `WORKDIR /app` and `CMD ["./start.sh"]`.
    let setup = rinit();
    script(&setup, "bad-interpreter", "#!/nope/nothing\r\n");
    let outcome = setup.command(&["./bad-interpreter"]).run();
    outcome.assert_code(127).assert_stderr(&["bad-interpreter", "/nope/nothing", "CR LF"]);
}

/// A PATH may hold relative directories, and an empty one, which is the directory itself.
#[test]
fn a_relative_path_is_searched() {
    for path in [".", "", "/nope::", "bin:."] {
        let setup = Rinit::subreaper().plain().env("PATH", path);
        script(&setup, "tool", "#!/bin/sh\nexit 7\n");
        setup.command(&["tool"]).run().assert_code(7);
    }
}

/// File names are bytes, and so are the words of COMMAND.
#[test]
fn words_that_are_not_utf_8() {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::write(&tool, "#!/bin/sh\nprintf '%s.' \"$@\"\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut rinit = std::process::Command::new(env!("CARGO_BIN_EXE_rinit"));
    rinit.args(["--socket", "none", "--"]).arg(&tool).args(["$HOME", "%n"]);
    let output = rinit.arg(std::ffi::OsString::from_vec(b"\xff x".to_vec())).output().unwrap();
    assert_eq!(output.stdout, b"$HOME.%n.\xff x.", "{output:?}");
    assert_eq!(output.status.code(), Some(0));
}

/// A script without `#!` is an error with words; execvp(3) would quietly run a shell (trap 20).
#[test]
fn trap_20_a_script_without_interpreter_is_an_error() {
    let setup = Rinit::subreaper().plain();
    script(&setup, "bare", "echo ran\n");
    let outcome = setup.command(&["@dir@/bare"]).run();
    outcome.assert_code(126).assert_stderr(&["bare"]);
    outcome.assert(outcome.stdout().is_empty(), "no shell ran it");
}

fn script(setup: &Rinit, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(setup.path(name), text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(setup.path(name), mode).unwrap();
}

/// An argv of 2 MB: the kernel says E2BIG, and rinit says that.
#[test]
fn an_argument_list_that_is_too_long_is_named() {
    let (big, words) = ("x".repeat(100_000), "${BIG} ".repeat(22));
    let unit = format!("[Service]\nEnvironment = \"BIG={big}\"\nExecStart = \"@probe@ {words}\"\n");
    let outcome = Rinit::subreaper().plain().unit("big", &unit).run();
    outcome.assert_code(203).assert_stderr(&["big.service", "Argument list too long"]);
    // One argument of more than 128 KiB is too long by itself.
    let unit = format!("[Service]\nExecStart = [\"@probe@\", \"{}\"]\n", "x".repeat(200_000));
    let outcome = Rinit::subreaper().plain().unit("long", &unit).run();
    outcome.assert_code(203).assert_stderr(&["long.service", "Argument list too long"]);
}

/// What rinit has inherited the command has: stdin, environment, directory, arguments.
#[test]
fn the_command_inherits() {
    let rinit = Rinit::subreaper().plain().piped_stdin().env("COLOUR", "blue");
    let mut rinit = rinit.command_probe("env COLOUR report cat exit 5").start();
    rinit.wait_line("blue");
    let report = rinit.wait_report();
    assert_eq!(report.text("cwd"), rinit.path("").to_str().unwrap().trim_end_matches('/'));
    rinit.write_stdin("over the pipe\n");
    rinit.wait_line("over the pipe");
    rinit.close_stdin();
    rinit.wait().assert_code(5);
}

/// Silent but for warnings: a drop-in has no business on a command's stderr.
#[test]
fn the_command_has_stderr_for_itself() {
    let outcome = Rinit::subreaper().plain().command_probe("complain mine exit 0").run();
    outcome.assert_code(0).assert(outcome.stderr() == "mine\n", "nothing but the command's");
}

/// What keeps COMMAND from running, or fails beside it, is named; only its own end is not.
#[test]
fn every_failing_stage_beside_the_command_is_named() {
    let stderr = |property: &str| {
        let rinit = Rinit::subreaper().plain().options(&["-p", property]);
        rinit.command_probe("exit 0").run().stderr()
    };
    for (property, line) in [
        ("ExecStartPre=sh -c 'exit 9'", "ExecStartPre exited with status 9 after"),
        ("ExecStartPost=sh -c 'exit 9'", "ExecStartPost exited with status 9 after"),
        ("ExecStop=sh -c 'exit 9'", "ExecStop exited with status 9 after"),
        ("ExecStopPost=sh -c 'exit 9'", "ExecStopPost exited with status 9 after"),
        ("ExecCondition=sh -c 'exit 255'", "ExecCondition exited with status 255 after"),
        ("ExecCondition=sh -c 'exit 1'", "start skipped: ExecCondition= exited with status 1"),
        ("ConditionPathExists=/nope", "start skipped: ConditionPathExists=/nope was not met"),
        ("AssertPathExists=/nope", "start assert: AssertPathExists=/nope was not met"),
    ] {
        let text = stderr(property);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{property}: {text}");
        assert!(text.starts_with(&format!("rinit: main.service: {line}")), "{property}: {text}");
        let is_before = ["ExecStartPre", "start skipped"].iter().any(|word| text.contains(word));
        assert_eq!(text.ends_with(": COMMAND was not run\n"), is_before, "{property}: {text}");
    }
    assert_eq!(stderr("ExecStartPre=-false"), "");
    assert_eq!(stderr("SuccessExitStatus=3"), "");
}

/// What fails after COMMAND has ended does not replace its status.
#[test]
fn a_failing_clean_up_leaves_the_commands_status() {
    for property in ["ExecStop=false", "ExecStopPost=false"] {
        for code in [0, 5] {
            let rinit = Rinit::subreaper().plain().options(&["-p", property]);
            rinit.command_probe(&format!("exit {code}")).run().assert_code(code);
        }
    }
}

/// What users of dumb-init write for its `-r 15:3`, and for its signals to the group.
#[test]
fn the_stop_signal_may_be_another_one_and_go_to_all() {
    let rinit = || Rinit::subreaper().plain();
    let setup = rinit().options(&["-p", "KillSignal=QUIT"]);
    let mut running = setup.command_probe("ignore TERM exit-on QUIT 7 say ready wait").start();
    running.wait_line("ready");
    running.terminate().assert_code(7);
    let setup = rinit().options(&["-p", "KillMode=control-group"]);
    let actions =
        "fork [ say-on TERM told exit-on TERM 0 say away wait ] ignore TERM say ready wait";
    let mut running = setup.command_probe(actions).start();
    running.wait_line("away");
    running.wait_line("ready");
    running.signal(libc::SIGTERM);
    running.wait_line("told");
    running.signal(libc::SIGQUIT); // only now COMMAND ends
    running.wait().assert_code(131);
}

/// Standard error follows what `-p` says of standard output, as in a unit.
#[test]
fn standard_error_follows_standard_output() {
    for output in ["StandardOutput=journal", "StandardOutput=file:@dir@/log"] {
        let setup = Rinit::subreaper().plain();
        let log = setup.path("log").to_str().unwrap().to_string();
        let output = output.replace("@dir@/log", &log);
        let file = format!("LogFile={log}");
        let mut options = vec!["-p", output.as_str()];
        if output.ends_with("journal") {
            options.extend(["-p", file.as_str()]);
        }
        let outcome = setup.options(&options).command_probe("say out complain err exit 0").run();
        outcome.assert_code(0);
        let lines = outcome.lines_of("log");
        let words = lines.iter().filter_map(|line| line.split(' ').next_back());
        let mut lines: Vec<&str> = words.collect();
        lines.sort_unstable();
        assert_eq!(lines, ["err", "out"], "{output}");
    }
    let outcome = Rinit::subreaper().plain().options(&["-p", "StandardError=null"]);
    let outcome = outcome.command_probe("say out complain err exit 0").run();
    assert_eq!((outcome.stdout().join(","), outcome.stderr()), ("out".into(), String::new()));
}

/// tini's own options are refused with what to write instead.
#[test]
fn tini_options_are_usage_errors_with_a_hint() {
    for option in ["-g", "-e", "-w", "-s"] {
        let outcome = Rinit::subreaper().plain().options(&[option]).command(&["true"]).run();
        outcome.assert_code(64).assert_stderr(&[option]);
    }
}

/// `-p` gives COMMAND a directive, with `[Service]` before the other sections.
#[test]
fn properties_of_the_command() {
    let rinit = || Rinit::subreaper().command_probe("report exit 3");
    let run = |options: &[&str]| -> Outcome { rinit().options(options).run() };
    run(&["-p", "SuccessExitStatus=3"]).assert_code(3);
    let mut rinit = rinit().options(&["-p", "UMask=0027", "-p", "Environment=A=b C=d"]).start();
    let report = rinit.wait_report();
    assert_eq!(
        (report.text("umask"), report.env("A"), report.env("C")),
        ("0027", Some("b"), Some("d"))
    );
    rinit.wait().assert_code(3);
    let restarting =
        ["--property", "Restart=on-failure", "-p", "RestartSec=0", "-p", "StartLimitBurst=3"];
    let outcome = Rinit::subreaper().command_probe("exit 3").options(&restarting).run();
    outcome.assert_code(3).assert(outcome.n_starts("main") == 3, "three starts");
    let outcome = Rinit::subreaper().command(&["true"]).options(&["-p", "Restrat=no"]).run();
    outcome.assert_code(78);
}

/// With units, COMMAND comes after every step, and its end stops the rest in order.
#[test]
fn a_command_with_units() {
    let setup = Rinit::subreaper()
        .service("10-step", "append @dir@/order step", "Type = \"oneshot\"")
        .service("beside", "say-on TERM stopped exit-on TERM 0 say up wait", "");
    let mut rinit =
        setup.command_probe("append @dir@/order command cat exit 6").piped_stdin().start();
    rinit.wait_line("up");
    rinit.wait_start("main", "ExecStart");
    rinit.close_stdin();
    let outcome = rinit.wait();
    outcome.assert_code(6);
    assert_eq!(outcome.lines_of("order"), ["step", "command"]);
    outcome.assert_sequence(&[("main", "failed"), ("beside", "dead")]);
}

/// A step that fails: COMMAND never starts, and the step's status is rinit's.
#[test]
fn a_failed_step_before_the_command() {
    let setup = Rinit::subreaper().service("10-step", "exit 9", "Type = \"oneshot\"");
    let outcome = setup.command_probe("say never").run();
    outcome.assert_code(9).assert(outcome.stdout().is_empty(), "COMMAND did not start");
}

/// SIGTERM to a command that ignores it: SIGKILL at the budget, and 137 is said (trap 11).
#[test]
fn trap_11_a_command_that_ignores_sigterm_is_killed() {
    require!("user namespace");
    let rinit = Rinit::pid1().plain().options(&["--shutdown-timeout", "1s"]);
    let mut rinit = rinit.command_probe("ignore TERM say ready wait").start();
    rinit.wait_line("ready");
    rinit.terminate().assert_code(137).assert_stderr(&["SIGKILL"]);
}

/// As PID 1 the command is pid 2 and a child: nothing is in between.
#[test]
fn the_command_is_a_direct_child() {
    require!("user namespace");
    let mut rinit = Rinit::pid1().plain().command_probe("report wait").start();
    let report = rinit.wait_report();
    assert_eq!(report.number("ppid"), 1);
    assert_eq!(inner_pid(rinit.pid), Some(1));
    rinit.terminate().assert_code(143);
}
