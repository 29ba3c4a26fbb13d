//! What a `[Health]` section says, in types: plain public fields, no behaviour.
//!
//! Not the probing (`init::probe`) and not the counting (`manager::service::health`). The section
//! is rinit's own; its words are those of Docker's HEALTHCHECK and of Kubernetes' probes.
//! **Invariant:** it is complete: what was not written has its default.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::command::ExecCommand;

/// How a service is asked whether it is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HealthCheck {
    /// `Http = "/path"`: of the unit's first TCP `ListenStream=`, with `Host: localhost`.
    HttpPath(String),
    /// `Http = "http://host:port/path"`: `host` is an address or `localhost`.
    HttpUrl {
        /// Address, IPv6 without brackets, or `localhost`.
        host: String,
        /// Port.
        port: u16,
        /// From the first `/` on.
        path: String,
    },
    /// `Tcp = "host:port"`: a connection is made and closed.
    Tcp {
        /// Address, IPv6 without brackets, or `localhost`.
        host: String,
        /// Port.
        port: u16,
    },
    /// `Exec = "command"`: exit status 0 is good.
    Exec(ExecCommand),
}

/// `OnUnhealthy=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnUnhealthy {
    /// It is stopped with result `health`, and `Restart=` decides (the default).
    #[default]
    Restart,
    /// It only counts as not ready.
    None,
}

/// Everything a `[Health]` section says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// `Http=`, `Tcp=` or `Exec=`; `None` if only `StallSec=` is given.
    pub check: Option<HealthCheck>,
    /// The text of `Http=` or `Tcp=` if the number of an instance stands in it, as a mark: what
    /// `check` holds is the first instance's then. Only `unit::instances` reads it.
    pub instance_check: Option<String>,
    /// The service has instances, and `check` reaches any of them: it speaks for the service, no
    /// instance is judged by it. Set by `verify`.
    pub shared: bool,
    /// `IntervalSec=` (10 s) between the start of one probe and the next, once it is ready.
    pub interval: Duration,
    /// `TimeoutSec=` (3 s) of one probe.
    pub timeout: Duration,
    /// `StartPeriodSec=` (0): no probe before.
    pub start_period: Duration,
    /// `StartIntervalSec=` (500 ms): between probes until the first success.
    pub start_interval: Duration,
    /// `Retries=` (3): so many failures in a row are unhealthy.
    pub retries: u32,
    /// `SuccessThreshold=` (1): so many successes in a row are healthy.
    pub success_threshold: u32,
    /// `OnUnhealthy=`.
    pub on_unhealthy: OnUnhealthy,
    /// `StallSec=` (0, off): connections wait and nobody accepts for so long, or its main thread
    /// neither runs nor waits anew.
    pub stall: Duration,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            check: None,
            instance_check: None,
            shared: false,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            start_period: Duration::ZERO,
            start_interval: Duration::from_millis(500),
            retries: 3,
            success_threshold: 1,
            on_unhealthy: OnUnhealthy::Restart,
            stall: Duration::ZERO,
        }
    }
}
