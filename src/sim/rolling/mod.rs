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
mod world;

use std::collections::BTreeMap;

use super::choices::{Choices, Script};
use super::shrink::shrink;
use crate::manager::event::{Action, Fact};
use planted::Bug;
use run::run;

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

/// Runs seeds on two threads until each rule that is broken has its lowest seed.
fn search(count: u64, bug: Option<Bug>) -> BTreeMap<String, (u64, u64)> {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for seed in 0..count {
        if bug.is_some() && !found.is_empty() {
            break;
        }
        if let Some(broken) = run(&mut Choices::from_seed(seed), bug, false).broken {
            let entry = found.entry(format!("{:?}", broken.rule)).or_insert((0, seed));
            entry.0 += 1;
        }
    }
    found
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
    let default = if cfg!(debug_assertions) { 3000 } else { 30_000 };
    let found = search(number("RINIT_SCHEDULES").unwrap_or(default), None);
    let reports: Vec<String> = found.values().take(2).map(|(_, seed)| report(*seed)).collect();
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
        if found.is_empty() {
            missed.push(bug);
        }
    }
    assert_eq!(missed, []);
}
