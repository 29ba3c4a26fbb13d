//! Where a process's output leads when nothing is said about it.
//!
//! Not the words themselves (`value`) and not the pipes (`init::journal`).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::service::{ExecContext, StandardStream};

/// Which streams go to the journal: output, error.
///
/// Output: said so, or nothing said and input is nobody's terminal or socket (systemd.exec(5)).
/// Error: said so, or nothing said and output is captured, too; in a pipe of its own.
pub fn captured(exec: &ExecContext, is_command: bool) -> (bool, bool) {
    let journal = Some(StandardStream::Journal);
    let output = match &exec.standard_output {
        None => match &exec.standard_input {
            None => !is_command,
            Some(StandardStream::Tty | StandardStream::Socket | StandardStream::Inherit) => false,
            Some(
                StandardStream::Null
                | StandardStream::Journal
                | StandardStream::File(_)
                | StandardStream::Append(_)
                | StandardStream::Truncate(_),
            ) => true,
        },
        said => *said == journal,
    };
    let error = match &exec.standard_error {
        None => output,
        said => *said == journal,
    };
    (output, error)
}
