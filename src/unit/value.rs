//! The texts of values, read: numbers, booleans, sizes, modes, signals, exit statuses, streams.
//!
//! Not which directive takes which of them (the table of directives says that), and not time
//! spans and resource limits, which have their own modules and are re-exported here.
//! **Invariant:** every function is total: any text gives a value or a [`ValueError`].

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt;
use std::ops::{Range, RangeInclusive};

use super::process::Signal;
use super::service::{ExitStatusSet, StandardStream};
use super::syntax::split_words;

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
    /// An error about the whole value.
    pub fn new(message: impl Into<String>) -> ValueError {
        ValueError { message: message.into(), range: None, hint: None }
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
        self.hint = Some(hint.into());
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
fn read_integer(text: &str) -> Option<i128> {
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

fn signal_names() -> Vec<String> {
    (1..=31).filter_map(Signal::from_number).map(Signal::name).collect()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> &'a str {
    match (text.get(..prefix.len()), text.get(prefix.len()..)) {
        (Some(start), Some(rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        (Some(_) | None, Some(_) | None) => text,
    }
}

/// Names of exit statuses (systemd.exec(5), PROCESS EXIT CODES): C's, LSB's, BSD's, systemd's.
pub const EXIT_STATUS_NAMES: [(&str, u8); 67] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
    ("CHDIR", 200),
    ("NICE", 201),
    ("FDS", 202),
    ("EXEC", 203),
    ("MEMORY", 204),
    ("LIMITS", 205),
    ("OOM_ADJUST", 206),
    ("SIGNAL_MASK", 207),
    ("STDIN", 208),
    ("STDOUT", 209),
    ("CHROOT", 210),
    ("IOPRIO", 211),
    ("TIMERSLACK", 212),
    ("SECUREBITS", 213),
    ("SETSCHEDULER", 214),
    ("CPUAFFINITY", 215),
    ("GROUP", 216),
    ("USER", 217),
    ("CAPABILITIES", 218),
    ("CGROUP", 219),
    ("SETSID", 220),
    ("CONFIRM", 221),
    ("STDERR", 222),
    ("PAM", 224),
    ("NETWORK", 225),
    ("NAMESPACE", 226),
    ("NO_NEW_PRIVILEGES", 227),
    ("SECCOMP", 228),
    ("SELINUX_CONTEXT", 229),
    ("PERSONALITY", 230),
    ("APPARMOR", 231),
    ("ADDRESS_FAMILIES", 232),
    ("RUNTIME_DIRECTORY", 233),
    ("CHOWN", 235),
    ("SMACK_PROCESS_LABEL", 236),
    ("KEYRING", 237),
    ("STATE_DIRECTORY", 238),
    ("CACHE_DIRECTORY", 239),
    ("LOGS_DIRECTORY", 240),
    ("CONFIGURATION_DIRECTORY", 241),
    ("NUMA_POLICY", 242),
    ("CREDENTIALS", 243),
    ("BPF", 244),
    ("EXCEPTION", 255),
];

/// Adds the exit statuses and signals of one line to `into`; the empty text resets it.
///
/// # Errors
/// A word is no status and no signal; then `into` is as it was.
pub fn parse_exit_statuses(text: &str, into: &mut ExitStatusSet) -> Result<(), ValueError> {
    let mut found = ExitStatusSet::default();
    let (words, _) = split_words(text)?;
    for word in &words {
        match exit_code(&word.text) {
            Some(code) => {
                found.codes.insert(code);
            }
            None => {
                let signal = parse_signal(&word.text).ok().filter(|_| !is_number(&word.text));
                let known = signal.ok_or_else(|| exit_status_error(&word.text, word.range.clone()));
                found.signals.insert(known?);
            }
        }
    }
    if words.is_empty() {
        *into = found;
    } else {
        into.codes.extend(found.codes);
        into.signals.extend(found.signals);
    }
    Ok(())
}

fn is_number(word: &str) -> bool {
    read_integer(word).is_some()
}

fn exit_code(word: &str) -> Option<u8> {
    let named = EXIT_STATUS_NAMES.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
    named.or_else(|| read_integer(word).and_then(|number| u8::try_from(number).ok()))
}

fn exit_status_error(word: &str, range: Range<usize>) -> ValueError {
    let names = signal_names();
    let known = EXIT_STATUS_NAMES.iter().map(|(name, _)| *name);
    let bare = strip_prefix_ignoring_case(strip_prefix_ignoring_case(word, "EXIT_"), "EX_");
    let error = ValueError::new(format!("{word:?} is no exit status and no signal")).at(range);
    match suggest(bare, known.chain(names.iter().map(String::as_str))) {
        Some(name) => error.hint(format!("did you mean {name:?}?")),
        None => error.hint("a number from 0 to 255, a name such as TEMPFAIL, or a signal"),
    }
}

/// Reads `StandardInput=` (systemd.exec(5)), and `inherit`, which is rinit's.
///
/// # Errors
/// An unknown word, one that is not supported yet, or a path that is not absolute.
pub fn parse_stream_input(text: &str) -> Result<StandardStream, ValueError> {
    const KNOWN: &str = "null, inherit, tty, tty-force, tty-fail or file:/path";
    match text {
        "null" => Ok(StandardStream::Null),
        "inherit" => Ok(StandardStream::Inherit),
        "tty" | "tty-force" | "tty-fail" => Ok(StandardStream::Tty),
        "data" => Err(unsupported_stream(text, KNOWN)),
        _ => match text.split_once(':') {
            Some(("file", path)) => absolute(text, path).map(StandardStream::File),
            Some(_) | None => other_stream(text, KNOWN),
        },
    }
}

/// Reads `StandardOutput=` and `StandardError=` (systemd.exec(5)). `journal`, `syslog` and
/// `kmsg` mean `inherit` until rinit has a journal.
///
/// # Errors
/// An unknown word, one that is not supported yet, or a path that is not absolute.
pub fn parse_stream_output(text: &str) -> Result<StandardStream, ValueError> {
    const KNOWN: &str = "inherit, null, tty, journal, file:/path, append:/path or truncate:/path";
    match text {
        "inherit" => Ok(StandardStream::Inherit),
        "journal" | "syslog" | "kmsg" => Ok(StandardStream::Inherit),
        "journal+console" | "syslog+console" | "kmsg+console" => Ok(StandardStream::Inherit),
        "null" => Ok(StandardStream::Null),
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
    if text == "socket" || text == "fd" || text.starts_with("fd:") {
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
