//! Processes as seen from outside: who is in a pid namespace, who descends from whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One process, from `/proc/PID/stat`.
#[derive(Clone, Debug)]
#[allow(dead_code)] // all of it is shown when a test fails
pub struct Process {
    pub pid: i32,
    pub ppid: i32,
    pub pgid: i32,
    pub state: char,
    pub name: String,
}

impl Process {
    /// rinit's journal process; `exe` is what it is called until it has said its name.
    pub fn is_journal(&self) -> bool {
        matches!(self.name.as_str(), "rinit-journal" | "exe")
    }

    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// The process with this pid, if it is there.
pub fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let pgid = fields.next()?.parse().ok()?;
    let name = head.split_once('(')?.1.to_string();
    Some(Process { pid, ppid, pgid, state, name })
}

fn all_pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Every process of this pid namespace (`/proc/PID/ns/pid`), zombies included.
pub fn in_namespace(namespace: &Path) -> Vec<Process> {
    let same = |pid: &i32| namespace_of(*pid).as_deref() == Some(namespace);
    all_pids().into_iter().filter(same).filter_map(process).collect()
}

/// The pid namespace of a process; a zombie still has it.
pub fn namespace_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// Every process below this one, by parentage.
pub fn descendants(root: i32) -> Vec<Process> {
    let all: Vec<Process> = all_pids().into_iter().filter_map(process).collect();
    let mut known = BTreeSet::from([root]);
    let mut found = Vec::new();
    loop {
        let more: Vec<&Process> =
            all.iter().filter(|p| known.contains(&p.ppid) && !known.contains(&p.pid)).collect();
        if more.is_empty() {
            return found;
        }
        known.extend(more.iter().map(|p| p.pid));
        found.extend(more.into_iter().cloned());
    }
}

/// Every process whose environment holds `NAME=value`, wherever it went.
pub fn with_environment(variable: &str) -> Vec<Process> {
    let marked = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|v| v == variable.as_bytes()))
    };
    all_pids().into_iter().filter(marked).filter_map(process).collect()
}

/// A line of `/proc/PID/status`.
pub fn status(pid: i32, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_string()
}

/// The pid that a process has in its innermost namespace.
pub fn inner_pid(pid: i32) -> Option<i64> {
    status(pid, "NSpid").split_whitespace().last()?.parse().ok()
}

/// Where the fds of a process lead.
pub fn open_files(pid: i32) -> Vec<(i32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let entries = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, std::fs::read_link(entry.path()).ok()?))
    });
    entries.collect()
}

/// Whether this user may make a pid namespace here.
pub fn can_unshare() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let (probe, directory) = (super::probe(), tempfile::tempdir().unwrap());
        let mark = directory.path().join("it-ran");
        let mut command = Command::new(probe);
        command.args(["launch", "--pid1", "--", probe, "touch"]).arg(&mark);
        command.status().unwrap();
        mark.exists()
    })
}

/// Sends a signal to a process that this test started.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: kill(2) touches no memory; real-time signals are why this is not nix's.
    unsafe { libc::kill(pid, signal) };
}
