//! Podman, with a root file system instead of an image, on a store of its own.
//!
//! By root and with runc: crun refuses a machine that has control groups of both kinds. Rootless
//! Podman needs cgroup v2, or none at all.

use std::fs;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use tempfile::TempDir;

use super::client::{self, Output};
use super::container::new_name;
use super::images;
use crate::harness::DEADLINE;
use crate::lines::Lines;
use crate::{cgroup, tools};

/// Its store, and what it keeps while containers run.
struct Podman {
    store: TempDir,
    root: TempDir,
}

impl Podman {
    fn new() -> Result<Podman, String> {
        tools::program("podman")?;
        tools::program("runc")?;
        if !geteuid().is_root() {
            return Err("Podman without root needs control groups v2".to_owned());
        }
        let store = tempfile::Builder::new().prefix("rinit-podman.").tempdir();
        let store = store.map_err(|error| format!("a directory for podman: {error}"))?;
        Ok(Podman { store, root: images::bare_root() })
    }

    fn unit(self, name: &str, text: &str) -> Podman {
        let units = self.root.path().join("etc/rinit");
        fs::create_dir_all(&units).expect("make a directory");
        fs::write(units.join(name), text).expect("write a unit");
        self
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut podman = Command::new("podman");
        podman.arg("--root").arg(self.store.path().join("root"));
        podman.arg("--runroot").arg(self.store.path().join("run"));
        podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        podman.args(["--runtime", "runc"]).args(words).stdin(Stdio::null());
        podman
    }

    fn run(&self, words: &[&str]) -> Output {
        client::run(self.command(words), DEADLINE)
    }
}

/// `podman run` with these options: what rinit says of its control groups, and of a service over
/// its limit. `podman stop` ends it well.
fn limits_hold(options: &[&str], groups: &str, killed: &str) {
    let podman = Podman::new().and_then(|podman| cgroup::memory_v1().map(|_| podman));
    let Some(podman) = tools::need(podman) else { return };
    let podman = podman.unit(
        "leaky.toml",
        "[Unit]\nStartLimitIntervalSec = 0\n\
         [Service]\nExecStart = \"/probe leak 200\"\nRestart = \"always\"\nMemoryMax = \"64M\"\n",
    );
    let (name, root) = (new_name(), podman.root.path().display().to_string());
    let fixed = ["run", "--rm", "--name", &name, "--network", "none"];
    // Its defaults are more than what root may have in some sandboxes.
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let words = [&fixed[..], &limits, options, &["--rootfs", &root, "/sbin/rinit"]].concat();
    let mut run = podman.command(&words);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("podman starts");
    let (stdout, stderr) = (run.stdout.take().unwrap(), run.stderr.take().unwrap());
    let mut lines = Lines::of_both(stdout, stderr);
    lines.wait_for_text(groups);
    lines.wait_for_text(killed);
    lines.wait_for_text(killed);
    podman.run(&["stop", "--time", "60", &name]).success("podman stop");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let left = podman.run(&["ps", "--all", "--quiet"]).success("podman ps");
    assert_eq!(left, "");
}

const WATCHED: &str = "so rinit itself watches the memory";
const OVER: &str = "over MemoryMax=64M with ";

#[test]
fn as_it_is() {
    limits_hold(&[], WATCHED, OVER);
}

#[test]
fn without_a_group_for_conmon() {
    limits_hold(&["--cgroups=no-conmon"], WATCHED, OVER);
}

/// Its stop signal is SIGRTMIN+3 then.
#[test]
fn as_if_for_systemd() {
    limits_hold(&["--systemd=always"], WATCHED, OVER);
}

#[test]
fn as_nobody_with_nothing() {
    let options = ["--user", "10001", "--read-only", "--cap-drop", "ALL"];
    limits_hold(&options, WATCHED, OVER);
}

#[test]
fn a_privileged_container_uses_its_tree() {
    let groups = "control groups (v1): one for each unit";
    limits_hold(&["--privileged"], groups, "killed by the kernel for its memory");
}
