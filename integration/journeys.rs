//! What an operator lives through: boots, steps, crashes, backoffs, failures, reloads.

use crate::harness::{Event, Outcome, Rinit};
use crate::require;

/// The delays of a unit's restarts, in microseconds, and how many in a row each one was.
fn delays(outcome: &Outcome, unit: &str) -> Vec<(i64, i64)> {
    let restarts = outcome.events().filter(|event| event.is("restart", unit));
    let numbers = |e: &Event| (e.number("delay_usec").unwrap(), e.number("attempt").unwrap());
    restarts.map(numbers).collect()
}

/// Within 10 % of what the formula says: doubled each time, from RestartSec.
#[track_caller]
fn assert_doubling(outcome: &Outcome, unit: &str, first_usec: i64, n: usize) {
    let delays = delays(outcome, unit);
    outcome.assert(delays.len() == n, &format!("{n} restarts, not {delays:?}"));
    for (k, (delay, _)) in delays.iter().enumerate() {
        let ratio = *delay as f64 / (first_usec << k) as f64;
        outcome
            .assert((0.9..=1.1).contains(&ratio), &format!("delay {k} is {ratio} of the formula"));
    }
}

/// `exit 70`, four starts allowed: exactly four, growing delays, and 70 is rinit's status.
#[test]
fn a_crash_loop_meets_the_start_limit() {
    let unit = "[Unit]\nStartLimitBurst = 4\n[Service]\nRestart = \"on-failure\"\n\
                RestartSec = \"50ms\"\nExecStart = \"@probe@ exit 70\"\n";
    let mut inits = vec![Rinit::subreaper()];
    if crate::harness::available("user namespace") {
        inits.push(Rinit::pid1());
    }
    for init in inits {
        let outcome = init.unit("web", unit).run();
        outcome.assert_code(70).assert(outcome.n_starts("web") == 4, "exactly four starts");
        // The fourth restart would be the fifth start: it waits its delay, then is refused.
        let delays = delays(&outcome, "web");
        outcome.assert((3..=4).contains(&delays.len()), "three restarts, and one that is refused");
        assert_doubling(&outcome, "web", 50_000, delays.len());
        let refused = outcome.events().any(|event| {
            event.is_state("web", "failed") && event.text("result") == "start-limit-hit"
        });
        outcome.assert(refused, "failed by start-limit-hit");
    }
}

/// A service that lives for a while, but shorter than RestartResetSec, backs off as well.
#[test]
fn a_slow_crash_loop_backs_off_too() {
    let unit = "[Unit]\nStartLimitIntervalSec = 0\n[Service]\nRestart = \"always\"\n\
                RestartSec = \"20ms\"\nRestartResetSec = \"1h\"\n\
                ExecStart = \"@probe@ nth @dir@/count 0 0 sleep 30 nth @dir@/runs 5 1 say up wait\"\n";
    let mut rinit = Rinit::subreaper().unit("web", unit).start();
    rinit.wait_line("up");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_doubling(&outcome, "web", 20_000, 5);
}

/// One that was up longer than RestartResetSec restarts at RestartSec again.
#[test]
fn a_long_run_resets_the_backoff() {
    let unit = "[Unit]\nStartLimitIntervalSec = 0\n[Service]\nRestart = \"always\"\n\
                RestartSec = \"20ms\"\nRestartResetSec = \"1ms\"\n\
                ExecStart = \"@probe@ sleep 50 nth @dir@/runs 4 1 say up wait\"\n";
    let mut rinit = Rinit::subreaper().unit("web", unit).start();
    rinit.wait_line("up");
    let outcome = rinit.terminate();
    let delays = delays(&outcome, "web");
    outcome.assert(delays.len() == 4, "four restarts");
    for (delay, attempt) in delays {
        outcome.assert((18_000..=22_000).contains(&delay), &format!("{delay} µs"));
        outcome.assert(attempt <= 1, &format!("attempt {attempt}"));
    }
}

/// RestartMaxDelaySec= is where the delay ends.
#[test]
fn the_backoff_has_a_ceiling() {
    let unit = "[Unit]\nStartLimitIntervalSec = 0\n[Service]\nRestart = \"always\"\n\
                RestartSec = \"10ms\"\nRestartMaxDelaySec = \"20ms\"\n\
                ExecStart = \"@probe@ nth @dir@/runs 5 1 say up wait\"\n";
    let mut rinit = Rinit::subreaper().unit("web", unit).start();
    rinit.wait_line("up");
    let outcome = rinit.terminate();
    let delays: Vec<i64> = delays(&outcome, "web").into_iter().map(|(delay, _)| delay).collect();
    outcome
        .assert(delays[1..].iter().all(|d| (18_000..=22_000).contains(d)), &format!("{delays:?}"));
}

/// Steps run one after another in file-name order, before any other unit.
#[test]
fn steps_run_in_file_name_order_before_everything_else() {
    let step = "Type = \"oneshot\"";
    let setup = Rinit::subreaper()
        .service("20-second", "append @dir@/order second", step)
        .service("10-first", "sleep 30 append @dir@/order first", step)
        .service("app", "append @dir@/order app say ready wait", "")
        .service("9-last", "append @dir@/order last", step);
    let mut rinit = setup.start();
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    // Byte order: "9" comes after "10" and "20".
    assert_eq!(outcome.lines_of("order"), ["first", "second", "last", "app"]);
}

/// A step that fails stops the boot, and its status is rinit's.
#[test]
fn a_failing_step_stops_the_boot() {
    let step = "Type = \"oneshot\"";
    let setup = Rinit::subreaper()
        .service("10-migrate", "exit 23", step)
        .service("20-warm", "say never", step)
        .service("app", "say never wait", "");
    let outcome = setup.run();
    outcome.assert_code(23);
    assert_eq!(outcome.starts("ExecStart"), ["10-migrate"]);
}

/// A step that waits for something retries until it is there.
#[test]
fn a_step_retries_until_it_succeeds() {
    let lines = "Type = \"oneshot\"\nRestart = \"on-failure\"\nRestartSec = \"5ms\"";
    let setup = Rinit::subreaper().service("10-wait", "nth @dir@/tries 3 1 exit 0", lines).service(
        "app",
        "say up exit 0",
        "",
    );
    let outcome = setup.run();
    outcome.assert_code(0).assert(outcome.n_starts("10-wait") == 4, "three failures, one success");
    outcome.assert(outcome.stdout() == ["up"], "and then the app");
}

/// What runs beside a failing service is stopped in order, and the failure's status is rinit's.
#[test]
fn a_failure_stops_everything_in_order() {
    let setup = Rinit::subreaper()
        .unit("db", "[Service]\nExecStart = \"@probe@ say db wait\"\n")
        .unit(
            "app",
            "[Unit]\nAfter = \"db.service\"\n[Service]\nExecStart = \"@probe@ say app wait\"\n",
        )
        .service("bad", "read @dir@/gate exit 9", "");
    nix::unistd::mkfifo(&setup.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = setup.start();
    rinit.wait_line("db");
    rinit.wait_line("app");
    drop(std::fs::OpenOptions::new().write(true).open(rinit.path("gate")).unwrap());
    let outcome = rinit.wait();
    outcome.assert_code(9);
    assert_eq!(outcome.ends(), ["bad", "app", "db"], "{}", outcome.log());
}

/// The first cause wins: what dies badly during the stop does not replace the status.
#[test]
fn the_first_failure_decides_the_status() {
    let setup = Rinit::subreaper().service("a", "exit-on TERM 5 say a wait", "").service(
        "bad",
        "read @dir@/gate kill-self KILL",
        "",
    );
    nix::unistd::mkfifo(&setup.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = setup.start();
    rinit.wait_line("a");
    drop(std::fs::OpenOptions::new().write(true).open(rinit.path("gate")).unwrap());
    rinit.wait().assert_code(137);
}

/// FailureAction=none: the rest goes on.
#[test]
fn failure_action_none_lets_the_rest_live() {
    let optional = "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 9\"\n";
    let setup = Rinit::subreaper().unit("optional", optional).service("app", "say ready wait", "");
    let mut rinit = setup.start();
    rinit.wait_state("optional", "failed");
    rinit.wait_line("ready");
    rinit.terminate().assert_code(0);
}

/// With nothing left, the status is the first failure's, FailureAction=none included.
#[test]
fn nothing_left_gives_the_first_failure() {
    let optional = "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 9\"\n";
    Rinit::subreaper().unit("optional", optional).run().assert_code(9);
    Rinit::subreaper().service("fine", "exit 0", "").run().assert_code(0);
}

/// OnFailure= runs to its end before the failure stops the rest, with the failure's words.
#[test]
fn on_failure_runs_first() {
    let setup = Rinit::subreaper()
        .unit(
            "bad",
            "[Unit]\nOnFailure = \"report.service\"\n[Service]\nExecStart = \"@probe@ exit 9\"\n",
        )
        .service("report", "append @dir@/order reported", "Type = \"oneshot\"")
        .service("app", "say-on TERM x exit-on TERM 0 say ready wait", "");
    let outcome = setup.run();
    outcome.assert_code(9);
    assert_eq!(outcome.lines_of("order"), ["reported"]);
    outcome.assert_sequence(&[("bad", "failed"), ("report", "dead"), ("app", "stop-sigterm")]);
}

/// SIGHUP runs ExecReload= of what is active, and starts and stops nothing.
#[test]
fn sighup_reloads() {
    let lines = "ExecReload = \"@probe@ kill-parent URG append @dir@/reloads one say reloaded\"";
    let setup = Rinit::subreaper().service("web", "say ready wait", lines);
    let mut rinit = setup.service("plain", "say ready wait", "").start();
    rinit.wait_line("ready");
    rinit.wait_line("ready");
    rinit.wait_state("web", "running");
    rinit.signal(libc::SIGHUP);
    rinit.wait_line("reloaded");
    rinit.wait_state("web", "reload");
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.starts("ExecStart").len(), 2, "{}", outcome.log());
}

#[test]
fn one_unit_is_read_again_as_one() {
    let mut rinit = Rinit::subreaper().service("web", "say ready wait", "").start();
    rinit.wait_line("ready");
    rinit.signal(libc::SIGHUP);
    rinit.wait_message("reload: 1 unit read again");
    rinit.terminate().assert_code(0);
}

/// ExecReload= knows the main process as $MAINPID.
#[test]
fn exec_reload_gets_mainpid() {
    let lines = "ExecReload = \"/bin/kill -USR1 $MAINPID\"";
    let mut rinit =
        Rinit::subreaper().service("web", "say-on USR1 told say ready wait", lines).start();
    rinit.wait_line("ready");
    rinit.wait_state("web", "running");
    rinit.signal(libc::SIGHUP);
    rinit.wait_line("told");
    rinit.terminate().assert_code(0);
}

/// Order of one service's commands, and a failing ExecStartPre= (prefix `-` forgives).
#[test]
fn the_commands_of_one_service() {
    let append = |word: &str| format!("\"@probe@ append @dir@/order {word}\"");
    let lines = format!(
        "ExecCondition = {}\nExecStartPre = {}\nExecStartPost = {}\nExecStopPost = {}",
        append("condition"),
        append("pre ; -@probe@ exit 1"),
        append("post"),
        append("stop-post")
    );
    let mut rinit = Rinit::subreaper().service("web", "say ready wait", &lines).start();
    rinit.wait_line("ready");
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.lines_of("order"), ["condition", "pre", "post", "stop-post"]);

    let lines = "ExecStartPre = \"@probe@ exit 8\"";
    let outcome = Rinit::subreaper().service("web", "say never", lines).run();
    outcome.assert_code(8).assert(outcome.stdout().is_empty(), "ExecStart did not run");
}

/// Independent services start together: each waits for the other to be there.
#[test]
fn independent_services_start_in_parallel() {
    let setup = Rinit::subreaper().service("a", "read @dir@/gate say met exit 0", "").service(
        "b",
        "append @dir@/gate hello exit 0",
        "",
    );
    nix::unistd::mkfifo(&setup.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let outcome = setup.run();
    outcome.assert_code(0).assert(outcome.stdout() == ["met"], "they met");
}

/// A program that is gone by the time it is started: unit mode gives systemd's 203.
#[test]
fn an_exec_failure_in_a_unit_is_203() {
    let unit = "[Service]\nExecStart = \"@dir@/late\"\n";
    let setup = Rinit::subreaper().service("10-step", "ok", "Type = \"oneshot\"").unit("web", unit);
    setup.run().assert_code(203);
}

/// A false condition skips a unit, and that is success.
#[test]
fn a_condition_skips_a_unit() {
    let unit =
        "[Unit]\nConditionPathExists = \"/nope\"\n[Service]\nExecStart = \"@probe@ say never\"\n";
    let outcome = Rinit::subreaper().unit("web", unit).run();
    outcome.assert_code(0).assert(outcome.stdout().is_empty(), "it did not run");
}

/// The identity that every process of an activation has.
#[test]
fn a_service_knows_its_activation() {
    let mut rinit = Rinit::subreaper().service("web", "report exit 0", "").start();
    let start = rinit.wait_start("web", "ExecStart");
    let report = rinit.wait_report();
    assert_eq!(report.env("INVOCATION_ID"), Some(start.text("invocation_id")));
    assert_eq!(start.number("pid"), Some(report.number("pid")));
    rinit.wait().assert_code(0);
}

/// A start that takes too long is ended, and is a failure by timeout.
#[test]
fn a_start_timeout() {
    let lines = "Type = \"oneshot\"\nTimeoutStartSec = \"50ms\"";
    let outcome = Rinit::subreaper().service("10-slow", "wait", lines).run();
    let timed_out = |e: &Event| e.is_state("10-slow", "failed") && e.text("result") == "timeout";
    outcome.assert(outcome.events().any(timed_out), "result timeout");
    outcome.assert_code(143);
}

/// The boot of PID 1: the same journeys end to end in a pid namespace.
#[test]
fn a_whole_life_as_pid_1() {
    require!("user namespace");
    let setup = Rinit::pid1()
        .service("10-migrate", "append @dir@/order migrate", "Type = \"oneshot\"")
        .service(
            "web",
            "append @dir@/order web say ready wait",
            "Restart = \"always\"\nRestartSec = \"1ms\"",
        );
    let mut rinit = setup.start();
    rinit.wait_line("ready");
    let pid = rinit.processes().first().unwrap().pid;
    crate::harness::processes::kill(pid, libc::SIGKILL);
    rinit.wait_restart("web");
    rinit.wait_line("ready");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.lines_of("order"), ["migrate", "web", "web"]);
}
