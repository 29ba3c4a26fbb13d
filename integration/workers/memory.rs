//! One worker leaks, the others work: where rinit keeps the limit itself, and where the kernel does.
//!
//! The leak is paced by the load beside it, so that the limit is met while requests flow. Each
//! worker notes whom it accepts, so that a cut connection is known to have been one worker's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{N, ROUND_TRIP, Web, Worker, Workers, look_until};
use crate::harness::{DEADLINE, Event, Outcome};
use crate::load::{Kind, Tally};
use crate::{cgroup, require, tools};

/// What a call keeps.
const MB: u32 = 20;

/// As many calls as bring a worker over `MemoryHigh=100M` and not to `MemoryMax=160M`.
const CALLS: usize = 4;

/// A connection to one worker, which answers all that is asked on it.
struct Leaker(BufReader<TcpStream>);

impl Leaker {
    /// Makes its worker keep so many megabytes; which worker that is, or `None` if the connection
    /// was closed instead of an answer.
    fn leak(&mut self, megabytes: u32) -> Option<String> {
        let request = format!("GET /leak?mb={megabytes} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let (mut worker, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("x-worker", value)) => worker = Some(value.to_string()),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => (),
                None if line == "\r\n" => break,
                None => assert!(line.starts_with("HTTP/1.1 200"), "{line}"),
            }
        }
        self.0.read_exact(&mut vec![0; length]).ok()?;
        worker
    }
}

impl Workers {
    fn leaker(&self) -> Leaker {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Leaker(BufReader::new(stream))
    }

    /// Those that are not this one.
    fn others(&self, one: &Worker) -> Vec<Worker> {
        self.up().into_iter().filter(|worker| worker.pid != one.pid).collect()
    }

    /// Who accepted last from each of the client's ports.
    fn accepted(&self) -> BTreeMap<u16, i64> {
        let notes = fs::read_to_string(self.rinit.path("accepted")).unwrap_or_default();
        let pair = |line: &str| {
            let (worker, port) = line.split_once(' ')?;
            Some((port.parse().ok()?, worker.parse().ok()?))
        };
        notes.lines().filter_map(pair).collect()
    }

    /// What failed was cut, and had been accepted by this one.
    #[track_caller]
    fn assert_lost_only_by(&self, victim: &Worker, tally: &Tally) {
        let accepted = self.accepted();
        let accepting: BTreeSet<&i64> = accepted.values().collect();
        assert!(accepting.len() >= N, "each worker notes whom it accepts: {accepting:?}");
        for failure in &tally.failures {
            let by = accepted.get(&failure.port);
            if failure.kind != Kind::Cut || by != Some(&victim.inner) {
                self.rinit.fail(&format!("{failure:?}, accepted by {by:?}; leaks: {victim:?}"));
            }
        }
    }
}

fn oom_kills(outcome: &Outcome) -> Vec<&Event> {
    outcome.events().filter(|event| event.text("event") == "oom-kill").collect()
}

/// 200 requests a second beside it. The other three are not touched and fail nobody; what is cut is
/// what the leaking one had accepted.
fn only_the_leaking_worker_goes(enforce: &str, message: &str) {
    let Some(web) = Web::new() else { return };
    let limit = format!("MemoryMax = \"160M\"\nMemoryEnforce = \"{enforce}\"");
    let mut workers = web.noted().service(&limit).start();
    let load = workers.load(200);
    let mut leaker = workers.leaker();
    let name = leaker.leak(MB).expect("an answer");
    let victim = workers.named(&name);
    let (instance, others) = (workers.instance_of(&victim), workers.others(&victim));
    while leaker.leak(MB).is_some() {
        workers.wait_load(&load, 20);
    }
    let event = workers.rinit.wait_event("oom-kill", |event| event.text("event") == "oom-kill");
    assert_eq!(event.text("unit"), instance);
    assert!(event.text("message").contains(message), "{event:?}");
    workers.rinit.wait_restart(&instance);
    look_until("four workers", || workers.up().len() == N);
    workers.wait_load(&load, 100);
    let tally = load.stop();
    let _ = writeln!(std::io::stderr(), "{enforce}: {tally}, all of the leaking worker's");
    workers.assert_lost_only_by(&victim, &tally);
    let now = workers.up();
    assert!(others.iter().all(|other| now.contains(other)), "{others:?} {now:?}");
    let outcome = workers.rinit.terminate();
    outcome.assert_code(0);
    outcome.assert(oom_kills(&outcome).len() == 1, "no other was over its limit");
}

/// Uvicorn cuts what it has accepted and not yet read.
#[test]
fn only_the_leaking_worker_goes_where_rinit_watches() {
    require!("user namespace");
    only_the_leaking_worker_goes("watchdog", "over MemoryMax=160M with ");
}

#[test]
fn only_the_leaking_worker_goes_where_the_kernel_kills() {
    require!("user namespace", "root");
    if tools::need(cgroup::memory_v1()).is_some() {
        only_the_leaking_worker_goes("cgroup", "killed by the kernel for its memory");
    }
}

/// Before the limit it is replaced: its successor is ready before it is told to stop, and all are
/// answered who make it leak, meanwhile as well.
fn a_leaking_worker_is_recycled_and_no_request_fails(enforce: &str) {
    let Some(web) = Web::new() else { return };
    let limits = format!(
        "MemoryMax = \"160M\"\nMemoryEnforce = \"{enforce}\"\nMemoryHigh = \"100M\"\n\
         MemoryHighAction = \"recycle\"\n\
         RollingUpdate = {{ Order = \"start-first\", MonitorSec = \"100ms\" }}"
    );
    let mut workers = web.service(&limits).start();
    let load = workers.load(200);
    let mut leaker = workers.leaker();
    let name = leaker.leak(MB).expect("an answer");
    let victim = workers.named(&name);
    let (instance, others) = (workers.instance_of(&victim), workers.others(&victim));
    for _ in 1..CALLS {
        assert_eq!(leaker.leak(MB).as_ref(), Some(&name));
        workers.wait_load(&load, 20);
    }
    drop(leaker);
    // It goes on, a megabyte a call.
    let leak = format!("/leak?mb=1&pid={name}");
    let leaks = workers.load_of(workers.plan(4).path(&leak).pause(ROUND_TRIP));
    let is_high = |event: &Event| event.text("event") == "memory-high";
    assert_eq!(workers.rinit.wait_event("memory-high", is_high).text("unit"), instance);
    look_until("the leaking one to be gone", || {
        let up = workers.up();
        up.len() == N && !up.contains(&victim)
    });
    workers.wait_load(&load, 100);
    workers.assert_nothing_lost(&leaks.stop());
    workers.assert_nothing_lost(&load.stop());
    let now = workers.up();
    assert!(others.iter().all(|other| now.contains(other)), "{others:?} {now:?}");
    let outcome = workers.rinit.terminate();
    outcome.assert_code(0);
    outcome.assert(oom_kills(&outcome).is_empty(), "no kill");
}

#[test]
fn a_leaking_worker_is_recycled_where_rinit_watches() {
    require!("user namespace");
    a_leaking_worker_is_recycled_and_no_request_fails("watchdog");
}

#[test]
fn a_leaking_worker_is_recycled_where_the_kernel_would_kill() {
    require!("user namespace", "root");
    if tools::need(cgroup::memory_v1()).is_some() {
        a_leaking_worker_is_recycled_and_no_request_fails("cgroup");
    }
}
