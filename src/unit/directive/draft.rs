//! A unit while it is built: what was said, and what was left to a default.
//!
//! Not the finished unit: `build` applies the defaults that depend on other directives.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::Duration;

use crate::unit::health::{Health, HealthCheck};
use crate::unit::process::Signal;
use crate::unit::resources::{Amount, Resources};
use crate::unit::service::{ExitAction, Restart};
use crate::unit::socket::Socket;
use crate::unit::{Span, Unit, UnitName};

/// Defaults that `[Manager]` may change (systemd-system.conf(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitDefaults {
    /// `DefaultRestart=` (ours): for every Type but oneshot.
    pub restart: Restart,
    /// `DefaultRestartSec=`.
    pub restart_sec: Duration,
    /// `DefaultMemoryMax=` (ours).
    pub memory_max: Option<Amount>,
    /// `DefaultTimeoutStartSec=`; `None`: infinity.
    pub timeout_start: Option<Duration>,
    /// `DefaultTimeoutStopSec=`; `None`: infinity.
    pub timeout_stop: Option<Duration>,
    /// `DefaultTimeoutAbortSec=`; `None`: as the stop timeout.
    pub timeout_abort: Option<Duration>,
    /// `DefaultStartLimitIntervalSec=`.
    pub start_limit_interval: Duration,
    /// `DefaultStartLimitBurst=`.
    pub start_limit_burst: u32,
}

impl Default for UnitDefaults {
    fn default() -> UnitDefaults {
        UnitDefaults {
            restart: Restart::No,
            restart_sec: Duration::from_millis(100),
            memory_max: None,
            timeout_start: Some(Duration::from_secs(90)),
            timeout_stop: Some(Duration::from_secs(90)),
            timeout_abort: None,
            start_limit_interval: Duration::from_secs(10),
            start_limit_burst: 5,
        }
    }
}

/// What `rinit.toml` says; the command line and the environment go before it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ManagerSection {
    /// `ShutdownTimeoutSec=`: the budget of a stop.
    pub shutdown_timeout: Option<Duration>,
    /// `DrainSec=`.
    pub drain: Option<Duration>,
    /// `HttpListen=`: an address, or `none`.
    pub http_listen: Option<Option<SocketAddr>>,
    /// `StopSignal=`: one more signal that stops.
    pub stop_signal: Option<Signal>,
    /// `ControlSocket=`: an absolute path, or `none`.
    pub control_socket: Option<String>,
    /// `ControlSocketGroup=`: who may connect beside root and rinit's own user.
    pub control_socket_group: Option<String>,
    /// `DefaultEnvironment=`: under the environment that rinit got.
    pub environment: Vec<(String, String)>,
    /// What units take where they say nothing.
    pub defaults: UnitDefaults,
}

/// One way to ask whether a service is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// The directive.
    pub directive: &'static str,
    /// Where it stands.
    pub span: Span,
    /// What it says; for the first instance if it is another one for each.
    pub check: HealthCheck,
    /// The text, with a mark, if it is another one for each instance.
    pub marked: Option<String>,
}

/// A unit while it is built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// What is known so far.
    pub unit: Unit,
    /// `FailureAction=`, if given: its default depends on who starts the unit.
    pub failure_action: Option<ExitAction>,
    /// `TimeoutStartSec=` or `TimeoutSec=`, if given: its default depends on the Type.
    pub timeout_start: Option<Option<Duration>>,
    /// `Restart=`, if given.
    pub restart: Option<Restart>,
    /// `[Install] Enabled=`.
    pub enabled: bool,
    /// `--unit` names others only.
    pub left_out: bool,
    /// `Http=`, `Tcp=`, `Exec=` of `[Health]`: at most one may be left.
    pub checks: Vec<Check>,
    /// Where each of the socket's `Listen*=` stands, in their order.
    pub listens: Vec<Span>,
    /// The directives that were given, by name, and where their values stand.
    pub seen: Vec<(&'static str, Span)>,
}

impl Draft {
    /// A unit about which nothing is said yet.
    pub fn new(name: UnitName, defaults: &UnitDefaults) -> Draft {
        let mut unit = Unit::new(name);
        unit.start_limit_interval = defaults.start_limit_interval;
        unit.start_limit_burst = defaults.start_limit_burst;
        unit.service.restart_sec = defaults.restart_sec;
        unit.service.timeout_stop = defaults.timeout_stop;
        unit.service.timeout_abort = defaults.timeout_abort;
        Draft {
            unit,
            failure_action: None,
            timeout_start: None,
            restart: None,
            enabled: true,
            left_out: false,
            checks: Vec::new(),
            listens: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Its `[Socket]`, which it has from now on.
    pub fn socket(&mut self) -> &mut Socket {
        self.unit.socket.get_or_insert_default()
    }

    /// Its `[Health]`, which it has from now on.
    pub fn health(&mut self) -> &mut Health {
        self.unit.service.health.get_or_insert_default()
    }

    /// What it may use, once something is said about that.
    pub fn resources(&mut self) -> &mut Resources {
        self.unit.service.resources.get_or_insert_default()
    }

    /// Where the directive was given last.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.seen.iter().rev().find(|(seen, _)| *seen == name).map(|(_, span)| span.clone())
    }
}
