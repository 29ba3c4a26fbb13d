//! rinit itself broke: stop what runs, say why, leave.
//!
//! Not an orderly stop: nothing of the manager can be trusted any more. **Invariant:** it ends
//! within [`TERM_TIME`] and [`KILL_TIME`], and never turns in circles meanwhile.

use std::time::Duration;

use super::event_loop::Shell;
use crate::sys::reap::{self, Peeked};
use crate::sys::signals::SignalFd;
use crate::sys::{clock, stderr};
use crate::unit::process::Signal;

/// The exit status for "rinit is broken" (sysexits(3), EX_SOFTWARE).
pub const INTERNAL: u8 = 70;

const TERM_TIME: Duration = Duration::from_secs(5);
const KILL_TIME: Duration = Duration::from_secs(1);

/// One line for a panic, in place of Rust's three. Not before the children have had their time:
/// a panic in PID 1 would take them all along.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        let message = info.payload();
        let why = message
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| message.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        stderr::write_line(&format!(
            "rinit: internal error{place}: {why}; stopping everything, exit status {INTERNAL}"
        ));
    }));
}

/// SIGTERM to everybody, a while to end, SIGKILL to who is left.
pub fn run(shell: &mut Shell) -> u8 {
    let signals = SignalFd::open().ok();
    shell.journal.dismiss(); // it relays the last words, and is not waited for longer than others
    for (send, time) in
        [(&[Signal::TERM, Signal::CONT][..], TERM_TIME), (&[Signal::KILL][..], KILL_TIME)]
    {
        for signal in send {
            shell.members.kill_everything(&shell.table, *signal);
        }
        if wait_for_all(signals.as_ref(), time) {
            break;
        }
    }
    INTERNAL
}

/// Reaps until no child is left or the time is over; whether none is left.
fn wait_for_all(signals: Option<&SignalFd>, time: Duration) -> bool {
    let end = clock::monotonic().saturating_add(time);
    loop {
        match reap::peek() {
            Peeked::NoChildren => return true,
            Peeked::Dead(pid, _) => reap::reap(pid),
            Peeked::AllAlive => {
                let left = end.saturating_sub(clock::monotonic());
                let Some(signals) = signals.filter(|_| !left.is_zero()) else { return false };
                signals.wait(left);
                let mut got = Vec::new();
                while signals.read(&mut got).unwrap_or(false) {}
            }
        }
    }
}
