//! What an observer remembers of one unit.
//!
//! Not what follows from it (`invariants`). **Invariant:** plain fields; whoever sees something
//! writes it down here, and nothing is computed.

use crate::manager::event::{InvocationId, JobResult};
use crate::manager::state::SubState;
use crate::unit::process::ExitStatus;

/// What was seen of one unit.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) state: SubState,
    /// States that it was in since the event began, as bits.
    pub(super) visited: u32,
    /// A start, stop or restart job is known to be unfinished.
    pub(super) pending: bool,
    /// How its start job of the boot ended.
    pub(super) boot_result: Option<JobResult>,
    /// A client has asked something of it, or of one that it may follow.
    pub(super) touched: bool,
    pub(super) refused: bool,
    /// Its stop began while it was well: somebody wanted that.
    pub(super) told: bool,
    pub(super) failed_at: Option<u64>,
    pub(super) ever_failed: bool,
    pub(super) main_exit: Option<ExitStatus>,
    pub(super) invocation: Option<InvocationId>,
    pub(super) window: Option<(u64, u32)>,
    pub(super) attempt: u32,
    pub(super) up_since: Option<u64>,
    pub(super) was_up: u64,
    /// It was started by something else than a restart since the last attempt.
    pub(super) fresh: bool,
    pub(super) not_before: u64,
    /// What it waits for is another try of fork.
    pub(super) refork: bool,
    pub(super) timed_out: bool,
    pub(super) forwarded: bool,
    pub(super) signalled: bool,
    /// What its main process said and was asked.
    pub(super) word: super::readiness::Word,
    /// The last process that may live on although the unit has gone on without it.
    pub(super) given_up: u64,
    /// Its sockets are open.
    pub(super) listens: bool,
    /// They could once not be opened: a start that counts, and of which nothing else is seen.
    pub(super) unheard: bool,
    /// Somebody may connect, and that starts it.
    pub(super) awaited: bool,
    /// Since when its queue is to run empty.
    pub(super) quiesced: Option<u64>,
    /// It was sent a signal before that.
    pub(super) hasty: bool,
}

impl Seen {
    pub(super) fn new() -> Seen {
        Seen {
            state: SubState::Dead,
            visited: 0,
            pending: false,
            boot_result: None,
            touched: false,
            refused: false,
            told: false,
            failed_at: None,
            ever_failed: false,
            main_exit: None,
            invocation: None,
            window: None,
            attempt: 0,
            up_since: None,
            was_up: 0,
            fresh: true,
            not_before: 0,
            refork: false,
            timed_out: false,
            forwarded: false,
            signalled: false,
            word: super::readiness::Word::default(),
            given_up: 0,
            listens: false,
            unheard: false,
            awaited: false,
            quiesced: None,
            hasty: false,
        }
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, SubState::Dead | SubState::Failed)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, SubState::Running | SubState::Exited | SubState::Reload)
    }
}
