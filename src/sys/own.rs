//! What rinit itself takes: time, memory, descriptors (getrusage(2), proc(5)).
//!
//! **Invariant:** what cannot be had is `None`.

use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;

/// Time on CPUs.
pub fn cpu() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
}

/// Bytes of memory that are resident.
pub fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: a number only.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(size).ok()?)
}

/// How many descriptors are open.
pub fn open_fds() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory's own.
    u64::try_from(entries.count().saturating_sub(1)).ok()
}

/// As many as may be open at once.
pub fn max_fds() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ourselves() {
        assert!(super::cpu().is_some());
        assert!(super::resident().is_some_and(|bytes| bytes > 100_000));
        let fds = super::open_fds().unwrap();
        assert!(fds >= 3 && fds <= super::max_fds().unwrap(), "{fds}");
    }
}
