//! Memory limits where rinit itself has to keep them, and what each process carries.
//!
//! The watchdog looks from time to time: what is asserted is what it found and did, and how far
//! over the limit that was, never when. Cgroups are in `cgroup` and `vm`, the container's own
//! limit in `docker`.

use std::time::Instant;

use crate::harness::{DEADLINE, Event, Rinit, Running, processes};
use crate::require;

const MIB: i64 = 1 << 20;

/// A service with a limit that the watchdog keeps.
fn capped(actions: &str, max: &str, more: &str) -> Rinit {
    let lines = format!(
        "MemoryMax = \"{max}\"\nMemoryEnforce = \"watchdog\"\nRestart = \"on-failure\"\n\
         RestartSec = \"1ms\"\n{more}"
    );
    Rinit::subreaper().service("leaky", actions, &lines)
}

#[track_caller]
fn wait_oom(rinit: &mut Running) -> Event {
    rinit.wait_event("leaky to be over its limit", |event| event.is("oom-kill", "leaky"))
}

#[test]
fn who_leaks_is_stopped_and_its_sibling_goes_on() {
    let rinit = capped("leak 200", "64M", "").service("calm", "allocate 80 say calm wait", "");
    let mut rinit = rinit.start();
    rinit.wait_line("calm");
    let event = wait_oom(&mut rinit);
    assert_eq!(event.number("limit"), Some(64 * MIB));
    assert!(event.number("peak") > Some(64 * MIB), "{event:?}");
    assert!(event.text("message").contains("over MemoryMax=64M with "), "{event:?}");
    rinit.wait_restart("leaky");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    outcome.assert(outcome.n_starts("calm") == 1, "the sibling goes on");
    let because = |e: &Event| e.is_state("leaky", "stop-sigterm") && e.text("result") == "oom-kill";
    outcome.assert(outcome.events().any(because), "stopped with that result");
}

/// It has until TimeoutStopSec= to stop, but not if it goes on growing.
#[test]
fn who_grows_on_while_it_is_stopped_is_killed() {
    let rinit = capped("ignore TERM leak 200", "64M", "TimeoutStopSec = \"1h\"");
    let mut rinit = rinit.start();
    wait_oom(&mut rinit);
    rinit.wait_state("leaky", "stop-sigkill");
    rinit.wait_restart("leaky");
    // Of the next run only what the budget leaves.
    rinit.signal(libc::SIGTERM);
    rinit.wait();
}

/// Five processes have the same 200 MiB, so together 200 and not 1,000. Then one of them leaks.
#[track_caller]
fn shared_counts_once(lines: &str, launch: &[&str]) {
    let workers = "fork [ wait ] ".repeat(4);
    let rinit = capped(&format!("allocate 200 {workers} leak 100"), "400M", lines);
    let mut rinit = rinit.launch(launch).start();
    let event = wait_oom(&mut rinit);
    let peak = event.number("peak").unwrap();
    assert!(peak > 400 * MIB && peak < 800 * MIB, "{event:?}");
    rinit.wait_restart("leaky");
    rinit.terminate().assert_code(0);
}

#[test]
fn what_forked_workers_share_counts_once() {
    shared_counts_once("", &[]);
}

/// As in a container: rinit is root without CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON
/// (capability(7)), each of which would show it everybody's pages; the service is somebody else's.
#[test]
fn what_processes_of_another_user_share_counts_once() {
    require!("root");
    let lacks = ["19", "21", "38"].map(|number| ["--drop-capability", number]);
    shared_counts_once("User = \"nobody\"", lacks.as_flattened());
}

/// What a child took counts like what its parent took, whatever became of the tie between them.
#[test]
fn what_an_orphan_takes_counts() {
    let mut rinit = capped("orphan [ setsid leak 200 ] wait", "64M", "").start();
    wait_oom(&mut rinit);
    rinit.wait_restart("leaky");
    rinit.terminate().assert_code(0);
}

/// Replaced, not failed: no restart is counted and no backoff begins.
#[test]
fn who_is_high_for_long_is_replaced() {
    let lines = "MemoryHigh = \"32M\"\nMemoryHighAction = \"recycle\"\nRestart = \"no\"";
    let rinit = Rinit::subreaper().service("leaky", "allocate 48 say up wait", lines);
    let mut rinit = rinit.service("calm", "allocate 48 wait", "MemoryHigh = \"32M\"").start();
    rinit.wait_line("up");
    let event = rinit.wait_event("it to be high", |event| event.is("memory-high", "leaky"));
    assert_eq!(event.number("limit"), Some(32 * MIB));
    assert!(event.number("current") >= Some(48 * MIB), "{event:?}");
    rinit.wait_line("up");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let failed = |event: &Event| !matches!(event.text("result"), "" | "success" | "done");
    outcome.assert(!outcome.events().any(failed), "nothing failed");
    outcome.assert(outcome.n_starts("calm") == 1, "high is told only to who asked for it");
}

#[test]
fn each_process_may_carry_its_limit_itself() {
    let lines = "MemoryMax = \"512M\"\nMemoryEnforce = \"rlimit\"";
    let mut rinit = Rinit::subreaper().service("web", "report wait", lines).start();
    let limit = (512 * MIB).to_string();
    assert_eq!(rinit.wait_report().limit("Max data size"), (limit.as_str(), limit.as_str()));
    rinit.terminate().assert_code(0);
}

/// Of what has a limit, or is one of several, the kernel takes one before it takes rinit.
#[test]
fn workers_are_taken_before_rinit() {
    let limited = "MemoryMax = \"512M\"\nMemoryEnforce = \"none\"";
    let rinit = Rinit::subreaper()
        .launch(&["--oom-score-adj", "50"])
        .service("plain", "wait", "")
        .service("limited", "wait", limited)
        .service("several", "wait", "Instances = 1")
        .service("own", "wait", &format!("{limited}\nOOMScoreAdjust = 333"));
    let mut rinit = rinit.start();
    for (unit, expected) in
        [("plain", "50"), ("limited", "150"), ("several@1", "150"), ("own", "333")]
    {
        let pid = rinit.wait_start(unit, "ExecStart").number("pid").unwrap();
        look_until(&format!("{unit} to have {expected}"), || {
            let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
            score.is_ok_and(|score| score.trim() == expected)
        });
    }
    let own = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", rinit.pid)).unwrap();
    assert_eq!(own.trim(), "50");
    rinit.terminate().assert_code(0);
}

/// Pages of several processes are merged only if the unit says so, and rinit's own are not.
#[test]
fn the_kernel_may_merge_pages() {
    let merges = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/ksm_stat")).unwrap_or_default();
        text.lines().any(|line| line == "ksm_merge_any: yes")
    };
    let here = std::fs::read_to_string("/proc/self/ksm_stat").unwrap_or_default();
    let told = here.contains("ksm_merge_any").then_some(()).ok_or("a kernel that tells of KSM");
    let Some(()) = crate::tools::need(told) else { return };
    let rinit = Rinit::subreaper().service("merged", "wait", "MemoryKSM = true");
    let mut rinit = rinit.service("plain", "wait", "").start();
    for (unit, expected) in [("merged", true), ("plain", false)] {
        let pid = rinit.wait_start(unit, "ExecStart").number("pid").unwrap() as i32;
        rinit.wait_state(unit, "running");
        look_until(unit, || processes::process(pid).is_some_and(|process| process.name == "probe"));
        assert_eq!(merges(pid), expected, "{unit}");
    }
    assert!(!merges(rinit.pid));
    rinit.terminate().assert_code(0);
}

/// Waits for what nothing tells of: looks again and again.
#[track_caller]
fn look_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
