//! What the black-box tests stand on: starting rinit, hearing what it says, seeing its processes.
//!
//! Not tests. **Invariant:** nothing here sleeps to give something time to happen; every wait is
//! for an event, a line or an end, with a deadline so generous that only a bug meets it.

pub mod event;
pub mod payload;
pub mod processes;
pub mod pty;
pub mod rinit;
pub mod running;
pub mod varlink;

use std::io::Write;
use std::time::Duration;

pub use event::Event;
pub use payload::probe;
pub use rinit::Rinit;
pub use running::{Outcome, Running};

/// How long a test waits for what should take milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Whether a tool that a test cannot do without is here. Where it is not, the test is skipped with
/// a line that says so, unless `RINIT_TEST_REQUIRE=all`: then it fails.
pub fn available(what: &str) -> bool {
    let here = match what {
        "root" => nix::unistd::geteuid().is_root(),
        "user namespace" => processes::can_unshare(),
        program => std::env::var("PATH").unwrap_or_default().split(':').any(|directory| {
            nix::unistd::access(
                &std::path::Path::new(directory).join(program),
                nix::unistd::AccessFlags::X_OK,
            )
            .is_ok()
        }),
    };
    let required = std::env::var("RINIT_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(here || !required, "this test needs {what}, and RINIT_TEST_REQUIRE=all");
    if !here {
        // Not eprintln!, which the test runner captures: nobody would see what was not tested.
        let _ = writeln!(std::io::stderr(), "skipped: needs {what}");
    }
    here
}

/// Ends the test early, and says so, where a tool is missing.
#[macro_export]
macro_rules! require {
    ($($what:expr),+) => {
        $(if !$crate::harness::available($what) { return; })+
    };
}
