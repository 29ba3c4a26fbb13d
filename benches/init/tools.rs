//! Our own C programs, compiled for this run into a directory that goes away with it, and rinit as it is
//! when it is installed.

use std::cell::Cell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::gap::Gap;

/// Without a C library: nothing runs that is not in the source, and an exec costs as little as it can.
const BARE: [&str; 5] = [
    "-nostdlib",
    "-ffreestanding",
    "-fno-stack-protector",
    "-Wl,--build-id=none",
    "-Wl,-z,noseparate-code",
];

/// On arm64 gcc calls a C library for an atomic addition unless told not to.
const ARCHITECTURE: &[&str] =
    if cfg!(target_arch = "aarch64") { &["-mno-outline-atomics"] } else { &[] };

/// The compiled programs and a place for what a run writes.
pub struct Tools {
    dir: TempDir,
    installed: TempDir,
    rooms: Cell<usize>,
}

impl Tools {
    /// Compiles everything.
    pub fn build() -> Result<Self, Gap> {
        let installed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let installed = installed.map_err(Gap::io(env!("CARGO_TARGET_TMPDIR")))?;
        let tools = Self { dir: work_dir()?, installed, rooms: Cell::new(0) };
        fs::copy(env!("CARGO_BIN_EXE_rinit"), tools.rinit()).map_err(Gap::io("a copy of rinit"))?;
        tools.compile("ideal", &BARE)?;
        tools.compile("payload", &BARE)?;
        tools.compile("cell", &[])?;
        Ok(tools)
    }

    /// The least that an init can do.
    pub fn ideal(&self) -> PathBuf {
        self.dir.path().join("ideal")
    }

    /// A copy of rinit, on a disk as its peers are: how the page cache holds what a linker has written is
    /// a fifth of its start, and nothing that its users have.
    pub fn rinit(&self) -> PathBuf {
        self.installed.path().join("rinit")
    }

    /// The app that every init runs.
    pub fn payload(&self) -> PathBuf {
        self.dir.path().join("payload")
    }

    /// Runs a command as PID 1 of fresh namespaces.
    pub fn cell(&self) -> PathBuf {
        self.dir.path().join("cell")
    }

    /// A new empty directory. Its name is short: a socket's address must fit.
    pub fn room(&self) -> Result<PathBuf, Gap> {
        self.rooms.set(self.rooms.get() + 1);
        let dir = self.dir.path().join(format!("r{}", self.rooms.get()));
        fs::create_dir(&dir).map_err(Gap::io(dir.display()))?;
        Ok(dir)
    }

    fn compile(&self, name: &str, flags: &[&str]) -> Result<(), Gap> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/init/{name}.c"));
        let status = Command::new("cc")
            .args(["-O2", "-static", "-Wall", "-Wextra", "-o"])
            .arg(self.dir.path().join(name))
            .args(flags)
            .args(ARCHITECTURE)
            .arg(source)
            .status()
            .map_err(Gap::io("cc, the C compiler"))?;
        status.success().then_some(()).ok_or_else(|| Gap::Harness(format!("cc {name}.c: {status}")))
    }
}

/// On a tmpfs where there is one: a disk's file system would be measured as well.
fn work_dir() -> Result<TempDir, Gap> {
    let here = |dir: &Path| tempfile::Builder::new().prefix("rinit-bench-").tempdir_in(dir);
    let places = [PathBuf::from("/dev/shm"), env::temp_dir(), env!("CARGO_TARGET_TMPDIR").into()];
    let mut usable =
        places.iter().filter_map(|place| here(place).ok()).filter(|d| may_exec(d.path()));
    usable.next().ok_or_else(|| Gap::Harness(format!("no place for programs among {places:?}")))
}

/// A container's /dev/shm is often mounted noexec.
fn may_exec(dir: &Path) -> bool {
    let copy = dir.join("probe");
    let probed = fs::copy("/proc/self/exe", &copy)
        .and_then(|_| Command::new(&copy).arg("--help").output())
        .is_ok_and(|output| output.status.success());
    fs::remove_file(&copy).is_ok() && probed
}
