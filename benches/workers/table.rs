//! The Markdown table, and what it was taken on.

use std::fmt::Write;
use std::fs;
use std::thread;

use crate::rows::Row;
use crate::subject::Subject;

/// Cells as they come.
pub struct Table {
    subjects: Vec<Subject>,
    cells: Vec<(&'static Row, Subject, String)>,
}

impl Table {
    pub fn new(subjects: &[Subject]) -> Self {
        Self { subjects: subjects.to_vec(), cells: vec![] }
    }

    pub fn add(&mut self, row: &'static Row, subject: Subject, cell: String) {
        self.cells.push((row, subject, cell.replace('|', "/")));
    }

    pub fn render(&self) -> String {
        let names: Vec<&str> = self.subjects.iter().map(|subject| subject.name()).collect();
        let mut text = format!("| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        let mut last = "";
        for (row, ..) in &self.cells {
            if row.key == last {
                continue;
            }
            last = row.key;
            let _ = write!(text, "\n| {} |", row.title);
            for subject in &self.subjects {
                let of = |(r, s, cell): &(&Row, Subject, String)| {
                    (r.key == row.key && s == subject).then(|| cell.clone())
                };
                let cell = self.cells.iter().find_map(of).unwrap_or_default();
                let _ = write!(text, " {cell} |");
            }
        }
        text
    }
}

/// What the figures were taken on.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg").split(' ').next().unwrap_or("?").to_owned();
    format!("Linux {}, {cores} cores, load {load}", release.trim())
}

/// `4,200`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
