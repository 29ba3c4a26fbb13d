//! What every setter of the table needs: a value as the type that its directive takes.
//!
//! Not the syntax of texts (`value` and its neighbours). **Invariant:** a value of the wrong
//! type or form becomes one problem at its place, and the setter changes nothing.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{Directive, Kind, Section, Support};
use crate::unit::command::{ExecCommand, parse_commands};
use crate::unit::environment::{is_variable_name, parse_assignments};
use crate::unit::instances;
use crate::unit::name::NameError;
use crate::unit::problem::{Problem, SourceFile, Span};
use crate::unit::raw::{Item, Spelling, Value, locate};
use crate::unit::specifier::Specifiers;
use crate::unit::value::{self, ValueError};
use crate::unit::{Dependency, UnitKind, UnitName};

/// Where a value comes from, and where its problems go.
#[derive(Debug)]
pub struct Context<'a> {
    /// The file.
    pub file: &'a Arc<SourceFile>,
    /// How it is spelled.
    pub spelling: Spelling,
    /// What `%` means in this unit.
    pub specifiers: &'a Specifiers<'a>,
    /// The row.
    pub directive: &'static Directive,
    /// What was wrong so far.
    pub problems: &'a mut Vec<Problem>,
}

/// A part of a list: what one line of systemd's spelling assigns, or one element of an array.
#[derive(Clone, Copy, Debug)]
pub struct Part<'i> {
    /// Its text.
    pub text: &'i str,
    /// Where it stands.
    pub item: &'i Item,
    /// It is an element of an array: one word, taken as it is.
    pub verbatim: bool,
}

impl Context<'_> {
    /// A place in this file.
    pub fn span(&self, range: Range<usize>) -> Span {
        Span { file: Arc::clone(self.file), range }
    }

    /// "RestartSec takes a time span such as "5s", not a boolean".
    pub fn mismatch(&mut self, item: &Item) {
        let Directive { name, kind, .. } = self.directive;
        let found = item.value.type_name();
        let message = format!("{name} takes {}, not {found}", kind.expects());
        self.problems.push(Problem::error(Some(self.span(item.range.clone())), message));
    }

    /// A text that is not what the directive takes.
    pub fn refuse(&mut self, item: &Item, error: ValueError) {
        let problem = self.value_problem(item, error);
        self.problems.push(problem);
    }

    /// A text that is read, but not as its author may think.
    pub fn warn(&mut self, item: &Item, error: ValueError) {
        let problem = self.value_problem(item, error);
        self.problems.push(Problem { severity: crate::unit::Severity::Warning, ..problem });
    }

    fn value_problem(&self, item: &Item, error: ValueError) -> Problem {
        let range = match &error.range {
            Some(inner) if matches!(item.value, Value::Text(_)) => {
                locate(&self.file.text, self.spelling, &item.range, inner)
            }
            Some(_) | None => item.range.clone(),
        };
        let message = format!("{}: {}", self.directive.name, error.message);
        let hint = error.hint.or_else(|| Some(self.hint()));
        Problem { hint, ..Problem::error(Some(self.span(range)), message) }
    }

    fn hint(&self) -> String {
        format!("{} takes {}", self.directive.name, self.directive.kind.expects())
    }

    /// A text of the wrong form, said in one sentence.
    pub fn refuse_text(&mut self, item: &Item, message: impl Into<String>) {
        self.refuse(item, ValueError { message: message.into(), range: None, hint: None });
    }

    /// A string as it is.
    pub fn text<'i>(&mut self, item: &'i Item) -> Option<&'i str> {
        if let Value::Text(text) = &item.value {
            return Some(text);
        }
        self.mismatch(item);
        None
    }

    /// A string or a number, as text.
    pub fn scalar<'i>(&mut self, item: &'i Item) -> Option<&'i str> {
        match &item.value {
            Value::Text(text) | Value::Float(text) => Some(text),
            Value::Integer { decimal, .. } => Some(decimal),
            Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
                self.mismatch(item);
                None
            }
        }
    }

    /// A string or a number, read by `parse`.
    pub fn parsed<T>(
        &mut self,
        item: &Item,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let text = self.scalar(item)?;
        parse(text).map_err(|error| self.refuse(item, error)).ok()
    }

    /// A text with its `%` specifiers replaced.
    pub fn expanded(&mut self, item: &Item, text: &str) -> Option<String> {
        let expanded =
            self.specifiers.expand(text).map_err(|error| self.refuse(item, error)).ok()?;
        if instances::is_marked(&expanded) && !self.differs_by_instance() {
            let name = self.directive.name;
            let message = format!("{text:?} is another one for each instance, which {name} cannot");
            let hint = format!("{name} is the service's, for all its instances");
            self.refuse(item, ValueError { message, range: None, hint: Some(hint) });
            return None;
        }
        Some(expanded)
    }

    /// Whether each instance of a service may have its own value of this.
    fn differs_by_instance(&self) -> bool {
        match self.directive.section {
            Section::Service => self.directive.kind != Kind::Units,
            Section::Health => true,
            Section::Unit => self.directive.name == "Description",
            Section::Install
            | Section::Manager
            | Section::Socket
            | Section::Timer
            | Section::Path
            | Section::Slice => false,
        }
    }

    /// `true`, or one of systemd's words.
    pub fn boolean(&mut self, item: &Item) -> Option<bool> {
        if let Value::Boolean(boolean) = item.value {
            return Some(boolean);
        }
        if let Value::Text(text) = &item.value {
            return value::parse_bool(text).map_err(|error| self.refuse(item, error)).ok();
        }
        self.mismatch(item);
        None
    }

    /// A time span; the inner `None` is infinity.
    pub fn timespan(&mut self, item: &Item) -> Option<Option<Duration>> {
        self.parsed(item, value::parse_timespan)
    }

    /// A time span of the Timeout family, where 0 is infinity too (`parse_sec_fix_0`).
    pub fn timeout(&mut self, item: &Item) -> Option<Option<Duration>> {
        self.timespan(item).map(|span| span.filter(|span| !span.is_zero()))
    }

    /// A time span that ends.
    pub fn duration(&mut self, item: &Item) -> Option<Duration> {
        let span = self.timespan(item)?;
        if span.is_none() {
            self.refuse_text(item, "infinity is not a time span that ends");
        }
        span
    }

    /// A time span that ends and is more than nothing.
    pub fn positive(&mut self, item: &Item) -> Option<Duration> {
        let span = self.duration(item)?;
        if span.is_zero() {
            self.refuse_text(item, "it has to be more than 0");
            return None;
        }
        Some(span)
    }

    /// An octal mode: a text, or a number written with `0o`.
    pub fn mode(&mut self, item: &Item) -> Option<u32> {
        if let Value::Integer { decimal, octal } = &item.value {
            let mode = decimal.parse::<u32>().ok().filter(|mode| *mode <= 0o7777);
            if let Some(mode) = mode.filter(|mode| *octal || *mode == 0) {
                return Some(mode);
            }
            let message = format!("{decimal} is a decimal number, and a mode is octal");
            let hint = Some(format!("write 0o{decimal} or \"0{decimal}\""));
            self.refuse(item, ValueError { message, range: None, hint });
            return None;
        }
        let text = self.text(item)?;
        self.parsed(item, |_| value::parse_mode(text))
    }

    /// A whole number in the range of the row's kind.
    pub fn integer<T: TryFrom<i64>>(&mut self, item: &Item) -> Option<T> {
        let mut range = 0..=i64::MAX;
        if let Kind::Integer(low, high) = self.directive.kind {
            range = low..=high;
        }
        if let Value::Float(_) = item.value {
            self.mismatch(item);
            return None;
        }
        let number = self.parsed(item, |text| value::parse_signed(text, range))?;
        T::try_from(number).ok()
    }

    /// One of these words.
    pub fn choice<T: Copy>(&mut self, item: &Item, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(item)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let near = value::suggest(text, known.iter().copied()).or_else(|| {
            let longer = |word: &&str| text.len() > 1 && word.starts_with(text);
            known.iter().copied().find(longer)
        });
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!("{} takes one of {}", self.directive.name, known.join(", ")),
        };
        let message = format!("{text:?} is not one of its words");
        self.refuse(item, ValueError { message, range: None, hint: Some(hint) });
        None
    }

    /// The parts of a list: a text is one, an array has its elements. `None` resets the list:
    /// an empty text, or an empty array.
    pub fn parts<'i>(&mut self, item: &'i Item) -> Vec<Option<Part<'i>>> {
        match &item.value {
            Value::Text(text) if text.trim().is_empty() => vec![None],
            Value::Array(items) if items.is_empty() => vec![None],
            Value::Array(items) => items.iter().filter_map(|item| self.element(item)).collect(),
            Value::Text(text) => vec![Some(Part { text, item, verbatim: false })],
            Value::Integer { decimal, .. } if self.directive.kind == Kind::ExitStatuses => {
                vec![Some(Part { text: decimal, item, verbatim: true })]
            }
            Value::Integer { decimal, .. }
                if matches!(
                    self.directive.kind,
                    Kind::Identity | Kind::Addresses | Kind::Signals
                ) =>
            {
                vec![Some(Part { text: decimal, item, verbatim: true })]
            }
            Value::Integer { .. }
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Table(_) => {
                self.mismatch(item);
                Vec::new()
            }
        }
    }

    fn element<'i>(&mut self, item: &'i Item) -> Option<Option<Part<'i>>> {
        match &item.value {
            Value::Text(text) if text.is_empty() => Some(None),
            Value::Text(text) | Value::Integer { decimal: text, .. } => {
                Some(Some(Part { text, item, verbatim: true }))
            }
            Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Array(_)
            | Value::Table(_) => {
                self.mismatch(item);
                None
            }
        }
    }

    /// A list of words: `""` resets it, anything else adds to it.
    pub fn words(&mut self, list: &mut Vec<String>, item: &Item) {
        for part in self.parts(item) {
            let Some(part) = part else {
                list.clear();
                continue;
            };
            let Some(text) = self.expanded(part.item, part.text) else {
                continue;
            };
            if part.verbatim {
                list.push(text);
                continue;
            }
            match crate::unit::syntax::split_words(&text) {
                Ok((words, _)) => list.extend(words.into_iter().map(|word| word.text)),
                Err(error) => self.refuse(part.item, ValueError { range: None, ..error }),
            }
        }
    }

    /// Names of units, added to a list; nothing resets it (systemd.unit(5)).
    pub fn units(&mut self, list: &mut Vec<Dependency>, item: &Item) {
        for part in self.parts(item).into_iter().flatten() {
            let mut offset = 0;
            for word in part.text.split_ascii_whitespace() {
                let start = part.text.get(offset..).and_then(|rest| rest.find(word)).unwrap_or(0);
                let inner = offset + start..offset + start + word.len();
                offset = inner.end;
                let range = locate(&self.file.text, self.spelling, &part.item.range, &inner);
                let span = Some(self.span(range));
                if let Some(name) = self.unit_name(part.item, word, inner) {
                    list.push(Dependency { name, span });
                }
            }
        }
    }

    fn unit_name(&mut self, item: &Item, word: &str, inner: Range<usize>) -> Option<UnitName> {
        let text = self.expanded(item, word)?;
        match UnitName::parse(&text) {
            Ok(name) => Some(name),
            Err(error) => {
                let hint = match error {
                    NameError::Suffix => Some(suffix_hint(&text)),
                    NameError::Empty | NameError::TooLong | NameError::Character(_) => None,
                };
                let message = format!("{text:?} is not the name of a unit: {error}");
                self.refuse(item, ValueError { message, range: Some(inner), hint });
                None
            }
        }
    }

    /// An absolute path with its specifiers replaced.
    pub fn path(&mut self, item: &Item, text: &str) -> Option<String> {
        let path = self.expanded(item, text)?;
        if path.starts_with('/') && !path.contains('\0') {
            return Some(path);
        }
        self.refuse_text(item, format!("{path:?} is not an absolute path"));
        None
    }

    /// Command lines, or argv arrays. After an empty text, which resets, a single text is a
    /// command line, and several are one argv.
    pub fn commands(&mut self, list: &mut Vec<ExecCommand>, item: &Item) {
        if item.value.resets() {
            list.clear();
        }
        match &item.value {
            Value::Text(text) if text.trim().is_empty() => (),
            Value::Text(text) => {
                let (commands, errors, warnings) = parse_commands(text, self.specifiers);
                list.extend(commands);
                errors.into_iter().for_each(|error| self.refuse(item, error));
                warnings.into_iter().for_each(|error| self.warn(item, error));
            }
            Value::Array(items) => {
                let first = usize::from(item.value.resets());
                match items.get(first..).unwrap_or_default() {
                    [] => (),
                    [line @ Item { value: Value::Text(_), .. }] if first > 0 => {
                        self.commands(list, line);
                    }
                    items => self.argv_arrays(list, item, items),
                }
            }
            Value::Integer { .. }
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Table(_) => self.mismatch(item),
        }
    }

    fn argv_arrays(&mut self, list: &mut Vec<ExecCommand>, whole: &Item, items: &[Item]) {
        let is_array = |item: &Item| matches!(item.value, Value::Array(_));
        if !items.iter().any(is_array) {
            self.argv(list, whole, items);
            let several = |item: &Item| matches!(&item.value, Value::Text(text) if text.starts_with('/') && text.contains(' '));
            if let Some(item) = items.iter().skip(1).find(|item| several(item)) {
                let message = "this word of one command looks like a command of its own".into();
                let hint = "an array of strings is one argv; write an array of arrays for several \
                            commands";
                self.warn(item, ValueError { message, range: None, hint: Some(hint.into()) });
            }
            return;
        }
        for item in items {
            if let Value::Array(words) = &item.value {
                self.argv(list, item, words);
            } else {
                let message = "an array holds either words or arrays of words, not both";
                self.refuse_text(item, message);
            }
        }
    }

    fn argv(&mut self, list: &mut Vec<ExecCommand>, whole: &Item, words: &[Item]) {
        let mut argv = Vec::with_capacity(words.len());
        for word in words {
            let Value::Text(text) = &word.value else {
                let found = word.value.type_name();
                self.refuse_text(word, format!("a word of a command is a string, not {found}"));
                return;
            };
            argv.push(text.clone());
        }
        match ExecCommand::from_argv(argv) {
            Ok(command) => list.push(command),
            Err(error) => self.refuse(whole, error),
        }
    }

    /// `NAME=value` pairs; a later one of the same name replaces an earlier one.
    pub fn variables(&mut self, list: &mut Vec<(String, String)>, item: &Item) {
        if let Value::Table(pairs) = &item.value {
            for (name, value) in pairs {
                if let Some(text) = self.table_value(value) {
                    self.variable(list, value, name, &text);
                }
            }
            return;
        }
        for part in self.parts(item) {
            let Some(part) = part else {
                list.clear();
                continue;
            };
            if !part.verbatim {
                match parse_assignments(part.text, self.specifiers) {
                    Ok(pairs) => {
                        pairs.into_iter().for_each(|(name, value)| assign(list, name, value))
                    }
                    Err(error) => self.refuse(part.item, error),
                }
                continue;
            }
            match part.text.split_once('=') {
                Some((name, value)) => self.variable(list, part.item, name, value),
                None => self.refuse_text(part.item, "a variable is written NAME=value"),
            }
        }
    }

    fn table_value(&mut self, item: &Item) -> Option<String> {
        if let Value::Boolean(boolean) = item.value {
            return Some(boolean.to_string());
        }
        self.scalar(item).map(ToString::to_string)
    }

    fn variable(&mut self, list: &mut Vec<(String, String)>, item: &Item, name: &str, value: &str) {
        let Some(value) = self.expanded(item, value) else {
            return;
        };
        if !is_variable_name(name) {
            self.refuse_text(item, format!("{name:?} is not the name of a variable"));
        } else if value.contains('\0') {
            self.refuse_text(item, format!("the value of {name} holds a NUL byte"));
        } else {
            assign(list, name.to_string(), value);
        }
    }

    /// Refuses or notes what this version does not act on; `true`: go on and set it.
    pub fn supported(&mut self, key: &Range<usize>) -> bool {
        let Directive { name, .. } = self.directive;
        match self.directive.support {
            Support::Supported => true,
            Support::Accepted(note) => {
                let message = format!("{name} has no effect here: {note}");
                self.problems.push(Problem::note(Some(self.span(key.clone())), message));
                false
            }
            Support::NotYet => {
                let message = format!("{name} is not supported by this version of rinit");
                let hint = "it is refused so that nobody believes it holds";
                let problem = Problem::error(Some(self.span(key.clone())), message);
                self.problems.push(problem.hint(hint));
                false
            }
        }
    }
}

/// `web` is to be `web.service`; `web.servce` too.
fn suffix_hint(text: &str) -> String {
    let kinds = UnitKind::ALL.into_iter().map(UnitKind::suffix);
    match text.rfind('.').and_then(|dot| text.split_at_checked(dot)) {
        Some((stem, suffix)) => match value::suggest(suffix, kinds) {
            Some(near) => format!("did you mean {stem}{near}?"),
            None => format!("write {text}.service"),
        },
        None => format!("write {text}.service"),
    }
}

/// Sets a variable; the place of its first assignment stays.
fn assign(list: &mut Vec<(String, String)>, name: String, value: String) {
    match list.iter_mut().find(|(known, _)| *known == name) {
        Some(pair) => pair.1 = value,
        None => list.push((name, value)),
    }
}
