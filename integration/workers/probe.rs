//! Per-worker probes behind one port: the ill get no request, the stuck are replaced.

use serde_json::json;

use super::{N, ROUND_TRIP, Web, Worker, Workers, look_until};
use crate::harness::processes;
use crate::load::{Kind, Load};
use crate::require;

/// Makes one worker ill, and waits until rinit knows.
fn make_ill(workers: &mut Workers) -> (Worker, String) {
    let mut stream = workers.ask("/fail-health");
    let name = workers.worker_of(&mut stream);
    let ill = workers.named(&name);
    let instance = workers.instance_of(&ill);
    workers.rinit.wait_event("the ill worker to be found", |event| {
        event.text("unit") == instance && event.text("message").contains("unhealthy")
    });
    (ill, instance)
}

/// It answers 503 to everybody, if it is asked: from the probe's threshold on nobody asks it.
#[test]
fn an_ill_worker_gets_no_request() {
    require!("user namespace");
    let health = "Retries = 2\nOnUnhealthy = \"none\"";
    let Some(web) = Web::steered(health) else { return };
    let mut workers = web.start();
    let (ill, _) = make_ill(&mut workers);
    let plan = workers.plan(200).pause(ROUND_TRIP).requests(2000);
    let tally = Load::start(plan).unwrap().finish();
    assert_eq!((tally.ok, tally.count(Kind::BadStatus)), (2000, 0), "{tally}");
    assert!(!tally.workers.contains_key(&ill.inner.to_string()), "{:?}", tally.workers);
    assert_eq!(tally.workers.len(), N - 1);
    assert!(workers.up().contains(&ill), "with OnUnhealthy=none it is left alone");
    workers.rinit.terminate().assert_code(0);
}

/// Every connection goes to a worker by chance, not by who wakes up first.
#[test]
fn steered_connections_are_even() {
    const CONNECTIONS: u64 = 10_000;
    require!("user namespace");
    let Some(web) = Web::steered("") else { return };
    let workers = web.start();
    let plan = workers.plan(500).requests(CONNECTIONS);
    let tally = Load::start(plan).unwrap().finish();
    assert_eq!(tally.ok, CONNECTIONS, "{tally}");
    let even = CONNECTIONS / N as u64;
    for (name, worker) in &tally.workers {
        let off = worker.answers.abs_diff(even);
        assert!(off * 10 <= even, "worker {name}: {} of {CONNECTIONS}", worker.answers);
    }
    assert_eq!(tally.workers.len(), N);
    workers.rinit.terminate().assert_code(0);
}

/// `while True` in one worker: its probe has no answer, it is replaced, and only it.
#[test]
fn a_worker_that_spins_is_replaced() {
    require!("user namespace");
    let Some(web) = Web::steered("TimeoutSec = \"2s\"\nRetries = 3") else { return };
    let mut workers = web.service("TimeoutStopSec = \"1s\"").start();
    let before = workers.up();
    let stuck = workers.ask("/spin");
    let ended = workers.rinit.wait_event("the stuck worker to be killed", |event| {
        event.text("event") == "exit" && event.text("unit").starts_with("web@")
    });
    let instance = ended.text("unit").to_string();
    workers.rinit.wait_state(&instance, "running");
    look_until("the successor to serve", || workers.up().len() == N);
    let after = workers.up();
    let stayed = after.iter().filter(|worker| before.contains(worker)).count();
    assert_eq!((stayed, after.len()), (N - 1, N), "{before:?} {after:?}");
    assert_eq!(workers.property(&instance, "NRestarts"), json!(1));
    drop(stuck);
    workers.rinit.terminate().assert_code(0);
}

/// The queue of a killed worker's own socket is served by its successor.
#[test]
fn a_killed_worker_s_queue_is_not_lost() {
    require!("user namespace");
    let Some(web) = Web::steered("") else { return };
    let workers = web.start();
    let load = workers.load(100);
    for _ in 0..N {
        workers.wait_load(&load, 50);
        // Frozen first, so that connections queue behind it.
        let victim = workers.up()[0].clone();
        processes::kill(victim.pid, libc::SIGSTOP);
        let port = workers.address.port();
        // One of those that arrive meanwhile stays in its queue; the others go on.
        workers.wait_load(&load, 20);
        let hands = crate::load::in_hands(victim.pid, port).len() as u64;
        let failed = load.tally().failed();
        processes::kill(victim.pid, libc::SIGKILL);
        workers.wait_load(&load, 50);
        let lost = load.tally().failed() - failed;
        assert!(lost <= hands, "{lost} lost, {hands} in its hands: {}", load.tally());
    }
    let tally = load.stop();
    assert_eq!(tally.count(Kind::Refused) + tally.count(Kind::TimedOut), 0, "{tally}");
    workers.rinit.terminate().assert_code(0);
}
