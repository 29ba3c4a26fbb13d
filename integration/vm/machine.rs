//! One virtual machine: packed, booted, read to its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::payload;
use crate::tools;

/// From power-on to power-off; a boot takes some seconds on an idle machine.
const DEADLINE: Duration = Duration::from_secs(240);

/// One machine at a time: each takes a processor for itself.
static TURN: Mutex<()> = Mutex::new(());

/// What a machine is made of, before it is switched on.
pub struct Blueprint {
    root: TempDir,
    kernel: PathBuf,
    memory: u32,
    arguments: String,
}

impl Blueprint {
    /// rinit as `/init`, rinitctl, the programs of `integration/apps`, busybox; no units yet.
    pub fn new() -> Result<Blueprint, String> {
        tools::program("qemu-system-x86_64")?;
        tools::program("cpio")?;
        tools::program("strip")?;
        let busybox = tools::program("busybox")?;
        let kernel = kernel()?;
        let root = tempfile::tempdir().expect("a directory for the initramfs");
        for directory in ["bin", "sbin", "etc/rinit", "tmp"] {
            fs::create_dir_all(root.path().join(directory)).expect("make a directory");
        }
        // Debugging information would not fit into the machine.
        let program = |from: &Path, to: &str| {
            let mut strip = Command::new("strip");
            strip.arg("-o").arg(root.path().join(to)).arg(from);
            assert!(strip.status().expect("strip runs").success(), "strip {from:?}");
        };
        program(payload::rinit_binary(), "init");
        program(Path::new(env!("CARGO_BIN_EXE_rinitctl")), "bin/rinitctl");
        program(&payload::example("demo-server"), "bin/demo-server");
        program(&payload::example("probe"), "bin/probe");
        program(&busybox, "bin/busybox");
        let listed = Command::new(&busybox).arg("--list").output().expect("busybox runs");
        for applet in String::from_utf8_lossy(&listed.stdout).lines() {
            let _ = symlink("busybox", root.path().join("bin").join(applet));
        }
        Ok(Blueprint { root, kernel, memory: 256, arguments: String::new() })
    }

    /// A file in the machine.
    pub fn file(self, path: &str, text: &str) -> Blueprint {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, text).expect("write a file");
        self
    }

    /// A unit of the machine.
    pub fn unit(self, name: &str, text: &str) -> Blueprint {
        self.file(&format!("etc/rinit/{name}.toml"), text)
    }

    /// Words for rinit, after `--` on the kernel's command line.
    pub fn arguments(mut self, words: &str) -> Blueprint {
        self.arguments = words.to_owned();
        self
    }

    /// Switches it on.
    pub fn boot(self) -> Machine {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let initramfs = self.root.path().with_extension("cpio");
        pack(self.root.path(), &initramfs);
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-nographic", "-nodefaults", "-no-reboot"]);
        qemu.args(["-m", &self.memory.to_string(), "-serial", "stdio"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&initramfs);
        let line = format!("console=ttyS0 loglevel=4 panic=-1 -- {}", self.arguments);
        qemu.args(["-append", &line]);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut qemu = qemu.spawn().expect("qemu starts");
        let (sender, lines) = channel();
        let output = qemu.stdout.take().expect("a pipe");
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { return };
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let until = Instant::now() + DEADLINE;
        Machine { qemu, lines, seen: Vec::new(), until, initramfs, _turn: turn }
    }
}

/// A machine that runs.
pub struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    until: Instant,
    initramfs: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// Waits until it is off, and gives the whole console.
    pub fn off(mut self) -> String {
        while let Ok(line) = {
            let left = self.until.saturating_duration_since(Instant::now());
            self.lines.recv_timeout(left)
        } {
            self.seen.push(line);
        }
        let console = self.seen.join("\n");
        let late = self.until.saturating_duration_since(Instant::now()).is_zero();
        assert!(!late, "it did not end; the console:\n{console}");
        let status = self.qemu.wait().expect("qemu ends");
        assert!(status.success(), "qemu: {status}; the console:\n{console}");
        console
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = fs::remove_file(&self.initramfs);
    }
}

/// The newest of the kernels that `integration/setup.sh` unpacked.
fn kernel() -> Result<PathBuf, String> {
    let boot = tools::repository().join("target/vm-kernel/boot");
    let files = fs::read_dir(&boot).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_kernel = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    };
    files.filter(is_kernel).max().ok_or_else(|| format!("no kernel in {}", boot.display()))
}

fn pack(root: &Path, to: &Path) {
    let script = r#"cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 > "$2""#;
    let mut shell = Command::new("sh");
    shell.args(["-euc", script, "sh"]).arg(root).arg(to);
    assert!(shell.status().expect("sh runs").success(), "cpio");
}
