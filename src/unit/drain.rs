//! Whether `DrainSec=` leaves anything of the time that a stop has.
//!
//! Not the stop itself (`manager::shutdown`). **Invariant:** a drain that ends before the stop has
//! to is never warned of.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::directive::ManagerSection;
use super::problem::Problem;
use super::raw::RawUnit;
use super::timespan::format_timespan;

/// What a stop may take if nobody says anything: below the 10 s after which Docker kills.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(9);

/// Warns of a drain after which no time is left; `asked` is `--shutdown-timeout`, which goes first.
pub fn check(raw: &RawUnit, section: &ManagerSection, asked: Option<Duration>) -> Option<Problem> {
    let timeout = asked.or(section.shutdown_timeout).unwrap_or(SHUTDOWN_TIMEOUT);
    let drain = section.drain.filter(|drain| *drain >= timeout)?;
    let mut entries = raw.sections.iter().flat_map(|section| &section.entries).rev();
    let entry = entries.find(|entry| entry.key == "DrainSec");
    let span = entry.map(|entry| raw.span(entry.key_range.clone()));
    let message = format!(
        "DrainSec of {} leaves no time to stop: a whole stop has {}, and then processes are \
         killed at once",
        format_timespan(drain),
        format_timespan(timeout),
    );
    let hint = "the drain is part of ShutdownTimeoutSec (--shutdown-timeout): raise that, too";
    Some(Problem::warning(span, message).hint(hint))
}
