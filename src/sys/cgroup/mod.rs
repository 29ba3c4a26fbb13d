//! Control groups: a leaf for each unit, with its limits, its counters and its processes.
//!
//! Not which unit has one, nor what a kill means (`init::memory`). `place` finds out what there is
//! and whether it is ours, `v2` and `v1` are the two kinds (cgroups(7), the kernel's
//! cgroup-v2.rst). **Invariant:** no process is moved that is not ours to move, and a group that
//! could not be had is left as it was found.

mod file;
mod place;
mod v1;
mod v2;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use place::Place;

use super::{Pid, kill, proc};
use crate::unit::process::Signal;

/// How often a kill looks again for those who forked meanwhile, where the kernel does not do it.
const KILL_ROUNDS: usize = 32;

/// So many groups of one name, all but one of them left by units that left somebody behind.
const SAME_NAME_MAX: u32 = 64;

/// Why there are no control groups here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obstacle {
    /// What is in the way, as a sentence.
    pub what: String,
    /// What would help, such as an option of the runtime.
    pub help: &'static str,
}

/// Which of the kernel's two kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// One tree.
    V2,
    /// A tree for each controller.
    V1,
}

/// What a unit may use, in numbers; `None` is no limit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `MemoryMax=`, bytes.
    pub memory_max: Option<u64>,
    /// `MemoryHigh=`, bytes.
    pub memory_high: Option<u64>,
    /// `MemoryMin=`, bytes.
    pub memory_min: Option<u64>,
    /// `MemoryLow=`, bytes.
    pub memory_low: Option<u64>,
    /// `MemorySwapMax=`, bytes.
    pub swap_max: Option<u64>,
    /// The operator gave `MemorySwapMax=`: where it does not hold, that is worth a word.
    pub swap_declared: bool,
    /// A kill for memory is for all processes.
    pub kill_as_one: bool,
    /// `TasksMax=`.
    pub tasks_max: Option<u64>,
    /// `CPUQuota=`: processor time in a second.
    pub cpu_quota: Option<Duration>,
    /// `CPUWeight=`.
    pub cpu_weight: Option<u64>,
    /// `IOWeight=`.
    pub io_weight: Option<u64>,
}

/// A limit that could not be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unheld {
    /// The directive.
    pub directive: &'static str,
    /// Why, as in `cpu.max: No such file or directory`.
    pub why: String,
}

/// How often the kernel met the memory limit of a leaf, and killed in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kills {
    /// An allocation was about to fail because of the leaf's own limit.
    pub over_limit: u64,
    /// Processes of the leaf that were killed, whoever's limit it was.
    pub killed: u64,
}

/// What a leaf uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Bytes now.
    pub memory: Option<u64>,
    /// Bytes at most.
    pub memory_peak: Option<u64>,
    /// The limit as the kernel has it.
    pub memory_max: Option<u64>,
    /// `memory.high` as the kernel has it.
    pub memory_high: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Processor time.
    pub cpu: Option<Duration>,
}

/// The part of the control groups that is ours to divide.
#[derive(Debug)]
pub enum Tree {
    /// A directory.
    V2(v2::Tree),
    /// A directory for each controller.
    V1(v1::Tree),
}

impl Tree {
    /// Takes our own control group, so that leaves can be made below it: in v2 everybody in it,
    /// ourselves included, moves to the leaf `init`.
    ///
    /// # Errors
    /// There is none, or it is not ours to divide.
    pub fn acquire(place: &Place, controllers: &[&str]) -> Result<Tree, Obstacle> {
        match place.version()? {
            Version::V2 => v2::Tree::acquire(place, controllers).map(Tree::V2),
            Version::V1 => v1::Tree::acquire(place, controllers).map(Tree::V1),
        }
    }

    /// Which kind it is.
    pub fn version(&self) -> Version {
        match self {
            Tree::V2(_) => Version::V2,
            Tree::V1(_) => Version::V1,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Tree::V2(tree) => tree.path(),
            Tree::V1(tree) => tree.path(),
        }
    }

    /// Lets leaves have limits of these controllers, too.
    pub fn enable(&mut self, controllers: &[&str]) {
        match self {
            Tree::V2(tree) => tree.enable(controllers),
            Tree::V1(tree) => tree.enable(controllers),
        }
    }

    /// The group of a slice, which holds groups and no processes; made if it is not there. Those
    /// that hold it come first.
    ///
    /// # Errors
    /// mkdir(2)'s.
    pub fn slice(&self, path: &[&str]) -> io::Result<Leaf> {
        let path: PathBuf = path.iter().map(|name| escaped(name)).collect();
        match self {
            Tree::V2(tree) => tree.slice(&path).map(Leaf::V2),
            Tree::V1(tree) => tree.slice(&path).map(Leaf::V1),
        }
    }

    /// A new leaf, named like the unit, below these slices. If somebody who was left to live still
    /// has one of that name, it gets a number.
    ///
    /// # Errors
    /// mkdir(2)'s.
    pub fn leaf(&self, slices: &[&str], name: &str) -> io::Result<Leaf> {
        let slices: PathBuf = slices.iter().map(|name| escaped(name)).collect();
        let name = escaped(name);
        for n in 1..SAME_NAME_MAX {
            let own = if n == 1 { name.clone() } else { format!("{name}.{n}") };
            let path = slices.join(own);
            let made = match self {
                Tree::V2(tree) => tree.leaf(&path).map(Leaf::V2),
                Tree::V1(tree) => tree.leaf(&path).map(Leaf::V1),
            };
            match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }

    /// Removes what was made beside the leaves and is not needed after us.
    pub fn remove(&self) {
        match self {
            Tree::V2(_) => (), // we are in it
            Tree::V1(tree) => tree.remove(),
        }
    }
}

/// One unit's control group; it may be several directories in v1.
#[derive(Debug)]
pub enum Leaf {
    /// A directory.
    V2(v2::Leaf),
    /// A directory for each controller.
    V1(v1::Leaf),
}

impl Leaf {
    /// Sets the limits; those that do not hold.
    pub fn limit(&self, limits: &Limits) -> Vec<Unheld> {
        match self {
            Leaf::V2(leaf) => leaf.limit(limits),
            Leaf::V1(leaf) => leaf.limit(limits),
        }
    }

    /// What a child enters by (`ExecPlan::cgroups`).
    pub fn entrances(&self) -> Vec<CString> {
        let entrance = |directory: &PathBuf| file::c_path(&directory.join("cgroup.procs"));
        self.directories().iter().filter_map(entrance).collect()
    }

    /// As systemd's `ControlGroup` property has it: below the mount point.
    pub fn path(&self) -> &Path {
        match self {
            Leaf::V2(leaf) => leaf.path(),
            Leaf::V1(leaf) => leaf.path(),
        }
    }

    /// What was counted so far.
    pub fn kills(&self) -> Kills {
        match self {
            Leaf::V2(leaf) => leaf.kills(),
            Leaf::V1(leaf) => leaf.kills(),
        }
    }

    /// What it uses.
    pub fn used(&self) -> Used {
        match self {
            Leaf::V2(leaf) => leaf.used(),
            Leaf::V1(leaf) => leaf.used(),
        }
    }

    /// A descriptor that has news when [`Leaf::kills`] has, or `None`.
    pub fn watch(&self) -> Option<Watch> {
        match self {
            Leaf::V2(leaf) => leaf.watch(),
            Leaf::V1(leaf) => leaf.watch(),
        }
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> Vec<Pid> {
        let directories = self.directories().iter();
        let mut pids: Vec<Pid> = directories.flat_map(|path| file::processes(path)).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.retain(|pid| *pid > 0); // 0 is one that we cannot see from our pid namespace
        pids
    }

    /// Whether somebody lives in it.
    pub fn is_populated(&self) -> bool {
        match self {
            Leaf::V2(leaf) => leaf.is_populated(),
            Leaf::V1(_) => !self.processes().is_empty(),
        }
    }

    /// Kills everybody in it at once, whoever forks meanwhile included.
    pub fn kill(&self) {
        let done = match self {
            Leaf::V2(leaf) => leaf.kill(),
            Leaf::V1(_) => false,
        };
        if !done {
            self.kill_one_by_one();
        }
    }

    /// Before Linux 5.14. Who is not dead after all rounds forks faster than we look.
    fn kill_one_by_one(&self) {
        for _ in 0..KILL_ROUNDS {
            let living = self.processes().into_iter().filter_map(proc::stat);
            let living: Vec<proc::Stat> = living.filter(proc::Stat::is_alive).collect();
            if living.is_empty() {
                return;
            }
            for stat in living {
                kill::stranger(stat.pid, stat.started, Signal::KILL);
            }
        }
    }

    /// Lets go on what was frozen, so that it can get a signal.
    pub fn thaw(&self) {
        match self {
            Leaf::V2(leaf) => leaf.thaw(),
            Leaf::V1(_) => (),
        }
    }

    /// Removes it with what is below it.
    ///
    /// # Errors
    /// rmdir(2)'s; EBUSY while somebody lives in it.
    pub fn remove(&self) -> io::Result<()> {
        self.directories().iter().try_for_each(|directory| file::remove(directory))
    }

    fn directories(&self) -> &[PathBuf] {
        match self {
            Leaf::V2(leaf) => leaf.directories(),
            Leaf::V1(leaf) => leaf.directories(),
        }
    }
}

/// What says that the kernel killed in a leaf, or is about to.
#[derive(Debug)]
pub enum Watch {
    /// `memory.events`: it has priority news (`EPOLLPRI`) when it changed since it was read.
    Events(std::fs::File),
    /// An eventfd(2) that becomes readable when the limit is met, just before the kill.
    Limit(std::fs::File),
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Watch::Events(file) | Watch::Limit(file) => file.as_raw_fd(),
        }
    }
}

impl Watch {
    /// What was counted, if that is what it tells; after this it has news only when that changes.
    pub fn read(&self) -> Option<Kills> {
        match self {
            Watch::Events(file) => v2::read_watched(file),
            Watch::Limit(file) => {
                v1::drain(file);
                None
            }
        }
    }

    /// Whether its news come before the kill that they are of.
    pub fn is_early(&self) -> bool {
        matches!(self, Watch::Limit(_))
    }
}

/// The name of a directory that the kernel can never take for a file of its own
/// (systemd's `cg_escape`).
fn escaped(name: &str) -> String {
    const FILES: [&str; 3] = ["notify_on_release", "release_agent", "tasks"];
    const PREFIXES: [&str; 12] = [
        "cgroup.", "memory.", "pids.", "cpu.", "cpuset.", "cpuacct.", "io.", "blkio.", "devices.",
        "freezer.", "hugetlb.", "rdma.",
    ];
    let reserved = name.starts_with(['_', '.'])
        || FILES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if reserved { format!("_{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_does_not_take() {
        for (name, expected) in [
            ("web@1.service", "web@1.service"),
            ("memory.service", "_memory.service"),
            ("_x.service", "__x.service"),
            ("tasks", "_tasks"),
            ("memory-hog.service", "memory-hog.service"),
        ] {
            assert_eq!(escaped(name), expected);
        }
    }
}
