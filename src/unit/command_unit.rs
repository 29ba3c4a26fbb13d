//! Command mode: the COMMAND of rinit's command line as the unit `main.service`.
//!
//! Not the command line itself (`cli`). **Invariant:** without `-p` the unit adds nothing to
//! what a shell would do: inherited streams, no restart, rinit ends as it ends.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::sync::Arc;

use super::build;
use super::command::ExecCommand;
use super::directive::{self, Draft, Section, UnitDefaults};
use super::problem::{Problem, SourceFile, Span};
use super::raw::{Entry, Item, RawSection, RawUnit, Spelling, Value};
use super::service::{ExitAction, KillMode, Restart, StandardStream};
use super::specifier::{HostFacts, Specifiers};
use super::{UnitName, value};

/// The unit's name.
pub const NAME: &str = "main.service";

/// The unit that runs `argv`, with `properties` as `-p` gives them: `K=V` or `Section.K=V`.
/// `None` only if its name were no name.
pub fn command_unit(
    argv: Vec<String>,
    properties: &[String],
    defaults: &UnitDefaults,
    host: &HostFacts,
    problems: &mut Vec<Problem>,
) -> Option<Draft> {
    let name = UnitName::parse(NAME).ok()?;
    let mut draft = Draft::new(name.clone(), defaults);
    draft.restart = Some(Restart::No);
    draft.failure_action = Some(ExitAction::Exit);
    draft.unit.success_action = ExitAction::Exit;
    draft.unit.description = argv.join(" ");
    let service = &mut draft.unit.service;
    service.kill_mode = KillMode::Process;
    service.exec.standard_input = Some(StandardStream::Inherit);
    service.exec.standard_output = Some(StandardStream::Inherit);
    match command(argv) {
        Ok(command) => service.exec_start.push(command),
        Err(message) => problems.push(Problem::error(None, message)),
    }
    let before = problems.len();
    let raws: Vec<RawUnit> =
        properties.iter().filter_map(|property| raw_property(property, problems)).collect();
    let instances = raws.iter().any(build::has_instances);
    let specifiers = Specifiers { unit: &name, fragment: None, host, instances };
    for raw in &raws {
        build::apply(&mut draft, raw, &specifiers, problems);
    }
    let broken = problems.len() > before;
    build::finish(&mut draft, defaults, broken, problems);
    Some(draft)
}

/// As a shell takes it: a program with a slash is a path, even a relative one.
fn command(argv: Vec<String>) -> Result<ExecCommand, &'static str> {
    if argv.iter().any(|word| word.contains('\0')) {
        return Err("a word of COMMAND holds a NUL byte");
    }
    let mut words = argv.into_iter();
    let program = words.next().unwrap_or_default();
    if program.is_empty() {
        return Err("COMMAND is empty: its first word is the program");
    }
    Ok(ExecCommand {
        program,
        argv0: None,
        arguments: words.collect(),
        ignore_failure: false,
        no_expansion: true,
        full_privileges: false,
        no_setuid: false,
    })
}

/// One `-p` as a unit's file of one line.
fn raw_property(property: &str, problems: &mut Vec<Problem>) -> Option<RawUnit> {
    let file = Arc::new(SourceFile { path: "-p".into(), text: property.to_string() });
    let span = |range| Some(Span { file: Arc::clone(&file), range });
    let Some((left, text)) = property.split_once('=') else {
        let message = format!("{property:?} is not a property");
        let problem = Problem::error(span(0..property.len()), message);
        problems.push(problem.hint("write -p NAME=VALUE, as in -p Restart=on-failure"));
        return None;
    };
    let (section, key) = match left.split_once('.') {
        Some((section, key)) => (Section::parse(section), key),
        None => (section_of(left), left),
    };
    let key_range = left.len() - key.len()..left.len();
    let Some(section) = section.filter(|section| taken(*section)) else {
        let problem = Problem::error(span(0..left.len()), format!("unknown property {left}"));
        let names = directive::all().filter(|row| taken(row.section)).map(|row| row.name);
        problems.push(match value::suggest(key, names) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => {
                problem.hint("a property is a directive of [Service], [Unit], [Socket] or [Health]")
            }
        });
        return None;
    };
    let range = left.len() + 1..property.len();
    let item = Item { value: Value::Text(text.trim().to_string()), range };
    let entry = Entry { key: key.to_string(), key_range, item };
    let name = section.name().to_string();
    let sections = vec![RawSection { name, range: 0..left.len(), entries: vec![entry] }];
    Some(RawUnit { file, spelling: Spelling::Systemd, sections, broken: false })
}

/// Whether `-p` takes directives of this section.
fn taken(section: Section) -> bool {
    match section {
        Section::Service | Section::Unit | Section::Socket | Section::Health => true,
        Section::Install | Section::Manager | Section::Timer | Section::Path | Section::Slice => {
            false
        }
    }
}

/// A bare name means the first of these sections that has it.
fn section_of(name: &str) -> Option<Section> {
    let order = [Section::Service, Section::Unit, Section::Socket, Section::Health];
    order.into_iter().find(|section| directive::find(*section, name).is_some())
}
