//! A container on a terminal, as a person has it: `docker run -it`.

use std::process::{Child, Stdio};
use std::thread;

use tempfile::TempDir;

use super::client::{docker, docker_success};
use super::container::{interactive_command, mount_of, new_name, unit_folder};
use crate::harness::pty::Terminal;

pub const CONTROL_C: &str = "\x03";

pub struct TerminalContainer {
    /// Keys go in, the screen comes out.
    pub terminal: Terminal,
    /// The `docker` client. Its own end may be cut off; the container's status is asked for.
    client: Child,
    name: String,
    /// The units that are mounted into it; they go when it goes.
    _units: Option<TempDir>,
}

impl TerminalContainer {
    /// `docker run -it OPTIONS image ARGUMENTS` on a new terminal.
    pub fn run(image: &str, options: &[&str], arguments: &[&str]) -> Self {
        let (terminal, inner) = Terminal::open();
        let side = || Stdio::from(inner.try_clone().expect("duplicate the terminal"));
        let name = new_name();
        let client = interactive_command(&name, image, options, arguments)
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("docker run starts");
        Self { terminal, client, name, _units: None }
    }

    /// The same with `/etc/rinit` holding these units: (file name, text).
    pub fn run_units(image: &str, units: &[(&str, &str)]) -> Self {
        let folder = unit_folder(units);
        let mut container = Self::run(image, &["--volume", &mount_of(&folder)], &[]);
        container._units = Some(folder);
        container
    }

    /// Waits for the container's end; its exit status.
    pub fn wait(&self) -> i32 {
        docker_success(&["wait", &self.name]).parse().expect("docker wait prints a number")
    }
}

impl Drop for TerminalContainer {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
        if thread::panicking() {
            eprintln!("--- the log of {}:\n{}---", self.name, docker(&["logs", &self.name]).stdout);
        }
        let _ = docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
