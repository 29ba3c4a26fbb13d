//! `uvicorn --workers 4` as one unit: whoever keeps its own workers leaves none behind.

use std::fs;

use crate::harness::processes;
use crate::load::{Load, Plan};
use crate::{require, tools};

use super::{N, Web};

/// Its parent is killed: the orphans are gone before the next is started, which finds the port free.
#[test]
fn a_killed_manager_s_orphans_are_gone_before_its_restart() {
    require!("user namespace");
    let Some(web) = Web::new() else { return };
    let apps = tools::repository().join("integration/apps/fastapi-workers");
    let unit = format!(
        "[Service]\nExecStart = \"uvicorn workers:app --app-dir {} --host 127.0.0.1 --port {} \
         --workers {N} --log-level warning\"\nRestart = \"always\"\n",
        apps.display(),
        web.address.port(),
    );
    let address = web.address;
    let mut rinit = web.rinit.unit("web", &unit).start();
    let first = rinit.wait_start("web", "ExecStart");
    let started = rinit.path("started");
    let count = || fs::read_to_string(&started).unwrap_or_default().lines().count();
    super::look_until("four workers", || count() >= N);
    let parent = rinit.processes().into_iter().find(|process| process.ppid == rinit.pid).unwrap();
    let pid = first.number("pid");
    assert_eq!(pid, processes::inner_pid(parent.pid), "{parent:?}");
    let old: Vec<i32> = processes::descendants(parent.pid).iter().map(|child| child.pid).collect();
    assert!(old.len() >= N, "{old:?}");
    processes::kill(parent.pid, libc::SIGKILL);
    rinit.wait_start("web", "ExecStart");
    for pid in old {
        let left = processes::process(pid).filter(|process| !process.is_zombie());
        assert!(left.is_none(), "an orphan beside the next: {left:?}");
    }
    super::look_until("four new workers", || count() >= 2 * N);
    let tally = Load::start(Plan::new(address).rate(100).requests(100)).unwrap().finish();
    assert_eq!(tally.failed(), 0, "{tally}");
    rinit.terminate().assert_code(0);
}
