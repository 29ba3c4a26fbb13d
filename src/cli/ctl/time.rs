//! Points in time for people: `Sat 2026-11-21 14:03:09 UTC`, `5min ago`.
//!
//! Not a clock. The words are systemd's (`format_timestamp_relative`). Always UTC, as in
//! containers nearly everything is, and as rinit's own lines are.

use std::time::Duration;

use crate::unit::timespan::format_timespan;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 2_629_800; // 30.4375 days
const YEAR: u64 = 31_557_600; // 365.25 days

/// A time of RFC 3339 in UTC, as rinit writes it; its date and time of day as they stand there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp<'a> {
    date: &'a str,
    time: &'a str,
    days: i64,
    seconds: u64,
    micros: u32,
}

impl<'a> Timestamp<'a> {
    /// Reads `2026-01-31T12:00:00.000000Z`.
    pub fn parse(text: &'a str) -> Option<Timestamp<'a>> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut parts = date.split('-').map(str::parse::<i64>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut parts = clock.split(':').map(str::parse::<u64>);
        let (hour, minute, second) =
            (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let micros = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
        let seconds = hour * HOUR + minute * MINUTE + second;
        Some(Timestamp { date, time: clock, days: days(year, month, day), seconds, micros })
    }

    /// `Sat 2026-11-21 14:03:09 UTC`.
    pub fn full(self) -> String {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let weekday = usize::try_from(self.days.rem_euclid(7)).unwrap_or(0);
        let weekday = WEEKDAYS.get(weekday).unwrap_or(&"");
        format!("{weekday} {} {} UTC", self.date, self.time)
    }

    /// `Nov 21 14:03:09`, as in a log.
    pub fn short(self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let mut parts = self.date.split('-').skip(1);
        let month = parts.next().and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
        let month = MONTHS.get(month.saturating_sub(1)).unwrap_or(&"");
        format!("{month} {} {}", parts.next().unwrap_or_default(), self.time)
    }

    /// `2026-11-21 14:03:09.123`.
    pub fn precise(self) -> String {
        format!("{} {}.{:03}", self.date, self.time, self.micros / 1_000)
    }

    /// Since 1970.
    pub fn since_epoch(self) -> Duration {
        let days = u64::try_from(self.days).unwrap_or(0);
        Duration::new(days * DAY + self.seconds, self.micros * 1_000)
    }
}

/// Days since 1970 of a civil date, by whole 400-year eras (proleptic Gregorian calendar).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `5min ago`.
pub fn ago(time: Duration) -> String {
    format!("{} ago", span(time))
}

/// `14:03:09`, the time of day of a time since 1970.
pub fn clock(now: Duration) -> String {
    let seconds = now.as_secs() % DAY;
    format!("{:02}:{:02}:{:02}", seconds / HOUR, seconds % HOUR / MINUTE, seconds % MINUTE)
}

/// `5min`: two units at most, as many as a person can use.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |first: u64, one: &str, many: &str, second: u64, name: &str| {
        let (n, rest) = (seconds / first, seconds % first / second);
        let word = if n == 1 { one } else { many };
        let rest = if rest == 0 { String::new() } else { format!(" {rest}{name}") };
        format!("{n}{word}{rest}")
    };
    match seconds {
        YEAR.. => two(YEAR, " year", " years", MONTH, " months"),
        MONTH.. => two(MONTH, " month", " months", DAY, " days"),
        WEEK.. => two(WEEK, " week", " weeks", DAY, " days"),
        DAY.. => two(DAY, " day", " days", HOUR, "h"),
        HOUR.. => two(HOUR, "h", "h", MINUTE, "min"),
        300.. => format!("{}min", seconds / MINUTE),
        MINUTE.. => two(MINUTE, "min", "min", 1, "s"),
        1.. => format!("{seconds}s"),
        0 => tenths(span),
    }
}

fn tenths(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(0);
    if millis == 0 { "0ms".to_owned() } else { format!("{millis}ms") }
}

/// A time that is left, as short as it can be said: `4s`, `850ms`, `2min 5s`.
pub fn left(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let rounded = if millis < 1_000 { millis } else { millis.div_ceil(1_000) * 1_000 };
    format_timespan(Duration::from_millis(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, full, short, seconds) in [
            ("1970-01-01T00:00:00.000000Z", "Thu 1970-01-01 00:00:00 UTC", "Jan 01 00:00:00", 0),
            ("2000-02-29T00:00:00Z", "Tue 2000-02-29 00:00:00 UTC", "Feb 29 00:00:00", 951_782_400),
            (
                "2100-03-01T00:00:00.5Z",
                "Mon 2100-03-01 00:00:00 UTC",
                "Mar 01 00:00:00",
                4_107_542_400,
            ),
        ] {
            let time = Timestamp::parse(text).unwrap();
            assert_eq!((time.full().as_str(), time.short().as_str()), (full, short));
            assert_eq!(time.since_epoch().as_secs(), seconds);
        }
        let precise = Timestamp::parse("2026-01-31T12:00:00.012345Z").map(Timestamp::precise);
        assert_eq!(precise.as_deref(), Some("2026-01-31 12:00:00.012"));
        for text in ["", "yesterday", "2026-01-31", "2026-01-31T12Z", "2026-01-31T12:00:00+01:00"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn how_long_ago() {
        for (seconds, text) in [
            (1, "1s ago"),
            (59, "59s ago"),
            (60, "1min ago"),
            (65, "1min 5s ago"),
            (299, "4min 59s ago"),
            (300, "5min ago"),
            (3_599, "59min ago"),
            (3_600, "1h ago"),
            (7_320, "2h 2min ago"),
            (90_000, "1 day 1h ago"),
            (8 * 86_400, "1 week 1 days ago"),
            (400 * 86_400, "1 year 1 months ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
        assert_eq!(ago(Duration::from_millis(120)), "120ms ago");
        assert_eq!(clock(Duration::from_secs(400 * DAY + 50_589)), "14:03:09");
        assert_eq!(left(Duration::from_micros(3_900_001)), "4s");
        assert_eq!(left(Duration::from_millis(850)), "850ms");
    }
}
