//! A group that somebody else made for rinit, as systemd does with `Delegate=yes` or a runtime with a
//! writable tree: an inner rinit, started in it by a unit of the one that is `/init`.

use super::machine::Blueprint;
use super::{assert_in_order, judge};
use crate::tools::need;

/// A unit of the outer rinit, which runs a script.
fn outer(script: &str) -> String {
    format!(
        "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = ['sh', '-c', '''{script}''']\n"
    )
}

/// Makes a group, and lets the controllers through.
fn group(name: &str) -> String {
    format!(
        "mkdir /sys/fs/cgroup/{name}; \
         echo +memory +pids > /sys/fs/cgroup/cgroup.subtree_control; "
    )
}

/// Says its group and rinit's.
const APP: &str = "[Unit]\nSuccessAction = \"exit\"\n[Service]\nMemoryMax = \"32M\"\n\
    ExecStart = ['sh', '-c', 'echo inner: $(grep ^0: /proc/self/cgroup) of $(grep ^0: /proc/$PPID/cgroup)']\n";

/// rinit and all in it move to `init`, and it leaves the groups of others alone.
#[test]
fn a_delegated_group_is_divided() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let script = group("given")
        + "echo $$ > /sys/fs/cgroup/given/cgroup.procs; \
           exec /init --units /etc/inner --socket none";
    let then = "cat /sys/fs/cgroup/given/cgroup.subtree_control";
    let judge = judge("rmdir /sys/fs/cgroup/given/init 2>/dev/null", then);
    let console = blueprint
        .unit("outer", &outer(&script))
        .unit("judge", &judge)
        .file("etc/inner/app.toml", APP)
        .boot()
        .off();
    assert_in_order(
        &console,
        &["inner: 0::/given/app.service of 0::/given/init", "judge | memory pids"],
    );
}

/// As somebody else than root, who was given the directory and three files. That a unit needs a
/// group shows only with a reload: what runs by then goes on beside rinit, and can be stopped.
#[test]
fn another_users_group_is_divided_when_it_is_needed() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let script = group("user")
        + "cd /sys/fs/cgroup/user; \
           chown 1000 . cgroup.procs cgroup.subtree_control cgroup.threads; \
           cp -r /etc/inner /tmp/inner; chown -R 1000 /tmp/inner; \
           (echo 0 > cgroup.procs; exec su -s /bin/sh app -c \
             \"exec /init --units /tmp/inner --socket /tmp/inner/control\") & \
           until [ -e /tmp/inner/plain ]; do sleep 0.1; done; \
           cp /etc/later.toml /tmp/inner; \
           ctl=\"rinitctl --socket /tmp/inner/control\"; \
           $ctl apply; until [ -e /tmp/inner/later ]; do sleep 0.1; done; \
           echo running: $(grep ^0: /proc/$(cat /tmp/inner/plain)/cgroup); \
           echo limit: $(cat later.service/memory.max); \
           $ctl stop plain && echo stopped: $(ls -d /proc/$(cat /tmp/inner/plain) 2>/dev/null); \
           $ctl start plain; sleep 0.1; $ctl show plain -p ControlGroup; \
           $ctl shutdown; wait; echo left: $(ls -d */); touch /tmp/over";
    let later = "[Service]\nMemoryMax = \"32M\"\nMemoryEnforce = \"cgroup\"\n\
        ExecStart = \"probe touch /tmp/inner/later wait\"\n";
    let console = blueprint
        .file("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n")
        .file("etc/group", "root:x:0:\napp:x:1000:\n")
        .file(
            "etc/inner/plain.toml",
            "[Service]\nExecStart = \"probe pidfile /tmp/inner/plain wait\"\n",
        )
        .file("etc/later.toml", later)
        .unit("outer", &outer(&script))
        .unit("judge", &judge("[ -e /tmp/over ]", "echo over"))
        .boot()
        .off();
    assert_in_order(
        &console,
        &[
            "control groups (v2): one for each unit, in /sys/fs/cgroup/user",
            "running: 0::/user/init",
            "limit: 33554432",
            "stopped:",
            "ControlGroup=/user/plain.service",
            "left: init/",
            "over",
        ],
    );
    assert!(!console.contains("stopped: /proc"), "{console}");
}

/// Somebody forks in the group while it is divided: each new process is one that keeps the kernel
/// from it (EBUSY).
#[test]
fn a_group_in_which_somebody_forks_is_divided() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let one = "unshare -p -f -m sh -c \"echo 0 > /sys/fs/cgroup/storm/cgroup.procs; \
        mount -t proc proc /proc; \
        (i=0; while [ \\$i -lt 2000 ]; do (: &); i=\\$((i + 1)); done) & \
        exec /init --units /etc/inner --socket none\"";
    let script = group("storm")
        + &format!(
            "for i in 1 2 3; do {one}; \
             until rmdir /sys/fs/cgroup/storm/init; do sleep 0.1; done 2>/dev/null; \
             echo -pids -memory > /sys/fs/cgroup/storm/cgroup.subtree_control; done; \
             touch /tmp/over"
        );
    let console = blueprint
        .unit("outer", &outer(&script))
        .unit("judge", &judge("[ -e /tmp/over ]", "echo over"))
        .file("etc/inner/app.toml", APP)
        .boot()
        .off();
    let line = "inner: 0::/storm/app.service of 0::/storm/init";
    assert_in_order(&console, &[line, line, line, "over"]);
}

/// A process outside of rinit's pid namespace has no number there, so rinit can neither see nor
/// signal it: that a stop takes it is the kernel's doing (cgroup.kill).
#[test]
fn a_stop_takes_who_cannot_be_seen() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let script = group("given")
        + "unshare -p -f -m sh -c \"echo 0 > /sys/fs/cgroup/given/cgroup.procs; \
             mount -t proc proc /proc; exec /init --units /etc/inner --socket none\" & \
           until [ -e /sys/fs/cgroup/given/app.service ]; do sleep 0.1; done; \
           sleep 12345 & outsider=$!; \
           echo $outsider > /sys/fs/cgroup/given/app.service/cgroup.procs; touch /tmp/joined; \
           wait $outsider; echo the outsider: $?; wait; touch /tmp/over";
    let app = "[Service]\nMemoryMax = \"32M\"\nTimeoutStopSec = 1\nRestart = \"no\"\n\
        ExecStart = ['sh', '-c', 'until [ -e /tmp/joined ]; do sleep 0.1; done']\n";
    let console = blueprint
        .unit("outer", &outer(&script))
        .unit("judge", &judge("[ -e /tmp/over ]", "echo over"))
        .file("etc/inner/app.toml", app)
        .boot()
        .off();
    assert_in_order(&console, &["the outsider: 137", "over"]);
}
