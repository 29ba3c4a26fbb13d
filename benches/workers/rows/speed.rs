//! Throughput under keep-alive, and how evenly the workers share the work.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Cell, PATIENCE, Row, start_load};
use crate::group::Group;
use crate::load::{Load, Plan, Tally};
use crate::options::Options;
use crate::subject::{Setup, Subject, find};
use crate::table::thousands;

pub const UVLOOP: Row = Row {
    key: "speed",
    title: "requests/s on 64 kept connections, uvloop",
    measure: |options, subject| measure_speed(options, subject, false),
};

pub const ASYNCIO: Row = Row {
    key: "speed-asyncio",
    title: "… asyncio",
    measure: |options, subject| measure_speed(options, subject, true),
};

pub const BALANCE_NEW: Row =
    Row { key: "balance", title: "share of the workers, %: new connections", measure: measure_new };

pub const BALANCE_KEPT: Row =
    Row { key: "balance-kept", title: "… 64 kept connections", measure: measure_kept };

const CONNECTIONS: usize = 64;

fn measure_speed(options: &Options, subject: Subject, is_plain_loop: bool) -> Cell {
    let setup = Setup { is_plain_loop, ..Setup::default() };
    let group = Group::start(options, subject, &setup)?;
    let load = start_load(Plan::new(group.address).saturating(CONNECTIONS).timeout(PATIENCE))?;
    let (begin, before) = (Instant::now(), load.tally().ok);
    std::thread::sleep(options.span() / 2);
    let (took, tally) = (begin.elapsed(), load.tally());
    load.stop();
    let own = (tally.ok - before) as f64 / took.as_secs_f64();
    let p50 = tally.latency(0.5).as_secs_f64() * 1e3;
    let wrk = run_wrk(options, &group).unwrap_or_default();
    Ok(format!("{} (p50 {p50:.1} ms){wrk}", thousands(own as u64)))
}

/// A second opinion, by a client that takes less CPU from the workers.
fn run_wrk(options: &Options, group: &Group) -> Option<String> {
    let seconds = (options.span() / 2).as_secs().max(1);
    let output = Command::new(find("wrk")?)
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "--latency"])
        .arg(format!("http://{}/ping", group.address))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key));
    let rate: f64 = after("Requests/sec:")?.trim().parse().ok()?;
    let p50 = after("50%")?.trim();
    Some(format!("; wrk {} (p50 {p50})", thousands(rate as u64)))
}

fn measure_new(options: &Options, subject: Subject) -> Cell {
    let group = Group::start(options, subject, &Setup::default())?;
    let requests = 10_000 * options.span().as_secs() / 8;
    let rate = options.rate.max(600);
    let plan = Plan::new(group.address).rate(rate).requests(requests).timeout(PATIENCE);
    let tally = Load::start(plan).map_err(|error| format!("the load client: {error}"))?.finish();
    Ok(shares(&tally))
}

fn measure_kept(options: &Options, subject: Subject) -> Cell {
    let group = Group::start(options, subject, &Setup::default())?;
    let plan = Plan::new(group.address).rate(options.rate.max(600)).keep_alive(CONNECTIONS);
    let load = start_load(plan.timeout(PATIENCE))?;
    std::thread::sleep(options.span().min(Duration::from_secs(8)));
    Ok(shares(&load.stop()))
}

fn shares(tally: &Tally) -> String {
    let shares: Vec<String> = tally.shares().iter().map(|share| format!("{share:.0}")).collect();
    let of = thousands(tally.ended());
    let lost =
        if tally.failed() > 0 { format!(", {} lost", tally.failed()) } else { String::new() };
    format!("{} of {of}{lost}", shares.join("/"))
}
