//! Which Docker daemon the tests talk to: one that answers already, or a private one of their own.
//!
//! The private daemon lives as long as this test process and no longer, however that ends: a normal
//! end stops it and waits; a killed test process takes it along by its parent-death signal. Its
//! images stay below `target/`, so the next run is quick. A lock that the daemon itself holds keeps
//! a second test process waiting until the first one's daemon is gone.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::tools;

/// How long the daemon of another test process may keep the lock.
const LOCK_DEADLINE: Duration = Duration::from_secs(20 * 60);
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// The value of `DOCKER_HOST` for the daemon to use; `None` leaves the client's own choice.
pub type Host = Option<String>;

/// The daemon, started by the first test that asks; the reason where there can be none.
pub fn host() -> Result<Host, String> {
    static HOST: OnceLock<Result<Host, String>> = OnceLock::new();
    HOST.get_or_init(|| {
        tools::program("docker")?;
        if answers() { Ok(None) } else { start_private().map(Some) }
    })
    .clone()
}

fn answers() -> bool {
    let ping = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ping.is_ok_and(|status| status.success())
}

/// A daemon of our own, and the short-lived files it needs.
struct Private {
    process: Child,
    /// Sockets have short paths or none: they cannot be below a deep `target/`.
    run: TempDir,
}

static PRIVATE: Mutex<Option<Private>> = Mutex::new(None);

fn start_private() -> Result<String, String> {
    for needed in ["dockerd", "setpriv", "flock", "unshare"] {
        tools::program(needed)?;
    }
    if !geteuid().is_root() {
        return Err("no Docker daemon answers, and only root can start one".to_owned());
    }
    // The mounts of containers stay in the daemon's own mount namespace and vanish with it.
    let cache = cache().map_err(|error| format!("the image cache: {error}"))?;
    let run = tempfile::Builder::new().prefix("rinit-docker.").tempdir();
    let run = run.map_err(|error| format!("a directory for dockerd: {error}"))?;
    let ready = run.path().join("ready");
    let notify = UnixDatagram::bind(&ready).map_err(|error| format!("bind: {error}"))?;
    let socket = format!("unix://{}", run.path().join("docker.sock").display());

    let process = spawn(command(&cache, run.path(), &socket, &ready)?)?;
    let mut private = Private { process, run };
    let started = wait_until_ready(&notify, &mut private.process, &cache);
    *PRIVATE.lock().unwrap_or_else(PoisonError::into_inner) = Some(private);
    // SAFETY: `stop_at_exit` is a plain function without arguments, and stays valid to the end.
    unsafe { libc::atexit(stop_at_exit) };
    started?;
    forget_earlier_runs(&socket);
    Ok(socket)
}

/// Each run makes its images anew, and a killed one leaves containers: they would fill the disk.
/// Images without a label stay: Debian, and the build cache that makes the next build quick.
fn forget_earlier_runs(socket: &str) {
    for what in [
        &["container", "prune", "--force"][..],
        &["image", "prune", "--force", "--filter", "label=rinit-test"],
    ] {
        let mut prune = Command::new("docker");
        prune.args(what).env("DOCKER_HOST", socket).stdin(Stdio::null()).stdout(Stdio::null());
        // A full disk shows itself soon enough.
        let _ = prune.status();
    }
}

fn cache() -> std::io::Result<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

fn command(cache: &Path, run: &Path, socket: &str, ready: &Path) -> Result<Command, String> {
    let log = fs::File::create(run.join("log")).map_err(|error| format!("its log: {error}"))?;
    let log_too = log.try_clone().map_err(|error| format!("its log: {error}"))?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM"])
        // Without a fork: the lock passes to the daemon and all its helpers, and is free when the
        // last of them is gone.
        .args(["flock", "--no-fork", "--wait", &LOCK_DEADLINE.as_secs().to_string()])
        .arg(cache.join("lock"))
        .args(["unshare", "--mount", "dockerd"])
        // No network is needed inside, and none of the machine's rules may be changed. The storage
        // driver is the daemon's choice: overlay2 where it works, vfs elsewhere, which is slow.
        .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
        .arg("--data-root")
        .arg(cache.join("data"))
        .arg("--exec-root")
        .arg(run.join("exec"))
        .arg("--pidfile")
        .arg(run.join("pid"))
        .args(["--host", socket])
        .env("NOTIFY_SOCKET", ready)
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too);
    Ok(command)
}

/// Starts the daemon from a thread that never ends: a parent-death signal is sent when the
/// *thread* that made the child ends, and a test's thread ends with its test.
fn spawn(mut command: Command) -> Result<Child, String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(command.spawn());
        loop {
            thread::park();
        }
    });
    let child = receiver.recv().map_err(|error| format!("start dockerd: {error}"))?;
    child.map_err(|error| format!("start dockerd: {error}"))
}

/// Waits for dockerd's own word, READY=1 as systemd has it, or for its end.
fn wait_until_ready(
    notify: &UnixDatagram,
    process: &mut Child,
    cache: &Path,
) -> Result<(), String> {
    let deadline = Instant::now() + LOCK_DEADLINE + STOP_DEADLINE;
    let mut message = [0; 4096];
    let poll = notify.set_read_timeout(Some(Duration::from_millis(200)));
    poll.map_err(|error| format!("the notify socket: {error}"))?;
    while Instant::now() < deadline {
        let count = notify.recv(&mut message).unwrap_or(0);
        let text = String::from_utf8_lossy(message.get(..count).unwrap_or_default());
        if text.lines().any(|line| line == "READY=1") {
            return Ok(());
        }
        if let Ok(Some(status)) = process.try_wait() {
            return Err(format!(
                "dockerd does not start ({status}); its data: {}",
                cache.display()
            ));
        }
    }
    Err("dockerd was not ready within the deadline".to_owned())
}

extern "C" fn stop_at_exit() {
    let private = PRIVATE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Private { mut process, run }) = private else { return };
    let pid = Pid::from_raw(process.id().cast_signed());
    let _ = kill(pid, Signal::SIGTERM);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(process.wait()));
    if receiver.recv_timeout(STOP_DEADLINE).is_err() {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = receiver.recv_timeout(STOP_DEADLINE);
    }
    drop(run);
}

/// The last lines of the private daemon's log, for a message.
pub fn log_tail() -> String {
    let private = PRIVATE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(private) = private.as_ref() else { return String::new() };
    let mut log = String::new();
    let file = fs::File::open(private.run.path().join("log"));
    let _ = file.and_then(|mut file| file.read_to_string(&mut log));
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
