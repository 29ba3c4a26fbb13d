//! Workers on one port: FastAPI under four `uvicorn --fd 3` and rinit as PID 1, under a counted load.
//!
//! What is asserted is order and what was lost, never how long it took. The rates are such that two
//! busy processors keep up. How fast it is, beside other managers, is `benches/workers`.

mod crash;
mod kill;
mod manager;
mod memory;
mod probe;
mod roll;
mod stop;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::{Value, json};

use crate::harness::processes::{self, Process};
use crate::harness::varlink::Varlink;
use crate::harness::{DEADLINE, Rinit, Running};
use crate::load::{Load, Plan, Tally};
use crate::tools;

/// How many workers there are.
const N: usize = 4;

/// A client that waits so long waits for what will never come.
const PATIENCE: Duration = Duration::from_secs(50);

/// The pause of a client on a real network between connect and request.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// The web unit, as a test wants it.
struct Web {
    rinit: Rinit,
    address: SocketAddr,
    /// Further words for uvicorn.
    words: String,
    unit: String,
    service: String,
    socket: String,
    rest: String,
}

/// The running workers, and the way to rinit.
struct Workers {
    rinit: Running,
    control: Varlink,
    address: SocketAddr,
}

/// A worker as it is seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Worker {
    pid: i32,
    /// As it calls itself.
    inner: i64,
    version: String,
}

impl Web {
    /// Four workers behind one shared socket, ready when they wait for connections.
    fn new() -> Option<Web> {
        let web = Web::bare()?.service("ReadyOn = \"accept\"");
        Some(web)
    }

    /// A socket for each worker, steered by rinit; ready when `/healthz` says so.
    fn steered(health: &str) -> Option<Web> {
        let web = Web::bare()?.socket("ReusePort = true");
        Some(
            web.rest(&format!(
                "[Health]\nHttp = \"/healthz\"\nIntervalSec = \"200ms\"\n{health}\n"
            )),
        )
    }

    fn bare() -> Option<Web> {
        let venv = tools::repository().join("target/fastapi-venv");
        let is_there = venv.join("bin/uvicorn").is_file();
        let venv = tools::need(if is_there { Ok(venv) } else { Err("no target/fastapi-venv") })?;
        let path = format!("{}:{}", venv.join("bin").display(), env::var("PATH").unwrap());
        let rinit = Rinit::pid1()
            .options(&["--socket", "@dir@/control"])
            .env("PATH", &path)
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("APP_STATE", "@dir@");
        let empty = String::new;
        let address = free_address();
        Some(Web {
            rinit,
            address,
            words: empty(),
            unit: empty(),
            service: empty(),
            socket: "DeferAcceptSec = \"5s\"\n".into(),
            rest: empty(),
        })
    }

    /// A line of `[Unit]`.
    fn unit(self, line: &str) -> Web {
        Web { unit: format!("{}{line}\n", self.unit), ..self }
    }

    /// A line of `[Service]`.
    fn service(self, line: &str) -> Web {
        Web { service: format!("{}{line}\n", self.service), ..self }
    }

    /// A line of `[Socket]`.
    fn socket(self, line: &str) -> Web {
        Web { socket: format!("{}{line}\n", self.socket), ..self }
    }

    /// A worker may accept who has not spoken yet.
    fn undeferred(self) -> Web {
        Web { socket: String::new(), ..self }
    }

    /// Further sections.
    fn rest(self, text: &str) -> Web {
        Web { rest: format!("{}{text}\n", self.rest), ..self }
    }

    /// Each worker notes whom it accepts, before it does anything with the connection.
    fn noted(self) -> Web {
        Web { words: " --loop asyncio".into(), ..self }.behave("note accepts\n")
    }

    /// What the processes that start from here on do (see the app).
    fn behave(self, behaviour: &str) -> Web {
        fs::write(self.rinit.path("behaviour"), behaviour).unwrap();
        self
    }

    /// Writes the units; starts nothing.
    fn write(self) -> (Rinit, SocketAddr) {
        let apps = tools::repository().join("integration/apps/fastapi-workers");
        let text = format!(
            "[Unit]\n{}[Service]\n\
             ExecStart = \"uvicorn workers:app --fd 3 --app-dir {} --log-level warning{}\"\n\
             Instances = {N}\nRestart = \"always\"\n{}\
             [Socket]\nListenStream = \"{}\"\n{}{}",
            self.unit,
            apps.display(),
            self.words,
            self.service,
            self.address,
            self.socket,
            self.rest,
        );
        (self.rinit.unit("web", &text), self.address)
    }

    /// Starts it, and waits until all four are ready.
    #[track_caller]
    fn start(self) -> Workers {
        let (rinit, address) = self.write();
        let mut rinit = rinit.start();
        rinit.wait_message("boot done");
        let control = Varlink::connect(&rinit.path("control")).unwrap();
        let mut workers = Workers { rinit, control, address };
        // Its job is done when every instance is ready.
        let started = workers.job("Start");
        assert_eq!(started["result"], "done", "{started}");
        assert_eq!(workers.up().len(), N);
        workers
    }
}

impl Workers {
    /// A load of so many requests a second, each on a new connection that is silent for a while.
    fn load(&self, rate: u32) -> Load {
        self.load_of(self.plan(rate).pause(ROUND_TRIP))
    }

    fn plan(&self, rate: u32) -> Plan {
        Plan::new(self.address).rate(rate).timeout(PATIENCE)
    }

    /// Starts a load, and waits until it flows.
    #[track_caller]
    fn load_of(&self, plan: Plan) -> Load {
        let load = Load::start(plan).unwrap();
        self.wait_load(&load, 20);
        load
    }

    /// Waits for the end of so many more requests.
    #[track_caller]
    fn wait_load(&self, load: &Load, requests: u64) {
        if !load.wait_more(DEADLINE, requests) {
            self.rinit.fail(&format!("no {requests} more answers: {}", load.tally()));
        }
    }

    /// Puts another version on the disk, whole or not at all.
    fn behave(&self, behaviour: &str) {
        let new = self.rinit.path("behaviour.new");
        fs::write(&new, behaviour).unwrap();
        fs::rename(new, self.rinit.path("behaviour")).unwrap();
    }

    /// A job on the service, to its end.
    #[track_caller]
    fn job(&mut self, verb: &str) -> Value {
        self.control.get(verb, json!({ "unit": "web.service" }))
    }

    /// A property of a unit.
    #[track_caller]
    fn property(&mut self, unit: &str, name: &str) -> Value {
        self.control.get("Describe", json!({ "unit": unit }))["properties"][name].clone()
    }

    /// The workers whose app has come up, and that live.
    fn up(&self) -> Vec<Worker> {
        let notes = fs::read_to_string(self.rinit.path("started")).unwrap_or_default();
        let notes: Vec<(&str, &str)> = notes.lines().filter_map(|l| l.split_once(' ')).collect();
        let worker = |process: Process| {
            let inner = processes::inner_pid(process.pid)?;
            let (_, version) = notes.iter().rev().find(|(pid, _)| pid.parse() == Ok(inner))?;
            Some(Worker { pid: process.pid, inner, version: (*version).to_string() })
        };
        let alive = self.rinit.processes().into_iter().filter(|process| !process.is_zombie());
        alive.filter_map(worker).collect()
    }

    /// The worker that calls itself so in `x-worker`.
    #[track_caller]
    fn named(&self, inner: &str) -> Worker {
        let up = self.up();
        let found = up.iter().find(|worker| worker.inner.to_string() == inner);
        found.unwrap_or_else(|| panic!("no worker {inner} in {up:?}")).clone()
    }

    /// The instance whose process this is.
    #[track_caller]
    fn instance_of(&mut self, worker: &Worker) -> String {
        let names = (1..=N).map(|number| format!("web@{number}.service"));
        let found = names.into_iter().find(|name| {
            let pid = self.property(name, "MainPID");
            pid == worker.inner || pid == i64::from(worker.pid)
        });
        found.unwrap_or_else(|| panic!("no instance has {worker:?}"))
    }

    /// A request on a connection of its own, not answered yet.
    fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Nothing failed: not one request was cut, refused, answered by an error or left hanging.
    #[track_caller]
    fn assert_nothing_lost(&self, tally: &Tally) {
        if tally.failed() > 0 {
            self.rinit.fail(&format!("{tally}; {:?}", tally.failures));
        }
    }

    /// The `x-worker` of an answer that has begun.
    fn worker_of(&self, stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "cut short: {head:?}");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let worker = head.lines().find_map(|line| line.strip_prefix("x-worker: "));
        worker.unwrap_or_else(|| panic!("no worker in {head}")).to_string()
    }
}

/// Waits for what nothing tells of (the kernel's state of a process): looks again and again.
#[track_caller]
fn look_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
