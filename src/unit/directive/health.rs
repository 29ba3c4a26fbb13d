//! The rows of `[Health]`: rinit's own section, in the words of Docker's HEALTHCHECK and of
//! Kubernetes' probes.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Health;
use super::unit::U32;
use super::{Check, Context, Directive, Draft, Kind, row};
use crate::unit::address::{parse_http, parse_tcp};
use crate::unit::health::{HealthCheck, OnUnhealthy};
use crate::unit::instances;
use crate::unit::raw::{Item, Value};
use crate::unit::value::ValueError;

const UNHEALTHY: Kind = Kind::Choice(&["restart", "none"]);
const ON_UNHEALTHY: [(&str, OnUnhealthy); 2] =
    [("restart", OnUnhealthy::Restart), ("none", OnUnhealthy::None)];

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Health, "Http", Kind::Url, "", "A path or URL that answers 200 to 399 when it is well; rinit's own",
        |draft, item, cx| text_check(draft, item, cx, parse_http)),
    row(Health, "Tcp", Kind::HostPort, "", "An address that accepts when it is well; rinit's own",
        |draft, item, cx| text_check(draft, item, cx, parse_tcp)),
    row(Health, "Exec", Kind::Commands, "", "A command that ends with 0 when it is well; rinit's own",
        exec),
    row(Health, "IntervalSec", Kind::TimeSpan, "10s", "How often it is asked; rinit's own",
        |draft, item, cx| if let Some(span) = cx.positive(item) {
            draft.health().interval = span;
        }),
    row(Health, "TimeoutSec", Kind::TimeSpan, "3s", "How long an answer may take; rinit's own",
        |draft, item, cx| if let Some(span) = cx.positive(item) {
            draft.health().timeout = span;
        }),
    row(Health, "StartPeriodSec", Kind::TimeSpan, "0", "How long it is not asked after its start; rinit's own",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.health().start_period = span;
        }),
    row(Health, "StartIntervalSec", Kind::TimeSpan, "500ms", "How often it is asked until it is well for the first time; rinit's own",
        |draft, item, cx| if let Some(span) = cx.positive(item) {
            draft.health().start_interval = span;
        }),
    row(Health, "Retries", Kind::Integer(1, U32), "3", "So many failures in a row are unhealthy; rinit's own",
        |draft, item, cx| if let Some(times) = cx.integer(item) {
            draft.health().retries = times;
        }),
    row(Health, "SuccessThreshold", Kind::Integer(1, U32), "1", "So many successes in a row are healthy; rinit's own",
        |draft, item, cx| if let Some(times) = cx.integer(item) {
            draft.health().success_threshold = times;
        }),
    row(Health, "OnUnhealthy", UNHEALTHY, "restart", "Whether it is stopped, for Restart= to decide, or only counts as not ready; rinit's own",
        |draft, item, cx| if let Some(action) = cx.choice(item, &ON_UNHEALTHY) {
            draft.health().on_unhealthy = action;
        }),
    row(Health, "StallSec", Kind::TimeSpan, "0: off", "How long connections may wait while it does nothing; rinit's own, for what no probe reaches",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.health().stall = span;
        }),
];

/// `Http=` and `Tcp=`. Where the number of an instance stands in it, it is read once for the
/// mistakes, and again for each instance.
fn text_check(
    draft: &mut Draft,
    item: &Item,
    cx: &mut Context<'_>,
    parse: fn(&str) -> Result<HealthCheck, ValueError>,
) {
    let Some(written) = cx.scalar(item) else {
        return;
    };
    forget(draft, cx);
    if written.is_empty() {
        return;
    }
    let Some(text) = cx.expanded(item, written) else {
        return;
    };
    let marked = instances::is_marked(&text);
    let first = if marked { instances::numbered(&text, 1) } else { text.clone() };
    match parse(&first) {
        Ok(check) => remember(draft, item, cx, check, marked.then_some(text)),
        Err(error) => {
            let range = error.range.filter(|_| first == written);
            cx.refuse(item, ValueError { range, ..error });
        }
    }
}

fn forget(draft: &mut Draft, cx: &Context<'_>) {
    draft.checks.retain(|check| check.directive != cx.directive.name);
}

fn remember(
    draft: &mut Draft,
    item: &Item,
    cx: &Context<'_>,
    check: HealthCheck,
    marked: Option<String>,
) {
    let (directive, span) = (cx.directive.name, cx.span(item.range.clone()));
    draft.checks.push(Check { directive, span, check, marked });
}

fn exec(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let before = cx.problems.len();
    let mut commands = Vec::new();
    cx.commands(&mut commands, item);
    if cx.problems.len() > before {
        return;
    }
    forget(draft, cx);
    let mut commands = commands.into_iter();
    if let Some(command) = commands.next() {
        remember(draft, item, cx, HealthCheck::Exec(command), None);
    }
    if commands.next().is_some() {
        let list = matches!(&item.value, Value::Array(_));
        let hint = if list { "an array of strings is one command" } else { "a ; begins another" };
        let message = "a health check is one command".to_string();
        cx.refuse(item, ValueError { message, range: None, hint: Some(hint.into()) });
    }
}
