//! What a process finds itself with, as one JSON object.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Everything that an init could have passed on wrongly.
pub fn report() -> Value {
    let status = status();
    let mask = |key: &str| status.get(key).cloned().unwrap_or_default();
    json!({
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
        "pgid": nix::unistd::getpgrp().as_raw(),
        "sid": nix::unistd::getsid(None).map(|pid| pid.as_raw()).unwrap_or(-1),
        "foreground": nix::unistd::tcgetpgrp(std::io::stdin()).map(|pid| pid.as_raw()).unwrap_or(-1),
        "blocked": mask("SigBlk"),
        "ignored": mask("SigIgn"),
        "caught": mask("SigCgt"),
        "uid": mask("Uid"),
        "gid": mask("Gid"),
        "groups": mask("Groups"),
        "no_new_privs": mask("NoNewPrivs"),
        "umask": umask(),
        "fds": fds(),
        "cwd": std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        "argv": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "limits": limits(),
        "oom_score_adj": read("/proc/self/oom_score_adj"),
        "nice": nice(),
        "pdeathsig": death_signal(),
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

/// `/proc/self/status` by key.
fn status() -> BTreeMap<String, String> {
    let text = read("/proc/self/status");
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_string(), value.trim().to_string())).collect()
}

fn umask() -> String {
    let mode = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(mode);
    format!("{:04o}", mode.bits())
}

/// Every open fd and what it leads to, but for the one that reads the directory.
fn fds() -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let entries = entries.flatten().filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?.display().to_string();
        let own = target.ends_with("/fd") && target.starts_with("/proc/");
        (!own).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
    });
    entries.collect()
}

/// Soft and hard limits as the kernel names them.
fn limits() -> BTreeMap<String, [String; 2]> {
    let text = read("/proc/self/limits");
    let rows = text.lines().skip(1).filter_map(|line| {
        let (name, values) = line.split_at_checked(26)?;
        let mut values = values.split_whitespace().map(str::to_string);
        Some((name.trim().to_string(), [values.next()?, values.next()?]))
    });
    rows.collect()
}

fn nice() -> i32 {
    // SAFETY: getpriority(2) touches no memory.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

fn death_signal() -> i32 {
    nix::sys::prctl::get_pdeathsig().ok().flatten().map_or(0, |signal| signal as i32)
}
