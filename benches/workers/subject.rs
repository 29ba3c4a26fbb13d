//! Who is measured: four workers of the same app, by different parents.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What holds the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// rinit as PID 1, one held socket for four times `uvicorn --fd 3`.
    Rinit,
    /// The same with a socket for each worker, steered by rinit, and a probe for each.
    RinitSteered,
    /// `uvicorn --workers 4`.
    Uvicorn,
    /// gunicorn with uvicorn's worker class.
    Gunicorn,
    /// hypercorn.
    Hypercorn,
    /// granian.
    Granian,
}

/// What is asked of a subject beside four workers on an address.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// asyncio's own loop instead of uvloop.
    pub is_plain_loop: bool,
    /// rinit: starts are counted by nobody, and the backoff ends at a second.
    pub never_gives_up: bool,
    /// rinit: the unit is `uvicorn --workers 4` itself.
    pub is_one_unit: bool,
    /// rinit: the cap of each worker; the others have none.
    pub memory_max: Option<&'static str>,
    /// The app's `behaviour` when the subject starts.
    pub behaviour: String,
}

pub const WORKERS: usize = 4;

impl Subject {
    /// In the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Rinit,
        Self::RinitSteered,
        Self::Uvicorn,
        Self::Gunicorn,
        Self::Hypercorn,
        Self::Granian,
    ];

    /// As in the table and for `--subject`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rinit => "rinit",
            Self::RinitSteered => "rinit-steered",
            Self::Uvicorn => "uvicorn",
            Self::Gunicorn => "gunicorn",
            Self::Hypercorn => "hypercorn",
            Self::Granian => "granian",
        }
    }

    /// Whether it is measured without being named.
    pub fn is_usual(self) -> bool {
        matches!(self, Self::Rinit | Self::Uvicorn | Self::Gunicorn)
    }

    /// Whether it is this repository's.
    pub fn is_rinit(self) -> bool {
        matches!(self, Self::Rinit | Self::RinitSteered)
    }

    /// The file that is started.
    pub fn program(self) -> Result<PathBuf, String> {
        let app_server = if self.is_rinit() { "uvicorn" } else { self.name() };
        let server = venv_program(app_server)?;
        Ok(if self.is_rinit() { env!("CARGO_BIN_EXE_rinit").into() } else { server })
    }

    /// The command that listens on `address` and keeps its files in `room`.
    pub fn command(
        self,
        setup: &Setup,
        address: SocketAddr,
        room: &Path,
    ) -> Result<Command, String> {
        let program = self.program()?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let event_loop = if setup.is_plain_loop { "asyncio" } else { "uvloop" };
        let workers = WORKERS.to_string();
        let mut command = Command::new(&program);
        match self {
            Self::Rinit | Self::RinitSteered => {
                write_unit(self, setup, address, room)?;
                command = in_namespace(&program);
                command.arg("--units").arg(room.join("units"));
                command.arg("--socket").arg(room.join("control"));
            }
            Self::Uvicorn => {
                command.args(["workers:app", "--host", &host, "--port", &port]);
                command.args(["--workers", &workers, "--loop", event_loop]);
                command.args(["--log-level", "warning", "--no-access-log"]);
            }
            Self::Gunicorn => {
                let class = if setup.is_plain_loop {
                    "plain_loop.AsyncioWorker"
                } else {
                    "uvicorn_worker.UvicornWorker"
                };
                command.args([
                    "workers:app",
                    "-w",
                    &workers,
                    "-k",
                    class,
                    "--log-level",
                    "warning",
                ]);
                command.args(["-b", &address.to_string()]);
            }
            Self::Hypercorn => {
                command.args(["workers:app", "-w", &workers, "-b", &address.to_string()]);
                command.args(["-k", event_loop, "--log-level", "warning"]);
            }
            Self::Granian => {
                command.args(["workers:app", "--interface", "asgi", "--workers", &workers]);
                command.args(["--host", &host, "--port", &port, "--loop", event_loop]);
                command.args(["--log-level", "warning"]);
            }
        }
        Ok(command)
    }
}

/// PID 1 of a fresh user and pid namespace, as in a container.
fn in_namespace(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(program);
    command
}

fn write_unit(
    subject: Subject,
    setup: &Setup,
    address: SocketAddr,
    room: &Path,
) -> Result<(), String> {
    let text = if setup.is_one_unit { one_unit(address) } else { unit(subject, setup, address) };
    let units = room.join("units");
    let write = || {
        fs::create_dir_all(&units)?;
        fs::write(units.join("web.toml"), text)
    };
    write().map_err(|error| format!("{}: {error}", units.display()))
}

fn unit(subject: Subject, setup: &Setup, address: SocketAddr) -> String {
    let event_loop = if setup.is_plain_loop { "asyncio" } else { "uvloop" };
    let (limit, delay) = if setup.never_gives_up {
        ("[Unit]\nStartLimitIntervalSec = 0\n", "RestartMaxDelaySec = \"1s\"\n")
    } else {
        ("", "")
    };
    let cap = setup.memory_max.map(|cap| format!("MemoryMax = \"{cap}\"\n")).unwrap_or_default();
    let (ready, reuse, health) = if subject == Subject::RinitSteered {
        ("", "ReusePort = true\n", "[Health]\nHttp = \"/healthz\"\n")
    } else {
        ("ReadyOn = \"accept\"\n", "", "")
    };
    format!(
        "{limit}\
         [Service]\n\
         ExecStart = \"uvicorn workers:app --fd 3 --loop {event_loop} --log-level warning --no-access-log\"\n\
         Instances = {WORKERS}\n\
         Restart = \"always\"\n\
         {delay}{ready}{cap}\
         RollingUpdate = {{ MonitorSec = \"1s\" }}\n\
         [Socket]\n\
         ListenStream = \"{address}\"\n\
         DeferAcceptSec = \"5s\"\n\
         {reuse}{health}"
    )
}

/// The manager that is replaced, as a unit.
fn one_unit(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "[Service]\n\
         ExecStart = \"uvicorn workers:app --host {host} --port {port} --workers {WORKERS} --log-level warning\"\n\
         Restart = \"always\"\n"
    )
}

/// Where `integration/setup.sh` installs the servers.
pub fn venv() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fastapi-venv/bin")
}

fn venv_program(name: &str) -> Result<PathBuf, String> {
    let file = venv().join(name);
    if file.is_file() { Ok(file) } else { Err(format!("{name} is not in {}", venv().display())) }
}

/// A program of $PATH, where it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
