//! Path patterns (glob(7)): `*`, `?`, `[a-z]`, `[!a]` and `\`, byte by byte; and, where asked for,
//! `{a,b}` (glob(3), `GLOB_BRACE`).
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

/// No pattern stands for more than this: each pair of braces multiplies.
const ALTERNATIVES_MAX: usize = 1024;

/// Whether there is a path that matches the pattern with its braces (`/etc/{a,b}.conf`) or, where
/// a brace is never closed, as it is.
pub fn exists(pattern: &str) -> bool {
    alternatives(pattern).iter().any(|pattern| !matches(pattern).is_empty())
}

/// The patterns that one with braces stands for.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut open = vec![pattern.to_string()];
    let mut closed = Vec::new();
    while let Some(pattern) = open.pop() {
        match expand_first(&pattern) {
            Some(more) if open.len() + closed.len() + more.len() <= ALTERNATIVES_MAX => {
                open.extend(more);
            }
            Some(_) | None => closed.push(pattern),
        }
    }
    closed
}

/// A pattern for each alternative of the first pair of braces, which may hold further ones.
fn expand_first(pattern: &str) -> Option<Vec<String>> {
    let mut depth = 0_usize;
    let mut ends = Vec::new(); // of the alternatives: `{`, each `,` and `}`
    let mut escaped = false;
    for (at, byte) in pattern.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => {
                depth += 1;
                if depth == 1 {
                    ends.push(at);
                }
            }
            b',' if depth == 1 => ends.push(at),
            b'}' if depth == 1 => {
                ends.push(at);
                return between(pattern, &ends);
            }
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// What stands before the first of `ends`, between two of them, and after the last, joined.
fn between(pattern: &str, ends: &[usize]) -> Option<Vec<String>> {
    let before = pattern.get(..*ends.first()?)?;
    let after = pattern.get(ends.last()? + 1..)?;
    let alternative = |pair: (&usize, &usize)| pattern.get(pair.0 + 1..*pair.1);
    let alternatives = ends.iter().zip(ends.iter().skip(1)).filter_map(alternative);
    Some(alternatives.map(|alternative| format!("{before}{alternative}{after}")).collect())
}

/// Whether a path has anything that [`matches()`] does not take literally.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '\\'])
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
    fn braces() {
        for (pattern, expected) in [
            ("a", &["a"][..]),
            ("a{b,c}d", &["abd", "acd"]),
            ("{a,b}{c,d}", &["ac", "ad", "bc", "bd"]),
            ("{a,{b,c}d}e", &["ae", "bde", "cde"]),
            ("a{b}c", &["abc"]),
            ("a{,b}", &["a", "ab"]),
            ("a{}b", &["ab"]),
            ("a{b,c", &["a{b,c"]),
            ("a}b{c,d}", &["a}bc", "a}bd"]),
            ("a\\{b,c}", &["a\\{b,c}"]),
            ("{a\\,b,c}", &["a\\,b", "c"]),
        ] {
            let mut found = alternatives(pattern);
            found.sort();
            assert_eq!(found, expected, "{pattern}");
        }
        assert!(alternatives(&"{a,b}".repeat(100)).len() <= ALTERNATIVES_MAX);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b"), "").unwrap();
        let at = |name: &str| format!("{}/{name}", dir.path().to_str().unwrap());
        assert!(exists(&at("{a,b}")) && exists(&at("{a*,?}")) && !exists(&at("{a,c}")));
        assert_eq!(matches(&at("{a,b}")), Vec::<PathBuf>::new(), "only where asked for");
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
