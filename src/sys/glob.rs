//! Path patterns (glob(7)): `*`, `?`, `[a-z]`, `[!a]` and `\`, byte by byte.
//!
//! Not what the files hold. Not libc's glob(3): it knows `~`, and so brings the whole of name
//! services into a static binary, 200 KB. Without classes like `[:alpha:]`.
//! **Invariant:** a path without a pattern matches itself if it exists; a wildcard matches no dot
//! at the start of a name and no slash.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The paths that match, in byte order; none where the pattern holds a NUL byte.
pub fn matches(pattern: &str) -> Vec<PathBuf> {
    if pattern.is_empty() || pattern.contains('\0') {
        return Vec::new();
    }
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut found = vec![PathBuf::from(root)];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let part = part.as_bytes();
        found = if part.iter().any(|byte| b"*?[\\".contains(byte)) {
            found.iter().flat_map(|directory| entries(directory, part)).collect()
        } else {
            found.into_iter().map(|path| path.join(OsStr::from_bytes(part))).collect()
        };
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    if pattern.ends_with('/') {
        found.retain(|path| path.is_dir());
    }
    found.sort();
    found
}

fn entries(directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().into_vec()));
    let hidden = |name: &[u8]| name.starts_with(b".") && !pattern.starts_with(b".");
    let fitting = names.filter(|name| !hidden(name) && fits(pattern, name));
    fitting.map(|name| directory.join(OsString::from_vec(name))).collect()
}

/// Whether a name fits. The last `*` takes one byte more whenever the rest does not fit.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, name);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(after) = rest.strip_prefix(b"*") {
            star = Some((after, left));
            rest = after;
            continue;
        }
        let next = match left.split_first() {
            Some((byte, tail)) => one(rest, *byte).map(|after| (after, tail)),
            None if rest.is_empty() => return true,
            None => return false,
        };
        if let Some(next) = next {
            (rest, left) = next;
            continue;
        }
        let Some((after, from)) = star else { return false };
        let Some((_, from)) = from.split_first() else { return false };
        star = Some((after, from));
        (rest, left) = (after, from);
    }
}

/// What is left of the pattern if its first element, no `*`, takes `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (first, rest) = pattern.split_first()?;
    match (first, rest.split_first()) {
        (b'?', _) => Some(rest),
        (b'[', Some(_)) => match bracket(rest, byte) {
            Some((taken, after)) => taken.then_some(after),
            None => (byte == b'[').then_some(rest), // it has no end: it is itself
        },
        (b'\\', Some((literal, after))) => (*literal == byte).then_some(after),
        (literal, _) => (*literal == byte).then_some(rest),
    }
}

/// Whether the set, whose `[` has been read, holds `byte`; and what follows its `]`.
fn bracket(set: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let mut rest = set.get(usize::from(negated)..)?;
    let mut found = false;
    let mut first = true;
    loop {
        let (low, tail) = rest.split_first()?;
        if *low == b']' && !first {
            return Some((found != negated, tail));
        }
        first = false;
        (found, rest) = match tail {
            [b'-', high, after @ ..] if *high != b']' => {
                (found || (*low..=*high).contains(&byte), after)
            }
            _ => (found || *low == byte, tail),
        };
    }
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
        let within = format!("{}/[a-b]*.env", dir.path().to_str().unwrap().replace("tmp", "t?p"));
        assert_eq!(matches(&within), [at("a.env"), at("b.env")]);
        assert_eq!(found("*.env/"), Vec::<PathBuf>::new(), "no directories");
    }

    #[test]
    fn names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.env", ".env", true),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a]", "b", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("abc", "abcd", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
