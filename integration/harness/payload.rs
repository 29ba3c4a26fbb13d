//! The probe: where it is, and its reports read back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The rinit that cargo built for this test.
pub fn rinit_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rinit"))
}

/// The probe's path.
pub fn probe() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| example("probe").to_str().unwrap().to_string())
}

/// The path of a program in `integration/apps`. `cargo test` builds examples; `cargo test --test
/// integration` does not, so what is missing or older than its source is built here.
pub fn example(name: &str) -> PathBuf {
    let directory = rinit_binary().parent().unwrap();
    let path = directory.join("examples").join(name);
    if !is_fresh(&path, name) {
        build_example(directory, name);
    }
    path
}

fn is_fresh(path: &Path, name: &str) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/apps");
    let modules = std::fs::read_dir(apps.join(name)).into_iter().flatten().flatten();
    let main = apps.join(name).with_extension("rs");
    let newest = modules.map(|entry| entry.path()).chain([main]).filter_map(|p| modified(&p)).max();
    modified(path) >= newest
}

fn build_example(directory: &Path, name: &str) {
    // target/<triple>/<profile>: the directory says which profile this test was built in.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let target: PathBuf = directory.ancestors().nth(2).unwrap().to_path_buf();
    assert!(cargo.arg("--target-dir").arg(target).status().unwrap().success(), "{name} must build");
}

/// One `report` of the probe.
#[derive(Debug)]
pub struct Report(pub Value);

impl Report {
    pub fn parse(line: &str) -> Option<Report> {
        line.starts_with("{\"argv\"").then(|| Report(serde_json::from_str(line).unwrap()))
    }

    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("no text {key} in {}", self.0))
    }

    pub fn number(&self, key: &str) -> i64 {
        self.0[key].as_i64().unwrap_or_else(|| panic!("no number {key} in {}", self.0))
    }

    /// A signal mask of `/proc/self/status`.
    pub fn mask(&self, key: &str) -> u64 {
        u64::from_str_radix(self.text(key), 16).unwrap()
    }

    pub fn env(&self, name: &str) -> Option<&str> {
        self.0["env"][name].as_str()
    }

    /// The numbers of the open fds.
    pub fn fds(&self) -> Vec<i32> {
        let fds = self.0["fds"].as_object().unwrap();
        let mut numbers: Vec<i32> = fds.keys().map(|fd| fd.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn fd(&self, number: i32) -> &str {
        self.0["fds"][number.to_string()].as_str().unwrap_or("(closed)")
    }

    /// Soft and hard, as in `limit("Max open files")`.
    pub fn limit(&self, name: &str) -> (&str, &str) {
        let limit = &self.0["limits"][name];
        (limit[0].as_str().unwrap(), limit[1].as_str().unwrap())
    }
}
