//! New definitions for units that may be running: daemon-reload and apply.
//!
//! Not reading them (`unit::load`). **Invariant:** a run goes by the definition that it was
//! started with until it has ended; nobody else is touched by a change of one unit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Manager;
use super::event::{Action, Change, ChangeAction, KillWhom, Reply};
use super::graph::Graph;
use super::instances::GroupPhase;
use super::job::{Job, Origin};
use super::service::Service;
use super::state::{ActiveState, SubState};
use crate::unit::process::Signal;
use crate::unit::{StartedBy, Unit, UnitName, UnitSet};

impl Manager {
    /// SIGHUP: new definitions if they are sound, then the reload of every service that has one.
    pub(super) fn on_loaded(&mut self, units: Option<UnitSet>) {
        let Some(units) = units else { return };
        if self.shutdown.is_none() {
            self.load(units);
            self.reload_all();
        }
    }

    /// Takes these definitions; what runs goes on by its own.
    pub(super) fn load(&mut self, units: UnitSet) {
        self.units = units;
        for (name, unit) in self.units.units.clone() {
            match self.services.get_mut(&name) {
                Some(service) => service.define(unit),
                None => {
                    let mut service = Service::new(unit);
                    service.is_new = true;
                    self.services.insert(name.clone(), service);
                }
            }
            if self.group_phase(&name) == GroupPhase::Down {
                self.classify(&name);
            }
        }
        self.forget_removed();
        self.graph = Graph::new(&self.effective());
    }

    /// A unit whose file is gone is forgotten as soon as nothing of it runs.
    fn forget_removed(&mut self) {
        let known = &self.units;
        let gone =
            |service: &&Service| !service.unit.is_made() && known.get(service.name()).is_none();
        let removed = self.services.values().filter(gone);
        let removed: Vec<UnitName> = removed.map(|service| service.name().clone()).collect();
        for name in removed {
            if self.jobs.get(&name).is_some_and(|job| job.starts() && !job.running) {
                self.finish_job(&name, super::event::JobResult::Canceled, "its unit was removed");
            }
            let idle = self.services.get(&name).is_some_and(Service::is_down);
            if idle && self.jobs.get(&name).is_none() {
                self.forget(&name);
                self.forget_group(&name);
            }
        }
    }

    /// The definitions that count for order: of what runs, its own; else the new ones.
    fn effective(&self) -> UnitSet {
        let services = self.services.values().filter(|it| !it.unit.is_made());
        UnitSet::new(services.map(|service| Arc::clone(&service.unit)))
    }

    /// Makes what runs fit the definitions, or only says how.
    pub(super) fn apply(&mut self, units: UnitSet, dry_run: bool) -> Reply {
        if self.shutdown.is_some() {
            return Reply::Refused { reason: "rinit is stopping".to_string() };
        }
        let changes = self.plan(&units);
        if !dry_run {
            self.load(units);
            self.carry_out(&changes);
        }
        Reply::Plan { changes }
    }

    fn plan(&self, units: &UnitSet) -> Vec<Change> {
        let single = |service: &&Service| !service.unit.is_made();
        let known = self.services.values().filter(single).map(Service::name);
        let names: BTreeSet<&UnitName> = units.units.keys().chain(known).collect();
        names.into_iter().filter_map(|name| self.plan_one(name, units)).collect()
    }

    fn plan_one(&self, name: &UnitName, units: &UnitSet) -> Option<Change> {
        let (action, reason) = match (self.services.get(name), units.get(name)) {
            (None, None) => return None,
            (None, Some(new)) if new.started_by == StartedBy::Boot => {
                (ChangeAction::Start, "it is new")
            }
            (None, Some(_)) => (ChangeAction::Keep, "it is new, and something else starts it"),
            (Some(old), None) if old.is_down() => (ChangeAction::Keep, "its file is gone"),
            (Some(_), None) => (ChangeAction::Stop, "its file is gone"),
            (Some(old), Some(new)) => plan_known(old, new)?,
        };
        Some(Change { unit: name.clone(), action, reason: reason.to_string() })
    }

    fn carry_out(&mut self, changes: &[Change]) {
        let with = |action| {
            let matching = changes.iter().filter(move |change| change.action == action);
            matching.map(|change| change.unit.clone()).collect::<Vec<_>>()
        };
        for name in with(ChangeAction::Stop) {
            self.stop(&name, Origin::Unit, None);
        }
        for name in with(ChangeAction::Restart) {
            self.restart_or_roll(&name, Origin::Client);
        }
        // New steps come before new units by the order that `unit::steps` gave them.
        for name in with(ChangeAction::Start) {
            self.install(&name, Job::new(super::event::JobKind::Start, Origin::Client));
        }
    }

    /// A client's `kill`: the signal and nothing more.
    pub(super) fn kill(&mut self, unit: &UnitName, whom: KillWhom, signal: Signal) -> Reply {
        let Some(service) = self.services.get(unit) else { return Reply::NoSuchUnit };
        let process = match whom {
            KillWhom::Main | KillWhom::All if self.groups.contains_key(unit) => {
                return self.kill_instances(unit, whom, signal);
            }
            KillWhom::Main => service.main,
            KillWhom::Control => service.control,
            KillWhom::All => {
                let (unit, signal) = (unit.clone(), Some(signal));
                self.out.act(Action::KillUnit { unit, signal });
                return Reply::Done;
            }
        };
        match process {
            Some(live) => {
                self.out.act(Action::KillProcess { process: live.process, signal });
                Reply::Done
            }
            None => Reply::Refused { reason: format!("{unit} has no such process") },
        }
    }

    fn kill_instances(&mut self, group: &UnitName, whom: KillWhom, signal: Signal) -> Reply {
        let live = |service: &&Service| !service.is_down();
        let names: Vec<UnitName> =
            self.members(group).filter(live).map(|it| it.name().clone()).collect();
        let done = names.iter().filter(|name| self.kill(name, whom, signal) == Reply::Done);
        match done.count() {
            0 => Reply::Refused { reason: format!("{group} has no such process") },
            _ => Reply::Done,
        }
    }

    /// Forgets the failures and start counters of one unit, or of all.
    pub(super) fn reset_failed(&mut self, unit: Option<&UnitName>) -> Reply {
        let names: Vec<UnitName> = match unit {
            Some(name) if !self.services.contains_key(name) => return Reply::NoSuchUnit,
            Some(name) => {
                let members = self.members(name).map(|service| service.name().clone());
                std::iter::once(name.clone()).chain(members).collect()
            }
            None => self.services.keys().cloned().collect(),
        };
        for name in names {
            self.with(&name, Service::reset_failed);
        }
        Reply::Done
    }
}

/// Sockets outlast all that is done while the service is up.
const NEW_SOCKETS: &str = "its [Socket] changed: its sockets are opened anew with the next start, those that are open stay";
const NEW_SOCKETS_AND_ROLL: &str = "its [Service] changed; its [Socket], too: its sockets are \
     opened anew with the next start, instances that are replaced one by one have the old ones";

/// What a changed definition means for a unit that is known, whether it comes now or came with a
/// `daemon-reload`. Only what its processes are made from needs a restart; order, limits and
/// descriptions count from now on. Open sockets stay as they are as long as it runs.
fn plan_known(service: &Service, new: &Arc<Unit>) -> Option<(ChangeAction, &'static str)> {
    let boots = new.started_by == StartedBy::Boot;
    if service.is_new && service.state == SubState::Dead && boots && !service.held {
        return Some((ChangeAction::Start, "it is new"));
    }
    let ran_by = service.ran_by.as_ref().filter(|_| service.is_between_runs());
    let old = ran_by.unwrap_or(&service.unit);
    if **old == **new {
        return None;
    }
    let up = !service.is_down();
    let socket = old.socket != new.socket;
    Some(if old.service == new.service && socket && up {
        (ChangeAction::Keep, NEW_SOCKETS)
    } else if old.service == new.service {
        (ChangeAction::Keep, "nothing changed in its [Service]")
    } else if new.step {
        (ChangeAction::Skip, "a step is not run again; `rinitctl start` runs it")
    } else if up && socket && new.service.instances.is_some() {
        (ChangeAction::Restart, NEW_SOCKETS_AND_ROLL)
    } else if up && socket {
        (ChangeAction::Restart, "its [Service] and [Socket] changed: its sockets are opened anew")
    } else if up {
        (ChangeAction::Restart, "its [Service] changed")
    } else if service.state == SubState::Failed && boots {
        (ChangeAction::Start, "it had failed, and its [Service] changed")
    } else {
        (ChangeAction::Keep, "it does not run")
    })
}

impl Service {
    /// It failed, or waits for its restart: what it last ran by can be told from a new definition.
    fn is_between_runs(&self) -> bool {
        matches!(self.state, SubState::Failed | SubState::AutoRestart)
    }

    /// The definition from the next start on; of a run that goes on, only what its processes
    /// are not made from is taken over.
    pub fn define(&mut self, unit: Arc<Unit>) {
        let runs = self.state.active_state() != ActiveState::Inactive && !self.is_between_runs();
        let same = self.unit.service == unit.service;
        if runs && !same {
            return;
        }
        // Only what `apply` would try again; instances have their own definitions.
        let boots = unit.started_by == StartedBy::Boot;
        let again = self.state == SubState::AutoRestart || self.state == SubState::Failed && boots;
        let single = unit.service.instances.is_none() && !unit.step;
        if again && single && !same && self.ran_by.is_none() {
            self.ran_by = Some(Arc::clone(&self.unit));
        }
        self.unit = unit;
    }
}
