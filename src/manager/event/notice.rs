//! What a service says of itself, and what it says when it is asked: sd_notify(3) and probes.
//!
//! Not how it is heard (`init::notify`, `init::probe`) and not what follows (`service::notify`,
//! `service::health`). **Invariant:** nothing here is more than a claim: who said it is in the
//! event that carries it, and was found out by the shell.

use std::time::Duration;

use super::ProcessId;
use crate::manager::time::Timestamp;

/// What a process said over `NOTIFY_SOCKET` (sd_notify(3)), as far as it concerns its unit's
/// life; descriptors and barriers are the shell's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notice {
    /// `READY=1`, `RELOADING=1` or `STOPPING=1`: the last of them in the message.
    pub state: Option<NoticeState>,
    /// `STATUS=`.
    pub status: Option<String>,
    /// `ERRNO=`.
    pub errno: Option<i32>,
    /// `MAINPID=`: a living process of the unit, under the name that its end will have.
    pub main: Option<ProcessId>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend_timeout: Option<Duration>,
    /// `WATCHDOG=`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`.
    pub watchdog_period: Option<Duration>,
}

/// The state that a service says it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoticeState {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`, with `MONOTONIC_USEC=` if it came along.
    Reloading(Option<Timestamp>),
    /// `STOPPING=1`.
    Stopping,
}

/// `WATCHDOG=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watchdog {
    /// `WATCHDOG=1`: it lives.
    Ping,
    /// `WATCHDOG=trigger`: as if it had not said so in time.
    Trigger,
}

/// How a process is asked whether its service is well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProbeKind {
    /// `Http=`, `Tcp=` or `Exec=` of `[Health]`.
    Health,
    /// `ReadyOn = "accept"`: whether it waits for connections.
    Accept,
    /// `StallSec=`: whether connections wait and it does nothing.
    Stall,
}

/// What a probe came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeOutcome {
    /// It is well.
    Good,
    /// It is not; why, in words.
    Bad(String),
}
