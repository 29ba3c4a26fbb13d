//! Each limit of a unit as the kernel has it, what `show` says of them, and what remains of groups.

use super::machine::Blueprint;
use super::{assert_in_order, judge};
use crate::tools::need;

const MIB: u64 = 1 << 20;

/// The number after the last `KEY ` or `KEY=` at the end of a line.
#[track_caller]
fn number(console: &str, key: &str) -> u64 {
    let after = |line: &str| line.split_once(key)?.1.trim().parse().ok();
    let found = console.lines().filter_map(after).next_back();
    found.unwrap_or_else(|| panic!("no number after {key:?}:\n{console}"))
}

/// A quota throttles; the rest is read back from the kernel's files, and `show` has the same numbers.
#[test]
fn every_limit_is_the_kernels() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let quota = "[Service]\nCPUQuota = \"20%\"\nExecStart = ['sh', '-c', 'while :; do :; done']\n";
    let held = "[Service]\nMemoryMax = \"50M\"\nMemoryHigh = \"40M\"\nMemoryLow = \"4M\"\n\
        MemoryMin = \"2M\"\nMemorySwapMax = \"8M\"\nTasksMax = 7\nCPUWeight = 300\nIOWeight = 250\n\
        ExecStart = \"probe fork [ wait ] allocate 20 touch /tmp/up wait\"\n";
    let judge = judge(
        "[ -e /tmp/up ] && \
         [ $(sed -n 's/nr_throttled //p' /sys/fs/cgroup/quota.service/cpu.stat) -gt 2 ]",
        "cd /sys/fs/cgroup; echo throttled: $(cat quota.service/cpu.max); cd held.service; \
         echo held: $(cat memory.max memory.high memory.low memory.min memory.swap.max \
           pids.max cpu.weight io.weight); \
         use() { echo $1 memory $(cat memory.current); \
           echo $1 time $(sed -n 's/usage_usec //p' cpu.stat); }; \
         use before; rinitctl show held; use after; \
         echo kernel peak $(cat memory.peak); echo kernel tasks $(cat pids.current)",
    );
    let console =
        blueprint.unit("quota", quota).unit("held", held).unit("judge", &judge).boot().off();
    let held = "held: 52428800 41943040 4194304 2097152 8388608 7 300 default 250";
    assert_in_order(&console, &["throttled: 20000 100000", held]);
    let shown = |name: &str| number(&console, &format!("{name}="));
    let kernel = |what: &str| number(&console, &format!("{what} "));
    for (name, expected) in [
        ("MemoryMax", 50 * MIB),
        ("MemoryHigh", 40 * MIB),
        ("TasksMax", 7),
        ("TasksCurrent", kernel("kernel tasks")),
        ("MemoryPeak", kernel("kernel peak")),
        ("OOMKills", 0),
    ] {
        assert_eq!(shown(name), expected, "{name}:\n{console}");
    }
    assert_eq!(shown("TasksCurrent"), 2);
    let memory = (shown("MemoryCurrent"), kernel("before memory"), kernel("after memory"));
    let (current, before, after) = memory;
    // The kernel counts in batches for each processor.
    assert!(current + MIB >= before.min(after) && current <= before.max(after) + MIB, "{memory:?}");
    assert!(current > 20 * MIB, "{memory:?}");
    let time = (kernel("before time"), shown("CPUUsageNSec") / 1000, kernel("after time"));
    assert!(time.0 <= time.1 && time.1 <= time.2, "{time:?}");
    assert_in_order(&console, &["ControlGroup=/held.service"]);
    assert_in_order(&console, &["MemoryEnforced=cgroup"]);
}

/// While one replaces another both have a group; after 20 rolls there are as many as before, each
/// with its limit and one process.
#[test]
fn rolls_leave_no_group_behind() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let web = "[Service]\nInstances = 4\nMemoryMax = \"32M\"\nExecStart = \"probe wait\"\n\
        RollingUpdate = { Order = \"start-first\", MonitorSec = 0 }\n";
    let judge = judge(
        "[ $(grep -lx probe /proc/[0-9]*/comm 2>/dev/null | wc -l) = 4 ]",
        "before=$(cat /sys/fs/cgroup/web@*/cgroup.procs); for i in $(seq 20); do rinitctl restart web || echo failed; done; \
         cd /sys/fs/cgroup; \
         for g in web@*; do echo group: $(cat $g/memory.max) $(cat $g/cgroup.procs | wc -l); done; \
         echo groups: $(ls -d */ | wc -l); \
         for p in $before; do [ -e /proc/$p ] && echo it lives still: $p; done; \
         rinitctl stop web; echo after: $(ls -d */)",
    );
    let console = blueprint.unit("web", web).unit("judge", &judge).boot().off();
    let group = "group: 33554432 1";
    assert_in_order(&console, &[group, group, group, group, "groups: 5", "after: judge.service/"]);
    assert!(!console.contains("it lives still") && !console.contains(": failed"), "{console}");
    assert!(!console.contains("after: judge.service/ "), "{console}");
}

/// Over MemoryHigh= the kernel slows it down, and after a while rinit replaces it.
#[test]
fn who_is_slowed_for_long_is_replaced() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let web = "[Service]\nMemoryMax = \"128M\"\nMemoryHigh = \"32M\"\n\
        MemoryHighAction = \"recycle\"\nRestart = \"no\"\n\
        ExecStart = ['sh', '-c', '\
          if [ -e /tmp/first ]; then exec probe touch /tmp/second wait; fi; \
          touch /tmp/first; exec probe allocate 48 wait']\n";
    let judge = judge(
        "[ $(sed -n 's/^high //p' /sys/fs/cgroup/web.service/memory.events) -gt 0 ]",
        "echo it is slowed; until [ -e /tmp/second ]; do sleep 0.1; done; \
         echo kills: $(rinitctl show web -p OOMKills)",
    );
    let console = blueprint.unit("web", web).unit("judge", &judge).boot().off();
    assert_in_order(&console, &["it is slowed", "over MemoryHigh=32M", "kills: OOMKills=0"]);
    assert!(!console.contains("oom-kill"), "{console}");
}

/// One of four workers on a socket leaks while others ask: what is cut it had accepted, and it goes
/// alone.
#[test]
fn only_the_leaking_worker_cuts_whom_it_accepted() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let web = "[Service]\nInstances = 4\nRestart = \"always\"\nMemoryMax = \"100M\"\n\
        ExecStart = \"probe web 3 /tmp\"\nExecStartPre = \"touch /tmp/accepted\"\n\
        [Socket]\nListenStream = \"127.0.0.1:80\"\nDeferAcceptSec = \"5s\"\n";
    let judge = judge(
        "rinitctl is-active -q web.service",
        "for i in 1 2 3; do probe visit 80 200 / >> /tmp/cut & done; \
         until rinitctl show web@3 -p NRestarts | grep -q =1; do \
           probe visit 80 4 /leak/3 >> /tmp/cut; done; wait; probe visit 80 20 / >> /tmp/cut; \
         sed -n 's/cut //p' /tmp/cut | while read p; do \
           echo cut by: $(grep \"^$p \" /tmp/accepted | tail -n 1 | cut -d \" \" -f 2).; done; \
         echo accepting: $(cut -d \" \" -f 2 /tmp/accepted | sort -u); \
         for i in 1 2 3 4; do echo restarts: $(rinitctl show web@$i -p NRestarts); done",
    );
    let console = blueprint.unit("web", web).unit("judge", &judge).boot().off();
    let restarts = [0, 0, 1, 0].map(|count| format!("restarts: NRestarts={count}"));
    let killed = "web@3.service: killed by the kernel for its memory";
    assert_in_order(&console, &[killed, "accepting: 1 2 3 4"]);
    assert_in_order(&console, &restarts.each_ref().map(String::as_str));
    let cuts = console.lines().filter(|line| line.contains("cut by:"));
    assert!(cuts.clone().all(|line| line.ends_with("cut by: 3.")), "{console}");
    eprintln!("{} cut, all of the leaking worker's", cuts.count());
}
