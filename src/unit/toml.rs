//! The TOML spelling: text of a file to sections and entries with their places.
//!
//! Not what a key means, and no file access. **Invariant:** any text gives a [`RawUnit`] and
//! a list of problems; every error of syntax is in the list.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::problem::{Problem, SourceFile, Span};
use super::raw::{Entry, Item, RawSection, RawUnit, Spelling, Value};

type Key<'i> = Spanned<Cow<'i, str>>;

/// How deep arrays and tables may nest; nothing that rinit takes needs more than two.
const DEPTH_MAX: usize = 4;

/// Reads a whole file.
pub fn read(file: &Arc<SourceFile>) -> (RawUnit, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    let broken = !errors.is_empty();
    let mut source = Source { text: &file.text, unquoted: Vec::new() };
    if broken {
        let places: Vec<usize> = errors.iter().map(place).collect();
        source.find_unquoted(table.get_ref().values(), &places, DEPTH_MAX);
    }
    let mut problems: Vec<Problem> =
        source.unquoted.iter().map(|range| unquoted_problem(file, range)).collect();
    let others = errors.iter().filter(|error| !source.is_unquoted(place(error)));
    problems.extend(others.map(|error| syntax_problem(file, error)));
    let mut sections = Vec::new();
    for (key, value) in in_order(table.get_ref()) {
        match source.section(key, value) {
            Ok(section) => sections.push(section),
            Err(()) if broken => (),
            Err(()) => problems.push(stray(file, key, value)),
        }
    }
    let unit = RawUnit { file: Arc::clone(file), spelling: Spelling::Toml, sections, broken };
    (unit, problems)
}

/// What a table holds, in the order of the file.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Key<'i>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Where an error is.
fn place(error: &::toml::de::Error) -> usize {
    error.span().map_or(0, |range| range.start)
}

/// `User = nobody`.
fn unquoted_problem(file: &Arc<SourceFile>, range: &Range<usize>) -> Problem {
    let word = file.text.get(range.clone()).unwrap_or_default();
    let quote = if word.contains(['"', '\\']) { '\'' } else { '"' };
    let span = Span { file: Arc::clone(file), range: range.clone() };
    Problem::error(Some(span), format!("not valid TOML: {word} has to be quoted"))
        .hint(format!("write {quote}{word}{quote}"))
}

fn syntax_problem(file: &Arc<SourceFile>, error: &::toml::de::Error) -> Problem {
    let range = error.span().unwrap_or(0..0);
    let span = Span { file: Arc::clone(file), range };
    // toml may explain over several lines; the first says what, the rest is a label.
    let mut lines = error.message().lines();
    let first = lines.next().unwrap_or("not TOML");
    let rest: Vec<&str> = lines.collect();
    Problem::error(Some(span), format!("not valid TOML: {first}")).label(rest.join(", "))
}

/// A key that stands outside a section, or a section that is none.
fn stray(file: &Arc<SourceFile>, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Problem {
    let name = key.get_ref();
    let span = Span { file: Arc::clone(file), range: key.span() };
    if super::directive::Section::parse(name).is_some() {
        let what = match value.get_ref() {
            DeValue::Array(_) => format!("[[{name}]] is a list of sections; a unit has one"),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => format!("{name} is a section, not a key"),
        };
        return Problem::error(Some(span), what).hint(format!("write [{name}]"));
    }
    let problem = Problem::error(Some(span), format!("{name} stands outside a section"));
    match super::directive::sections_of(name).first() {
        Some(section) => problem.hint(format!("put it under [{}]", section.name())),
        None => problem
            .hint("a unit's sections are [Unit], [Service], [Socket], [Health] and [Install]"),
    }
}

/// A text, and where its values are words that TOML wants quoted.
struct Source<'a> {
    text: &'a str,
    unquoted: Vec<Range<usize>>,
}

impl Source<'_> {
    /// Finds the values that hold an error and are no string, array or table: bare words.
    fn find_unquoted<'v, 'i: 'v>(
        &mut self,
        values: impl Iterator<Item = &'v Spanned<DeValue<'i>>>,
        errors: &[usize],
        depth: usize,
    ) {
        for value in values {
            let range = value.span();
            match value.get_ref() {
                DeValue::Table(_) | DeValue::Array(_) if depth == 0 => (),
                DeValue::Table(table) => self.find_unquoted(table.values(), errors, depth - 1),
                DeValue::Array(array) => self.find_unquoted(array.iter(), errors, depth - 1),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => {
                    let word = self.text.get(range.clone()).unwrap_or_default();
                    let bare = !word.is_empty() && !word.starts_with(['"', '\'']);
                    if bare && errors.iter().any(|error| range.contains(error)) {
                        self.unquoted.push(range);
                    }
                }
            }
        }
    }

    fn is_unquoted(&self, at: usize) -> bool {
        self.unquoted.iter().any(|range| range.contains(&at))
    }

    fn section(&self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Result<RawSection, ()> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(());
        };
        let entry = |(key, value): (&Key<'_>, &Spanned<DeValue<'_>>)| Entry {
            key: key.get_ref().to_string(),
            key_range: key.span(),
            item: self.item(value, DEPTH_MAX),
        };
        let entries = in_order(table).into_iter().map(entry).collect();
        Ok(RawSection { name: key.get_ref().to_string(), range: key.span(), entries })
    }

    fn item(&self, value: &Spanned<DeValue<'_>>, depth: usize) -> Item {
        let range = value.span();
        let unquoted = self.text.get(range.clone()).filter(|_| self.unquoted.contains(&range));
        let value = match unquoted {
            Some(word) => Value::Text(word.to_string()), // what it was meant to be
            None => self.convert(value.get_ref(), depth),
        };
        Item { value, range }
    }

    fn convert(&self, value: &DeValue<'_>, depth: usize) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => {
                // What does not fit stays as written and is refused by whoever wants a number.
                let parsed = i128::from_str_radix(integer.as_str(), integer.radix());
                let decimal =
                    parsed.map_or_else(|_| integer.to_string(), |number| number.to_string());
                Value::Integer { decimal, octal: integer.radix() == 8 }
            }
            DeValue::Float(float) => Value::Float(float.as_str().to_string()),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(array) => {
                let items = array.iter().take(if depth == 0 { 0 } else { usize::MAX });
                Value::Array(items.map(|value| self.item(value, depth.saturating_sub(1))).collect())
            }
            DeValue::Table(table) => {
                let pairs = in_order(table).into_iter();
                let pairs = pairs.take(if depth == 0 { 0 } else { usize::MAX });
                let pair = |(key, value): (&Key<'_>, &Spanned<DeValue<'_>>)| {
                    (key.get_ref().to_string(), self.item(value, depth.saturating_sub(1)))
                };
                Value::Table(pairs.map(pair).collect())
            }
        }
    }
}
