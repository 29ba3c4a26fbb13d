//! The files of a control group, read and written in one call each.
//!
//! **Invariant:** nothing here follows what a unit wrote: only the directories are walked.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::{Pid, errno_of, reason};

/// Deeper than this nobody nests.
const DEPTH_MAX: usize = 16;

/// Writes a value in one call, as the kernel wants it.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// The whole text; empty where it cannot be read.
pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A file with one number; `max` and what is not there are `None`.
pub(super) fn number(path: &Path) -> Option<u64> {
    read(path).trim().parse().ok()
}

/// The number after a word at the beginning of a line, as in `oom_kill 1`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

/// The processes of a group and of all below it.
pub(super) fn processes(directory: &Path) -> Vec<Pid> {
    let mut groups = vec![directory.to_path_buf()];
    below(directory, DEPTH_MAX, &mut groups);
    let of = |group: &PathBuf| pids(&read(&group.join("cgroup.procs")));
    groups.iter().flat_map(of).collect()
}

/// The lines of `cgroup.procs`.
pub(super) fn pids(text: &str) -> Vec<Pid> {
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Removes a group and all below it, the lowest first.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    let mut groups = vec![directory.to_path_buf()];
    below(directory, DEPTH_MAX, &mut groups);
    for group in groups.iter().rev() {
        match fs::remove_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn below(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.push(entry.path());
        if depth > 0 {
            below(&entry.path(), depth - 1, found);
        }
    }
}

/// `FILE: why`.
pub(super) fn failure(path: &Path, error: &io::Error) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    format!("{name}: {}", reason(errno_of(error)))
}

pub(super) fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}
