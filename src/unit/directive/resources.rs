//! The rows of `[Service]` about what it may use: memory, processes, processor time
//! (systemd.resource-control(5)), and by what that holds.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Service;
use super::{Context, Directive, Draft, Kind, Section, row};
use crate::unit::raw::Item;
use crate::unit::resources::{
    Amount, MemoryEnforce, MemoryHighAction, OomPolicy, parse_amount, parse_cpu_quota, parse_tasks,
};
use crate::unit::value::ValueError;
use crate::unit::{Dependency, UnitKind};

const ENFORCE: Kind = Kind::Choice(&["auto", "cgroup", "watchdog", "rlimit", "none"]);
const ENFORCES: [(&str, MemoryEnforce); 5] = [
    ("auto", MemoryEnforce::Auto),
    ("cgroup", MemoryEnforce::Cgroup),
    ("watchdog", MemoryEnforce::Watchdog),
    ("rlimit", MemoryEnforce::Rlimit),
    ("none", MemoryEnforce::None),
];
const HIGH_ACTIONS: [(&str, MemoryHighAction); 2] =
    [("none", MemoryHighAction::None), ("recycle", MemoryHighAction::Recycle)];
const OOM_POLICIES: [(&str, OomPolicy); 3] =
    [("continue", OomPolicy::Continue), ("stop", OomPolicy::Stop), ("kill", OomPolicy::Kill)];

/// What holds for one service and for a group of them.
#[rustfmt::skip]
const fn shared(section: Section) -> [Directive; 9] {
    [
        row(section, "MemoryMax", Kind::Size, "infinity", "Over it the service is killed, as one",
            |draft, item, cx| if let Some(amount) = positive(item, cx) {
                draft.resources().memory_max = amount;
            }),
        row(section, "MemoryHigh", Kind::Size, "infinity", "Over it the service is slowed, in a cgroup",
            |draft, item, cx| if let Some(amount) = positive(item, cx) {
                draft.resources().memory_high = amount;
            }),
        row(section, "MemorySwapMax", Kind::Size, "0 with MemoryMax=", "Swap it may use, in a cgroup",
            |draft, item, cx| if let Some(amount) = cx.parsed(item, parse_amount) {
                draft.resources().memory_swap_max = amount;
                draft.resources().swaps = amount.is_none();
            }),
        row(section, "MemoryMin", Kind::Size, "0", "Memory that is not reclaimed, in a cgroup",
            |draft, item, cx| if let Some(amount) = cx.parsed(item, parse_amount) {
                draft.resources().memory_min = amount;
            }),
        row(section, "MemoryLow", Kind::Size, "0", "Memory that is reclaimed last, in a cgroup",
            |draft, item, cx| if let Some(amount) = cx.parsed(item, parse_amount) {
                draft.resources().memory_low = amount;
            }),
        row(section, "TasksMax", Kind::Text, "infinity", "How many processes and threads it may have, in a cgroup",
            |draft, item, cx| if let Some(tasks) = cx.parsed(item, parse_tasks) {
                draft.resources().tasks_max = tasks;
            }),
        row(section, "CPUQuota", Kind::Text, "", "Processor time, in percent of one, in a cgroup",
            |draft, item, cx| if let Some(quota) = cx.parsed(item, parse_cpu_quota) {
                draft.resources().cpu_quota = quota;
            }),
        row(section, "CPUWeight", Kind::Integer(1, 10_000), "100", "Its share of the processors, in a cgroup",
            |draft, item, cx| if let Some(weight) = cx.integer(item) {
                draft.resources().cpu_weight = Some(weight);
            }),
        row(section, "IOWeight", Kind::Integer(1, 10_000), "100", "Its share of the disks, in a cgroup",
            |draft, item, cx| if let Some(weight) = cx.integer(item) {
                draft.resources().io_weight = Some(weight);
            }),
    ]
}

/// For a service.
pub(super) const SHARED: &[Directive] = &shared(Section::Service);

/// For a slice.
pub(super) const SLICE: &[Directive] = &shared(Section::Slice);

/// Only for a service.
#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Service, "MemoryLimit", Kind::Size, "infinity", "The old name of MemoryMax=",
        |draft, item, cx| if let Some(amount) = positive(item, cx) {
            draft.resources().memory_max = amount;
        }),
    row(Service, "MemoryEnforce", ENFORCE, "auto", "By what MemoryMax= holds; rinit's own, for containers differ",
        |draft, item, cx| if let Some(enforce) = cx.choice(item, &ENFORCES) {
            draft.resources().enforce = enforce;
        }),
    row(Service, "MemoryHighAction", Kind::Choice(&["none", "recycle"]), "none", "What long over MemoryHigh= does; rinit's own, for leaking workers",
        |draft, item, cx| if let Some(action) = cx.choice(item, &HIGH_ACTIONS) {
            draft.resources().high_action = action;
        }),
    row(Service, "MemoryKSM", Kind::Boolean, "no", "The kernel may merge equal pages of its processes, where it merges any",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.resources().memory_ksm = yes;
        }),
    row(Service, "OOMPolicy", Kind::Choice(&["continue", "stop", "kill"]), "kill", "What a kill for memory does to the rest",
        |draft, item, cx| if let Some(policy) = cx.choice(item, &OOM_POLICIES) {
            draft.resources().oom_policy = policy;
        }),
    row(Service, "Slice", Kind::Units, "", "The group whose limits hold for it too: NAME.slice, which a file with [Slice] defines",
        slice),
];

fn slice(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let mut named: Vec<Dependency> = Vec::new();
    cx.units(&mut named, item);
    for dependency in named {
        if dependency.name.kind() == UnitKind::Slice {
            draft.resources().slice = Some(dependency);
        } else {
            let name = dependency.name;
            let hint = format!("write {}.slice", name.stem());
            cx.refuse(item, ValueError::new(format!("{name} is not a slice")).hint(hint));
        }
    }
}

/// A limit of 0 lets nothing run; systemd refuses it as well.
pub(super) fn positive(item: &Item, cx: &mut Context<'_>) -> Option<Option<Amount>> {
    let amount = cx.parsed(item, parse_amount)?;
    if matches!(amount, Some(Amount::Bytes(0) | Amount::Share(0))) {
        cx.refuse_text(item, "with a limit of 0 nothing can run");
        return None;
    }
    Some(amount)
}
