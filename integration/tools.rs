//! What a test needs from the machine: found, or the test is skipped with a line that says so.
//!
//! Not an installer: `integration/setup.sh` installs.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

/// Gives what was needed, or says what is missing: the caller returns at `None`.
///
/// `RINIT_TEST_REQUIRE=all` turns every skip into a failure, so that a machine which is meant to
/// run everything cannot quietly run less.
pub fn need<T>(found: Result<T, impl Display>) -> Option<T> {
    let missing = match found {
        Ok(found) => return Some(found),
        Err(missing) => missing,
    };
    let current = thread::current();
    let test = current.name().unwrap_or("test");
    if env::var_os("RINIT_TEST_REQUIRE").is_some_and(|required| required == "all") {
        panic!("{test}: {missing}, and RINIT_TEST_REQUIRE=all");
    }
    // Written past the test runner's capture: a skip that nobody sees is a test that nobody has.
    let _ = writeln!(io::stderr(), "{test}: skipped: {missing} (see integration/setup.sh)");
    None
}

/// The path of a program that `$PATH` has.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{name} is not installed"))
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
