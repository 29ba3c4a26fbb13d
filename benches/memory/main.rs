//! `cargo bench --bench memory`: the memory watchdog, how late it is and what it costs.
//!
//! rinit runs as a plain child with one unit, whose processes are this very program again. First a
//! leak that meets its limit, ten times: by how much it was over when rinit had seen it. Then
//! processes that stand still, far from the limit and just below it: what of a processor rinit uses.
//! It is not a test: no figure makes it fail. README.md says what each figure is.
//!
//! | module | what |
//! |---|---|
//! | `load` | what the unit's processes do |
//! | `subject` | one rinit with that unit |
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is its output")]
#![allow(clippy::disallowed_methods, reason = "it measures the world: clocks, files, processes")]

mod load;
mod subject;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use subject::Subject;

const MIB: f64 = 1_048_576.0;

/// Of the leak: what it may have, and how often it is measured.
const LIMIT: u64 = 160 << 20;
const ROUNDS: usize = 10;

/// MiB in a second.
const RATES: [u64; 3] = [20, 100, 400];

/// How many processes stand still, and what they share, in MiB.
const GROUPS: [u64; 3] = [4, 40, 400];
const SHARED: u64 = 64;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    match (words.first().map(String::as_str), numbers.as_slice()) {
        (Some("leak"), [rate]) => load::leak(*rate),
        (Some("stand"), [count, shared]) => load::stand(*count, *shared),
        _ => {}
    }
    let seconds = words.iter().skip_while(|word| *word != "--seconds").nth(1);
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(20);
    let begin = Instant::now();
    match leaks().and_then(|()| costs(Duration::from_secs(seconds))) {
        Ok(()) => {
            println!("\n{:.0} s", begin.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("bench memory: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// How far over the limit a leak is when it is seen; the time is that at the rate of the leak.
fn leaks() -> Result<(), String> {
    println!(
        "| leak | over {:.0} MiB by (median) | worst | late by (median) |",
        LIMIT as f64 / MIB
    );
    println!("|---|---|---|---|");
    for rate in RATES {
        let mut subject = Subject::start(&format!("leak {rate}"), LIMIT)?;
        let mut over = Vec::new();
        for _ in 0..ROUNDS {
            over.push(subject.wait_peak()?.saturating_sub(LIMIT) as f64 / MIB);
        }
        over.sort_by(f64::total_cmp);
        let at = |index: usize| over.get(index).copied().unwrap_or_default();
        let (median, worst) = (at(ROUNDS / 2), at(ROUNDS - 1));
        let late = median / rate as f64 * 1000.0;
        println!("| {rate} MiB/s | {median:.1} MiB | {worst:.1} MiB | {late:.0} ms |");
    }
    Ok(())
}

/// What rinit uses of a processor while a unit stands still; without a limit it uses nothing. And
/// how long its loop was away at most, just below the limit.
fn costs(span: Duration) -> Result<(), String> {
    println!("\n| processes | no limit | far from it | 5 % below it | longest turn there |");
    println!("|---|---|---|---|---|");
    for count in GROUPS {
        // What each has of its own is a few hundred KiB.
        let used = Subject::start(&format!("stand {count} {SHARED}"), u64::MAX)?.measure_use()?;
        let (mut cells, mut longest) = (vec![count.to_string()], Duration::ZERO);
        for limit in [None, Some((count * SHARED) << 22), Some(used + used / 20)] {
            let command = format!("stand {count} {SHARED}");
            let subject = Subject::start(&command, limit.unwrap_or(u64::MAX))?;
            let share = subject.measure_cost(span)? * 100.0;
            cells.push(format!("{share:.2} %"));
            longest = subject.longest_turn()?;
        }
        cells.push(format!("{:.1} ms", longest.as_secs_f64() * 1000.0));
        println!("| {} |", cells.join(" | "));
    }
    Ok(())
}
