//! The manager against a simulated world: random units, random faults, and rules that hold
//! after every step.
//!
//! Not a test of processes or files (`integration/` is). A seed or a script decides everything,
//! so a run that breaks a rule can be made again, made smaller and kept:
//!
//! ```text
//! choices    what is decided, from a seed or a script
//! units      a random set of units
//! world      a kernel and a shell: processes, time, answers · talk: what processes say
//! rules      the invariants by name · invariants, starting, stopping, readiness: how they are
//!            checked
//! run        one run of manager, world and rules
//! planted    bugs put between manager and world, which the rules must find
//! rolling    the same for one service with instances: its own small world and rules
//! shrink     a smaller script that breaks the same rule
//! schedules  the tests: many seeds on every core · scenarios: scripts that were worth keeping
//! ```
//!
//! **Invariant:** one script gives one run: no clock, no thread and no environment but in
//! `schedules`, which spreads the seeds.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]
// Bugs distort a few of many cases, and a nested `if` says which comes first.
#![allow(clippy::wildcard_enum_match_arm, clippy::collapsible_if)]

mod choices;
mod invariants;
mod planted;
mod readiness;
mod rolling;
mod rules;
mod run;
mod scenarios;
mod schedules;
mod seen;
mod shrink;
mod starting;
mod stopping;
mod talk;
mod units;
mod world;
