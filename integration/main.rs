//! Black-box tests: the real binary, real processes, as real PID 1 and as a subreaper.
//!
//! One test binary; one file a theme. Tests named `trap_NN_…` are the known mistakes of other
//! inits, by number. They wait for events, never for time (see `harness`).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::print_stderr, clippy::wildcard_enum_match_arm)]

mod harness;
mod http;
mod lines;
mod load;
mod load_client;
mod tools;

mod accept;
mod analyze;
mod bad_input;
mod cgroup;
mod command_mode;
mod control;
mod control_load;
mod docker;
mod endpoints;
mod examples;
mod fastapi;
mod fds;
mod health;
mod instances;
mod journal;
mod journeys;
mod log_files;
mod memory;
mod notify;
mod readme;
mod reaping;
mod rinitctl;
mod signals;
mod sockets;
mod stop;
mod surroundings;
mod systemctl;
mod terminal;
mod top;
mod vm;
mod workers;
