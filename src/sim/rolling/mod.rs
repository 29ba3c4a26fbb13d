//! A service with instances against a simulated world: rolls, scaling, crashes and stops at any
//! instant, and the rules that hold after every step.
//!
//! Not the units in their variety: the simulation around this one has those. It has its own small
//! world since here a unit's name changes while its processes live.
//!
//! `RINIT_SCHEDULES=100000 cargo test --release --lib sim::rolling -- --nocapture`
//! `RINIT_SEED=4711 cargo test --release --lib sim::rolling::replay -- --nocapture`
#![allow(clippy::disallowed_methods)] // the tests read the environment

mod checker;
mod draw;
mod planted;
mod run;
mod seen;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::choices::{Choices, Script};
use super::shrink::shrink;
use crate::manager::event::{Action, Fact};
use checker::Rule;
use planted::Bug;
use run::run;

/// A run here has many more events than one of `sim::schedules`: one for so many of those.
const SHARE: u64 = 150;

/// An action in one line.
fn tell(action: &Action) -> String {
    match action {
        Action::Spawn(request) => {
            let (process, unit) = (request.process.0, &request.unit.name);
            format!("Spawn {process}: {unit} {:?}", request.role)
        }
        Action::Record(Fact::State { unit, from, to, result, .. }) => {
            format!("{unit}: {from} > {to} ({result})")
        }
        Action::Listen { unit, .. } => format!("Listen {}", unit.name),
        action => format!("{action:?}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// Runs seeds on every core; for each rule that is broken, how often and by which lowest seed.
fn search(count: u64, bug: Option<Bug>) -> BTreeMap<Rule, (u64, u64)> {
    let next = AtomicU64::new(0);
    let found: Mutex<BTreeMap<Rule, (u64, u64)>> = Mutex::default();
    let meant = |rule: &Rule| bug.is_some_and(|bug| bug.rules().contains(rule));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count || found.lock().unwrap().keys().any(meant) {
                return;
            }
            if let Some(broken) = run(&mut Choices::from_seed(seed), bug, false).broken {
                let mut found = found.lock().unwrap();
                let entry = found.entry(broken.rule).or_insert((0, seed));
                *entry = (entry.0 + 1, entry.1.min(seed));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap()
}

fn report(seed: u64) -> String {
    let first = run(&mut Choices::from_seed(seed), None, false);
    let Some(broken) = first.broken else { return String::from("it is well when run again") };
    let again = |script: &Script| run(&mut Choices::from_script(script), None, false).broken;
    let small =
        shrink(first.script, |script| again(script).is_some_and(|now| now.rule == broken.rule));
    let outcome = run(&mut Choices::from_script(&small), None, true);
    let told = outcome.broken.map_or_else(String::new, |broken| format!("{broken:?}"));
    let trace = outcome.trace.join("\n");
    format!("seed {seed} breaks {told}\n{trace}\nas a scenario:\n    check(\"\n{small}\");\n")
}

#[test]
fn schedules() {
    let default = if cfg!(debug_assertions) { 400 } else { 2000 };
    let count = number("RINIT_SCHEDULES").map_or(default, |count| count / SHARE);
    let begun = std::time::Instant::now();
    let found = search(count, None);
    println!("{count} schedules in {:.1} s: {found:?}", begun.elapsed().as_secs_f64());
    let reports: Vec<String> = found.values().take(1).map(|(_, seed)| report(*seed)).collect();
    assert!(found.is_empty(), "rule: (runs, seed) {found:?}\n{}", reports.join("\n"));
}

#[test]
fn replay() {
    let seed = number("RINIT_SEED").unwrap_or(0);
    let outcome = run(&mut Choices::from_seed(seed), None, true);
    println!("{}", outcome.trace.join("\n"));
    assert!(outcome.broken.is_none(), "{}", report(seed));
    assert!(outcome.events > 10);
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = search(5000, Some(bug));
        println!("{bug:?}: {found:?}");
        if !found.keys().any(|rule| bug.rules().contains(rule)) {
            missed.push(bug);
        }
    }
    assert_eq!(missed, []);
}
