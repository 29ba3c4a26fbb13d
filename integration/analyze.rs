//! rinitctl analyze: where the time of a boot went, held against the events of that boot.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::harness::{Outcome, Rinit, Running};

/// Name, what it is ordered after (steps: all before it), how long its start takes.
const UNITS: [(&str, &str, &str); 11] = [
    ("10-a", "", "0.05"),
    ("20-b", "10-a", "0.3"),
    ("30-c", "10-a 20-b", "0.1"),
    ("db", "10-a 20-b 30-c", "0.4"),
    ("cache", "10-a 20-b 30-c", "0.1"),
    ("queue", "10-a 20-b 30-c", "0.2"),
    ("api", "10-a 20-b 30-c db cache", "0.3"),
    ("web", "10-a 20-b 30-c api", "0.2"),
    ("worker", "10-a 20-b 30-c queue", "0.1"),
    ("mailer", "10-a 20-b 30-c", "0.05"),
    ("metrics", "10-a 20-b 30-c", "0"),
];

fn analyze(rinit: &Running, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rinitctl"));
    command.args(["--plain", "--socket"]).arg(rinit.path("socket")).arg("analyze");
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// From the events: when each unit was ready.
fn ready(outcome: &Outcome) -> BTreeMap<String, i64> {
    let mut ready = BTreeMap::new();
    for event in outcome.events() {
        let unit = event.text("unit").trim_end_matches(".service");
        if matches!(event.text("to"), "running" | "dead") {
            ready.entry(unit.to_owned()).or_insert(event.monotonic_usec());
        }
    }
    ready
}

#[test]
fn three_steps_and_eight_services() {
    let mut setup = Rinit::subreaper().options(&["--socket", "@dir@/socket"]);
    for (name, after, seconds) in UNITS {
        if name.as_bytes()[0].is_ascii_digit() {
            let text = format!("[Service]\nType = \"oneshot\"\nExecStart = \"sleep {seconds}\"\n");
            setup = setup.unit(name, &text);
            continue;
        }
        let after: Vec<String> = after
            .split(' ')
            .filter(|name| !name.as_bytes()[0].is_ascii_digit())
            .map(|name| format!("\"{name}.service\""))
            .collect();
        let text = format!(
            "[Unit]\nAfter = [{}]\n[Service]\nExecStartPre = \"sleep {seconds}\"\n\
             ExecStart = \"@probe@ wait\"\n",
            after.join(", ")
        );
        setup = setup.unit(name, &text);
    }
    let mut rinit = setup.start();
    rinit.wait_message("boot done");
    let chain = analyze(&rinit, &["critical-chain"]);
    let names: Vec<&str> = chain
        .lines()
        .filter_map(|line| line.split_whitespace().find_map(|word| word.strip_suffix(".service")))
        .map(|name| name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    assert_eq!(names, ["web", "api", "db", "30-c", "20-b", "10-a"], "{chain}");

    let blame = analyze(&rinit, &["blame"]);
    let first = blame.lines().next().unwrap_or_default();
    assert!(first.ends_with("db.service"), "{blame}");
    assert_eq!(blame.lines().count(), UNITS.len(), "{blame}");

    let time = analyze(&rinit, &[]);
    assert!(time.starts_with("Boot done in "), "{time}");
    assert!(time.ends_with(": 3 steps, 8 services\n"), "{time}");

    let (_, rest) = time.split_once("Boot done in ").unwrap();
    assert!(!rest.contains("min"), "it counts from rinit's start, not the machine's: {time}");

    let svg = analyze(&rinit, &["plot"]);
    assert_eq!(svg.matches("<rect x=").count(), UNITS.len());
    assert!(svg.contains(">db.service ("), "{svg}");

    // The slowest way, worked out once more: back from who was ready last.
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let ready = ready(&outcome);
    let at = |name: &&str| ready.get(*name).copied();
    let after: BTreeMap<&str, Vec<&str>> =
        UNITS.iter().map(|(name, after, _)| (*name, after.split_whitespace().collect())).collect();
    let last = UNITS.iter().map(|(name, _, _)| *name).max_by_key(at);
    let slowest = std::iter::successors(last, |name| after[name].iter().copied().max_by_key(at));
    assert_eq!(names, slowest.collect::<Vec<_>>(), "{chain}");
}
