//! What a person sees and types: `rinitctl`, and problems drawn for a terminal.
//!
//! Not the supervisor itself (`init`). Only this layer prints.

pub mod ctl;
pub mod diagnostics;
pub mod plain;
pub mod rinit;
pub mod start;
