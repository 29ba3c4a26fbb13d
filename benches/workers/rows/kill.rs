//! kill -9: one worker, and one every 200 ms.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Cell, PATIENCE, Row, losses, start, start_load, watch};
use crate::group::{Group, wait_until};
use crate::load::{Kind, Tally, in_hands};
use crate::options::Options;
use crate::processes;
use crate::subject::{Setup, Subject, WORKERS};

pub const ONE: Row = Row { key: "kill", title: "kill -9 of one worker", measure: measure_one };

pub const MANY: Row = Row {
    key: "kills",
    title: "kill -9 of a worker every 200 ms, clients that send 20 ms after they connect",
    measure: measure_many,
};

fn measure_one(options: &Options, subject: Subject) -> Cell {
    let (mut group, load) = start(options, subject, &Setup::default())?;
    let known: Vec<i32> = group.workers().iter().map(|worker| worker.pid).collect();
    let victim = known.first().copied().unwrap_or(0);
    let begin = Instant::now();
    processes::signal(victim, Signal::SIGKILL);
    let is_back = wait_until(options.span(), || {
        group.has_ended() || group.workers().iter().any(|worker| !known.contains(&worker.pid))
    });
    let took = begin.elapsed();
    watch(options.span() / 2);
    let tally = load.stop();
    let back = if group.has_ended() {
        format!("everything dies, {}", group.end())
    } else if is_back {
        format!("back in {:.1} s", took.as_secs_f64())
    } else {
        "not replaced".into()
    };
    Ok(format!("{back}; {}", losses(&tally)))
}

fn measure_many(options: &Options, subject: Subject) -> Cell {
    let setup = Setup { never_gives_up: true, ..Setup::default() };
    let mut group = Group::start(options, subject, &setup)?;
    let plan = super::plan(options, &group).timeout(PATIENCE * 4).pause(Duration::from_millis(20));
    let load = start_load(plan)?;
    let mut hands: Vec<(Duration, u16)> = vec![];
    let mut kills = 0;
    let begin = Instant::now();
    let mut next = begin;
    while begin.elapsed() < options.span() * 2 && !group.has_ended() {
        next += Duration::from_millis(200);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let workers = group.workers();
        let Some(worker) = workers.get(kills % WORKERS.min(workers.len().max(1))) else { continue };
        hands.extend(kill_and_count(worker.pid, group.address.port(), || load.now()));
        kills += 1;
    }
    let tally = load.stop();
    let strangers = lost_by_nobody(&tally, &hands);
    Ok(format!(
        "{kills} kills, {}; {} not in a killed worker's hands; {} refused; p99 {:.0} ms{}",
        losses(&tally),
        strangers,
        tally.count(Kind::Refused),
        tally.latency(0.99).as_secs_f64() * 1e3,
        if group.has_ended() { format!("; {}", group.end()) } else { String::new() },
    ))
}

/// Kills a worker, and tells which connections it had accepted: stopped first, it accepts no more
/// while they are counted.
fn kill_and_count(pid: i32, port: u16, now: impl Fn() -> Duration) -> Vec<(Duration, u16)> {
    processes::signal(pid, Signal::SIGSTOP);
    wait_until(Duration::from_secs(1), || processes::is_stopped(pid));
    let ports = in_hands(pid, port);
    processes::signal(pid, Signal::SIGKILL);
    let at = now();
    ports.into_iter().map(|port| (at, port)).collect()
}

/// Requests that failed although no killed worker had accepted their connection.
fn lost_by_nobody(tally: &Tally, hands: &[(Duration, u16)]) -> usize {
    let is_in_hands = |port: u16| hands.iter().any(|(_, held)| *held == port);
    tally.failures.iter().filter(|failure| !is_in_hands(failure.port)).count()
}
