//! What the container may use: the limits on the way from our own cgroup up to the root that can
//! be seen (cgroups(7)), and what the machine has.
//!
//! Not the arithmetic (`unit::budget`, `unit::instances`) and not the limits of units. A file
//! that is not there is no limit.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::unit::budget::Room;
use crate::unit::instances::{CpuQuota, parse_cfs_quota, parse_cpu_max, parse_memory_max};

/// Where cgroups are mounted, by convention of every runtime.
const MOUNT: &str = "/sys/fs/cgroup";

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Container {
    /// The tightest quota of processor time.
    pub quota: Option<CpuQuota>,
    /// Memory and swap.
    pub room: Room,
}

impl Container {
    /// Reads it now.
    pub fn read() -> Container {
        limits(Path::new(MOUNT), &own_cgroup(), &read(Path::new("/proc/meminfo")))
    }
}

/// Where the kernel counts the processes of our own cgroup that it killed for memory: a line
/// `oom_kill` of memory.events, or of memory.oom_control in v1.
pub fn oom_counter() -> Option<File> {
    let (mount, own) = (Path::new(MOUNT), own_cgroup());
    let v2 = directories(mount, &own, "").into_iter().map(|it| it.join("memory.events"));
    let v1 = directories(mount, &own, "memory").into_iter().map(|it| it.join("memory.oom_control"));
    v2.chain(v1).find_map(|path| File::open(path).ok())
}

fn own_cgroup() -> String {
    read(Path::new("/proc/self/cgroup"))
}

fn limits(mount: &Path, own: &str, meminfo: &str) -> Container {
    let (mut quotas, mut memory, mut swap) = (Vec::new(), Vec::new(), Vec::new());
    for directory in directories(mount, own, "") {
        quotas.extend(parse_cpu_max(&read(&directory.join("cpu.max"))));
        memory.extend(parse_memory_max(&read(&directory.join("memory.max"))));
        swap.extend(parse_memory_max(&read(&directory.join("memory.swap.max"))));
    }
    for directory in directories(mount, own, "cpu") {
        let file = |name: &str| read(&directory.join(name));
        quotas.extend(parse_cfs_quota(&file("cpu.cfs_quota_us"), &file("cpu.cfs_period_us")));
    }
    for directory in directories(mount, own, "memory") {
        let file = |name: &str| parse_memory_max(&read(&directory.join(name)));
        let (limit, both) = (file("memory.limit_in_bytes"), file("memory.memsw.limit_in_bytes"));
        swap.extend(limit.zip(both).map(|(limit, both)| both.saturating_sub(limit)));
        memory.extend(limit);
    }
    // Which of two quotas is tighter, without a division: a/b < c/d.
    let product = |a: &CpuQuota, b: &CpuQuota| u128::from(a.quota) * u128::from(b.period);
    let limit = memory.into_iter().min();
    let machine = |name| kibibytes(meminfo, name);
    let room = Room {
        memory: [limit, machine("MemTotal")].into_iter().flatten().min(),
        swap: swap.into_iter().chain(machine("SwapTotal")).min(),
        limited: limit.is_some_and(|limit| machine("MemTotal").is_none_or(|all| limit < all)),
    };
    Container { quota: quotas.into_iter().min_by(|a, b| product(a, b).cmp(&product(b, a))), room }
}

/// A line of /proc/meminfo (proc(5)), in bytes.
fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Our cgroup of a v1 controller, or of v2 (""), and all above it. Where the path is the host's
/// and the mount is the container's, the mount itself is ours.
fn directories(mount: &Path, own: &str, controller: &str) -> Vec<PathBuf> {
    let root = if controller.is_empty() { mount.to_path_buf() } else { mount.join(controller) };
    let ours = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|name| name == controller).then_some(parts.next()?)
    });
    let path = root.join(ours.unwrap_or("/").trim_start_matches('/'));
    let up = path.ancestors().take_while(|directory| directory.starts_with(&root));
    up.map(Path::to_path_buf).collect()
}

/// Empty where it cannot be read.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    const MEMINFO: &str = "MemTotal:        4194304 kB\nMemFree: 1 kB\nSwapTotal: 1024 kB\n";

    #[test]
    fn the_tightest_limit_on_the_way_up() {
        let v2 = tree(&[
            ("cpu.max", "max 100000\n"),
            ("a/cpu.max", "150000 100000\n"),
            ("a/b/cpu.max", "400000 200000\n"),
            ("a/memory.max", "1073741824\n"),
            ("a/memory.swap.max", "0\n"),
            ("a/b/memory.max", "max\n"),
        ]);
        let found = limits(v2.path(), "0::/a/b\n", MEMINFO);
        assert_eq!(found.quota, Some(CpuQuota { quota: 150_000, period: 100_000 }));
        let room = Room { memory: Some(1 << 30), swap: Some(0), limited: true };
        assert_eq!(found.room, room);
        let root = limits(v2.path(), "0::/\n", MEMINFO);
        let room = Room { memory: Some(4 << 30), swap: Some(1 << 20), limited: false };
        assert_eq!((root.quota, root.room), (None, room));
        assert_eq!(limits(v2.path(), "0::/\n", "").room, Room::default());
    }

    #[test]
    fn v1_whose_path_is_the_hosts() {
        let v1 = tree(&[
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "536870912\n"),
            ("memory/memory.memsw.limit_in_bytes", "805306368\n"),
        ]);
        let own = "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n";
        let found = limits(v1.path(), own, "");
        assert_eq!(found.quota, Some(CpuQuota { quota: 50_000, period: 100_000 }));
        let room = Room { memory: Some(512 << 20), swap: Some(256 << 20), limited: true };
        assert_eq!(found.room, room);
    }
}
