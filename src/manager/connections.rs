//! A socket with `Accept=yes`: a service for each connection, which is forgotten with its end.
//!
//! Not the accepting (`init::sockets`) nor what such a service is (`unit::connections`). It is an
//! ordinary service to all others, only that no file defines it. **Invariant:** every connection that
//! the shell brings is served by a service of its own or let go in the same event, and a service
//! whose connection is over has left no trace when the event is handled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Manager;
use super::event::{Action, Fact, JobKind, JobResult};
use super::job::{Job, Origin};
use super::out::Change;
use super::service::Service;
use super::state::SubState;
use crate::unit::socket::Socket;
use crate::unit::{Unit, UnitKind, UnitName, connections};

/// One connection.
#[derive(Debug)]
struct Served {
    socket: UnitName,
    /// From where it is.
    source: String,
}

/// All connections that are served.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// By the service that does.
    served: BTreeMap<UnitName, Served>,
    /// Sockets of which it was said that there are too many; not again before there is room.
    told: Vec<UnitName>,
    /// Services that are down: nobody needs them any more.
    over: Vec<UnitName>,
}

impl Connections {
    fn of<'a>(&'a self, socket: &'a UnitName) -> impl Iterator<Item = &'a Served> {
        self.served.values().filter(move |served| served.socket == *socket)
    }

    /// Whether a connection of this socket is served.
    pub fn has(&self, socket: &UnitName) -> bool {
        self.of(socket).next().is_some()
    }

    fn leave(&mut self, unit: &UnitName) -> Option<UnitName> {
        let served = self.served.remove(unit)?;
        self.told.retain(|told| *told != served.socket);
        self.over.push(unit.clone());
        Some(served.socket)
    }

    /// Which limit another connection from there would break, by the directive's name.
    fn limit(
        &self,
        socket: &UnitName,
        limits: &Socket,
        source: &str,
    ) -> Option<(&'static str, u32)> {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (most, each) = (limits.max_connections, limits.max_connections_per_source);
        let from_there = || self.of(socket).filter(|served| served.source == source).count();
        if number(self.of(socket).count()) >= most {
            Some(("MaxConnections", most))
        } else if each > 0 && number(from_there()) >= each {
            Some(("MaxConnectionsPerSource", each))
        } else {
            None
        }
    }

    /// Whether it has been said already; from now on it has.
    fn is_told(&mut self, socket: &UnitName) -> bool {
        let told = self.told.contains(socket);
        if !told {
            self.told.push(socket.clone());
        }
        told
    }
}

impl Manager {
    /// The shell has taken a connection of this socket, for the service `unit`.
    pub(super) fn on_accepted(&mut self, socket: &UnitName, unit: UnitName, source: String) {
        match self.service_for(socket, &unit, &source) {
            Some(service) => {
                let served = Served { socket: socket.clone(), source };
                self.connections.served.insert(unit.clone(), served);
                self.services.insert(unit.clone(), Service::new(Arc::new(service)));
                self.install(&unit, Job::new(JobKind::Start, Origin::Unit));
            }
            None => self.out.act(Action::Release { unit }),
        }
    }

    /// What serves it; `None`: nobody, it is one too many or comes too late.
    fn service_for(&mut self, socket: &UnitName, unit: &UnitName, source: &str) -> Option<Unit> {
        let definition = Arc::clone(self.listening(socket)?);
        let limits = definition.socket.as_deref()?;
        // While the stop waits for DrainSec= traffic is still served.
        if self.out.stopping || self.services.contains_key(unit) {
            return None;
        }
        if let Some((directive, limit)) = self.connections.limit(socket, limits, source) {
            if !self.connections.is_told(socket) {
                let (unit, source) = (socket.clone(), source.to_string());
                self.out.record(Fact::ConnectionRefused { unit, source, directive, limit });
            }
            return None;
        }
        let (burst, interval) = (limits.trigger_limit_burst, limits.trigger_limit_interval);
        if !self.count_trigger(socket, burst, interval) {
            return None;
        }
        let template = self.units.get(limits.service.as_ref()?)?;
        connections::connection(template, socket, unit.instance()?)
    }

    /// A unit came to another state.
    pub(super) fn connection_changed(&mut self, change: &Change) {
        if matches!(change.to, SubState::Dead | SubState::Failed) {
            self.connection_over(&change.unit);
        }
    }

    /// The start job of a unit has ended: what never started, and is not to, is over as well.
    pub(super) fn connection_job_ended(&mut self, unit: &UnitName) {
        if self.services.get(unit).is_some_and(Service::is_down) {
            self.connection_over(unit);
        }
    }

    fn connection_over(&mut self, unit: &UnitName) {
        if let Some(socket) = self.connections.leave(unit) {
            self.jobs.dirty.insert(socket); // it may wait for that
        }
    }

    /// How many layers are below each of those that are up, which the graph does not have: each
    /// stops before its socket.
    pub(super) fn connection_layers(&self, below: &mut BTreeMap<UnitName, u32>) {
        for (unit, served) in &self.connections.served {
            let layers = below.get(&served.socket).map_or(0, |layers| layers + 1);
            below.insert(unit.clone(), layers);
        }
    }

    /// In a stop of everything a socket goes after those who serve its connections: what they
    /// need comes before it.
    pub(super) fn is_connected(&self, unit: &UnitName) -> bool {
        let socket = unit.kind() == UnitKind::Socket;
        socket && self.out.stopping && self.connections.has(unit)
    }

    /// After an event: services that are over are forgotten.
    pub(super) fn forget_connections(&mut self) {
        for unit in std::mem::take(&mut self.connections.over) {
            self.finish_job(&unit, JobResult::Canceled, "its connection is over");
            self.forget(&unit);
            self.out.act(Action::Release { unit });
        }
    }
}
