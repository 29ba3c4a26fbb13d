//! The only file access of `unit`: directories of units in, a checked [`UnitSet`] out.
//!
//! Not what the files mean (`build`, `verify`). **Invariant:** everything that is wrong with
//! any file is reported at once; with an error among the problems nothing may start.

mod beside;
mod container;
pub mod environment_file;
mod files;
pub mod glob;
mod host;
pub mod limits;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::directive::{Draft, ManagerSection, UnitDefaults};
use super::environment::Environment;
use super::problem::{Problem, Severity, SourceFile, Span};
use super::raw::RawUnit;
use super::specifier::HostFacts;
use super::{
    StartedBy, Unit, UnitName, UnitSet, budget, build, command_unit, drain, toml, value, verify,
};
use files::{Directory, Source};

pub use container::{Container, oom_counter};
pub use host::host_facts;

/// What to load.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// The directories of units; of two units of one name the first directory's is taken.
    pub directories: Vec<PathBuf>,
    /// A directory that does not exist is no error: it is the default one, and there is a COMMAND.
    pub default_directory_may_be_absent: bool,
    /// `--unit`: start these only; empty: everything that boot starts.
    pub names: Vec<String>,
    /// The COMMAND with its arguments, and the `-p` properties.
    pub command: Option<(Vec<String>, Vec<String>)>,
    /// `--shutdown-timeout`, which goes before `rinit.toml`'s.
    pub shutdown_timeout: Option<Duration>,
    /// The environment that rinit got, which units inherit.
    pub inherited_environment: Environment,
    /// What `%` specifiers say about the host.
    pub host: HostFacts,
}

/// What was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The units. With an error among `problems` they must not be started.
    pub units: UnitSet,
    /// What `rinit.toml` says.
    pub manager: ManagerSection,
    /// What is wrong, unsorted.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// Whether nothing may start.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// Reads and checks everything.
pub fn load(request: &LoadRequest) -> Loaded {
    let mut problems = Vec::new();
    let directories = directories(request, &mut problems);
    let manager = manager_section(&directories, request, &mut problems);
    let defaults = &manager.defaults;
    let mut drafts = unit_drafts(&directories, request, defaults, &mut problems, |_, _| ());
    if let Some((argv, properties)) = &request.command {
        let (defaults, host) = (&manager.defaults, &request.host);
        let argv = argv.clone();
        let made = command_unit::command_unit(argv, properties, defaults, host, &mut problems);
        if let Some(draft) = made {
            insert_command(&mut drafts, draft, &mut problems);
        }
    } else if drafts.is_empty() && problems.iter().all(|p| p.severity != Severity::Error) {
        problems.push(nothing_to_run(request));
    }
    let mut loaded = finish(drafts, manager, request, problems);
    loaded.problems.extend(nothing_to_start(&loaded.units));
    loaded
}

/// As [`load`], with single files before the directories, and without a COMMAND. Where there is no
/// directory, units that the files name are looked for beside them.
pub fn load_files(paths: &[PathBuf], request: &LoadRequest) -> Loaded {
    let mut problems = Vec::new();
    let given = files::given(paths, &mut problems);
    let mut directories = directories(request, &mut problems);
    let is_given = |unit: &Source| given.units.iter().any(|it| files::same(&it.path, &unit.path));
    directories.iter_mut().for_each(|directory| directory.units.retain(|unit| !is_given(unit)));
    directories.insert(0, given);
    let manager = manager_section(&directories, request, &mut problems);
    let defaults = &manager.defaults;
    let drafts = unit_drafts(&directories, request, defaults, &mut problems, |drafts, build| {
        if request.directories.is_empty() {
            beside::add(drafts, paths, build);
        }
    });
    finish(drafts, manager, request, problems)
}

/// Lists every directory.
fn directories(request: &LoadRequest, problems: &mut Vec<Problem>) -> Vec<Directory> {
    let mut list = Vec::new();
    for path in &request.directories {
        match files::list(path) {
            Ok((directory, found)) => {
                problems.extend(found);
                list.push(directory);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if !request.default_directory_may_be_absent {
                    let message = format!("the units directory {} does not exist", path.display());
                    let hint = "name another with --units DIR, or give a COMMAND";
                    problems.push(Problem::error(None, message).hint(hint));
                }
            }
            Err(error) => {
                let path = path.display();
                let message = format!("cannot list the units directory {path}: {error}");
                problems.push(Problem::error(None, message));
            }
        }
    }
    list
}

/// Reads the first `rinit.toml`.
fn manager_section(
    directories: &[Directory],
    request: &LoadRequest,
    problems: &mut Vec<Problem>,
) -> ManagerSection {
    let mut found = directories.iter().filter_map(|directory| directory.manager.as_ref());
    let Some(first) = found.next() else {
        return ManagerSection::default();
    };
    for other in found {
        let message = format!("{} is not read: {} goes first", other.display(), first.display());
        problems.push(Problem::note(None, message));
    }
    match read_toml(first, problems) {
        Some(raw) => {
            let section = build::build_manager(&raw, &request.host, problems);
            problems.extend(drain::check(&raw, &section, request.shutdown_timeout));
            section
        }
        None => ManagerSection::default(),
    }
}

type Drafts = BTreeMap<UnitName, Draft>;

/// Makes a unit of its file and drop-ins.
type Build<'a> =
    dyn FnMut(&Source, Option<&BTreeMap<&str, &Path>>) -> Option<(UnitName, Draft)> + 'a;

/// Builds every unit of every directory, and those that `add` adds.
fn unit_drafts(
    directories: &[Directory],
    request: &LoadRequest,
    defaults: &UnitDefaults,
    problems: &mut Vec<Problem>,
    add: impl FnOnce(&mut Drafts, &mut Build<'_>),
) -> Drafts {
    let (chosen, drop_ins) = choose(directories, problems);
    let mut build = |source: &Source, drop_ins: Option<&BTreeMap<&str, &Path>>| {
        let mut files = vec![read_unit(&source.path, problems)?];
        for path in drop_ins.into_iter().flat_map(BTreeMap::values) {
            files.extend(read_unit(path, problems));
        }
        let name = unit_name(&source.path, &source.stem, &files, problems)?;
        let draft = build::build(name.clone(), &files, defaults, &request.host, problems);
        Some((name, draft))
    };
    let built = chosen.iter().filter_map(|(stem, source)| build(source, drop_ins.get(stem)));
    let mut drafts = built.collect();
    add(&mut drafts, &mut build);
    for (stem, files) in &drop_ins {
        if let Some(file) = files.values().next()
            && !chosen.contains_key(stem)
        {
            let message =
                format!("{} changes {stem}.service, which no file defines", file.display());
            problems.push(Problem::warning(None, message));
        }
    }
    only_named(&mut drafts, &request.names, problems);
    drafts
}

type Chosen<'a> = BTreeMap<&'a str, &'a Source>;
type DropIns<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Path>>;

/// Of files of one name the first directory's; drop-ins from all, likewise.
fn choose<'a>(
    directories: &'a [Directory],
    problems: &mut Vec<Problem>,
) -> (Chosen<'a>, DropIns<'a>) {
    let mut chosen: Chosen<'a> = BTreeMap::new();
    let mut drop_ins: DropIns<'a> = BTreeMap::new();
    for directory in directories {
        for source in &directory.units {
            if let Some(first) = chosen.get(source.stem.as_str()) {
                let (path, first) = (source.path.display(), first.path.display());
                let message = format!("{path} is not read: {first} defines the unit already");
                problems.push(Problem::note(None, message));
            } else {
                chosen.insert(&source.stem, source);
            }
        }
        for drop_in in &directory.drop_ins {
            let files = drop_ins.entry(&drop_in.stem).or_default();
            files.entry(&drop_in.name).or_insert(&drop_in.path);
        }
    }
    (chosen, drop_ins)
}

/// With `--unit` nothing else is started by boot.
fn only_named(drafts: &mut Drafts, names: &[String], problems: &mut Vec<Problem>) {
    if names.is_empty() {
        return;
    }
    for draft in drafts.values_mut() {
        draft.enabled = false;
        draft.left_out = true;
    }
    for text in names {
        let name = UnitName::parse(text).or_else(|_| UnitName::service(text));
        if let Some(draft) = name.as_ref().ok().and_then(|name| drafts.get_mut(name)) {
            draft.enabled = true;
            draft.left_out = false;
            continue;
        }
        let problem = Problem::error(None, format!("--unit {text}: there is no such unit"));
        let known = drafts.keys().flat_map(|name| [name.as_str(), name.stem()]);
        problems.push(match value::suggest(text, known) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem,
        });
    }
}

fn insert_command(drafts: &mut Drafts, draft: Draft, problems: &mut Vec<Problem>) {
    let name = draft.unit.name.clone();
    if let Some(other) = drafts.insert(name.clone(), draft) {
        let span = other.unit.file.map(|file| Span { file, range: 0..0 });
        let message = format!("this file defines {name}, and so does the COMMAND");
        problems.push(Problem::error(span, message).hint("give the file another name"));
    }
}

fn nothing_to_run(request: &LoadRequest) -> Problem {
    let directories: Vec<String> =
        request.directories.iter().map(|path| path.display().to_string()).collect();
    let message = match directories.as_slice() {
        [] => "nothing to run: there is no COMMAND and no units directory".to_string(),
        _ => format!(
            "nothing to run: no COMMAND, and no unit (NAME.toml) in {}",
            directories.join(", ")
        ),
    };
    Problem::error(None, message).hint("rinit -- COMMAND, or rinit --units DIR")
}

/// Units of which each waits for somebody else to start it.
fn nothing_to_start(units: &UnitSet) -> Option<Problem> {
    let n = units.units.len();
    let is_up = |unit: &Arc<Unit>| unit.started_by == StartedBy::Boot || unit.socket.is_some();
    if n == 0 || units.units.values().any(is_up) {
        return None;
    }
    let message = match n {
        1 => "boot does not start the only unit that there is: rinit ends at once".to_owned(),
        n => format!("boot starts none of the units, of which there are {n}: rinit ends at once"),
    };
    let hint = "boot starts each but those with [Install] Enabled = false, and those that another \
                names in OnFailure= or OnSuccess=";
    Some(Problem { severity: Severity::Warning, ..Problem::error(None, message).hint(hint) })
}

/// Verifies, and asks the host.
fn finish(
    drafts: Drafts,
    manager: ManagerSection,
    request: &LoadRequest,
    mut problems: Vec<Problem>,
) -> Loaded {
    let (units, places) = verify::verify_with_places(drafts, &mut problems);
    host::check(&units, &places, &request.inherited_environment, &mut problems);
    if budget::is_needed(&units) {
        budget::check(&units, &places, &Container::read().room, &mut problems);
    }
    drop(places);
    Loaded { units, manager, problems }
}

/// The unit that a file of this base name defines.
fn unit_name(
    path: &Path,
    stem: &str,
    files: &[RawUnit],
    problems: &mut Vec<Problem>,
) -> Option<UnitName> {
    match build::unit_name(stem, files) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("{} names no unit: {error}", path.display());
            problems.push(Problem::error(None, message));
            None
        }
    }
}

/// Reads and parses one file of a unit, which has to say something; `None` if there is nothing to
/// build from.
fn read_unit(path: &Path, problems: &mut Vec<Problem>) -> Option<RawUnit> {
    let raw = read_toml(path, problems)?;
    if raw.sections.is_empty() && !raw.broken {
        let message = format!("{} defines nothing", path.display());
        let shown = (!raw.file.text.is_empty()).then(|| raw.span(0..0));
        let hint = "a unit has [Service]; [Install] Enabled = false keeps one from starting";
        problems.push(Problem::error(shown, message).hint(hint));
        return None;
    }
    Some(raw)
}

/// Reads and parses one file, which may say nothing; `None` if it cannot be read.
fn read_toml(path: &Path, problems: &mut Vec<Problem>) -> Option<RawUnit> {
    let text = match files::read(path) {
        Ok(text) => text,
        Err(message) => {
            problems.push(Problem::error(None, message));
            return None;
        }
    };
    let file = Arc::new(SourceFile { path: path.to_path_buf(), text });
    let (raw, found) = toml::read(&file);
    problems.extend(found);
    Some(raw)
}

#[cfg(test)]
mod tests;
