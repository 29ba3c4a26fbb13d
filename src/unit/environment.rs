//! Environment variables: `Environment=`, the files of `EnvironmentFile=`, `UnsetEnvironment=`
//! (systemd.exec(5), ENVIRONMENT).
//!
//! Not their order of precedence and no file is opened here. **Invariant:** every name that
//! leaves this module is a valid one: letters, digits and `_`, no digit first.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::specifier::Specifiers;
use super::syntax::split_words;
use super::value::ValueError;

/// The environment of a process.
pub type Environment = BTreeMap<OsString, OsString>;

/// What a file assigns, in its order.
pub type FileAssignments = Vec<(OsString, OsString)>;

/// What is wrong with a file: line (from 1) and sentence.
pub type FileProblems = Vec<(usize, String)>;

/// Whether `name` may name a variable.
pub fn is_variable_name(name: &str) -> bool {
    let all = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    all && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Reads one `Environment=`: items `NAME=value`, each quoted as a whole or not at all; `$` has
/// no meaning, specifiers are replaced. The caller resets on the empty text.
///
/// # Errors
/// An open quote, an unknown escape, an item without `=`, or one with an invalid name.
pub fn parse_assignments(
    text: &str,
    specifiers: &Specifiers<'_>,
) -> Result<Vec<(String, String)>, ValueError> {
    let (words, warnings) = split_words(text)?;
    if let Some(escape) = warnings.into_iter().next() {
        // Only command lines keep what they do not know (config_parse_environ).
        let message = escape.message.replace(", kept as it is", "");
        return Err(ValueError { message, ..escape });
    }
    let mut assignments = Vec::new();
    for word in words {
        let expanded = specifiers.expand(&word.text).map_err(|error| {
            let plain = text.get(word.range.clone()) == Some(word.text.as_str());
            let inner = error.range.clone().filter(|_| plain);
            let start = word.range.start;
            let range = inner.map_or(word.range.clone(), |r| r.start + start..r.end + start);
            error.at(range)
        })?;
        let Some((name, value)) = expanded.split_once('=') else {
            let error = ValueError::new(format!("{expanded:?} is no assignment: it has no ="));
            return Err(error.at(word.range).hint("quote the whole item: \"NAME=two words\""));
        };
        check(name, value).map_err(|why| ValueError::new(why).at(word.range))?;
        assignments.push((name.to_string(), value.to_string()));
    }
    Ok(assignments)
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if !is_variable_name(name) {
        return Err(format!(
            "{name:?} is no variable name: letters, digits and _ only, no digit first"
        ));
    }
    match value.chars().find(|c| c.is_ascii_control() && !matches!(c, '\t' | '\n')) {
        Some(c) => Err(format!("the value of {name} holds the control character {c:?}")),
        None => Ok(()),
    }
}

/// U+FEFF in UTF-8, with which some editors begin a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the reader of a file is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a name.
    Start,
    /// In a name.
    Name,
    /// After `=`, or after a closed quote.
    BeforeValue,
    /// In an unquoted value.
    Value,
    /// After a backslash in an unquoted value.
    ValueEscape,
    /// In single quotes: everything is literal.
    Single,
    /// In double quotes.
    Double,
    /// After a backslash in double quotes.
    DoubleEscape,
    /// In a comment.
    Comment,
}

/// Reads a file of `EnvironmentFile=`: what it assigns in order, and what is wrong in which
/// line (from 1), and what is done: wrong assignments are left out, as systemd does. The sentences
/// hold names, and nothing else of the file: it may be secret.
///
/// The rules are systemd's (v254: a comment ends with its line even after a backslash).
pub fn parse_environment_file(bytes: &[u8]) -> (FileAssignments, FileProblems) {
    let mut reader = FileReader::default();
    for byte in bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) {
        reader.feed(*byte);
    }
    reader.finish()
}

struct FileReader {
    state: State,
    line: usize,
    /// Line of the name.
    name_line: usize,
    name: Vec<u8>,
    value: Vec<u8>,
    /// How much of the value stays when trailing white space goes.
    value_end: usize,
    assignments: Vec<(OsString, OsString)>,
    problems: Vec<(usize, String)>,
}

impl Default for FileReader {
    fn default() -> FileReader {
        FileReader {
            state: State::Start,
            line: 1,
            name_line: 1,
            name: Vec::new(),
            value: Vec::new(),
            value_end: 0,
            assignments: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl FileReader {
    fn feed(&mut self, byte: u8) {
        let newline = matches!(byte, b'\n' | b'\r');
        let white = newline || matches!(byte, b' ' | b'\t');
        self.state = match self.state {
            State::Start if matches!(byte, b'#' | b';') => State::Comment,
            State::Start if white => State::Start,
            State::Start => self.begin(byte),
            State::Name if newline => self.no_assignment(),
            State::Name if byte == b'=' => State::BeforeValue,
            State::Name => {
                self.name.push(byte);
                State::Name
            }
            State::BeforeValue if newline => self.assign(),
            State::BeforeValue if byte == b'\'' => State::Single,
            State::BeforeValue if byte == b'"' => State::Double,
            State::BeforeValue if byte == b'\\' => State::ValueEscape,
            State::BeforeValue if white => State::BeforeValue,
            State::Value if newline => self.assign(),
            State::Value if byte == b'\\' => State::ValueEscape,
            State::BeforeValue | State::Value => self.keep(byte, !white, State::Value),
            State::ValueEscape if newline => State::Value,
            State::ValueEscape => self.keep(byte, true, State::Value),
            State::Single if byte == b'\'' => State::BeforeValue,
            State::Single => self.keep(byte, true, State::Single),
            State::Double if byte == b'"' => State::BeforeValue,
            State::Double if byte == b'\\' => State::DoubleEscape,
            State::Double => self.keep(byte, true, State::Double),
            State::DoubleEscape if byte == b'\n' => State::Double,
            State::DoubleEscape => {
                if !matches!(byte, b'"' | b'\\' | b'`' | b'$') {
                    self.keep(b'\\', true, State::Double);
                }
                self.keep(byte, true, State::Double)
            }
            State::Comment if newline => State::Start,
            State::Comment => State::Comment,
        };
        self.line += usize::from(byte == b'\n');
    }

    fn begin(&mut self, byte: u8) -> State {
        self.name = vec![byte];
        self.value.clear();
        self.value_end = 0;
        self.name_line = self.line;
        State::Name
    }

    /// Adds to the value; white space that is not kept goes if nothing follows it.
    fn keep(&mut self, byte: u8, kept: bool, next: State) -> State {
        self.value.push(byte);
        if kept {
            self.value_end = self.value.len();
        }
        next
    }

    fn no_assignment(&mut self) -> State {
        let why = "it has no =, so it assigns nothing; the line is ignored";
        self.problems.push((self.name_line, why.to_string()));
        State::Start
    }

    fn assign(&mut self) -> State {
        self.value.truncate(self.value_end);
        let value = std::mem::take(&mut self.value);
        match read_assignment(&self.name, &value) {
            Ok(name) => {
                self.assignments.push((OsString::from(name), OsString::from_vec(value)));
            }
            Err(why) => {
                let why = format!("{why}; the assignment is ignored");
                self.problems.push((self.name_line, why));
            }
        }
        State::Start
    }

    fn finish(mut self) -> (FileAssignments, FileProblems) {
        match self.state {
            State::Start | State::Comment => {}
            State::Name => {
                self.no_assignment();
            }
            State::BeforeValue | State::Value | State::ValueEscape => {
                self.assign();
            }
            State::Single | State::Double | State::DoubleEscape => {
                let name = String::from_utf8_lossy(&self.name).trim_end().to_string();
                let why = format!(
                    "the quote in the value of {name} is never closed: the rest of the file is its \
                     value"
                );
                self.problems.push((self.name_line, why));
                self.assign();
            }
        }
        (self.assignments, self.problems)
    }
}

fn read_assignment(name: &[u8], value: &[u8]) -> Result<String, String> {
    let shown = String::from_utf8_lossy(name).trim_end_matches([' ', '\t']).to_string();
    if let Some(exported) = shown.strip_prefix("export").map(str::trim_start)
        && shown.len() > "export".len() + exported.len()
        && is_variable_name(exported)
    {
        return Err(format!("`export` is the shell's, write {exported}=VALUE"));
    }
    match std::str::from_utf8(value) {
        Ok(text) => check(&shown, text).map(|()| shown),
        Err(_) => Err(format!("the value of {shown} is not UTF-8")),
    }
}

/// Applies `UnsetEnvironment=`: `NAME` goes whatever its value, `NAME=value` only with that.
pub fn apply_unset(environment: &mut Environment, unset: &[String]) {
    environment.retain(|name, value| {
        !unset.iter().any(|item| match item.split_once('=') {
            Some((gone, with)) => {
                name.as_bytes() == gone.as_bytes() && value.as_bytes() == with.as_bytes()
            }
            None => name.as_bytes() == item.as_bytes(),
        })
    });
}

#[cfg(test)]
mod tests {
    use super::super::name::UnitName;
    use super::super::specifier::HostFacts;
    use super::*;

    fn assignments(text: &str) -> Result<Vec<(String, String)>, ValueError> {
        let unit = UnitName::parse("web@3.service").unwrap();
        let host = HostFacts::default();
        parse_assignments(
            text,
            &Specifiers { unit: &unit, fragment: None, host: &host, instances: false },
        )
    }

    #[test]
    fn items() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        for (text, expected) in [
            ("", vec![]),
            (
                r#""VAR1=word1 word2" VAR2=word3 "VAR3=$word 5 6""#,
                vec![pair("VAR1", "word1 word2"), pair("VAR2", "word3"), pair("VAR3", "$word 5 6")],
            ),
            ("A=1 A=2 _b=", vec![pair("A", "1"), pair("A", "2"), pair("_b", "")]),
            ("I=%i P=50%% U=a=b", vec![pair("I", "3"), pair("P", "50%"), pair("U", "a=b")]),
            (r"T=a\tb\nc", vec![pair("T", "a\tb\nc")]),
        ] {
            assert_eq!(assignments(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_assignment() {
        for (text, range) in [
            ("A=1 B", 4..5),
            ("1A=x", 0..4),
            ("=x", 0..2),
            ("A-B=x", 0..5),
            ("É=x", 0..4),
            ("A=1 B='x", 6..7),
            (r"A=\w", 2..4),
            (r"A=\x07", 0..6),
            ("A=1 B=%Q", 6..8),
            ("'A=%Q'", 0..6),
        ] {
            assert_eq!(assignments(text).unwrap_err().range, Some(range), "{text}");
        }
    }

    fn file(text: &str) -> (Vec<(String, String)>, FileProblems) {
        let (found, problems) = parse_environment_file(text.as_bytes());
        let text = |s: OsString| s.into_string().unwrap();
        (found.into_iter().map(|(name, value)| (text(name), text(value))).collect(), problems)
    }

    #[test]
    fn files() {
        for (text, name, value) in [
            ("A=b", "A", "b"),
            ("  A =  b c  \n", "A", "b c"),
            ("A=\r\n", "A", ""),
            ("# c\n; d\n\n \t\nA=b # not a comment", "A", "b # not a comment"),
            (r"A=a\b", "A", "ab"),
            ("A=a\\\n b", "A", "a b"),
            ("A=a\\ \n", "A", "a "),
            (r"A='a\b $c'", "A", r"a\b $c"),
            (r#"A="\a \" \\ \` \$""#, "A", r#"\a " \ ` $"#),
            ("A=\"a\\\nb\nc\"", "A", "ab\nc"),
            ("A='a\nb'", "A", "a\nb"),
            ("A='a' \"b\"  c d ", "A", "abc d"),
            ("A=x\"y\"", "A", "x\"y\""),
            ("A=' a ' ", "A", " a "),
            ("# c \\\nA=b", "A", "b"),
            ("A=a=b", "A", "a=b"),
            ("export=1", "export", "1"),
            ("\u{feff}A=b", "A", "b"),
        ] {
            assert_eq!(
                file(text),
                (vec![(name.to_string(), value.to_string())], vec![]),
                "{text:?}"
            );
        }
        let (two, _) = file("A=1\nB=2\nA=3");
        assert_eq!(
            two.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
            ["1", "2", "3"]
        );
    }

    #[test]
    fn what_is_wrong_in_a_file() {
        for (text, line, why) in [
            ("\nA\nB=1", 2, "it has no =, so it assigns nothing; the line is ignored"),
            ("B=1\nC 3\n", 2, "it has no =, so it assigns nothing; the line is ignored"),
            ("B=1\nexport A=1", 2, "`export` is the shell's, write A=VALUE"),
            ("B=1\nexport \t A = 1", 2, "`export` is the shell's, write A=VALUE"),
            (
                "B=1\nexport a b=1",
                2,
                "\"export a b\" is no variable name: letters, digits and _ only, no digit first",
            ),
            ("B=1\n\n#\nA=\u{7}", 4, "the value of A holds the control character '\\u{7}'"),
            ("B=1\nA=\"x\ny\0\"", 2, "the value of A holds the control character '\\0'"),
        ] {
            let ignored = "; the assignment is ignored";
            let why = if why.contains(';') { why.to_string() } else { format!("{why}{ignored}") };
            let left = vec![("B".to_string(), "1".to_string())];
            assert_eq!(file(text), (left, vec![(line, why)]), "{text:?}");
        }
        let (found, problems) = file("A='x\ny");
        assert_eq!(found, [("A".to_string(), "x\ny".to_string())]);
        let why = "the quote in the value of A is never closed: the rest of the file is its value";
        assert_eq!(problems, [(1, why.to_string())]);
        let (found, problems) = parse_environment_file(b"A=\xff\nB=1");
        assert_eq!(found.len(), 1);
        let why = "the value of A is not UTF-8; the assignment is ignored";
        assert_eq!(problems, [(1, why.to_string())]);
    }

    #[test]
    fn unset() {
        let mut environment: Environment =
            [("A", "1"), ("B", "2"), ("C", "3")].map(|(n, v)| (n.into(), v.into())).into();
        apply_unset(&mut environment, &["A".into(), "B=9".into(), "C=3".into(), "D".into()]);
        assert_eq!(environment, [("B".into(), "2".into())].into());
    }
}
