//! A unit file as it was written: sections, keys and values with their places.
//!
//! Not what they mean: `directive` knows that. Both spellings of a unit end up here.
//! **Invariant:** every range lies in the text of the file that the value came from.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::ops::Range;
use std::sync::Arc;

use super::problem::{SourceFile, Span};

/// How a value was written, which decides what its text means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    /// TOML: native values, or systemd's strings in TOML's quotes.
    Toml,
    /// systemd's: everything after `=` up to the end of the line; also `-p K=V`.
    Systemd,
}

/// A value of either spelling.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A string, its escapes resolved.
    Text(String),
    /// A whole number, its digits in decimal, and whether it was written with `0o`.
    Integer {
        /// As a decimal number.
        decimal: String,
        /// It was written in octal.
        octal: bool,
    },
    /// A number with a fraction or an exponent, as written.
    Float(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A date, a time or both: no directive takes one.
    Datetime,
    /// A list.
    Array(Vec<Item>),
    /// Names and values, in the order in which they were written.
    Table(Vec<(String, Item)>),
}

impl Value {
    /// Whether it drops what was said of a list before: an empty text, an empty list, or a list
    /// that begins with an empty text.
    pub fn resets(&self) -> bool {
        match self {
            Value::Text(text) => text.trim().is_empty(),
            Value::Array(items) => match items.first() {
                None => true,
                Some(first) => matches!(&first.value, Value::Text(text) if text.is_empty()),
            },
            Value::Integer { .. }
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Table(_) => false,
        }
    }

    /// What a person calls it, with its article.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer { .. } => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Its bytes in the file, TOML's quotes included.
    pub range: Range<usize>,
}

/// `key = value`.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key stands.
    pub key_range: Range<usize>,
    /// The value.
    pub item: Item,
}

/// `[Name]` and what stands under it.
#[derive(Clone, PartialEq, Debug)]
pub struct RawSection {
    /// The name without brackets.
    pub name: String,
    /// Where the name stands.
    pub range: Range<usize>,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

/// One file, read but not understood.
#[derive(Clone, PartialEq, Debug)]
pub struct RawUnit {
    /// The file.
    pub file: Arc<SourceFile>,
    /// How it was written.
    pub spelling: Spelling,
    /// Its sections, in order.
    pub sections: Vec<RawSection>,
    /// It has errors of syntax, so that something may be missing.
    pub broken: bool,
}

impl RawUnit {
    /// A place in this file.
    pub fn span(&self, range: Range<usize>) -> Span {
        Span { file: Arc::clone(&self.file), range }
    }
}

/// Where bytes `inner` of the value of a string stand in the file, given the bytes `outer` of
/// its literal: TOML's escapes make a text shorter than what was written.
pub fn locate(
    text: &str,
    spelling: Spelling,
    outer: &Range<usize>,
    inner: &Range<usize>,
) -> Range<usize> {
    let Some(literal) = text.get(outer.clone()) else {
        return outer.clone();
    };
    match spelling {
        Spelling::Systemd => {
            let clamp = |offset: usize| outer.start.saturating_add(offset).min(outer.end);
            clamp(inner.start)..clamp(inner.end)
        }
        Spelling::Toml => {
            let start = outer.start + offset_in_literal(literal, inner.start);
            let end = outer.start + offset_in_literal(literal, inner.end);
            start..end.max(start)
        }
    }
}

/// The offset in a TOML string literal of the byte `wanted` of its value.
fn offset_in_literal(literal: &str, wanted: usize) -> usize {
    let quotes = if literal.starts_with("\"\"\"") || literal.starts_with("'''") { 3 } else { 1 };
    let basic = literal.starts_with('"');
    let mut at = quotes;
    if quotes == 3 {
        // A line break right after the opening quotes is not part of the value.
        let rest = literal.get(3..).unwrap_or("");
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let end = literal.len().saturating_sub(quotes);
    let mut value = 0;
    while at < end {
        let (written, meant) = unit_at(literal.get(at..end).unwrap_or(""), basic, quotes == 3);
        // A line that goes on stands before the byte, not at it.
        if written == 0 || (value >= wanted && meant > 0) {
            break;
        }
        at += written;
        value += meant;
    }
    at.min(literal.len())
}

/// How many bytes the next character takes as written, and in the value.
fn unit_at(rest: &str, basic: bool, multiline: bool) -> (usize, usize) {
    let mut chars = rest.chars();
    let Some(first) = chars.next() else {
        return (0, 0);
    };
    if !basic || first != '\\' {
        return (first.len_utf8(), first.len_utf8());
    }
    let hex = |digits: usize| {
        let code = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    match chars.next() {
        Some('u') => hex(4),
        Some('U') => hex(8),
        Some('x') => hex(2),
        // A backslash at the end of a line swallows all white space up to the next word.
        Some(next) if multiline && next.is_whitespace() => {
            let blank = rest.get(1..).unwrap_or("");
            (1 + blank.len() - blank.trim_start().len(), 0)
        }
        Some(next) => (1 + next.len_utf8(), 1),
        None => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(literal: &str, inner: usize, outer: usize) {
        let all = 0..literal.len();
        let found = locate(literal, Spelling::Toml, &all, &(inner..inner));
        assert_eq!(found.start, outer, "{literal} at {inner}");
    }

    #[test]
    fn places_in_toml_strings() {
        check("\"abc\"", 0, 1);
        check("\"abc\"", 2, 3);
        check("'a\\c'", 2, 3);
        check(r#""a \"b c""#, 2, 3);
        check(r#""a \"b c""#, 3, 5);
        check(r#""\u00e4b""#, 2, 7);
        check(r#""\x41b""#, 1, 5);
        check("\"\"\"\nab\"\"\"", 1, 5);
        check("\"\"\"a \\\n   b\"\"\"", 2, 10);
        check("\"\"\"a \\\n   b\"\"\"", 3, 11);
        check("'''a\nb'''", 2, 5);
        check("\"ä\"", 2, 3);
        check("\"a\"", 99, 2);
    }
}
