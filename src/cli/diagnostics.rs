//! Problems as text: the line, a caret, a hint, the other places; then how many there are.
//!
//! Not where they come from (`unit`). `rinit` itself draws with `plain`, which is smaller. **Invariant:** every problem is shown, sorted by file
//! and line; the same problems give the same text.

use std::io::IsTerminal;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::unit::{Problem, Severity, Span};

/// Longer lines than this are cut around the caret.
const WIDTH: usize = 140;

/// How much is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// Notes too, not only warnings and errors.
    pub notes: bool,
}

impl Style {
    /// Colours if `stream` is a terminal and `NO_COLOR` (no-color.org) is not set.
    pub fn for_stream(stream: &impl IsTerminal, no_color: Option<&std::ffi::OsStr>) -> Style {
        let no_color = no_color.is_some_and(|value| !value.is_empty());
        Style { colour: stream.is_terminal() && !no_color, notes: true }
    }
}

/// All problems, one after another with an empty line between them, and the count. Empty if
/// there is none.
pub fn render(problems: &[Problem], outcome: &str, style: Style) -> String {
    let shown = sorted(problems, style.notes);
    let renderer = if style.colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH);
    let mut text = String::new();
    for problem in &shown {
        text += &one(problem, &renderer);
        text += "\n\n";
    }
    if !shown.is_empty() {
        text += &count(problems, outcome);
        text.push('\n');
    }
    text
}

/// The problems to show, by file and line.
pub fn sorted(problems: &[Problem], notes: bool) -> Vec<&Problem> {
    let wanted = |problem: &&Problem| notes || problem.severity != Severity::Note;
    let mut shown: Vec<&Problem> = problems.iter().filter(wanted).collect();
    shown.sort_by_key(|problem| place(problem));
    shown
}

/// `2 errors, 1 warning: nothing was started`.
pub fn count(problems: &[Problem], outcome: &str) -> String {
    let of = |severity: Severity| problems.iter().filter(|p| p.severity == severity).count();
    let part = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{n} {word}s")),
    };
    let errors = part(of(Severity::Error), "error");
    let warnings = part(of(Severity::Warning), "warning");
    let notes = part(of(Severity::Note), "note");
    let parts: Vec<String> = errors.into_iter().chain(warnings).chain(notes).collect();
    if outcome.is_empty() { parts.join(", ") } else { format!("{}: {outcome}", parts.join(", ")) }
}

/// Files by path, what has no file first; in a file by offset.
fn place(problem: &Problem) -> (Option<&Path>, usize, &str) {
    let span = problem.span.as_ref();
    let path = span.map(|span| span.file.path.as_path());
    (path, span.map_or(0, |span| span.range.start), &problem.message)
}

fn one(problem: &Problem, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(one_line(&problem.message)));
    let paths: Vec<String> = problem
        .span
        .iter()
        .chain(problem.related.iter().map(|(span, _)| span))
        .map(|span| span.file.path.display().to_string())
        .collect();
    let mut paths = paths.iter();
    if let Some(span) = &problem.span {
        let snippet = Snippet::source(span.file.text.as_str()).line_start(1);
        let snippet = snippet.path(paths.next().map(String::as_str)).fold(true);
        let annotation = AnnotationKind::Primary.span(range(span));
        group = group.element(snippet.annotation(annotation.label(label(&problem.label))));
    }
    for (span, words) in &problem.related {
        let snippet = Snippet::source(span.file.text.as_str()).line_start(1);
        let snippet = snippet.path(paths.next().map(String::as_str)).fold(true);
        let annotation = AnnotationKind::Context.span(range(span)).label(label(words));
        group = group.element(snippet.annotation(annotation));
    }
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(one_line(hint)));
    }
    renderer.render(&[group])
}

/// The words under a caret, if there are any.
pub fn label(words: &str) -> Option<String> {
    (!words.is_empty()).then(|| one_line(words))
}

/// Control characters of a bad file do not reach the terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A range that the renderer can take: inside the text, on the borders of characters.
pub fn range(span: &Span) -> Range<usize> {
    let text = &span.file.text;
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.range.start);
    start..border(span.range.end).max(start)
}
