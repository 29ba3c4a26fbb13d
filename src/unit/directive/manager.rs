//! The rows of `[Manager]`, which stands in `rinit.toml` only (systemd-system.conf(5)).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Manager;
use super::exec::identity;
use super::service::{RESTART, RESTARTS};
use super::unit::U32;
use super::{Context, Directive, Kind, ManagerSection, Setter, Support, resources};
use crate::unit::raw::Item;
use crate::unit::{address, value};

type Set = fn(&mut ManagerSection, &Item, &mut Context<'_>);

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    manager("ShutdownTimeoutSec", Kind::TimeSpan, "9s", "How long a whole stop may take; rinit's own, for a runtime kills after 10 s",
        |section, item, cx| if let Some(span) = cx.duration(item) {
            section.shutdown_timeout = Some(span);
        }),
    manager("DrainSec", Kind::TimeSpan, "0", "How long traffic is still served before a stop; rinit's own, for load balancers are slow",
        |section, item, cx| if let Some(span) = cx.duration(item) {
            section.drain = Some(span);
        }),
    manager("StopSignal", Kind::Signal, "", "One more signal that stops; rinit's own, for the image's STOPSIGNAL",
        |section, item, cx| if let Some(signal) = cx.parsed(item, value::parse_stop_signal) {
            section.stop_signal = Some(signal);
        }),
    manager("DefaultRestart", RESTART, "no", "Restart= where a unit says nothing, but for a oneshot; rinit's own",
        |section, item, cx| if let Some(restart) = cx.choice(item, &RESTARTS) {
            section.defaults.restart = restart;
        }),
    manager("DefaultRestartSec", Kind::TimeSpan, "100ms", "RestartSec= where a unit says nothing",
        |section, item, cx| if let Some(span) = cx.duration(item) {
            section.defaults.restart_sec = span;
        }),
    manager("DefaultTimeoutStartSec", Kind::Timeout, "90s", "TimeoutStartSec= where a unit says nothing",
        |section, item, cx| if let Some(span) = cx.timeout(item) {
            section.defaults.timeout_start = span;
        }),
    manager("DefaultTimeoutStopSec", Kind::Timeout, "90s", "TimeoutStopSec= where a unit says nothing",
        |section, item, cx| if let Some(span) = cx.timeout(item) {
            section.defaults.timeout_stop = span;
        }),
    manager("DefaultTimeoutAbortSec", Kind::TimeSpan, "", "TimeoutAbortSec= where a unit says nothing",
        |section, item, cx| if let Some(span) = cx.duration(item) {
            section.defaults.timeout_abort = Some(span);
        }),
    manager("DefaultStartLimitIntervalSec", Kind::TimeSpan, "10s", "StartLimitIntervalSec= where a unit says nothing",
        |section, item, cx| if let Some(span) = cx.timespan(item) {
            section.defaults.start_limit_interval = span.unwrap_or(std::time::Duration::MAX);
        }),
    manager("DefaultStartLimitBurst", Kind::Integer(0, U32), "5", "StartLimitBurst= where a unit says nothing",
        |section, item, cx| if let Some(burst) = cx.integer(item) {
            section.defaults.start_limit_burst = burst;
        }),
    manager("DefaultEnvironment", Kind::Variables, "", "Variables for every unit, under those that rinit got",
        |section, item, cx| cx.variables(&mut section.environment, item)),
    manager("HttpListen", Kind::Text, "none", "Where /livez, /readyz, /metrics and a page are served; a bare port is loopback; rinit's own",
        |section, item, cx| if let Some(address) = cx.parsed(item, address::parse_http_listen) {
            section.http_listen = Some(address);
        }),
    manager("ControlSocket", Kind::Path, "/run/rinit/io.rinit.Manager", "Where rinitctl connects, or none; rinit's own",
        |section, item, cx| if let Some(text) = cx.text(item) {
            section.control_socket =
                if text == "none" { Some(text.to_owned()) } else { cx.path(item, text) };
        }),
    manager("ControlSocketGroup", Kind::Identity, "", "Whose members may connect beside root and the owner; rinit's own",
        |section, item, cx| identity(&mut section.control_socket_group, item, cx)),
    manager("DefaultMemoryMax", Kind::Size, "infinity", "MemoryMax= where a unit says nothing; rinit's own, for images with one limit for all",
        |section, item, cx| if let Some(amount) = resources::positive(item, cx) {
            section.defaults.memory_max = amount;
        }),
];

const fn manager(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
    set: Set,
) -> Directive {
    let support = Support::Supported;
    Directive { section: Manager, name, kind, default, doc, support, set: Setter::Manager(set) }
}
