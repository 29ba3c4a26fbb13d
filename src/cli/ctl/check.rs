//! `check`: reads units as rinit would and says what is wrong. Needs no running rinit.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::args::Check;
use super::screen::Screen;
use super::{CONFIGURATION, DONE};
use crate::cli::diagnostics::{self, Style};
use crate::unit::counted::counted;
use crate::unit::environment::Environment;
use crate::unit::load::{self, LoadRequest};
use crate::unit::{Problem, Severity};

/// The verb.
pub fn check(arguments: &Check, environment: &Environment, screen: &mut Screen<'_>) -> u8 {
    let (given, files): (Vec<PathBuf>, Vec<PathBuf>) =
        arguments.files.iter().cloned().partition(|path| is_of_units(path));
    let mut directories = [arguments.units.as_slice(), &given].concat();
    if directories.is_empty() && files.is_empty() {
        directories = default_directories(environment);
    }
    let files_only = directories.is_empty();
    let request = LoadRequest {
        directories,
        inherited_environment: environment.clone(),
        host: load::host_facts(environment),
        ..LoadRequest::default()
    };
    let loaded = match files.as_slice() {
        [] => load::load(&request),
        files => load::load_files(files, &request),
    };
    let (count, what) = match files_only {
        true => (files.len(), "file"),
        false => (loaded.units.units.len(), "unit"),
    };
    verdict(loaded.problems, &counted(count, what), arguments.strict, screen)
}

/// Whether it is a directory of units, and not one where a unit's file ought to be.
fn is_of_units(path: &Path) -> bool {
    path.is_dir() && path.extension().is_none_or(|extension| extension != "toml")
}

/// `RINIT_UNITS`, else the default directory.
fn default_directories(environment: &Environment) -> Vec<PathBuf> {
    match environment.get(OsStr::new("RINIT_UNITS")).filter(|list| !list.is_empty()) {
        Some(list) => std::env::split_paths(list).collect(),
        None => vec![PathBuf::from("/etc/rinit")],
    }
}

fn verdict(mut problems: Vec<Problem>, what: &str, strict: bool, screen: &mut Screen<'_>) -> u8 {
    if strict {
        let warnings = problems.iter_mut().filter(|p| p.severity == Severity::Warning);
        warnings.for_each(|problem| problem.severity = Severity::Error);
    }
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    let outcome = if failed { "rinit would start nothing" } else { "" };
    let style = Style { colour: screen.look.colour_on_stderr, notes: true };
    screen.err(&diagnostics::render(&problems, outcome, style));
    if failed {
        return CONFIGURATION;
    }
    screen.out(&format!("{what}: may be started\n"));
    DONE
}
