//! Workers that cannot start: one while the others serve, or all of them.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Cell, Row, losses, start, watch};
use crate::group::{Group, wait_until};
use crate::options::Options;
use crate::processes;
use crate::subject::{Setup, Subject, WORKERS};
use crate::table::thousands;

pub const AGAIN_IMPORT: Row = Row {
    key: "restart-import",
    title: "that worker's restart fails at import",
    measure: |options, subject| measure_again(options, subject, "import"),
};

pub const AGAIN_LIFESPAN: Row = Row {
    key: "restart-lifespan",
    title: "… or in the lifespan",
    measure: |options, subject| measure_again(options, subject, "lifespan"),
};

pub const ALL: Row = Row {
    key: "crash",
    title: "all workers crash at import",
    measure: |options, subject| measure_all(options, subject, "import"),
};

pub const ALL_EXIT: Row = Row {
    key: "crash-exit",
    title: "… by exit(1)",
    measure: |options, subject| measure_all(options, subject, "exit"),
};

/// By then the start limit of five has ended it, or nothing will.
const LONGEST: Duration = Duration::from_secs(12);

fn measure_again(options: &Options, subject: Subject, crash: &str) -> Cell {
    let (mut group, load) = start(options, subject, &Setup::default())?;
    group.app.behave(&format!("crash {crash}\n"))?;
    let before = group.app.imports();
    if let Some(worker) = group.workers().first() {
        processes::signal(worker.pid, Signal::SIGKILL);
    }
    let begin = Instant::now();
    // A busy machine takes seconds for an import: what a failed attempt does is what is looked at.
    wait_until(options.span() * 2, || group.app.imports() >= before + 2 || group.has_ended());
    watch(options.span().saturating_sub(begin.elapsed()).max(options.span() / 4));
    let seconds = begin.elapsed().as_secs();
    let tally = load.stop();
    let attempts = group.app.imports() - before;
    let left = group.workers().len();
    let end = group.end();
    let head = if left == WORKERS - 1 && !group.has_ended() {
        "three serve on".to_owned()
    } else {
        format!("{left} workers left, {end}")
    };
    Ok(format!("{head}, {attempts} attempts in {seconds} s; {}", losses(&tally)))
}

fn measure_all(options: &Options, subject: Subject, crash: &str) -> Cell {
    let span = (options.span() * 3 / 2).max(LONGEST);
    let setup = Setup { behaviour: format!("crash {crash}\n"), ..Setup::default() };
    let begin = Instant::now();
    let mut group = Group::launch(options, subject, &setup)?;
    group.wait_end(span);
    let took = begin.elapsed().as_secs_f64();
    let (imports, end) = (group.app.imports() as u64, group.end());
    let accepts = if !group.has_ended() && group.accepts() { ", the port accepts" } else { "" };
    let cpu = group.kill().as_secs_f64();
    Ok(format!("{} imports in {took:.1} s, {cpu:.1} CPU s, {end}{accepts}", thousands(imports)))
}
