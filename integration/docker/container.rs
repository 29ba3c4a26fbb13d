//! One container of a test: run, watched, signalled, and removed whatever happened.

use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, process, thread};

use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

use super::client::{self, docker, docker_success};
use super::images::open_to_all;
use crate::lines::Lines;

/// The strictest way in which people run containers.
pub const LOCKED_DOWN: [&str; 7] =
    ["--user", "10001", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];

pub struct Container {
    pub name: String,
    /// The units that are mounted into it; they go when it goes.
    _units: Option<TempDir>,
}

impl Container {
    /// `docker run --detach OPTIONS image ARGUMENTS`, without a network.
    pub fn run(image: &str, options: &[&str], arguments: &[&str]) -> Self {
        let container = Self { name: new_name(), _units: None };
        container.start_new(image, options, arguments);
        container
    }

    /// The same with `/etc/rinit` holding these units: (file name, text).
    pub fn run_units(image: &str, options: &[&str], units: &[(&str, &str)]) -> Self {
        let folder = unit_folder(units);
        let mount = mount_of(&folder);
        let container = Self { name: new_name(), _units: Some(folder) };
        container.start_new(image, &[&["--volume", &mount], options].concat(), &[]);
        container
    }

    fn start_new(&self, image: &str, options: &[&str], arguments: &[&str]) {
        let fixed = ["run", "--detach", "--network", "none", "--name", &self.name];
        docker_success(&[&fixed, options, &[image], arguments].concat());
    }

    /// Follows the container's output, both streams, from its beginning.
    pub fn follow(&self) -> Lines {
        let mut follower = client::command(&["logs", "--follow", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker logs starts");
        let stdout = follower.stdout.take().expect("stdout is a pipe");
        let stderr = follower.stderr.take().expect("stderr is a pipe");
        // It ends with the container, which is removed when the test is over.
        thread::spawn(move || follower.wait());
        Lines::of_both(stdout, stderr)
    }

    /// `docker stop` with this much patience; what counts is the container's status after it.
    pub fn stop(&self, seconds: u32) -> i32 {
        docker_success(&["stop", "--time", &seconds.to_string(), &self.name]);
        self.wait()
    }

    /// Begins a `docker stop` that goes on while the test does something else.
    pub fn begin_stop(&self, seconds: u32) -> Child {
        client::command(&["stop", "--time", &seconds.to_string(), &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker stop starts")
    }

    pub fn start_again(&self) {
        docker_success(&["start", &self.name]);
    }

    pub fn signal(&self, signal: &str) {
        docker_success(&["kill", "--signal", signal, &self.name]);
    }

    /// Waits for the end; the exit status as Docker tells it.
    pub fn wait(&self) -> i32 {
        docker_success(&["wait", &self.name]).parse().expect("docker wait prints a number")
    }

    /// `docker exec` in the container, not waited for.
    pub fn exec(&self, command: &[&str]) -> Child {
        client::command(&[&["exec", &self.name], command].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker exec starts")
    }

    pub fn inspect(&self, format: &str) -> String {
        docker_success(&["inspect", "--format", format, &self.name])
    }

    pub fn logs(&self) -> String {
        let output = docker(&["logs", &self.name]);
        output.stdout + &output.stderr
    }

    /// Connects to a server inside, on its own loopback.
    pub fn connect(&self, port: u16) -> TcpStream {
        let connect = move || TcpStream::connect(("127.0.0.1", port));
        self.inside(connect).expect("connect to the container")
    }

    /// Calls this in the container's network; what it opened or started stays there.
    pub fn inside<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T {
        let pid = self.inspect("{{.State.Pid}}");
        let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("the network namespace");
        // A thread of its own changes over and ends.
        let inside = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter the container's network");
            call()
        });
        inside.join().expect("the thread in the container's network")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() {
            let shown = format!("--- the log of {}:\n{}---", self.name, self.logs());
            eprintln!("{shown}");
        }
        // Not `docker_success`: a second panic would hide the first.
        let _ = client::command(&["rm", "--force", "--volumes", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// `docker run` in the foreground, for what ends by itself.
pub fn run_to_end(image: &str, options: &[&str], arguments: &[&str]) -> client::Output {
    let fixed = ["run", "--rm", "--network", "none"];
    docker(&[&fixed, options, &[image], arguments].concat())
}

pub fn new_name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("rinit-test-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A directory with these unit files, readable by the user of any container.
pub fn unit_folder(units: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory for units");
    open_to_all(folder.path());
    for (name, text) in units {
        fs::write(folder.path().join(name), text).expect("write a unit");
    }
    folder
}

pub fn mount_of(units: &TempDir) -> String {
    format!("{}:/etc/rinit:ro", units.path().display())
}

/// What is left to do with a program that a test only had to have started.
pub fn end(mut child: Child) -> Option<i32> {
    child.wait().ok().and_then(|status| status.code())
}

/// A `docker` command line on a terminal is the terminal's own; this one is for the tests there.
pub fn interactive_command(
    name: &str,
    image: &str,
    options: &[&str],
    arguments: &[&str],
) -> Command {
    let fixed = ["run", "--interactive", "--tty", "--network", "none", "--name", name];
    client::command(&[&fixed, options, &[image], arguments].concat())
}
