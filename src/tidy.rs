//! What no compiler checks: the layers, the documentation of modules, the size of files.
//!
//! Reads `src/` as text. **Invariant:** each rule of the house that can be read from the
//! text is a test here, so that it need not be remembered.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code a file may have, its tests not counted.
const LINES_MAX: usize = 700;

/// Which layers a layer may use beside itself (design: Architecture). Test layers are free.
const LAYERS: [(&str, &[&str]); 9] = [
    ("unit", &[]),
    ("manager", &["unit"]),
    // sys knows names of what it does from unit, and nothing of manager.
    ("sys", &["unit"]),
    ("control", &["manager", "unit"]),
    ("journal", &["sys", "unit"]),
    ("init", &["cli", "control", "journal", "manager", "sys", "unit"]),
    ("cli", &["control", "init", "journal", "manager", "sys", "unit"]),
    ("bin", &["cli", "init"]),
    ("sim", &["manager", "unit"]),
];

/// Modules without I/O, clock or unsafe: everything here but what is named after it.
const PURE: [(&str, &str); 3] = [("unit", "unit/load"), ("manager", ""), ("sim", "")];

struct File {
    /// Below `src/`.
    path: String,
    text: String,
}

impl File {
    /// The first part of the path: its layer, or the file itself for `lib.rs`.
    fn layer(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or("");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// What is compiled without `cfg(test)`.
    fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("")
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or("");
        name == "tests.rs" || name.ends_with("_tests.rs") || name == "tidy.rs"
    }
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let file = |path: &PathBuf| File {
        path: path.strip_prefix(&root).unwrap().display().to_string(),
        text: fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(file).collect()
}

fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// The modules of the crate's root that a text names: `crate::x`, also in `use crate::{x, y}`.
fn roots(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for rest in line.split("crate::").skip(1) {
            let names = rest.strip_prefix('{').map_or(rest, |list| list);
            let several = if rest.starts_with('{') { usize::MAX } else { 1 };
            for name in names.split(',').take(several) {
                let name = name.trim();
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = name.get(..end.unwrap_or(name.len())).unwrap_or("");
                if !name.is_empty() && name.starts_with(|c: char| c.is_ascii_lowercase()) {
                    found.push(name.to_string());
                }
            }
        }
    }
    found
}

#[test]
fn layers_are_followed_down_only() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !file.is_test()) {
        let layer = file.layer();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            assert!(layer == "lib" || layer == "tidy", "{} is in no layer", file.path);
            continue;
        };
        for root in roots(file.code()) {
            let known = LAYERS.iter().any(|(name, _)| *name == root);
            if known && root != layer && !allowed.contains(&root.as_str()) {
                wrong.push(format!("{}: {layer} may not use {root}", file.path));
            }
        }
    }
    assert_none("layers", wrong);
}

#[test]
fn roots_are_found() {
    assert_eq!(roots("use crate::unit::x;\nlet a = crate::sys::y();"), ["unit", "sys"]);
    assert_eq!(roots("use crate::{cli, init::x};"), ["cli", "init"]);
    assert!(roots("// crate::sys is not for us\nuse super::x;").is_empty());
}

#[test]
fn modules_say_what_they_are() {
    let silent = |file: &&File| !file.text.starts_with("//! ");
    let found = files().iter().filter(silent).map(|file| file.path.clone()).collect();
    assert_none("files that do not open with //!", found);
}

#[test]
fn pure_modules_forbid_the_world() {
    let lines = ["#![forbid(unsafe_code)]", "#![deny(clippy::disallowed_methods)]"];
    let said = |file: &File| lines.iter().all(|line| file.text.contains(line));
    let all = files();
    let mut found = Vec::new();
    for file in all.iter().filter(|file| !file.is_test()) {
        let pure = |(layer, except): &(&str, &str)| {
            file.layer() == *layer && (except.is_empty() || !file.path.starts_with(except))
        };
        // An attribute of a layer's mod.rs holds for the modules in it.
        let above = format!("{}/mod.rs", file.layer());
        let above = all.iter().find(|other| other.path == above);
        if PURE.iter().any(pure) && !said(file) && !above.is_some_and(said) {
            found.push(file.path.clone());
        }
    }
    assert_none("pure modules without forbid(unsafe_code) and deny(disallowed_methods)", found);
}

#[test]
fn unsafe_is_in_sys_only() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !file.is_test() && file.layer() != "sys") {
        let unsafe_line = |line: &&str| {
            let line = line.trim_start();
            !line.starts_with("//") && (line.contains("unsafe {") || line.contains("unsafe fn"))
        };
        if file.code().lines().any(|line| unsafe_line(&line)) {
            found.push(file.path.clone());
        }
    }
    assert_none("unsafe outside of sys", found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !file.is_test()) {
        let lines = file.code().lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines", file.path));
        }
    }
    assert_none("files of more than 700 lines", found);
}

#[test]
fn no_test_is_put_aside() {
    let words = ["ignore", "should_panic"].map(|word| format!("#[{word}"));
    let mut found = Vec::new();
    for file in files().into_iter().filter(|file| file.path != "tidy.rs") {
        if words.iter().any(|word| file.text.contains(word.as_str())) {
            found.push(file.path);
        }
    }
    assert_none("tests with #[ignore] or #[should_panic]", found);
}
