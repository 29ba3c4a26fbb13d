//! Whatever the container is like: limits, users, a read-only root, no /proc, no room to fork.

use crate::harness::{Rinit, processes};
use crate::require;

/// Limits that rinit raised for itself are not the services'; LimitNOFILE= is.
#[test]
fn trap_33_limits_are_the_launchers_or_the_units() {
    let inherited = ["--limit", "nofile=123:456", "--limit", "core=0:1000"];
    for (lines, expected) in [("", ("123", "456")), ("LimitNOFILE = \"200:400\"", ("200", "400"))] {
        let setup = Rinit::subreaper().launch(&inherited);
        let mut rinit = setup.service("web", "report exit 0", lines).start();
        let report = rinit.wait_report();
        assert_eq!(report.limit("Max open files"), expected);
        assert_eq!(report.limit("Max core file size"), ("0", "1000"));
        rinit.wait().assert_code(0);
    }
}

/// Nice= and OOMScoreAdjust= are the service's alone.
#[test]
fn nice_and_oom_score_belong_to_the_service() {
    let lines = "Nice = 5\nOOMScoreAdjust = 500";
    let mut rinit = Rinit::subreaper().service("web", "report wait", lines).start();
    let report = rinit.wait_report();
    assert_eq!((report.number("nice"), report.text("oom_score_adj")), (5, "500"));
    let own = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", rinit.pid)).unwrap();
    assert_ne!(own.trim(), "500");
    rinit.terminate().assert_code(0);
}

/// A nice value and a score that take a privilege which is not here stay as they were, with a
/// warning, and the service runs, as in systemd.
#[test]
fn nice_and_oom_score_without_the_privilege() {
    require!("root");
    let steps = ["--drop-capabilities", "0", "--uid", "10001"];
    let lines = "Nice = -5\nOOMScoreAdjust = -500";
    let setup = Rinit::pid1_as_root().launch(&steps).service("web", "report wait", lines);
    let mut rinit = setup.start();
    rinit.wait_message("Nice=-5 needs CAP_SYS_NICE");
    let report = rinit.wait_report();
    assert_ne!((report.number("nice"), report.text("oom_score_adj")), (-5, "-500"));
    rinit.terminate().assert_code(0);
}

/// Signals to rinit's loop interrupt its system calls: nothing is lost by it.
#[test]
fn trap_41_interrupted_system_calls_are_retried() {
    require!("user namespace");
    let lines = "Restart = \"on-failure\"\nRestartSec = \"1ms\"\nRestartMaxDelaySec = \"1ms\"";
    let unit = format!(
        "[Unit]\nStartLimitIntervalSec = 0\n[Service]\n{lines}\n\
         ExecStart = \"@probe@ nth @dir@/count 40 7 say done wait\"\n"
    );
    let mut rinit = Rinit::pid1().unit("web", &unit).start();
    for _ in 0..40 {
        rinit.wait_restart("web");
        // Stopped and continued from outside: every blocking call of rinit returns EINTR.
        rinit.signal(libc::SIGSTOP);
        rinit.signal(libc::SIGCONT);
    }
    rinit.wait_line("done");
    rinit.terminate().assert_code(0);
}

/// fork says EAGAIN: rinit says so, tries again later, and does not end.
#[test]
fn trap_42_no_room_to_fork() {
    require!("root");
    // A user of its own, who may have two processes: one is in the way, until it is killed.
    let uid = (60_000 + std::process::id() % 5_000).to_string();
    let user = ["--uid", &uid, "--limit", "nproc=2:2"];
    let in_the_way = Rinit::subreaper().peer(crate::harness::probe()).launch(&user);
    let mut in_the_way = in_the_way.options(&["say", "here", "wait"]).start();
    in_the_way.wait_line("here");
    let inherit = "StandardOutput = \"inherit\""; // the journal would be one more process
    let mut rinit =
        Rinit::subreaper().launch(&user).service("web", "say ready wait", inherit).start();
    rinit.wait_message("Resource temporarily unavailable");
    rinit.wait_message("Resource temporarily unavailable");
    in_the_way.terminate();
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let tries = outcome.events().filter(|e| e.text("message").contains("temporarily")).count();
    outcome.assert(tries < 100, "it does not spin");
}

/// No service carries a death signal: it would fire when a thread of its parent ends.
#[test]
fn trap_43_no_parent_death_signal() {
    let mut rinit = Rinit::subreaper().service("web", "report exit 0", "").start();
    assert_eq!(rinit.wait_report().number("pdeathsig"), 0);
    rinit.wait().assert_code(0);
}

/// Not PID 1: it says what it is, adopts orphans, and never signals what is not its own.
#[test]
fn trap_44_not_pid_1() {
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let actions = "orphan [ setsid say orphan wait ] say ready wait";
    let mut rinit = Rinit::subreaper().service("web", actions, "").start();
    rinit.wait_message("subreaper");
    rinit.wait_line("orphan");
    rinit.wait_line("ready");
    rinit.terminate().assert_code(0);
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander lives");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// `docker run --user 10001 --read-only --cap-drop ALL --security-opt no-new-privileges`.
#[test]
fn trap_46_a_locked_down_container() {
    require!("root");
    let steps =
        ["--read-only", "/", "--drop-capabilities", "0", "--uid", "10001", "--no-new-privs", "1"];
    let lines = "Restart = \"on-failure\"\nRestartSec = \"1ms\"";
    let setup = Rinit::pid1_as_root().launch(&steps).service("10-step", "ok", "Type = \"oneshot\"");
    let mut rinit = setup.service("web", "report wait", lines).start();
    let report = rinit.wait_report();
    assert_eq!(report.text("uid"), "10001\t10001\t10001\t10001");
    assert_eq!(report.text("no_new_privs"), "1");
    rinit.terminate().assert_code(0);
}

/// No /proc: rinit still runs, reaps and stops.
#[test]
fn trap_48_no_proc() {
    require!("user namespace");
    let setup = Rinit::pid1().launch(&["--hide", "/proc"]);
    setup.command_probe("orphans 10 exit 5").run().assert_code(5);
    let setup = Rinit::pid1().launch(&["--hide", "/proc"]);
    let away = "fork [ exit-on TERM 0 say away wait ] say ready wait";
    let mut rinit = setup.service("web", away, "").start();
    rinit.wait_line("away");
    rinit.wait_line("ready");
    rinit.terminate().assert_code(0);
}

/// rinit's clock is CLOCK_MONOTONIC: moved by a time namespace, and by nobody who sets the time.
#[test]
fn trap_49_only_the_monotonic_clock_is_used() {
    require!("user namespace");
    let offset = 1_000_000_000;
    let setup = Rinit::pid1().launch(&["--monotonic-offset", &offset.to_string()]);
    let lines = "Restart = \"on-failure\"\nRestartSec = \"5ms\"";
    let mut rinit = setup.service("web", "nth @dir@/count 2 1 say up wait", lines).start();
    let restart = rinit.wait_restart("web");
    assert!(restart.monotonic_usec() > offset * 1_000_000, "{restart:?}");
    rinit.wait_line("up");
    rinit.terminate().assert_code(0);
}

/// What an image's build left behind (a lock, a pid file, an editor's copy) is no unit and no state.
#[test]
fn trap_50_stale_files_are_ignored() {
    let setup = Rinit::subreaper().service("web", "say ready wait", "");
    for name in
        ["web.pid", ".web.toml.swp", "web.toml~", "rinit.lock", "..data", "web.toml.rpmsave"]
    {
        std::fs::write(setup.units_directory().join(name), "1\n").unwrap();
    }
    let mut rinit = setup.start();
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.starts("ExecStart"), ["web"]);
}

/// User= and Group= as root: the ids, the groups, and HOME; without root this is an error.
#[test]
fn user_and_group() {
    require!("root");
    let lines = "User = \"54321\"\nGroup = \"54322\"\nSupplementaryGroups = [\"54323\", \"54324\"]";
    let mut rinit = Rinit::subreaper().service("web", "report exit 0", lines).start();
    let report = rinit.wait_report();
    assert_eq!(report.text("uid"), "54321\t54321\t54321\t54321");
    assert_eq!(report.text("gid"), "54322\t54322\t54322\t54322");
    let groups: Vec<&str> = report.text("groups").split(' ').collect();
    assert!(groups.contains(&"54323") && groups.contains(&"54324"), "{groups:?}");
    assert!(!groups.contains(&"0"), "nothing of root's: {groups:?}");
    rinit.wait().assert_code(0);
    let mut rinit = Rinit::subreaper().service("web", "report exit 0", "User = \"nobody\"").start();
    let report = rinit.wait_report();
    assert_eq!((report.env("USER"), report.env("LOGNAME")), (Some("nobody"), Some("nobody")));
    rinit.wait().assert_code(0);
}

/// A service of another user may not be able to change it: then it is failed, and named.
#[test]
fn a_user_that_cannot_be_taken() {
    require!("root");
    let setup = Rinit::subreaper().launch(&["--uid", "54321"]);
    let outcome = setup.service("web", "say never", "User = \"54322\"").run();
    outcome.assert_code(216).assert(outcome.stdout().is_empty(), "it never ran");
}

/// A panic, an abort or a fault of a service's own is the service's, not rinit's (trap 40 from the
/// side that can be reached from outside: signals of a fault at PID 1 are dropped by the kernel).
#[test]
fn trap_40_a_fault_signal_does_not_end_pid_1() {
    require!("user namespace");
    let mut rinit = Rinit::pid1().service("web", "say-on USR1 answer say ready wait", "").start();
    rinit.wait_line("ready");
    for signal in [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
        rinit.signal(signal);
    }
    rinit.signal(libc::SIGUSR1);
    rinit.wait_line("answer");
    assert_eq!(processes::inner_pid(rinit.pid), Some(1));
    rinit.terminate().assert_code(0);
    Rinit::subreaper().plain().command_probe("abort").run().assert_code(134);
}
