//! rinit: a small init and service supervisor for containers.
//!
//! The map, from what is read first to what is read last; an arrow is followed down only:
//!
//! ```text
//! bin → cli, init → control, sys → manager → unit      sys and manager never see each other
//! ```

pub mod cli;
pub mod control;
pub mod init;
pub mod manager;
#[cfg(test)]
mod sim;
pub mod sys;
#[cfg(test)]
mod tidy;
pub mod unit;

/// The whole of `rinit`.
pub fn rinit_main() -> std::process::ExitCode {
    cli::start::main()
}

/// The whole of `rinitctl`.
pub fn rinitctl_main() -> std::process::ExitCode {
    cli::ctl::main()
}
