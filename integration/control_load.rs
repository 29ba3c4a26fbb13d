//! The control socket under load: floods, clients that do not read, and a storm of requests whose
//! events a model replays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::varlink::{Varlink, message};
use crate::harness::{Rinit, Running};

fn controlled() -> Rinit {
    Rinit::subreaper().options(&["--socket", "@dir@/control", "--log-level", "warn"])
}

#[track_caller]
fn start(rinit: Rinit) -> Running {
    let mut rinit = rinit.start();
    rinit.wait_line("up");
    rinit
}

fn connect(rinit: &Running) -> Varlink {
    Varlink::connect(&rinit.path("control")).unwrap()
}

/// Private dirty memory of rinit in KiB.
fn private_kib(rinit: &Running) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", rinit.pid)).unwrap();
    let number = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    text.lines().filter(|line| line.starts_with("Private_Dirty")).filter_map(number).sum()
}

#[track_caller]
fn assert_listed(rinit: &Running) {
    let listed = connect(rinit).get("List", json!({}));
    assert_eq!(listed["units"].as_array().unwrap().len(), 1);
}

/// 1,000 connections that say nothing: the owner is served throughout.
#[test]
fn silent_connections_starve_nobody() {
    let rinit = start(controlled().service("web", "say up wait", ""));
    let mut silent = Vec::new();
    for round in 0..10 {
        silent.extend((0..100).map(|_| connect(&rinit)));
        assert_listed(&rinit);
        if round == 5 {
            silent.drain(..100);
        }
    }
    let memory = private_kib(&rinit);
    assert!(memory < 4096, "{memory} KiB");
    // The oldest were told why they had to go.
    let (answer, _) = silent[0].answer().unwrap();
    assert_eq!(answer.unwrap_err().0, "Refused");
    assert_eq!(silent[0].receive(), None);
    drop(silent);
    assert_listed(&rinit);
    rinit.terminate().assert_code(0);
}

/// 1,000 clients that want events and read none of them, while many happen.
#[test]
fn slow_readers_are_dropped_and_starve_nobody() {
    let lines = "Restart = \"always\"\nRestartSec = 0\n";
    let unit = format!(
        "[Unit]\nStartLimitIntervalSec = 0\n[Service]\n\
        ExecStart = \"@probe@ say up wait\"\n{lines}"
    );
    let rinit = start(controlled().unit("web", &unit));
    let mut slow: Vec<Varlink> = Vec::new();
    for round in 0..1000 {
        let mut client = connect(&rinit);
        // It may be refused and closed already.
        let _ = client.send(&message("Events", json!({ "recent": true }), true));
        slow.push(client);
        if round % 100 == 99 {
            assert_listed(&rinit);
        }
    }
    // About six events each; the ring holds a thousand, and a queue about as many.
    let mut owner = connect(&rinit);
    for round in 0..1200 {
        owner.get("Restart", json!({ "unit": "web.service" }));
        if round % 200 == 0 {
            assert_listed(&rinit);
            let memory = private_kib(&rinit);
            assert!(memory < 16 << 10, "{memory} KiB"); // 32 queues of 256 KiB, and room
        }
    }
    let ends: Vec<String> = slow.iter_mut().map(last_error).collect();
    let count = |name: &str| ends.iter().filter(|end| *end == name).count();
    // One whose place was needed may have been closed before it read why.
    assert!(count("TooSlow") > 0, "{ends:?}");
    assert_eq!(count("TooSlow") + count("(nothing)"), 32, "{ends:?}");
    assert_eq!(count("Refused"), 1000 - 32);
    assert_listed(&rinit);
    drop(slow);
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let said = outcome.events().filter(|e| e.text("message").contains("too slowly")).count();
    outcome.assert(said >= 1, "the log says who was dropped");
}

/// The error with which a stream ends.
#[track_caller]
fn last_error(client: &mut Varlink) -> String {
    loop {
        match client.answer() {
            Some((Ok(_), _)) => {}
            Some((Err((name, _)), _)) => return name,
            None => return "(nothing)".to_string(),
        }
    }
}

/// What events say about one unit.
#[derive(Debug, Default)]
struct Model {
    state: Option<String>,
    main: Option<i64>,
    starts: usize,
    /// What was said lately, to be shown when something is wrong.
    history: std::collections::VecDeque<String>,
}

impl Model {
    /// No state is skipped, and there is one main process at a time.
    #[track_caller]
    fn replay(&mut self, event: &Value) {
        let said = event;
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_string();
        self.history.push_back(event.to_string());
        if self.history.len() > 16 {
            self.history.pop_front();
        }
        let (pid, event) = (event["pid"].as_i64(), &self.history);
        match text("event").as_str() {
            "state" => {
                let before = self.state.replace(text("to"));
                let before = before.unwrap_or_else(|| "dead".to_string());
                assert_eq!(before, text("from"), "a state was skipped: {event:#?}");
            }
            "start" if text("role") == "ExecStart" => {
                assert!(pid.is_some(), "{event:#?}");
                assert_eq!(self.main, None, "a second main process: {event:#?}");
                (self.main, self.starts) = (pid, self.starts + 1);
            }
            "exit" if text("role") == "ExecStart" => {
                // One that never became the program had no start.
                assert!(self.main.is_none() || self.main == pid, "{event:#?}");
                self.main = None;
            }
            // SIGKILL took longer than TimeoutStopSec=, on a busy machine: rinit goes on without it.
            "message" if text("message").contains("going on without them") => self.main = None,
            _ => {}
        }
    }
}

/// A number generator that is good enough to be random, and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

const UNITS: u64 = 20;

fn storm_units(mut rinit: Rinit) -> Rinit {
    for at in 0..UNITS {
        let needs = match at {
            // Two short chains and a few that share one.
            1 | 2 | 11 => format!(
                "Requires = \"u{:02}.service\"\nAfter = \"u{:02}.service\"\n",
                at - 1,
                at - 1
            ),
            15..=17 => "Wants = \"u14.service\"\nAfter = \"u14.service\"\n".to_string(),
            _ => String::new(),
        };
        let what = match at {
            3 | 4 => "ignore TERM wait\"\nTimeoutStopSec = \"50ms",
            5 => "exit 1",
            6 => "sleep 20 exit 0",
            _ => "wait",
        };
        let text = format!(
            "[Unit]\nFailureAction = \"none\"\nStartLimitIntervalSec = 0\n{needs}\n[Service]\n\
             Restart = \"always\"\nRestartSec = \"10ms\"\nRestartMaxDelaySec = \"100ms\"\n\
             ExecReload = \"@probe@ ok\"\nExecStart = \"@probe@ {what}\"\n"
        );
        rinit = rinit.unit(&format!("u{at:02}"), &text);
    }
    rinit.service("zz", "say up wait", "")
}

/// One client's part of the storm: every request has exactly one end.
fn rain(mut client: Varlink, seed: u64, count: u64, pause: Duration) {
    let mut dice = Dice(seed);
    let began = Instant::now();
    for at in 0..count {
        let unit = json!({ "unit": format!("u{:02}.service", dice.roll(UNITS)) });
        let answer = match dice.roll(10) {
            0..=2 => client.call("Start", unit),
            3..=4 => client.call("Stop", unit),
            5..=6 => client.call("Restart", unit),
            7 => client.call("Reload", unit),
            8 => {
                let signal = ["KILL", "TERM", "SEGV"][dice.roll(3) as usize];
                let unit = unit["unit"].as_str().unwrap();
                client.call("Kill", json!({ "unit": unit, "signal": signal }))
            }
            _ => client.call("Restart", json!({ "unit": unit["unit"], "wait": false })),
        };
        match answer {
            Ok(reply) => {
                let known = ["done", "failed", "dependency", "timeout", "canceled", "queued"];
                let result = reply["result"].as_str();
                assert!(result.is_none_or(|result| known.contains(&result)), "{reply}");
            }
            Err((name, parameters)) => assert_eq!(name, "Refused", "{parameters}"),
        }
        // This is the load, not a wait for anything.
        let due = pause * u32::try_from(at + 1).unwrap();
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    // What came after a last reply would be taken for this one's.
    assert!(client.get("SystemState", json!({}))["state"].is_string());
}

/// Random requests from eight clients. `RINIT_STORM_SECONDS=60` makes it 200 a second for so long.
#[test]
fn a_storm_of_requests_is_consistent() {
    const CLIENTS: u64 = 8;
    let seconds: Option<u64> =
        std::env::var("RINIT_STORM_SECONDS").ok().map(|text| text.parse().unwrap());
    let (count, pause) = match seconds {
        Some(seconds) => (seconds * 200 / CLIENTS, Duration::from_millis(1000 * CLIENTS / 200)),
        None => (3000 / CLIENTS, Duration::ZERO),
    };
    let rinit = start(storm_units(controlled()));
    let mut events = connect(&rinit);
    events.listen(json!({ "recent": true }));
    let listener = std::thread::spawn(move || {
        let mut models: BTreeMap<String, Model> = BTreeMap::new();
        loop {
            let event = events.event();
            if event["unit"] == "zz.service" && event["job"] == "restart" {
                return models; // the last request of all has ended
            }
            if let Some(unit) = event["unit"].as_str() {
                models.entry(unit.to_string()).or_default().replay(&event);
            }
        }
    });
    let seed = u64::from(std::process::id()) | 1 << 40;
    eprintln!("seed {seed}, {count} requests of {CLIENTS} clients each");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|at| {
            let client = connect(&rinit);
            std::thread::spawn(move || rain(client, seed + at * 7919, count, pause))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    // Everything stops; then what the model believes is what is.
    let mut owner = connect(&rinit);
    for at in 0..UNITS {
        owner.get("Stop", json!({ "unit": format!("u{at:02}.service") }));
    }
    owner.get("Restart", json!({ "unit": "zz.service" })); // for the listener to end on
    let models = listener.join().unwrap();
    let list = owner.get("List", json!({}));
    for entry in list["units"].as_array().unwrap() {
        let name = entry["unit"].as_str().unwrap();
        if name == "zz.service" {
            continue;
        }
        let model = &models[name];
        assert_eq!(model.state.as_deref(), entry["sub"].as_str(), "{name}: {model:?}");
        assert_eq!(model.main, None, "{name}");
        assert!(model.starts > 0, "{name} never ran");
    }
    let memory = private_kib(&rinit);
    assert!(memory < 4096, "{memory} KiB");
    rinit.terminate();
}
