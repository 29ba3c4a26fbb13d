//! Workers that cannot start.

use super::{N, Web, Workers};
use crate::harness::processes;
use crate::load::Kind;
use crate::require;

/// All four: each makes its five starts with a growing delay, then rinit ends with their status.
#[test]
fn four_that_cannot_import_end_with_their_status() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    // Five starts of a slow interpreter may take longer than ten seconds.
    let web = web.unit("StartLimitIntervalSec = \"10min\"").behave("crash lifespan\n");
    let (rinit, _) = web.write();
    let outcome = rinit.run();
    // What uvicorn ends with when the lifespan fails.
    outcome.assert_code(3);
    for number in 1..=N {
        let name = format!("web@{number}");
        assert_eq!(outcome.n_starts(&name), 5, "{name}\n{}", outcome.log());
        let restarts = outcome.events().filter(|event| event.is("restart", &name));
        let delays: Vec<i64> = restarts.filter_map(|event| event.number("delay_usec")).collect();
        let grow = delays.windows(2).all(|pair| pair[1] > pair[0] * 3 / 2);
        // One for each start that failed: the limit refuses the sixth when its delay is over.
        outcome.assert(delays.len() == 5 && grow, &format!("{name} waits {delays:?}"));
    }
}

/// One whose restart always crashes: it keeps trying, at the longest delay; three serve on.
#[test]
fn three_serve_on_while_one_cannot_start() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let mut workers = web
        .unit("StartLimitIntervalSec = \"10min\"\nStartLimitBurst = 2")
        .service("RestartMaxDelaySec = \"1s\"")
        .start();
    let load = workers.load(100);
    workers.behave("version 2\ncrash import\n");
    let victim = workers.up()[0].clone();
    let name = workers.instance_of(&victim);
    let others: Vec<i32> =
        workers.up().iter().map(|w| w.pid).filter(|p| *p != victim.pid).collect();
    processes::kill(victim.pid, libc::SIGKILL);
    // Far beyond its start limit.
    for _ in 0..8 {
        workers.rinit.wait_restart(&name);
    }
    assert_eq!(workers.property("web.service", "ActiveState"), "active");
    assert_eq!(pids(&workers), others);
    assert_ne!(workers.property(&name, "ActiveState"), "active");
    // It can start again: it does, without a person.
    workers.behave("version 3\n");
    workers.rinit.wait_state(&name, "running");
    let tally = load.stop();
    // What the killed one had in its hands.
    assert_eq!(tally.count(Kind::Cut), tally.failed(), "{tally}");
    workers.rinit.terminate().assert_code(0);
}

fn pids(workers: &Workers) -> Vec<i32> {
    workers.up().iter().map(|worker| worker.pid).collect()
}
