//! Path patterns (glob(3)).
//!
//! Not what the files hold. **Invariant:** a path without a pattern matches itself if it exists.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The paths that match, in byte order; none where the pattern holds a NUL byte.
pub fn matches(pattern: &str) -> Vec<PathBuf> {
    let Ok(pattern) = CString::new(pattern) else { return Vec::new() };
    // SAFETY: a `glob_t` is numbers and pointers; all zeroes is an empty one.
    let mut found: libc::glob_t = unsafe { std::mem::zeroed() };
    // SAFETY: a C string, no callback, and a valid place for the result.
    let done = unsafe { libc::glob(pattern.as_ptr(), 0, None, &raw mut found) };
    let mut paths = Vec::new();
    if done == 0 {
        for index in 0..found.gl_pathc {
            // SAFETY: glob filled `gl_pathv` with `gl_pathc` C strings.
            let path = unsafe { CStr::from_ptr(*found.gl_pathv.add(index)) };
            paths.push(PathBuf::from(OsStr::from_bytes(path.to_bytes())));
        }
    }
    // SAFETY: `found` was given to glob, which is all that globfree asks.
    unsafe { libc::globfree(&raw mut found) };
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_plain_paths() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.env", "a.env", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let found = |name: &str| matches(at(name).to_str().unwrap());
        assert_eq!(found("*.env"), [at("a.env"), at("b.env")]);
        assert_eq!(found("c.txt"), [at("c.txt")]);
        assert_eq!(found("nope"), Vec::<PathBuf>::new());
        assert_eq!(matches("/\0"), Vec::<PathBuf>::new());
    }
}
