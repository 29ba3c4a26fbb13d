//! One worker leaks, the others work: where rinit keeps the limit itself.
//!
//! The leak is paced by the load beside it, so that the limit is met while requests flow.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{N, Web, Worker, Workers, look_until};
use crate::load::Kind;

/// What a call keeps.
const MB: u32 = 20;

/// More than one of four workers can have accepted while it stands still for one such call.
const HANDFUL: u64 = 10;

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
        stream.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
        Leaker(BufReader::new(stream))
    }

    /// Those that are not this one.
    fn others(&self, one: &Worker) -> Vec<Worker> {
        self.up().into_iter().filter(|worker| worker.pid != one.pid).collect()
    }
}

/// 200 requests a second beside it. The other three are not touched and fail nobody; the leaking
/// one may answer what it has in its hands, but Uvicorn cuts what it has accepted and not yet read.
#[test]
fn only_the_leaking_worker_goes() {
    crate::require!("user namespace");
    let Some(web) = Web::new() else { return };
    let limit = "MemoryMax = \"160M\"\nMemoryEnforce = \"watchdog\"";
    let mut workers = web.service(limit).start();
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
    workers.rinit.wait_restart(&instance);
    look_until("four workers", || workers.up().len() == N);
    workers.wait_load(&load, 100);
    let tally = load.stop();
    if tally.failed() > tally.count(Kind::Cut) || tally.failed() > HANDFUL {
        workers.rinit.fail(&format!("{tally}; {:?}", tally.failures));
    }
    let now = workers.up();
    assert!(others.iter().all(|other| now.contains(other)), "{others:?} {now:?}");
    let outcome = workers.rinit.terminate();
    outcome.assert_code(0);
    let kills = outcome.events().filter(|event| event.text("event") == "oom-kill").count();
    outcome.assert(kills == 1, "no other was over its limit");
}

/// Long before the limit it is replaced: its successor is ready before it is told to stop, and it
/// answers the leaking requests, too.
#[test]
fn a_leaking_worker_is_recycled_and_no_request_fails() {
    crate::require!("user namespace");
    let Some(web) = Web::new() else { return };
    let limits = "MemoryMax = \"400M\"\nMemoryEnforce = \"watchdog\"\nMemoryHigh = \"120M\"\n\
        MemoryHighAction = \"recycle\"\n\
        RollingUpdate = { Order = \"start-first\", MonitorSec = \"100ms\" }";
    let mut workers = web.service(limits).start();
    let load = workers.load(200);
    let mut leaker = workers.leaker();
    let name = leaker.leak(MB).expect("an answer");
    let victim = workers.named(&name);
    let (instance, others) = (workers.instance_of(&victim), workers.others(&victim));
    for _ in 0..4 {
        assert_eq!(leaker.leak(MB).as_ref(), Some(&name));
        workers.wait_load(&load, 20);
    }
    drop(leaker);
    let is_high = |event: &crate::harness::Event| event.text("event") == "memory-high";
    assert_eq!(workers.rinit.wait_event("memory-high", is_high).text("unit"), instance);
    look_until("the leaking one to be gone", || {
        let up = workers.up();
        up.len() == N && !up.contains(&victim)
    });
    workers.wait_load(&load, 100);
    workers.assert_nothing_lost(&load.stop());
    let now = workers.up();
    assert!(others.iter().all(|other| now.contains(other)), "{others:?} {now:?}");
    let outcome = workers.rinit.terminate();
    outcome.assert_code(0);
    outcome.assert(!outcome.events().any(|event| event.text("event") == "oom-kill"), "no kill");
}
