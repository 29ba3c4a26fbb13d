//! The stop under load: what was accepted is served, what comes later is refused, nothing hangs.

use serde_json::json;

use super::{N, PATIENCE, ROUND_TRIP, Web, Worker, Workers, look_until};
use crate::harness::processes;
use crate::load::{Kind, Load, Plan, in_hands};
use crate::require;

const SLOW_REQUESTS: u64 = 4;

/// Requests that last until [`release`], all of them in some worker's hands when this returns.
fn slow_requests(workers: &Workers) -> Load {
    let plan = Plan::new(workers.address).path("/hold").timeout(PATIENCE);
    let slow = Load::start(plan.rate(100).requests(SLOW_REQUESTS)).unwrap();
    let port = workers.address.port();
    let held = || workers.up().iter().map(|worker| in_hands(worker.pid, port).len()).sum::<usize>();
    look_until("the slow requests to be accepted", || held() >= SLOW_REQUESTS as usize);
    slow
}

fn release(workers: &Workers) {
    std::fs::write(workers.rinit.path("release"), "").unwrap();
}

fn term_under_load(drain: &str) {
    let Some(mut web) = Web::new() else { return };
    web.rinit = web.rinit.unit("rinit.toml", &format!("[Manager]\nDrainSec = \"{drain}\"\n"));
    let workers = web.start();
    let slow = slow_requests(&workers);
    let load = workers.load(150);
    workers.wait_load(&load, 50);
    workers.rinit.signal(libc::SIGTERM);
    let refused = load.wait(PATIENCE, |tally| tally.count(Kind::Refused) > 0);
    assert!(refused, "the port is closed in the end: {}", load.tally());
    release(&workers);
    workers.rinit.wait().assert_code(0);
    let (tally, slow) = (load.stop(), slow.finish());
    assert_eq!((slow.ok, slow.failed()), (SLOW_REQUESTS, 0), "{slow}");
    assert_eq!(tally.count(Kind::Refused), tally.failed(), "{tally}");
    // Once refused, always refused: nobody is let in to hang.
    let first = tally.failures[0].at;
    let last = tally.workers.values().map(|worker| worker.last).max().unwrap();
    assert!(last <= first + ROUND_TRIP * 100, "answers until {last:?}, refused from {first:?} on");
}

#[test]
fn sigterm_under_load_serves_what_was_accepted() {
    require!("user namespace");
    term_under_load("0");
}

#[test]
fn sigterm_under_load_drains_first() {
    require!("user namespace");
    term_under_load("2s");
}

/// An endless response holds its worker, and nothing else: not another's restart, not the stop.
#[test]
fn an_endless_response_holds_up_nobody() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = web.service("RollingUpdate = { MonitorSec = \"100ms\" }").start();
    let mut stream = workers.ask("/sse");
    let holder = workers.worker_of(&mut stream);
    let holder = workers.named(&holder);
    let parameters = json!({ "unit": "web.service", "wait": false });
    assert_eq!(workers.control.get("Restart", parameters)["result"], "queued");
    workers.rinit.wait_event("the reload to be under way", |event| {
        event.text("event") == "state"
            && event.text("unit").starts_with("web@")
            && event.text("to") == "stop-sigterm"
    });
    let (instance, victim) = last_but(&mut workers, &holder);
    let known: Vec<i32> = workers.up().iter().map(|worker| worker.pid).collect();
    processes::kill(victim.pid, libc::SIGKILL);
    // No longer than its own backoff: how long its import takes is not rinit's.
    let delay = workers.rinit.wait_restart(&instance).number("delay_usec").unwrap();
    assert!(delay < 1_000_000, "{instance} waits {delay} µs");
    look_until("another worker", || workers.up().iter().any(|worker| !known.contains(&worker.pid)));
    assert!(!workers.up().is_empty() && workers.up().len() <= 2 * N);
    // The stop is obeyed within its budget. The stream never ends, so its worker does not either: it
    // is killed when the budget is over, which is what 137 says.
    workers.rinit.terminate().assert_code(137);
}

/// The last instance, whose turn in a roll comes last, or the one before if that is `holder`.
fn last_but(workers: &mut Workers, holder: &Worker) -> (String, Worker) {
    let up = workers.up();
    for number in (1..=N).rev() {
        let name = format!("web@{number}.service");
        let pid = workers.property(&name, "MainPID");
        let is_it = |worker: &&Worker| pid == worker.inner || pid == i64::from(worker.pid);
        match up.iter().find(is_it) {
            Some(worker) if worker != holder => return (name, worker.clone()),
            _ => {}
        }
    }
    panic!("no worker but {holder:?} in {up:?}");
}
