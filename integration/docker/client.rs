//! The `docker` client as a function: a command line, a deadline, what came out.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::daemon;
use crate::harness::DEADLINE;

/// A build installs packages: minutes on a slow machine.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);

pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What the program printed, trimmed; panics with all it said where it failed.
    pub fn success(self, what: &str) -> String {
        let Self { status, stdout, stderr } = self;
        let daemon = if status == 0 { String::new() } else { daemon::log_tail() };
        assert_eq!(status, 0, "{what}:\n{stdout}\n{stderr}\ndockerd's log:\n{daemon}");
        stdout.trim().to_owned()
    }
}

/// A `docker` command line for the tests' daemon.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(args);
    if let Ok(Some(host)) = daemon::host() {
        command.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT");
    }
    // The classic builder: a daemon of any age has it, and it asks no registry for a frontend.
    command.env("DOCKER_BUILDKIT", "0").env("DOCKER_CLI_HINTS", "false");
    command
}

pub fn docker(args: &[&str]) -> Output {
    run(command(args), DEADLINE)
}

pub fn docker_success(args: &[&str]) -> String {
    docker(args).success(&format!("docker {}", args.join(" ")))
}

/// Runs a program to its end; kills it and panics if that takes too long.
pub fn run(command: Command, deadline: Duration) -> Output {
    run_with_input(command, Vec::new(), deadline)
}

pub fn run_with_input(mut command: Command, input: Vec<u8>, deadline: Duration) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let pid = Pid::from_raw(child.id().cast_signed());
    let stdin = child.stdin.take();
    thread::spawn(move || {
        // A program that does not read its input has its reasons; its status tells them.
        let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    });
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(deadline) else {
        let _ = kill(pid, Signal::SIGKILL);
        panic!("{shown}: not finished within {deadline:?}");
    };
    let output = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let signal = output.status.signal().map(|signal| 128 + signal);
    Output {
        status: output.status.code().or(signal).unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
