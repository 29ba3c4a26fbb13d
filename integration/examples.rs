//! The example units, each with the server that it is for: it answers once it is active, its main
//! process is killed and it answers again, it is replaced where it has instances, and it stops.
//!
//! They run as they are, in a copy of `units` whose ports and paths in /tmp are the test's own.
//! `units/demo` is tested by `readme`, `units/fastapi` by `fastapi` and under Docker.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::{env, fs};

use serde_json::json;

use crate::harness::varlink::Varlink;
use crate::harness::{DEADLINE, Rinit, Running, processes};
use crate::{http, tools};

/// A shipped directory of units as it runs.
struct Example {
    rinit: Running,
    control: Varlink,
    address: SocketAddr,
}

/// Whether the program is here: on `$PATH`, or in the virtualenv that `integration/setup.sh` makes.
fn program(name: &str) -> Result<(), String> {
    let in_venv = tools::repository().join("target/fastapi-venv/bin").join(name);
    if in_venv.is_file() { Ok(()) } else { tools::program(name).map(|_| ()) }
}

impl Example {
    /// `None`: a program that it runs is not here.
    fn start(name: &str, programs: &[&str]) -> Option<Example> {
        let missing = programs.iter().try_for_each(|name| program(name));
        tools::need(missing)?;
        let address = free_address();
        let setup = Rinit::subreaper();
        copy_units(&setup, address.port());
        // From the repository's root, as the comments say.
        Some(Example::of(setup.options(&["--units", &format!("units/{name}")]), address))
    }

    /// Starts it, and waits until all is ready.
    fn of(setup: Rinit, address: SocketAddr) -> Example {
        let venv = tools::repository().join("target/fastapi-venv/bin");
        let path = format!("{}:{}", venv.display(), env::var("PATH").unwrap());
        let rinit = setup
            .options(&["--socket", "@dir@/control"])
            .env("PATH", &path)
            .env("HOME", "@dir@") // Gunicorn's control socket
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let mut rinit = rinit.start();
        rinit.wait_message("boot done");
        let control = Varlink::connect(&rinit.path("control")).unwrap();
        Example { rinit, control, address }
    }

    /// The body of an answer over HTTP.
    #[track_caller]
    fn ask(&self) -> String {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let answer = http::get(stream, "/");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    #[track_caller]
    fn main_pid(&mut self, unit: &str) -> i32 {
        let answer = self.control.get("Describe", json!({ "unit": format!("{unit}.service") }));
        let pid = answer["properties"]["MainPID"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.filter(|pid| *pid > 0).unwrap_or_else(|| panic!("{unit} has no main process: {answer}"))
    }

    /// Kills the main process, and waits until the unit is ready with another one.
    #[track_caller]
    fn kill(&mut self, unit: &str) {
        let old = self.main_pid(unit);
        processes::kill(old, libc::SIGKILL);
        self.rinit.wait_restart(unit);
        self.wait_ready(unit);
        assert_ne!(self.main_pid(unit), old, "{unit}");
    }

    /// By the job, which is done when the unit is ready, however often it becomes so.
    #[track_caller]
    fn wait_ready(&mut self, unit: &str) {
        let started = self.control.get("Start", json!({ "unit": format!("{unit}.service") }));
        assert_eq!(started["result"], "done", "{started}");
    }

    /// Instances on one port: the first answers, is killed, and comes back, and all are replaced.
    #[track_caller]
    fn live_with_instances(mut self, instances: usize) {
        let names: Vec<String> = (1..=instances).map(|number| format!("web@{number}")).collect();
        self.ask();
        processes::kill(self.main_pid("web@1"), libc::SIGKILL);
        // At once: the port is there, whoever serves it.
        self.ask();
        self.rinit.wait_restart("web@1");
        self.rinit.wait_start("web@1", "ExecStart");
        self.rinit.wait_start("web@1", "ExecStart");
        self.wait_ready("web@1");
        let old: BTreeSet<i32> = names.iter().map(|name| self.main_pid(name)).collect();
        let rolled = self.control.get("Restart", json!({ "unit": "web.service" }));
        assert_eq!(rolled["result"], "done", "{rolled}");
        let new: BTreeSet<i32> = names.iter().map(|name| self.main_pid(name)).collect();
        assert_eq!((new.len(), old.intersection(&new).count()), (instances, 0), "{old:?} {new:?}");
        self.ask();
        self.stop();
    }

    #[track_caller]
    fn stop(self) {
        self.rinit.terminate().assert_code(0);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The directory `units` in the test's own, with a free port and a directory of its own for /tmp's.
fn copy_units(setup: &Rinit, port: u16) {
    copy(&tools::repository().join("units"), &setup.path("units"), &|text| {
        let text = text.replace("8000", &port.to_string()).replace("6379", &port.to_string());
        setup.substitute(&text.replace("/tmp/", "@dir@/"))
    });
    // A replacement is watched for five seconds before the next one's turn; here that is long.
    for name in ["uvicorn", "uvicorn-steered", "hypercorn", "node"] {
        let drop_ins = setup.path("units").join(name).join("web.toml.d");
        fs::create_dir(&drop_ins).unwrap();
        let text = "[Service]\nRollingUpdate = { MonitorSec = \"50ms\" }\n";
        fs::write(drop_ins.join("test.toml"), text).unwrap();
    }
}

fn copy(from: &Path, to: &Path, edit: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "__pycache__" {
                copy(&entry.path(), &target, edit);
            }
        } else {
            fs::write(target, edit(&fs::read_to_string(entry.path()).unwrap())).unwrap();
        }
    }
}

#[test]
fn uvicorn() {
    let Some(example) = Example::start("uvicorn", &["uvicorn"]) else { return };
    example.live_with_instances(4);
}

#[test]
fn uvicorn_steered() {
    let Some(example) = Example::start("uvicorn-steered", &["uvicorn"]) else { return };
    example.live_with_instances(4);
}

#[test]
fn hypercorn() {
    let Some(example) = Example::start("hypercorn", &["hypercorn"]) else { return };
    example.live_with_instances(4);
}

#[test]
fn node() {
    let Some(example) = Example::start("node", &["node"]) else { return };
    example.live_with_instances(4);
}

/// The README's line that needs no file. Its status after SIGTERM is COMMAND's, as always.
#[test]
fn a_command_line() {
    if tools::need(program("uvicorn")).is_none() {
        return;
    }
    let address = free_address();
    let line = crate::readme::command_line("rinit -p Instances=");
    let line = line.replace("8000", &address.to_string());
    let (options, command) = line.split_once(" -- ").unwrap();
    let options: Vec<&str> = options.split(' ').skip(1).collect();
    let command: Vec<&str> = command.split(' ').collect();
    let setup = Rinit::subreaper().options(&options).command(&command);
    let app = tools::repository().join("units/uvicorn/hello.py");
    fs::copy(app, setup.path("hello.py")).unwrap();
    let mut example = Example::of(setup, address);
    example.ask();
    let pids: BTreeSet<i32> = (1..=4).map(|n| example.main_pid(&format!("main@{n}"))).collect();
    assert_eq!(pids.len(), 4);
    example.rinit.terminate().assert_code(143);
}

/// Its master is killed: none of its workers stays, and whoever asks meanwhile is served.
#[test]
fn gunicorn() {
    let Some(mut example) = Example::start("gunicorn", &["gunicorn"]) else { return };
    let worker = |example: &Example| {
        let answer: serde_json::Value = serde_json::from_str(&example.ask()).unwrap();
        i32::try_from(answer["pid"].as_i64().unwrap()).unwrap()
    };
    let (master, first) = (example.main_pid("web"), worker(&example));
    assert_ne!(first, master, "a worker answers");
    example.kill("web");
    assert!(processes::process(first).is_none_or(|process| process.is_zombie()), "left behind");
    assert_ne!(worker(&example), first);
    let reloaded = example.control.get("Reload", json!({ "unit": "web.service" }));
    assert_eq!(reloaded["result"], "done", "{reloaded}");
    worker(&example);
    example.stop();
}

/// nginx is started when the app is ready, and stopped before it.
#[test]
fn nginx() {
    let Some(mut example) = Example::start("nginx", &["nginx", "uvicorn"]) else { return };
    example.ask();
    example.kill("nginx");
    example.ask();
    // A worker behind it: the socket is there, so nginx does not even notice.
    processes::kill(example.main_pid("app@1"), libc::SIGKILL);
    example.ask();
    example.rinit.wait_restart("app@1");
    let reloaded = example.control.get("Reload", json!({ "unit": "nginx.service" }));
    assert_eq!(reloaded["result"], "done", "{reloaded}");
    example.ask();
    let outcome = example.rinit.terminate();
    outcome.assert_code(0);
    let first = |unit: &str, to: &str| outcome.events().position(|e| e.is_state(unit, to)).unwrap();
    outcome.assert(first("app", "running") < first("nginx", "start"), "After=");
    let dead = [("nginx", "running"), ("nginx", "dead"), ("app", "dead")];
    outcome.assert_sequence(&dead);
}

#[test]
fn redis() {
    let Some(mut example) = Example::start("redis", &["redis-server"]) else { return };
    let ping = |example: &Example| {
        let mut stream = TcpStream::connect(example.address).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    };
    ping(&example);
    example.kill("redis");
    ping(&example);
    example.stop();
}
