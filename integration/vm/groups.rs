//! Control groups of a kernel of its own: caps that hold, kills that take a service whole, stops
//! that nobody escapes.

use super::machine::Blueprint;
use super::{assert_in_order, judge};
use crate::tools::need;

/// One of four leaks past its cap: it dies alone, at its limit and not above, and comes back.
#[test]
fn a_leak_dies_alone() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let script = "echo $RINIT_INSTANCE >> /tmp/starts; \
        if [ $RINIT_INSTANCE = 3 ]; then \
          if [ -e /tmp/leaked ]; then touch /tmp/back; else touch /tmp/leaked; exec probe allocate 150 wait; fi; \
        fi; exec probe wait";
    let web = format!(
        "[Service]\nInstances = 4\nRestart = \"always\"\nMemoryMax = \"64M\"\nTasksMax = 10\n\
         ExecStart = ['sh', '-c', '{script}']\n"
    );
    let judge = judge(
        "[ -e /tmp/back ]",
        "echo starts: $(sort /tmp/starts); echo group: $(cat /sys/fs/cgroup/web@1.service/memory.max \
         /sys/fs/cgroup/web@1.service/memory.oom.group /sys/fs/cgroup/web@1.service/pids.max)",
    );
    let console = blueprint.unit("web", &web).unit("judge", &judge).boot().off();
    assert_in_order(
        &console,
        &[
            "rinit: control groups (v2): one for each unit, in /sys/fs/cgroup",
            "rinit: web@3.service: killed by the kernel for its memory (oom-kill): MemoryMax=64M, peak 64M",
            "rinit: web@3.service: ExecStart killed by SIGKILL",
            "rinit: web@3.service: started",
            "starts: 1 2 3 3 4",
            "group: 67108864 1 10",
            "rinit: exit status 0: the machine is switched off",
        ],
    );
    for other in ["web@1", "web@2", "web@4"] {
        assert!(!console.contains(&format!("{other}.service: killed")), "{console}");
    }
}

/// A tree that leaks dies whole; a fork bomb meets its cap; who ignores SIGTERM in a session of his
/// own is found by a stop; what is frozen can be stopped.
#[test]
fn nobody_escapes() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let unit = |text: &str| format!("[Unit]\nFailureAction = \"none\"\n[Service]\n{text}\n");
    let tree = unit(
        "MemoryMax = \"48M\"\n\
         ExecStart = \"probe fork [ setsid wait ] orphan [ setsid wait ] say grown allocate 100 wait\"",
    );
    let bomb = unit(
        "TasksMax = 20\nExecStart = ['sh', '-c', 'for i in $(seq 100); do probe wait & done; wait']",
    );
    let stubborn = unit(
        "RuntimeMaxSec = 1\nTimeoutStopSec = 1\nExecStart = \"probe ignore TERM \
         fork [ setsid ignore TERM wait ] orphan [ setsid ignore TERM wait ] wait\"",
    );
    let frozen = unit(
        "RuntimeMaxSec = 2\nTimeoutStopSec = 100\n\
         ExecStart = ['sh', '-c', 'echo 1 > /sys/fs/cgroup/frozen.service/cgroup.freeze; exec probe wait']",
    );
    let judge = judge(
        "! grep -qx probe /proc/[0-9]*/comm && ! ls -d /sys/fs/cgroup/[tbsf]*.service",
        "echo nobody is left",
    );
    let console = blueprint
        .unit("tree", &tree)
        .unit("bomb", &bomb)
        .unit("stubborn", &stubborn)
        .unit("frozen", &frozen)
        .unit("judge", &judge)
        .boot()
        .off();
    for texts in [
        &["tree.service: killed by the kernel for its memory (oom-kill): MemoryMax=48M"][..],
        &["can't fork"],
        &["stubborn.service: ", "SIGKILL"],
        &["nobody is left", "exit status"],
    ] {
        assert_in_order(&console, texts);
    }
}

/// Two that stay below their own limits are together over their slice's: one is taken.
#[test]
fn a_slice_is_full() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let slice = "[Slice]\nMemoryMax = \"64M\"\n";
    let unit = |actions: &str| {
        format!(
            "[Unit]\nFailureAction = \"none\"\n[Service]\nSlice = \"app-web.slice\"\nMemoryMax = \"60M\"\n\
             ExecStart = \"probe {actions} wait\"\n"
        )
    };
    let judge = judge(
        "[ -e /tmp/gone ]",
        "echo slice: $(cat /sys/fs/cgroup/app.slice/app-web.slice/memory.max) \
         $(ls -d /sys/fs/cgroup/app.slice/app-web.slice/small.service)",
    );
    let console = blueprint
        .unit("app-web", slice)
        .unit("small", &unit("allocate 30 touch /tmp/up"))
        .unit(
            "large",
            &format!(
                "{}ExecStartPre = ['sh', '-c', 'until [ -e /tmp/up ]; do sleep 0.1; done']\n\
                 ExecStopPost = \"probe touch /tmp/gone\"\n",
                unit("allocate 50")
            ),
        )
        .unit("judge", &judge)
        .boot()
        .off();
    assert_in_order(
        &console,
        &[
            "large.service: a process was killed by the kernel (oom-kill): what its slice may have, MemoryMax=64M, is used up",
            "slice: 67108864 /sys/fs/cgroup/app.slice/app-web.slice/small.service",
        ],
    );
    assert!(!console.contains("small.service: ExecStart killed"), "{console}");
}

/// From the kernel's first instruction to a service that runs.
#[test]
fn boot_time() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let unit = "[Unit]\nSuccessAction = \"exit\"\n[Service]\nMemoryMax = \"64M\"\n\
        ExecStart = [\"sed\", \"s/^/since the kernel began: /\", \"/proc/uptime\"]\n";
    let console = blueprint.unit("first", unit).boot().off();
    let line = console.lines().find(|line| line.contains("since the kernel began"));
    eprintln!("{}", line.unwrap_or_else(|| panic!("{console}")));
}
