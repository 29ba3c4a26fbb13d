//! What was seen of one record of an instance, and what that makes it.
//!
//! Not what it should be (`checker`). **Invariant:** nothing here is decided by the manager.

use crate::manager::state::{ActiveState, SubState};

/// What was seen of one record.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) state: Option<SubState>,
    pub(super) since: u64,
    /// It has been up in this run.
    pub(super) ran: bool,
    pub(super) up_since: Option<u64>,
    /// It does not serve because of itself, or of a client…
    pub(super) own: bool,
    /// …and by the declaration that is well for good.
    pub(super) done: bool,
    /// It has been up since the service was last started.
    pub(super) served: bool,
    pub(super) not_before: u64,
    /// There were to be fewer while it was down.
    pub(super) extra: bool,
    pub(super) unhealthy: bool,
}

impl Seen {
    pub(super) fn state(&self) -> SubState {
        self.state.unwrap_or(SubState::Dead)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state(), SubState::Running | SubState::Exited | SubState::Reload)
    }

    pub(super) fn serves(&self) -> bool {
        self.is_up() && !self.unhealthy
    }

    pub(super) fn comes(&self) -> bool {
        let state = self.state();
        state.active_state() == ActiveState::Activating && state != SubState::AutoRestart
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state(), SubState::Dead | SubState::Failed)
    }
}
