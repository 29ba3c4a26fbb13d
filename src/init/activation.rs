//! How a program learns of the sockets that it is passed: sd_listen_fds(3).
//!
//! Not which those are (`sockets`). **Invariant:** the descriptors stand from 3 on without a gap,
//! in the order of their names; with `StandardInput=socket` there is one, it is a stream, and
//! nothing is announced.

use std::ffi::{CString, OsString};
use std::os::fd::RawFd;

use super::sockets::Passed;
use crate::sys::exec::Descriptor;
use crate::unit::environment::Environment;
use crate::unit::process::{ExecError, ExecStage};
use crate::unit::service::{ExecContext, StandardStream};

/// SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// What of an [`ExecPlan`](crate::sys::exec::ExecPlan) speaks of sockets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Activation {
    /// The socket for the streams that are `socket`.
    pub stream: Option<RawFd>,
    /// What stands from 3 on.
    pub descriptors: Vec<Descriptor>,
    names: Vec<String>,
}

impl Activation {
    /// What is made of the sockets of a process.
    ///
    /// # Errors
    /// A stream is to be the socket, and there is none, or more than one.
    pub fn new(
        passed: &Passed,
        exec: &ExecContext,
        is_main: bool,
    ) -> Result<Activation, ExecError> {
        let streams = [
            ("StandardInput", &exec.standard_input, ExecStage::StandardInput),
            ("StandardOutput", &exec.standard_output, ExecStage::StandardOutput),
            ("StandardError", &exec.standard_error, ExecStage::StandardError),
        ];
        let stream =
            streams.into_iter().find(|(_, it, _)| **it == Some(StandardStream::Socket) && is_main);
        let Some((directive, _, stage)) = stream else { return Ok(Activation::listed(passed)) };
        let [(socket, _)] = passed.sockets.as_slice() else {
            let count = passed.sockets.len();
            let message = format!("{directive}=socket takes one socket, and it is passed {count}");
            return Err(ExecError { stage, errno: libc::EINVAL, message });
        };
        Ok(Activation { stream: Some(*socket), ..Activation::default() })
    }

    fn listed(passed: &Passed) -> Activation {
        let numbered = (FIRST..).zip(&passed.sockets);
        Activation {
            stream: None,
            descriptors: numbered
                .map(|(target, (source, _))| Descriptor { source: *source, target })
                .collect(),
            names: passed.sockets.iter().map(|(_, name)| name.clone()).collect(),
        }
    }

    /// Sets what the parent knows; only the child knows its pid.
    pub fn announce(&self, environment: &mut Environment) {
        if !self.names.is_empty() {
            let count = self.names.len().to_string();
            environment.insert("LISTEN_FDS".into(), count.into());
            environment.insert("LISTEN_FDNAMES".into(), OsString::from(self.names.join(":")));
        }
    }

    /// The variables that hold the child's own pid.
    pub fn pid_variables(&self) -> Vec<CString> {
        if self.names.is_empty() { Vec::new() } else { vec![c"LISTEN_PID".into()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(names: &[&str]) -> Passed {
        let sockets = (10..).zip(names).map(|(fd, name)| (fd, (*name).to_owned())).collect();
        Passed { sockets, ..Passed::default() }
    }

    #[test]
    fn descriptors_and_names_in_order() {
        let exec = ExecContext::default();
        let activation = Activation::new(&passed(&["web", "web", "metrics"]), &exec, true).unwrap();
        let numbers: Vec<_> =
            activation.descriptors.iter().map(|it| (it.source, it.target)).collect();
        assert_eq!(numbers, [(10, 3), (11, 4), (12, 5)]);
        let mut environment = Environment::default();
        activation.announce(&mut environment);
        let all: Vec<_> = environment.iter().map(|(n, v)| format!("{n:?}={v:?}")).collect();
        assert_eq!(all, ["\"LISTEN_FDNAMES\"=\"web:web:metrics\"", "\"LISTEN_FDS\"=\"3\""],);
        assert_eq!(activation.pid_variables(), [CString::from(c"LISTEN_PID")]);
    }

    #[test]
    fn a_stream_is_one_socket_and_announces_nothing() {
        let exec =
            ExecContext { standard_input: Some(StandardStream::Socket), ..ExecContext::default() };
        let activation = Activation::new(&passed(&["web"]), &exec, true).unwrap();
        assert_eq!(activation, Activation { stream: Some(10), ..Activation::default() });
        assert!(activation.pid_variables().is_empty());
        for (names, count) in [(&[][..], 0), (&["a", "b"], 2)] {
            let error = Activation::new(&passed(names), &exec, true).unwrap_err();
            let text = format!("StandardInput=socket takes one socket, and it is passed {count}");
            assert_eq!((error.stage, error.message), (ExecStage::StandardInput, text));
        }
        // ExecStartPre= gets none, and no error either.
        assert_eq!(Activation::new(&passed(&[]), &exec, false).unwrap(), Activation::default());
    }
}
