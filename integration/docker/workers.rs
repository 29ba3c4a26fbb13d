//! Workers on one port in a container of Docker's default profile: nothing is added to it, so what
//! rinit asks of the kernel for them (steering, sock_diag, looks at /proc) must be allowed there.

use std::time::Duration;

use super::container::{Container, LOCKED_DOWN, end};
use super::images;
use crate::harness::DEADLINE;
use crate::load::{Kind, Load, Plan, Tally};
use crate::{http, tools};

const PORT: u16 = 8000;

/// The pause of a client on a real network between connect and request.
const ROUND_TRIP: Duration = Duration::from_millis(20);

const COMMAND: &str = "uvicorn workers:app --fd 3 --app-dir /workers --no-access-log";

/// Four of uvicorn in the image of `Dockerfile.example`; `options` are `docker run`'s.
fn start(options: &[&str], unit: &str) -> Option<Container> {
    let image = tools::need(images::fastapi())?;
    let apps = tools::repository().join("integration/apps/fastapi-workers");
    let app = format!("{}:/workers:ro", apps.display());
    let fixed = ["--volume", &app, "--tmpfs", "/tmp"];
    let fixed = [&fixed[..], &["--env", "APP_STATE=/tmp"], options].concat();
    let container = Container::run_units(image, &fixed, &[("web.toml", unit)]);
    container.follow().wait_for_text("boot done");
    assert_eq!(job(&container, "start"), Some(0), "it is done when all are ready");
    Some(container)
}

/// `rinitctl VERB web` inside: its exit status.
fn job(container: &Container, verb: &str) -> Option<i32> {
    end(container.exec(&["rinitctl", verb, "web"]))
}

/// A load from a client inside.
fn load(container: &Container, plan: impl FnOnce(Plan) -> Plan + Send + 'static) -> Load {
    let address = ([127, 0, 0, 1], PORT).into();
    container.inside(move || Load::start(plan(Plan::new(address).timeout(DEADLINE)))).unwrap()
}

#[track_caller]
fn assert_nothing_lost(container: &Container, tally: &Tally) {
    assert_eq!(tally.failed(), 0, "{tally}; {:?}\n{}", tally.failures, container.logs());
}

/// Nobody, without a capability: each worker has its probe, its share, and nothing when it is ill.
#[test]
fn workers_of_nobody_are_probed_and_steered_to() {
    const CONNECTIONS: u64 = 10_000;
    let unit = format!(
        "[Service]\nExecStart = \"{COMMAND}\"\nInstances = 4\n\
         [Socket]\nListenStream = \"127.0.0.1:{PORT}\"\nReusePort = true\n\
         [Health]\nHttp = \"/ping\"\nIntervalSec = \"200ms\"\nTimeoutSec = \"10s\"\nRetries = 2\nOnUnhealthy = \"none\"\n"
    );
    let Some(container) = start(&LOCKED_DOWN, &unit) else { return };
    let tally = load(&container, |plan| plan.rate(400).requests(CONNECTIONS)).finish();
    assert_nothing_lost(&container, &tally);
    assert_eq!(tally.workers.len(), 4);
    for (name, worker) in &tally.workers {
        let off = worker.answers.abs_diff(CONNECTIONS / 4);
        assert!(off * 10 <= CONNECTIONS / 4, "{name}: {} of {CONNECTIONS}", worker.answers);
    }
    let ill = http::get(container.connect(PORT), "/fail-health").json().to_string();
    container.follow().wait_for("the ill worker to be found", |line| line.contains("unhealthy"));
    let plan = |plan: Plan| plan.rate(200).pause(ROUND_TRIP).requests(2000);
    let tally = load(&container, plan).finish();
    assert_eq!((tally.ok, tally.count(Kind::BadStatus)), (2000, 0), "{tally}");
    assert!(!tally.workers.contains_key(&ill), "{ill} in {:?}", tally.workers);
    assert_eq!(tally.workers.len(), 3);
    assert_eq!(container.stop(60), 0);
}

/// A roll needs more of the kernel: whose connections are unread, and who is asleep.
fn rolls_lose_nothing(options: &[&str]) {
    let unit = format!(
        "[Service]\nExecStart = \"{COMMAND}\"\nInstances = 4\nReadyOn = \"accept\"\n\
         RollingUpdate = {{ MonitorSec = \"50ms\" }}\n\
         [Socket]\nListenStream = \"127.0.0.1:{PORT}\"\nDeferAcceptSec = \"5s\"\n"
    );
    let Some(container) = start(options, &unit) else { return };
    let load = load(&container, |plan| plan.rate(200).pause(ROUND_TRIP));
    for _ in 0..3 {
        assert_eq!(job(&container, "restart"), Some(0), "{}", container.logs());
        assert!(load.wait_more(DEADLINE, 50), "{}", load.tally());
    }
    assert_nothing_lost(&container, &load.stop());
    assert_eq!(container.stop(60), 0);
}

#[test]
fn rolls_of_workers_lose_nothing_in_the_default_profile() {
    rolls_lose_nothing(&["--user", "0"]);
}

#[test]
fn rolls_of_workers_lose_nothing_as_nobody_and_locked_down() {
    rolls_lose_nothing(&LOCKED_DOWN);
}
