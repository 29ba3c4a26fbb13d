//! Kills for memory, in words: who killed, over what, and what rinit does now.
//!
//! Not when they happen (`init::memory`).

use crate::manager::event::{OomKill, OomKiller};
use crate::unit::resources::format_size;

/// A process was killed for its memory, or the unit is about to be stopped for it.
pub(super) fn oom_kill(kill: &OomKill) -> String {
    let limit =
        |name: &str| kill.limit.map_or(String::new(), |it| format!("{name}{}", format_size(it)));
    let peak = kill.peak.map_or(String::new(), |peak| format!(", peak {}", format_size(peak)));
    match kill.by {
        OomKiller::Kernel => {
            format!("killed by the kernel for its memory (oom-kill){}{peak}", limit(": MemoryMax="))
        }
        OomKiller::Watchdog => {
            let has =
                kill.peak.map_or(String::new(), |peak| format!(" with {}", format_size(peak)));
            format!("over MemoryMax{}{has}: stopped for it (oom-kill)", limit("="))
        }
        OomKiller::Slice => format!(
            "a process was killed by the kernel (oom-kill): what its slice may have{}, is used up",
            limit(", MemoryMax=")
        ),
        OomKiller::Container => format!(
            "a process was killed by the kernel: the container's memory{} is used up, not the \
             unit's MemoryMax",
            limit(" limit of ")
        ),
    }
}

/// Over MemoryHigh= for long, and `MemoryHighAction=recycle`.
pub(super) fn high(current: u64, high: u64) -> String {
    let (current, high) = (format_size(current), format_size(high));
    format!("over MemoryHigh={high} for long, with {current}: it is replaced (recycle)")
}
