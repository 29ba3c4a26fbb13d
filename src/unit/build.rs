//! What one unit's files say, put together: raw entries to a [`Draft`] through the table.
//!
//! Not across units (`verify`), and no file access (`load`). **Invariant:** a unit with an
//! error is still built as far as it goes, so that its neighbours are checked too.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::directive::{self, Context, Draft, ManagerSection, Section, Setter, UnitDefaults};
use super::name::NameError;
use super::problem::{Problem, Span};
use super::raw::{Entry, RawSection, RawUnit};
use super::service::{ExitAction, Restart, ServiceType};
use super::specifier::{HostFacts, Specifiers};
use super::{UnitKind, UnitName, rules, value};

/// Builds the unit `name` from its main file and its drop-ins, in the order given.
pub fn build(
    name: UnitName,
    files: &[RawUnit],
    defaults: &UnitDefaults,
    host: &HostFacts,
    problems: &mut Vec<Problem>,
) -> Draft {
    let mut draft = Draft::new(name.clone(), defaults);
    draft.unit.file = files.first().map(|main| main.file.clone());
    let fragment = draft.unit.file.clone();
    let fragment = fragment.as_ref().map(|file| file.path.as_path());
    let instances = name.is_template() || files.iter().any(has_instances);
    let specifiers = Specifiers { unit: &name, fragment, host, instances };
    let before = problems.len();
    for raw in files {
        apply(&mut draft, raw, &specifiers, problems);
    }
    let broken = files.iter().any(|raw| raw.broken) || problems.len() > before;
    finish(&mut draft, defaults, broken, problems);
    draft
}

/// Whether `Instances=` is given: then specifiers mean something else, wherever they stand.
pub fn has_instances(raw: &RawUnit) -> bool {
    let services = raw.sections.iter().filter(|section| section.name == Section::Service.name());
    services.flat_map(|section| &section.entries).any(|entry| entry.key == "Instances")
}

/// What a file of this base name defines: a socket or a slice if it has such a section and no
/// `[Service]`.
///
/// # Errors
/// As [`UnitName::parse`].
pub fn unit_name(stem: &str, files: &[RawUnit]) -> Result<UnitName, NameError> {
    let has = |wanted: Section| {
        let mut sections = files.iter().flat_map(|raw| &raw.sections);
        sections.any(|section| section.name == wanted.name())
    };
    if has(Section::Socket) && !has(Section::Service) {
        return UnitName::parse(&format!("{stem}{}", UnitKind::Socket.suffix()));
    }
    if has(Section::Slice) && !has(Section::Service) {
        return UnitName::parse(&format!("{stem}{}", UnitKind::Slice.suffix()));
    }
    UnitName::service(stem)
}

/// Puts everything that one file says into the draft.
pub fn apply(
    draft: &mut Draft,
    raw: &RawUnit,
    specifiers: &Specifiers<'_>,
    problems: &mut Vec<Problem>,
) {
    for raw_section in &raw.sections {
        let Some(section) = known_section(raw, raw_section, problems) else {
            continue;
        };
        if section == Section::Manager {
            let span = Some(raw.span(raw_section.range.clone()));
            let problem = Problem::error(span, "[Manager] stands in rinit.toml only");
            problems.push(problem.hint("move it to rinit.toml beside the units"));
            continue;
        }
        begin(draft, section, raw.span(raw_section.range.clone()));
        for entry in &raw_section.entries {
            let Some(row) = known_directive(raw, section, entry, problems) else {
                continue;
            };
            if entry.item.value.resets() {
                draft.seen.retain(|(name, _)| *name != row.name);
            }
            draft.seen.push((row.name, raw.span(entry.item.range.clone())));
            let (file, spelling) = (&raw.file, raw.spelling);
            let mut cx = Context { file, spelling, specifiers, directive: row, problems };
            if cx.supported(&entry.key_range)
                && let Setter::Unit(set) = row.set
            {
                set(draft, &entry.item, &mut cx);
            }
        }
    }
}

/// Reads `rinit.toml`.
pub fn build_manager(
    raw: &RawUnit,
    host: &HostFacts,
    problems: &mut Vec<Problem>,
) -> ManagerSection {
    let mut manager = ManagerSection::default();
    let Ok(name) = UnitName::service("rinit") else {
        return manager;
    };
    let specifiers =
        Specifiers { unit: &name, fragment: Some(&raw.file.path), host, instances: false };
    for raw_section in &raw.sections {
        let Some(section) = known_section(raw, raw_section, problems) else {
            continue;
        };
        if section != Section::Manager {
            let span = Some(raw.span(raw_section.range.clone()));
            let message = format!("rinit.toml has [Manager] only, not [{}]", section.name());
            problems.push(Problem::error(span, message).hint("a unit needs a file of its own"));
            continue;
        }
        for entry in &raw_section.entries {
            let Some(row) = known_directive(raw, section, entry, problems) else {
                continue;
            };
            let (file, spelling, specifiers) = (&raw.file, raw.spelling, &specifiers);
            let mut cx = Context { file, spelling, specifiers, directive: row, problems };
            if cx.supported(&entry.key_range)
                && let Setter::Manager(set) = row.set
            {
                set(&mut manager, &entry.item, &mut cx);
            }
        }
    }
    manager
}

/// A section may be there and say nothing.
fn begin(draft: &mut Draft, section: Section, span: Span) {
    match section {
        Section::Socket => {
            draft.socket();
            draft.seen.push(("[Socket]", span));
        }
        Section::Health => {
            draft.health();
            draft.seen.push(("[Health]", span));
        }
        Section::Slice => {
            draft.resources();
            draft.seen.push(("[Slice]", span));
        }
        Section::Unit
        | Section::Service
        | Section::Install
        | Section::Manager
        | Section::Timer
        | Section::Path => (),
    }
}

fn known_section(
    raw: &RawUnit,
    section: &RawSection,
    problems: &mut Vec<Problem>,
) -> Option<Section> {
    let span = Some(raw.span(section.range.clone()));
    let name = &section.name;
    match Section::parse(name) {
        Some(known) if known.supported() => Some(known),
        Some(_) => {
            let message = format!("[{name}] is not supported by this version of rinit");
            let hint = "it is refused so that nobody believes it holds";
            problems.push(Problem::error(span, message).hint(hint));
            None
        }
        None if raw.broken => None, // the broken line above it may have been its header
        None => {
            let problem = Problem::error(span, format!("unknown section [{name}]"));
            let names = Section::ALL.into_iter().map(Section::name);
            problems.push(match value::suggest(name, names) {
                Some(near) => problem.hint(format!("did you mean [{near}]?")),
                None => problem.hint(
                    "a unit's sections are [Unit], [Service], [Socket], [Health] and [Install]",
                ),
            });
            None
        }
    }
}

fn known_directive(
    raw: &RawUnit,
    section: Section,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) -> Option<&'static directive::Directive> {
    let name = &entry.key;
    let found = directive::find(section, name);
    if found.is_none() {
        let span = Some(raw.span(entry.key_range.clone()));
        let message = format!("unknown directive {name} in [{}]", section.name());
        let problem = Problem::error(span, message);
        let elsewhere = directive::sections_of(name);
        problems.push(match elsewhere.first() {
            Some(other) => problem.hint(format!("{name} belongs to [{}]", other.name())),
            None => match directive::suggest(section, name) {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            },
        });
    }
    found
}

/// Applies the rules between directives, and the defaults that depend on others. After an
/// error (`broken`) nothing is said to be missing.
pub fn finish(
    draft: &mut Draft,
    defaults: &UnitDefaults,
    broken: bool,
    problems: &mut Vec<Problem>,
) {
    match draft.unit.name.kind() {
        UnitKind::Slice => return,
        UnitKind::Socket => {
            rules::of_one_unit(draft, broken, problems);
            return;
        }
        UnitKind::Service
        | UnitKind::Timer
        | UnitKind::Path
        | UnitKind::Target
        | UnitKind::Mount
        | UnitKind::Device => (),
    }
    let untyped = !draft.seen.iter().any(|(name, _)| *name == "Type");
    let service = &mut draft.unit.service;
    if untyped && service.exec_start.is_empty() {
        service.kind = ServiceType::Oneshot; // service_add_extras() of systemd
    }
    let oneshot = service.kind == ServiceType::Oneshot;
    let timeout = if oneshot { None } else { defaults.timeout_start };
    service.timeout_start = draft.timeout_start.unwrap_or(timeout);
    service.restart = match draft.restart {
        Some(restart) => restart,
        None if oneshot => Restart::No,
        None => defaults.restart,
    };
    if let (Some(max), false) = (defaults.memory_max, limits_itself(draft)) {
        draft.resources().memory_max = Some(max);
    }
    restart_delays(draft, problems);
    rules::of_one_unit(draft, broken, problems);
    if !broken {
        commands(draft, problems);
    }
    if oneshot {
        oneshot_rules(draft, problems);
    }
}

/// Whether `MemoryMax=` is given, be it as infinity.
fn limits_itself(draft: &Draft) -> bool {
    draft.seen.iter().any(|(name, _)| matches!(*name, "MemoryMax" | "MemoryLimit"))
}

fn restart_delays(draft: &mut Draft, problems: &mut Vec<Problem>) {
    let given = draft.span("RestartMaxDelaySec");
    let service = &mut draft.unit.service;
    let Some(longest) = service.restart_max_delay else {
        return;
    };
    if given.is_none() {
        if service.restart_sec >= Duration::from_secs(30) {
            service.restart_max_delay = None; // the delay is constant
        }
    } else if longest < service.restart_sec {
        let message = "RestartMaxDelaySec is less than RestartSec, so both are the former";
        let mut problem = Problem::warning(given, message);
        service.restart_sec = longest;
        if let Some(span) = draft.span("RestartSec") {
            problem = problem.related(span, "RestartSec");
        }
        problems.push(problem);
    }
}

/// How many commands of which kind a unit needs (service_verify() of systemd).
fn commands(draft: &Draft, problems: &mut Vec<Problem>) {
    let (unit, service) = (&draft.unit, &draft.unit.service);
    let name = &unit.name;
    let oneshot = service.kind == ServiceType::Oneshot;
    let whole = || unit.file.clone().map(|file| super::Span { file, range: 0..0 });
    if service.exec_start.len() > 1 && !oneshot {
        problems.push(several_starts(draft));
    }
    if !service.exec_start.is_empty() || unit.success_action != ExitAction::None {
        return;
    }
    if service.exec_stop.is_empty() {
        let message = format!("{name} has no ExecStart");
        let hint = "say what to run: ExecStart = \"program argument\" under [Service]";
        problems.push(Problem::error(whole(), message).hint(hint));
    } else if !oneshot {
        let message = format!("{name} has no ExecStart, which only a oneshot may leave out");
        problems.push(Problem::error(draft.span("Type").or_else(whole), message));
    } else if !service.remain_after_exit {
        let message = format!("{name} has ExecStop but no ExecStart and no RemainAfterExit");
        let hint = "with RemainAfterExit = true it is active until it is stopped";
        problems.push(Problem::error(draft.span("ExecStop").or_else(whole), message).hint(hint));
    }
}

/// More than one `ExecStart=`, maybe of several files.
fn several_starts(draft: &Draft) -> Problem {
    let (name, n) = (&draft.unit.name, draft.unit.service.exec_start.len());
    let message = format!("{name} has {n} ExecStart commands, and only a oneshot may");
    let mut places = draft.seen.iter().rev().filter(|(name, _)| *name == "ExecStart");
    let last = places.next().map(|(_, span)| span.clone());
    let mut problem = Problem::error(last.clone(), message);
    let mut hint = "set Type = \"oneshot\", or leave one; an array of strings is one command";
    for (_, span) in places {
        if last.as_ref().is_some_and(|last| last.file != span.file) {
            hint = "it adds to the list; ExecStart = [\"\", \"program argument\"] replaces what \
                    was there";
        }
        problem = problem.related(span.clone(), "ExecStart here");
    }
    problem.hint(hint)
}

fn oneshot_rules(draft: &Draft, problems: &mut Vec<Problem>) {
    let service = &draft.unit.service;
    let name = &draft.unit.name;
    if matches!(service.restart, Restart::Always | Restart::OnSuccess) {
        let message = format!("{name} is a oneshot, which cannot be restarted after success");
        let hint = "use Restart = \"on-failure\", or another Type";
        problems.push(Problem::error(draft.span("Restart"), message).hint(hint));
    }
    let forced = &service.restart_force_exit_status;
    if !forced.codes.is_empty() || !forced.signals.is_empty() {
        let message = format!("{name} is a oneshot, which takes no RestartForceExitStatus");
        problems.push(Problem::error(draft.span("RestartForceExitStatus"), message));
    }
    if service.runtime_max.is_some() {
        let message = format!("RuntimeMaxSec has no effect: {name} is a oneshot");
        let hint = "TimeoutStartSec bounds a oneshot";
        problems.push(Problem::warning(draft.span("RuntimeMaxSec"), message).hint(hint));
    }
}
