//! What this container may use, and how many instances `Instances = "auto"` is by that.
//!
//! Not the arithmetic (`unit::instances`) and not the limits of units. The tightest limit on the
//! way from our own cgroup up to the root that can be seen counts (cgroups(7)); a file that is
//! not there is no limit. **Invariant:** after [`settle`] no unit says `auto`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::affinity;
use crate::unit::UnitSet;
use crate::unit::instances::{
    Capacity, CpuQuota, parse_cfs_quota, parse_cpu_max, parse_memory_max, resolve,
};
use crate::unit::rolling::Instances;

/// Where cgroups are mounted, by convention of every runtime.
const MOUNT: &str = "/sys/fs/cgroup";

/// Puts the number in the place of every `auto`; a sentence for each, for the log.
pub fn settle(units: &mut UnitSet) -> Vec<String> {
    let auto = |unit: &Arc<crate::unit::Unit>| unit.service.instances == Some(Instances::Auto);
    if !units.units.values().any(auto) {
        return Vec::new(); // nothing is read for those who do not ask
    }
    let capacity = capacity(Path::new(MOUNT), &read(Path::new("/proc/self/cgroup")));
    let mut notes = Vec::new();
    for unit in units.units.values_mut().filter(|unit| auto(unit)) {
        // No MemoryMax= is enforced yet, so none divides the memory.
        let (count, arithmetic) = resolve(Instances::Auto, &capacity, None);
        notes.push(format!("{}: Instances={arithmetic}", unit.name));
        Arc::make_mut(unit).service.instances = Some(Instances::Count(count));
    }
    notes
}

fn capacity(mount: &Path, own: &str) -> Capacity {
    let mut quotas = Vec::new();
    let mut limits = Vec::new();
    for directory in directories(mount, own, "") {
        quotas.extend(parse_cpu_max(&read(&directory.join("cpu.max"))));
        limits.extend(parse_memory_max(&read(&directory.join("memory.max"))));
    }
    for directory in directories(mount, own, "cpu") {
        let file = |name: &str| read(&directory.join(name));
        quotas.extend(parse_cfs_quota(&file("cpu.cfs_quota_us"), &file("cpu.cfs_period_us")));
    }
    for directory in directories(mount, own, "memory") {
        limits.extend(parse_memory_max(&read(&directory.join("memory.limit_in_bytes"))));
    }
    // Which of two quotas is tighter, without a division: a/b < c/d.
    let product = |a: &CpuQuota, b: &CpuQuota| u128::from(a.quota) * u128::from(b.period);
    Capacity {
        quota: quotas.into_iter().min_by(|a, b| product(a, b).cmp(&product(b, a))),
        affinity: affinity::processors(),
        memory: limits.into_iter().min(),
    }
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

    #[test]
    fn the_tightest_limit_on_the_way_up() {
        let v2 = tree(&[
            ("cpu.max", "max 100000\n"),
            ("a/cpu.max", "150000 100000\n"),
            ("a/b/cpu.max", "400000 200000\n"),
            ("a/memory.max", "1073741824\n"),
            ("a/b/memory.max", "max\n"),
        ]);
        let found = capacity(v2.path(), "0::/a/b\n");
        assert_eq!(found.quota, Some(CpuQuota { quota: 150_000, period: 100_000 }));
        assert_eq!(found.memory, Some(1 << 30));
        let root = capacity(v2.path(), "0::/\n");
        assert_eq!((root.quota, root.memory), (None, None));
    }

    #[test]
    fn v1_whose_path_is_the_hosts() {
        let v1 = tree(&[
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "536870912\n"),
        ]);
        let own = "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n";
        let found = capacity(v1.path(), own);
        assert_eq!(found.quota, Some(CpuQuota { quota: 50_000, period: 100_000 }));
        assert_eq!(found.memory, Some(512 << 20));
        assert!(found.affinity >= 1);
    }
}
