//! A load client for HTTP/1.1: a fixed rate of requests, every end of a request counted by its kind.
//!
//! Not a benchmark tool for servers at their limit, though it can go without a rate. Shared by the
//! black-box tests and by `benches/workers`, which include it by path. One thread and one epoll do all
//! of it, so that it takes little from the servers beside it on a small machine.
//!
//! **Invariant:** the arrivals do not wait for answers (open loop): a server that hangs cannot slow
//! down the count of what it owes. Each request that arrived is counted exactly once, as an answer
//! or as a failure, before [`Load::stop`] returns.
//!
//! | module | what |
//! |---|---|
//! | `plan` | what to send, how fast, over which connections |
//! | `tally` | what came of it |
//! | `client` | the loop: arrivals, deadlines, events |
//! | `connection` | one connection: connect, pause, send, receive, how it was cut |
//! | `answer` | the bytes of an answer |
//! | `hands` | not of the client: which connections a server's process has accepted |
#![allow(dead_code, reason = "tests and benchmark each use a part of it")]

mod answer;
mod client;
mod connection;
mod hands;
mod plan;
mod tally;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::Waker;

use client::Client;
pub use hands::in_hands;
pub use plan::Plan;
pub use tally::{Kind, Tally};

/// A running load. Dropped, it stops.
pub struct Load {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What the client's thread and its owner share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tally: Tally,
    must_stop: bool,
    has_ended: bool,
}

impl Load {
    /// Begins at once.
    ///
    /// # Errors
    /// The machine has no epoll or thread left.
    pub fn start(plan: Plan) -> io::Result<Load> {
        let shared = Arc::new(Shared::default());
        let (client, waker) = Client::new(plan, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new().name("load".into()).spawn(|| client.run())?;
        Ok(Load { shared, waker, thread: Some(thread) })
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.shared.lock().tally.clone()
    }

    /// The load's own clock, that of a failure and of the workers' first and last answers.
    pub fn now(&self) -> Duration {
        self.shared.lock().tally.begin.elapsed()
    }

    /// Waits until the tally is as wanted; false if it is not by the deadline, or never will be.
    pub fn wait(&self, limit: Duration, is_wanted: impl Fn(&Tally) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        while !is_wanted(&state.tally) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.has_ended {
                return false;
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for so many more answers, of whatever kind.
    pub fn wait_more(&self, limit: Duration, count: u64) -> bool {
        let wanted = self.shared.lock().tally.ended() + count;
        self.wait(limit, |tally| tally.ended() >= wanted)
    }

    /// Lets no more requests arrive, waits for the end of those that are under way (the plan's
    /// timeout at most), and gives the whole count.
    pub fn stop(mut self) -> Tally {
        self.end();
        self.tally()
    }

    /// Waits for the end of a load that has one ([`Plan::requests`]).
    pub fn finish(mut self) -> Tally {
        self.join();
        self.tally()
    }

    fn end(&mut self) {
        self.shared.lock().must_stop = true;
        let _ = self.waker.wake();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn must_stop(&self) -> bool {
        self.lock().must_stop
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.lock().tally);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }
}
