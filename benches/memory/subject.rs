//! One rinit with one unit, which has a limit that the watchdog keeps.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Dropped, it is stopped.
pub struct Subject {
    rinit: Child,
    lines: BufReader<ChildStderr>,
    room: TempDir,
    http: SocketAddr,
    stands: bool,
}

impl Subject {
    /// This program as the unit's, with these arguments; a limit of `u64::MAX` is none.
    pub fn start(arguments: &str, limit: u64) -> Result<Subject, String> {
        let room = tempfile::tempdir().map_err(|error| format!("a directory: {error}"))?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let limit =
            if limit == u64::MAX { String::new() } else { format!("MemoryMax = {limit}\n") };
        let text = format!(
            "[Unit]\nStartLimitIntervalSec = 0\n[Service]\nExecStart = \"{} {arguments}\"\n\
             Restart = \"always\"\nRestartSec = \"1ms\"\nMemoryEnforce = \"watchdog\"\n\
             RestartMaxDelaySec = \"1ms\"\nEnvironment = \"BENCH_READY={}\"\n{limit}",
            this.display(),
            room.path().join("ready").display(),
        );
        fs::write(room.path().join("load.toml"), text).map_err(|error| error.to_string())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rinit"));
        command.arg("--units").arg(room.path()).args(["--log-format", "json", "--socket", "none"]);
        let http = free_address().map_err(|error| format!("a port: {error}"))?;
        command.arg("--http").arg(http.to_string());
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut rinit = spawned.map_err(|error| format!("rinit: {error}"))?;
        let stderr = rinit.stderr.take().ok_or("no stderr")?;
        let stands = arguments.starts_with("stand");
        Ok(Subject { rinit, lines: BufReader::new(stderr), room, http, stands })
    }

    /// What the unit had when it was next found to be over its limit, in bytes.
    pub fn wait_peak(&mut self) -> Result<u64, String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event.get("event").is_some_and(|kind| kind == "oom-kill") {
                let peak = event.get("peak").and_then(serde_json::Value::as_u64);
                return peak.ok_or_else(|| format!("no peak in {line}"));
            }
            line.clear();
        }
        Err("rinit has ended".to_owned())
    }

    /// What the unit has, in bytes: the proportional share of each of its processes.
    pub fn measure_use(&self) -> Result<u64, String> {
        self.wait_ready()?;
        let mut sum = 0;
        for pid in self.processes() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            for name in ["Pss_Anon:", "Pss_Shmem:"] {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
                sum += size.and_then(|size| size.parse::<u64>().ok()).unwrap_or(0) * 1024;
            }
        }
        Ok(sum)
    }

    /// What part of a processor rinit uses while nothing happens.
    pub fn measure_cost(&self, span: Duration) -> Result<f64, String> {
        self.wait_ready()?;
        std::thread::sleep(Duration::from_secs(1));
        let before = self.processor_time()?;
        std::thread::sleep(span);
        let used = self.processor_time()?.saturating_sub(before);
        Ok(used.as_secs_f64() / span.as_secs_f64())
    }

    /// The longest turn of the loop since its start, waits not counted, as `/metrics` has it.
    pub fn longest_turn(&self) -> Result<Duration, String> {
        let ask = || {
            let mut stream = TcpStream::connect(self.http)?;
            stream.write_all(
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        let answer = ask().map_err(|error: std::io::Error| format!("/metrics: {error}"))?;
        let name = "rinit_loop_longest_turn_seconds ";
        let seconds = answer.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("no {name}in {answer}"))
    }

    fn wait_ready(&self) -> Result<(), String> {
        let begin = Instant::now();
        while self.stands && !self.ready().exists() {
            if begin.elapsed() > PATIENCE {
                return Err("the unit did not come up".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn ready(&self) -> PathBuf {
        self.room.path().join("ready")
    }

    /// Everybody whose environment names our directory, but rinit itself has none of it.
    fn processes(&self) -> Vec<u32> {
        let mark = format!("BENCH_READY={}", self.ready().display()).into_bytes();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            text.split(|byte| *byte == 0).any(|variable| variable == mark)
        };
        pids.filter(ours).collect()
    }

    /// In nanoseconds, unlike what stat has: the first number of schedstat (proc(5)).
    fn processor_time(&self) -> Result<Duration, String> {
        let path = format!("/proc/{}/schedstat", self.rinit.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let time = text.split_ascii_whitespace().next().and_then(|number| number.parse().ok());
        time.map(Duration::from_nanos).ok_or_else(|| format!("{path}: {text}"))
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

impl Drop for Subject {
    fn drop(&mut self) {
        // SAFETY: our own child, which has not been waited for.
        unsafe { libc::kill(self.rinit.id().cast_signed(), libc::SIGTERM) };
        let _ = self.rinit.wait();
    }
}
