//! Instances of a small server on one port: each probed, steered to, replaced, drained by itself.
//!
//! What is asserted is who answered and what failed, never how long it took. The same with real
//! servers is in `workers`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::varlink::Varlink;
use crate::harness::{DEADLINE, Rinit, Running, processes};
use crate::load::{Kind, Load, Plan, Tally};

/// The pause of a client on a real network between connect and request.
const ROUND_TRIP: Duration = Duration::from_millis(20);

const RATE: u32 = 200;

/// Each instance has a socket of its own and is asked on it.
const STEERED: &str = "[Socket]\nListenStream = \"ADDRESS\"\nReusePort = true\n\
    [Health]\nHttp = \"/healthz\"\nIntervalSec = \"50ms\"\nStartIntervalSec = \"20ms\"\nRetries = 2\n\
    TimeoutSec = \"10s\"\nOnUnhealthy = \"none\"\n";

/// All wait on the same socket.
const SHARED: &str = "[Socket]\nListenStream = \"ADDRESS\"\nDeferAcceptSec = \"5s\"\n";

struct Web {
    rinit: Running,
    control: Varlink,
    address: SocketAddr,
}

impl Web {
    /// Four instances; `service` is more of `[Service]`.
    #[track_caller]
    fn start(service: &str, rest: &str) -> Web {
        let address = free_address();
        let unit = format!(
            "[Unit]\nStartLimitIntervalSec = 0\n[Service]\nExecStart = \"@probe@ web 3 @dir@\"\n\
             Instances = 4\nRestart = \"always\"\nRestartSec = \"5ms\"\n{service}\n{}",
            rest.replace("ADDRESS", &address.to_string()),
        );
        let rinit = Rinit::subreaper().options(&["--socket", "@dir@/control"]);
        let mut rinit = rinit.unit("web", &unit).start();
        rinit.wait_message("boot done");
        let control = Varlink::connect(&rinit.path("control")).unwrap();
        let mut web = Web { rinit, control, address };
        // Its job is done when every instance is ready.
        assert_eq!(web.job("Start")["result"], "done");
        web
    }

    fn steered(service: &str) -> Web {
        Web::start(service, STEERED)
    }

    fn shared(service: &str) -> Web {
        Web::start(&format!("ReadyOn = \"accept\"\n{service}"), SHARED)
    }

    fn job(&mut self, verb: &str) -> Value {
        self.control.get(verb, json!({ "unit": "web.service" }))
    }

    #[track_caller]
    fn scale(&mut self, count: u32) {
        let done = self.control.get("Scale", json!({ "unit": "web.service", "instances": count }));
        assert_eq!(done["result"], "done", "{done}");
    }

    fn main_pid(&mut self, number: u32) -> i32 {
        let unit = format!("web@{number}.service");
        let properties = self.control.get("Describe", json!({ "unit": unit }));
        properties["properties"]["MainPID"].as_i64().unwrap() as i32
    }

    fn plan(&self) -> Plan {
        Plan::new(self.address).timeout(DEADLINE)
    }

    /// A load that flows: each request on a new connection that is silent for a while.
    #[track_caller]
    fn load(&self) -> Load {
        let load = Load::start(self.plan().rate(RATE).pause(ROUND_TRIP)).unwrap();
        self.wait_load(&load, 20);
        load
    }

    #[track_caller]
    fn wait_load(&self, load: &Load, requests: u64) {
        if !load.wait_more(DEADLINE, requests) {
            self.rinit.fail(&format!("no {requests} more answers: {}", load.tally()));
        }
    }

    /// Not one request was cut, refused, answered by an error or left hanging.
    #[track_caller]
    fn assert_nothing_lost(&self, tally: &Tally) {
        if tally.failed() > 0 {
            self.rinit.fail(&format!("{tally}; {:?}", tally.failures));
        }
    }

    /// So many requests on connections of their own that nobody has answered yet.
    fn ask(&self, count: usize) -> Vec<TcpStream> {
        let ask = |_| {
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            stream
        };
        (0..count).map(ask).collect()
    }

    /// Rolls once, with the load going on.
    #[track_caller]
    fn roll(&mut self, load: &Load) {
        let done = self.job("Restart");
        assert_eq!(done["result"], "done", "{done}");
        self.wait_load(load, 50);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The pid and the instance that an answer names.
#[track_caller]
fn answer(mut stream: TcpStream) -> (i32, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    (field("x-worker: ").parse().unwrap(), field("x-version: ").to_string())
}

/// Waits for what nothing tells of: looks again and again.
#[track_caller]
fn look_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn start_first(more: &str) -> String {
    format!("RollingUpdate = {{ Order = \"start-first\", MonitorSec = \"50ms\"{more} }}")
}

const STOP_FIRST: &str = "RollingUpdate = { Order = \"stop-first\", MonitorSec = \"50ms\" }";

/// Every instance is asked itself: the one that says 503 is found, and no other; nobody else
/// gets a 503 from then on, and the rest share the work evenly. After a roll as well, when each
/// instance has the socket that was another's.
#[test]
fn an_ill_instance_is_found_by_its_own_probe_and_gets_no_client() {
    let mut web = Web::steered(&start_first(""));
    for round in ["2", "3"] {
        let sign = web.rinit.path(&format!("ill-{round}"));
        std::fs::write(&sign, "").unwrap();
        let ill = format!("web@{round}.service");
        web.rinit.wait_event("the ill one to be found", |event| {
            event.text("unit") == ill && event.text("message").contains("unhealthy")
        });
        // Who had begun before is done once a connection was served that came later.
        let tally = Load::start(web.plan().rate(1000).requests(2000)).unwrap().finish();
        assert_eq!((tally.ok, tally.count(Kind::BadStatus)), (2000, 0), "{tally}");
        assert_eq!(tally.version(round), 0, "{:?}", tally.versions);
        assert_even(&tally, 3);
        std::fs::remove_file(sign).unwrap();
        web.rinit.wait_event("it to be well again", |event| {
            event.text("unit") == ill && event.text("message").contains("healthy again")
        });
        assert_eq!(web.job("Restart")["result"], "done");
    }
    let outcome = web.rinit.terminate();
    outcome.assert_code(0);
    let found = outcome.events().filter(|event| event.text("message").contains("unhealthy"));
    let found: Vec<&str> = found.map(|event| event.text("unit")).collect();
    assert!(found.iter().all(|unit| unit.contains("@2") || unit.contains("@3")), "{found:?}");
}

/// Each gets its share of 2,000 within a fifth: more than five standard deviations.
#[track_caller]
fn assert_even(tally: &Tally, instances: u64) {
    let even = tally.ok / instances;
    assert_eq!(tally.versions.len() as u64, instances, "{:?}", tally.versions);
    for (name, answers) in &tally.versions {
        assert!(answers.abs_diff(even) * 5 <= even, "instance {name}: {:?}", tally.versions);
    }
}

#[test]
fn steered_connections_are_even() {
    let web = Web::steered("");
    let tally = Load::start(web.plan().rate(1000).requests(2000)).unwrap().finish();
    assert_eq!(tally.ok, 2000, "{tally}");
    assert_even(&tally, 4);
    web.rinit.terminate().assert_code(0);
}

fn rolls_lose_nothing(mut web: Web) {
    let load = web.load();
    for _ in 0..3 {
        web.roll(&load);
    }
    web.assert_nothing_lost(&load.stop());
    web.rinit.terminate().assert_code(0);
}

#[test]
fn start_first_rolls_lose_nothing() {
    rolls_lose_nothing(Web::steered(&start_first("")));
}

#[test]
fn start_first_rolls_of_all_at_once_lose_nothing() {
    rolls_lose_nothing(Web::steered(&start_first(", Parallelism = 4")));
}

#[test]
fn stop_first_rolls_lose_nothing() {
    rolls_lose_nothing(Web::steered(STOP_FIRST));
}

#[test]
fn start_first_rolls_on_one_socket_lose_nothing() {
    rolls_lose_nothing(Web::shared(&start_first("")));
}

#[test]
fn stop_first_rolls_on_one_socket_lose_nothing() {
    rolls_lose_nothing(Web::shared(STOP_FIRST));
}

/// A replacement that is ill is found by its own probe: the old ones, which are well, do not
/// answer for it, and it answers no client.
#[test]
fn an_ill_replacement_halts_the_roll_and_nobody_sees_it() {
    let mut web = Web::steered(&format!("TimeoutStartSec = \"300ms\"\n{}", start_first("")));
    let load = web.load();
    std::fs::write(web.rinit.path("ill"), "").unwrap();
    let done = web.job("Restart");
    assert_eq!(done["result"], "failed", "{done}");
    web.wait_load(&load, 50);
    web.assert_nothing_lost(&load.stop());
    web.rinit.terminate().assert_code(0);
}

fn scaling_loses_nothing(mut web: Web) {
    let load = web.load();
    for count in [7, 2, 5] {
        web.scale(count);
        // All of them, and nobody else, get work now.
        let tally = Load::start(web.plan().rate(500).requests(200)).unwrap().finish();
        assert_eq!(tally.ok, 200, "{tally}");
        assert!(tally.versions.keys().all(|it| it.parse::<u32>().unwrap() <= count), "{tally:?}");
    }
    web.assert_nothing_lost(&load.stop());
    web.rinit.terminate().assert_code(0);
}

#[test]
fn scaling_up_and_down_loses_nothing() {
    scaling_loses_nothing(Web::steered(""));
}

#[test]
fn scaling_up_and_down_on_one_socket_loses_nothing() {
    scaling_loses_nothing(Web::shared(""));
}

/// A hundred ask while one instance is frozen; a quarter of them wait in its queue. It is killed,
/// and its successor serves them: it has the same socket. After a roll as well.
#[test]
fn who_is_queued_for_a_killed_instance_is_served_by_its_successor() {
    // A frozen instance is not found before the test is over, and would only be told of.
    let mut web = Web::steered(&start_first(""));
    for _ in 0..2 {
        let victim = web.main_pid(2);
        processes::kill(victim, libc::SIGSTOP);
        look_until("it to be frozen", || processes::status(victim, "State").starts_with('T'));
        let streams = web.ask(100);
        processes::kill(victim, libc::SIGKILL);
        let mut pids: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (pid, instance) in streams.into_iter().map(answer) {
            pids.entry(instance).or_default().push(pid);
        }
        assert!(pids["2"].iter().all(|pid| *pid != victim), "{pids:?}");
        assert_eq!(pids.len(), 4, "{pids:?}");
        look_until("its successor", || web.main_pid(2) == pids["2"][0]);
        assert_eq!(web.job("Restart")["result"], "done");
    }
    web.rinit.terminate().assert_code(0);
}

/// `Instances=` of the command line's command.
#[test]
fn a_command_with_instances() {
    for more in [&["ReusePort=yes"][..], &["ReadyOn=accept", "DeferAcceptSec=5"]] {
        let address = free_address();
        let stream = format!("ListenStream={address}");
        let mut options = vec!["-p", &stream, "-p", "Instances=2"];
        options.extend(more.iter().flat_map(|property| ["-p", *property]));
        let rinit = Rinit::subreaper().options(&options).command_probe("web 3 @dir@");
        let mut rinit = rinit.start();
        rinit.wait_line_with("serving ");
        rinit.wait_line_with("serving ");
        let plan = Plan::new(address).rate(500).requests(200).timeout(DEADLINE);
        let tally = Load::start(plan).unwrap().finish();
        assert_eq!(tally.ok, 200, "{tally}");
        assert!(tally.versions.keys().all(|name| name == "1" || name == "2"), "{tally:?}");
        rinit.terminate().assert_code(0);
    }
}

/// Before its exec a child has copies of rinit's own sockets, of which one listens: no sign that
/// the program is ready. Here it waits for its standard input before the exec.
#[test]
fn no_process_waits_for_connections_before_its_exec() {
    let address = free_address();
    let unit = format!(
        "[Service]\nExecStart = \"@probe@ web 3 @dir@\"\nReadyOn = \"accept\"\n\
         StandardInput = \"file:@dir@/fifo\"\n[Socket]\nListenStream = \"{address}\"\n"
    );
    let rinit = Rinit::subreaper().options(&["--socket", "@dir@/control"]).unit("web", &unit);
    let fifo = rinit.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = rinit.start();
    rinit.wait_state("web", "start");
    let mut control = None;
    look_until("the control socket", || {
        control = control.take().or_else(|| Varlink::connect(&rinit.path("control")).ok());
        control.is_some()
    });
    let mut control = control.unwrap();
    for _ in 0..100 {
        let unit = control.get("Describe", json!({ "unit": "web.service" }));
        assert_eq!(unit["properties"]["SubState"], "start", "{unit}");
    }
    let _input = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    rinit.wait_state("web", "running");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    let is = |what: &dyn Fn(&crate::harness::Event) -> bool| outcome.events().position(what);
    let execed = is(&|event| event.is_start("web", "ExecStart")).unwrap();
    let running = is(&|event| event.is_state("web", "running")).unwrap();
    outcome.assert(execed < running, "it was ready before it was the program");
}
