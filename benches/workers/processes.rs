//! /proc: who descends from this benchmark, whatever became of its parent.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// One process below this one, not a zombie.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Its pid in its own namespace.
    pub inner: i32,
}

/// From here on what loses its parent becomes a child of this process, and is found.
pub fn adopt_orphans() -> Result<(), String> {
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| format!("prctl: {error}"))
}

/// Everything that lives below this process.
pub fn below_us() -> Vec<Process> {
    below(std::process::id().cast_signed())
}

/// Everything that lives below a process.
pub fn below(root: i32) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in all() {
        children.entry(parent).or_default().push(pid);
    }
    let mut unseen = children.remove(&root).unwrap_or_default();
    let mut found = vec![];
    while let Some(pid) = unseen.pop() {
        unseen.extend(children.remove(&pid).unwrap_or_default());
        found.extend(look(pid));
    }
    found
}

/// Pid and parent of every process.
fn all() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let with_parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    pids.filter_map(with_parent).collect()
}

fn look(pid: i32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    if field("State:")?.trim().starts_with(['Z', 'X']) {
        return None;
    }
    let parent = field("PPid:")?.trim().parse().ok()?;
    let inner = field("NSpid:")?.split_whitespace().last()?.parse().ok()?;
    Some(Process { pid, parent, inner })
}

/// Waits until a process is stopped (SIGSTOP takes effect a little later than it is sent).
pub fn is_stopped(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:\tT"))
}

/// Sends a signal to a process that this benchmark started.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Kills and reaps all that is left below this process. Several rounds: a manager makes new ones.
pub fn kill_all() {
    loop {
        reap();
        let left = below_us();
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|process| signal(process.pid, Signal::SIGKILL));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status.pid().is_none() {
            return;
        }
    }
}

/// The CPU time of all processes that were reaped, and of those that they had reaped.
pub fn cpu_of_the_dead() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let sum = |time: nix::sys::time::TimeVal| {
        Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs())
    };
    sum(usage.user_time()) + sum(usage.system_time())
}
