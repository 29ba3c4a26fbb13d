//! Time spans: `5min 20s`, `100ms`, `infinity` (systemd.time(7)).
//!
//! Not points in time and no clock. **Invariant:** what [`parse_timespan`] accepts and refuses
//! is what systemd's `parse_time` does, its oddities included.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::value::{ValueError, is_whitespace, skip_whitespace, split_digits};

const MILLISECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 2_629_800 * SECOND; // 30.4375 days
const YEAR: u64 = 31_557_600 * SECOND; // 365.25 days

/// Microseconds of each unit; where one name begins another, the longer stands first.
const UNITS: [(&str, u64); 30] = [
    ("seconds", SECOND),
    ("second", SECOND),
    ("sec", SECOND),
    ("s", SECOND),
    ("minutes", MINUTE),
    ("minute", MINUTE),
    ("min", MINUTE),
    ("months", MONTH),
    ("month", MONTH),
    ("M", MONTH),
    ("msec", MILLISECOND),
    ("ms", MILLISECOND),
    ("m", MINUTE),
    ("hours", HOUR),
    ("hour", HOUR),
    ("hr", HOUR),
    ("h", HOUR),
    ("days", DAY),
    ("day", DAY),
    ("d", DAY),
    ("weeks", WEEK),
    ("week", WEEK),
    ("w", WEEK),
    ("years", YEAR),
    ("year", YEAR),
    ("y", YEAR),
    ("usec", 1),
    ("us", 1),
    ("μs", 1), // U+03BC
    ("µs", 1), // U+00B5
];

/// Reads a time span; a bare number is seconds, `None` is `infinity`.
///
/// # Errors
/// Says which part is no number, which unit is unknown, or that the span is too long.
pub fn parse_timespan(text: &str) -> Result<Option<Duration>, ValueError> {
    Ok(parse_microseconds(text, SECOND)?.map(Duration::from_micros))
}

/// Reads a time span into microseconds; a bare number counts `default_unit` of them.
pub(super) fn parse_microseconds(text: &str, default_unit: u64) -> Result<Option<u64>, ValueError> {
    let mut rest = skip_whitespace(text);
    if let Some(after) = rest.strip_prefix("infinity") {
        let after = skip_whitespace(after);
        if after.is_empty() {
            return Ok(None);
        }
        let start = text.len() - after.len();
        return Err(refuse(text, "nothing may follow infinity", start..text.len()));
    }
    if rest.is_empty() {
        return Err(ValueError::new("a time span is missing").hint(HINT));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let start = text.len() - rest.len();
        let (microseconds, after) = item(rest, default_unit).map_err(|(why, from)| {
            let from = text.len() - from.len();
            let end =
                text.get(from..).map_or(0, |bad| bad.find(is_whitespace).unwrap_or(bad.len()));
            refuse(text, &why, from..from + end)
        })?;
        let sum = total.checked_add(microseconds).filter(|sum| *sum < u64::MAX);
        total = sum.ok_or_else(|| refuse(text, TOO_LONG, start..text.len() - after.len()))?;
        rest = skip_whitespace(after);
    }
    Ok(Some(total))
}

const HINT: &str =
    "numbers with us, ms, s, min, h, d, w, month or y, such as 1min 30s, or infinity";
const TOO_LONG: &str = "it is longer than 584,542 years";

fn refuse(text: &str, why: &str, range: std::ops::Range<usize>) -> ValueError {
    ValueError::new(format!("{text:?} is no time span: {why}")).at(range).hint(HINT)
}

/// One `number[.fraction][unit]` at the start of `text`, and what follows it. The error names
/// what is wrong and where that begins.
fn item(text: &str, default_unit: u64) -> Result<(u64, &str), (String, &str)> {
    if text.starts_with('-') {
        return Err(("it is negative".to_string(), text));
    }
    let (whole, after) = leading_number(text)?;
    let (decimals, after) = match after.strip_prefix('.') {
        Some(fraction) => {
            let (decimals, after) = split_digits(fraction);
            if decimals.is_empty() {
                return Err(("a digit must follow the point".to_string(), text));
            }
            (decimals, after)
        }
        None => ("", after),
    };
    let spaced = skip_whitespace(after);
    let unit = UNITS.iter().find(|(name, _)| spaced.starts_with(name));
    let (factor, rest) = match unit {
        Some((name, factor)) => (*factor, spaced.get(name.len()..).unwrap_or_default()),
        None if spaced.len() == after.len() && !after.is_empty() => {
            return Err((unknown_unit(after), after));
        }
        None => (default_unit, spaced),
    };
    let amount = whole.checked_mul(factor).filter(|_| whole < u64::MAX / factor);
    let mut amount = amount.ok_or_else(|| (TOO_LONG.to_string(), text))?;
    let mut place = factor / 10;
    for digit in decimals.bytes() {
        amount = amount.saturating_add(u64::from(digit - b'0') * place);
        place /= 10;
    }
    Ok((amount, rest))
}

fn unknown_unit(after: &str) -> String {
    if after.starts_with('.') {
        return "a number has one point".to_string();
    }
    let end = after.find(|c: char| is_whitespace(c) || c.is_ascii_digit()).unwrap_or(after.len());
    let unit = after.get(..end).unwrap_or(after);
    let shown = if unit.is_empty() { after } else { unit };
    format!("unknown unit {shown:?}")
}

/// The digits that strtoll(3) would take, sign and its kinds of white space included; zero
/// where a point comes first.
fn leading_number(text: &str) -> Result<(u64, &str), (String, &str)> {
    let trimmed = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (digits, after) = split_digits(trimmed.strip_prefix('+').unwrap_or(trimmed));
    if digits.is_empty() {
        if text.starts_with('.') {
            return Ok((0, text));
        }
        let end = text.find(is_whitespace).unwrap_or(text.len());
        let word = text.get(..end).unwrap_or(text);
        return Err((format!("a number must stand before {word:?}"), text));
    }
    match digits.parse::<i64>() {
        Ok(number) => Ok((number.unsigned_abs(), after)),
        Err(_) => Err((TOO_LONG.to_string(), text)),
    }
}

/// Writes a span as systemd does, with the shortest fraction: `1min 30s`, `5.5s`, `100ms`, `0`.
/// What is below a microsecond is left out.
pub fn format_timespan(span: Duration) -> String {
    let mut rest = span.as_micros();
    let mut parts = Vec::new();
    let large =
        [("y", YEAR), ("month", MONTH), ("w", WEEK), ("d", DAY), ("h", HOUR), ("min", MINUTE)];
    for (name, unit) in large {
        let unit = u128::from(unit);
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    // Below a minute one unit with a fraction reads better than three without.
    let small = [("s", SECOND, 6), ("ms", MILLISECOND, 3), ("us", 1, 0)];
    let fits = small.into_iter().find(|(_, unit, _)| rest >= u128::from(*unit));
    if let Some((name, unit, places)) = fits {
        let unit = u128::from(unit);
        let mut number = format!("{}.{:0places$}", rest / unit, rest % unit);
        number.truncate(number.trim_end_matches('0').trim_end_matches('.').len());
        let whole = (rest / unit).to_string();
        parts.push(format!("{}{name}", if rest.is_multiple_of(unit) { whole } else { number }));
    }
    if parts.is_empty() { "0".to_string() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, microseconds) in [
            ("5", 5_000_000),
            ("0", 0),
            ("5.5s", 5_500_000),
            (".7", 700_000),
            ("3.1s.2", 3_300_000),
            ("+3.1s", 3_100_000),
            ("12.34 .56", 12_900_000),
            ("5min 20s", 320_000_000),
            ("1min30s", 90_000_000),
            ("1 m", 60_000_000),
            ("1M", 2_629_800_000_000),
            ("1y", 31_557_600_000_000),
            ("100ms", 100_000),
            ("7µs 3μs", 10),
            ("  2 h  ", 7_200_000_000),
        ] {
            let span = Duration::from_micros(microseconds);
            assert_eq!(parse_timespan(text), Ok(Some(span)), "{text}");
        }
        assert_eq!(parse_timespan(" infinity "), Ok(None));
    }

    #[test]
    fn what_is_no_span() {
        for (text, why, range) in [
            ("5x", "unknown unit \"x\"", 1..2),
            ("1s 5parsecs", "unknown unit \"parsecs\"", 4..11),
            ("5 x", "a number must stand before \"x\"", 2..3),
            ("-5s", "it is negative", 0..3),
            ("1s -5s", "it is negative", 3..6),
            ("5.", "a digit must follow the point", 0..2),
            ("3.s", "a digit must follow the point", 0..3),
            ("3.-1", "a digit must follow the point", 0..4),
            ("12.34.56", "a number has one point", 5..8),
            ("infinity .7", "nothing may follow infinity", 9..11),
            ("s", "a number must stand before \"s\"", 0..1),
            ("+.7", "a number must stand before \"+.7\"", 0..3),
            ("9999999999999999999", "it is longer than 584,542 years", 0..19),
            ("600000y", "it is longer than 584,542 years", 0..7),
            ("400000y 400000y", "it is longer than 584,542 years", 8..15),
        ] {
            let error = parse_timespan(text).unwrap_err();
            assert_eq!(error.message, format!("{text:?} is no time span: {why}"));
            assert_eq!(error.range, Some(range), "{text}");
        }
        for text in ["", " "] {
            assert_eq!(parse_timespan(text).unwrap_err().message, "a time span is missing");
        }
    }

    #[test]
    fn written() {
        for (microseconds, text) in [
            (0, "0"),
            (1, "1us"),
            (1_500, "1.5ms"),
            (100_000, "100ms"),
            (5_500_000, "5.5s"),
            (5_000_001, "5.000001s"),
            (90_000_000, "1min 30s"),
            (3_600_000_005, "1h 5us"),
            (36_817_200_000_000, "1y 2month"),
            (694_861_000_000, "1w 1d 1h 1min 1s"),
        ] {
            assert_eq!(format_timespan(Duration::from_micros(microseconds)), text);
        }
        assert_eq!(format_timespan(Duration::from_nanos(999)), "0");
        assert!(!format_timespan(Duration::MAX).is_empty());
    }
}
