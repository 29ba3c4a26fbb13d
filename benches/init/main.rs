//! `cargo bench --bench init`: rinit beside its peers and beside the least that an init can do.
//!
//! Every subject runs as PID 1 of a fresh pid namespace; the rounds of the subjects are interleaved, so
//! that a slow minute of the machine falls on all of them; medians are printed with their ratio to
//! `ideal.c` in the same run. It is not a test: no figure makes it fail, a subject that is missing or
//! cannot do something is a `-` with the reason. README.md says what each metric is.
//!
//! | module | what |
//! |---|---|
//! | `options` | the command line |
//! | `tools`, `priority` | our own C programs, compiled for this run; the harness's share of the CPUs |
//! | `subject`, `job`, `configure` | who is measured, what it is asked to run, its configuration for that |
//! | `cell`, `slots`, `process` | one subject in its namespace; what its apps noted; what /proc says of it |
//! | `measure` | the scenarios, one a file |
//! | `metric`, `gap`, `rounds`, `report` | a figure's name, why there is none, the order of runs, the table |
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is its output")]
#![allow(clippy::disallowed_methods, reason = "it measures the world: clocks, files, processes")]

mod cell;
mod configure;
mod gap;
mod job;
mod measure;
mod metric;
mod options;
mod priority;
mod process;
mod report;
mod rounds;
mod slots;
mod subject;
mod tools;

use std::process::ExitCode;
use std::time::Instant;

use crate::gap::Gap;
use crate::measure::{Bench, SCENARIOS};
use crate::options::{Options, Wish};
use crate::tools::Tools;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Wish::Measure(options)) => match measure_all(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(gap) => {
                eprintln!("bench init: {gap}");
                ExitCode::FAILURE
            }
        },
        Ok(Wish::Print(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(64)
        }
    }
}

fn measure_all(options: &Options) -> Result<(), Gap> {
    let bench = Bench { tools: Tools::build()?, idle: options.idle };
    cell::try_out(&bench.tools)?;
    let begin = Instant::now();
    println!("{}, {}", report::machine(), priority::claim());
    let subjects = options.subjects();
    for scenario in SCENARIOS {
        if !scenario.metrics.iter().any(|metric| options.wants(metric)) {
            continue;
        }
        let rounds = options.rounds.unwrap_or(scenario.rounds);
        let results = rounds::run(&bench, scenario, &subjects, rounds);
        for (index, metric) in scenario.metrics.iter().enumerate() {
            if options.wants(metric) {
                println!("\n{}", report::section(metric, index, &subjects, &results));
            }
        }
    }
    println!("\n{:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}
