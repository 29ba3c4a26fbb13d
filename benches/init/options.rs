//! The command line: `cargo bench --bench init -- [OPTION]...`.

use std::time::Duration;

use crate::measure::SCENARIOS;
use crate::metric::Metric;
use crate::subject::Subject;

const HELP: &str = "\
usage: cargo bench --bench init -- [--rounds N] [--only METRIC]... [--subject NAME]... [--full]
  --rounds N      rounds of every scenario, instead of each one's own number
  --only METRIC   only this metric (repeatable)
  --subject NAME  only this subject, and the ideal (repeatable)
  --full          watch 60 s of idling instead of 10 s";

/// What to measure.
pub struct Options {
    /// Overrides every scenario's own number of rounds.
    pub rounds: Option<usize>,
    /// How long idling is watched.
    pub idle: Duration,
    only: Vec<String>,
    subjects: Vec<Subject>,
}

/// What the command line asks for.
pub enum Wish {
    /// To measure.
    Measure(Options),
    /// To print a text and succeed.
    Print(String),
}

impl Options {
    /// Cargo passes `--bench` to a benchmark; without it (`cargo test --all-targets`) nothing is measured.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
        let mut is_bench = false;
        let mut options =
            Self { rounds: None, idle: Duration::from_secs(10), only: vec![], subjects: vec![] };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" => is_bench = true,
                "--full" => options.idle = Duration::from_secs(60),
                "--rounds" => options.rounds = Some(parse_rounds(args.next())?),
                "--only" => options.only.push(parse_metric(args.next())?),
                "--subject" => options.subjects.push(parse_subject(args.next())?),
                "--help" | "-h" => return Ok(Wish::Print(format!("{HELP}\n{}", names()))),
                _ => return Err(format!("unknown option `{arg}`\n{HELP}")),
            }
        }
        Ok(if is_bench {
            Wish::Measure(options)
        } else {
            Wish::Print("a benchmark: run it by `cargo bench --bench init`".into())
        })
    }

    /// Whether this metric is to be measured.
    pub fn wants(&self, metric: &Metric) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == metric.key)
    }

    /// The subjects to measure, the ideal first.
    pub fn subjects(&self) -> Vec<Subject> {
        let is_wanted = |subject: &Subject| {
            self.subjects.is_empty()
                || *subject == Subject::Ideal
                || self.subjects.contains(subject)
        };
        Subject::ALL.into_iter().filter(is_wanted).collect()
    }
}

fn parse_rounds(value: Option<String>) -> Result<usize, String> {
    let rounds = value.and_then(|text| text.parse().ok()).filter(|&rounds| rounds > 0);
    rounds.ok_or_else(|| "--rounds needs a number from 1".into())
}

fn parse_metric(value: Option<String>) -> Result<String, String> {
    let key = value.filter(|key| metric_keys().contains(&key.as_str()));
    key.ok_or_else(|| format!("--only needs a metric\n{}", names()))
}

fn parse_subject(value: Option<String>) -> Result<Subject, String> {
    let subject = value.and_then(|name| Subject::ALL.into_iter().find(|s| s.name() == name));
    subject.ok_or_else(|| format!("--subject needs a name\n{}", names()))
}

fn metric_keys() -> Vec<&'static str> {
    SCENARIOS.iter().flat_map(|scenario| scenario.metrics).map(|metric| metric.key).collect()
}

fn names() -> String {
    let subjects = Subject::ALL.map(Subject::name).join(" ");
    format!("metrics: {}\nsubjects: {subjects}", metric_keys().join(" "))
}
