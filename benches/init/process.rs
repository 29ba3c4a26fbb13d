//! What /proc says of an init and its helpers, read from outside its namespace.

use std::fs;
use std::path::Path;

use nix::unistd::Pid;

use crate::gap::Gap;

/// The pids of the children of `pid`.
pub fn children(pid: Pid) -> Result<Vec<Pid>, Gap> {
    let list = read(&format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list.split_whitespace().filter_map(|word| word.parse().ok()).map(Pid::from_raw).collect())
}

/// The init and every process below it that does not run `app`: what supervising takes.
pub fn supervisors(init: Pid, app: &Path) -> Result<Vec<Pid>, Gap> {
    let mut found = vec![];
    let mut unseen = vec![init];
    while let Some(pid) = unseen.pop() {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).map_err(Gap::io("/proc/PID/exe"))?;
        if exe != app {
            unseen.extend(children(pid)?);
            found.push(pid);
        }
    }
    Ok(found)
}

/// The number of threads.
pub fn threads(pid: Pid) -> Result<u64, Gap> {
    field(&read(&format!("/proc/{pid}/status"))?, "Threads:")
}

/// How often the threads of these processes have left a CPU, of their own will or not: for a process that
/// idles, how often it was woken.
pub fn switches(pids: &[Pid]) -> Result<u64, Gap> {
    let mut sum = 0;
    for pid in pids {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(Gap::io("/proc/PID/task"))?;
        for task in tasks.flatten() {
            let status = read(&format!("{}/status", task.path().display()))?;
            sum += field(&status, "voluntary_ctxt_switches:")?;
            sum += field(&status, "nonvoluntary_ctxt_switches:")?;
        }
    }
    Ok(sum)
}

/// Memory that these processes have written to and share with nobody, in bytes.
pub fn private_dirty(pids: &[Pid]) -> Result<u64, Gap> {
    let of = |pid: &Pid| field(&read(&format!("/proc/{pid}/smaps_rollup"))?, "Private_Dirty:");
    pids.iter().map(of).try_fold(0, |sum, kilobytes| Ok(sum + 1024 * kilobytes?))
}

fn read(path: &str) -> Result<String, Gap> {
    fs::read_to_string(path).map_err(Gap::io(path))
}

fn field(text: &str, name: &str) -> Result<u64, Gap> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok());
    number.ok_or_else(|| Gap::Harness(format!("no {name} in /proc")))
}
