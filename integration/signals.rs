//! Signals to rinit: the first instant, the inherited, the repeated, the unknown.

use crate::harness::{Rinit, processes};
use crate::require;

/// Calls that a static binary makes before any code of its own: memory, threads' bookkeeping.
const BEFORE_MAIN: [i64; 14] = [
    libc::SYS_brk,
    libc::SYS_arch_prctl,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prlimit64,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getrandom,
    libc::SYS_mprotect,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_rt_sigprocmask,
    libc::SYS_uname,
];

/// A signal with its default disposition is dropped at PID 1: block before anything else.
#[test]
fn trap_07_signals_are_blocked_before_anything_else() {
    require!("user namespace");
    let rinit = Rinit::pid1().plain().launch(&["--trace", "0"]);
    let mut rinit = rinit.command_probe("wait").start();
    let before = rinit.wait_trace();
    assert!(before.iter().all(|call| BEFORE_MAIN.contains(call)), "{before:?}");
    rinit.wait().assert_code(143);
}

/// SIGTERM at every single system call from there to the first wait: it is never lost, and it
/// reaches a command that was being started.
#[test]
fn trap_07_sigterm_at_every_system_call_of_the_start() {
    require!("user namespace");
    for at in (0..).step_by(2) {
        let rinit = Rinit::pid1().plain().launch(&["--trace", &at.to_string()]);
        let mut rinit = rinit.command_probe("wait").start();
        let stops = rinit.wait_stops();
        rinit.wait().assert_code(143);
        if stops < at {
            break;
        }
    }
}

/// The same with a unit, not PID 1, where a wrong kill(0) or kill(-1) would end this very test
/// (trap 17: a table that is half filled).
#[test]
fn trap_17_a_signal_while_the_table_is_half_filled() {
    for at in (0..).step_by(16) {
        let setup = Rinit::subreaper().launch(&["--trace", &at.to_string()]);
        let mut rinit = setup.service("a", "wait", "").service("b", "wait", "").start();
        let stops = rinit.wait_stops();
        rinit.wait().assert_code(0);
        if stops < at {
            break;
        }
    }
}

/// A burst of signals while fifty services start: each is stopped, nobody else is.
#[test]
fn trap_17_sigterm_amid_fifty_starts() {
    let mut setup = Rinit::subreaper();
    for n in 0..50 {
        setup = setup.service(&format!("s{n}"), "wait", "");
    }
    let mut rinit = setup.start();
    rinit.wait_event("the first start", |event| event.text("event") == "start");
    rinit.signal(libc::SIGUSR1);
    rinit.terminate().assert_code(0);
}

/// Whatever rinit inherited, a service starts with an empty mask and nothing ignored (trap 8),
/// SIGPIPE included (trap 9).
#[test]
fn trap_08_a_service_starts_with_clean_signals() {
    let odd = ["--ignore", "all", "--block", "all"];
    let commands = Rinit::subreaper().launch(&odd).command_probe("report exit 0");
    let units = Rinit::subreaper().launch(&odd).service("web", "report exit 0", "");
    for setup in [commands, units] {
        let mut rinit = setup.start();
        let report = rinit.wait_report();
        for mask in ["blocked", "ignored", "caught"] {
            assert_eq!(report.mask(mask), 0, "{mask}");
        }
        rinit.wait().assert_code(0);
    }
}

/// A reader of a service's output that goes away ends the service, as in a shell's pipe.
#[test]
fn trap_09_sigpipe_ends_a_service_that_writes_to_nobody() {
    let setup = Rinit::subreaper().launch(&["--broken-pipe", "1"]);
    setup.command_probe("say lost exit 0").run().assert_code(141);
}

/// rinit itself outlives the reader of its log.
#[test]
fn trap_09_rinit_survives_a_broken_stderr() {
    for stream in ["1", "2"] {
        let setup = Rinit::subreaper().launch(&["--broken-pipe", stream]);
        let lines = "Restart = \"on-failure\"\nRestartSec = \"10ms\"";
        setup.service("web", "nth @dir@/count 3 7 exit 0", lines).run().assert_code(0);
    }
}

/// One thread: a second one could take a signal that is meant for the loop.
#[test]
fn trap_10_rinit_has_one_thread() {
    let mut rinit = Rinit::subreaper().service("web", "say ready wait", "").start();
    rinit.wait_line("ready");
    assert_eq!(processes::status(rinit.pid, "Threads"), "1");
    rinit.terminate().assert_code(0);
}

/// A second stop signal during a stop hurries; it is neither lost nor taken for a fresh one.
#[test]
fn trap_14_a_second_stop_signal_hurries() {
    for second in [libc::SIGTERM, libc::SIGINT] {
        let lines = "TimeoutStopSec = \"infinity\"";
        let setup = Rinit::subreaper().options(&["--shutdown-timeout", "1h"]);
        let mut rinit = setup.service("web", "ignore TERM say ready wait", lines).start();
        rinit.wait_line("ready");
        rinit.signal(libc::SIGTERM);
        rinit.wait_state("web", "stop-sigterm");
        // Not to wait for something: within 200 ms a repeat counts as the same signal.
        std::thread::sleep(std::time::Duration::from_millis(250));
        rinit.signal(second);
        let outcome = rinit.wait();
        outcome.assert_code(137).assert(outcome.n_starts("web") == 1, "not restarted");
    }
}

/// Each of these stops, with units, and all is well.
#[test]
fn trap_39_every_stop_signal_stops() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGPWR, 37] {
        let mut rinit = Rinit::subreaper().service("web", "say ready wait", "").start();
        rinit.wait_line("ready");
        rinit.wait_state("web", "running");
        rinit.signal(signal);
        let outcome = rinit.wait();
        outcome.assert_code(0).assert_sequence(&[("web", "stop-sigterm"), ("web", "dead")]);
    }
}

/// A real-time signal that means nothing here is said once, and never fatal.
#[test]
fn trap_39_unknown_real_time_signals_are_harmless() {
    let actions = "say-on USR1 answer say ready wait";
    let mut rinit = Rinit::subreaper().service("web", actions, "").start();
    rinit.wait_line("ready");
    (35..=64).filter(|signal| *signal != 37).for_each(|signal| rinit.signal(signal));
    [32, 33, libc::SIGWINCH, libc::SIGURG].into_iter().for_each(|signal| rinit.signal(signal));
    rinit.signal(libc::SIGUSR1);
    rinit.wait_line("answer");
    rinit.terminate().assert_code(0);
}

/// From inside, PID 1 cannot be killed, stopped or crashed by a signal.
#[test]
fn trap_38_signals_from_inside_do_not_hurt_pid_1() {
    require!("user namespace");
    let harmless = [9, 19, 4, 5, 6, 7, 8, 11, 13, 17, 18, 20, 21, 22, 23, 28, 31, 32, 33];
    let sent: Vec<String> = harmless.iter().map(|signal| format!("kill-init {signal}")).collect();
    let actions = format!("say-on USR1 answer {} say ready wait", sent.join(" "));
    let mut rinit = Rinit::pid1().service("web", &actions, "").start();
    rinit.wait_line("ready");
    rinit.signal(libc::SIGUSR1);
    rinit.wait_line("answer");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.n_starts("web") == 1, "undisturbed");
}

/// USR1 and the like go to the services that catch them, and to no others.
#[test]
fn other_signals_are_forwarded_to_who_catches_them() {
    let setup = Rinit::subreaper()
        .service("catches", "say-on USR1 caught say ready wait", "")
        .service("does-not", "say ready wait", "");
    let mut rinit = setup.start();
    rinit.wait_line("ready");
    rinit.wait_line("ready");
    rinit.signal(libc::SIGUSR1);
    rinit.wait_line("caught");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert_sequence(&[("does-not", "stop-sigterm"), ("does-not", "dead")]);
}

/// SIGCONT after a stop is part of every stop, because one that was queued before may be gone.
#[test]
fn trap_51_sigcont_is_not_counted_on() {
    require!("user namespace");
    let mut rinit = Rinit::pid1().plain().command_probe("say ready stop say on wait").start();
    rinit.wait_line("ready");
    for _ in 0..20 {
        rinit.signal(libc::SIGCONT);
        rinit.signal(libc::SIGTSTP);
    }
    rinit.terminate().assert_code(143);
}
