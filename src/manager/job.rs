//! The jobs: what is to be done with which unit, who asked, and which of them has to wait.
//!
//! Not what a job does (`mod`). **Invariant:** a unit has at most one job; every client of a job
//! is answered exactly once.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{ClientId, JobKind};
use super::graph::Graph;
use super::time::Timestamp;
use crate::unit::{Unit, UnitName};

/// Who wants a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The boot.
    Boot,
    /// A client, or what a client's job takes along.
    Client,
    /// Another unit: OnFailure=, Upholds=, BindsTo=; or a signal.
    Unit,
    /// The wait for an automatic restart, so that others wait for it too.
    AutoRestart,
    /// The end of everything.
    Shutdown,
}

/// One job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Job {
    pub kind: JobKind,
    pub origin: Origin,
    pub clients: Vec<ClientId>,
    /// The other units that were given a job with it.
    pub also: Vec<UnitName>,
    /// It was begun; else it waits for its turn.
    pub running: bool,
    /// The first half of a restart is still to be done.
    pub stop_first: bool,
    /// It replaces the instances of a service that stays up.
    pub roll: bool,
    /// `JobTimeoutSec=`.
    pub deadline: Option<Timestamp>,
    /// A `Type=idle` start that is held back, at most until here.
    pub idle_until: Option<Timestamp>,
}

impl Job {
    pub fn new(kind: JobKind, origin: Origin) -> Job {
        Job {
            kind,
            origin,
            clients: Vec::new(),
            also: Vec::new(),
            running: false,
            stop_first: kind == JobKind::Restart,
            roll: false,
            deadline: None,
            idle_until: None,
        }
    }

    /// A restart or reload that replaces one instance after the other.
    pub fn roll(kind: JobKind, origin: Origin) -> Job {
        Job { stop_first: false, roll: true, ..Job::new(kind, origin) }
    }

    /// What it does now is a stop.
    pub fn stops(&self) -> bool {
        self.kind == JobKind::Stop || self.stop_first
    }

    /// What it does now, or will, is a start.
    pub fn starts(&self) -> bool {
        matches!(self.kind, JobKind::Start | JobKind::Restart)
    }
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<UnitName, Job>,
    /// Units whose job may have become free to run.
    pub dirty: BTreeSet<UnitName>,
    running: usize,
    held: BTreeSet<UnitName>,
}

impl Jobs {
    pub fn get(&self, unit: &UnitName) -> Option<&Job> {
        self.jobs.get(unit)
    }

    pub fn get_mut(&mut self, unit: &UnitName) -> Option<&mut Job> {
        self.jobs.get_mut(unit)
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub fn names(&self) -> Vec<UnitName> {
        self.jobs.keys().cloned().collect()
    }

    pub fn insert(&mut self, unit: UnitName, job: Job) {
        self.dirty.insert(unit.clone());
        self.jobs.insert(unit, job);
    }

    pub fn remove(&mut self, unit: &UnitName) -> Option<Job> {
        let job = self.jobs.remove(unit)?;
        self.held.remove(unit);
        self.running -= usize::from(job.running);
        Some(job)
    }

    /// The job is begun.
    pub fn run(&mut self, unit: &UnitName) {
        if let Some(job) = self.jobs.get_mut(unit)
            && !job.running
        {
            job.running = true;
            job.idle_until = None;
            self.running += 1;
            self.held.remove(unit);
        }
    }

    /// The first half of a restart is done: it waits for its turn as a start.
    pub fn restart_half_done(&mut self, unit: &UnitName) {
        if let Some(job) = self.jobs.get_mut(unit) {
            job.stop_first = false;
        }
        self.requeue(unit);
    }

    /// The job waits for its turn once more.
    pub fn requeue(&mut self, unit: &UnitName) {
        if let Some(job) = self.jobs.get_mut(unit) {
            self.running -= usize::from(job.running);
            job.running = false;
            self.dirty.insert(unit.clone());
        }
    }

    /// Holds a `Type=idle` start back until nothing else is being done.
    pub fn hold(&mut self, unit: &UnitName, until: Timestamp) {
        if let Some(job) = self.jobs.get_mut(unit) {
            job.idle_until = job.idle_until.or(Some(until));
            self.held.insert(unit.clone());
        }
    }

    /// The starts that were held back, once no job is under way.
    pub fn release_held(&mut self) -> Vec<UnitName> {
        if self.running > 0 {
            return Vec::new();
        }
        std::mem::take(&mut self.held).into_iter().collect()
    }

    /// Looks again at every job that may have waited for one of `unit`.
    pub fn wake(&mut self, graph: &Graph, unit: &Unit) {
        let before = unit.after.iter().map(|dep| &dep.name);
        let others = graph.followers(&unit.name).iter().chain(graph.conflicts(&unit.name));
        for name in before.chain(others) {
            if self.jobs.contains_key(name) {
                self.dirty.insert(name.clone());
            }
        }
    }

    /// Whether the job of `unit` must wait for another's (systemd's `job_compare`): a stop goes
    /// first, later units before earlier ones; else the earlier unit does.
    pub fn is_blocked(&self, graph: &Graph, unit: &Unit) -> bool {
        let Some(job) = self.jobs.get(&unit.name) else { return false };
        let stops = |name: &UnitName| self.jobs.get(name).is_some_and(Job::stops);
        let later_stops = graph.followers(&unit.name).iter().any(stops);
        if job.stops() {
            return later_stops;
        }
        later_stops
            // Who is replaced instance by instance is up all the while.
            || unit.after.iter().any(|dep| self.jobs.get(&dep.name).is_some_and(|job| !job.roll))
            || graph.conflicts(&unit.name).iter().any(stops)
    }
}
