//! Where our own control group is, and whether it is ours to divide.
//!
//! Not the dividing (`v2`, `v1`). What is mounted is told by its type in `/proc/self/mountinfo`
//! and never by what can be made there: below `/sys/fs/cgroup` of a container with v1 is a tmpfs in
//! which mkdir(2) succeeds and means nothing. **Invariant:** a group outside the root of our cgroup
//! namespace is not ours (its path begins with `/..`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{pids, read};
use super::{Obstacle, Version};
use crate::sys::{Pid, own_pid, proc};

/// The initial cgroup namespace, on every Linux (`PROC_CGROUP_INIT_INO` of `linux/proc_ns.h`).
const INITIAL: &str = "cgroup:[4026531835]";

/// Longer lines of ancestors nobody has.
const ANCESTORS_MAX: usize = 1024;

/// What there is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Our group in the tree of v2.
    pub(super) v2: Option<PathBuf>,
    /// Our group in each controller's tree of v1.
    pub(super) v1: BTreeMap<String, PathBuf>,
    /// All in it is ours: we are the first process of the container, or it is the container's.
    whole: bool,
}

impl Place {
    /// Looks where we are.
    pub fn find() -> Place {
        let own = read(Path::new("/proc/self/cgroup"));
        let mut place = parse(&own, &read(Path::new("/proc/self/mountinfo")), Path::is_dir);
        let at_root = own.lines().any(|line| line == "0::/");
        let namespace = fs::read_link("/proc/self/ns/cgroup").unwrap_or_default();
        let in_namespace = at_root && namespace.as_os_str() != INITIAL;
        place.whole = own_pid() == 1 || in_namespace;
        place
    }

    /// Which kind has the memory controller.
    pub(super) fn version(&self) -> Result<Version, Obstacle> {
        let controllers = self.v2.as_ref().map(|own| read(&own.join("cgroup.controllers")));
        let has_memory = |text: &String| text.split_ascii_whitespace().any(|name| name == "memory");
        if controllers.as_ref().is_some_and(has_memory) {
            return Ok(Version::V2);
        }
        if self.v1.contains_key("memory") {
            return Ok(Version::V1);
        }
        let what = match (&self.v2, controllers) {
            (Some(own), Some(_)) => format!(
                "the memory controller is not delegated to this control group ({}/cgroup.controllers)",
                own.display()
            ),
            (_, _) => "no control group file system that shows rinit's own group is mounted here"
                .to_owned(),
        };
        Err(Obstacle { what, help: "mount cgroup2 on /sys/fs/cgroup, or let the runtime do it" })
    }

    /// Whether everybody in the group may be moved.
    ///
    /// # Errors
    /// Somebody is in it who is none of ours.
    pub(super) fn is_ours(&self, directory: &Path) -> Result<(), Obstacle> {
        let inside = pids(&read(&directory.join("cgroup.procs")));
        let is_other = |pid: &&Pid| if self.whole { **pid == 0 } else { !stems_from_us(**pid) };
        let others = inside.iter().filter(is_other).count();
        if others == 0 {
            return Ok(());
        }
        Err(Obstacle {
            what: format!(
                "rinit shares its control group {} with {others} processes that are not its own",
                directory.display()
            ),
            help: "give it one of its own: Delegate=yes in its systemd unit, or a container",
        })
    }
}

/// Whether it is us, or a process below us: our journal, and services that run since before a
/// group was needed. Who is gone by now is in nobody's way.
fn stems_from_us(pid: Pid) -> bool {
    let mut current = pid;
    for _ in 0..ANCESTORS_MAX {
        if current <= 1 {
            return false;
        }
        if current == own_pid() {
            return true;
        }
        match proc::stat(current) {
            Some(stat) => current = stat.parent,
            None => return true,
        }
    }
    false
}

/// From `/proc/self/cgroup` (cgroups(7)) and `/proc/self/mountinfo` (proc(5)).
fn parse(own: &str, mounts: &str, exists: impl Fn(&Path) -> bool) -> Place {
    let mut place = Place::default();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let found = |controller: &str| {
            let mut all = mounts.lines().filter_map(|line| directory(line, controller, path));
            all.find(|path| exists(path))
        };
        if controllers.is_empty() {
            place.v2 = found("");
            continue;
        }
        for controller in controllers.split(',') {
            if let Some(path) = found(controller) {
                place.v1.insert(controller.to_owned(), path);
            }
        }
    }
    place
}

/// Where the group `path` is seen, if this line of mountinfo is a mount of its tree.
fn directory(line: &str, controller: &str, path: &str) -> Option<PathBuf> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let matches = match (kind, controller) {
        ("cgroup2", "") => true,
        ("cgroup", "") => false,
        ("cgroup", name) => options.split(',').any(|option| option == name),
        (_, _) => false,
    };
    let mut left = left.split(' ').skip(3);
    let (root, target) = (left.next()?, left.next()?);
    if !matches || path.starts_with("/..") {
        return None;
    }
    // Where the mount shows only a part of the tree, that must be a part that we are in.
    let root = root.trim_end_matches('/');
    let below = path.strip_prefix(root)?;
    if !(below.is_empty() || below.starts_with('/')) {
        return None;
    }
    let components = Path::new(below).components().skip(1);
    Some(Path::new(target).components().chain(components).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 20 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate";

    fn v2(own: &str, mounts: &str) -> Option<String> {
        let found = parse(own, mounts, |_| true).v2;
        found.map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn who_stems_from_us() {
        let own = own_pid();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        let parent = proc::stat(own).unwrap().parent;
        assert!(stems_from_us(own) && stems_from_us(pid));
        assert!(!stems_from_us(parent) && !stems_from_us(1) && !stems_from_us(0));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn in_the_one_tree() {
        let part = "30 20 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let outside = "30 20 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw";
        for (own, mounts, expected) in [
            ("0::/\n", V2, Some("/sys/fs/cgroup")),
            ("0::/a/b\n", V2, Some("/sys/fs/cgroup/a/b")),
            ("0::/docker/x\n", part, Some("/sys/fs/cgroup")),
            ("0::/docker/x/init\n", part, Some("/sys/fs/cgroup/init")),
            ("0::/docker/xyz\n", part, None),
            ("0::/../other\n", V2, None),
            ("0::/\n", outside, None),
            ("0::/\n", "", None),
            ("", V2, None),
        ] {
            assert_eq!(v2(own, mounts).as_deref(), expected, "{own} {mounts}");
        }
    }

    #[test]
    fn a_tree_for_each_controller() {
        // The tmpfs in between is no control group, whatever can be made in it.
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
35 31 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
garbage
";
        let own = "8:pids:/docker/x\n4:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n0::/docker/x\n";
        let found = parse(own, mounts, |_| true);
        let texts: Vec<(&str, &str)> =
            found.v1.iter().map(|(name, path)| (name.as_str(), path.to_str().unwrap())).collect();
        assert_eq!(
            texts,
            [
                ("cpu", "/sys/fs/cgroup/cpu,cpuacct/docker/x"),
                ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/docker/x"),
                ("memory", "/sys/fs/cgroup/memory"),
            ]
        );
        assert_eq!(found.v2, Some(PathBuf::from("/sys/fs/cgroup/unified/docker/x")));
        // Where the directory is not there, somebody mounted over it.
        assert_eq!(parse(own, mounts, |_| false), Place::default());
    }
}
