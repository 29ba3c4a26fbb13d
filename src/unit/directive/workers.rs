//! The rows of `[Service]` about several processes behind one socket: which sockets it gets,
//! how many of it there are, how they are replaced, which signals reach them.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::Section::Service;
use super::{Context, Directive, Draft, Kind, row};
use crate::unit::instances::INSTANCES_MAX;
use crate::unit::process::Signal;
use crate::unit::raw::{Item, Value, locate};
use crate::unit::rolling::{Instances, RollingFailure, RollingOrder, RollingUpdate};
use crate::unit::value::{self, ValueError};
use crate::unit::{Dependency, UnitKind};

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Service, "Instances", Kind::Instances, "", "How many of it run, with %i and $RINIT_INSTANCE; rinit's own, for workers on one port",
        instances),
    row(Service, "RollingUpdate", Kind::Rolling, "", "How instances are replaced: Parallelism, Order, MonitorSec, FailureAction; rinit's own, in Swarm's words",
        rolling_update),
    row(Service, "Sockets", Kind::Units, "", "Socket units whose sockets it gets as well",
        sockets),
    row(Service, "NonBlocking", Kind::Boolean, "no", "Sets O_NONBLOCK on the sockets that it gets",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.service.non_blocking = yes;
        }),
    row(Service, "ForwardSignals", Kind::Signals, "those that it catches", "Which signals to rinit it gets as well; rinit's own",
        forward_signals),
];

fn instances(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Value::Float(_) = item.value {
        cx.mismatch(item);
        return;
    }
    let Some(text) = cx.scalar(item) else {
        return;
    };
    if text == "auto" {
        draft.unit.service.instances = Some(Instances::Auto);
        return;
    }
    match value::parse_unsigned(text, 1..=u64::from(INSTANCES_MAX)) {
        Ok(count) => {
            let count = u32::try_from(count).unwrap_or(INSTANCES_MAX);
            draft.unit.service.instances = Some(Instances::Count(count));
        }
        Err(error) if text == "0" => {
            let hint = "[Install] Enabled = false keeps it from being started; rinitctl scale may \
                        go down to 0";
            cx.refuse(item, error.hint(hint));
        }
        Err(error) => cx.refuse(item, error),
    }
}

fn sockets(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let mut named: Vec<Dependency> = Vec::new();
    cx.units(&mut named, item);
    for dependency in named {
        if dependency.name.kind() == UnitKind::Socket {
            draft.unit.sockets.push(dependency);
        } else {
            let name = dependency.name;
            let message = format!("{name} is not a socket");
            let hint = format!("write {}.socket", name.stem());
            cx.refuse(item, ValueError { message, range: None, hint: Some(hint) });
        }
    }
}

/// What can reach nobody (signal(7)), and what is about rinit's own children.
const NEVER: [Signal; 3] = [Signal::KILL, Signal::STOP, Signal::CHLD];

fn forward_signals(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    for part in cx.parts(item) {
        let set = draft.unit.service.forward_signals.get_or_insert_default();
        let Some(part) = part else {
            set.clear();
            continue;
        };
        for word in part.text.split_ascii_whitespace() {
            match value::parse_signal(word) {
                Ok(signal) if NEVER.contains(&signal) => {
                    cx.refuse_text(part.item, format!("{signal} cannot be forwarded"));
                }
                Ok(signal) => {
                    set.insert(signal);
                }
                Err(error) => cx.refuse(part.item, ValueError { range: None, ..error }),
            }
        }
    }
}

const ORDERS: [(&str, RollingOrder); 2] =
    [("start-first", RollingOrder::StartFirst), ("stop-first", RollingOrder::StopFirst)];
const FAILURES: [(&str, RollingFailure); 3] = [
    ("pause", RollingFailure::Pause),
    ("rollback", RollingFailure::Rollback),
    ("continue", RollingFailure::Continue),
];
const KEYS: [&str; 4] = ["Parallelism", "Order", "MonitorSec", "FailureAction"];

fn rolling_update(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let pairs = match &item.value {
        Value::Table(pairs) => pairs.clone(),
        Value::Text(text) => match inline_pairs(text, item, cx) {
            Some(pairs) => pairs,
            None => return,
        },
        Value::Integer { .. }
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime
        | Value::Array(_) => {
            cx.mismatch(item);
            return;
        }
    };
    let before = cx.problems.len();
    let mut update = RollingUpdate::default();
    for (key, item) in &pairs {
        rolling_key(&mut update, key, item, cx);
    }
    if cx.problems.len() == before {
        draft.unit.service.rolling_update = update;
    }
}

/// `Parallelism=1 Order=start-first`, as `-p` and systemd's spelling have it.
fn inline_pairs(text: &str, item: &Item, cx: &mut Context<'_>) -> Option<Vec<(String, Item)>> {
    let mut pairs = Vec::new();
    let mut offset = 0;
    for word in text.split_ascii_whitespace() {
        let start = offset + text.get(offset..).and_then(|rest| rest.find(word)).unwrap_or(0);
        offset = start + word.len();
        let range = start..offset;
        let Some((key, value)) = word.split_once('=') else {
            let message = format!("{word:?} is not KEY=VALUE");
            let hint = Some("as in Parallelism=1 Order=start-first".to_string());
            cx.refuse(item, ValueError { message, range: Some(range), hint });
            return None;
        };
        let range = locate(&cx.file.text, cx.spelling, &item.range, &range);
        pairs.push((key.to_string(), Item { value: Value::Text(value.to_string()), range }));
    }
    Some(pairs)
}

fn rolling_key(update: &mut RollingUpdate, key: &str, item: &Item, cx: &mut Context<'_>) {
    match key {
        "Parallelism" => {
            let most = u64::from(INSTANCES_MAX);
            let count = rolling_value(item, cx, |text| value::parse_unsigned(text, 1..=most));
            if let Some(count) = count {
                update.parallelism = u32::try_from(count).unwrap_or(1);
            }
        }
        "Order" => {
            if let Some(order) = cx.choice(item, &ORDERS) {
                update.order = Some(order);
            }
        }
        "MonitorSec" => {
            if let Some(span) = rolling_value(item, cx, value::parse_timespan) {
                update.monitor = span.unwrap_or(Duration::MAX);
            }
        }
        "FailureAction" => {
            if let Some(action) = cx.choice(item, &FAILURES) {
                update.failure_action = action;
            }
        }
        _ => {
            let error = ValueError::new(format!("there is no {key}"));
            let error = match value::suggest(key, KEYS.into_iter()) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint(format!("its keys are {}", KEYS.join(", "))),
            };
            cx.refuse(item, error);
        }
    }
}

/// The place is all of the value's: it may have been written inside another text.
fn rolling_value<T>(
    item: &Item,
    cx: &mut Context<'_>,
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> Option<T> {
    cx.parsed(item, |text| parse(text).map_err(|error| ValueError { range: None, ..error }))
}
