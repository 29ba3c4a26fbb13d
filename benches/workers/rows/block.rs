//! One worker's event loop hangs in a call.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::{Cell, Row, losses, plan, start_load, watch};
use crate::group::Group;
use crate::options::Options;
use crate::subject::{Setup, Subject};

pub const BLOCKED: Row =
    Row { key: "blocked", title: "a worker's loop is blocked", measure: measure_blocked };

fn measure_blocked(options: &Options, subject: Subject) -> Cell {
    let group = Group::start(options, subject, &Setup::default())?;
    let load = start_load(plan(options, &group).timeout(Duration::from_secs(2)))?;
    let span = options.span().as_secs();
    let mut stream = TcpStream::connect(group.address).map_err(|error| format!("{error}"))?;
    let request = format!("GET /block?seconds={span} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| format!("{error}"))?;
    watch(options.span());
    let tally = load.stop();
    drop(stream);
    let p99 = tally.latency(0.99).as_secs_f64() * 1e3;
    Ok(format!("{} in {span} s; p99 {p99:.0} ms", losses(&tally)))
}
