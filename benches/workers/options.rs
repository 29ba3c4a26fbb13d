//! The command line: `cargo bench --bench workers -- [OPTION]...`.

use std::time::Duration;

use crate::rows::{ROWS, Row};
use crate::subject::Subject;

const HELP: &str = "\
usage: cargo bench --bench workers -- [--row KEY]... [--subject NAME]... [--seconds N] [--rate N] [--show-logs] [--ordinary]
  --row KEY       only this row (repeatable)
  --subject NAME  only this subject (repeatable); those in brackets are measured only when named
  --seconds N     how long a load lasts at least, and half of what slow things take (default 8)
  --rate N        requests a second (default 300)
  --show-logs     print what each subject wrote
  --ordinary      ordinary priority, also as root";

/// What to measure.
pub struct Options {
    rows: Vec<String>,
    subjects: Vec<Subject>,
    seconds: u64,
    /// Requests a second.
    pub rate: u32,
    /// Whether the subjects' output is printed.
    pub shows_logs: bool,
    /// Whether real-time priority is left alone.
    pub is_ordinary: bool,
}

/// A subject that is not here, and why.
pub type Missing = (Subject, String);

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
        let mut options = Self::usual();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" => is_bench = true,
                "--row" => options.rows.push(parse_row(args.next())?),
                "--subject" => options.subjects.push(parse_subject(args.next())?),
                "--seconds" => options.seconds = parse_number(&arg, args.next())?,
                "--rate" => options.rate = parse_number(&arg, args.next())?,
                "--ordinary" => options.is_ordinary = true,
                "--show-logs" => options.shows_logs = true,
                "--help" | "-h" => return Ok(Wish::Print(format!("{HELP}\n{}", names()))),
                _ => return Err(format!("unknown option `{arg}`\n{HELP}")),
            }
        }
        Ok(if is_bench {
            Wish::Measure(options)
        } else {
            Wish::Print("a benchmark: run it by `cargo bench --bench workers`".into())
        })
    }

    fn usual() -> Self {
        let (rows, subjects) = (vec![], vec![]);
        Self { rows, subjects, seconds: 8, rate: 300, shows_logs: false, is_ordinary: false }
    }

    /// How long a load lasts at least.
    pub fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The rows to measure.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(|row| self.rows.is_empty() || self.rows.iter().any(|key| key == row.key))
    }

    /// The subjects to measure, and those that cannot be, with the reason.
    pub fn installed(&self) -> Result<(Vec<Subject>, Vec<Missing>), String> {
        let is_wanted = |subject: &Subject| {
            if self.subjects.is_empty() {
                subject.is_usual()
            } else {
                self.subjects.contains(subject)
            }
        };
        let mut missing = vec![];
        let mut installed = vec![];
        for subject in Subject::ALL.into_iter().filter(is_wanted) {
            match subject.program() {
                Ok(_) => installed.push(subject),
                Err(why) => missing.push((subject, why)),
            }
        }
        if installed.is_empty() {
            return Err("nothing that was asked for is installed: run integration/setup.sh".into());
        }
        Ok((installed, missing))
    }
}

fn parse_number<T: TryFrom<u64>>(option: &str, value: Option<String>) -> Result<T, String> {
    let number = value.and_then(|text| text.parse::<u64>().ok()).filter(|&number| number > 0);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{option} needs a number from 1"))
}

fn parse_row(value: Option<String>) -> Result<String, String> {
    let key = value.filter(|key| ROWS.iter().any(|row| row.key == key));
    key.ok_or_else(|| format!("--row needs a key\n{}", names()))
}

fn parse_subject(value: Option<String>) -> Result<Subject, String> {
    let subject = value.and_then(|name| Subject::ALL.into_iter().find(|s| s.name() == name));
    subject.ok_or_else(|| format!("--subject needs a name\n{}", names()))
}

fn names() -> String {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.key).collect();
    let subjects = Subject::ALL.map(|subject| match subject.is_usual() {
        true => subject.name().to_owned(),
        false => format!("[{}]", subject.name()),
    });
    format!("rows: {}\nsubjects: {}", rows.join(" "), subjects.join(" "))
}
