//! Control groups v1: a tree for each controller, in which any group may have processes.
//!
//! Not where ours are (`place`). A kill for memory takes one process, so the rest is rinit's to
//! kill. **Invariant:** what we make is below a directory of our own, since others may be in the
//! group that we are in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};

use super::file::{self, failure, keyed, number, read, write};
use super::{Kills, Limits, Obstacle, Place, Unheld, Used, Watch};
use crate::sys::{cvt, errno_of, reason};

/// More of us than this are not in one group.
const NEIGHBOURS_MAX: u32 = 256;

/// Above this the kernel means that there is no limit (`PAGE_COUNTER_MAX`, in pages).
const UNLIMITED: u64 = 1 << 62;

/// The kernel charges in batches: a full group may lack so many bytes.
const BATCH: u64 = 4 << 20;

/// cpu.cfs_quota_us counts in periods of this many microseconds.
const PERIOD: u64 = 100_000;

/// What `CPUWeight=100` is in cpu.shares.
const SHARES: u64 = 1024;

/// Our directory in the tree of each controller.
#[derive(Debug)]
pub struct Tree {
    memory: PathBuf,
    others: BTreeMap<&'static str, PathBuf>,
    place: Place,
}

impl Tree {
    pub(super) fn acquire(place: &Place, controllers: &[&str]) -> Result<Tree, Obstacle> {
        let none = || Obstacle {
            what: "there is no memory controller here".to_owned(),
            help: "mount cgroup2 on /sys/fs/cgroup",
        };
        let own = place.v1.get("memory").ok_or_else(none)?;
        let memory = own_directory(own).map_err(|error| obstacle(own, &error))?;
        let mut tree = Tree { memory, others: BTreeMap::new(), place: place.clone() };
        tree.enable(controllers);
        Ok(tree)
    }

    pub(super) fn path(&self) -> &Path {
        &self.memory
    }

    pub(super) fn enable(&mut self, controllers: &[&str]) {
        for name in ["pids", "cpu"] {
            if self.others.contains_key(name) || !controllers.contains(&name) {
                continue;
            }
            // Where it cannot be had, the limit that needs it says so.
            let made = self.place.v1.get(name).map(|own| own_directory(own));
            if let Some(Ok(directory)) = made {
                self.others.insert(name, directory);
            }
        }
    }

    pub(super) fn slice(&self, path: &Path) -> io::Result<Leaf> {
        self.make(path, |directory| match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        })
    }

    pub(super) fn leaf(&self, path: &Path) -> io::Result<Leaf> {
        self.make(path, |directory| fs::create_dir(directory))
    }

    fn make(&self, path: &Path, mkdir: impl Fn(&Path) -> io::Result<()>) -> io::Result<Leaf> {
        let trees = [("memory", &self.memory)].into_iter();
        let trees = trees.chain(self.others.iter().map(|(name, path)| (*name, path)));
        let mut leaf = Leaf { directories: Vec::new(), controllers: Vec::new() };
        for (controller, tree) in trees {
            let directory = tree.join(path);
            if let Err(error) = mkdir(&directory) {
                let _ = leaf.directories.iter().try_for_each(fs::remove_dir);
                return Err(error);
            }
            leaf.directories.push(directory);
            leaf.controllers.push(controller);
        }
        Ok(leaf)
    }

    pub(super) fn remove(&self) {
        for directory in self.others.values().chain([&self.memory]) {
            let _ = file::remove(directory); // somebody who was left to live keeps it
        }
    }
}

/// `rinit`, or `rinit.2` beside another of us.
fn own_directory(own: &Path) -> io::Result<PathBuf> {
    for n in 1..NEIGHBOURS_MAX {
        let name = if n == 1 { "rinit".to_owned() } else { format!("rinit.{n}") };
        let directory = own.join(name);
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

fn obstacle(own: &Path, error: &io::Error) -> Obstacle {
    let path = own.display();
    let (what, help) = match errno_of(error) {
        libc::EROFS => (
            format!("the control group file system is read-only ({path})"),
            "use control groups v2 with a writable tree, or mount the container's own v1 group writable",
        ),
        libc::EACCES | libc::EPERM => (
            format!("the control group {path} is not delegated to uid {}", crate::sys::own_uid()),
            "let the runtime or systemd delegate it",
        ),
        errno => (format!("mkdir in {path}: {}", reason(errno)), "let the runtime delegate it"),
    };
    Obstacle { what, help }
}

fn eventfd() -> io::Result<File> {
    // SAFETY: eventfd takes two numbers.
    let fd = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Takes what an eventfd has, so that the next is news.
pub(super) fn drain(file: &File) {
    let mut file = file;
    let _ = file.read(&mut [0; 8]);
}

/// A unit's group in each tree.
#[derive(Debug)]
pub struct Leaf {
    /// The first is memory's.
    directories: Vec<PathBuf>,
    controllers: Vec<&'static str>,
}

impl Leaf {
    pub(super) fn path(&self) -> &Path {
        self.directories.first().map_or(Path::new(""), PathBuf::as_path)
    }

    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// A file of a controller; of none that we have: one that is not there.
    fn file(&self, name: &str) -> PathBuf {
        // What is the groups' own is in memory's, which is the first.
        let controller = match name.split('.').next() {
            Some("cgroup") | None => "memory",
            Some(controller) => controller,
        };
        let at = self.controllers.iter().position(|known| *known == controller);
        at.and_then(|at| self.directories.get(at)).unwrap_or(&PathBuf::new()).join(name)
    }

    pub(super) fn limit(&self, limits: &Limits) -> Vec<Unheld> {
        let mut unheld = Vec::new();
        let mut set = |directive: &'static str, name: &str, value: Option<u64>| {
            let Some(value) = value else { return };
            let path = self.file(name);
            if let Err(error) = write(&path, &value.to_string()) {
                unheld.push(Unheld { directive, why: failure(&path, &error) });
            }
        };
        set("MemoryMax", "memory.limit_in_bytes", limits.memory_max);
        // Memory and swap together; a kernel need not count swap.
        let both =
            limits.memory_max.zip(limits.swap_max).map(|(max, swap)| max.saturating_add(swap));
        if self.file("memory.memsw.limit_in_bytes").exists() {
            set("MemorySwapMax", "memory.memsw.limit_in_bytes", both);
        }
        set("TasksMax", "pids.max", limits.tasks_max);
        set(
            "CPUWeight",
            "cpu.shares",
            limits.cpu_weight.map(|weight| (weight * SHARES / 100).max(2)),
        );
        let quota = limits.cpu_quota.map(|it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX));
        set("CPUQuota", "cpu.cfs_quota_us", quota.map(|it| (it / (1_000_000 / PERIOD)).max(1000)));
        for (directive, asked) in [
            ("MemoryHigh", limits.memory_high),
            ("MemoryLow", limits.memory_low),
            ("MemoryMin", limits.memory_min),
            ("IOWeight", limits.io_weight),
        ] {
            if asked.is_some() {
                unheld.push(Unheld {
                    directive,
                    why: "control groups v1 have no such limit".to_owned(),
                });
            }
        }
        unheld
    }

    pub(super) fn kills(&self) -> Kills {
        let count = |name: &str| number(&self.file(name)).unwrap_or(0);
        let killed = keyed(&read(&self.file("memory.oom_control")), "oom_kill").unwrap_or(0);
        let failed = count("memory.failcnt") + count("memory.memsw.failcnt");
        // Linux 6.16 and later count no failure of the second, which fails first.
        let limit = number(&self.file("memory.limit_in_bytes")).unwrap_or(u64::MAX);
        let was_full = count("memory.max_usage_in_bytes") >= limit.saturating_sub(BATCH);
        let over_limit = failed + if was_full { killed } else { 0 };
        Kills { over_limit, killed }
    }

    /// The kernel tells an eventfd when the limit is met (cgroup-v1/memory.rst, "OOM Control").
    pub(super) fn watch(&self) -> Option<Watch> {
        let file = eventfd().ok()?;
        let control = File::open(self.file("memory.oom_control")).ok()?;
        let line = format!("{} {}", file.as_raw_fd(), control.as_raw_fd());
        write(&self.file("cgroup.event_control"), &line).ok()?;
        Some(Watch::Limit(file))
    }

    pub(super) fn used(&self) -> Used {
        let number = |name: &str| number(&self.file(name));
        Used {
            memory: number("memory.usage_in_bytes"),
            memory_peak: number("memory.max_usage_in_bytes"),
            memory_max: number("memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED),
            memory_high: None,
            tasks: number("pids.current"),
            cpu: None,
        }
    }
}
