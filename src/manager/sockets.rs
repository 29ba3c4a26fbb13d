//! When the sockets of a unit are open, and what a stop owes to those who are in their queues.
//!
//! Not the sockets themselves: the shell holds them (`init::sockets`). They are asked for at boot
//! before anything is started, stay over crashes, restarts and reloads, and close with the end of
//! their service. Their fate is not tied to events: [`Manager::tend_sockets`] looks at what is
//! open and at what the services are, and does what is missing.
//! **Invariant:** every stop of a service that somebody asked for goes through
//! [`Manager::stop_service`]; no main process is started while sockets of its own are not open.
//!
//! A stop that closes them loses least in this order: new connects are refused; who is queued is
//! accepted by the workers; they are told to stop; a tick later listening ends for all who hold
//! the socket. The tick is for workers that look at their signal flag only ten times a second and
//! go on accepting till then: listening that ended under them would be an error to them, and a
//! connection that had its handshake but had not spoken would be reset. There is no way back from
//! the refusal: a start that is asked for meanwhile opens the sockets anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Manager;
use super::backoff::StartLimit;
use super::event::{Action, Fact};
use super::instances::GroupPhase;
use super::job::{Job, Origin};
use super::service::Service;
use super::state::{ServiceResult, SubState};
use super::time::Timestamp;
use crate::unit::service::KillMode;
use crate::unit::socket::Socket;
use crate::unit::{Unit, UnitKind, UnitName};

/// A queue that is not empty by then is left to the workers as it is.
const QUEUE_MOST: Duration = Duration::from_millis(500);

/// An instance that has not read by then what it accepted is stopped all the same.
const UNREAD_MOST: Duration = Duration::from_secs(4);

/// From the signals of a stop to the end of listening: more than the tenth of a second after
/// which a worker has noticed, less than a client would wait in vain.
const CLOSE_AFTER: Duration = Duration::from_millis(120);

/// The sockets of one unit.
#[derive(Debug)]
struct Held {
    /// The definition by which they were asked for.
    unit: Arc<Unit>,
    /// For so many instances.
    instances: u32,
    open: bool,
    /// An answer to [`Action::Listen`] is on its way.
    asked: bool,
    /// A connection is waited for.
    awaited: bool,
    /// One came, and was not waited for again since.
    connected: bool,
    triggers: StartLimit,
    /// Connects are refused already: the sockets are about to be closed.
    quiet: bool,
    /// And nobody waits in their queues.
    emptied: bool,
    close_at: Option<Timestamp>,
}

impl Held {
    /// Connections are taken for it, and start nothing that it would follow.
    fn accepts(&self) -> bool {
        self.unit.socket.as_ref().is_some_and(|socket| socket.accept)
    }
}

/// All sockets that are open or asked for, by the unit in whose file they stand.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    held: BTreeMap<UnitName, Held>,
}

impl Sockets {
    /// When the sockets of a unit are to be closed.
    pub fn close_at(&self, unit: &UnitName) -> Option<Timestamp> {
        self.held.get(unit)?.close_at
    }

    /// Some are being opened: till then nothing is started, for a port in use is a reason not to.
    pub fn are_opening(&self) -> bool {
        self.held.values().any(|held| held.asked)
    }

    /// Somebody may connect, and that would start something.
    pub fn are_awaited(&self) -> bool {
        self.held.values().any(|held| held.awaited || held.asked)
    }
}

/// What is to become of open sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Stay,
    /// Their service has been told to stop.
    CloseSoon,
    Close,
}

impl Manager {
    /// Asks for every socket of what boot starts and of what a connection starts.
    pub(super) fn open_sockets(&mut self) {
        let with = self.units.units.values().filter(|unit| unit.socket.is_some());
        let units: Vec<Arc<Unit>> = with.filter(|unit| !unit.name.is_template()).cloned().collect();
        for unit in units {
            self.listen(unit);
        }
    }

    /// Whether the sockets of a unit are open as it declares them; if not, they are asked for,
    /// and its job is looked at again when the answer is there.
    pub(super) fn has_sockets(&mut self, name: &UnitName) -> bool {
        let known = self.services.get(name).map(|service| &service.unit);
        let Some(unit) = self.units.get(name).or(known).cloned() else { return true };
        if unit.socket.is_none() || unit.instance_of.is_some() {
            return true;
        }
        match self.sockets.held.get(name) {
            Some(held) if held.asked => false,
            // Connects to these are refused since the stop that was before, and for good.
            Some(held) if held.quiet => {
                self.unlisten(name);
                self.listen(unit);
                false
            }
            Some(held) if held.open && held.unit.socket == unit.socket => true,
            Some(_) | None => {
                self.listen(unit);
                false
            }
        }
    }

    /// Whether what is due for a unit may be done: a restart that is due waits for its sockets.
    pub(super) fn may_go_on(&mut self, unit: &UnitName) -> bool {
        let state = self.services.get(unit).map(|service| service.state);
        state != Some(SubState::AutoRestart) || self.has_sockets(unit)
    }

    fn listen(&mut self, unit: Arc<Unit>) {
        let instances = self.groups.get(&unit.name).map_or(1, |group| group.wanted);
        self.listen_for(unit, instances);
    }

    /// There are to be another number of instances than there are sockets for: asks for what is
    /// missing. None of those that are open is closed.
    pub(super) fn fit_sockets(&mut self, unit: &UnitName) {
        let Some(wanted) = self.groups.get(unit).map(|group| group.wanted) else { return };
        let Some(held) = self.sockets.held.get(unit) else { return };
        if held.open && !held.quiet && held.instances != wanted {
            self.listen_for(Arc::clone(&held.unit), wanted);
        }
    }

    /// Asks for the sockets of a unit, or for more of them for more instances.
    fn listen_for(&mut self, unit: Arc<Unit>, instances: u32) {
        let held = self.sockets.held.entry(unit.name.clone()).or_insert_with(|| Held {
            unit: Arc::clone(&unit),
            instances,
            open: false,
            asked: false,
            awaited: false,
            connected: false,
            triggers: StartLimit::default(),
            quiet: false,
            emptied: false,
            close_at: None,
        });
        held.unit = Arc::clone(&unit);
        held.instances = instances;
        held.asked = true;
        held.awaited = false; // those that are open anew are waited on by nobody
        self.out.act(Action::Listen { unit, instances });
    }

    /// The sockets are open, or cannot be opened: then nothing of the unit is started.
    pub(super) fn on_listening(&mut self, unit: &UnitName, outcome: Result<(), String>) {
        let Some(held) = self.sockets.held.get_mut(unit) else { return };
        held.asked = false;
        if !self.sockets.are_opening() {
            self.jobs.dirty.extend(self.jobs.names());
        }
        let Some(held) = self.sockets.held.get_mut(unit) else { return };
        let Err(reason) = outcome else {
            held.open = true;
            return;
        };
        let down = self.services.get(unit).is_none_or(Service::is_down);
        if !held.open {
            self.sockets.held.remove(unit);
        } else if down {
            self.unlisten(unit);
        }
        if self.may_ask_again(unit) {
            return;
        }
        self.out.record(Fact::ListenFailed { unit: unit.clone(), reason: reason.clone() });
        self.refuse_start(unit, ServiceResult::Resources, reason);
    }

    /// Whether the turn of a start has not come that `Restart=` would repeat: it asks again when
    /// it has. To wait for a restart now would be to start before what it is ordered after.
    fn may_ask_again(&self, unit: &UnitName) -> bool {
        let Some(service) = self.services.get(unit) else { return false };
        let waits = self.jobs.get(unit).is_some_and(|job| job.starts() && !job.running);
        waits && service.repeats_failed_start() && self.jobs.is_blocked(&self.graph, &service.unit)
    }

    /// What is down stays down, as a failure.
    fn refuse_start(&mut self, unit: &UnitName, result: ServiceResult, reason: String) {
        let starts = self.jobs.get(unit).is_some_and(|job| job.starts() && !job.stop_first);
        if starts {
            self.jobs.run(unit);
        }
        let state = self.services.get(unit).map(|service| service.state);
        let wanted = starts || state == Some(SubState::AutoRestart);
        self.with(unit, |service, out| service.cannot_start(out, result, reason, wanted));
    }

    /// Begins the stop of a service. `restarting`: only to start it again.
    pub(super) fn stop_service(&mut self, unit: &UnitName, restarting: bool) {
        let hurried = self.shutdown.as_ref().is_some_and(super::Shutdown::is_hurried);
        let quiescing = self.services.get(unit).is_some_and(Service::is_quiescing);
        if quiescing && !hurried {
            self.with(unit, |service, out| service.quiesce(out, restarting, QUEUE_MOST));
        } else if !hurried && let Some(most) = self.owes_quiet(unit, restarting) {
            self.with(unit, |service, out| service.quiesce(out, restarting, most));
            for owner in self.queues_of(unit) {
                self.out.act(Action::Quiesce { unit: owner });
            }
            if self.groups.contains_key(unit) {
                self.touched.insert(unit.clone());
            }
        } else {
            self.stop_now(unit, restarting);
        }
    }

    /// The units whose queues a stop of `unit` has to wait for.
    fn queues_of(&self, unit: &UnitName) -> Vec<UnitName> {
        let Some(service) = self.services.get(unit) else { return Vec::new() };
        if service.unit.instance_of.is_some() {
            return vec![unit.clone()];
        }
        let owners = std::iter::once(unit).chain(service.unit.sockets.iter().map(|it| &it.name));
        let quiet = |owner: &&UnitName| self.sockets.held.get(*owner).is_some_and(|it| it.quiet);
        owners.filter(quiet).cloned().collect()
    }

    /// Who is queued has been accepted, or has waited long enough.
    pub(super) fn stop_now(&mut self, unit: &UnitName, restarting: bool) {
        if self.group_phase(unit) == GroupPhase::Down {
            self.with(unit, |service, out| service.stop(out, restarting));
        } else {
            self.with(unit, |service, _| service.is_stopped_for(restarting));
            self.stop_group(unit, restarting);
        }
    }

    /// For how long at most this unit's stop waits for who would be lost, or wait long, by it:
    /// somebody in a queue, or in its hands and not read yet. `None`: there is nobody. If the
    /// sockets are to be closed, notes that connects are refused from now on.
    fn owes_quiet(&mut self, unit: &UnitName, restarting: bool) -> Option<Duration> {
        let service = self.services.get(unit)?;
        if service.state != SubState::Running {
            return None;
        }
        if service.unit.instance_of.is_some() {
            return self.instance_owes_quiet(service);
        }
        let stopping = self.out.stopping;
        let on_demand = service.unit.is_on_demand() && !stopping;
        let separate: Vec<UnitName> =
            service.unit.sockets.iter().map(|dependency| dependency.name.clone()).collect();
        // Sockets of a `.socket` unit outlive their service, but not rinit.
        let own = std::iter::once(unit).filter(|_| !restarting && !on_demand);
        let mut owes = None;
        for owner in own.chain(separate.iter().filter(|_| stopping)) {
            let held = self.sockets.held.get_mut(owner).filter(|it| it.open && !it.quiet);
            if let Some(held) = held {
                held.quiet = true;
                owes = Some(QUEUE_MOST);
            }
        }
        owes
    }

    fn instance_owes_quiet(&self, instance: &Service) -> Option<Duration> {
        let unit = &instance.unit;
        let group = unit.instance_of.as_ref()?;
        if self.group_phase(group) == GroupPhase::Stopping {
            return None; // there is nobody left to send them to: who is queued waits
        }
        let owners = std::iter::once(group).chain(unit.sockets.iter().map(|it| &it.name));
        let held = owners.filter_map(|owner| self.sockets.held.get(owner)).filter(|it| it.open);
        let mut sockets = held.filter_map(|held| held.unit.socket.as_deref());
        if sockets.clone().any(|socket| socket.reuse_port) {
            // Each has a socket of its own: steered away from, its queue runs empty.
            return Some(QUEUE_MOST);
        }
        // All have the same: it is held still when it has read what it took from there. A command
        // of its own, or no signal at all, would come between that and its end.
        let service = &unit.service;
        let signalled = service.exec_stop.is_empty() && service.kill_mode != KillMode::None;
        let shares = signalled && sockets.any(Socket::has_tcp_stream);
        shares.then_some(UNREAD_MOST)
    }

    /// Nothing waits in the queues of `unit` any more: who waited for that stops.
    pub(super) fn on_quiet(&mut self, unit: &UnitName) {
        if let Some(held) = self.sockets.held.get_mut(unit) {
            held.emptied = true;
        }
        let quiescing = self.services.values().filter(|service| service.is_quiescing());
        let due: Vec<UnitName> = quiescing
            .map(|service| service.name())
            .filter(|name| {
                let queues = self.queues_of(name);
                let held = |owner: &UnitName| self.sockets.held.get(owner);
                let empty = |owner: &UnitName| held(owner).is_none_or(|it| it.emptied);
                queues.contains(unit) && queues.iter().all(empty)
            })
            .cloned()
            .collect();
        due.iter().for_each(|name| self.end_quiescing(name));
    }

    /// The stop of a service goes on.
    pub(super) fn end_quiescing(&mut self, unit: &UnitName) {
        if let Some(service) = self.services.get(unit).filter(|service| service.is_quiescing()) {
            let restarting = service.is_restarting();
            self.stop_now(unit, restarting);
        }
    }

    /// The second stop signal: nobody waits for a queue any more.
    pub(super) fn skip_quiescing(&mut self) {
        let waiting = self.services.values().filter(|service| service.is_quiescing());
        for unit in waiting.map(|service| service.name().clone()).collect::<Vec<_>>() {
            self.end_quiescing(&unit);
        }
    }

    /// Somebody connects to a socket whose service does not run.
    pub(super) fn on_connection(&mut self, unit: &UnitName) {
        let Some(held) = self.sockets.held.get_mut(unit) else { return };
        (held.awaited, held.connected) = (false, true);
        let Some(socket) = held.unit.socket.as_deref().filter(|_| held.open) else { return };
        if self.shutdown.is_some() || socket.accept {
            return;
        }
        let (burst, interval) = (socket.trigger_limit_burst, socket.trigger_limit_interval);
        let target = triggered(&held.unit);
        if self.count_trigger(unit, burst, interval)
            && let Some(target) = target.filter(|target| self.services.contains_key(target))
        {
            self.start(&[target], Origin::Unit);
        }
    }

    /// The definition of sockets that are open to new connections.
    pub(super) fn listening(&self, unit: &UnitName) -> Option<&Arc<Unit>> {
        let held = self.sockets.held.get(unit).filter(|held| held.open && !held.quiet)?;
        let state = self.services.get(unit)?.state;
        (state == SubState::Listening).then_some(&held.unit)
    }

    /// A connection starts something. So many in so short a time are too many: then the socket
    /// fails.
    pub(super) fn count_trigger(
        &mut self,
        unit: &UnitName,
        burst: u32,
        interval: Duration,
    ) -> bool {
        let Some(held) = self.sockets.held.get_mut(unit) else { return false };
        if held.triggers.allow(self.out.now, burst, interval) {
            return true;
        }
        self.out.record(Fact::TriggerLimitHit { unit: unit.clone(), burst, interval });
        self.unlisten(unit);
        if unit.kind() == UnitKind::Socket {
            self.with(unit, |socket, out| {
                socket.socket_failed(out, ServiceResult::TriggerLimitHit)
            });
        } else {
            let reason = format!("{burst} connections in a row started it in vain");
            self.refuse_start(unit, ServiceResult::TriggerLimitHit, reason);
        }
        false
    }

    /// Does to every socket what follows from the state of its service; whether that changed
    /// the state of one.
    pub(super) fn tend_sockets(&mut self) -> bool {
        let units: Vec<UnitName> = self.sockets.held.keys().cloned().collect();
        for unit in units {
            if self.is_over() {
                self.unlisten(&unit);
            } else if self.sockets.held.get(&unit).is_some_and(|held| held.open && !held.asked) {
                self.tend(&unit);
            }
        }
        !self.out.changes.is_empty()
    }

    fn tend(&mut self, unit: &UnitName) {
        let now = self.out.now;
        let fate = self.fate(unit);
        let Some(held) = self.sockets.held.get_mut(unit) else { return };
        let before = held.close_at;
        held.close_at = match fate {
            Fate::Stay | Fate::Close => None,
            Fate::CloseSoon => before.or(Some(now.after(CLOSE_AFTER))),
        };
        if held.close_at != before {
            self.index_deadline(unit);
        }
        let due = self.sockets.close_at(unit).is_some_and(|at| at <= now);
        if fate == Fate::Close || due {
            self.unlisten(unit);
        } else if fate == Fate::Stay {
            self.follow_service(unit);
            self.await_connection(unit);
        }
    }

    fn fate(&self, unit: &UnitName) -> Fate {
        let Some(service) = self.services.get(unit) else { return Fate::Close };
        let starts = self.jobs.get(unit).is_some_and(Job::starts);
        let stays = !self.out.stopping && (starts || service.unit.is_on_demand());
        let spent = service.result == ServiceResult::StartLimitHit;
        let quiet = self.sockets.held.get(unit).is_some_and(|held| held.quiet);
        if service.is_down() {
            if stays && !quiet && (starts || !spent) { Fate::Stay } else { Fate::Close }
        } else if (service.is_ending() && !stays) || (quiet && !self.is_emptied(unit)) {
            Fate::CloseSoon
        } else {
            Fate::Stay
        }
    }

    /// A stop waits for the queues of a unit to be empty.
    fn is_emptied(&self, unit: &UnitName) -> bool {
        let quiescing = self.services.values().filter(|service| service.is_quiescing());
        quiescing.map(Service::name).any(|name| self.queues_of(name).contains(unit))
    }

    /// Whether the service that a socket is for is down, and nobody is about to start it.
    fn is_idle(&self, target: &UnitName) -> bool {
        let down = self.services.get(target).is_none_or(Service::is_down);
        down && self.jobs.get(target).is_none()
    }

    /// A `.socket` unit is `running` while its service is up, and `listening` else. A service that
    /// used up its starts would be started by every connection: then the socket fails with it.
    fn follow_service(&mut self, unit: &UnitName) {
        if unit.kind() != UnitKind::Socket {
            return;
        }
        let Some(target) = self.sockets.held.get(unit).and_then(|it| triggered(&it.unit)) else {
            return;
        };
        let accepts = self.sockets.held.get(unit).is_some_and(Held::accepts);
        let idle = accepts || self.is_idle(&target);
        let spent = self.services.get(&target).is_some_and(|service| {
            service.state == SubState::Failed && service.result == ServiceResult::StartLimitHit
        });
        let tried = self.sockets.held.get(unit).is_some_and(|it| it.connected);
        if idle && spent && tried {
            self.with(unit, |it, out| it.socket_failed(out, ServiceResult::ServiceStartLimitHit));
        } else {
            self.with(unit, |socket, out| socket.follow(out, !idle));
        }
    }

    /// A connection to what is down starts it.
    fn await_connection(&mut self, unit: &UnitName) {
        let Some(service) = self.services.get(unit) else { return };
        let listens = service.unit.is_on_demand() || service.state == SubState::Listening;
        let target = triggered(&service.unit);
        let accepts = self.sockets.held.get(unit).is_some_and(Held::accepts);
        let idle = listens && (accepts || target.is_some_and(|target| self.is_idle(&target)));
        let idle = idle && self.shutdown.is_none() && self.booted;
        let Some(held) = self.sockets.held.get_mut(unit) else { return };
        if idle && !held.awaited {
            (held.awaited, held.connected) = (true, false);
            self.out.act(Action::Await { unit: unit.clone() });
        }
    }

    fn unlisten(&mut self, unit: &UnitName) {
        if self.sockets.held.remove(unit).is_some() {
            self.index_deadline(unit);
            if let Some(group) = self.groups.get_mut(unit) {
                group.steered.clear();
            }
            self.out.act(Action::Unlisten { unit: unit.clone() });
        }
    }
}

/// What a connection to the sockets of a unit starts.
fn triggered(unit: &Unit) -> Option<UnitName> {
    if unit.name.kind() == UnitKind::Service {
        return Some(unit.name.clone());
    }
    let named = unit.socket.as_ref().and_then(|socket| socket.service.clone());
    named.or_else(|| UnitName::service(unit.name.stem()).ok())
}
