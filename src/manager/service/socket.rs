//! The life of a `.socket` unit, which has no process: listening, running, down.
//!
//! Not when it changes (`manager::sockets`). The words are systemd's (socket.c). **Invariant:**
//! such a unit never has a process, and waits for nothing but a connection.

use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::Service;
use crate::unit::UnitKind;

impl Service {
    /// It is a `.socket` unit.
    pub fn is_socket(&self) -> bool {
        self.unit.name.kind() == UnitKind::Socket
    }

    /// Its conditions hold, and it is open.
    pub(super) fn listens(&mut self, out: &mut Out) {
        self.ready_at = Some(out.now);
        self.enter(out, SubState::Listening, None);
    }

    /// Its service runs, or does not.
    pub fn follow(&mut self, out: &mut Out, runs: bool) {
        match (self.state, runs) {
            (SubState::Listening, true) => self.enter(out, SubState::Running, None),
            (SubState::Running, false) => self.enter(out, SubState::Listening, None),
            (_, _) => (),
        }
    }

    /// It is closed, and that is a failure.
    pub fn socket_failed(&mut self, out: &mut Out, result: ServiceResult) {
        if matches!(self.state, SubState::Listening | SubState::Running) {
            self.may_restart = false;
            self.result = result;
            self.enter(out, SubState::Failed, None);
        }
    }
}
