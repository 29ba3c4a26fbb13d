//! What one change sets off: jobs that end by it, jobs that may now run.
//!
//! **Invariant:** a queue, never recursion; when it is empty, every job that can run does.

use std::time::Duration;

use super::Manager;
use super::event::{Action, Fact, JobKind, JobResult, Reply};
use super::instances::GroupPhase;
use super::job::{Job, Origin};
use super::out::Change;
use super::service::{Service, StartReason};
use super::state::{ActiveState, SubState};
use super::transaction::Tie;
use crate::unit::service::ServiceType;
use crate::unit::{Unit, UnitName};

/// How long `Type=idle` waits at most (systemd.service(5)).
const IDLE_MOST: Duration = Duration::from_secs(5);

impl Manager {
    pub(super) fn settle(&mut self) {
        #[cfg(test)]
        let mut rounds = 0;
        loop {
            #[cfg(test)]
            {
                rounds += 1;
                assert!(rounds < 10_000, "settling does not end");
            }
            if let Some(change) = self.out.changes.pop_front() {
                self.on_change(&change);
            } else if self.is_over() {
                break;
            } else if let Some(group) = self.touched.pop_first() {
                self.refresh(&group);
            } else if let Some((unit, reason)) = self.refused.pop_front() {
                self.refuse(&unit, &reason);
            } else if let Some(unit) = self.jobs.dirty.pop_first() {
                self.try_job(&unit);
            } else if !self.release_idle() && !self.tend_sockets() && !self.advance() {
                break;
            }
        }
    }

    fn on_change(&mut self, change: &Change) {
        let was = counts_as_live(change.from);
        let is = counts_as_live(change.to);
        self.live = (self.live + usize::from(is)).saturating_sub(usize::from(was));
        self.instance_changed(change);
        self.connection_changed(change);
        if change.to == SubState::Start && self.groups.contains_key(&change.unit) {
            self.start_group(&change.unit);
        }
        self.job_follows(change);
        if change.to == SubState::AutoRestart && self.group_of(&change.unit).is_none() {
            self.on_auto_restart(&change.unit);
        }
        if matches!(change.to, SubState::Dead | SubState::Failed) {
            self.on_ended(change);
        }
    }

    /// The job of the unit moves with its state.
    fn job_follows(&mut self, change: &Change) {
        let Some(job) = self.jobs.get(&change.unit) else { return };
        let down = matches!(change.to, SubState::Dead | SubState::Failed);
        if !job.running {
            let up = change.to.active_state() == ActiveState::Active;
            if up && job.starts() && !job.stop_first && !job.roll {
                self.finish_job(&change.unit, JobResult::Done, "");
            } else if down || change.to == SubState::AutoRestart {
                self.jobs.dirty.insert(change.unit.clone());
                self.wake_around(&change.unit);
            }
        } else if job.stop_first && down {
            self.restart_half_done(&change.unit);
        } else if job.kind == JobKind::Stop && down {
            self.finish_job(&change.unit, JobResult::Done, "");
        } else if job.roll {
            if down {
                let reason = format!("the service is {}", change.to);
                self.finish_job(&change.unit, JobResult::Failed, &reason);
            }
        } else if job.kind == JobKind::Reload {
            self.reload_follows(change);
        } else if job.starts() && !job.stop_first {
            self.start_follows(change);
        }
    }

    fn start_follows(&mut self, change: &Change) {
        let Some(service) = self.services.get(&change.unit) else { return };
        let verdict = service.verdict.as_deref().cloned();
        let starting = self.groups.get(&change.unit).is_some_and(|group| group.starting);
        match change.to.active_state() {
            // The start of a group is done when all its instances are ready.
            ActiveState::Active if starting => (),
            ActiveState::Active => self.finish_job(&change.unit, JobResult::Done, ""),
            ActiveState::Inactive => {
                let (result, reason) = verdict.unwrap_or((JobResult::Done, String::new()));
                self.finish_job(&change.unit, result, &reason);
            }
            ActiveState::Failed => {
                let reason = || (JobResult::Failed, format!("its result is {}", service.result));
                let (result, reason) = verdict.unwrap_or_else(reason);
                self.finish_job(&change.unit, result, &reason);
            }
            ActiveState::Activating | ActiveState::Reloading | ActiveState::Deactivating => (),
        }
    }

    fn reload_follows(&mut self, change: &Change) {
        let Some(service) = self.services.get(&change.unit) else { return };
        let (result, reason) = match (change.to, service.verdict.as_deref().cloned()) {
            (SubState::Reload, _) => return,
            (_, Some(verdict)) => verdict,
            (SubState::Running, None) => (JobResult::Done, String::new()),
            (_, None) => (JobResult::Failed, format!("the service went to {}", change.to)),
        };
        self.finish_job(&change.unit, result, &reason);
    }

    /// Runs the job of `unit` if its turn has come.
    fn try_job(&mut self, unit: &UnitName) {
        let Some(definition) = self.services.get(unit).map(|service| service.unit.clone()) else {
            return;
        };
        let Some(job) = self.jobs.get(unit) else { return };
        // In a stop of everything, what is not up yet stops at once: nobody can need it. Nor is
        // what waits to be restarted started once more, only because its stop waits for its turn.
        let state = self.services.get(unit).map(|service| service.state);
        let coming = state.map(SubState::active_state) == Some(ActiveState::Activating);
        let hopeless =
            job.stops() && coming && (self.out.stopping || state == Some(SubState::AutoRestart));
        if job.running || !hopeless && self.jobs.is_blocked(&self.graph, &definition) {
            return;
        }
        if job.stops() && !hopeless && (self.is_still_used(unit) || self.is_connected(unit)) {
            return; // looked at again when that is down
        }
        if job.stops() {
            self.run_stop(unit);
        } else if job.roll {
            self.run_roll(unit);
        } else if job.starts() && self.sockets.are_opening() {
            // Looked at again when they are open.
        } else if job.starts() {
            self.run_start(unit, &definition);
        } else {
            self.run_reload(unit);
        }
    }

    fn run_stop(&mut self, unit: &UnitName) {
        let restarting = self.jobs.get(unit).is_some_and(|job| job.stop_first);
        let limits = self.shutdown.as_ref().map(|s| (s.graceful_until(self.out.now, unit), s.end));
        self.jobs.run(unit);
        self.take_out(unit);
        self.with(unit, |service, _| {
            // One that is on its way down already has come to that by itself.
            let falls = service.state.active_state() == ActiveState::Deactivating;
            service.told_to_stop |= !falls;
            service.graceful_until = limits.map(|(graceful, _)| graceful);
            service.abandon_at = limits.map(|(_, end)| end);
        });
        self.stop_service(unit, restarting);
        let down = self.services.get(unit).is_none_or(Service::is_down);
        let settled = !self.out.changes.iter().any(|change| change.unit == *unit);
        if down && settled {
            if restarting {
                self.restart_half_done(unit);
            } else {
                self.finish_job(unit, JobResult::Done, "");
            }
        }
    }

    /// Whether one that is ordered after it is on its way down, to be started again: that start
    /// took the place of the stop that this one waited for.
    fn is_still_used(&self, unit: &UnitName) -> bool {
        self.graph.followers(unit).iter().any(|follower| {
            let state = self.services.get(follower).map(|service| service.state.active_state());
            let comes_back = |job: &Job| job.starts() && !job.running;
            state == Some(ActiveState::Deactivating)
                && self.jobs.get(follower).is_some_and(comes_back)
        })
    }

    /// The stop of a restart is done: others that waited for it may go on.
    fn restart_half_done(&mut self, unit: &UnitName) {
        self.jobs.restart_half_done(unit);
        self.wake_around(unit);
    }

    /// The jobs of what is ordered before or after it are looked at again.
    fn wake_around(&mut self, unit: &UnitName) {
        if let Some(definition) = self.services.get(unit).map(|service| service.unit.clone()) {
            self.jobs.wake(&self.graph, &definition);
        }
    }

    fn run_start(&mut self, unit: &UnitName, definition: &Unit) {
        let Some(state) = self.services.get(unit).map(|service| service.state) else { return };
        match state.active_state() {
            ActiveState::Active | ActiveState::Reloading => {
                self.finish_job(unit, JobResult::Done, "");
                return;
            }
            ActiveState::Deactivating => return, // looked at again when it is down
            ActiveState::Activating if state != SubState::AutoRestart => {
                self.jobs.run(unit);
                return;
            }
            ActiveState::Activating | ActiveState::Inactive | ActiveState::Failed => (),
        }
        if let Some(reason) = self.unmet_requirement(definition) {
            self.finish_job(unit, JobResult::Dependency, &reason);
        } else if !self.hold_idle(unit, definition) && self.has_sockets(unit) {
            let origin = self.jobs.get(unit).map(|job| job.origin);
            if origin != Some(Origin::AutoRestart) {
                let by_client = origin == Some(Origin::Client);
                self.with(unit, |service, _| service.by_client = by_client);
            }
            self.jobs.run(unit);
            if self.group_phase(unit) == GroupPhase::Up {
                self.hasten_group(unit);
                return;
            }
            if let Some(present) = self.definition(unit) {
                self.with(unit, |service, _| service.define(present));
                self.classify(unit);
            }
            self.with(unit, |service, out| service.start(out, StartReason::Asked));
        }
    }

    /// What must be up already when the turn of `unit` comes, and is not.
    pub(super) fn unmet_requirement(&self, unit: &Unit) -> Option<String> {
        let ordered = |name: &UnitName| unit.after.iter().any(|dep| dep.name == *name);
        let down = |name: &UnitName| self.services.contains_key(name) && !self.is_active(name);
        if let Some(dep) = unit.requisite.iter().find(|dep| !self.is_active(&dep.name)) {
            return Some(format!("Requisite={} is not active", dep.name));
        }
        if let Some(dep) = unit.binds_to.iter().find(|d| ordered(&d.name) && down(&d.name)) {
            return Some(format!("BindsTo={} is not active", dep.name));
        }
        let failed_step = |name: &UnitName| {
            self.services.get(name).is_some_and(|s| s.unit.step && s.state == SubState::Failed)
        };
        let step = unit.requires.iter().find(|dep| failed_step(&dep.name))?;
        Some(format!("the step {} failed", step.name))
    }

    fn hold_idle(&mut self, unit: &UnitName, definition: &Unit) -> bool {
        let Some(job) = self.jobs.get(unit) else { return false };
        let waited = job.idle_until.is_some_and(|until| until <= self.out.now);
        if definition.service.kind != ServiceType::Idle || waited {
            return false;
        }
        self.jobs.hold(unit, self.out.now.after(IDLE_MOST));
        self.index_deadline(unit);
        true
    }

    /// Nothing else is being done: the idle ones may start.
    fn release_idle(&mut self) -> bool {
        let held = self.jobs.release_held();
        for unit in &held {
            if let Some(job) = self.jobs.get_mut(unit) {
                job.idle_until = Some(self.out.now);
            }
            self.jobs.dirty.insert(unit.clone());
        }
        !held.is_empty()
    }

    fn run_reload(&mut self, unit: &UnitName) {
        let state = self.services.get(unit).map(|service| service.state);
        match state {
            Some(SubState::Running) if self.groups.contains_key(unit) => {
                self.jobs.run(unit);
                self.reload_group(unit);
            }
            // In a reload that somebody asked for, the job waits for the end of that one.
            Some(SubState::Running | SubState::Reload) => {
                self.jobs.run(unit);
                self.with(unit, Service::reload);
            }
            Some(other) => {
                self.finish_job(unit, JobResult::Failed, &format!("the service is {other}"));
            }
            None => self.finish_job(unit, JobResult::Failed, "there is no such unit"),
        }
    }

    /// A start that waits for its turn, or an idle one, has waited long enough.
    pub(super) fn on_job_timer(&mut self, unit: &UnitName) {
        let now = self.out.now;
        let Some(job) = self.jobs.get(unit) else { return };
        if job.deadline.is_some_and(|deadline| deadline <= now) {
            self.finish_job(unit, JobResult::Timeout, "JobTimeoutSec= is over");
        } else if job.idle_until.is_some_and(|until| until <= now) {
            self.jobs.dirty.insert(unit.clone());
        }
    }

    /// Takes the job off a unit, tells who waits, and lets others go on.
    pub(super) fn finish_job(&mut self, unit: &UnitName, result: JobResult, reason: &str) {
        let Some(job) = self.jobs.remove(unit) else { return };
        if job.roll && job.running {
            self.drop_roll(unit);
        }
        self.index_deadline(unit);
        self.tell(unit, &job, result, reason);
        let Some(definition) = self.services.get(unit).map(|service| service.unit.clone()) else {
            return;
        };
        self.jobs.wake(&self.graph, &definition);
        if job.starts() && !result.is_success() && result != JobResult::Canceled {
            // What a client asks for in vain is no failure of the whole.
            self.start_refused |= job.origin == Origin::Boot
                && matches!(result, JobResult::Dependency | JobResult::Assert);
            self.fail_dependents(unit);
        }
        self.boot_job_ended(unit);
        self.reload_at_last(unit, result);
        self.connection_job_ended(unit);
    }

    /// A SIGHUP came while the service was being started, and it is up now.
    fn reload_at_last(&mut self, unit: &UnitName, result: JobResult) {
        let asked = self.reload_later.remove(unit) && self.shutdown.is_none();
        let up = self.services.get(unit).is_some_and(|it| it.state == SubState::Running);
        if asked && up && result != JobResult::Canceled {
            self.install(unit, self.reload_job(unit, Origin::Unit));
        }
    }

    fn tell(&mut self, unit: &UnitName, job: &Job, result: JobResult, reason: &str) {
        for client in &job.clients {
            let reply = Reply::Job { result, reason: reason.to_string(), also: job.also.clone() };
            self.out.act(Action::Reply { client: *client, reply });
        }
        if !matches!(job.origin, Origin::AutoRestart | Origin::Shutdown) {
            let (unit, reason) = (unit.clone(), reason.to_string());
            self.out.record(Fact::Job { unit, kind: job.kind, result, reason });
        }
    }

    /// Whoever waits for `unit` and requires it cannot start (only with After=: else it does
    /// not wait any more, or was free to start beside it).
    fn fail_dependents(&mut self, unit: &UnitName) {
        let waits = |name: &&UnitName| {
            self.jobs.get(name).is_some_and(|job| job.starts() && !job.running)
                && self.graph.followers(unit).contains(name)
        };
        let dependents = self.graph.fail_with(unit).filter(waits);
        let refused = dependents.map(|name| (name.clone(), format!("{unit} did not start")));
        self.refused.extend(refused);
    }

    fn refuse(&mut self, unit: &UnitName, reason: &str) {
        if self.jobs.get(unit).is_some_and(|job| job.starts() && !job.running) {
            self.finish_job(unit, JobResult::Dependency, reason);
        }
    }

    fn boot_job_ended(&mut self, unit: &UnitName) {
        let Some(boot) = &mut self.boot else { return };
        boot.left.remove(unit);
        if boot.left.is_empty() {
            let took = self.out.now.since(boot.since);
            self.boot = None;
            if self.shutdown.is_none() {
                self.out.record(Fact::Booted { took });
            }
        }
    }

    /// While a unit waits to be restarted, others wait for it as for a start; and what is bound
    /// to it goes down and comes back with it.
    fn on_auto_restart(&mut self, unit: &UnitName) {
        if self.jobs.get(unit).is_none() {
            self.install(unit, Job::new(JobKind::Start, Origin::AutoRestart));
            self.jobs.run(unit);
        }
        for other in self.graph.bound_by(unit).to_vec() {
            if self.is_active(&other) {
                let tie = Tie { leader: unit.clone(), dependency: "BindsTo" };
                self.restart(&other, Origin::Unit, Some(tie));
            }
        }
    }
}

/// Whether a unit in this state keeps rinit from having nothing left.
fn counts_as_live(state: SubState) -> bool {
    !matches!(state, SubState::Dead | SubState::Failed | SubState::Exited)
}
