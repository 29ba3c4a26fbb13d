//! The rows of `[Service]` about what a service says of itself: readiness, its main process,
//! the watchdog, the descriptors that it stores (systemd.service(5), sd_notify(3)).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Service;
use super::service::signal;
use super::unit::U32;
use super::{Context, Directive, Draft, Kind, row};
use crate::unit::raw::{Item, Value};
use crate::unit::service::{NotifyAccess, StorePreserve};

const ACCESS: Kind = Kind::Choice(&["none", "main", "exec", "all"]);
const ACCESSES: [(&str, NotifyAccess); 4] = [
    ("none", NotifyAccess::None),
    ("main", NotifyAccess::Main),
    ("exec", NotifyAccess::Exec),
    ("all", NotifyAccess::All),
];

const PRESERVE: Kind = Kind::Choice(&["no", "restart", "yes"]);
const PRESERVES: [(&str, StorePreserve); 3] =
    [("no", StorePreserve::No), ("restart", StorePreserve::Restart), ("yes", StorePreserve::Yes)];

/// The first descriptor after the standard ones, and more than any soft limit that is usual.
const FIRST_FD: i64 = 3;
const LAST_FD: i64 = 1023;

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Service, "NotifyAccess", ACCESS, "none; main where something needs it", "Whose notifications are taken",
        |draft, item, cx| if let Some(access) = cx.choice(item, &ACCESSES) {
            draft.unit.service.notify_access = access;
        }),
    row(Service, "NotificationFd", Kind::Integer(FIRST_FD, LAST_FD), "", "A newline on it means ready; rinit's own, as s6 and dinit have it",
        |draft, item, cx| if let Some(fd) = cx.integer(item) {
            draft.unit.service.notification_fd = Some(fd);
        }),
    row(Service, "ReadyLogPattern", Kind::Text, "", "A regular expression: a line that has it means ready; rinit's own, for what cannot notify",
        ready_log_pattern),
    row(Service, "ReadyOn", Kind::Choice(&["accept"]), "", "accept: ready once it waits for connections; rinit's own, for workers that say nothing",
        |draft, item, cx| if cx.choice(item, &[("accept", ())]).is_some() {
            draft.unit.service.ready_on_accept = true;
        }),
    row(Service, "ReloadSignal", Kind::Signal, "SIGHUP", "The signal that reloads Type=notify-reload",
        |draft, item, cx| if let Some(signal) = signal(item, cx) {
            draft.unit.service.reload_signal = signal;
        }),
    row(Service, "PIDFile", Kind::Path, "", "Where a forking service writes its main process; without / at its start, below /run",
        pid_file),
    row(Service, "GuessMainPID", Kind::Boolean, "yes", "Whether the main process of a forking service without PIDFile= is guessed",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.service.guess_main_pid = yes;
        }),
    row(Service, "WatchdogSec", Kind::Timeout, "0: off", "How often it must say WATCHDOG=1",
        |draft, item, cx| if let Some(span) = cx.timeout(item) {
            draft.unit.service.watchdog = span;
        }),
    row(Service, "FileDescriptorStoreMax", Kind::Integer(0, U32), "0", "How many descriptors rinit keeps for it",
        |draft, item, cx| if let Some(most) = cx.integer(item) {
            draft.unit.service.descriptor_store_max = most;
        }),
    row(Service, "FileDescriptorStorePreserve", PRESERVE, "restart", "Whether they stay when it ends: until no restart follows, or for good",
        store_preserve),
];

/// Tried here, so that a mistake in it is found before anything starts.
fn ready_log_pattern(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let Some(text) = cx.text(item).and_then(|text| cx.expanded(item, text)) else { return };
    if text.is_empty() {
        draft.unit.service.ready_log_pattern = None;
        return;
    }
    match regex_lite::Regex::new(&text) {
        Ok(_) => draft.unit.service.ready_log_pattern = Some(text),
        Err(error) => cx.refuse_text(item, format!("{text:?} is no regular expression: {error}")),
    }
}

fn pid_file(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let Some(text) = cx.text(item).and_then(|text| cx.expanded(item, text)) else {
        return;
    };
    if text.is_empty() {
        draft.unit.service.pid_file = None;
    } else if text.contains('\0') || text.ends_with('/') || text.split('/').any(|p| p == "..") {
        cx.refuse_text(item, format!("{text:?} is not the path of a file"));
    } else if text.starts_with('/') {
        draft.unit.service.pid_file = Some(text);
    } else {
        let runtime = &cx.specifiers.host.runtime_dir;
        draft.unit.service.pid_file = Some(format!("{runtime}/{text}"));
    }
}

fn store_preserve(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let word = matches!(&item.value, Value::Text(text) if text == "restart");
    let preserve = if word {
        Some(StorePreserve::Restart)
    } else if let Value::Boolean(yes) = item.value {
        Some(if yes { StorePreserve::Yes } else { StorePreserve::No })
    } else {
        cx.choice(item, &PRESERVES)
    };
    if let Some(preserve) = preserve {
        draft.unit.service.descriptor_store_preserve = preserve;
    }
}
