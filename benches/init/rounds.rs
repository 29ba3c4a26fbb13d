//! The order of runs: A B C, A B C, … so that a slow moment of the machine is nobody's own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::gap::Gap;
use crate::measure::{Bench, Outcome, Scenario, Way};
use crate::subject::Subject;

/// Every figure of a scenario: subject, metric's index, its rounds.
pub type Results = BTreeMap<(Subject, usize), Result<Vec<f64>, Gap>>;

/// Runs all rounds of one scenario.
pub fn run(bench: &Bench, scenario: &Scenario, subjects: &[Subject], rounds: usize) -> Results {
    let mut results = Results::new();
    match scenario.way {
        Way::Rounds(measure) => {
            let mut used: BTreeMap<Subject, Duration> = BTreeMap::new();
            for round in 0..rounds {
                for &subject in subjects {
                    let used = used.entry(subject).or_default();
                    if round == 0 || *used < subject.patience() && is_promising(&results, subject) {
                        let begin = Instant::now();
                        add(&mut results, scenario, subject, measure(bench, subject));
                        *used += begin.elapsed();
                    }
                }
            }
        }
        Way::Together(measure) => {
            for (&subject, figures) in subjects.iter().zip(measure(bench, subjects)) {
                add(&mut results, scenario, subject, figures);
            }
        }
    }
    results
}

/// A subject that failed once in a scenario fails again.
fn is_promising(results: &Results, subject: Subject) -> bool {
    results.iter().any(|((of, _), result)| *of == subject && result.is_ok())
}

fn add(results: &mut Results, scenario: &Scenario, subject: Subject, figures: Outcome) {
    let figures =
        figures.unwrap_or_else(|gap| scenario.metrics.iter().map(|_| Err(gap.clone())).collect());
    for (index, figure) in figures.into_iter().enumerate() {
        let entry = results.entry((subject, index)).or_insert(Ok(vec![]));
        match (entry, figure) {
            (Ok(rounds), Ok(figure)) => rounds.push(figure),
            (entry, Err(gap)) => *entry = Err(gap),
            (Err(_), Ok(_)) => {}
        }
    }
}
