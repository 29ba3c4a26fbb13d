//! kill -9, again and again: only what a killed worker had in its hands may be lost.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Web, Workers, look_until};
use crate::harness::processes;
use crate::load::{Kind, Load, Tally, in_hands};
use crate::require;

/// So many, one each 30 requests: at 150 a second every 200 ms for 20 s.
const KILLS: usize = 100;
const RATE: u32 = 150;
const REQUESTS_BETWEEN: u64 = 30;

/// A kill: when, and the connections that the worker had accepted.
struct Kill {
    at: Duration,
    hands: BTreeSet<u16>,
}

#[test]
fn kill_9_every_200_ms_loses_only_what_the_killed_worker_had_accepted() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers =
        web.unit("StartLimitIntervalSec = 0").service("RestartMaxDelaySec = \"500ms\"").start();
    let load = workers.load(RATE);
    let mut kills = Vec::new();
    while kills.len() < KILLS {
        workers.wait_load(&load, REQUESTS_BETWEEN);
        let up = workers.up();
        if let Some(worker) = up.get(kills.len() % up.len().max(1)) {
            kills.push(kill(&workers, &load, worker.pid));
        }
    }
    let tally = load.stop();
    for kind in [Kind::Refused, Kind::CutSilent, Kind::TimedOut, Kind::BadStatus, Kind::Local] {
        assert_eq!(tally.count(kind), 0, "{kind}: {tally}\n{:?}", tally.failures);
    }
    assert_all_in_hands(&tally, &kills);
    // The last kills may have hit all four faster than Python starts.
    look_until("the service to be active", || {
        workers.property("web.service", "ActiveState") == "active"
    });
    workers.rinit.terminate().assert_code(0);
}

/// Stopped first, so that it accepts no more while its connections are counted.
fn kill(workers: &Workers, load: &Load, pid: i32) -> Kill {
    processes::kill(pid, libc::SIGSTOP);
    let state = || processes::process(pid).map(|process| process.state);
    look_until("a worker to stop", || matches!(state(), Some('T' | 'Z') | None));
    let hands = in_hands(pid, workers.address.port());
    let at = load.now();
    processes::kill(pid, libc::SIGKILL);
    Kill { at, hands }
}

/// Every failure is of a request that had arrived before a kill, failed after it, and was in the hands
/// of the worker that was killed.
#[track_caller]
fn assert_all_in_hands(tally: &Tally, kills: &[Kill]) {
    for failure in &tally.failures {
        let arrival = failure.at.saturating_sub(failure.after);
        let explains = |kill: &&Kill| {
            kill.hands.contains(&failure.port) && arrival <= kill.at && kill.at <= failure.at
        };
        assert!(kills.iter().find(explains).is_some(), "{failure:?} of {tally}");
    }
}
