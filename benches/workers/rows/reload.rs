//! SIGHUP with a new version on the disk: one that is broken, slow, or fine while clients are slow.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Cell, PATIENCE, Row, losses, plan, start, start_load, watch};
use crate::group::{Group, wait_until};
use crate::load::{Kind, Load, Plan, Tally};
use crate::options::Options;
use crate::processes;
use crate::subject::{Setup, Subject, WORKERS};

pub const BROKEN: Row =
    Row { key: "hup-broken", title: "HUP with broken code", measure: measure_broken };

pub const SLOW: Row =
    Row { key: "hup-slow", title: "HUP, the import takes 8 s", measure: measure_slow };

pub const SILENT: Row = Row {
    key: "hup-silent",
    title: "HUP, clients that send 20 ms after they connect",
    measure: measure_silent,
};

pub const KEEP_ALIVE: Row = Row {
    key: "hup-keep-alive",
    title: "HUP under keep-alive (16 connections)",
    measure: measure_keep_alive,
};

pub const STREAM: Row = Row {
    key: "stream",
    title: "one endless response during a HUP: kill -9 of another worker, then TERM",
    measure: measure_stream,
};

const NEXT: &str = "version 2\n";

/// Whom a roll hits depends on the moment.
const ROLLS: u32 = 3;

fn measure_broken(options: &Options, subject: Subject) -> Cell {
    let (mut group, load) = start(options, subject, &Setup::default())?;
    group.app.behave("version 2\ncrash import\n")?;
    group.signal(Signal::SIGHUP);
    watch(options.span());
    let left = group.workers().len();
    let end = group.end();
    let imports = group.app.imports().saturating_sub(WORKERS);
    let tally = load.stop();
    let head = if left >= WORKERS {
        "the old ones serve on".to_owned()
    } else {
        format!("{left} of {WORKERS} workers left, {end}")
    };
    Ok(format!("{head}, {imports} attempts; {}", losses(&tally)))
}

fn measure_slow(options: &Options, subject: Subject) -> Cell {
    let (mut group, load) = start(options, subject, &Setup::default())?;
    group.app.behave("version 2\nimport-seconds 8\n")?;
    let limit = Duration::from_secs(8) * 6;
    let roll = roll(&mut group, &load, "2", limit);
    watch(SETTLE);
    let tally = load.stop();
    Ok(format!("{roll}; {}; p99 {:.0} ms", losses(&tally), millis(tally.latency(0.99))))
}

fn measure_silent(options: &Options, subject: Subject) -> Cell {
    let plan = |plan: Plan| plan.pause(Duration::from_millis(20));
    let (roll, tally) = roll_under(options, subject, plan)?;
    Ok(format!("{roll}; {}", losses(&tally)))
}

fn measure_keep_alive(options: &Options, subject: Subject) -> Cell {
    let (roll, tally) = roll_under(options, subject, |plan| plan.keep_alive(16))?;
    let (idle, reused) = (tally.idle_closed, tally.count(Kind::CutReused));
    let lost = tally.lost();
    Ok(format!("{roll}; {} closed while idle, {reused} under a request; {lost} lost else", idle))
}

/// Several rolls under one load: the first roll's words, and the whole count.
fn roll_under(
    options: &Options,
    subject: Subject,
    change: impl Fn(Plan) -> Plan,
) -> Result<(String, Tally), String> {
    let mut group = Group::start(options, subject, &Setup::default())?;
    let load = start_load(change(plan(options, &group)))?;
    let mut rolls = vec![];
    for number in 2..2 + ROLLS {
        let version = number.to_string();
        group.app.behave(&format!("version {version}\n"))?;
        let begin = Instant::now();
        let roll = roll(&mut group, &load, &version, Duration::from_secs(60));
        let is_done = roll.is_done;
        rolls.push(roll);
        if !is_done {
            break;
        }
        watch((options.span() / 2).saturating_sub(begin.elapsed()).max(SETTLE));
    }
    let words: Vec<String> = rolls.iter().map(ToString::to_string).collect();
    Ok((format!("{} rolls: {}", rolls.len(), words.join(", ")), load.stop()))
}

/// How long after a roll the load goes on at least.
const SETTLE: Duration = Duration::from_secs(1);

/// One roll.
struct Roll {
    took: Duration,
    /// The fewest workers that were up at a time.
    fewest: usize,
    is_done: bool,
    /// How far it came, where it is not done.
    end: String,
}

impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (took, fewest) = (self.took.as_secs_f64(), self.fewest);
        match self.is_done {
            true => write!(f, "done in {took:.1} s with {fewest} up at least"),
            false => write!(f, "{} after {took:.0} s, {fewest} up at least", self.end),
        }
    }
}

/// HUP, and the wait for four new workers.
fn roll(group: &mut Group, load: &Load, version: &str, limit: Duration) -> Roll {
    let begin = Instant::now();
    let (mut fewest, mut is_done) = (WORKERS, false);
    group.signal(Signal::SIGHUP);
    wait_until(limit, || {
        let workers = group.workers();
        fewest = fewest.min(workers.len());
        let is_new = workers.iter().all(|worker| worker.version == version);
        is_done = workers.len() == WORKERS && is_new;
        is_done || group.has_ended()
    });
    let reach = if load.tally().version(version) > 0 { "not all new" } else { "never reloaded" };
    let end = format!("{reach}, {}", group.end());
    Roll { took: begin.elapsed(), fewest, is_done, end }
}

fn measure_stream(options: &Options, subject: Subject) -> Cell {
    let mut group = Group::start(options, subject, &Setup::default())?;
    let mut stream = open_stream(group.address)?;
    let holder = first_worker(&mut stream)?;
    group.app.behave(NEXT)?;
    group.signal(Signal::SIGHUP);
    // Under way: at least one is new, or the reload is stuck with the old ones.
    wait_until(options.span(), || group.workers().iter().any(|worker| worker.version == "2"));
    let known: Vec<i32> = group.workers().iter().map(|worker| worker.pid).collect();
    let victim = group.workers().into_iter().rfind(|worker| worker.inner != holder);
    let begin = Instant::now();
    if let Some(victim) = victim {
        processes::signal(victim.pid, Signal::SIGKILL);
    }
    let limit = Duration::from_secs(15);
    let is_back = wait_until(limit, || {
        group.workers().iter().any(|worker| !known.contains(&worker.pid)) || group.has_ended()
    });
    let back = match is_back && !group.has_ended() {
        true => format!("another worker after {:.1} s", begin.elapsed().as_secs_f64()),
        false => format!("no new worker in {:.0} s", begin.elapsed().as_secs_f64()),
    };
    let begin = Instant::now();
    group.signal(Signal::SIGTERM);
    let limit = Duration::from_secs(20);
    let end = match group.wait_end(limit) {
        true => format!("TERM: {} after {:.1} s", group.end(), begin.elapsed().as_secs_f64()),
        false => format!("TERM: still up after {} s", limit.as_secs()),
    };
    drop(stream);
    Ok(format!("{back}; {end}"))
}

fn open_stream(address: SocketAddr) -> Result<TcpStream, String> {
    let open = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        Ok(stream)
    };
    open().map_err(|error: std::io::Error| format!("the stream: {error}"))
}

/// The pid in the answer's head.
fn first_worker(stream: &mut TcpStream) -> Result<i32, String> {
    let mut head = Vec::new();
    let mut chunk = [0; 512];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).map_err(|error| format!("the stream: {error}"))?;
        head.extend_from_slice(chunk.get(..count).filter(|c| !c.is_empty()).ok_or("no stream")?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let pid = text.lines().find_map(|line| line.strip_prefix("x-worker: ")?.trim().parse().ok());
    pid.ok_or_else(|| "the stream names no worker".into())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
