//! One subject running: its start, its workers, signals to it, its end. One at a time.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::app::App;
use crate::options::Options;
use crate::processes::{self, Process};
use crate::subject::{Setup, Subject, WORKERS, venv};

/// How long four workers may take to come up.
const START: Duration = Duration::from_secs(60);

/// How often something is looked for that nothing tells of.
const LOOK: Duration = Duration::from_millis(10);

/// A worker that has come up and lives.
#[derive(Clone, Debug)]
pub struct Worker {
    pub pid: i32,
    /// As it calls itself in `x-worker`.
    pub inner: i32,
    pub version: String,
}

/// A running subject. Dropped, it and everything that it started is killed.
pub struct Group {
    subject: Subject,
    child: Child,
    status: Option<ExitStatus>,
    room: TempDir,
    shows_log: bool,
    cpu_before: Duration,
    pub address: SocketAddr,
    pub app: App,
}

impl Group {
    /// Starts a subject, and waits for its four workers.
    pub fn start(options: &Options, subject: Subject, setup: &Setup) -> Result<Self, String> {
        let mut group = Self::launch(options, subject, setup)?;
        let is_up = wait_until(START, || group.workers().len() >= WORKERS || group.has_ended());
        if is_up && !group.has_ended() {
            return Ok(group);
        }
        Err(format!("does not come up: {}", group.last_words()))
    }

    /// Starts a subject.
    pub fn launch(options: &Options, subject: Subject, setup: &Setup) -> Result<Self, String> {
        let gap = |error: std::io::Error| format!("{}: {error}", subject.name());
        let room = tempfile::Builder::new().prefix("rinit-workers-").tempdir().map_err(gap)?;
        let app = App::new(room.path());
        app.behave(&setup.behaviour)?;
        let address = free_address().map_err(gap)?;
        let log = File::create(room.path().join("log")).map_err(gap)?;
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/apps/fastapi-workers");
        let path = std::env::var("PATH").unwrap_or_default();
        let child = subject
            .command(setup, address, room.path())?
            .current_dir(apps)
            .env("PATH", format!("{}:{path}", venv().display()))
            .env("APP_STATE", room.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(gap)?)
            .stderr(log)
            .spawn()
            .map_err(gap)?;
        let cpu_before = processes::cpu_of_the_dead();
        let shows_log = options.shows_logs;
        Ok(Self { subject, child, status: None, room, shows_log, cpu_before, address, app })
    }

    /// The workers that are up.
    pub fn workers(&self) -> Vec<Worker> {
        let notes = self.app.started();
        let worker = |process: Process| {
            let note = notes.iter().rev().find(|note| note.pid == process.inner)?;
            Some(Worker { pid: process.pid, inner: process.inner, version: note.version.clone() })
        };
        processes::below_us().into_iter().filter_map(worker).collect()
    }

    /// The process that a person would signal: the manager, or rinit.
    pub fn manager(&self) -> i32 {
        let child = self.child.id().cast_signed();
        if !self.subject.is_rinit() {
            return child;
        }
        // `unshare` waits for it.
        processes::below(child).iter().find(|p| p.parent == child).map_or(child, |p| p.pid)
    }

    pub fn signal(&self, signal: Signal) {
        processes::signal(self.manager(), signal);
    }

    pub fn has_ended(&mut self) -> bool {
        self.status().is_some()
    }

    /// How the manager ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// `exit 3`, or that it runs.
    pub fn end(&mut self) -> String {
        use std::os::unix::process::ExitStatusExt;
        match self.status().map(|status| (status.code(), status.signal())) {
            None => "still up".into(),
            Some((Some(code), _)) => format!("exit {code}"),
            Some((None, signal)) => format!("killed by {}", signal.unwrap_or(0)),
        }
    }

    /// Waits for the manager's end.
    pub fn wait_end(&mut self, limit: Duration) -> bool {
        wait_until(limit, || self.has_ended())
    }

    /// Whether somebody listens on the port.
    pub fn accepts(&self) -> bool {
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok()
    }

    /// Kills everything, and tells how much CPU time it all took.
    pub fn kill(mut self) -> Duration {
        self.clear();
        processes::cpu_of_the_dead().saturating_sub(self.cpu_before)
    }

    fn clear(&mut self) {
        processes::signal(self.manager(), Signal::SIGKILL);
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
        processes::kill_all();
    }

    fn log(&self) -> PathBuf {
        self.room.path().join("log")
    }

    fn last_words(&mut self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(8);
        format!("{}; {}", self.end(), lines.get(from..).unwrap_or_default().join(" / "))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.clear();
        if self.shows_log {
            let text = fs::read(self.log()).unwrap_or_default();
            eprintln!("--- {}\n{}---", self.subject.name(), String::from_utf8_lossy(&text));
        }
    }
}

/// Looks again and again; false if it did not come true in time.
pub fn wait_until(limit: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !is_true() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// Not below 1024 and not one of those that connects take: the kernel's choice, given back.
fn free_address() -> Result<SocketAddr, std::io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    if address.port() == 0 { Err(ErrorKind::AddrNotAvailable.into()) } else { Ok(address) }
}
