//! What the shell does about sockets for an [`Action`](crate::manager::event::Action) or news.
//!
//! Not how they are held (`sockets`). **Invariant:** whenever an instance has another socket than
//! before, the program that chooses among them is told in the same turn.

use std::io;

use mio::event::Event as Readiness;

use super::super::event_loop::{Shell, now};
use super::super::report::Level;
use super::Newcomer;
use crate::manager::event::Event;
use crate::unit::{Unit, UnitName};

impl Shell {
    pub(in super::super) fn open_sockets(&mut self, unit: &Unit, instances: u32) -> Event {
        let mut warnings = Vec::new();
        let registry = self.poll.registry();
        let outcome = self.sockets.open(unit, instances, registry, &mut warnings);
        for warning in warnings {
            self.report.message(Level::Warn, format!("{}: {warning}", unit.name));
        }
        self.steer_again(&unit.name); // till somebody is ready, to no spare socket
        Event::Listening { unit: unit.name.clone(), outcome }
    }

    pub(in super::super) fn unlisten(&mut self, unit: &UnitName) {
        self.sockets.close(unit, self.poll.registry());
    }

    /// If the poll does not take it, somebody might as well be there.
    pub(in super::super) fn await_connection(&mut self, unit: UnitName) -> Option<Event> {
        match self.sockets.watch(&unit, self.poll.registry()) {
            Ok(()) => None,
            Err(error) if self.sockets.cannot_watch(&unit) => {
                let text =
                    format!("{unit}: epoll: {error}; who connects may wait a tenth of a second");
                self.report.message(Level::Warn, text);
                None
            }
            Err(error) => {
                let text = format!("{unit}: epoll: {error}; starting it at once");
                self.report.message(Level::Warn, text);
                Some(Event::Connection { unit })
            }
        }
    }

    /// Waits for the queues of a unit, or for an instance to have read what it took from a queue
    /// that it shares. If that cannot be seen there is nothing to wait for.
    pub(in super::super) fn quiesce(&mut self, unit: UnitName) -> Option<Event> {
        let ports = self.sockets.shared_ports(&unit);
        if ports.is_empty() {
            self.sockets.quiesce(&unit);
            return None;
        }
        let frozen = self.freezer.freeze(&unit, ports, now());
        (!frozen).then_some(Event::Quiet { unit })
    }

    pub(in super::super) fn steer(&mut self, unit: &UnitName, ready: &[u32]) {
        let steered = self.sockets.steer(unit, ready);
        self.tell_steered(unit, steered);
    }

    fn steer_again(&mut self, unit: &UnitName) {
        let steered = self.sockets.steer_again(unit);
        self.tell_steered(unit, steered);
    }

    fn tell_steered(&mut self, unit: &UnitName, steered: io::Result<()>) {
        if let Err(error) = steered {
            let text = format!(
                "{unit}: SO_ATTACH_REUSEPORT_CBPF: {error}; new connections go to every instance, \
                 ready or not"
            );
            self.report.message(Level::Warn, text);
        }
    }

    /// An instance is about to have a main process: it gets its sockets.
    pub(in super::super) fn take_member(&mut self, unit: &Unit) {
        if let Err(error) = self.sockets.take_member(unit) {
            let text = format!("{}: {error}; it shares the socket of another", unit.name);
            self.report.message(Level::Warn, text);
        }
        if let Some(group) = &unit.instance_of {
            self.steer_again(group);
        }
    }

    /// An instance goes by another name, with its sockets.
    pub(in super::super) fn rename_member(&mut self, from: &UnitName, to: &UnitName) {
        if let Some(service) = self.sockets.rename(from, to) {
            self.steer_again(&service);
        }
    }

    /// The processes of an instance are gone.
    pub(in super::super) fn release_member(&mut self, unit: &UnitName) {
        if let Some(service) = self.sockets.release(unit) {
            self.steer_again(&service);
        }
    }

    /// The next connection that rinit takes itself.
    pub(in super::super) fn next_connection(&mut self) -> Option<Event> {
        match self.sockets.next_accepted(self.poll.registry()) {
            Ok(newcomer) => newcomer.map(|Newcomer { socket, unit, source }| Event::Accepted {
                socket,
                unit,
                source,
            }),
            Err(text) => {
                self.report.message(Level::Warn, text);
                None
            }
        }
    }

    /// Sockets that a parent holds for us, and nobody has claimed by now.
    pub(in super::super) fn drop_unclaimed(&mut self) {
        for warning in self.sockets.close_unclaimed() {
            self.report.message(Level::Warn, warning);
        }
    }

    /// A socket that is waited on has news.
    pub(in super::super) fn socket_ready(&mut self, event: &Readiness) {
        if let Some(unit) = self.sockets.connected(event.token(), self.poll.registry()) {
            self.inbox.push_back(Event::Connection { unit });
        }
    }
}
