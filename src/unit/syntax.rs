//! Words of a value: white space, quotes and C escapes (systemd.syntax(7), QUOTING).
//!
//! Not a shell, and nothing is expanded here. **Invariant:** every [`Word`] knows which bytes
//! of the source it was made from.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::ops::Range;

use super::value::{ValueError, is_whitespace};

/// One word of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Its text, quotes removed and escapes replaced.
    pub text: String,
    /// The bytes of the source that it was made from, quotes included.
    pub range: Range<usize>,
    /// Some part of it stood in quotes.
    pub quoted: bool,
}

/// Splits `text` at white space. Quotes group, also in the middle of a word, as systemd's
/// `extract_first_word` has it; an unknown escape stays as it is and is a warning.
///
/// # Errors
/// A quote that is never closed (the range is the quote), or bytes that are no UTF-8.
pub fn split_words(text: &str) -> Result<(Vec<Word>, Vec<ValueError>), ValueError> {
    let mut words = Words::new(text);
    let mut list = Vec::new();
    for word in words.by_ref() {
        list.push(word?);
    }
    Ok((list, words.into_warnings()))
}

/// A cursor over the words of a text, for callers that look at the raw text between them.
#[derive(Debug)]
pub struct Words<'a> {
    text: &'a str,
    at: usize,
    warnings: Vec<ValueError>,
}

impl<'a> Words<'a> {
    /// A cursor before the first word.
    pub fn new(text: &'a str) -> Words<'a> {
        let mut words = Words { text, at: 0, warnings: Vec::new() };
        words.skip_whitespace();
        words
    }

    /// What has not been read, from the start of the next word.
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Where [`Words::rest`] begins.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Passes over `bytes` of the rest and the white space after them.
    pub fn pass_over(&mut self, bytes: usize) {
        self.at = self.text.len().min(self.at + bytes);
        self.skip_whitespace();
    }

    /// What was kept although it is odd.
    pub fn into_warnings(self) -> Vec<ValueError> {
        self.warnings
    }

    fn skip_whitespace(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_whitespace).len();
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn word(&mut self) -> Result<Word, ValueError> {
        let start = self.at;
        let mut bytes = Vec::new();
        let mut quote: Option<(char, usize)> = None;
        let mut quoted = false;
        while let Some(c) = self.peek() {
            let at = self.at;
            if quote.is_none() && is_whitespace(c) {
                break;
            }
            self.at += c.len_utf8();
            match (quote, c) {
                (_, '\\') => self.escape(at, &mut bytes),
                (Some((open, _)), _) if open == c => quote = None,
                (None, '"' | '\'') => {
                    quote = Some((c, at));
                    quoted = true;
                }
                (Some(_) | None, _) => push(&mut bytes, c),
            }
        }
        if let Some((open, at)) = quote {
            let error = ValueError::new(format!("the quote {open} is never closed"));
            return Err(error.at(at..at + 1).hint(format!(
                "close it with {open}, or write \\{open} for the character itself"
            )));
        }
        let range = start..self.at;
        self.skip_whitespace();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Word { text, range, quoted }),
            Err(_) => Err(ValueError::new("the escapes give bytes that are no UTF-8").at(range)),
        }
    }

    /// What follows a backslash that stood at `start`.
    fn escape(&mut self, start: usize, bytes: &mut Vec<u8>) {
        match unescape(self.rest()) {
            Some((Unescaped::Byte(byte), len)) => {
                bytes.push(byte);
                self.at += len;
            }
            Some((Unescaped::Character(c), len)) => {
                push(bytes, c);
                self.at += len;
            }
            None => {
                bytes.push(b'\\');
                let end = self.at + self.peek().map_or(0, char::len_utf8);
                let shown = self.text.get(start..end).unwrap_or_default();
                let warning = ValueError::new(format!("unknown escape {shown}, kept as it is"));
                let warning = warning.at(start..end).hint("write \\\\ for a backslash");
                self.warnings.push(warning);
                // The character after it is taken here, or a quote would open or close.
                if let Some(c) = self.peek() {
                    push(bytes, c);
                    self.at = end;
                }
            }
        }
    }
}

impl Iterator for Words<'_> {
    type Item = Result<Word, ValueError>;

    /// The next word. After an error the cursor stands at the end.
    fn next(&mut self) -> Option<Result<Word, ValueError>> {
        if self.rest().is_empty() {
            return None;
        }
        let word = self.word();
        if word.is_err() {
            self.at = self.text.len();
        }
        Some(word)
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

enum Unescaped {
    Byte(u8),
    Character(char),
}

/// The escape whose letter begins `text`, and how many bytes it takes; never a NUL.
fn unescape(text: &str) -> Option<(Unescaped, usize)> {
    let first = text.chars().next()?;
    let plain = match first {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        '"' => Some(b'"'),
        '\'' => Some(b'\''),
        's' => Some(b' '),
        _ => None,
    };
    if let Some(byte) = plain {
        return Some((Unescaped::Byte(byte), 1));
    }
    let number = |from: usize, digits: usize, base: u32| {
        let digits = text.get(from..from + digits)?;
        let all = digits.chars().all(|c| c.is_digit(base));
        u32::from_str_radix(digits, base).ok().filter(|number| all && *number != 0)
    };
    let byte = |value: u32, len| u8::try_from(value).ok().map(|b| (Unescaped::Byte(b), len));
    let character = |value: u32, len| char::from_u32(value).map(|c| (Unescaped::Character(c), len));
    match first {
        'x' => byte(number(1, 2, 16)?, 3),
        'u' => character(number(1, 4, 16)?, 5),
        'U' => character(number(1, 8, 16)?, 9),
        '0'..='7' => byte(number(0, 3, 8)?, 3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split_words(text).unwrap().0.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_and_escapes() {
        for (text, expected) in [
            ("", &[][..]),
            (" \t\n\r ", &[]),
            ("a  b\tc", &["a", "b", "c"]),
            (r#""a b" 'c d'"#, &["a b", "c d"]),
            (r#""" ''"#, &["", ""]),
            (r#"yay'foo'bar --x="a b""#, &["yayfoobar", "--x=a b"]),
            (r#""it's" 'say "hi"'"#, &["it's", "say \"hi\""]),
            (r"a\sb \x41 \101 \u00e9 \U0001F600", &["a b", "A", "A", "é", "😀"]),
            (r"\xc3\xa9 a\tb \\ \' \a\b\f\v", &["é", "a\tb", "\\", "'", "\u{7}\u{8}\u{c}\u{b}"]),
            (r#"'a\'b' "c\"d""#, &["a'b", "c\"d"]),
            ("ü 'ö ä'", &["ü", "ö ä"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
            assert_eq!(split_words(text).unwrap().1, [], "{text}");
        }
    }

    #[test]
    fn unknown_escapes_stay_with_a_warning() {
        for (text, expected, at) in [
            (r"'\w+'", r"\w+", 1..3),
            (r"\;x", r"\;x", 0..2),
            (r"\x00", r"\x00", 0..2),
            (r"\xZZ", r"\xZZ", 0..2),
            (r"\x+1", r"\x+1", 0..2),
            (r"\400", r"\400", 0..2),
            (r"\ud800", r"\ud800", 0..2),
            (r"\U00110000", r"\U00110000", 0..2),
            (r"\é", r"\é", 0..3),
            (r"a\", r"a\", 1..2),
        ] {
            let (words, warnings) = split_words(text).unwrap();
            assert_eq!(words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), [expected]);
            let [warning] = warnings.as_slice() else { panic!("{text}: {warnings:?}") };
            assert_eq!(warning.range, Some(at), "{text}");
        }
    }

    #[test]
    fn an_open_quote_is_pointed_at() {
        for (text, at) in [("a 'b c", 2..3), ("\"", 0..1), ("x=\"a\\\"", 2..3), ("'a\\", 0..1)] {
            let error = split_words(text).unwrap_err();
            assert_eq!(error.range, Some(at), "{text}");
            assert!(error.message.ends_with("is never closed"), "{}", error.message);
        }
        assert_eq!(split_words(r"a \xff").unwrap_err().range, Some(2..6));
    }

    #[test]
    fn words_know_where_they_stand() {
        let text = r#"  a "b c"  d\se "#;
        let found = split_words(text).unwrap().0;
        let places: Vec<_> =
            found.iter().map(|word| (&text[word.range.clone()], word.quoted)).collect();
        assert_eq!(places, [("a", false), ("\"b c\"", true), ("d\\se", false)]);
    }
}
