//! Resource limits: `LimitNOFILE=1024:524288` (systemd.exec(5), setrlimit(2)).
//!
//! Not setting them: `sys` does. **Invariant:** a soft limit never exceeds its hard limit.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::service::{Limit, Resource};
use super::timespan::parse_microseconds;
use super::value::{ValueError, parse_size, parse_unsigned};

/// Reads one limit, or `soft:hard`. Bytes take suffixes, CPU a time span in seconds (rounded
/// up), RTTIME one in microseconds, NICE a nice level with its sign or the raw number.
///
/// # Errors
/// A part is no value of the resource's kind, or the soft limit exceeds the hard one.
pub fn parse_limit(resource: Resource, text: &str) -> Result<Limit, ValueError> {
    let Some((soft, hard)) = text.split_once(':') else {
        let both = one(resource, text)?;
        return Ok(Limit { soft: both, hard: both });
    };
    let hard_start = soft.len() + 1;
    let limit = Limit {
        soft: one(resource, soft).map_err(|error| shift(error, 0, soft.len()))?,
        hard: one(resource, hard).map_err(|error| shift(error, hard_start, hard.len()))?,
    };
    let number = |value: Option<u64>| value.unwrap_or(u64::MAX);
    if number(limit.soft) > number(limit.hard) {
        let message = format!("the soft limit {soft} is above the hard limit {hard}");
        return Err(ValueError::new(message).hint("the order is soft:hard"));
    }
    Ok(limit)
}

fn shift(error: ValueError, start: usize, len: usize) -> ValueError {
    let range = error.range.clone().unwrap_or(0..len);
    error.at(range.start + start..range.end + start)
}

fn one(resource: Resource, text: &str) -> Result<Option<u64>, ValueError> {
    if text == "infinity" {
        return Ok(None);
    }
    let value = match resource {
        Resource::Fsize
        | Resource::Data
        | Resource::Stack
        | Resource::Core
        | Resource::Rss
        | Resource::As
        | Resource::Memlock
        | Resource::Msgqueue => parse_size(text)?,
        Resource::Nofile
        | Resource::Nproc
        | Resource::Locks
        | Resource::Sigpending
        | Resource::Rtprio => Some(parse_unsigned(text, 0..=u64::MAX)?),
        Resource::Cpu => parse_microseconds(text, 1_000_000)?.map(|us| us.div_ceil(1_000_000)),
        Resource::Rttime => parse_microseconds(text, 1)?,
        Resource::Nice => Some(nice(text)?),
    };
    // The kernel's RLIM_INFINITY is the largest number itself.
    Ok(value.filter(|number| *number != u64::MAX))
}

/// RLIMIT_NICE counts 20 minus the lowest nice level allowed (getrlimit(2)).
fn nice(text: &str) -> Result<u64, ValueError> {
    if let Some(level) = text.strip_prefix('+') {
        return Ok(20 - parse_unsigned(level, 0..=19)?);
    }
    if let Some(level) = text.strip_prefix('-') {
        return Ok(20 + parse_unsigned(level, 0..=20)?);
    }
    parse_unsigned(text, 0..=40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (resource, text, soft, hard) in [
            (Resource::Nofile, "1024:524288", Some(1024), Some(524_288)),
            (Resource::Nofile, "65536", Some(65_536), Some(65_536)),
            (Resource::Nofile, "infinity", None, None),
            (Resource::Nofile, "18446744073709551615", None, None),
            (Resource::Nproc, "10:infinity", Some(10), None),
            (Resource::Memlock, "8M:1.5G", Some(8 << 20), Some(3 << 29)),
            (Resource::Core, "0", Some(0), Some(0)),
            (Resource::Cpu, "5", Some(5), Some(5)),
            (Resource::Cpu, "1500ms:1min", Some(2), Some(60)),
            (Resource::Rttime, "5", Some(5), Some(5)),
            (Resource::Rttime, "60:5s", Some(60), Some(5_000_000)),
            (Resource::Nice, "+5", Some(15), Some(15)),
            (Resource::Nice, "-20", Some(40), Some(40)),
            (Resource::Nice, "20:40", Some(20), Some(40)),
        ] {
            assert_eq!(parse_limit(resource, text), Ok(Limit { soft, hard }), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit() {
        for (resource, text, range) in [
            (Resource::Nofile, "", None),
            (Resource::Nofile, "-1", None),
            (Resource::Nofile, "8K", None),
            (Resource::Nofile, "1024:", Some(5..5)),
            (Resource::Nofile, "x:1", Some(0..1)),
            (Resource::Memlock, "8M:4Q", Some(3..5)),
            (Resource::Cpu, "1:5x", Some(3..4)),
            (Resource::Nice, "+20", None),
            (Resource::Nice, "-21", None),
            (Resource::Nice, "41", None),
            (Resource::Nofile, "2:1", None),
            (Resource::Nofile, "infinity:1", None),
        ] {
            assert_eq!(parse_limit(resource, text).unwrap_err().range, range, "{text}");
        }
    }
}
