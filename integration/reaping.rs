//! Reaping: orphans, floods, deaths that come together, and who ends whom.

use crate::harness::{Rinit, Running};
use crate::require;

/// Asks rinit a question that only a turn of its loop can answer: a signal that it forwards.
#[track_caller]
fn assert_responsive(rinit: &mut Running) {
    rinit.signal(libc::SIGUSR1);
    rinit.wait_line("answer");
}

/// A grandchild whose parent is gone is adopted and reaped, as PID 1 and as a subreaper.
#[test]
fn trap_01_double_forked_orphan_is_reaped() {
    let mut inits = vec![Rinit::subreaper()];
    if crate::harness::available("user namespace") {
        inits.push(Rinit::pid1());
    }
    for init in inits {
        let actions = "say-on USR1 answer orphan [ report read @dir@/gate exit 3 ] say ready wait";
        let setup = init.plain().command_probe(actions);
        nix::unistd::mkfifo(&setup.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut rinit = setup.start();
        rinit.wait_line("ready");
        let orphan = rinit.wait_report().number("pid");
        let before = rinit.processes();
        assert_eq!(before.len(), 2, "the command and the orphan {orphan}: {before:?}");
        assert!(before.iter().all(|process| process.ppid == rinit.pid), "adopted: {before:?}");
        drop(std::fs::OpenOptions::new().write(true).open(rinit.path("gate")).unwrap());
        wait_until_alone(&mut rinit, 1);
        rinit.terminate().assert_code(143);
    }
}

/// Turns of rinit's loop until no more than `n` processes are left: each answer is one turn.
#[track_caller]
fn wait_until_alone(rinit: &mut Running, n: usize) {
    for _ in 0..10_000 {
        assert_responsive(rinit);
        if rinit.processes().len() <= n {
            return;
        }
    }
    rinit.fail("processes are left");
}

/// Ten thousand orphans: one SIGCHLD may stand for many, and none may be missed.
#[test]
fn trap_02_ten_thousand_orphans_leave_no_zombie() {
    require!("user namespace");
    let actions = "say-on USR1 answer say ready orphans 10000 say done wait";
    let mut rinit = Rinit::pid1().plain().command_probe(actions).start();
    rinit.wait_line("ready");
    // In the middle of the flood rinit still answers.
    for _ in 0..20 {
        assert_responsive(&mut rinit);
    }
    rinit.wait_line("done");
    wait_until_alone(&mut rinit, 1);
    assert!(rinit.zombies().is_empty());
    rinit.terminate().assert_code(143);
}

/// The main process and orphans of its end in one moment: rinit still sees the main one.
#[test]
fn trap_03_an_orphan_and_main_die_together() {
    require!("user namespace");
    for _ in 0..20 {
        Rinit::pid1().plain().command_probe("orphans 20 exit 5").run().assert_code(5);
    }
}

/// SIGCHLD inherited as ignored: the kernel would reap for us, and tell nobody.
#[test]
fn trap_05_sigchld_inherited_ignored() {
    for init in [Rinit::subreaper(), Rinit::pid1()] {
        let init = init.plain().launch(&["--ignore", "CHLD"]);
        init.command_probe("exit 7").run().assert_code(7);
    }
}

/// SIGCHLD, or everything, inherited as blocked.
#[test]
fn trap_06_signals_inherited_blocked() {
    for blocked in ["CHLD", "all"] {
        for init in [Rinit::subreaper(), Rinit::pid1()] {
            let init = init.plain().launch(&["--block", blocked]);
            let mut rinit = init.command_probe("say ready wait").start();
            rinit.wait_line("ready");
            rinit.terminate().assert_code(143);
        }
    }
}

/// A stranger that dies ends nothing, and its number is nobody's.
#[test]
fn trap_21_a_reaped_stranger_does_not_end_the_container() {
    require!("user namespace");
    let actions = "say-on USR1 answer orphan [ exit 3 ] orphan [ kill-self KILL ] say ready wait";
    let mut rinit = Rinit::pid1().plain().command_probe(actions).start();
    rinit.wait_line("ready");
    wait_until_alone(&mut rinit, 1);
    rinit.terminate().assert_code(143);
}

/// When pids come round, a signal for a dead service must not reach who has its number now.
#[test]
fn trap_21_a_reused_pid_is_not_signalled() {
    require!("user namespace");
    // `short` ends and stays active; then a child of `later` is given its number. At the stop
    // `short` is first, and `later` does not end before the test has looked.
    let stranger = "fork [ say-on TERM stranger-hit say stranger wait ]";
    let later = format!(
        "say later read @dir@/gate reuse @dir@/pid {stranger} say-on TERM later-stops \
         read @dir@/gate wait"
    );
    let later_unit = format!("[Service]\nExecStart = \"@probe@ {later}\"\nKillMode = \"process\"");
    let short = "[Unit]\nAfter = \"later.service\"\n[Service]\nRemainAfterExit = true\n\
                 ExecStart = \"@probe@ pidfile @dir@/pid\"";
    let setup = Rinit::pid1().unit("later", &later_unit).unit("short", short);
    let setup = setup.options(&["--shutdown-timeout", "3s"]);
    nix::unistd::mkfifo(&setup.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = setup.start();
    rinit.wait_state("short", "exited");
    drop(std::fs::OpenOptions::new().write(true).open(rinit.path("gate")).unwrap());
    rinit.wait_line("stranger");
    rinit.signal(libc::SIGTERM);
    rinit.wait_line("later-stops");
    assert!(!rinit.stdout_so_far().contains(&"stranger-hit"), "{:?}", rinit.stdout_so_far());
    rinit.wait().assert_sequence(&[("short", "dead"), ("later", "stop-sigterm")]);
}

/// The group of a service whose leader has been reaped may be somebody else's: it gets nothing.
#[test]
fn trap_22_what_is_left_of_a_group_is_stopped_before_its_leader_is_forgotten() {
    require!("user namespace");
    // The leader ends, a member of its group lives on and ignores SIGTERM.
    let actions = "fork [ ignore TERM say member wait ] say leader exit-on USR1 0 wait";
    let setup = Rinit::pid1().service("web", actions, "TimeoutStopSec = \"500ms\"");
    let mut rinit = setup.start();
    rinit.wait_line("member");
    rinit.wait_line("leader");
    rinit.signal(libc::SIGUSR1);
    let outcome = rinit.wait();
    // Its status was 0 and its result is not success (timeout): 1.
    outcome.assert_code(1).assert_sequence(&[("web", "stop-sigkill"), ("web", "failed")]);
}

/// A zombie that is not ours to reap (its parent lives) does not make rinit spin or wait.
#[test]
fn trap_26_a_foreign_zombie_is_not_waited_for() {
    require!("user namespace");
    let actions = "fork [ exit 0 ] say-on USR1 answer say ready wait";
    let mut rinit = Rinit::pid1().plain().command_probe(actions).start();
    rinit.wait_line("ready");
    assert_responsive(&mut rinit);
    rinit.terminate().assert_code(143);
}

/// Five hundred services that end at once: every exit is seen, for rinit ends by itself only when
/// nothing runs any more, and one of them that failed, the last by name, decides the status.
#[test]
fn five_hundred_short_services() {
    require!("user namespace");
    let mut setup = Rinit::pid1().plain();
    for n in 0..500 {
        setup = setup.unit(&format!("s{n:03}"), "[Service]\nExecStart = \"/bin/true\"\n");
    }
    let failing = "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"/bin/false\"\n";
    setup.unit("s500", failing).run().assert_code(1);
}
