//! One worker keeps what it is sent, on and on.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Cell, Row, losses, plan, start_load};
use crate::group::{Group, wait_until};
use crate::options::Options;
use crate::subject::{Setup, Subject, WORKERS};

pub const LEAK: Row = Row { key: "leak", title: "one worker leaks, 20 MB a call", measure };

const CAP: &str = "160M";

/// Beyond any cap: what has grown so far has none.
const CALLS: u32 = 24;

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(200);

fn measure(options: &Options, subject: Subject) -> Cell {
    let setup = Setup { memory_max: Some(CAP), ..Setup::default() };
    let group = Group::start(options, subject, &setup)?;
    let before: Vec<i32> = group.workers().iter().map(|worker| worker.pid).collect();
    let load = start_load(plan(options, &group).rate(200))?;
    let stream = TcpStream::connect(group.address).map_err(|error| format!("{error}"))?;
    let mut client = BufReader::new(stream);
    let (mut calls, mut most) = (0, 0);
    while calls < CALLS && call(&mut client).is_ok() {
        calls += 1;
        most = most.max(largest(&group));
        std::thread::sleep(PAUSE);
    }
    let begin = Instant::now();
    let is_back = wait_until(Duration::from_secs(20), || group.workers().len() >= WORKERS);
    let back = begin.elapsed().as_secs_f64();
    let now: Vec<i32> = group.workers().iter().map(|worker| worker.pid).collect();
    let gone = before.iter().filter(|pid| !now.contains(pid)).count();
    let lost = losses(&load.stop());
    Ok(match (calls, is_back) {
        (CALLS, _) => format!("{most} MB after {CALLS} calls, and growing; {lost}"),
        (_, true) => format!(
            "{gone} ended after {calls} calls, {most} MB seen; 4 up again after {back:.1} s; {lost}"
        ),
        (_, false) => {
            format!("{gone} ended after {calls} calls, {most} MB seen; not 4 again; {lost}")
        }
    })
}

/// One call on a kept connection, which stays with its worker.
fn call(client: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    client.get_mut().write_all(b"GET /leak?mb=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body)
}

/// The memory of the largest worker in MB (`VmRSS`).
fn largest(group: &Group) -> u64 {
    let resident = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let sizes = group.workers().into_iter().filter_map(|worker| resident(worker.pid));
    sizes.max().unwrap_or(0) / 1024
}
