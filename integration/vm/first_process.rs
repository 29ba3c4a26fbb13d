//! rinit is the first process: what it mounts, how it ends, what the keyboard can ask.

use super::machine::Blueprint;
use crate::tools::need;

/// Serves until somebody has asked it once.
const SERVER: &str = r#"
[Service]
ExecStart = "demo-server 80"
"#;

/// Asks it, and ends everything with what the machine has.
const VISITOR: &str = r#"
[Unit]
SuccessAction = "poweroff"
[Service]
Restart = "on-failure"
StartLimitIntervalSec = 0
ExecStart = ["sh", "-ec", "wget -qO- http://127.0.0.1/ && mount && hostname && ls -l /dev/fd && echo PATH=$PATH"]
"#;

#[test]
fn boots_serves_and_switches_off() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let machine = blueprint
        .file("etc/hostname", "# a name\nmicro\n")
        .unit("10-step", "[Service]\nType = \"oneshot\"\nExecStart = \"echo the step ran\"\n")
        .unit("web", SERVER)
        .unit("visitor", VISITOR)
        .boot();
    let console = machine.off();
    for text in [
        "rinit: PID 1, uid 0, 3 units",
        "the step ran",
        "pid ",
        "proc on /proc type proc",
        "sysfs on /sys type sysfs",
        "devtmpfs on /dev type devtmpfs",
        "devpts on /dev/pts type devpts",
        "tmpfs on /dev/shm type tmpfs",
        "tmpfs on /run type tmpfs",
        "cgroup2 on /sys/fs/cgroup type cgroup2",
        "micro",
        "/dev/fd -> /proc/self/fd",
        "PATH=/usr/local/sbin:",
        "rinit: visitor.service is done: stopping everything within 9s, exit status 0",
        "rinit: web.service: stopped",
        "rinit: exit status 0: the machine is switched off",
        "reboot: Power down",
    ] {
        assert!(console.contains(text), "{text:?} is not in the console:\n{console}");
    }
    assert!(!console.contains("Kernel panic"), "{console}");
}

#[test]
fn a_failure_can_start_it_again() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let unit = r#"
[Unit]
FailureAction = "reboot"
[Service]
ExecStart = ["sh", "-c", "exit 7"]
"#;
    let console = blueprint.unit("broken", unit).boot().off();
    assert!(console.contains("rinit: exit status 7: the machine starts again"), "{console}");
    assert!(console.contains("reboot: Restarting system"), "{console}");
}

/// The kernel sends SIGINT where somebody presses the keys and the file says 0 (proc(5)). This
/// kernel has no keyboard, so a unit sends it.
#[test]
fn ctrl_alt_del_stops_everything_and_starts_again() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let keys = r#"
[Service]
Type = "idle"
ExecStart = ["sh", "-c", "sed s/^/keys:/ /proc/sys/kernel/ctrl-alt-del; kill -INT 1; sleep 100"]
"#;
    let console = blueprint.unit("web", SERVER).unit("keys", keys).boot().off();
    let order = [
        "keys:0",
        "rinit: SIGINT: stopping everything",
        "rinit: web.service: stopped",
        "rinit: exit status 0: the machine starts again",
    ];
    let places =
        order.map(|text| console.find(text).unwrap_or_else(|| panic!("{text}: {console}")));
    assert!(places.is_sorted(), "{console}");
}

#[test]
fn wrong_units_are_said_and_the_machine_ends() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let console = blueprint.unit("web", "[Service]\nExecStrat = \"/bin/true\"\n").boot().off();
    for text in ["did you mean ExecStart?", "exit status 78: the machine is switched off"] {
        assert!(console.contains(text), "{text:?} is not in the console:\n{console}");
    }
    assert!(!console.contains("Kernel panic"), "{console}");
}

#[test]
fn only_what_follows_the_dashes_is_for_rinit() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let console = blueprint.arguments("echo the command ran").boot().off();
    assert!(console.contains("the command ran"), "{console}");
    assert!(console.contains("exit status 0: the machine is switched off"), "{console}");
}

/// A burst of orphans on a kernel of its own: all are reaped, and the machine still ends.
#[test]
fn orphans_are_reaped() {
    let Some(blueprint) = need(Blueprint::new()) else { return };
    let unit = r#"
[Unit]
SuccessAction = "exit"
[Service]
ExecStart = ["sh", "-c", "for i in $(seq 300); do (sleep 0.1 & ) ; done; until [ $(ls -d /proc/[0-9]* | wc -l) -lt 200 ]; do sleep 0.2; done; grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l | sed 's/^/zombies: /'"]
"#;
    let console = blueprint.unit("flood", unit).boot().off();
    assert!(console.contains("zombies: 0"), "{console}");
}
