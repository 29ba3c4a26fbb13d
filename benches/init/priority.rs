//! Real-time priority for the harness and all that it starts, where this user may have it: what else runs on
//! the machine then hardly counts.

use std::process::{self, Command};

/// Takes the lowest real-time priority, round-robin; says in words what came of it.
pub fn claim() -> &'static str {
    let chrt =
        Command::new("chrt").args(["--rr", "--pid", "1", &process::id().to_string()]).output();
    if chrt.is_ok_and(|output| output.status.success()) {
        "real-time priority"
    } else {
        "ordinary priority (as root: real-time)"
    }
}
