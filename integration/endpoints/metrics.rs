//! `/metrics`, read by the parsers of Prometheus' own Python client.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{connect, exchange, main_pid, served};
use crate::harness::varlink::Varlink;
use crate::harness::{Rinit, processes};
use crate::{http, tools};

/// The virtualenv that `integration/setup.sh` makes.
fn python() -> Result<PathBuf, String> {
    let python = tools::repository().join("target/prometheus-venv/bin/python");
    let works = Command::new(&python).args(["-c", "import prometheus_client"]).output();
    match works {
        Ok(output) if output.status.success() => Ok(python),
        Ok(_) | Err(_) => Err(format!("{} has no prometheus-client package", python.display())),
    }
}

/// Reads stdin as the format of the first argument; every family with its samples, as JSON.
const READ: &str = r#"
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
read = {"open": openmetrics, "text": parser}[sys.argv[1]].text_string_to_metric_families
families = [
    {"name": f.name, "type": f.type, "unit": f.unit, "help": f.documentation,
     "samples": [{"name": s.name, "labels": s.labels, "value": s.value} for s in f.samples]}
    for f in read(sys.stdin.read())
]
json.dump(families, sys.stdout)
"#;

const OPEN: &str = "application/openmetrics-text; version=1.0.0";

/// The families of what rinit says in this format.
#[track_caller]
fn scrape(python: &PathBuf, address: SocketAddr, format: &str) -> Vec<Value> {
    let accept = if format == "open" { OPEN } else { "*/*" };
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
    let answer = exchange(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let kind = match format {
        "open" => "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        _ => "Content-Type: text/plain; version=0.0.4; charset=utf-8",
    };
    assert!(head.contains(kind), "{head}");
    let mut child = Command::new(python)
        .args(["-c", READ, format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}\n{body}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Samples by name and labels, as in `x{a="b"}`.
fn samples(families: &[Value]) -> BTreeMap<String, f64> {
    let all = families.iter().flat_map(|family| family["samples"].as_array().unwrap());
    let named = all.map(|sample| {
        let labels: BTreeMap<String, String> =
            serde_json::from_value(sample["labels"].clone()).unwrap();
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = sample["name"].as_str().unwrap();
        (format!("{name} {}", labels.join(" ")), sample["value"].as_f64().unwrap())
    });
    named.collect()
}

/// What promtool's linter asks for, and the names of rinit's own.
fn assert_well_named(family: &Value) {
    let name = family["name"].as_str().unwrap();
    let counts = family["type"] == "counter";
    assert!(name.starts_with("rinit_") || name.starts_with("process_"), "{name}");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(plain), "{name}");
    assert!(family["help"].as_str().unwrap().ends_with('.'), "{name} has no help");
    for word in ["gauge", "counter", "info", "milli", "minutes", "kilo", "percent"] {
        assert!(!name.contains(word), "{name} has {word} in it");
    }
    for sample in family["samples"].as_array().unwrap() {
        let sample = sample["name"].as_str().unwrap();
        assert_eq!(sample.ends_with("_total"), counts, "{sample}");
    }
    for unit in ["seconds", "bytes"] {
        assert_eq!(name.ends_with(unit), family["unit"] == unit, "{name}");
    }
}

#[test]
fn prometheus_reads_it() {
    let Some(python) = tools::need(python()) else { return };
    let (setup, address) = served(Rinit::subreaper());
    let setup = setup
        .service("web", "say up wait", "Instances = 2\nRestart = \"always\"\nRestartSec = \"1ms\"")
        .service("10-step", "exit 3", "Type = \"oneshot\"\nSuccessExitStatus = 3")
        .service("odd\\x22name", "wait", "")
        .service("capped", "wait", "MemoryMax = \"64M\"")
        .options(&["--socket", "@dir@/control"]);
    let mut rinit = setup.start();
    rinit.wait_message("boot done");
    rinit.wait_line("up");
    rinit.wait_line("up");
    processes::kill(main_pid(&rinit, "web@1"), libc::SIGKILL);
    rinit.wait_line("up");
    let mut control = Varlink::connect(&rinit.path("control")).unwrap();
    control.get("Start", json!({ "unit": "web.service" }));

    let families = scrape(&python, address, "open");
    families.iter().for_each(assert_well_named);
    let found = samples(&families);
    for (sample, value) in [
        ("rinit_build_info version=0.1.0", 1.0),
        ("rinit_ready ", 1.0),
        ("rinit_system_state state=running", 1.0),
        ("rinit_system_state state=degraded", 0.0),
        ("rinit_unit_state state=active unit=web.service", 1.0),
        ("rinit_unit_state instance_of=web.service state=active unit=web@1.service", 1.0),
        ("rinit_unit_state instance_of=web.service state=failed unit=web@1.service", 0.0),
        ("rinit_unit_state state=inactive unit=10-step.service", 1.0),
        ("rinit_unit_ready unit=web.service", 1.0),
        ("rinit_unit_ready unit=odd\\x22name.service", 1.0),
        ("rinit_unit_instances unit=web.service", 2.0),
        ("rinit_unit_instances_ready unit=web.service", 2.0),
        ("rinit_unit_restarts_total instance_of=web.service unit=web@1.service", 1.0),
        ("rinit_unit_restarts_total instance_of=web.service unit=web@2.service", 0.0),
        ("rinit_unit_last_exit_status instance_of=web.service unit=web@1.service", 137.0),
        ("rinit_unit_memory_max_bytes unit=capped.service", f64::from(64 << 20)),
        ("rinit_unit_last_exit_status unit=10-step.service", 3.0),
    ] {
        assert_eq!(found.get(sample), Some(&value), "{sample} in {found:#?}");
    }
    assert!(
        !found.contains_key("rinit_unit_restarts_total unit=web.service"),
        "would be counted twice"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let started = found["rinit_unit_start_time_seconds instance_of=web.service unit=web@2.service"];
    let age = now.as_secs_f64() - started;
    assert!((-1.0..600.0).contains(&age), "{age}");
    assert!(found["rinit_loop_turns_total "] > 1.0);
    assert!(found["process_resident_memory_bytes "] > 100_000.0);

    // The same in the other format, but that somebody may have looked at the memory meanwhile.
    let text = samples(&scrape(&python, address, "text"));
    let names = |samples: &BTreeMap<String, f64>| {
        let names = samples.keys().filter(|name| !name.contains("_memory_"));
        names.cloned().collect::<Vec<String>>()
    };
    assert_eq!(names(&text), names(&found));
    assert_eq!(http::get(connect(address), "/metrics").status, 200);
    rinit.terminate().assert_code(0);
}
