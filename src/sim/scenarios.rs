//! Scripts that once broke a rule, or nearly, and are kept.
//!
//! Each is what `schedules` printed, with a name that says what went wrong.

use super::choices::{Choices, Script};
use super::run::run;

/// No rule is broken, and the run is longer than its boot.
fn check(script: &str) {
    let outcome = run(&mut Choices::from_script(&Script::parse(script)), None, true);
    assert_eq!(outcome.broken, None, "{}", outcome.trace.join("\n"));
    assert!(outcome.events > 3, "{}", outcome.trace.join("\n"));
}

#[test]
fn one_plain_service_and_a_stop() {
    check("");
}
