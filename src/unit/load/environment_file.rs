//! The files of one `EnvironmentFile=`: found, read, and what is wrong in them.
//!
//! Not their order among other variables. Load looks at them for the first time, each start
//! reads them again. **Invariant:** only a regular file of a bounded size is opened: a FIFO would
//! hold PID 1 until somebody writes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::glob;
use crate::unit::environment::parse_environment_file;
use crate::unit::service::EnvironmentFile;

/// An environment file is not larger than this, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// So many wrong lines of one file are told one by one.
const TOLD_MAX: usize = 5;

/// What the files say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// In their order; a later one wins.
    pub assignments: Vec<(OsString, OsString)>,
    /// `FILE:LINE: what is wrong, and what rinit does`. No values: they may be secret.
    pub wrong: Vec<String>,
}

/// Why there are no contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// errno(3), or the nearest to it.
    pub errno: i32,
    /// A sentence without a full stop, to follow the name and a colon.
    pub why: String,
}

/// Reads what `EnvironmentFile=` names: a file, or all that match a pattern, in byte order.
///
/// # Errors
/// One of them cannot be read, or nothing matches, unless it begins with `-`.
pub fn read(declared: &EnvironmentFile) -> Result<Contents, Unreadable> {
    let mut contents = Contents::default();
    for path in paths(&declared.path, declared.optional)? {
        match text(&path) {
            Ok(bytes) => add(&path, &bytes, &mut contents),
            Err(_) if declared.optional => (),
            Err(error) => return Err(error),
        }
    }
    Ok(contents)
}

fn paths(pattern: &str, optional: bool) -> Result<Vec<PathBuf>, Unreadable> {
    let found = glob::matches(pattern);
    if !found.is_empty() || optional {
        return Ok(found);
    }
    if glob::is_pattern(pattern) {
        return Err(unreadable(Errno::ENOENT, "no file matches this pattern"));
    }
    Ok(vec![PathBuf::from(pattern)]) // reading it tells why it is not there
}

fn text(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let metadata = fs::metadata(path).map_err(|error| of_system(&error))?;
    if metadata.is_dir() {
        return Err(unreadable(Errno::EISDIR, "it is a directory, not a file"));
    }
    if metadata.file_type().is_char_device() && metadata.rdev() == libc::makedev(1, 3) {
        return Ok(Vec::new()); // /dev/null (null(4)), with which files are masked
    }
    if !metadata.is_file() {
        return Err(unreadable(Errno::EINVAL, "it is not a regular file"));
    }
    if metadata.len() > FILE_MAX {
        return Err(unreadable(Errno::EFBIG, "it has more than 16 MiB"));
    }
    fs::read(path).map_err(|error| of_system(&error))
}

fn add(path: &Path, bytes: &[u8], contents: &mut Contents) {
    let (assignments, wrong) = parse_environment_file(bytes);
    contents.assignments.extend(assignments);
    let shown = path.display();
    let lines = wrong.iter().take(TOLD_MAX).map(|(line, why)| format!("{shown}:{line}: {why}"));
    contents.wrong.extend(lines);
    if let Some(more) = wrong.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        contents.wrong.push(format!("{shown}: {more} more assignments are wrong"));
    }
}

fn unreadable(errno: Errno, why: &str) -> Unreadable {
    Unreadable { errno: errno as i32, why: why.to_string() }
}

fn of_system(error: &std::io::Error) -> Unreadable {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    Unreadable { errno, why: Errno::from_raw(errno).desc().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &Path) -> Result<Vec<String>, String> {
        let declared =
            EnvironmentFile { path: path.to_str().unwrap().to_string(), optional: false };
        let shown = path.parent().unwrap().display().to_string();
        let wrong = read(&declared).map_err(|error| error.why)?.wrong;
        Ok(wrong.iter().map(|text| text.replace(&shown, "DIR")).collect())
    }

    #[test]
    fn wrong_lines_are_told_up_to_a_number() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.env"), "A=1\nsecret\n").unwrap();
        fs::write(dir.path().join("b.env"), "x\n".repeat(8)).unwrap();
        let told = said(&dir.path().join("*.env")).unwrap();
        assert_eq!(told.len(), 7);
        assert!(told.first().unwrap().starts_with("DIR/a.env:2: "), "{told:?}");
        assert!(!told.first().unwrap().contains("secret"), "{told:?}");
        assert_eq!(told.last().unwrap(), "DIR/b.env: 3 more assignments are wrong");
    }

    #[test]
    fn a_file_that_is_masked() {
        let dir = tempfile::tempdir().unwrap();
        let masked = dir.path().join("env");
        std::os::unix::fs::symlink("/dev/null", &masked).unwrap();
        assert_eq!(said(&masked), Ok(Vec::new()));
        assert!(said(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(at("file"), "").unwrap();
        fs::File::create(at("huge")).unwrap().set_len(FILE_MAX + 1).unwrap();
        fs::create_dir(at("d")).unwrap();
        for (name, why) in [
            ("nope", "No such file or directory"),
            ("nope*", "no file matches this pattern"),
            ("file/x", "Not a directory"),
            ("d", "it is a directory, not a file"),
            ("[d]", "it is a directory, not a file"),
            ("fifo", "it is not a regular file"),
            ("huge", "it has more than 16 MiB"),
        ] {
            assert_eq!(said(&at(name)), Err(why.to_string()), "{name}");
            let path = at(name).to_str().unwrap().to_string();
            assert_eq!(read(&EnvironmentFile { path, optional: true }), Ok(Contents::default()));
        }
    }
}
