//! Stopping: in order, at any instant, whoever resists, and never longer than the budget.

use crate::harness::Rinit;
use crate::require;

/// A child that ignores SIGTERM is killed at its timeout, and the status says so.
#[test]
fn trap_11_a_service_that_ignores_sigterm_is_killed() {
    let lines = "TimeoutStopSec = \"100ms\"";
    let mut rinit = Rinit::subreaper().service("web", "ignore TERM say ready wait", lines).start();
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(137);
    outcome.assert_sequence(&[("web", "stop-sigterm"), ("web", "stop-sigkill"), ("web", "failed")]);
}

/// A stopped (SIGSTOP) child acts on SIGTERM only when SIGCONT comes after it.
#[test]
fn trap_12_a_stopped_child_ends_gracefully() {
    let actions = "exit-on TERM 0 say ready stop wait";
    for setup in [
        Rinit::subreaper().service("web", actions, ""),
        Rinit::subreaper().service("web", actions, "KillMode = \"mixed\""),
        Rinit::subreaper().command_probe(actions),
    ] {
        let mut rinit = setup.start();
        rinit.wait_line("ready");
        rinit.terminate().assert_code(0);
    }
}

/// SIGTERM while a step runs: the step is stopped and nothing after it starts.
#[test]
fn trap_15_sigterm_during_a_step() {
    let setup = Rinit::subreaper()
        .service("10-slow", "say step wait", "Type = \"oneshot\"")
        .service("20-next", "say never wait", "Type = \"oneshot\"")
        .service("web", "say never wait", "");
    let mut rinit = setup.start();
    rinit.wait_line("step");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.starts("ExecStart"), ["10-slow"]);
}

/// SIGTERM while ExecStartPre= runs.
#[test]
fn trap_15_sigterm_during_exec_start_pre() {
    let lines = "ExecStartPre = \"@probe@ say pre wait\"";
    let mut rinit = Rinit::subreaper().service("web", "say never", lines).start();
    rinit.wait_line("pre");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.n_starts("web") == 0, "the main process never started");
}

/// SIGTERM during a backoff: the end is at once, and nothing is started again.
#[test]
fn trap_16_sigterm_during_a_backoff() {
    let lines = "Restart = \"always\"\nRestartSec = \"1h\"";
    let mut rinit = Rinit::subreaper().service("web", "exit 1", lines).start();
    rinit.wait_state("web", "auto-restart");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.n_starts("web") == 1, "no respawn");
}

/// A grandchild that left its group and session is stopped with its service.
#[test]
fn trap_23_a_grandchild_that_left_the_session_is_stopped() {
    let away = "fork [ setsid say-on TERM escaped-stops exit-on TERM 0 say away wait ]";
    let actions = format!("{away} say ready wait");
    for setup in [Rinit::subreaper(), Rinit::pid1()] {
        let mut rinit = setup.service("web", &actions, "").start();
        rinit.wait_line("away");
        rinit.wait_line("ready");
        let outcome = rinit.terminate();
        outcome.assert_code(0);
        outcome.assert(outcome.stdout().contains(&"escaped-stops"), "it had its SIGTERM");
    }
}

/// The same when the one in between is gone, and when it resists.
#[test]
fn trap_23_a_daemon_that_resists_is_killed() {
    require!("user namespace");
    let away = "orphan [ setsid ignore TERM say away wait ]";
    let actions = format!("{away} say ready exit-on TERM 0 wait");
    let setup = Rinit::pid1().options(&["--shutdown-timeout", "2s"]);
    let mut rinit = setup.service("web", &actions, "TimeoutStopSec = \"200ms\"").start();
    rinit.wait_line("away");
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    // A unit's own process that had to be killed counts, a stray does not: both are honest here.
    outcome.assert([0, 137].contains(&outcome.code()), "it ended");
}

/// The command ends while its siblings live: SIGTERM and time for them, not the kernel's SIGKILL.
#[test]
fn trap_24_siblings_of_a_finished_command_may_save_their_work() {
    let sibling = "fork [ say-on TERM saved exit-on TERM 0 say sibling wait ]";
    for setup in [Rinit::subreaper(), Rinit::pid1()] {
        let actions = format!("{sibling} cat exit 4");
        let mut rinit = setup.piped_stdin().command_probe(&actions).start();
        rinit.wait_line("sibling");
        rinit.close_stdin();
        let outcome = rinit.wait();
        outcome.assert_code(4).assert(outcome.stdout().contains(&"saved"), "it had its SIGTERM");
    }
}

/// Ten that ignore SIGTERM end inside the budget although each alone may take 90 s.
#[test]
fn trap_47_ten_that_ignore_sigterm_end_inside_the_budget() {
    let mut setup = Rinit::subreaper().options(&["--shutdown-timeout", "2s"]);
    for n in 0..10 {
        setup = setup.service(&format!("s{n}"), "ignore TERM say ready wait", "");
    }
    let mut rinit = setup.start();
    (0..10).for_each(|_| rinit.wait_line("ready"));
    rinit.terminate().assert_code(137);
}

/// A chain of those: what is left of the budget is shared out over the layers.
#[test]
fn trap_47_a_chain_of_term_ignorers_ends_inside_the_budget() {
    let mut setup = Rinit::subreaper().options(&["--shutdown-timeout", "3s"]);
    for (name, after) in [("a", ""), ("b", "a.service"), ("c", "b.service")] {
        setup = setup.unit(name, &chain_link(after, "ignore TERM say ready wait"));
    }
    let mut rinit = setup.start();
    (0..3).for_each(|_| rinit.wait_line("ready"));
    let outcome = rinit.terminate();
    outcome.assert_code(137);
    assert_eq!(outcome.ends(), ["c", "b", "a"], "{}", outcome.log());
}

fn chain_link(after: &str, actions: &str) -> String {
    format!("[Unit]\nAfter = \"{after}\"\nRequires = \"{after}\"\n[Service]\nExecStart = \"@probe@ {actions}\"\n")
        .replace("After = \"\"\nRequires = \"\"\n", "")
}

/// Two chains of three stop in exactly the reverse order of their start.
#[test]
fn two_chains_stop_in_reverse_order() {
    let mut setup = Rinit::subreaper();
    for chain in ["x", "y"] {
        for (n, after) in
            [(1, String::new()), (2, format!("{chain}1.service")), (3, format!("{chain}2.service"))]
        {
            let actions = format!("exit-on TERM 0 append @dir@/{chain} up{n} say ready wait");
            setup = setup.unit(&format!("{chain}{n}"), &chain_link(&after, &actions));
        }
    }
    let mut rinit = setup.start();
    (0..6).for_each(|_| rinit.wait_line("ready"));
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let ends = outcome.ends();
    for chain in ["x", "y"] {
        let order: Vec<_> = ends.iter().filter(|unit| unit.starts_with(chain)).collect();
        assert_eq!(order, [&format!("{chain}3"), &format!("{chain}2"), &format!("{chain}1")]);
        // Each was signalled only after the one above had gone.
        let steps = [3, 2, 1].map(|n| [(n, "stop-sigterm"), (n, "dead")]).concat();
        let steps: Vec<_> = steps.iter().map(|(n, to)| (format!("{chain}{n}"), *to)).collect();
        let steps: Vec<_> = steps.iter().map(|(unit, to)| (unit.as_str(), *to)).collect();
        outcome.assert_sequence(&steps);
    }
}

/// ExecStop= runs before the signal, ExecStopPost= after the end.
#[test]
fn exec_stop_and_exec_stop_post() {
    let lines = "ExecStop = \"@probe@ append @dir@/order stop\"\n\
                 ExecStopPost = \"@probe@ append @dir@/order post\"";
    let mut rinit = Rinit::subreaper().service("web", "say ready wait", lines).start();
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.lines_of("order"), ["stop", "post"]);
    outcome.assert_sequence(&[("web", "stop"), ("web", "stop-sigterm"), ("web", "stop-post")]);
}

/// KillMode= decides who gets the signal.
#[test]
fn kill_modes() {
    require!("user namespace");
    let child = "fork [ say-on TERM child-term exit-on TERM 0 say child wait ]";
    for (mode, child_hears) in [("control-group", true), ("mixed", false)] {
        let actions = format!("{child} exit-on TERM 0 say ready wait");
        let lines = format!("KillMode = \"{mode}\"");
        let mut rinit = Rinit::pid1().service("web", &actions, &lines).start();
        rinit.wait_line("child");
        rinit.wait_line("ready");
        let outcome = rinit.terminate();
        outcome.assert_code(0);
        let heard = outcome.stdout().contains(&"child-term");
        outcome.assert(heard == child_hears, mode);
    }
}

/// KillSignal= and SendSIGHUP=.
#[test]
fn kill_signal_and_sighup() {
    let lines = "KillSignal = \"SIGINT\"\nSendSIGHUP = true";
    let actions = "say-on HUP hup say-on INT int say-on TERM term exit-on INT 0 say ready wait";
    let mut rinit = Rinit::subreaper().service("web", actions, lines).start();
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.stdout().contains(&"int"), "KillSignal");
    outcome.assert(!outcome.stdout().contains(&"term"), "and not SIGTERM");
}

/// A service whose output is a FIFO that nobody reads hangs in open(2), before its exec. SIGTERM
/// ends it there: it does not take the whole budget.
#[test]
fn a_child_that_waits_for_a_fifo_is_stopped_by_sigterm() {
    let mut setup = Rinit::subreaper();
    let fifo = setup.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let lines = format!("StandardOutput = \"file:{}\"", fifo.display());
    setup = setup.service("web", "say never", &lines);
    let mut rinit = setup.start();
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    outcome.assert_sequence(&[("web", "stop-sigterm"), ("web", "dead")]);
}
