//! Which files of a directory count, and their texts.
//!
//! Not what is in them. **Invariant:** nothing here waits: only regular files are opened.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::unit::problem::Problem;

/// No unit is longer than this (systemd.syntax(7) has the same limit for a line).
const FILE_MAX: u64 = 1 << 20;

/// A file that defines a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its base name without `.toml`.
    pub stem: String,
    /// Where it is.
    pub path: PathBuf,
}

/// A file that changes a unit: `NAME.toml.d/*.toml`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropIn {
    /// The base name of the unit's file without `.toml`.
    pub stem: String,
    /// Its own base name, by which drop-ins are ordered.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// What counts in one directory, in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directory {
    /// The units.
    pub units: Vec<Source>,
    /// The drop-ins.
    pub drop_ins: Vec<DropIn>,
    /// `rinit.toml`.
    pub manager: Option<PathBuf>,
}

/// The suffixes of systemd's spelling, which this version does not read.
const SYSTEMD: [&str; 6] = ["service", "socket", "timer", "path", "slice", "target"];

/// Lists a directory. Names that start with a dot and other suffixes are not for rinit:
/// Kubernetes keeps `..data` in a mounted ConfigMap, people keep READMEs.
///
/// # Errors
/// The directory cannot be read.
pub fn list(path: &Path) -> io::Result<(Directory, Vec<Problem>)> {
    let mut directory = Directory::default();
    let mut problems = Vec::new();
    for name in names(path, &mut problems)? {
        let full = path.join(&name);
        if let Some(stem) = name.strip_suffix(".toml") {
            if stem == "rinit" {
                directory.manager = Some(full);
            } else {
                directory.units.push(Source { stem: stem.to_string(), path: full });
            }
        } else if let Some(stem) = name.strip_suffix(".toml.d") {
            match names(&full, &mut problems) {
                Ok(inner) => directory.drop_ins.extend(drop_ins(&full, stem, inner)),
                Err(error) => {
                    let message = format!("cannot list {}: {error}", full.display());
                    problems.push(Problem::error(None, message));
                }
            }
        } else if systemd_spelling(&name) {
            problems.push(not_read(path, &name));
        }
    }
    Ok((directory, problems))
}

/// Single files, as if a directory held them, with the drop-ins beside them.
pub fn given(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Directory {
    let mut directory = Directory::default();
    for path in paths {
        let shown = path.display();
        let name = path.file_name().and_then(OsStr::to_str);
        if name.is_none()
            && let Some(problem) = not_utf8(path)
        {
            problems.push(problem);
            continue;
        }
        let Some(stem) = name.and_then(|name| name.strip_suffix(".toml")) else {
            let message = format!("{shown} is not a unit: its name has no .toml");
            problems.push(Problem::error(None, message));
            continue;
        };
        let first = directory.units.iter().find(|unit| unit.stem == stem);
        if stem == "rinit" {
            directory.manager = Some(path.clone());
        } else if let Some(first) = first.filter(|first| !same(&first.path, path)) {
            let message = format!("{shown} and {} define one unit", first.path.display());
            problems.push(Problem::error(None, message).hint("check them one after the other"));
        } else if first.is_none() {
            let drop_in = path.with_added_extension("d");
            if let Ok(inner) = names(&drop_in, problems) {
                directory.drop_ins.extend(drop_ins(&drop_in, stem, inner));
            }
            directory.units.push(Source { stem: stem.to_string(), path: path.clone() });
        }
    }
    directory
}

/// Whether two paths lead to one file.
pub fn same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    one == other || place(one).is_some_and(|found| place(other) == Some(found))
}

/// The names that count, in byte order. One that is not UTF-8 cannot be a unit's.
fn names(path: &Path, problems: &mut Vec<Problem>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        match entry?.file_name().into_string() {
            Ok(name) if !name.starts_with('.') => names.push(name),
            Ok(_) => {}
            Err(name) if !name.as_bytes().starts_with(b".") => {
                problems.extend(not_utf8(&path.join(name)));
            }
            Err(_) => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What to say of a name that is not UTF-8, if it would count.
fn not_utf8(path: &Path) -> Option<Problem> {
    let name = path.as_os_str().as_bytes();
    let counts = name.ends_with(b".toml") || name.ends_with(b".toml.d");
    let message = format!("the name of {path:?} is not UTF-8, so it cannot be a unit's");
    counts.then(|| Problem::error(None, message).hint("give it another name, or take it away"))
}

fn drop_ins(directory: &Path, stem: &str, names: Vec<String>) -> Vec<DropIn> {
    let counts = names.into_iter().filter(|name| name.ends_with(".toml"));
    let drop_in = |name: String| {
        let path = directory.join(&name);
        DropIn { stem: stem.to_string(), name, path }
    };
    counts.map(drop_in).collect()
}

fn systemd_spelling(name: &str) -> bool {
    let name = name.strip_suffix(".d").unwrap_or(name);
    SYSTEMD.iter().any(|suffix| {
        name.strip_suffix(suffix).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
    })
}

fn not_read(directory: &Path, name: &str) -> Problem {
    let path = directory.join(name);
    let stem = name.strip_suffix(".service").unwrap_or(name);
    let twin = directory.join(format!("{stem}.toml"));
    let path = path.display();
    if name.ends_with(".service") && twin.exists() {
        let message = format!("{path} and {} both define {name}", twin.display());
        return Problem::error(None, message).hint("keep the .toml: this version reads TOML only");
    }
    let message = format!("{path}: systemd's spelling is not read by this version of rinit");
    Problem::error(None, message).hint("write it as TOML, NAME.toml, with the same directives")
}

/// The text of a file.
///
/// # Errors
/// A sentence with the path: what is wrong with it.
pub fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Err(match fs::read_link(path) {
                Ok(target) if error.kind() == io::ErrorKind::NotFound => {
                    format!("{shown} is a link to {}, which does not exist", target.display())
                }
                Ok(_) | Err(_) => format!("cannot read {shown}: {error}"),
            });
        }
    };
    if metadata.is_dir() {
        return Err(format!("{shown} is a directory, not a file"));
    }
    if !metadata.is_file() {
        return Err(format!("{shown} is not a regular file, so it defines nothing"));
    }
    if metadata.len() > FILE_MAX {
        return Err(format!("{shown} has {} bytes; a unit has at most {FILE_MAX}", metadata.len()));
    }
    // One byte more than there is: then the second read(2) is the one that finds the end.
    let size = usize::try_from(metadata.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    let read = fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(format!("cannot read {shown}: {error}"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = bytes.iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        let byte = bytes.get(valid).copied().unwrap_or(0);
        format!("{shown}:{line}: not UTF-8: byte 0x{byte:02x} at offset {valid}")
    })
}
