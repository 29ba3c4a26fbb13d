//! The texts of values, read: numbers, booleans, sizes, modes, signals, streams.
//!
//! Not which directive takes which of them (the table of directives says that), and not time
//! spans, resource limits and exit statuses, which have their own modules and are re-exported
//! here.
//! **Invariant:** every function is total: any text gives a value or a [`ValueError`].

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt;
use std::ops::{Range, RangeInclusive};

use super::process::Signal;
use super::service::StandardStream;

pub use super::exit_status::{EXIT_STATUS_NAMES, parse_exit_statuses};
pub use super::limit::parse_limit;
pub use super::timespan::{format_timespan, parse_timespan};

/// Why a text is no value of its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueError {
    /// What is wrong, as in `"5x" is no time span: unknown unit "x"`; no full stop.
    pub message: String,
    /// The bytes of the value that the caret belongs under; `None`: all of it.
    pub range: Option<Range<usize>>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl ValueError {
    /// An error about the whole value. Control characters are shown escaped: what a file holds
    /// must not reach a terminal.
    pub fn new(message: impl Into<String>) -> ValueError {
        ValueError { message: printable(message.into()), range: None, hint: None }
    }

    /// With the bytes it is about.
    #[must_use]
    pub fn at(mut self, range: Range<usize>) -> ValueError {
        self.range = Some(range);
        self
    }

    /// With what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> ValueError {
        self.hint = Some(printable(hint.into()));
        self
    }

    /// With `did you mean …?`, if `candidates` has something close to `word`.
    #[must_use]
    pub fn did_you_mean<'a>(
        mut self,
        word: &str,
        candidates: impl Iterator<Item = &'a str>,
    ) -> ValueError {
        self.hint = suggest(word, candidates).map(|found| format!("did you mean {found:?}?"));
        self
    }
}

fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

/// Reads a boolean, in any case (systemd.syntax(7)).
///
/// # Errors
/// The text is none of the twelve words.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    const TRUE: [&str; 6] = ["yes", "true", "on", "1", "y", "t"];
    const FALSE: [&str; 6] = ["no", "false", "off", "0", "n", "f"];
    if TRUE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(true);
    }
    if FALSE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(false);
    }
    let error = ValueError::new(format!("{text:?} is no boolean"));
    Err(error.hint("yes, true, on or 1; no, false, off or 0"))
}

/// The suffixes of a size, largest first: the order in which several may follow each other.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("E", 1 << 60),
    ("P", 1 << 50),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
    ("", 1),
];

/// Reads a size in bytes: `512M`, `1.5G`, `1G 512M`, base 1024; `None` is `infinity`.
///
/// The rules are those of systemd's `parse_size`: a sum with falling suffixes, each once.
///
/// # Errors
/// No number, a suffix that is none, or more than 2⁶³−1 bytes.
pub fn parse_size(text: &str) -> Result<Option<u64>, ValueError> {
    if text == "infinity" {
        return Ok(None);
    }
    let mut rest = text;
    let mut units = SIZE_UNITS.as_slice();
    let mut total: u64 = 0;
    loop {
        let (amount, after) = size_item(rest, &mut units).map_err(|why| size_error(text, why))?;
        let sum = total.checked_add(amount).filter(|sum| *sum <= i64::MAX as u64);
        total = sum.ok_or_else(|| size_error(text, SIZE_TOO_LARGE))?;
        if after.is_empty() {
            return Ok(Some(total));
        }
        rest = after;
    }
}

const SIZE_TOO_LARGE: &str = "it is larger than 8E";

fn size_error(text: &str, why: &str) -> ValueError {
    let error = ValueError::new(format!("{text:?} is no size: {why}"));
    error.hint("a number of bytes with K, M, G, T, P or E (base 1024), such as 512M, or infinity")
}

/// One `number[.fraction][suffix]`; takes the suffixes that can no longer follow off `units`.
fn size_item<'a>(
    text: &'a str,
    units: &mut &'static [(&'static str, u64)],
) -> Result<(u64, &'a str), &'static str> {
    let text = skip_whitespace(text);
    if text.starts_with('-') {
        return Err("it is negative");
    }
    let (digits, mut rest) = split_digits(text.strip_prefix('+').unwrap_or(text));
    if digits.is_empty() {
        return Err("a number is missing");
    }
    let whole: u64 = digits.parse().map_err(|_| SIZE_TOO_LARGE)?;
    let mut fraction = 0.0;
    if let Some(after) = rest.strip_prefix('.') {
        let (decimals, after) = split_digits(after);
        if !decimals.is_empty() {
            // Divided digit by digit, so that it rounds as systemd's does.
            let digits: u64 = decimals.parse().map_err(|_| "the fraction has too many digits")?;
            fraction = decimals.bytes().fold(digits as f64, |value, _| value / 10.0);
        }
        rest = after;
    }
    let rest = skip_whitespace(rest);
    let found = units.iter().position(|(suffix, _)| rest.starts_with(suffix));
    let (suffix, factor) =
        found.and_then(|at| units.get(at)).ok_or("suffixes must fall, each once")?;
    *units = found.and_then(|at| units.get(at + 1..)).unwrap_or_default();
    let amount = whole.checked_mul(*factor).ok_or(SIZE_TOO_LARGE)?;
    let part = (fraction * *factor as f64) as u64;
    let amount = amount.checked_add(part).ok_or(SIZE_TOO_LARGE)?;
    let rest = rest.get(suffix.len()..).unwrap_or_default();
    if rest.starts_with(|c: char| !c.is_ascii_digit() && !is_whitespace(c)) {
        return Err("the suffix is none of K, M, G, T, P, E");
    }
    Ok((amount, rest))
}

/// Reads an access mode: octal digits, at most 7777.
///
/// # Errors
/// Another character, or too large a number.
pub fn parse_mode(text: &str) -> Result<u32, ValueError> {
    let octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o7777);
    mode.ok_or_else(|| {
        let error = ValueError::new(format!("{text:?} is no access mode"));
        error.hint("octal digits from 0 to 7777, such as 0022")
    })
}

/// Reads a number without sign; `0x`, `0o`, `0b` and a leading `0` give its base, as in systemd.
///
/// # Errors
/// No number, or one outside `range`; the message names both.
pub fn parse_unsigned(text: &str, range: RangeInclusive<u64>) -> Result<u64, ValueError> {
    let outside =
        || format!("{text} is not in the range from {} to {}", range.start(), range.end());
    let wide = read_integer(text).ok_or_else(|| {
        let (start, end) = (range.start(), range.end());
        ValueError::new(format!("{text:?} is no number from {start} to {end}"))
    })?;
    let value = u64::try_from(wide).ok().filter(|value| range.contains(value));
    value.ok_or_else(|| ValueError::new(outside()))
}

/// Reads a number with an optional sign; bases as [`parse_unsigned`].
///
/// # Errors
/// No number, or one outside `range`; the message names both.
pub fn parse_signed(text: &str, range: RangeInclusive<i64>) -> Result<i64, ValueError> {
    let outside =
        || format!("{text} is not in the range from {} to {}", range.start(), range.end());
    let wide = read_integer(text).ok_or_else(|| {
        let (start, end) = (range.start(), range.end());
        ValueError::new(format!("{text:?} is no number from {start} to {end}"))
    })?;
    let value = i64::try_from(wide).ok().filter(|value| range.contains(value));
    value.ok_or_else(|| ValueError::new(outside()))
}

/// An integer as strtoull(3) with base 0 reads it, and `0b`, `0o` too; saturated.
pub(super) fn read_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.as_str())
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).unwrap_or(i128::MAX);
    Some(if negative { -value } else { value })
}

/// Reads `SIGTERM`, `TERM`, `15`, `RTMIN+3` (signal(7)).
///
/// # Errors
/// No such signal; the hint names the nearest.
pub fn parse_signal(text: &str) -> Result<Signal, ValueError> {
    Signal::parse(text).ok_or_else(|| {
        let names = signal_names();
        let bare = strip_prefix_ignoring_case(text, "SIG");
        let error = ValueError::new(format!("{text:?} is no signal"));
        match suggest(bare, names.iter().map(String::as_str)) {
            Some(name) => error.hint(format!("did you mean \"SIG{name}\"?")),
            None => error.hint("a name such as SIGTERM, RTMIN+3, or a number from 1 to 64"),
        }
    })
}

/// Reads `StopSignal=`: a signal by which rinit can be told to stop (signal(7)).
///
/// # Errors
/// As [`parse_signal`], and a signal that never comes to rinit, or tells it something else.
pub fn parse_stop_signal(text: &str) -> Result<Signal, ValueError> {
    let signal = parse_signal(text)?;
    let why = if matches!(signal, Signal::KILL | Signal::STOP) {
        "nobody can catch it"
    } else if Signal::BOOKKEEPING.contains(&signal) {
        "it tells of something else"
    } else if Signal::FAULTS.contains(&signal) {
        "it is that of a crash"
    } else {
        return Ok(signal);
    };
    let message = format!("SIG{} cannot stop rinit: {why}", signal.name());
    Err(ValueError::new(message).hint(
        "one of HUP, USR1, USR2, WINCH, ALRM, VTALRM, PROF, IO, URG, XCPU, XFSZ or RTMIN+n; \
         TERM, INT, QUIT, PWR and RTMIN+3 stop it anyway",
    ))
}

pub(super) fn signal_names() -> Vec<String> {
    (1..=31).filter_map(Signal::from_number).map(Signal::name).collect()
}

pub(super) fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> &'a str {
    match (text.get(..prefix.len()), text.get(prefix.len()..)) {
        (Some(start), Some(rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        (Some(_) | None, Some(_) | None) => text,
    }
}

/// Reads `StandardInput=` (systemd.exec(5)), and `inherit`, which is rinit's.
///
/// # Errors
/// An unknown word, one that is not supported yet, or a path that is not absolute.
pub fn parse_stream_input(text: &str) -> Result<StandardStream, ValueError> {
    const KNOWN: &str = "null, inherit, tty, tty-force, tty-fail, socket or file:/path";
    match text {
        "null" => Ok(StandardStream::Null),
        "inherit" => Ok(StandardStream::Inherit),
        "socket" => Ok(StandardStream::Socket),
        "tty" | "tty-force" | "tty-fail" => Ok(StandardStream::Tty),
        "data" => Err(unsupported_stream(text, KNOWN)),
        _ => match text.split_once(':') {
            Some(("file", path)) => absolute(text, path).map(StandardStream::File),
            Some(_) | None => other_stream(text, KNOWN),
        },
    }
}

/// Reads `StandardOutput=` and `StandardError=` (systemd.exec(5)). `syslog` and `kmsg` mean
/// `journal`, which is all that there is in a container.
///
/// # Errors
/// An unknown word, one that is not supported yet, or a path that is not absolute.
pub fn parse_stream_output(text: &str) -> Result<StandardStream, ValueError> {
    const KNOWN: &str =
        "inherit, null, tty, journal, socket, file:/path, append:/path or truncate:/path";
    match text {
        "inherit" => Ok(StandardStream::Inherit),
        "journal" | "syslog" | "kmsg" => Ok(StandardStream::Journal),
        "journal+console" | "syslog+console" | "kmsg+console" => Ok(StandardStream::Journal),
        "null" => Ok(StandardStream::Null),
        "socket" => Ok(StandardStream::Socket),
        "tty" => Ok(StandardStream::Tty),
        _ => match text.split_once(':') {
            Some(("file", path)) => absolute(text, path).map(StandardStream::File),
            Some(("append", path)) => absolute(text, path).map(StandardStream::Append),
            Some(("truncate", path)) => absolute(text, path).map(StandardStream::Truncate),
            Some(_) | None => other_stream(text, KNOWN),
        },
    }
}

fn other_stream(text: &str, known: &str) -> Result<StandardStream, ValueError> {
    if text == "fd" || text.starts_with("fd:") {
        return Err(unsupported_stream(text, known));
    }
    let error = ValueError::new(format!("{text:?} is no standard stream"));
    Err(match suggest(text, known.split([',', ' ']).filter(|word| word.len() > 2)) {
        Some(word) => error.hint(format!("did you mean {word:?}?")),
        None => error.hint(known),
    })
}

fn unsupported_stream(text: &str, known: &str) -> ValueError {
    ValueError::new(format!("{text:?} is not supported yet")).hint(format!("supported: {known}"))
}

fn absolute(text: &str, path: &str) -> Result<String, ValueError> {
    if path.starts_with('/') && !path.ends_with('/') {
        return Ok(path.to_string());
    }
    let start = text.len() - path.len();
    let error = ValueError::new(format!("{path:?} is no absolute path of a file"));
    Err(error.at(start..text.len()))
}

/// The candidate that `word` was probably meant to be: equal but for case, or else the nearest
/// by edit distance, if that is at most a third of the word's length.
pub fn suggest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64; // the distance costs length × length, and no word of ours is longer
    let wanted: Vec<char> = word.to_lowercase().chars().take(LONGEST + 1).collect();
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let allowed = if wanted.len() < 3 { 0 } else { (wanted.len() / 3).max(1) };
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.to_lowercase().chars().take(LONGEST).collect();
        if letters.len().abs_diff(wanted.len()) > allowed {
            continue;
        }
        let distance = edit_distance(&wanted, &letters);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(x != y);
            let inserted = at(&row, j) + 1;
            let deleted = at(&last, j + 1) + 1;
            let mut least = replaced.min(inserted).min(deleted);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

/// An absolute path without double slashes, `.` components and a slash at its end; `..` stays,
/// and so does a path that is not absolute (systemd's `path_simplify`).
pub(super) fn simplify_path(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_string();
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

/// systemd's `WHITESPACE`.
pub(super) fn is_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

pub(super) fn skip_whitespace(text: &str) -> &str {
    text.trim_start_matches(is_whitespace)
}

/// The ASCII digits at the start of `text`, and what follows them.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for text in ["yes", "true", "on", "1", "y", "t", "True", "ON", "Y"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["no", "false", "off", "0", "n", "f", "False", "OFF"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        for text in ["", "2", "yess", " yes", "enabled"] {
            assert!(parse_bool(text).unwrap_err().hint.is_some(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("512M", 512 << 20),
            ("1.5G", 3 << 29),
            ("10.M", 10 << 20),
            ("1G 512M", (1 << 30) + (512 << 20)),
            ("1G512M", (1 << 30) + (512 << 20)),
            ("4 K", 4096),
            ("+4K", 4096),
            ("0.1K", 102),
            ("7E", 7 << 60),
        ] {
            assert_eq!(parse_size(text), Ok(Some(bytes)), "{text}");
        }
        assert_eq!(parse_size("infinity"), Ok(None));
        for text in [
            "",
            "M",
            "-1",
            "512m",
            "512MB",
            "512MiB",
            ".5G",
            "1M 1G",
            "1M 1M",
            "5 5",
            "8E",
            "16E",
            "5M ",
            "99999999999999999999",
            "50%",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, mode) in [("0", 0), ("22", 0o22), ("0022", 0o22), ("7777", 0o7777)] {
            assert_eq!(parse_mode(text), Ok(mode), "{text}");
        }
        for text in ["", "8", "10000", "+22", "-1", "0o22", "rwx", " 22"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers() {
        for (text, number) in
            [("0", 0), ("19", 19), ("-20", -20), ("+5", 5), ("0x10", 16), ("-0b11", -3), ("010", 8)]
        {
            assert_eq!(parse_signed(text, -20..=19), Ok(number), "{text}");
        }
        assert_eq!(parse_unsigned("18446744073709551615", 0..=u64::MAX), Ok(u64::MAX));
        for text in ["", "-", "+", "1.5", "x", "0x", "1_000", "--1", "08", "٣"] {
            let error = parse_signed(text, -20..=19).unwrap_err().message;
            assert_eq!(error, format!("{text:?} is no number from -20 to 19"));
        }
        let error = parse_unsigned("256", 0..=255).unwrap_err().message;
        assert_eq!(error, "256 is not in the range from 0 to 255");
        for text in ["-1", "18446744073709551616", "999999999999999999999999999999999999999999"] {
            assert!(parse_unsigned(text, 0..=u64::MAX).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_and_what_was_meant() {
        assert_eq!(parse_signal("SIGTERM"), Ok(Signal::TERM));
        assert_eq!(parse_signal("RTMIN+3"), Ok(Signal::RTMIN_3));
        for (text, hint) in [
            ("SIGTREM", "did you mean \"SIGTERM\"?"),
            ("sigkil", "did you mean \"SIGKILL\"?"),
            ("99", "a name such as SIGTERM, RTMIN+3, or a number from 1 to 64"),
        ] {
            let error = parse_signal(text).unwrap_err();
            assert_eq!(error.message, format!("{text:?} is no signal"));
            assert_eq!(error.hint.as_deref(), Some(hint), "{text}");
        }
    }

    #[test]
    fn streams() {
        let file = |path: &str| StandardStream::File(path.to_string());
        assert_eq!(parse_stream_input("tty-fail"), Ok(StandardStream::Tty));
        assert_eq!(parse_stream_input("null"), Ok(StandardStream::Null));
        assert_eq!(parse_stream_input("file:/a b"), Ok(file("/a b")));
        for text in ["journal", "syslog", "kmsg+console"] {
            assert_eq!(parse_stream_output(text), Ok(StandardStream::Journal), "{text}");
        }
        assert_eq!(parse_stream_output("inherit"), Ok(StandardStream::Inherit));
        assert_eq!(parse_stream_output("socket"), Ok(StandardStream::Socket));
        assert_eq!(parse_stream_output("file:/x"), Ok(file("/x")));
        assert_eq!(parse_stream_output("append:/x"), Ok(StandardStream::Append("/x".into())));
        assert_eq!(parse_stream_output("truncate:/x"), Ok(StandardStream::Truncate("/x".into())));
        for text in ["data", "fd", "fd:web"] {
            let message = parse_stream_input(text).unwrap_err().message;
            assert_eq!(message, format!("{text:?} is not supported yet"));
        }
        assert!(parse_stream_input("append:/x").is_err());
        assert!(parse_stream_output("data").is_err());
        let relative = parse_stream_output("append:log").unwrap_err();
        assert_eq!(relative.message, "\"log\" is no absolute path of a file");
        assert_eq!(relative.range, Some(7..10));
        let typo = parse_stream_output("inherti").unwrap_err();
        assert_eq!(typo.hint.as_deref(), Some("did you mean \"inherit\"?"));
    }

    #[test]
    fn suggestions() {
        let words = ["ExecStart", "ExecStartPre", "ExecStop", "Restart", "RestartSec", "User"];
        for (word, found) in [
            ("execstart", Some("ExecStart")),
            ("ExecStrat", Some("ExecStart")),
            ("ExecStartPer", Some("ExecStartPre")),
            ("Restrat", Some("Restart")),
            ("Usr", Some("User")),
            ("RestartSecs", Some("RestartSec")),
            ("Memory", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(suggest(word, words.into_iter()), found, "{word}");
        }
        assert_eq!(suggest(&"x".repeat(100_000), words.into_iter()), None);
    }
}
