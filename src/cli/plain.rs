//! Problems as text for PID 1: as `diagnostics` draws them, without colours.
//!
//! Of its own because `annotate-snippets` adds 110 KB, and `rinit` stays small; `rinitctl`
//! has the crate. **Invariant:** for what fits on a line both draw the same; the tables in
//! `unit` hold them to it.

use std::fmt::Write as _;

use super::diagnostics::{count, label, one_line, range, sorted};
use crate::unit::{Problem, Severity, Span};

/// All problems, one after another with an empty line between them, and the count. Empty if
/// there is none. `notes`: those too, not only warnings and errors.
pub fn render(problems: &[Problem], outcome: &str, notes: bool) -> String {
    let shown = sorted(problems, notes);
    let mut text = String::new();
    for problem in &shown {
        one(problem, &mut text);
    }
    if !shown.is_empty() {
        text += &count(problems, outcome);
        text.push('\n');
    }
    text
}

/// One problem.
pub fn render_one(problem: &Problem) -> String {
    let mut text = String::new();
    one(problem, &mut text);
    text
}

fn one(problem: &Problem, text: &mut String) {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let _ = writeln!(text, "{level}: {}", one_line(&problem.message));
    let related = problem.related.iter().map(|(span, words)| (span, words));
    let places: Vec<(&Span, &String)> =
        problem.span.iter().map(|span| (span, &problem.label)).chain(related).collect();
    let last = places.iter().map(|(span, _)| span.line()).max();
    let gutter = last.map_or(0, |line| line.to_string().len());
    for (at, (span, words)) in places.iter().enumerate() {
        if at > 0 {
            let _ = writeln!(text, "{:gutter$} |", "");
        }
        let (arrow, mark) = if at == 0 { ("-->", "^") } else { (":::", "-") };
        place(span, words, (arrow, mark), gutter, text);
    }
    if let Some(hint) = &problem.hint {
        let _ = writeln!(text, "{:gutter$} |\n{:gutter$} = help: {}", "", "", one_line(hint));
    }
    text.push('\n');
}

fn place(span: &Span, words: &str, marks: (&str, &str), gutter: usize, text: &mut String) {
    let (arrow, mark) = marks;
    let source = &span.file.text;
    let range = range(span);
    let before = source.get(..range.start).unwrap_or("");
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = source.get(start..).unwrap_or("").lines().next().unwrap_or("");
    let column = source.get(start..range.start).unwrap_or("").chars().count();
    let marked = source.get(range).unwrap_or("");
    let width = marked.chars().take_while(|c| *c != '\n').count().max(1);
    let (number, path) = (span.line(), span.file.path.display());
    let _ = writeln!(text, "{:gutter$}{arrow} {path}:{number}:{}", "", column + 1);
    let _ = writeln!(text, "{:gutter$} |", "");
    let Shown { line, column, width } = shown(line, column, width);
    let _ = writeln!(text, "{number:>gutter$} | {}", one_line(&line));
    let carets = mark.repeat(width);
    let words = label(words).map_or_else(String::new, |words| format!(" {words}"));
    let _ = writeln!(text, "{:gutter$} | {:column$}{carets}{words}", "", "");
}

/// So many characters of a line are shown at most. (A width that is formatted must not be over
/// 65,535: std panics.)
const LINE_MAX: usize = 200;

/// A line, where the mark begins in it, and how long that is.
struct Shown {
    line: String,
    column: usize,
    width: usize,
}

/// Of a long line, what is around the mark.
fn shown(line: &str, column: usize, width: usize) -> Shown {
    let length = line.chars().count();
    let first = column.saturating_sub(LINE_MAX / 2).min(length.saturating_sub(LINE_MAX));
    let before = if first > 0 { "…" } else { "" };
    let after = if first + LINE_MAX < length { "…" } else { "" };
    let part: String = line.chars().skip(first).take(LINE_MAX).collect();
    Shown {
        line: format!("{before}{part}{after}"),
        column: column - first + before.chars().count(),
        width: width.min(LINE_MAX.saturating_sub(column - first).max(1)),
    }
}
