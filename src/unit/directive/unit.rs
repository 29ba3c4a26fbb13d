//! The rows of `[Unit]` and `[Install]` that act (systemd.unit(5)).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::{Install, Unit};
use super::context::Part;
use super::{Context, Directive, Draft, Kind, accepted, row};
use crate::unit::condition::parse_condition;
use crate::unit::instances;
use crate::unit::raw::Item;
use crate::unit::service::ExitAction;
use crate::unit::value::simplify_path;
use crate::unit::{Condition, ConditionKind};

/// The words of the three actions. In a container reboot and poweroff can only mean an exit.
pub(super) const ACTIONS: [(&str, ExitAction); 11] = [
    ("none", ExitAction::None),
    ("exit", ExitAction::Exit),
    ("exit-force", ExitAction::ExitForce),
    ("reboot", ExitAction::Reboot),
    ("reboot-force", ExitAction::RebootForce),
    ("reboot-immediate", ExitAction::RebootForce),
    ("poweroff", ExitAction::Exit),
    ("poweroff-force", ExitAction::ExitForce),
    ("poweroff-immediate", ExitAction::ExitForce),
    ("halt", ExitAction::Exit),
    ("halt-force", ExitAction::ExitForce),
];

pub(super) const ACTION: Kind = Kind::Choice(&["none", "exit", "exit-force", "reboot", "poweroff"]);

const YES: &str =
    "an enabled unit starts at boot; say [Install] Enabled = false for one that does not";

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Unit, "Description", Kind::Text, "the unit's name", "What it is, for people",
        |draft, item, cx| if let Some(text) = cx.text(item).and_then(|text| cx.expanded(item, text)) {
            let marked = instances::is_marked(&text);
            draft.unit.description = text.replace(instances::MARK, "*");
            draft.unit.instance_description = marked.then_some(text);
        }),
    row(Unit, "Documentation", Kind::Texts, "", "Where to read more: URIs",
        |draft, item, cx| cx.words(&mut draft.unit.documentation, item)),
    row(Unit, "Requires", Kind::Units, "", "Starts these too; with After= their failure fails this; stops when they are stopped",
        |draft, item, cx| cx.units(&mut draft.unit.requires, item)),
    row(Unit, "Wants", Kind::Units, "", "Starts these too; their failure does not matter",
        |draft, item, cx| cx.units(&mut draft.unit.wants, item)),
    row(Unit, "Requisite", Kind::Units, "", "Fails at once unless these are active already",
        |draft, item, cx| cx.units(&mut draft.unit.requisite, item)),
    row(Unit, "BindsTo", Kind::Units, "", "As Requires=, and stops whenever one of these ends",
        |draft, item, cx| cx.units(&mut draft.unit.binds_to, item)),
    row(Unit, "PartOf", Kind::Units, "", "Is stopped and restarted with these",
        |draft, item, cx| cx.units(&mut draft.unit.part_of, item)),
    row(Unit, "Upholds", Kind::Units, "", "As Wants=, and starts them again whenever they are down, but for those that a client stopped",
        |draft, item, cx| cx.units(&mut draft.unit.upholds, item)),
    row(Unit, "Conflicts", Kind::Units, "", "Starting one stops the other",
        |draft, item, cx| cx.units(&mut draft.unit.conflicts, item)),
    row(Unit, "After", Kind::Units, "", "Starts after these are ready (a step: has finished), stops before them",
        |draft, item, cx| cx.units(&mut draft.unit.after, item)),
    row(Unit, "Before", Kind::Units, "", "The other direction of After=",
        |draft, item, cx| cx.units(&mut draft.unit.before, item)),
    row(Unit, "OnFailure", Kind::Units, "", "Starts these when this unit has failed",
        |draft, item, cx| cx.units(&mut draft.unit.on_failure, item)),
    row(Unit, "OnSuccess", Kind::Units, "", "Starts these when this unit has ended well",
        |draft, item, cx| cx.units(&mut draft.unit.on_success, item)),
    row(Unit, "DefaultDependencies", Kind::Boolean, "yes", "Whether the order of steps holds for this unit",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.default_dependencies = yes;
        }),
    row(Unit, "StartLimitIntervalSec", Kind::TimeSpan, "10s", "The window in which StartLimitBurst= counts starts; 0 is no limit",
        start_limit_interval),
    row(Unit, "StartLimitInterval", Kind::TimeSpan, "", "The old name of StartLimitIntervalSec=",
        start_limit_interval),
    row(Unit, "StartLimitBurst", Kind::Integer(0, U32), "5", "How many starts the window allows",
        start_limit_burst),
    row(Unit, "StartLimitAction", ACTION, "none", "What rinit does when the limit is hit",
        start_limit_action),
    row(Unit, "FailureAction", ACTION, "exit for what boot starts, else none", "What rinit does when the unit has failed for good",
        failure_action),
    row(Unit, "SuccessAction", ACTION, "none", "What rinit does when the unit has ended well",
        success_action),
    row(Unit, "FailureActionExitStatus", Kind::Integer(0, 255), "the main process's status", "The status that rinit exits with after FailureAction=exit",
        |draft, item, cx| if let Some(code) = cx.integer(item) {
            draft.unit.failure_action_exit_status = Some(code);
        }),
    row(Unit, "SuccessActionExitStatus", Kind::Integer(0, 255), "the main process's status", "The status that rinit exits with after SuccessAction=exit",
        |draft, item, cx| if let Some(code) = cx.integer(item) {
            draft.unit.success_action_exit_status = Some(code);
        }),
    row(Unit, "JobTimeoutSec", Kind::Timeout, "infinity", "How long a start may wait for its turn and run",
        |draft, item, cx| if let Some(span) = cx.timeout(item) {
            draft.unit.job_timeout = span;
        }),
    condition("ConditionPathExists", "Skips the unit unless the path exists"),
    condition("ConditionPathExistsGlob", "Skips the unit unless something matches the pattern"),
    condition("ConditionPathIsDirectory", "Skips the unit unless the path is a directory"),
    condition("ConditionPathIsSymbolicLink", "Skips the unit unless the path is a symbolic link"),
    condition("ConditionPathIsMountPoint", "Skips the unit unless something is mounted there"),
    condition("ConditionPathIsReadWrite", "Skips the unit unless the file system there is writable"),
    condition("ConditionDirectoryNotEmpty", "Skips the unit unless the directory holds something"),
    condition("ConditionFileNotEmpty", "Skips the unit unless the file is regular and not empty"),
    condition("ConditionFileIsExecutable", "Skips the unit unless the file is executable"),
    condition("ConditionEnvironment", "Skips the unit unless rinit's environment has NAME or NAME=value"),
    condition("AssertPathExists", "Fails the start unless the path exists"),
    condition("AssertPathExistsGlob", "Fails the start unless something matches the pattern"),
    condition("AssertPathIsDirectory", "Fails the start unless the path is a directory"),
    condition("AssertPathIsSymbolicLink", "Fails the start unless the path is a symbolic link"),
    condition("AssertPathIsMountPoint", "Fails the start unless something is mounted there"),
    condition("AssertPathIsReadWrite", "Fails the start unless the file system there is writable"),
    condition("AssertDirectoryNotEmpty", "Fails the start unless the directory holds something"),
    condition("AssertFileNotEmpty", "Fails the start unless the file is regular and not empty"),
    condition("AssertFileIsExecutable", "Fails the start unless the file is executable"),
    condition("AssertEnvironment", "Fails the start unless rinit's environment has NAME or NAME=value"),
    accepted(Unit, "RequiresMountsFor", Kind::Paths, "Mounts that the unit needs", "a container's mounts are there before rinit"),
    accepted(Unit, "WantsMountsFor", Kind::Paths, "Mounts that the unit would like", "a container's mounts are there before rinit"),
    accepted(Unit, "SourcePath", Kind::Path, "What the unit was generated from", "for people only"),
    accepted(Unit, "AllowIsolate", Kind::Boolean, "Whether the unit may be isolated to", "rinit has no isolate"),
    accepted(Unit, "IgnoreOnIsolate", Kind::Boolean, "Whether isolate leaves the unit alone", "rinit has no isolate"),
    accepted(Unit, "CollectMode", Kind::Text, "When a unit is forgotten", "rinit keeps every unit"),
    accepted(Unit, "RebootArgument", Kind::Text, "What reboot(2) is given", "in a container a reboot is an exit"),

    row(Install, "Enabled", Kind::Boolean, "true", "Whether boot starts it; rinit's own, for an image has no systemctl enable",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.enabled = yes;
        }),
    accepted(Install, "WantedBy", Kind::Units, "What pulls the unit in", YES),
    accepted(Install, "RequiredBy", Kind::Units, "What requires the unit", YES),
    accepted(Install, "UpheldBy", Kind::Units, "What upholds the unit", YES),
    accepted(Install, "Alias", Kind::Units, "Other names of the unit", "rinit reads no [Install] but Enabled"),
    accepted(Install, "Also", Kind::Units, "What is enabled with the unit", YES),
    accepted(Install, "DefaultInstance", Kind::Text, "The instance of a bare template", "a template starts no instance by itself"),
];

/// The largest unsigned number that rinit keeps.
pub(super) const U32: i64 = u32::MAX as i64;

const fn condition(name: &'static str, doc: &'static str) -> Directive {
    row(Unit, name, Kind::Condition, "", doc, set_condition)
}

pub(super) fn start_limit_interval(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Some(span) = cx.timespan(item) {
        // An infinite window: the burst is for the whole life of rinit.
        draft.unit.start_limit_interval = span.unwrap_or(std::time::Duration::MAX);
    }
}

pub(super) fn start_limit_burst(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Some(burst) = cx.integer(item) {
        draft.unit.start_limit_burst = burst;
    }
}

pub(super) fn start_limit_action(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Some(action) = cx.choice(item, &ACTIONS) {
        draft.unit.start_limit_action = action;
    }
}

pub(super) fn failure_action(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Some(action) = cx.choice(item, &ACTIONS) {
        draft.failure_action = Some(action);
    }
}

pub(super) fn success_action(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Some(action) = cx.choice(item, &ACTIONS) {
        draft.unit.success_action = action;
    }
}

/// The kinds by the second half of their directive's name.
const CONDITIONS: [(&str, ConditionKind); 10] = [
    ("PathExists", ConditionKind::PathExists),
    ("PathExistsGlob", ConditionKind::PathExistsGlob),
    ("PathIsDirectory", ConditionKind::PathIsDirectory),
    ("PathIsSymbolicLink", ConditionKind::PathIsSymbolicLink),
    ("PathIsMountPoint", ConditionKind::PathIsMountPoint),
    ("PathIsReadWrite", ConditionKind::PathIsReadWrite),
    ("DirectoryNotEmpty", ConditionKind::DirectoryNotEmpty),
    ("FileNotEmpty", ConditionKind::FileNotEmpty),
    ("FileIsExecutable", ConditionKind::FileIsExecutable),
    ("Environment", ConditionKind::Environment),
];

fn set_condition(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let name = cx.directive.name;
    let assert = name.starts_with("Assert");
    let half = name.trim_start_matches("Assert").trim_start_matches("Condition");
    let Some((_, kind)) = CONDITIONS.iter().find(|(known, _)| *known == half) else {
        return;
    };
    for part in cx.parts(item) {
        let condition = part.and_then(|part| condition_of(*kind, part, cx));
        let list: &mut Vec<Condition> =
            if assert { &mut draft.unit.asserts } else { &mut draft.unit.conditions };
        match (part, condition) {
            (None, _) => list.clear(), // systemd resets every condition, of whatever kind
            (Some(_), Some(condition)) => list.push(condition),
            (Some(_), None) => (),
        }
    }
}

fn condition_of(kind: ConditionKind, part: Part<'_>, cx: &mut Context<'_>) -> Option<Condition> {
    let mut condition = parse_condition(kind, part.text);
    condition.parameter = cx.expanded(part.item, &condition.parameter)?;
    if kind.is_path() && !condition.parameter.starts_with('/') {
        cx.refuse_text(part.item, format!("{:?} is not an absolute path", condition.parameter));
        return None;
    }
    if kind.is_path() {
        condition.parameter = simplify_path(&condition.parameter);
    }
    Some(condition)
}
