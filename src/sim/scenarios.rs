//! Scripts that once broke a rule, or nearly, and are kept.
//!
//! Each is what `schedules` printed, with a name that says what went wrong.

use super::choices::{Choices, Script};
use super::run::run;

/// No rule is broken, and the run is longer than its boot.
fn check(script: &str) {
    let outcome = run(&mut Choices::from_script(&Script::parse(script)), None, true);
    assert_eq!(outcome.broken, None, "{}", outcome.trace.join("\n"));
    assert!(outcome.events > 3, "{}", outcome.trace.join("\n"));
}

#[test]
fn one_plain_service_and_a_stop() {
    check("");
}

#[test]
fn a_handler_that_upholds_the_unit_that_failed() {
    check(
        "units 2\nplain 0 1\ndemand 0 0 3\nruntime-max 4\nlimit-burst 0 4\nlink 0 0 22\n\
         handler 0 3",
    );
}

#[test]
fn a_client_that_waits_for_a_stop_when_the_budget_ends() {
    check("units 1\nplain 0 1\nruntime-max 4\nstep 30\nreaction 6\nkill-delay 8\nrequest 3");
}

#[test]
fn no_budget_at_all_and_nothing_is_left_behind() {
    check("plain 1\nlists 8\nkill-flags 12\nbudget 7");
}

#[test]
fn a_remaining_step_and_no_budget() {
    check("units 2\nsteps 5\nplain 0 1 1\nremain 1\nkill-signal 0 0 5\nkill-flags 0 12\nbudget 7");
}

#[test]
fn a_main_process_that_even_sigkill_does_not_end() {
    check(
        "units 3\nplain 1 1 0 1\ndemand 3\ntype 0 0 0 5\nrestart 0 0 0 2\nrestart-sec 0 0 1\n\
         timeout-start 0 0 1\ntimeout-stop 0 0 3\ntimeout-mode 0 0 0 0 0 0 3\nlink 20\nfate 0 39\n\
         kill-delay 0 0 7\nstray 11",
    );
}

#[test]
fn a_restart_while_fork_is_tried_again() {
    check("plain 1\ntemper 7\nlists 1\nstep 0 0 0 30\nfate 0 1\nrequest 6");
}

#[test]
fn a_daemon_that_is_not_found_and_has_to_be_probed() {
    check(
        "units 1\nplain 0 1\nlists 18\ntimeout-start 6\njob-timeout 0 8\ntalk 0 0 9 1\n\
         health 0 5\ndaemon 0 2 2",
    );
}

#[test]
fn a_main_process_that_names_another_before_it_is_ready() {
    check("talk 6\nnotice 11 0 0 1\nnotice-delay 2");
}

/// KillMode=process spares the first process when the one that took over from it is restarted.
#[test]
fn a_former_main_process_lives_on_beside_the_next_one() {
    check("plain 1\nrestart 4\nkill-mode 5\ntalk 0 11\nnotice 11\nnotice-delay 0 1");
}

/// It was asked while it started, and is ready before the answer: that says nothing against it.
#[test]
fn a_bad_answer_of_before_it_was_ready() {
    check(
        "restart 2\nfate 28\ntalk 10\nhealth 5 0 0 0 1\nnotice-delay 0 3\n\
         probe 0 0 0 0 0 0 0 0 0 10",
    );
}

/// Its exec is told after the SIGKILL of the budget; its death takes as long as it likes.
#[test]
fn a_notify_service_that_becomes_its_program_when_it_was_killed() {
    check(
        "units 2\nbudget 6\nfate 37\nreaction-delay 0 0 3\nkill-delay 0 0 6\n\
         exec-delay 0 0 4\ntalk 0 0 0 0 6\nnotice 0 11",
    );
}

/// A connection starts `e` again while the stop of `a` takes `e` and `b` down: the start of `b`
/// took the place of its stop, and `a` must wait for the old `b` all the same.
#[test]
fn a_stop_waits_for_who_goes_and_is_to_come_back() {
    check(
        "units 4\nsteps 3\ntemper 3\ndemand 0 0 0 3\nremain 1\njob-timeout 8\nlink 0 0 0 15\n\
         step 0 0 0 30 0 30\nfate 8\nlife 5\nrequest 3 3\nrequest-unit 1\nsocket 0 0 0 2\n\
         connect 4 1",
    );
}

/// `d` fails by itself while it waits to be restarted with `c`, whose own stop takes long.
#[test]
fn a_failure_while_a_restart_waits_for_its_turn() {
    check(
        "units 3\ntemper 0 5 0 3\nrestart 0 2\nlink 0 0 18 0 0 15\nbudget 6\nfate 0 0 0 4\n\
         reaction-delay 0 0 5",
    );
}
