//! `docker run --memory`: the container's own limit, and a unit's where nothing may be mounted.

use super::container::{Container, LOCKED_DOWN};
use super::images;
use crate::{cgroup, http, tools};

const WEB: (&str, &str) = ("web.toml", "[Service]\nExecStart = \"/demo-server 8080\"\n");

/// It is told by whom the service was killed, and that it was not for its own limit.
#[test]
fn a_full_container_takes_the_leaking_service_and_rinit_says_so() {
    let Some(image) = tools::need(images::bare()) else { return };
    let leaky = "[Unit]\nStartLimitIntervalSec = 0\n\
        [Service]\nExecStart = \"/probe leak 200\"\nRestart = \"always\"\nOOMScoreAdjust = 500\n";
    let units = [WEB, ("leaky.toml", leaky)];
    let container = Container::run_units(image, &["--memory", "128m"], &units);
    let mut lines = container.follow();
    lines.wait_for_text("listening");
    let text = "killed by the kernel: the container's memory limit of 128M is used up";
    let line = lines.wait_for_text(text);
    assert!(line.contains("leaky.service"), "{line}");
    // Each time.
    lines.wait_for_text(text);
    assert_eq!(http::get(container.connect(8080), "/").status, 200);
    assert_eq!(container.stop(60), 0);
}

/// Somebody's `kill -9` is not taken for it.
#[test]
fn a_process_that_somebody_killed_was_not_killed_for_memory() {
    let Some(image) = tools::need(images::tools()) else { return };
    let unit =
        "[Service]\nExecStart = \"/probe pidfile /tmp/pid say up wait\"\nRestart = \"always\"\n";
    let options = ["--memory", "128m", "--tmpfs", "/tmp"];
    let container = Container::run_units(image, &options, &[("victim.toml", unit)]);
    let mut lines = container.follow();
    lines.wait_for("up", |line| line.ends_with("up"));
    super::container::end(container.exec(&["sh", "-c", "kill -KILL $(cat /tmp/pid)"]));
    lines.wait_for("up again", |line| line.ends_with("up"));
    assert!(!container.logs().contains("oom-kill"), "{}", container.logs());
    assert_eq!(container.stop(60), 0);
}

/// Without a capability, as nobody, with everything read-only.
#[test]
fn a_locked_down_container_keeps_the_limits_of_its_units() {
    let Some(image) = tools::need(images::bare()) else { return };
    let leaky = "[Unit]\nStartLimitIntervalSec = 0\n\
        [Service]\nExecStart = \"/probe leak 100\"\nRestart = \"always\"\nMemoryMax = \"64M\"\n";
    let options = [&["--memory", "256m"], &LOCKED_DOWN[..]].concat();
    let container = Container::run_units(image, &options, &[WEB, ("leaky.toml", leaky)]);
    let mut lines = container.follow();
    lines.wait_for_text("listening");
    let line = lines.wait_for_text("over MemoryMax=64M");
    assert!(line.contains("leaky.service"), "{line}");
    // And the next run as well.
    lines.wait_for_text("over MemoryMax=64M");
    assert_eq!(http::get(container.connect(8080), "/").status, 200);
    assert_eq!(container.stop(60), 0);
}

/// Over its limit again and again.
const LEAKY: (&str, &str) = (
    "leaky.toml",
    "[Unit]\nStartLimitIntervalSec = 0\n\
     [Service]\nExecStart = \"/probe leak 200\"\nRestart = \"always\"\nMemoryMax = \"64M\"\n",
);

/// The machine's tree, writable: each unit has a group below the container's own. Who is exec'ed
/// into the container comes in, and nothing is left of it.
#[test]
fn the_machines_tree_is_used_where_it_is_mounted_writable() {
    let Some(image) = tools::need(images::tools()) else { return };
    let Some(_) = tools::need(cgroup::memory_v1()) else { return };
    let options = ["--cgroupns=host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"];
    let container = Container::run_units(image, &options, &[WEB, LEAKY]);
    let mut lines = container.follow();
    lines.wait_for_text("control groups (v1): one for each unit");
    // The other stream, which may be earlier or later.
    container.follow().wait_for_text("listening");
    for _ in 0..2 {
        let line = lines.wait_for_text("killed by the kernel for its memory");
        assert!(line.contains("leaky.service") && line.contains("MemoryMax=64M"), "{line}");
    }
    let exec = container.exec(&["sh", "-c", "echo here; cat /proc/self/cgroup"]);
    let said = String::from_utf8(exec.wait_with_output().unwrap().stdout).unwrap();
    let own = said.lines().find_map(|line| line.split_once(":memory:"));
    let own = own.unwrap_or_else(|| panic!("no group of memory in {said:?}")).1;
    assert!(said.starts_with("here") && !own.contains(".service"), "{said}");
    assert_eq!(http::get(container.connect(8080), "/").status, 200);
    let id = container.inspect("{{.Id}}");
    assert_eq!(container.stop(60), 0);
    let left = std::path::Path::new("/sys/fs/cgroup/memory/docker").join(id);
    assert!(!left.exists(), "{}", left.display());
}

/// Where the tree is writable for root only, or shows what is above the container's own group, rinit
/// says so and watches.
#[test]
fn a_tree_that_is_not_the_containers_is_left_alone() {
    let Some(image) = tools::need(images::tools()) else { return };
    let Some(_) = tools::need(cgroup::memory_v1()) else { return };
    let mount = ["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"];
    for (options, why) in [
        (["--cgroupns=host", "--user=10001"], "is not delegated to uid 10001"),
        (["--cgroupns=private", "--cap-add=SYS_ADMIN"], "that shows rinit's own group"),
    ] {
        let container = Container::run_units(image, &[&mount[..], &options].concat(), &[LEAKY]);
        let mut lines = container.follow();
        let line = lines.wait_for_text("so rinit itself watches the memory");
        assert!(line.contains(why), "{options:?}: {line}");
        lines.wait_for_text("over MemoryMax=64M");
        assert_eq!(container.stop(60), 0);
    }
}
