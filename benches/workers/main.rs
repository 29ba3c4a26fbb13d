//! `cargo bench --bench workers`: four workers on one port under rinit, beside the servers' own managers.
//!
//! Each row of the table is one thing that happens to a web app in its life, done to each subject in
//! turn on this machine, under a load whose every request is counted. It is not a test: no figure makes
//! it fail. README.md says what each row does.
//!
//! | module | what |
//! |---|---|
//! | `options` | the command line |
//! | `subject`, `group` | who is measured, and one of them running |
//! | `app` | the app's directory: what its processes do at import, and what they noted |
//! | `processes`, `priority` | /proc; the share of the CPUs, as the other benchmark takes it |
//! | `rows` | what is done to them, one file a theme |
//! | `table` | the Markdown |
//! | `load` | the client, shared with the tests |
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is its output")]
#![allow(clippy::disallowed_methods, reason = "it measures the world: clocks, files, processes")]

mod app;
mod group;
#[path = "../../integration/load/mod.rs"]
mod load;
mod options;
#[path = "../init/priority.rs"]
mod priority;
mod processes;
mod rows;
mod subject;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use crate::options::{Options, Wish};
use crate::table::Table;

fn main() -> ExitCode {
    let result = match Options::parse(std::env::args().skip(1)) {
        Ok(Wish::Measure(options)) => measure_all(&options),
        Ok(Wish::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(64);
        }
    };
    if let Err(problem) = result {
        eprintln!("bench workers: {problem}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure_all(options: &Options) -> Result<(), String> {
    processes::adopt_orphans()?;
    let begin = Instant::now();
    let (subjects, missing) = options.installed()?;
    eprintln!("{}", table::machine());
    let priority = if options.is_ordinary { "ordinary priority" } else { priority::claim() };
    let mut table = Table::new(&subjects);
    for row in options.rows() {
        for &subject in &subjects {
            let begin = Instant::now();
            let cell = (row.measure)(options, subject).unwrap_or_else(|gap| format!("– ({gap})"));
            // The table comes at the end of many minutes: this is for who waits.
            eprintln!(
                "{:4.0} s  {}, {}: {cell}",
                begin.elapsed().as_secs_f64(),
                row.key,
                subject.name()
            );
            table.add(row, subject, cell);
        }
    }
    println!("{}", table.render());
    for (subject, why) in missing {
        println!("Left out: {}, {why}.", subject.name());
    }
    println!("{}, {priority}, {} s.", table::machine(), begin.elapsed().as_secs());
    Ok(())
}
