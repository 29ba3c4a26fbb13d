//! The table that a person reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::thread;

use crate::metric::Metric;
use crate::rounds::Results;
use crate::subject::Subject;

/// What the figures were taken on.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?");
        line.trim_matches(['"', ' ', '\t', ':', '=']).to_owned()
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {cores} cores ({}), {}, load {}",
        read("/proc/sys/kernel/osrelease").trim(),
        after(&read("/proc/cpuinfo"), "model name"),
        after(&read("/etc/os-release"), "PRETTY_NAME"),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    )
}

/// One metric: a line for each subject that has figures, then one for each reason to have none.
pub fn section(metric: &Metric, index: usize, subjects: &[Subject], results: &Results) -> String {
    let mut text = format!("{}: {}", metric.key, metric.title);
    let mut gaps: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut ideal = None;
    for &subject in subjects {
        match results.get(&(subject, index)) {
            Some(Ok(rounds)) => {
                let spread = Spread::of(rounds);
                ideal = ideal.or(Some(spread.median).filter(|_| subject == Subject::Ideal));
                let _ = write!(text, "\n{}", line(metric, subject, &spread, ideal));
            }
            Some(Err(gap)) => gaps.entry(gap.to_string()).or_default().push(subject.name()),
            None => {}
        }
    }
    for (reason, names) in gaps {
        let _ = write!(
            text,
            "
  {:<12} {:>9}  {reason}: {}",
            "",
            "-",
            names.join(", ")
        );
    }
    let _ = write!(text, "\n  (rinit: {})", metric.reach);
    text
}

fn line(metric: &Metric, subject: Subject, spread: &Spread, ideal: Option<f64>) -> String {
    let show = |figure| metric.scale.show(figure);
    let mut line = format!("  {:<12} {:>9}", subject.name(), show(spread.median));
    if let Some(ideal) = ideal.filter(|_| metric.has_ratio) {
        let _ = write!(line, " {:>9}", format!("{:.2}x", spread.median / ideal));
    }
    if spread.rounds > 1 {
        let range = format!("{} – {}", show(spread.min), show(spread.max));
        let _ = write!(line, "   {range:<20} n={}", spread.rounds);
    }
    line
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
    rounds: usize,
}

impl Spread {
    fn of(rounds: &[f64]) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { median, min: at(0), max: at(last), rounds: sorted.len() }
    }
}
