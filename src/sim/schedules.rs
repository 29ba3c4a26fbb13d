//! The tests: many seeds on every core, one seed again, and the planted bugs.
//!
//! The only part of the simulation that reads the environment, the clock (for the rate that it
//! prints, never to decide) and starts threads.
//!
//! `RINIT_SCHEDULES=1000000 cargo test --release --lib sim::schedules -- --nocapture`
//! `RINIT_SEED=4711 cargo test --release --lib sim::schedules::replay -- --nocapture`
#![allow(clippy::disallowed_methods)] // see above

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::choices::{Choices, Script};
use super::planted::Bug;
use super::run::{Outcome, run};
use super::shrink::shrink;

/// How many seeds a planted bug may take to be found.
const PATIENCE: u64 = 20_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// What a search found: for each rule that was broken, how often and by which lowest seed.
#[derive(Default)]
struct Found {
    rules: BTreeMap<String, (u64, u64)>,
    events: u64,
}

/// Runs `count` seeds on every core; with a planted bug only until it is found.
fn search(count: u64, bug: Option<Bug>) -> Found {
    let next = AtomicU64::new(0);
    let found = Mutex::new(Found::default());
    let work = || {
        loop {
            let first = next.fetch_add(64, Ordering::Relaxed);
            if first >= count || bug.is_some() && !found.lock().unwrap().rules.is_empty() {
                return;
            }
            let mut events = 0;
            for seed in first..(first + 64).min(count) {
                let outcome = run(&mut Choices::from_seed(seed), bug, false);
                events += u64::from(outcome.events);
                if let Some(broken) = outcome.broken {
                    let mut found = found.lock().unwrap();
                    let entry =
                        found.rules.entry(format!("{:?}", broken.rule)).or_insert((0, seed));
                    *entry = (entry.0 + 1, entry.1.min(seed));
                }
            }
            found.lock().unwrap().events += events;
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

/// The seed's script made small, and everything that happens in it.
fn report(seed: u64) -> String {
    let first = run(&mut Choices::from_seed(seed), None, true);
    let Some(broken) = &first.broken else { return String::from("it is well when run again") };
    let rule = broken.rule;
    let small = shrink(first.script.clone(), |script| {
        again(script).broken.is_some_and(|broken| broken.rule == rule)
    });
    let outcome = run(&mut Choices::from_script(&small), None, true);
    let told = outcome.broken.map_or_else(String::new, |broken| broken.to_string());
    format!(
        "seed {seed} breaks {told}\n{}\nagain: RINIT_SEED={seed} cargo test --release --lib \
         sim::schedules::replay -- --nocapture\nas a scenario:\n    check(\"\n{small}\");\n",
        outcome.trace.join("\n")
    )
}

fn again(script: &Script) -> Outcome {
    run(&mut Choices::from_script(script), None, false)
}

#[test]
fn schedules() {
    let default = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let count = number("RINIT_SCHEDULES").unwrap_or(default);
    let begun = std::time::Instant::now();
    let Found { rules, events } = search(count, None);
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{count} schedules, {events} events in {took:.1} s: {:.0} a second",
        count as f64 / took
    );
    let reports = rules.values().take(3).map(|(_, seed)| report(*seed));
    let reports: Vec<String> = reports.collect();
    assert!(rules.is_empty(), "rule: (runs that break it, seed) {rules:?}\n{}", reports.join("\n"));
}

#[test]
fn replay() {
    let seed = number("RINIT_SEED").unwrap_or(0);
    let outcome = run(&mut Choices::from_seed(seed), None, true);
    println!("{}\n{}", outcome.trace.join("\n"), outcome.script);
    assert_eq!(outcome.broken, None, "{}", report(seed));
}

#[test]
fn the_same_choices_give_the_same_run() {
    for seed in 0..500 {
        let once = run(&mut Choices::from_seed(seed), None, true);
        let twice = run(&mut Choices::from_seed(seed), None, false);
        assert_eq!((once.hash, once.events), (twice.hash, twice.events), "seed {seed}");
        let replayed = again(&Script::parse(&once.script.to_string()));
        assert_eq!((once.hash, once.events), (replayed.hash, replayed.events), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = search(PATIENCE, Some(bug));
        if found.rules.is_empty() {
            missed.push(bug);
        }
        println!("{bug:?}: {:?}", found.rules);
    }
    assert_eq!(missed, [], "not found in {PATIENCE} schedules");
}
