//! Going through the end of everything: handlers, drain, stop, sweep, exit.
//!
//! Not its arithmetic (`shutdown`) and not its causes (`ends`, `signals`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Manager;
use super::event::{Action, Fact, JobKind, JobResult, StopCause};
use super::instances::GroupPhase;
use super::job::{Job, Origin};
use super::service::Service;
use super::shutdown::{HURRIED, Hurry, Phase, Shutdown};
use super::time::Timestamp;
use crate::unit::UnitName;
use crate::unit::process::Signal;

impl Manager {
    /// A unit's end decides rinit's; its handlers run first.
    pub(super) fn end_by(&mut self, cause: StopCause, code: u8, handlers: BTreeSet<UnitName>) {
        if self.shutdown.is_some() {
            return;
        }
        let code = *self.verdict.get_or_insert(code);
        let mut shutdown = self.new_shutdown(cause, Some(code), Duration::ZERO);
        if handlers.is_empty() {
            self.shutdown = Some(shutdown);
            self.stop_units();
        } else {
            shutdown.phase = Phase::Handlers;
            let half = self.out.now.after(self.config.shutdown_timeout / 2);
            shutdown.phase_until = half.min(shutdown.kill_at);
            shutdown.handlers = handlers;
            self.shutdown = Some(shutdown);
        }
    }

    /// A client asks for the end.
    pub(super) fn request_shutdown(&mut self) {
        if self.shutdown.is_none() {
            self.begin_requested(StopCause::Client);
        }
    }

    /// A stop signal came: the first begins the end, the next ones hasten it.
    pub(super) fn on_stop_signal(&mut self, signal: Signal) {
        let now = self.out.now;
        let Some(shutdown) = &mut self.shutdown else {
            self.begin_requested(StopCause::Signal(signal));
            return;
        };
        match shutdown.on_signal(now) {
            Hurry::No => (),
            Hurry::Cut => {
                self.out.record(Fact::Hurried { signal, at_once: false });
                self.hurry();
            }
            Hurry::Kill => {
                self.out.record(Fact::Hurried { signal, at_once: true });
                self.kill_all();
            }
        }
    }

    fn begin_requested(&mut self, cause: StopCause) {
        let drain = if self.live == 0 { Duration::ZERO } else { self.config.drain };
        let mut shutdown = self.new_shutdown(cause, self.verdict, drain);
        // What was killed before anybody asked for the end does not count.
        self.services.values_mut().for_each(|service| service.killed_late = false);
        if drain.is_zero() {
            self.shutdown = Some(shutdown);
            self.stop_units();
        } else {
            shutdown.phase = Phase::Draining;
            shutdown.phase_until = self.out.now.after(drain).min(shutdown.kill_at);
            self.shutdown = Some(shutdown);
        }
    }

    fn new_shutdown(&mut self, cause: StopCause, code: Option<u8>, drain: Duration) -> Shutdown {
        self.interrupt_rolls();
        let budget = self.config.shutdown_timeout;
        self.out.record(Fact::Stopping { cause: cause.clone(), budget, drain, code });
        Shutdown::new(self.out.now, budget, cause)
    }

    /// Stop jobs for everything; nothing is started any more.
    fn stop_units(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.phase = Phase::Stopping;
        self.out.stopping = true;
        for name in self.jobs.names() {
            if self.jobs.get(&name).is_some_and(|job| job.kind != JobKind::Stop) {
                self.finish_job(&name, JobResult::Canceled, "rinit is stopping");
            }
        }
        // Instances go with their group.
        let single = |service: &&Service| service.unit.instance_of.is_none();
        let up = self.services.values().filter(single).filter(|service| !service.is_down());
        let up: BTreeSet<UnitName> = up.map(|service| service.name().clone()).collect();
        let mut layers = self.graph.layers_below(&self.units, &up);
        self.connection_layers(&mut layers);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.set_layers(layers);
        }
        for name in &up {
            if self.jobs.get(name).is_none() {
                self.install(name, Job::new(JobKind::Stop, Origin::Shutdown));
            } else {
                self.jobs.dirty.insert(name.clone()); // it may have waited for what is now moot
            }
        }
        self.recut();
    }

    /// Applies the budget to stops that are already under way.
    fn recut(&mut self) {
        let Some(shutdown) = self.shutdown.clone() else { return };
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            let unit = self.group_of(&name).unwrap_or(&name).clone();
            self.with(&name, |service, out| {
                let until = shutdown.graceful_until(out.now, &unit);
                let until = service.graceful_until.map_or(until, |at| at.min(until));
                service.graceful_until = Some(until);
                service.abandon_at = Some(shutdown.end);
                service.cut(out);
            });
        }
    }

    /// The second stop signal: no wait is longer than a second any more.
    fn hurry(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        match shutdown.phase {
            Phase::Handlers | Phase::Draining => self.stop_units(),
            Phase::Stopping => {
                self.recut();
                self.skip_quiescing();
            }
            Phase::Sweeping => {
                shutdown.kill_at = shutdown.kill_at.min(self.out.now.after(HURRIED));
            }
            Phase::Exited => (),
        }
    }

    /// No patience is left: SIGKILL to everything.
    pub(super) fn kill_all(&mut self) {
        if matches!(&self.shutdown, Some(s) if s.phase < Phase::Stopping) {
            self.stop_units();
        }
        let Some(shutdown) = &mut self.shutdown else { return };
        if shutdown.killed_all {
            return;
        }
        shutdown.killed_all = true;
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            if self.group_phase(&name) == GroupPhase::Down {
                self.with(&name, Service::kill_now); // else its instances are killed
            }
        }
        // Also what KillMode= spared, and what units that are down left behind.
        self.out.act(Action::KillEverything { signal: Signal::KILL });
    }

    /// Whether something is due that follows from what is up or down now, and does it.
    pub(super) fn advance(&mut self) -> bool {
        let Some(phase) = self.shutdown.as_ref().map(|shutdown| shutdown.phase) else {
            return self.end_if_nothing_left();
        };
        match phase {
            Phase::Handlers if self.handlers_are_done() => self.stop_units(),
            Phase::Draining if self.live == 0 => self.stop_units(),
            Phase::Stopping
                if self.jobs.is_empty() && self.services.values().all(Service::is_down) =>
            {
                self.sweep();
            }
            Phase::Handlers | Phase::Draining | Phase::Stopping => return false,
            Phase::Sweeping | Phase::Exited => return false,
        }
        true
    }

    /// A unit that a client stopped is waited with; backoffs and starts count as live.
    fn end_if_nothing_left(&mut self) -> bool {
        let idle = self.booted && self.live == 0 && self.jobs.is_empty();
        let idle = idle && !self.sockets.are_awaited();
        if !idle || self.services.values().any(|service| service.held) {
            return false;
        }
        let refused = u8::from(self.start_refused);
        let code = self.first_failure.unwrap_or(refused);
        self.end_by(StopCause::NothingLeft, code, BTreeSet::new());
        true
    }

    fn handlers_are_done(&self) -> bool {
        let Some(shutdown) = &self.shutdown else { return true };
        let busy = |name: &UnitName| {
            self.jobs.get(name).is_some() || self.services.get(name).is_some_and(|s| !s.is_down())
        };
        !shutdown.handlers.iter().any(busy)
    }

    /// The units are down: what else there is goes now.
    fn sweep(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.phase = Phase::Sweeping;
        if shutdown.killed_all {
            self.out.act(Action::KillEverything { signal: Signal::KILL });
            return;
        }
        if shutdown.is_hurried() {
            shutdown.kill_at = shutdown.kill_at.min(self.out.now.after(HURRIED));
        }
        self.out.act(Action::KillEverything { signal: Signal::TERM });
        self.out.act(Action::KillEverything { signal: Signal::CONT });
    }

    /// No process is left.
    pub(super) fn on_nothing_left(&mut self) {
        if matches!(&self.shutdown, Some(shutdown) if shutdown.phase == Phase::Sweeping) {
            self.exit();
        }
    }

    fn exit(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.phase = Phase::Exited;
    }

    /// The last words: whoever still waits is told, and nothing comes after the exit.
    pub(super) fn leave(&mut self) {
        if !self.is_over() {
            return;
        }
        for name in self.jobs.names() {
            self.finish_job(&name, JobResult::Canceled, "rinit exits");
        }
        self.tend_sockets();
        let code = self.verdict.unwrap_or_else(|| self.requested_status());
        self.out.act(Action::Exit { code });
    }

    /// When rinit exits at the latest, once its end has begun.
    #[must_use]
    pub fn end_of_stop(&self) -> Option<Timestamp> {
        self.shutdown.as_ref().map(|shutdown| shutdown.end)
    }

    /// A requested stop: 0, or 137 if a unit had to be killed. A COMMAND that never ran is
    /// reported as if the signal had ended it.
    fn requested_status(&self) -> u8 {
        let Some(shutdown) = &self.shutdown else { return 0 };
        match (&self.config.command, &shutdown.cause) {
            (Some(_), StopCause::Signal(signal)) => {
                u8::try_from(128 + signal.number()).unwrap_or(255)
            }
            (_, _) if shutdown.is_requested() && shutdown.killed_late => 137,
            (_, _) => 0,
        }
    }

    pub(super) fn on_shutdown_timer(&mut self) {
        let now = self.out.now;
        let Some(shutdown) = &self.shutdown else { return };
        if shutdown.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        if now >= shutdown.end {
            self.give_up();
        } else if shutdown.phase < Phase::Stopping {
            self.stop_units();
        } else {
            self.spend_budget();
        }
    }

    fn living(&self) -> Vec<UnitName> {
        let lives = |service: &&Service| !service.is_down() && !service.is_group();
        let living = self.services.values().filter(lives);
        living.map(|service| service.name().clone()).collect()
    }

    fn spend_budget(&mut self) {
        let units = self.living();
        self.out.record(Fact::BudgetSpent { units });
        self.kill_all();
    }

    /// Not even SIGKILL has emptied the place in time: exit all the same.
    fn give_up(&mut self) {
        if self.shutdown.as_ref().is_some_and(|shutdown| !shutdown.killed_all) {
            self.spend_budget();
        }
        for unit in self.living() {
            let late = self.services.get(&unit).is_some_and(|service| service.killed_late);
            if let Some(shutdown) = &mut self.shutdown {
                shutdown.killed_late |= late;
            }
            let main = self.services.get(&unit).and_then(|service| service.main);
            let command = self.config.command.as_ref() == Some(&unit);
            if command && main.is_some() {
                self.verdict.get_or_insert(137);
            }
            self.out.record(Fact::Abandoned { unit });
        }
        self.exit();
    }
}
