//! Rolling restarts under load: nothing is lost, never too few are ready, a bad version halts.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{N, PATIENCE, Web, Worker, Workers};
use crate::harness::Outcome;
use crate::load::Kind;
use crate::require;

/// Five rolls each, with clients that are silent for a round trip.
const ROLLS: usize = 5;
const RATE: u32 = 200;

/// How often workers may be replaced in the shortest time.
fn rolling(web: Web, order: &str, parallelism: usize) -> Web {
    web.service(&format!(
        "RollingUpdate = {{ Order = \"{order}\", Parallelism = {parallelism}, MonitorSec = \"100ms\" }}"
    ))
}

/// Each roll makes another version of all four.
#[track_caller]
fn roll(workers: &mut Workers, number: usize, also: &str) {
    let version = format!("{}", number + 2);
    workers.behave(&format!("version {version}\n{also}"));
    let old: Vec<i64> = workers.up().iter().map(|worker| worker.inner).collect();
    let rolled = workers.job("Restart");
    assert_eq!(rolled["result"], "done", "{rolled}");
    let new: Vec<Worker> =
        workers.up().into_iter().filter(|worker| worker.version == version).collect();
    assert_eq!(new.len(), N, "{:?}", workers.up());
    assert!(new.iter().all(|worker| !old.contains(&worker.inner)));
}

/// The fewest instances that were ready at once between the first time that all were and the stop.
fn fewest_ready(outcome: &Outcome) -> i64 {
    let (mut ready, mut fewest) = (0, None);
    for event in outcome.events() {
        if event.text("message").contains("SIGTERM") || event.is("stop", "web") {
            break;
        }
        if event.text("event") != "state" || !event.text("unit").starts_with("web@") {
            continue;
        }
        ready += i64::from(event.text("to") == "running");
        ready -= i64::from(event.text("from") == "running");
        fewest = match fewest {
            None if ready < N as i64 => None,
            None => Some(ready),
            Some(fewest) => Some(ready.min(fewest)),
        };
    }
    fewest.expect("all were ready once")
}

#[track_caller]
fn five_rolls(web: Option<Web>, order: &str, floor: usize) {
    let Some(web) = web else { return };
    let mut workers = rolling(web, order, 1).start();
    let load = workers.load(RATE);
    for number in 0..ROLLS {
        roll(&mut workers, number, "");
        workers.wait_load(&load, u64::from(RATE) / 2);
    }
    let mark = workers.up();
    assert_eq!(mark.len(), N, "the old ones are gone when the roll is done");
    workers.assert_nothing_lost(&load.stop());
    assert_floor(workers, floor);
}

/// Counts before the stop, which is the test's own.
#[track_caller]
fn assert_floor(workers: Workers, floor: usize) {
    let outcome = workers.rinit.terminate();
    outcome.assert_code(0);
    let fewest = fewest_ready(&outcome);
    outcome.assert(fewest >= floor as i64, &format!("fewest ready {fewest}, not {floor}"));
}

/// Steered away from before it is told to stop, a worker has read all that it has accepted.
#[test]
fn start_first_rolls_lose_nothing() {
    require!("user namespace");
    five_rolls(Web::steered(""), "start-first", N);
}

#[test]
fn stop_first_rolls_lose_nothing() {
    require!("user namespace");
    five_rolls(Web::steered(""), "stop-first", N - 1);
}

/// Held still when it has read all that it has accepted, a worker is told to stop.
#[test]
fn start_first_rolls_on_a_shared_socket() {
    require!("user namespace");
    five_rolls(Web::new(), "start-first", N);
}

#[test]
fn stop_first_rolls_on_a_shared_socket() {
    require!("user namespace");
    five_rolls(Web::new(), "stop-first", N - 1);
}

/// Connections that have not spoken yet are in the workers' hands, and not in the kernel's. On a busy
/// machine there may be one at every instant of the two seconds: only such may be lost then.
#[test]
fn rolls_on_a_shared_socket_that_does_not_defer() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web.undeferred(), "start-first", 1).start();
    let load = workers.load(RATE);
    for number in 0..ROLLS {
        roll(&mut workers, number, "");
    }
    let tally = load.stop();
    // Past the test runner's capture: the number is wanted.
    let _ = writeln!(std::io::stderr(), "rolls without DeferAcceptSec=: {tally}");
    if tally.count(Kind::CutSilent) + tally.count(Kind::Cut) != tally.failed() {
        workers.rinit.fail(&format!("{tally}; {:?}", tally.failures));
    }
    workers.rinit.terminate().assert_code(0);
}

/// Who never speaks is waited for, but not for ever.
#[test]
fn a_silent_connection_holds_up_no_roll() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web.undeferred(), "start-first", N).start();
    let silent: Vec<_> = (0..4 * N).map(|_| TcpStream::connect(workers.address)).collect();
    assert!(silent.iter().all(Result::is_ok));
    roll(&mut workers, 0, "");
    workers.rinit.terminate().assert_code(0);
}

/// Two at a time, to be through in a minute.
fn slow_import(order: &str, floor: usize) {
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web, order, 2).start();
    let load = workers.load(RATE / 2);
    roll(&mut workers, 0, "import-seconds 8\n");
    workers.assert_nothing_lost(&load.stop());
    assert_floor(workers, floor);
}

#[test]
fn a_start_first_roll_of_a_slow_import() {
    require!("user namespace");
    slow_import("start-first", N);
}

#[test]
fn a_stop_first_roll_of_a_slow_import() {
    require!("user namespace");
    slow_import("stop-first", N - 2);
}

/// Idle connections die with their worker, in every server; no more than those.
#[test]
fn a_roll_under_keep_alive_loses_only_idle_connections() {
    const CONNECTIONS: usize = 8;
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web, "start-first", 1).start();
    let load = workers.load_of(workers.plan(RATE).keep_alive(CONNECTIONS));
    for number in 0..ROLLS {
        let before = load.tally();
        roll(&mut workers, number, "");
        workers.wait_load(&load, u64::from(RATE));
        let after = load.tally();
        let idle = after.idle_closed - before.idle_closed;
        let cut = after.count(Kind::CutReused) - before.count(Kind::CutReused);
        // Past the test runner's capture: the number is wanted.
        let _ = writeln!(
            std::io::stderr(),
            "a roll under {CONNECTIONS} kept connections: {idle} closed while idle, {cut} under a request"
        );
        // A connection that moved to a worker of the same roll dies again: once a worker, at most.
        assert!(idle + cut <= (CONNECTIONS * N) as u64, "{idle} and {cut}");
    }
    let tally = load.stop();
    assert_eq!(tally.lost(), 0, "{tally}; {:?}", tally.failures);
    workers.rinit.terminate().assert_code(0);
}

/// By SIGHUP, which is a roll for a service without a reload of its own.
#[test]
fn sighup_rolls() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let workers = rolling(web, "start-first", 2).start();
    let old: Vec<i32> = workers.up().iter().map(|worker| worker.pid).collect();
    let load = workers.load(RATE);
    workers.behave("version 2\n");
    workers.rinit.signal(libc::SIGHUP);
    for pid in old {
        super::look_until("the old worker's end", || {
            crate::harness::processes::process(pid).is_none()
        });
    }
    assert!(workers.up().iter().all(|worker| worker.version == "2"), "{:?}", workers.up());
    workers.assert_nothing_lost(&load.stop());
    workers.rinit.terminate().assert_code(0);
}

/// The first replacement never comes up: the roll halts, the old ones serve on, and it is said why.
#[test]
fn a_version_that_crashes_at_import_halts_the_roll() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web, "start-first", 1).unit("StartLimitBurst = 3").start();
    let old = workers.up();
    let load = workers.load(RATE / 2);
    workers.behave("version 2\ncrash import\n");
    let rolled = workers.job("Restart");
    assert_eq!(rolled["result"], "failed", "{rolled}");
    let reason = rolled["reason"].as_str().unwrap();
    assert!(reason.contains("web@1"), "{reason}");
    workers.rinit.wait_message("web@1");
    assert_eq!(workers.up(), old, "every old worker serves on");
    workers.wait_load(&load, u64::from(RATE));
    let tally = load.stop();
    workers.assert_nothing_lost(&tally);
    assert_eq!(tally.version("1"), tally.ok);
    assert_eq!(workers.property("web.service", "ActiveState"), "active");
    let imports = std::fs::read_to_string(workers.rinit.path("imports")).unwrap();
    assert!(imports.lines().filter(|line| line.ends_with(" 2")).count() <= 3, "{imports}");
    workers.rinit.terminate().assert_code(0);
}

/// A stop in the middle: the replacement and all the old ones end with the rest.
#[test]
fn a_roll_is_interrupted_by_a_stop() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web, "start-first", 1).start();
    workers.behave("version 2\nimport-seconds 50\n");
    let parameters = json!({ "unit": "web.service", "wait": false });
    assert_eq!(workers.control.get("Restart", parameters)["result"], "queued");
    workers.rinit.wait_event("a replacement to start", |event| {
        event.text("event") == "start" && event.text("unit").starts_with("web@1+new")
    });
    workers.rinit.terminate().assert_code(0);
}

/// Nobody is ready while all four are replaced at once, stop-first: the connections wait.
#[test]
fn connections_wait_while_nobody_is_there() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = rolling(web, "stop-first", N).start();
    let load = workers.load_of(workers.plan(50).timeout(PATIENCE + Duration::from_secs(10)));
    roll(&mut workers, 0, "import-seconds 2\n");
    workers.assert_nothing_lost(&load.stop());
    assert_floor(workers, 0);
}
