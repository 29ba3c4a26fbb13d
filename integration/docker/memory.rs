//! `docker run --memory`: the container's own limit, and a unit's where nothing may be mounted.

use super::container::{Container, LOCKED_DOWN};
use super::images;
use crate::{http, tools};

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
