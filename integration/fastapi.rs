//! The FastAPI journey: `units/fastapi` as they are shipped, real Alembic, real Uvicorn, and rinit as
//! PID 1 of a namespace. The same image under Docker is `docker::fastapi_image`.
//!
//! Uvicorn listens on a Unix socket in the test's own directory, by its own environment variable: no
//! port of this machine is taken.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Value, json};

use crate::harness::varlink::Varlink;
use crate::harness::{Outcome, Rinit, Running};
use crate::{http, require, tools};

const STEPS: [&str; 2] = ["10-wait-for-storage", "20-migrate"];

/// Two starts of the server, one of the migration: it is not run again by a restart.
#[test]
fn migrations_run_once_and_before_the_first_request() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let mut rinit = with_storage(setup).start();
    rinit.wait_stderr("Uvicorn running");
    let log = get(&rinit, "/migrations").json();
    assert_counts(&log, 1, 1);
    // The app wrote down what it found when it started: the schema, and after the migration.
    let (run, start) = (&log["migration_runs"][0], &log["app_starts"][0]);
    assert_eq!(start["revision"], log["revision"], "{log}");
    assert!(run["at"].as_str() <= start["at"].as_str(), "{log}");

    kill_web(&mut rinit);
    rinit.wait_stderr("Uvicorn running");
    let log = get(&rinit, "/migrations").json();
    assert_counts(&log, 1, 2);
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_eq!(outcome.starts("ExecStart"), [STEPS[0], STEPS[1], "web", "web"]);
}

/// The README's four workers in place of the one: still one migration, before all of them; one is
/// killed and the port serves on; all are replaced.
#[test]
fn four_workers_on_one_port() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let web = crate::readme::shown("workers").replace("0.0.0.0:8000", "@dir@/web.sock");
    let quick = "[Service]\nRollingUpdate = { MonitorSec = \"50ms\" }\n";
    let setup = with_storage(setup).unit("web", &web).env("UVICORN_UDS", "");
    let drop_ins = setup.units_directory().join("web.toml.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(drop_ins.join("test.toml"), quick).unwrap();
    let mut rinit = setup.options(&["--socket", "@dir@/control"]).start();
    rinit.wait_message("boot done");
    assert_counts(&get(&rinit, "/migrations").json(), 1, 4);

    kill_web(&mut rinit);
    assert_eq!(get(&rinit, "/healthz").status, 200, "the others, or the next one");
    let mut control = Varlink::connect(&rinit.path("control")).unwrap();
    let mut job = |verb: &str| {
        let done = control.get(verb, json!({ "unit": "web.service" }));
        assert_eq!(done["result"], "done", "{done}");
    };
    // The fifth start of a server is the one in the killed one's place.
    for _ in 0..5 {
        rinit.wait_stderr("Uvicorn running");
    }
    job("Restart");
    let log = get(&rinit, "/migrations").json();
    assert_counts(&log, 1, 9);
    rinit.terminate().assert_code(0);
}

/// Alembic itself fails, on a file that is no database; it ends with 1, and so does rinit.
#[test]
fn a_failing_migration_stops_the_boot() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let setup = with_storage(setup);
    fs::write(setup.path("data/notes.sqlite3"), "This is no database. ".repeat(100)).unwrap();
    let outcome = setup.run();
    outcome.assert_code(1).assert_stderr(&["file is not a database"]);
    assert_eq!(outcome.starts("ExecStart"), STEPS);
}

/// The status is the step's own, whatever it is.
#[test]
fn a_failing_migrations_exit_status_is_rinits() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let step = r#"
        [Service]
        Type = "oneshot"
        ExecStart = ["sh", "-c", "alembic upgrade no-such-revision || exit 42"]
        "#;
    let outcome = with_storage(setup).unit("20-migrate", step).run();
    outcome.assert_code(42).assert_stderr(&["no-such-revision"]);
    assert_eq!(outcome.starts("ExecStart"), STEPS);
}

#[test]
fn sigterm_lets_a_slow_request_finish() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let mut rinit = with_storage(setup).start();
    rinit.wait_stderr("Uvicorn running");
    let mut slow = connect(&rinit);
    http::ask(&mut slow, "/slow?seconds=2");
    rinit.wait_stderr("slow request of 2 s begins");
    rinit.signal(libc::SIGTERM);
    let answer = http::receive(&mut slow);
    assert_eq!((answer.status, &answer.json()["slept"]), (200, &2.0.into()));
    rinit.wait().assert_code(0).assert_stderr(&["notes: stopped"]);
}

/// The volume never comes: the step fails, waits, tries again; a stop ends that at once.
#[test]
fn sigterm_while_step_10_waits_to_try_again() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let mut rinit = setup.start();
    rinit.wait_restart(STEPS[0]);
    rinit.wait_restart(STEPS[0]);
    let outcome = rinit.terminate();
    assert_nothing_after_step_10(&outcome);
}

/// The step hangs, as a look at a dead NFS server does, and a stop ends it.
#[test]
fn sigterm_while_step_10_runs() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let step = r#"
        [Service]
        Type = "oneshot"
        ExecStart = ["python", "-c", "import signal; print('looking', flush=True); signal.pause()"]
        Restart = "on-failure"
        "#;
    let mut rinit = setup.unit(STEPS[0], step).start();
    rinit.wait_line("looking");
    let outcome = rinit.terminate();
    assert_nothing_after_step_10(&outcome);
}

/// The volume comes late: the step's retries find it, and all goes on as if it had been there.
#[test]
fn the_boot_goes_on_when_the_storage_appears() {
    require!("user namespace");
    let Some(setup) = tools::need(setup()) else { return };
    let mut rinit = setup.start();
    rinit.wait_restart(STEPS[0]);
    fs::create_dir(rinit.path("data")).unwrap();
    rinit.wait_stderr("Uvicorn running");
    assert_counts(&get(&rinit, "/migrations").json(), 1, 1);
    rinit.terminate().assert_code(0);
}

/// The shipped units and app in the test's directory, as an image has them in /etc/rinit and /app.
/// The database's directory is not there yet.
fn setup() -> Result<Rinit, String> {
    let venv = virtualenv()?;
    let mut rinit = Rinit::pid1();
    for unit in list("units/fastapi") {
        let text = fs::read_to_string(&unit).unwrap();
        rinit = rinit.unit(unit.file_name().unwrap().to_str().unwrap(), &text);
    }
    copy(&tools::repository().join("integration/apps/fastapi"), &rinit.path("."));
    let path = env::var("PATH").unwrap();
    let path = format!("{}:{path}", venv.join("bin").display());
    let rinit = rinit
        .env("PATH", &path)
        .env("PYTHONUNBUFFERED", "1")
        .env("DATABASE_PATH", "@dir@/data/notes.sqlite3")
        .env("UVICORN_UDS", "@dir@/web.sock");
    Ok(rinit)
}

fn with_storage(setup: Rinit) -> Rinit {
    fs::create_dir(setup.path("data")).unwrap();
    setup
}

/// Made by `integration/setup.sh`: with the network, so not by a test.
fn virtualenv() -> Result<PathBuf, String> {
    let venv = tools::repository().join("target/fastapi-venv");
    let there = venv.join("bin/uvicorn").is_file() && venv.join("bin/alembic").is_file();
    if there { Ok(venv) } else { Err(format!("{} is not there", venv.display())) }
}

fn connect(rinit: &Running) -> UnixStream {
    UnixStream::connect(rinit.path("web.sock")).expect("connect to the app")
}

fn get(rinit: &Running, path: &str) -> http::Response {
    http::get(connect(rinit), path)
}

fn assert_counts(log: &Value, migration_runs: usize, app_starts: usize) {
    let count = |key: &str| log[key].as_array().map_or(0, Vec::len);
    assert_eq!(count("migration_runs"), migration_runs, "{log}");
    assert_eq!(count("app_starts"), app_starts, "{log}");
}

/// SIGKILL to the server, found by the test as its pid in this namespace.
fn kill_web(rinit: &mut Running) {
    let inner = get(rinit, "/healthz").json()["pid"].as_i64();
    let processes = rinit.processes();
    let web = processes.iter().find(|process| {
        let seen_inside = crate::harness::processes::inner_pid(process.pid);
        inner.is_some() && seen_inside == inner
    });
    crate::harness::processes::kill(web.expect("the server's process").pid, libc::SIGKILL);
}

fn assert_nothing_after_step_10(outcome: &Outcome) {
    outcome.assert_code(0);
    let starts = outcome.starts("ExecStart");
    assert!(starts.iter().all(|unit| *unit == STEPS[0]), "{starts:?}\n{}", outcome.log());
}

fn list(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(tools::repository().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
