//! Control groups v2: one tree, in which a group with processes has no groups below it.
//!
//! Not where ours is (`place`). To divide it, everybody in it moves to the leaf `init`, and then
//! all controllers are let through in one write: one by one, cpu or pids first, the group would
//! become threaded, and memory could not follow. Who is exec'ed into a container lands where PID 1
//! is, which is why that leaf has no limits. **Invariant:** a group that could not be divided is
//! left as it was found.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{failure, keyed, number, pids, read, write};
use super::{Kills, Limits, Obstacle, Place, Unheld, Used, Watch};
use crate::sys::reason;

/// Where everybody goes who is in no unit.
const INIT: &str = "init";

/// How often others may come in between (`docker exec`) before it is given up.
const ROUNDS: usize = 64;

/// cpu.max counts in periods of this many microseconds (the kernel's default).
const PERIOD: u64 = 100_000;

const READ_ONLY: &str = "run the container with --security-opt writable-cgroups=true (Docker 28 and \
    later), --systemd=always (Podman), or its runtime's option for writable cgroups";
const NOT_DELEGATED: &str = "let the runtime or systemd delegate it: Delegate=yes and User=, or \
    SELinux's container_manage_cgroup";
const BUSY: &str = "nothing but rinit may run in the container's own group while it starts";

/// Our group, divided.
#[derive(Debug)]
pub struct Tree {
    directory: PathBuf,
}

impl Tree {
    pub(super) fn acquire(place: &Place, controllers: &[&str]) -> Result<Tree, Obstacle> {
        let Some(directory) = place.v2.clone() else {
            let what = "no control group file system is mounted here".to_owned();
            return Err(Obstacle { what, help: NOT_DELEGATED });
        };
        let tree = Tree { directory };
        let wanted = tree.available(controllers);
        // Only the root of all has no type, and only it may have both processes and groups.
        match read(&tree.directory.join("cgroup.type")).trim() {
            "" => tree
                .let_through(&wanted)
                .map_err(|error| tree.obstacle("subtree_control", &error))?,
            "domain" => {
                place.is_ours(&tree.directory)?;
                tree.divide(&wanted)?;
            }
            kind => {
                let what = format!("the control group {} is {kind}", tree.directory.display());
                return Err(Obstacle { what, help: NOT_DELEGATED });
            }
        }
        Ok(tree)
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Those that there are here.
    fn available<'a>(&self, controllers: &[&'a str]) -> Vec<&'a str> {
        let text = read(&self.directory.join("cgroup.controllers"));
        let there = |name: &&&str| text.split_ascii_whitespace().any(|word| word == **name);
        controllers.iter().filter(there).copied().collect()
    }

    fn let_through(&self, controllers: &[&str]) -> io::Result<()> {
        let words: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        write(&self.directory.join("cgroup.subtree_control"), &words.join(" "))
    }

    /// Moves everybody out of the way, then lets the controllers through.
    fn divide(&self, controllers: &[&str]) -> Result<(), Obstacle> {
        let init = self.directory.join(INIT);
        match fs::create_dir(&init) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(self.obstacle("mkdir", &error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut last = io::Error::from_raw_os_error(libc::EBUSY);
        for _ in 0..ROUNDS {
            if let Err(error) = move_all(&self.directory, &init) {
                last = error;
                break;
            }
            match self.let_through(controllers) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            if last.raw_os_error() != Some(libc::EBUSY) {
                break;
            }
        }
        let _ = move_all(&init, &self.directory);
        let _ = fs::remove_dir(&init);
        Err(self.obstacle("subtree_control", &last))
    }

    /// Into a group that is divided already no process comes any more: one by one will do.
    pub(super) fn enable(&mut self, controllers: &[&str]) {
        for controller in self.available(controllers) {
            let _ = self.let_through(&[controller]); // the limit that needs it says so
        }
    }

    /// What the kernel's answer means here.
    fn obstacle(&self, at: &str, error: &io::Error) -> Obstacle {
        let path = self.directory.display();
        let (what, help) = match (error.raw_os_error().unwrap_or(0), at) {
            (libc::EROFS, _) => {
                (format!("the control group file system is read-only ({path})"), READ_ONLY)
            }
            (libc::EACCES | libc::EPERM, _) => (
                format!(
                    "the control group {path} is not delegated to uid {}",
                    crate::sys::own_uid()
                ),
                NOT_DELEGATED,
            ),
            (libc::EBUSY, _) => {
                (format!("other processes keep entering the control group {path}"), BUSY)
            }
            (libc::EOPNOTSUPP, _) => {
                let kind = read(&self.directory.join("cgroup.type"));
                (format!("the control group {path} is of type {:?}", kind.trim()), NOT_DELEGATED)
            }
            (libc::ENOENT, "subtree_control") => {
                (format!("the memory controller is not available in {path}"), NOT_DELEGATED)
            }
            (libc::EAGAIN, "mkdir") => (
                format!(
                    "{path} may have no more groups below it (cgroup.max.descendants, cgroup.max.depth)"
                ),
                "allow at least one group for each service",
            ),
            (errno, _) => (format!("{at} in {path}: {}", reason(errno)), NOT_DELEGATED),
        };
        Obstacle { what, help }
    }

    pub(super) fn slice(&self, path: &Path) -> io::Result<Leaf> {
        let directory = self.directory.join(path);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // What goes through us goes through it.
        let slice = Tree { directory };
        let controllers = read(&self.directory.join("cgroup.subtree_control"));
        let controllers: Vec<&str> = controllers.split_ascii_whitespace().collect();
        slice.let_through(&controllers)?;
        Ok(Leaf { directories: [slice.directory] })
    }

    pub(super) fn leaf(&self, path: &Path) -> io::Result<Leaf> {
        let directory = self.directory.join(path);
        fs::create_dir(&directory)?;
        Ok(Leaf { directories: [directory] })
    }
}

/// Everybody from one group to another. Who is gone meanwhile is no error.
fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let procs = to.join("cgroup.procs");
    for pid in pids(&read(&from.join("cgroup.procs"))) {
        match write(&procs, &pid.to_string()) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A unit's group.
#[derive(Debug)]
pub struct Leaf {
    directories: [PathBuf; 1],
}

impl Leaf {
    pub(super) fn path(&self) -> &Path {
        let [directory] = &self.directories;
        directory
    }

    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(super) fn limit(&self, limits: &Limits) -> Vec<Unheld> {
        let mut unheld = Vec::new();
        // The group must be one before its limit can be met, and swap be closed before that.
        if limits.kill_as_one {
            let _ = write(&self.file("memory.oom.group"), "1"); // Linux 4.19; else rinit kills the rest
        }
        let swap = Limit {
            directive: "MemorySwapMax",
            file: "memory.swap.max",
            value: limits.swap_max,
            none: "max",
        };
        match self.set(&swap) {
            Err(problem) if limits.swap_declared => unheld.push(problem),
            Ok(()) | Err(_) => {} // a kernel without swap, or one that does not count it
        }
        let rest = [
            Limit {
                directive: "MemoryMin",
                file: "memory.min",
                value: limits.memory_min,
                none: "0",
            },
            Limit {
                directive: "MemoryLow",
                file: "memory.low",
                value: limits.memory_low,
                none: "0",
            },
            Limit {
                directive: "MemoryHigh",
                file: "memory.high",
                value: limits.memory_high,
                none: "max",
            },
            Limit {
                directive: "MemoryMax",
                file: "memory.max",
                value: limits.memory_max,
                none: "max",
            },
            Limit { directive: "TasksMax", file: "pids.max", value: limits.tasks_max, none: "max" },
            Limit {
                directive: "CPUWeight",
                file: "cpu.weight",
                value: limits.cpu_weight,
                none: "100",
            },
            Limit {
                directive: "IOWeight",
                file: "io.weight",
                value: limits.io_weight,
                none: "100",
            },
        ];
        unheld.extend(rest.iter().filter_map(|limit| self.set(limit).err()));
        if let Some(quota) = limits.cpu_quota {
            let path = self.file("cpu.max");
            if let Err(error) = write(&path, &cpu_max(quota)) {
                unheld.push(Unheld { directive: "CPUQuota", why: failure(&path, &error) });
            }
        }
        unheld
    }

    /// Sets one limit and reads it back: the kernel rounds to pages.
    fn set(&self, limit: &Limit) -> Result<(), Unheld> {
        let path = self.file(limit.file);
        let unheld = |why: String| Unheld { directive: limit.directive, why };
        let Some(value) = limit.value else {
            // A leaf that somebody lived on in may have one from before.
            let _ = write(&path, limit.none);
            return Ok(());
        };
        write(&path, &value.to_string()).map_err(|error| unheld(failure(&path, &error)))?;
        match number(&path) {
            Some(held) if held > value => {
                Err(unheld(format!("{}: it is {held} still", limit.file)))
            }
            Some(_) | None => Ok(()), // `max` is more than the machine has
        }
    }

    pub(super) fn kills(&self) -> Kills {
        parse_events(&read(&self.file("memory.events")))
    }

    pub(super) fn watch(&self) -> Option<Watch> {
        File::open(self.file("memory.events")).ok().map(Watch::Events)
    }

    pub(super) fn used(&self) -> Used {
        let number = |name: &str| number(&self.file(name));
        let cpu = keyed(&read(&self.file("cpu.stat")), "usage_usec");
        Used {
            memory: number("memory.current"),
            memory_peak: number("memory.peak"),
            memory_max: number("memory.max"),
            memory_high: number("memory.high"),
            tasks: number("pids.current"),
            cpu: cpu.map(Duration::from_micros),
        }
    }

    pub(super) fn is_populated(&self) -> bool {
        keyed(&read(&self.file("cgroup.events")), "populated") == Some(1)
    }

    /// Whether the kernel did it (Linux 5.14).
    pub(super) fn kill(&self) -> bool {
        write(&self.file("cgroup.kill"), "1").is_ok()
    }

    pub(super) fn thaw(&self) {
        let _ = write(&self.file("cgroup.freeze"), "0"); // Linux 5.2
    }
}

/// One file with one number.
struct Limit {
    directive: &'static str,
    file: &'static str,
    value: Option<u64>,
    none: &'static str,
}

/// `QUOTA PERIOD`. A quota below the kernel's least of a millisecond gets a longer period.
fn cpu_max(quota: Duration) -> String {
    let in_a_second = u64::try_from(quota.as_micros()).unwrap_or(u64::MAX);
    match in_a_second / (1_000_000 / PERIOD) {
        small if small < 1000 => format!("{} 1000000", in_a_second.max(1000)),
        quota => format!("{quota} {PERIOD}"),
    }
}

fn parse_events(text: &str) -> Kills {
    let count = |key: &str| keyed(text, key).unwrap_or(0);
    Kills { over_limit: count("oom"), killed: count("oom_kill") }
}

/// What an open `memory.events` says now.
pub(super) fn read_watched(file: &File) -> Option<Kills> {
    let mut buffer = [0; 512];
    let size = file.read_at(&mut buffer, 0).ok()?;
    Some(parse_events(std::str::from_utf8(buffer.get(..size)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time() {
        for (percent, expected) in [
            (100_u64, "100000 100000"),
            (150, "150000 100000"),
            (20, "20000 100000"),
            (1, "1000 100000"),
        ] {
            assert_eq!(cpu_max(Duration::from_millis(percent * 10)), expected);
        }
        assert_eq!(cpu_max(Duration::from_micros(5000)), "5000 1000000");
        assert_eq!(cpu_max(Duration::from_micros(100)), "1000 1000000");
    }

    #[test]
    fn events() {
        let text = "low 0\nhigh 3\nmax 7\noom 2\noom_kill 5\noom_group_kill 1\n";
        assert_eq!(parse_events(text), Kills { over_limit: 2, killed: 5 });
        assert_eq!(parse_events(""), Kills::default());
    }
}
