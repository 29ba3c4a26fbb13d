//! rinit: a small init and service supervisor for containers.
//!
//! This page is the architecture's one text: the map, the boundary, what must always hold. How to
//! use rinit is in README.md; the rules of one module are at its top.
//!
//! # The idea
//!
//! To decide and to do are two things. [`manager`] decides: events in, actions out, no system call
//! and no clock. [`init`] does: it makes events of what the kernel says, hands them over one by one,
//! and performs every action before it looks for the next. That is the whole loop
//! (`init::event_loop`), and the boundary is one list, [`manager::event`]:
//!
//! ```text
//! Manager::handle(now, Event)    Manager::poll_action() → Action    Manager::next_deadline()
//! ```
//!
//! A manager without a world can be given any world: `sim` gives it random ones.
//!
//! # The map
//!
//! From what is read first to what is read last; an arrow is followed down only.
//!
//! ```text
//! bin → cli → init → control → manager → unit
//!                  → journal → sys → unit        sys and manager never see each other
//! ```
//!
//! | layer | what | begin with |
//! |---|---|---|
//! | [`mod@unit`] | what the operator declared, read and checked | the table of directives: [`unit::directive`]; then [`unit::service`] |
//! | [`manager`] | what happens next | [`manager::event`]; `service`, a file for each part of a life; `job`, `settle`, `phases`; `sockets`; for a service of several: `instances`, `rollout`, `steering` |
//! | [`control`] | what clients say and are told (Varlink, and HTTP that only looks) | [`control::interface`]; `server`, `client`; [`control::http`] |
//! | [`sys`] | every system call, all of `unsafe` | [`sys::exec`] and `child`; [`sys::reap`]; [`sys::early`]; [`sys::listen`] and `steer`; [`sys::machine`] where rinit is a kernel's first process |
//! | [`journal`] | the process that relays what services write; it shares nothing with rinit but pipes | `relay`; [`journal::protocol`] |
//! | [`init`] | the shell around the manager, where it meets `sys` | `event_loop`, `perform`, `members`; what comes in besides deaths: `sockets`, `notify`, `probe`; what goes out: `report`; the journal's keeper: `journal` |
//! | [`cli`] | command lines, diagnostics, exit statuses | [`cli::start`] |
//! | `sim` | (tests) the manager in a simulated world | `world`, `rules` |
//! | `tidy` | (tests) the rules of this page that can be read from the text | |
//!
//! `integration/` has the black-box tests: the real binary, real processes.
//!
//! # One life of an event
//!
//! A service's process dies. SIGCHLD is blocked and arrives on the signal descriptor; the loop
//! peeks at the zombie, asks `init::processes` whose it is, drains what it had to say about its
//! exec, and hands `Exited` to the manager. `service::run` enters `stop-post` or what follows,
//! `service::end` asks `backoff` for a delay and sets a deadline, `settle` looks at the jobs of the
//! others. The actions come back: a line to log, nothing to spawn yet. They are performed, then the
//! zombie is reaped and its pid means nothing. The loop waits until the deadline, hands over
//! `Timer`, and gets `Spawn`.
//!
//! # What must always hold
//!
//! - **Invariant:** [`manager`], and [`mod@unit`] but for [`unit::load`], have no I/O, no clock, no
//!   randomness but a seed given, no logging, no failure: the same events give the same actions.
//!   `#![forbid(unsafe_code)]` and clippy's `disallowed_methods` hold it.
//! - **Invariant:** once the loop has begun no error ends it. `Poll::poll` with the manager's next
//!   deadline is the only call that waits, unless epoll itself fails or rinit panics: then the
//!   descriptor of signals is waited on, with a deadline.
//! - **Invariant:** a number is a pid only in [`sys`] and [`init`]; the manager knows `ProcessId`s,
//!   which are never reused. A death is peeked at (`WNOWAIT`), handled, and only then reaped, so a
//!   signal to its group cannot hit a stranger; what is no child of ours is signalled through a pidfd.
//! - **Invariant:** one place assigns a service's state (`Service::enter`), and leaving a state
//!   cancels what the next must not have. A state that waits has a deadline or a live process.
//!   Timers are fields, not callbacks.
//! - **Invariant:** between fork and exec there are async-signal-safe calls only. The child reports
//!   `{stage, errno}` on a close-on-exec pipe that the loop watches; the parent never waits for it.
//! - **Invariant:** parsing returns a value and a list of [`unit::Problem`]s: file, place, message,
//!   hint. Any error in any unit, and nothing is started.
//! - **Invariant:** signals are blocked in `.init_array`, before Rust's runtime, for good. Children
//!   start with default dispositions, an empty mask, no descriptor but their three streams
//!   and what they are given by number, and the
//!   limits, umask and directory that rinit was given, unless their unit says otherwise.
//! - **Invariant:** one turn takes what an action brought, then what services say, exec reports,
//!   deaths, units that became empty, queues that did, looks at memory, answers of probes, signals, requests, the
//!   timer. A budget for each turn keeps a flood from starving deadlines.
//! - **Invariant:** a stop ends: at the end of its budget rinit exits, whatever still lives.
//! - **Invariant:** rinit never reads a byte of what services write: it holds the read ends of their
//!   pipes, and the journal process, which may die at any time, reads.
//! - **Invariant:** no line of rinit's own waits for its reader: what does not fit is dropped and
//!   counted.

pub mod cli;
pub mod control;
pub mod init;
pub mod journal;
pub mod manager;
#[cfg(test)]
mod sim;
pub mod sys;
#[cfg(test)]
mod tidy;
pub mod unit;

/// The whole of `rinit`: its exit status.
pub fn rinit_main() -> u8 {
    cli::start::main()
}

/// The whole of `rinitctl`.
pub fn rinitctl_main() -> std::process::ExitCode {
    cli::ctl::main()
}
