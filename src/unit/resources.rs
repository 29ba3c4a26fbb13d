//! What a service may use: memory, processes, processor time; and by what that is enforced.
//!
//! Names and meanings are systemd.resource-control(5)'s unless a field says otherwise. Not the
//! doing (`sys::cgroup`, `init::memory`) and nothing of the host. **Invariant:** a share of the
//! memory stays a share until somebody who knows the container's limit asks for bytes.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::Dependency;
use super::value::{ValueError, parse_size, parse_unsigned};

/// The whole, in the parts that a [`Amount::Share`] counts.
pub const WHOLE: u32 = 10_000;

/// So much memory, or such a share of what the container may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of a percent.
    Share(u32),
}

impl Amount {
    /// In bytes, where a container with `total` bytes is the whole; `None`: it is not known.
    pub fn bytes(self, total: Option<u64>) -> Option<u64> {
        match self {
            Amount::Bytes(bytes) => Some(bytes),
            Amount::Share(parts) => {
                let bytes = u128::from(total?) * u128::from(parts) / u128::from(WHOLE);
                u64::try_from(bytes).ok()
            }
        }
    }
}

/// `MemoryEnforce=` (ours): by what `MemoryMax=` holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryEnforce {
    /// The strongest that works here: a cgroup, else the watchdog.
    #[default]
    Auto,
    /// A cgroup, or it does not start.
    Cgroup,
    /// rinit looks at its processes and stops what is over the limit.
    Watchdog,
    /// RLIMIT_DATA of each process: allocations fail.
    Rlimit,
    /// Nothing: the limit is only arithmetic.
    None,
}

/// `MemoryHighAction=` (ours): what long over `MemoryHigh=` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryHighAction {
    /// Nothing but what the kernel does.
    #[default]
    None,
    /// It is replaced gracefully, one instance of a service at a time.
    Recycle,
}

/// `OOMPolicy=`: what a kill for memory does to the rest of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OomPolicy {
    /// Nothing: it is only told.
    Continue,
    /// It is stopped in order.
    Stop,
    /// It is killed as one (rinit's default: design, Memory).
    #[default]
    Kill,
}

/// What a service or a slice may use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    /// `MemoryMax=`; `None` is infinity, here and below.
    pub memory_max: Option<Amount>,
    /// `MemoryHigh=`.
    pub memory_high: Option<Amount>,
    /// `MemorySwapMax=`; unset beside a `MemoryMax=`: none, or the limit would leak into swap.
    pub memory_swap_max: Option<Amount>,
    /// `MemorySwapMax=infinity`.
    pub swaps: bool,
    /// `MemoryMin=`.
    pub memory_min: Option<Amount>,
    /// `MemoryLow=`.
    pub memory_low: Option<Amount>,
    /// `MemoryEnforce=`.
    pub enforce: MemoryEnforce,
    /// `MemoryHighAction=`.
    pub high_action: MemoryHighAction,
    /// `MemoryKSM=`: the kernel may merge equal pages (prctl(2), PR_SET_MEMORY_MERGE).
    pub memory_ksm: bool,
    /// `OOMPolicy=`.
    pub oom_policy: OomPolicy,
    /// `TasksMax=`: processes and threads.
    pub tasks_max: Option<u64>,
    /// `CPUQuota=`: processor time in a second of time.
    pub cpu_quota: Option<Duration>,
    /// `CPUWeight=`, 1 to 10,000.
    pub cpu_weight: Option<u64>,
    /// `IOWeight=`, 1 to 10,000.
    pub io_weight: Option<u64>,
    /// `Slice=`.
    pub slice: Option<Dependency>,
}

impl Resources {
    /// Whether long over `MemoryHigh=` replaces it.
    pub fn recycles(&self) -> bool {
        self.high_action == MemoryHighAction::Recycle
    }

    /// Whether its memory has to be known.
    pub fn limits_memory(&self) -> bool {
        self.memory_max.is_some() || self.memory_high.is_some()
    }
}

/// Reads `512M`, `25%` or `infinity` (`None`).
///
/// # Errors
/// Neither a size nor a share from 0 % to 100 %.
pub fn parse_amount(text: &str) -> Result<Option<Amount>, ValueError> {
    let Some(number) = text.strip_suffix('%') else {
        return Ok(parse_size(text)?.map(Amount::Bytes));
    };
    let share = parse_percent(number).filter(|parts| *parts <= u64::from(WHOLE));
    match share.and_then(|parts| u32::try_from(parts).ok()) {
        Some(parts) => Ok(Some(Amount::Share(parts))),
        None => Err(ValueError::new(format!("{text:?} is no share of the memory"))
            .hint("0% to 100%, with at most two decimals, such as 25% or 12.5%")),
    }
}

/// A size as a person reads it: `512M`, `1.5G`, base 1024, at most one decimal.
pub fn format_size(bytes: u64) -> String {
    let mut unit = ("", 1_u64);
    for larger in [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)] {
        if bytes >= larger.1 {
            unit = larger;
        }
    }
    let (suffix, size) = unit;
    let tenths = u128::from(bytes) * 10 / u128::from(size);
    match tenths % 10 {
        0 => format!("{}{suffix}", tenths / 10),
        decimal => format!("{}.{decimal}{suffix}", tenths / 10),
    }
}

/// Reads `CPUQuota=`: `150%` is one processor and a half; empty is no limit.
///
/// # Errors
/// No percentage above 0.
pub fn parse_cpu_quota(text: &str) -> Result<Option<Duration>, ValueError> {
    if text.is_empty() || text == "infinity" {
        return Ok(None);
    }
    let parts = text.strip_suffix('%').and_then(parse_percent).filter(|parts| *parts > 0);
    match parts.and_then(|parts| parts.checked_mul(100)) {
        Some(microseconds) => Ok(Some(Duration::from_micros(microseconds))),
        None => Err(ValueError::new(format!("{text:?} is no processor time"))
            .hint("percent of one processor: 20% is a fifth of one, 150% one and a half")),
    }
}

/// Reads `TasksMax=`: a number, or `infinity`.
///
/// # Errors
/// No number from 1.
pub fn parse_tasks(text: &str) -> Result<Option<u64>, ValueError> {
    if text == "infinity" {
        return Ok(None);
    }
    let hint = "how many processes and threads it may have, from 1; or infinity";
    parse_unsigned(text, 1..=u64::from(u32::MAX)).map(Some).map_err(|error| error.hint(hint))
}

/// Hundredths of a percent.
fn parse_percent(number: &str) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 2 || !digits(whole) || !digits(decimals) {
        return None;
    }
    let decimals: u64 = format!("{decimals:0<2}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let rows = [
            ("512M", Ok(Some(Amount::Bytes(512 << 20)))),
            ("infinity", Ok(None)),
            ("25%", Ok(Some(Amount::Share(2500)))),
            ("12.5%", Ok(Some(Amount::Share(1250)))),
            ("100%", Ok(Some(Amount::Share(10_000)))),
            ("0%", Ok(Some(Amount::Share(0)))),
            ("100.01%", Err(())),
            ("%", Err(())),
            ("1.234%", Err(())),
            ("-1%", Err(())),
            ("x", Err(())),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_amount(text).map_err(drop), expected, "{text}");
        }
        assert_eq!(Amount::Share(2500).bytes(Some(4 << 30)), Some(1 << 30));
        assert_eq!(Amount::Share(2500).bytes(None), None);
        assert_eq!(Amount::Bytes(7).bytes(None), Some(7));
    }

    #[test]
    fn sizes_in_words() {
        let rows = [(0, "0"), (1023, "1023"), (1024, "1K"), (1 << 29, "512M"), (3 << 29, "1.5G")];
        for (bytes, text) in rows {
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(format_size(u64::MAX), "16777215.9T");
    }

    #[test]
    fn processor_time() {
        let rows = [
            ("20%", Ok(Some(Duration::from_millis(200)))),
            ("150%", Ok(Some(Duration::from_millis(1500)))),
            ("0.01%", Ok(Some(Duration::from_micros(100)))),
            ("", Ok(None)),
            ("0%", Err(())),
            ("20", Err(())),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_cpu_quota(text).map_err(drop), expected, "{text}");
        }
    }
}
