//! One subject as PID 1 of its own namespaces, from its start until everything in them is gone.
//! What is inside tells of itself by one-byte datagrams, so nothing is waited for by sleeping.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::configure::configure;
use crate::gap::Gap;
use crate::job::{App, Job, Load};
use crate::slots::Slots;
use crate::subject::Subject;
use crate::tools::Tools;

/// How long everything in a namespace may take to vanish when its PID 1 is killed.
const CLEARING: Duration = Duration::from_secs(30);

/// What is told from inside: the WAKE_ bytes of `slots.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The job's target is reached.
    Started,
    /// The orphans are there and adopted.
    FloodReady,
    /// All orphans are dead.
    FloodDead,
    /// All orphans are reaped.
    FloodReaped,
    /// The orphans could not be made.
    FloodFailed,
    /// The init is gone, and all its namespace.
    InitGone,
}

/// A running subject. Dropped, it and everything that it runs is killed.
pub struct Cell {
    child: Child,
    wake: UnixDatagram,
    slots: Slots,
    dir: PathBuf,
    is_empty: bool,
}

/// Whether this machine lets us make namespaces at all: one answer, not one a subject.
pub fn try_out(tools: &Tools) -> Result<(), Gap> {
    let job = Job { load: Load::Command, app: App::Up, target: 1 };
    Cell::start(tools, Subject::Ideal, job)?.wait(Event::Started, Duration::from_secs(10))
}

impl Cell {
    /// Writes the subject's configuration and starts it on that.
    pub fn start(tools: &Tools, subject: Subject, job: Job) -> Result<Self, Gap> {
        let dir = tools.room()?;
        let command = configure(tools, subject, job, &dir)?;
        let slots = Slots::create(&dir, job.target)?;
        let wake = UnixDatagram::bind(dir.join("wake")).map_err(Gap::io("wake socket"))?;
        let log = File::create(dir.join("log")).map_err(Gap::io("log"))?;
        let child = Command::new(tools.cell())
            .arg(&dir)
            .args(command)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(Gap::io("log"))?)
            .stderr(log)
            .spawn()
            .map_err(Gap::io("cell"))?;
        Ok(Self { child, wake, slots, dir, is_empty: false })
    }

    /// Waits until `wanted` is told; whatever else is told before that is passed over.
    pub fn wait(&mut self, wanted: Event, limit: Duration) -> Result<(), Gap> {
        let deadline = Instant::now() + limit;
        loop {
            let event = self.next(deadline)?.ok_or(Gap::TimedOut(limit))?;
            if event == wanted {
                return Ok(());
            }
            match event {
                Event::InitGone => return Err(Gap::Ended(self.how_it_ended()?)),
                Event::FloodFailed => {
                    return Err(Gap::Harness("so many processes are not allowed".into()));
                }
                Event::Started | Event::FloodReady | Event::FloodDead | Event::FloodReaped => {}
            }
        }
    }

    /// What the apps noted.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The init's pid, once anything was told from inside.
    pub fn init(&self) -> Result<Pid, Gap> {
        let pid = i32::try_from(self.slots.init_pid()?).unwrap_or(0);
        if pid > 0 {
            Ok(Pid::from_raw(pid))
        } else {
            Err(Gap::Harness("the init has no pid yet".into()))
        }
    }

    /// Signals the init from outside.
    pub fn signal(&self, signal: Signal) -> Result<(), Gap> {
        kill(self.init()?, signal).map_err(|error| Gap::Harness(format!("{signal}: {error}")))
    }

    fn next(&mut self, deadline: Instant) -> Result<Option<Event>, Gap> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Some(left.max(Duration::from_micros(1)));
        self.wake.set_read_timeout(timeout).map_err(Gap::io("wake socket"))?;
        let mut byte = [0];
        let event = match self.wake.recv(&mut byte) {
            Ok(_) => parse(byte)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(Gap::io("wake socket")(error)),
        };
        self.is_empty |= event == Event::InitGone;
        Ok(Some(event))
    }

    fn how_it_ended(&self) -> Result<String, Gap> {
        let status = self.slots.init_status()?;
        let log = fs::read(self.dir.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last_line = log.lines().next_back().map(|line| format!(": {line}")).unwrap_or_default();
        Ok(format!("exit {status} after {} starts of an app{last_line}", self.slots.started()?))
    }

    fn clear(&mut self) -> Result<(), Gap> {
        self.signal(Signal::SIGKILL)?;
        let deadline = Instant::now() + CLEARING;
        while !self.is_empty && self.next(deadline)?.is_some() {}
        Ok(())
    }
}

impl Drop for Cell {
    /// The next measurement begins on a quiet machine: everything here is gone when this returns.
    fn drop(&mut self) {
        if !self.is_empty && self.clear().is_err() {
            eprintln!("a benchmarked init could not be killed in the ordinary way");
        }
        // Should its init still live, that dies with it (PDEATHSIG in cell.c).
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn parse(byte: [u8; 1]) -> Result<Event, Gap> {
    match &byte {
        b"s" => Ok(Event::Started),
        b"r" => Ok(Event::FloodReady),
        b"d" => Ok(Event::FloodDead),
        b"z" => Ok(Event::FloodReaped),
        b"e" => Ok(Event::FloodFailed),
        b"x" => Ok(Event::InitGone),
        _ => Err(Gap::Harness(format!("unknown event {byte:?}"))),
    }
}
