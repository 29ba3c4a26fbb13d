//! Passive detection of a service that is stuck: `StallSec=`.
//!
//! Not how it is seen (`sys::activity`, `sys::listener`). Two signs, each for `StallSec=` without
//! a break: connections wait and nobody takes them; the main thread has neither run nor begun to
//! wait anew, and it does not wait for events. **Invariant:** what is not known is no sign.

use std::time::Duration;

use crate::manager::event::ProbeOutcome;
use crate::manager::time::Timestamp;
use crate::sys::activity::MainThread;
use crate::unit::timespan::format_timespan;

/// What was seen of one process so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stall {
    /// Since when connections wait.
    queued_since: Option<Timestamp>,
    /// The main thread as it was, and since when.
    thread: Option<(MainThread, Timestamp)>,
}

impl Stall {
    /// Takes in one more look. `queued`: how many connections wait, if that is known.
    pub fn look(
        &mut self,
        now: Timestamp,
        queued: Option<u32>,
        thread: Option<MainThread>,
        limit: Duration,
    ) -> ProbeOutcome {
        self.queued_since = match queued {
            Some(1..) => self.queued_since.or(Some(now)),
            Some(0) | None => None,
        };
        self.thread = match (thread, self.thread.take()) {
            (Some(thread), Some((before, since))) if has_not_moved(&before, &thread) => {
                Some((before, since))
            }
            (Some(thread), _) => Some((thread, now)),
            (None, _) => None,
        };
        let is_over = |since: Timestamp| now.since(since) >= limit;
        if let (Some(since), Some(count)) = (self.queued_since, queued)
            && is_over(since)
        {
            let waited = format_timespan(now.since(since));
            return ProbeOutcome::Bad(format!("{count} connections wait, for {waited} by now"));
        }
        match &self.thread {
            Some((thread, since)) if is_over(*since) && !thread.waits_for_events() => {
                let place = match &thread.sleeps_in {
                    Some(place) => format!(", in {place}"),
                    None => String::new(),
                };
                let still = format_timespan(now.since(*since));
                ProbeOutcome::Bad(format!("its main thread has not moved for {still}{place}"))
            }
            Some(_) | None => ProbeOutcome::Good,
        }
    }
}

/// One that sleeps nobody knows where may be idle: no sign. One that is stopped, waits for a disk
/// or for a lock is not.
fn has_not_moved(before: &MainThread, now: &MainThread) -> bool {
    let known = now.sleeps_in.is_some() || !matches!(now.state, b'S');
    known && (before.waits, before.ticks) == (now.waits, now.ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(seconds))
    }

    fn thread(waits: u64, place: Option<&str>) -> Option<MainThread> {
        let sleeps_in = place.map(str::to_owned);
        Some(MainThread { waits, ticks: 5, state: b'S', sleeps_in })
    }

    const LIMIT: Duration = Duration::from_secs(10);

    fn bad(text: &str) -> ProbeOutcome {
        ProbeOutcome::Bad(text.to_owned())
    }

    #[test]
    fn connections_that_wait_without_a_break() {
        let mut stall = Stall::default();
        for (second, queued) in [(0, 1), (9, 3), (10, 0), (11, 2), (20, 2)] {
            assert_eq!(stall.look(at(second), Some(queued), None, LIMIT), ProbeOutcome::Good);
        }
        let expected = bad("2 connections wait, for 10s by now");
        assert_eq!(stall.look(at(21), Some(2), None, LIMIT), expected);
        assert_eq!(stall.look(at(22), None, None, LIMIT), ProbeOutcome::Good);
    }

    #[test]
    fn a_thread_that_does_not_move() {
        let mut stall = Stall::default();
        let lock = Some("futex_wait_queue");
        for (second, waits) in [(0, 7), (9, 7), (9, 8), (18, 8)] {
            assert_eq!(
                stall.look(at(second), None, thread(waits, lock), LIMIT),
                ProbeOutcome::Good
            );
        }
        let expected = bad("its main thread has not moved for 10s, in futex_wait_queue");
        assert_eq!(stall.look(at(19), None, thread(8, lock), LIMIT), expected);
    }

    #[test]
    fn an_idle_server_is_not_stuck() {
        for place in [Some("ep_poll"), Some("do_select"), Some("inet_csk_accept"), None] {
            let mut stall = Stall::default();
            for second in [0, 10, 20] {
                let seen = thread(7, place);
                assert_eq!(stall.look(at(second), Some(0), seen, LIMIT), ProbeOutcome::Good);
            }
        }
    }
}
