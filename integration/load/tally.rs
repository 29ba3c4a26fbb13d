//! What came of a load: answers, failures by kind, who answered, how long it took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::answer::Head;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Answered by a status of 400 or more.
    BadStatus,
    /// Nobody listens.
    Refused,
    /// The connection was cut before a byte of the request was sent.
    CutSilent,
    /// The connection was cut after the request was sent, before the whole answer was there.
    Cut,
    /// A connection that had served requests before was cut without a byte of an answer to this one:
    /// the server closed it while the request was on its way. HTTP clients send it again.
    CutReused,
    /// Not done in time.
    TimedOut,
    /// This machine could not make the connection: no port left, no descriptor left, …
    Local,
}

/// One request that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    /// Since the load's beginning.
    pub at: Duration,
    /// Since the request arrived.
    pub after: Duration,
    /// The client's port, 0 where it had none: with it the server's side of the connection can be found.
    pub port: u16,
}

/// A process that answered.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    pub answers: u64,
    /// Since the load's beginning.
    pub first: Duration,
    pub last: Duration,
}

/// The whole count.
#[derive(Clone, Debug)]
pub struct Tally {
    pub begin: Instant,
    /// Answered well.
    pub ok: u64,
    pub failures: Vec<Failure>,
    /// Connections that the server closed while no request was on them, known before the next was
    /// sent. No request fails by that.
    pub idle_closed: u64,
    /// By `x-worker`.
    pub workers: BTreeMap<String, Worker>,
    /// Good answers by `x-version`.
    pub versions: BTreeMap<String, u64>,
    /// How late the client itself was with an arrival, at worst: beyond some milliseconds the
    /// machine was too busy for the rate.
    pub late: Duration,
    micros: Vec<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            begin: Instant::now(),
            ok: 0,
            failures: Vec::new(),
            idle_closed: 0,
            workers: BTreeMap::new(),
            versions: BTreeMap::new(),
            late: Duration::ZERO,
            micros: Vec::new(),
        }
    }
}

impl Tally {
    /// Requests that have ended, one way or the other.
    pub fn ended(&self) -> u64 {
        self.ok + self.failed()
    }

    pub fn failed(&self) -> u64 {
        self.failures.len() as u64
    }

    pub fn count(&self, kind: Kind) -> u64 {
        self.failures.iter().filter(|failure| failure.kind == kind).count() as u64
    }

    /// Failed requests but for those that any HTTP client repeats.
    pub fn lost(&self) -> u64 {
        self.failed() - self.count(Kind::CutReused)
    }

    /// Good answers of a version.
    pub fn version(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or(0)
    }

    /// The latency below which this share of the good answers lie, from a request's arrival to the
    /// last byte of its answer.
    pub fn latency(&self, share: f64) -> Duration {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let index = (share * last as f64).round() as usize;
        Duration::from_micros(sorted.get(index).copied().unwrap_or(0).into())
    }

    /// The workers' shares of the answers, largest first, in percent.
    pub fn shares(&self) -> Vec<f64> {
        let sum: u64 = self.workers.values().map(|worker| worker.answers).sum();
        let share = |worker: &Worker| 100.0 * worker.answers as f64 / sum.max(1) as f64;
        let mut shares: Vec<f64> = self.workers.values().map(share).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        shares
    }

    pub(super) fn add_answer(&mut self, head: &Head, arrival: Instant, port: u16) {
        let at = self.begin.elapsed();
        let worker = self.workers.entry(head.worker.clone()).or_default();
        if worker.answers == 0 {
            worker.first = at;
        }
        worker.answers += 1;
        worker.last = at;
        if head.status >= 400 {
            self.add_failure(Kind::BadStatus, arrival, port);
            return;
        }
        self.ok += 1;
        *self.versions.entry(head.version.clone()).or_default() += 1;
        self.micros.push(u32::try_from(arrival.elapsed().as_micros()).unwrap_or(u32::MAX));
    }

    pub fn add_failure(&mut self, kind: Kind, arrival: Instant, port: u16) {
        let (at, after) = (self.begin.elapsed(), arrival.elapsed());
        self.failures.push(Failure { kind, at, after, port });
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::BadStatus => "answered by an error",
            Kind::Refused => "refused",
            Kind::CutSilent => "cut before the request",
            Kind::Cut => "cut",
            Kind::CutReused => "cut on a reused connection",
            Kind::TimedOut => "timed out",
            Kind::Local => "not sent",
        })
    }
}

/// `3 of 4,200 lost: 2 cut, 1 timed out`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} lost", self.failed(), self.ended())?;
        let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
        for failure in &self.failures {
            *kinds.entry(failure.kind).or_default() += 1;
        }
        for (index, (kind, count)) in kinds.iter().enumerate() {
            write!(f, "{}{count} {kind}", if index == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}
