//! What is wrong with a unit, where, and what to write instead.
//!
//! Not how it looks: `cli::diagnostics` draws it. **Invariant:** parsing never fails; it
//! returns a value and a list of these, so that all errors of all files are seen at once.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The text of one file that was read, kept so that a problem can show the line.
#[derive(PartialEq, Eq, Debug)]
pub struct SourceFile {
    /// Where it was read, or `-p` and the like for what came from the command line.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// A stretch of a file: bytes `start..end`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Byte offsets into its text; may be empty (a point).
    pub range: Range<usize>,
}

impl Span {
    /// Line of the first byte, from 1.
    pub fn line(&self) -> usize {
        let end = self.range.start.min(self.file.text.len());
        self.file.text.as_bytes().iter().take(end).filter(|byte| **byte == b'\n').count() + 1
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.path.display(), self.line())
    }
}

/// How much a problem weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing; changes nothing.
    Note,
    /// Read, but not as the author may think; an error under `check --strict`.
    Warning,
    /// Nothing starts.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where; `None` when there is no file to point into (it is unreadable, or missing).
    pub span: Option<Span>,
    /// A few words under the caret.
    pub label: String,
    /// Other places that belong to it (the other members of a cycle, the first definition).
    pub related: Vec<(Span, String)>,
    /// What to write instead, or where to read more.
    pub hint: Option<String>,
}

impl Problem {
    /// An error at `span`.
    pub fn error(span: Option<Span>, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Error, span, message)
    }

    /// A warning at `span`.
    pub fn warning(span: Option<Span>, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Warning, span, message)
    }

    /// A note at `span`.
    pub fn note(span: Option<Span>, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Note, span, message)
    }

    fn new(severity: Severity, span: Option<Span>, message: impl Into<String>) -> Problem {
        let message = message.into();
        Problem { severity, message, span, label: String::new(), related: Vec::new(), hint: None }
    }

    /// With words under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = label.into();
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Problem {
        self.related.push((span, label.into()));
        self
    }
}
