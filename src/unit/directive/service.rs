//! The rows of `[Service]` about its life: starting, ending, restarting, stopping
//! (systemd.service(5), systemd.kill(5)).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Service;
use super::unit::{
    ACTION, U32, failure_action, start_limit_action, start_limit_burst, start_limit_interval,
    success_action,
};
use super::{Context, Directive, Draft, Kind, accepted, row};
use crate::unit::process::Signal;
use crate::unit::raw::{Item, Value};
use crate::unit::service::{ExitStatusSet, KillMode, Restart, ServiceType, TimeoutFailureMode};
use crate::unit::value::{self, ValueError};

pub(super) const RESTARTS: [(&str, Restart); 7] = [
    ("no", Restart::No),
    ("always", Restart::Always),
    ("on-success", Restart::OnSuccess),
    ("on-failure", Restart::OnFailure),
    ("on-abnormal", Restart::OnAbnormal),
    ("on-abort", Restart::OnAbort),
    ("on-watchdog", Restart::OnWatchdog),
];

pub(super) const RESTART: Kind = Kind::Choice(&[
    "no",
    "always",
    "on-success",
    "on-failure",
    "on-abnormal",
    "on-abort",
    "on-watchdog",
]);

const MODE: Kind = Kind::Choice(&["terminate", "abort", "kill"]);
const MODES: [(&str, TimeoutFailureMode); 3] = [
    ("terminate", TimeoutFailureMode::Terminate),
    ("abort", TimeoutFailureMode::Abort),
    ("kill", TimeoutFailureMode::Kill),
];

const KILL_MODES: [(&str, KillMode); 4] = [
    ("control-group", KillMode::ControlGroup),
    ("mixed", KillMode::Mixed),
    ("process", KillMode::Process),
    ("none", KillMode::None),
];

const TYPES: [(&str, ServiceType); 7] = [
    ("simple", ServiceType::Simple),
    ("exec", ServiceType::Exec),
    ("oneshot", ServiceType::Oneshot),
    ("notify", ServiceType::Notify),
    ("notify-reload", ServiceType::NotifyReload),
    ("forking", ServiceType::Forking),
    ("idle", ServiceType::Idle),
];
const TYPE: Kind =
    Kind::Choice(&["simple", "exec", "oneshot", "notify", "notify-reload", "forking", "idle"]);

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Service, "Type", TYPE, "simple", "When it counts as started: forked, exec'ed, finished, READY=1, gone to the background, or when the boot is quiet",
        service_type),
    row(Service, "RemainAfterExit", Kind::Boolean, "no", "It stays active after its process ended well",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.service.remain_after_exit = yes;
        }),
    row(Service, "ExecCondition", Kind::Commands, "", "Runs first; a status of 1 to 254 skips the unit",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_condition, item)),
    row(Service, "ExecStartPre", Kind::Commands, "", "Runs before ExecStart=, one by one",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_start_pre, item)),
    row(Service, "ExecStart", Kind::Commands, "", "The service itself: one command, for a oneshot any number",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_start, item)),
    row(Service, "ExecStartPost", Kind::Commands, "", "Runs when the service has started",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_start_post, item)),
    row(Service, "ExecReload", Kind::Commands, "", "Makes the running service read its configuration again",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_reload, item)),
    row(Service, "ExecStop", Kind::Commands, "", "Runs to stop it, before the signals",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_stop, item)),
    row(Service, "ExecStopPost", Kind::Commands, "", "Runs after it has ended, however it ended",
        |draft, item, cx| cx.commands(&mut draft.unit.service.exec_stop_post, item)),

    row(Service, "Restart", RESTART, "no", "Which ends start it again",
        |draft, item, cx| if let Some(restart) = cx.choice(item, &RESTARTS) {
            draft.restart = Some(restart);
        }),
    row(Service, "RestartSec", Kind::TimeSpan, "100ms", "The first delay before a restart; 0 is none",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.unit.service.restart_sec = span;
        }),
    row(Service, "RestartSteps", Kind::Integer(0, U32), "0: the delay doubles", "In how many restarts the delay grows to RestartMaxDelaySec=",
        |draft, item, cx| if let Some(steps) = cx.integer::<u32>(item) {
            draft.unit.service.restart_steps = (steps > 0).then_some(steps);
        }),
    row(Service, "RestartMaxDelaySec", Kind::TimeSpan, "30s", "Where the growing delay ends; infinity: it does not grow",
        |draft, item, cx| if let Some(span) = cx.timespan(item) {
            draft.unit.service.restart_max_delay = span;
        }),
    row(Service, "RestartResetSec", Kind::TimeSpan, "10s", "Up for so long, the delay starts anew; rinit's own, as Docker has it",
        |draft, item, cx| if let Some(span) = cx.timespan(item) {
            draft.unit.service.restart_reset = span.unwrap_or(std::time::Duration::MAX);
        }),
    row(Service, "SuccessExitStatus", Kind::ExitStatuses, "", "More ends that count as clean",
        |draft, item, cx| exit_statuses(&mut draft.unit.service.success_exit_status, item, cx)),
    row(Service, "RestartPreventExitStatus", Kind::ExitStatuses, "", "Ends that never restart it",
        |draft, item, cx| exit_statuses(&mut draft.unit.service.restart_prevent_exit_status, item, cx)),
    row(Service, "RestartForceExitStatus", Kind::ExitStatuses, "", "Ends that always restart it",
        |draft, item, cx| exit_statuses(&mut draft.unit.service.restart_force_exit_status, item, cx)),

    row(Service, "TimeoutStartSec", Kind::Timeout, "90s, infinity for a oneshot", "How long each command of a start or reload may take",
        |draft, item, cx| if let Some(span) = cx.timeout(item) {
            draft.timeout_start = Some(span);
        }),
    row(Service, "TimeoutStopSec", Kind::Timeout, "90s", "How long it may take to end before SIGKILL",
        |draft, item, cx| if let Some(span) = cx.timeout(item) {
            draft.unit.service.timeout_stop = span;
        }),
    row(Service, "TimeoutSec", Kind::Timeout, "", "Sets TimeoutStartSec= and TimeoutStopSec=",
        |draft, item, cx| if let Some(span) = cx.timeout(item) {
            draft.timeout_start = Some(span);
            draft.unit.service.timeout_stop = span;
        }),
    row(Service, "TimeoutAbortSec", Kind::Timeout, "TimeoutStopSec=", "How long it may take to end after WatchdogSignal=",
        timeout_abort),
    row(Service, "TimeoutStartFailureMode", MODE, "terminate", "What a start that takes too long gets first",
        |draft, item, cx| if let Some(mode) = cx.choice(item, &MODES) {
            draft.unit.service.timeout_start_failure_mode = mode;
        }),
    row(Service, "TimeoutStopFailureMode", MODE, "terminate", "What a stop that takes too long gets first",
        |draft, item, cx| if let Some(mode) = cx.choice(item, &MODES) {
            draft.unit.service.timeout_stop_failure_mode = mode;
        }),
    row(Service, "RuntimeMaxSec", Kind::TimeSpan, "infinity", "How long it may be up",
        |draft, item, cx| if let Some(span) = cx.timespan(item) {
            draft.unit.service.runtime_max = span;
        }),
    row(Service, "RuntimeRandomizedExtraSec", Kind::TimeSpan, "0", "0 to this is added to RuntimeMaxSec=",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.unit.service.runtime_randomized_extra = span;
        }),

    row(Service, "KillMode", Kind::Choice(&["control-group", "mixed", "process", "none"]), "control-group", "Who gets the signals of a stop",
        |draft, item, cx| if let Some(mode) = cx.choice(item, &KILL_MODES) {
            draft.unit.service.kill_mode = mode;
        }),
    row(Service, "KillSignal", Kind::Signal, "SIGTERM", "The first signal of a stop",
        |draft, item, cx| if let Some(signal) = signal(item, cx) {
            draft.unit.service.kill_signal = signal;
        }),
    row(Service, "RestartKillSignal", Kind::Signal, "KillSignal=", "The first signal of a restart",
        |draft, item, cx| if let Some(signal) = signal(item, cx) {
            draft.unit.service.restart_kill_signal = Some(signal);
        }),
    row(Service, "FinalKillSignal", Kind::Signal, "SIGKILL", "The signal after TimeoutStopSec=",
        |draft, item, cx| if let Some(signal) = signal(item, cx) {
            draft.unit.service.final_kill_signal = signal;
        }),
    row(Service, "WatchdogSignal", Kind::Signal, "SIGABRT", "The signal of the failure mode abort",
        |draft, item, cx| if let Some(signal) = signal(item, cx) {
            draft.unit.service.watchdog_signal = signal;
        }),
    row(Service, "SendSIGHUP", Kind::Boolean, "no", "SIGHUP right after the first signal of a stop",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.service.send_sighup = yes;
        }),
    row(Service, "SendSIGKILL", Kind::Boolean, "yes", "Whether FinalKillSignal= is sent at all",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.service.send_sigkill = yes;
        }),

    row(Service, "StartLimitInterval", Kind::TimeSpan, "", "The old place and name of StartLimitIntervalSec=",
        start_limit_interval),
    row(Service, "StartLimitIntervalSec", Kind::TimeSpan, "", "Belongs to [Unit], taken here too",
        start_limit_interval),
    row(Service, "StartLimitBurst", Kind::Integer(0, U32), "", "Belongs to [Unit], taken here too",
        start_limit_burst),
    row(Service, "StartLimitAction", ACTION, "", "Belongs to [Unit], taken here too",
        start_limit_action),
    row(Service, "FailureAction", ACTION, "", "Belongs to [Unit], taken here too",
        failure_action),
    row(Service, "SuccessAction", ACTION, "", "Belongs to [Unit], taken here too",
        success_action),
    accepted(Service, "RebootArgument", Kind::Text, "What reboot(2) is given", "in a container a reboot is an exit"),
];

fn service_type(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Value::Text(text) = &item.value
        && text == "dbus"
    {
        let message = format!("{text:?} is not supported by rinit: there is no bus");
        let hint = "with Type=exec it counts as started once its program runs".to_string();
        cx.refuse(item, ValueError { message, range: None, hint: Some(hint) });
        return;
    }
    if let Some(kind) = cx.choice(item, &TYPES) {
        draft.unit.service.kind = kind;
    }
}

fn timeout_abort(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Value::Text(text) = &item.value
        && text.is_empty()
    {
        draft.unit.service.timeout_abort = None;
    } else if let Some(span) = cx.timeout(item) {
        // Infinity cannot be told from "as TimeoutStopSec=" in the type; a century can.
        draft.unit.service.timeout_abort =
            Some(span.unwrap_or(std::time::Duration::from_secs(100 * 365 * 86_400)));
    }
}

pub(super) fn signal(item: &Item, cx: &mut Context<'_>) -> Option<Signal> {
    cx.parsed(item, value::parse_signal)
}

fn exit_statuses(set: &mut ExitStatusSet, item: &Item, cx: &mut Context<'_>) {
    for part in cx.parts(item) {
        match part {
            None => *set = ExitStatusSet::default(),
            Some(part) => {
                if let Err(error) = value::parse_exit_statuses(part.text, set) {
                    cx.refuse(part.item, error);
                }
            }
        }
    }
}
