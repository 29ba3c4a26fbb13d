//! Control groups of this machine, where root may make some: on one with v1 below our own, which
//! is where the VM tests do not go. In the VM (`vm::groups`) they are v2.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::varlink::Varlink;
use crate::harness::{Event, Rinit};
use crate::{require, tools};

/// Our own group of v1's memory controller.
pub fn memory_v1() -> Result<PathBuf, String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
    let path = path.ok_or("no memory controller of control groups v1")?;
    let directory = PathBuf::from("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'));
    let usable = directory.join("memory.limit_in_bytes").is_file();
    usable.then_some(directory).ok_or_else(|| "the memory controller is not mounted".to_owned())
}

/// The directories of rinits that run in our group, or did not clean up.
fn ours(own: &PathBuf, unit: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(own).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join(unit)).filter(|path| path.is_dir()).collect()
}

/// The kernel takes one process, rinit the rest; a sibling goes on, and nothing is left behind.
#[test]
fn one_who_leaks_takes_its_service_along() {
    require!("root");
    let Some(own) = tools::need(memory_v1()) else { return };
    let lines =
        "MemoryMax = \"64M\"\nTasksMax = 10\nRestart = \"on-failure\"\nRestartSec = \"1ms\"\n";
    // Who leaks is a grandchild: that the main process dies as well is rinit's doing.
    let nth = "fork [ setsid leak 200 ] fork [ setsid wait ] wait";
    let rinit = Rinit::subreaper().service("v1leaky", nth, lines).service("calm", "wait", "");
    let mut rinit = rinit.start();
    let event = rinit.wait_event("a kill", |event| event.is("oom-kill", "v1leaky"));
    assert_eq!(event.number("limit"), Some(64 << 20), "{event:?}");
    assert!(event.number("peak") <= Some(64 << 20), "{event:?}");
    assert!(event.text("message").contains("killed by the kernel"), "{event:?}");
    rinit.wait_restart("v1leaky");
    let calm = rinit.wait_start("calm", "ExecStart").number("pid").unwrap();
    let groups = fs::read_to_string(format!("/proc/{calm}/cgroup")).unwrap();
    assert!(groups.contains("/calm.service\n"), "every unit has a group: {groups}");
    let outcome = rinit.terminate();
    outcome.assert(outcome.n_starts("calm") == 1, "the sibling goes on");
    let because =
        |e: &Event| e.is_state("v1leaky", "stop-sigkill") && e.text("result") == "oom-kill";
    outcome.assert(outcome.events().any(because), "killed with that result");
    outcome.assert(ours(&own, "v1leaky.service").is_empty(), "no group is left");
}

/// Who may not make groups and must have one starts nothing.
#[test]
fn without_groups_a_unit_that_must_have_one_keeps_rinit_from_starting() {
    require!("root");
    let lines = "MemoryMax = \"64M\"\nMemoryEnforce = \"cgroup\"";
    let rinit = Rinit::subreaper().service("strict", "say started wait", lines);
    let outcome = rinit.launch(&["--uid", "65534"]).run();
    outcome.assert_code(78);
    let says = |event: &Event| {
        let text = event.text("message");
        text.starts_with("strict.service: MemoryEnforce=cgroup, but ")
            && text.contains("not delegated to uid 65534")
            && text.ends_with("nothing was started")
    };
    outcome.assert(outcome.events().any(says), "it says why");
    outcome.assert(outcome.stdout().is_empty(), "nothing was started");
}

/// So does a unit that comes with a reload, whoever asks for that: nothing changes.
#[test]
fn a_reload_that_needs_groups_where_there_are_none_changes_nothing() {
    require!("root");
    let rinit = Rinit::subreaper().service("plain", "say up wait", "");
    let rinit = rinit.options(&["--socket", "@dir@/open/control"]).launch(&["--uid", "65534"]);
    let open = rinit.path("open");
    fs::create_dir(&open).unwrap();
    std::os::unix::fs::chown(&open, Some(65534), None).unwrap();
    let strict =
        "[Service]\nMemoryEnforce = \"cgroup\"\nMemoryMax = \"64M\"\nExecStart = \"sleep 1\"\n";
    let (path, socket) = (rinit.units_directory().join("strict.toml"), rinit.path("open/control"));
    let mut rinit = rinit.start();
    rinit.wait_line("up");
    fs::write(path, strict).unwrap();
    let refused = "strict.service: MemoryEnforce=cgroup, but ";
    let mut control = Varlink::connect(&socket).unwrap();
    for (method, parameters) in [("DaemonReload", json!({})), ("Apply", json!({}))] {
        let (name, parameters) = control.error(method, parameters);
        assert_eq!(name, "Refused", "{method}");
        assert!(parameters["reason"].as_str().unwrap().starts_with(refused), "{parameters}");
    }
    rinit.signal(libc::SIGHUP);
    rinit.wait_message(refused);
    assert_eq!(control.error("Describe", json!({ "unit": "strict.service" })).0, "NoSuchUnit");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    outcome.assert(outcome.n_starts("strict") == 0, "it was not started");
}
