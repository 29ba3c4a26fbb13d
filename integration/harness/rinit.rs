//! How rinit is started: units written here, arguments, environment, streams, odd inheritance.
//!
//! Not the running one (`running`). Every start goes through `probe launch`, which forks rinit,
//! as PID 1 of a namespace or as a plain child, and reports its pid and its end.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::payload::{probe, rinit_binary};
use super::pty::Terminal;
use super::running::{Outcome, Running};

/// One rinit to be started.
#[derive(Debug)]
pub struct Rinit {
    directory: TempDir,
    program: PathBuf,
    launch: Vec<String>,
    options: Vec<String>,
    command: Option<Vec<String>>,
    environment: Vec<(OsString, OsString)>,
    plain: bool,
    units: bool,
    stdin: Stdio,
    terminal: Option<OwnedFd>,
    unread: bool,
}

impl Rinit {
    /// A plain child, so a subreaper: needs no privileges at all.
    pub fn subreaper() -> Rinit {
        // Services of other users must get in.
        let open = std::fs::Permissions::from_mode(0o755);
        let directory = tempfile::Builder::new().prefix("rinit-test-").permissions(open).tempdir();
        Rinit {
            directory: directory.unwrap(),
            program: rinit_binary().to_path_buf(),
            launch: Vec::new(),
            options: Vec::new(),
            command: None,
            environment: Vec::new(),
            plain: false,
            units: false,
            stdin: Stdio::null(),
            terminal: None,
            unread: false,
        }
    }

    /// PID 1 of a fresh user and pid namespace.
    pub fn pid1() -> Rinit {
        Rinit::subreaper().launch(&["--pid1"])
    }

    /// PID 1 of a fresh pid namespace with the machine's own users: needs root.
    pub fn pid1_as_root() -> Rinit {
        Rinit::pid1().launch(&["--no-user-namespace"])
    }

    /// Another init in rinit's place, to compare with.
    pub fn peer(mut self, program: &str) -> Rinit {
        self.program = PathBuf::from(program);
        self.plain()
    }

    /// A unit file; `web` is `web.toml`. `@probe@` and `@dir@` stand for the paths.
    pub fn unit(mut self, name: &str, text: &str) -> Rinit {
        let name = if name.contains('.') { name.to_string() } else { format!("{name}.toml") };
        let units = self.units_directory();
        std::fs::create_dir_all(&units).unwrap();
        std::fs::write(units.join(name), self.substitute(text)).unwrap();
        self.units = true;
        self
    }

    /// A unit of one ExecStart with the probe's actions, and further lines of `[Service]`.
    pub fn service(self, name: &str, actions: &str, lines: &str) -> Rinit {
        let text = format!("[Service]\nExecStart = \"@probe@ {actions}\"\n{lines}\n");
        self.unit(name, &text)
    }

    /// A units directory that exists although no unit was written.
    pub fn empty_units(mut self) -> Rinit {
        std::fs::create_dir_all(self.units_directory()).unwrap();
        self.units = true;
        self
    }

    /// Options of rinit, before any `--`.
    pub fn options(mut self, options: &[&str]) -> Rinit {
        let options = options.iter().map(|option| self.substitute(option)).collect::<Vec<_>>();
        self.options.extend(options);
        self
    }

    /// `-- COMMAND`.
    pub fn command(mut self, words: &[&str]) -> Rinit {
        self.command = Some(words.iter().map(|word| self.substitute(word)).collect());
        self
    }

    /// `-- probe ACTION…`.
    pub fn command_probe(self, actions: &str) -> Rinit {
        let words: Vec<&str> = std::iter::once("@probe@").chain(actions.split(' ')).collect();
        self.command(&words)
    }

    /// Steps of `probe launch`: what rinit inherits.
    pub fn launch(mut self, steps: &[&str]) -> Rinit {
        let steps = steps.iter().map(|step| self.substitute(step)).collect::<Vec<_>>();
        self.launch.extend(steps);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Rinit {
        self.environment.push((name.into(), self.substitute(value).into()));
        self
    }

    /// No log options: rinit as a person starts it.
    pub fn plain(mut self) -> Rinit {
        self.plain = true;
        self
    }

    /// stdin is a pipe that the test writes to.
    pub fn piped_stdin(mut self) -> Rinit {
        self.stdin = Stdio::piped();
        self
    }

    /// Nobody reads stdout, and it stays open.
    pub fn unread_stdout(mut self) -> Rinit {
        self.unread = true;
        self
    }

    /// All three streams are a terminal, rinit's controlling one, as `docker run -it`.
    pub fn terminal(mut self) -> (Rinit, Terminal) {
        let (terminal, inner) = Terminal::open();
        self.terminal = Some(inner);
        (self.launch(&["--terminal", "0"]), terminal)
    }

    /// The test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn units_directory(&self) -> PathBuf {
        self.path("units")
    }

    /// For tests that write unit files themselves.
    pub fn substitute(&self, text: &str) -> String {
        let directory = self.directory.path().to_str().unwrap();
        text.replace("@probe@", probe()).replace("@dir@", directory)
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.start().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn start(mut self) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let marker = format!("{}-{count}", std::process::id());
        let (report, report_writer) = std::io::pipe().unwrap();
        let mut command = Command::new(probe());
        command.args(["launch", "--report", &report_writer.as_raw_fd().to_string()]);
        command.args(&self.launch).arg("--").arg(&self.program).args(self.arguments());
        command.env("RINIT_SOCKET", "none").env("RINIT_TEST", &marker).env_remove("RUST_LOG");
        command.envs(self.environment.drain(..)).current_dir(self.directory.path());
        match self.terminal.take() {
            None => command.stdin(self.stdin).stdout(Stdio::piped()).stderr(Stdio::piped()),
            Some(terminal) => {
                let again = || Stdio::from(terminal.try_clone().unwrap());
                command.stdin(again()).stdout(again()).stderr(Stdio::from(terminal))
            }
        };
        let unread = self.unread.then(|| std::io::pipe().unwrap());
        let unread = unread.map(|(reader, writer)| {
            command.stdout(writer);
            reader
        });
        let fd = report_writer.as_raw_fd();
        // SAFETY: fcntl(2) and signal(2) are async-signal-safe, and the fd is open until the spawn
        // is done.
        unsafe {
            command.pre_exec(move || {
                libc::fcntl(fd, libc::F_SETFD, 0);
                // Under nohup(1) SIGHUP is ignored, and some peers of rinit leave it so.
                for signal in 1..=64 {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            })
        };
        let launcher = command.spawn().unwrap();
        drop(command);
        drop(report_writer);
        Running::new(launcher, report, unread, self.directory, marker)
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.units {
            arguments.extend(["--units".to_string(), self.substitute("@dir@/units")]);
        }
        if !self.plain {
            let log = ["--log-format", "json", "--log-level", "debug"];
            arguments.extend(log.map(str::to_string));
        }
        arguments.extend(self.options.iter().cloned());
        if let Some(command) = &self.command {
            arguments.push("--".to_string());
            arguments.extend(command.iter().cloned());
        }
        arguments
    }
}
