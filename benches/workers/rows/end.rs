//! The end: TERM while requests take long, TERM under load, the parent killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Cell, Row, losses, plan, start_load};
use crate::group::{Group, wait_until};
use crate::load::{Kind, Load, Plan};
use crate::options::Options;
use crate::processes;
use crate::subject::{Setup, Subject};

pub const SLOW_REQUEST: Row = Row {
    key: "term-slow",
    title: "TERM while 4 requests take long",
    measure: measure_slow_request,
};

pub const UNDER_LOAD: Row = Row {
    key: "term-load",
    title: "TERM under load, with 4 requests of 2 s under way",
    measure: measure_under_load,
};

pub const PARENT: Row = Row { key: "parent", title: "the parent killed", measure: measure_parent };

fn slow_requests(group: &Group, seconds: u64) -> Result<Load, String> {
    let limit = Duration::from_secs(seconds + 30);
    let path = format!("/slow?seconds={seconds}");
    let plan = Plan::new(group.address).path(&path).rate(100).requests(4).timeout(limit);
    Load::start(plan).map_err(|error| format!("the load client: {error}"))
}

fn measure_slow_request(options: &Options, subject: Subject) -> Cell {
    let mut group = Group::start(options, subject, &Setup::default())?;
    let seconds = options.span().as_secs() * 5 / 2;
    let slow = slow_requests(&group, seconds)?;
    // Long enough for all four to have been received.
    std::thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    group.signal(Signal::SIGTERM);
    let has_ended = group.wait_end(Duration::from_secs(seconds + 15));
    let took = begin.elapsed().as_secs_f64();
    let tally = slow.finish();
    let end = if has_ended { group.end() } else { "still up".into() };
    Ok(format!("{end} after {took:.1} s, {} of 4 requests of {seconds} s answered", tally.ok))
}

fn measure_under_load(options: &Options, subject: Subject) -> Cell {
    let mut group = Group::start(options, subject, &Setup::default())?;
    let load = start_load(plan(options, &group).pause(Duration::from_millis(20)))?;
    let slow = slow_requests(&group, 2)?;
    load.wait_more(Duration::from_secs(10), u64::from(options.rate) / 2);
    let at = load.now();
    group.signal(Signal::SIGTERM);
    let has_ended = group.wait_end(Duration::from_secs(30));
    let took = (load.now() - at).as_secs_f64();
    let (tally, slow) = (load.stop(), slow.finish());
    let refused = tally.failures.iter().find(|f| f.kind == Kind::Refused && f.at >= at);
    let refused = refused.map_or("never".into(), |failure| {
        format!("after {:.2} s", (failure.at - failure.after).saturating_sub(at).as_secs_f64())
    });
    let broken = tally.failed() - tally.count(Kind::Refused);
    let kinds = losses(&tally);
    let kinds = kinds.split_once('(').map_or("", |(_, kinds)| kinds.trim_end_matches(')'));
    let end = if has_ended { group.end() } else { "still up".into() };
    Ok(format!(
        "{end} after {took:.1} s, {} of 4 answered; refuses {refused}; {broken} others failed ({kinds})",
        slow.ok
    ))
}

fn measure_parent(options: &Options, subject: Subject) -> Cell {
    let manager = killed_parent(options, subject)?;
    if subject.is_rinit() {
        let unit = killed_parent_in_a_unit(options, subject)?;
        return Ok(format!("{manager}; `uvicorn --workers 4` as a unit: {unit}"));
    }
    Ok(manager)
}

fn killed_parent(options: &Options, subject: Subject) -> Cell {
    let mut group = Group::start(options, subject, &Setup::default())?;
    group.signal(Signal::SIGKILL);
    group.wait_end(Duration::from_secs(5));
    wait_until(Duration::from_secs(3), || group.workers().is_empty());
    let orphans = group.workers().len();
    if orphans == 0 {
        let port = if group.accepts() { "the port is held" } else { "the port is free" };
        return Ok(format!("no orphans, {port}"));
    }
    let port = if group.accepts() { " that keep the port" } else { "" };
    Ok(format!("{orphans} orphans{port}"))
}

/// The manager of a unit is killed: are its workers gone when its successor starts?
fn killed_parent_in_a_unit(options: &Options, subject: Subject) -> Cell {
    let setup = Setup { is_one_unit: true, ..Setup::default() };
    let mut group = Group::start(options, subject, &setup)?;
    let rinit = group.manager();
    // Not its workers alone: the orphans become rinit's own children, and are no successor.
    let old: Vec<i32> = processes::below(rinit).iter().map(|process| process.pid).collect();
    // rinit has another child, which keeps the log.
    let workers: Vec<i32> = group.workers().iter().map(|worker| worker.pid).collect();
    let parent =
        processes::below(rinit).iter().find(|p| workers.contains(&p.pid)).map(|p| p.parent);
    let parent = parent.ok_or("the unit has no worker")?;
    let begin = Instant::now();
    processes::signal(parent, Signal::SIGKILL);
    let is_next =
        || processes::below(rinit).iter().any(|p| p.parent == rinit && !old.contains(&p.pid));
    let mut left = 0;
    let is_back = wait_until(Duration::from_secs(20), || {
        let workers = group.workers();
        let is_old = |pid: &i32| old.contains(pid);
        if is_next() && left == 0 {
            left = workers.iter().filter(|worker| is_old(&worker.pid)).count();
        }
        workers.iter().filter(|worker| !is_old(&worker.pid)).count() >= 4 || group.has_ended()
    });
    let back = match is_back && !group.has_ended() {
        true => format!("serves again after {:.1} s", begin.elapsed().as_secs_f64()),
        false => format!("does not serve again, {}", group.end()),
    };
    Ok(format!("{left} orphans beside the next, {back}"))
}
