//! `LogFile=`: lines appended to files, and full files set aside.
//!
//! Not what a line looks like (`line`). A file that is full becomes `FILE.1`, that one `FILE.2`,
//! and so on; the last goes. A kill may cut a write short: the file that is being written is
//! noted in a file in memory that rinit holds too, so that the next journal takes the half line
//! away again; the whole one is still in its pipe. What other programs have left without an
//! end of line stays, and gets one.
//! **Invariant:** a file has whole lines only, and each of them is in one file.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::protocol::LogFile;
use crate::sys::reason;

/// Of new files; the directories made for them may be searched by the same.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// A file that fails is spoken of again after so long.
const SILENCE: Duration = Duration::from_secs(3600);

/// A half line is looked for in steps of so many bytes.
const STEP: u64 = 64 << 10;

/// All log files. None stays open: who removes or renames one need not tell us.
#[derive(Debug)]
pub(super) struct LogFiles {
    /// The path of the file that is being written.
    note: File,
    noted: String,
    /// When it was said of a file that it fails (CLOCK_MONOTONIC).
    told: Vec<(String, Duration)>,
}

impl LogFiles {
    /// `note` may name the file that our predecessor was writing.
    pub(super) fn new(note: File) -> LogFiles {
        let mut bytes = vec![0; note.metadata().map_or(0, |meta| meta.size() as usize)];
        if note.read_exact_at(&mut bytes, 0).is_ok() && !bytes.is_empty() {
            let path = OsString::from_vec(bytes);
            // Where it cannot be opened there is nothing to take away, or nobody can.
            let _ = options().open(path).and_then(|file| end(&file, true));
        }
        LogFiles { note, noted: String::new(), told: Vec::new() }
    }

    /// Appends whole lines; what to tell of a failure, if it is time to.
    pub(super) fn append(&mut self, spec: &LogFile, lines: &[u8], now: Duration) -> Option<String> {
        let (what, error, so) = self.try_append(spec, lines).err()?;
        if let Some((_, told)) = self.told.iter_mut().find(|(path, _)| *path == spec.path) {
            if now.saturating_sub(*told) < SILENCE {
                return None;
            }
            *told = now;
        } else {
            self.told.push((spec.path.clone(), now));
        }
        let why = error.raw_os_error().map_or_else(|| error.to_string(), reason);
        Some(format!("{what} LogFile={}: {why}; {so}", spec.path))
    }

    fn try_append(&mut self, spec: &LogFile, lines: &[u8]) -> Result<(), Failure> {
        let mut rest = lines;
        let mut set_aside = Ok(());
        while !rest.is_empty() {
            let (file, size) = open(&spec.path).map_err(failing("cannot open"))?;
            let part = match fitting(rest, spec.max_size.saturating_sub(size), size == 0) {
                0 if set_aside.is_ok() => {
                    set_aside = rotate(&spec.path, spec.max_files);
                    continue;
                }
                0 => rest.len(), // too large a file is better than no line
                part => part,
            };
            let (lines, later) = rest.split_at_checked(part).unwrap_or((rest, &[]));
            let written = self.note(&spec.path).and_then(|()| write(file, size, lines));
            written.map_err(failing("cannot write"))?;
            rest = later;
        }
        set_aside.map_err(|error| ("cannot rename the full", error, "it grows until that works"))
    }

    /// It is this one that is being written.
    fn note(&mut self, path: &str) -> io::Result<()> {
        if self.noted == path {
            return Ok(());
        }
        self.note.set_len(0)?;
        self.note.write_all_at(path.as_bytes(), 0)?;
        path.clone_into(&mut self.noted);
        Ok(())
    }
}

/// All or nothing.
fn write(mut file: File, size: u64, lines: &[u8]) -> io::Result<()> {
    file.write_all(lines).inspect_err(|_| {
        let _ = file.set_len(size); // no half line stays
    })
}

/// What could not be done, why, and what that means.
type Failure = (&'static str, io::Error, &'static str);

fn failing(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| (what, error, "until that works its lines go to rinit's output only")
}

/// Makes the file end with the end of a line: half of one of ours is taken away.
fn end(file: &File, is_ours: bool) -> io::Result<()> {
    let size = file.metadata()?.size();
    let mut last = [b'\n'];
    if let Some(at) = size.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    match (last == [b'\n'], is_ours) {
        (true, _) => Ok(()),
        (false, true) => file.set_len(end_of_last_line(file, size)?),
        (false, false) => (&*file).write_all(b"\n"),
    }
}

/// How much of the lines there is room for; the first fits into what is empty.
fn fitting(lines: &[u8], room: u64, is_empty: bool) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let Some(fit) = lines.get(..room) else { return lines.len() };
    match memchr::memrchr(b'\n', fit) {
        Some(last) => last + 1,
        None if is_empty => memchr::memchr(b'\n', lines).map_or(lines.len(), |first| first + 1),
        None => 0,
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A link could lead the one who runs as root anywhere; a FIFO could make us wait.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    options.read(true).append(true).mode(FILE_MODE).custom_flags(flags);
    options
}

/// The file, which ends with the end of a line, and its size.
fn open(path: &str) -> io::Result<(File, u64)> {
    let mut options = options();
    options.create(true);
    let file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
            options.open(path)?
        }
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    end(&file, false)?;
    let size = file.metadata()?.size();
    Ok((file, size))
}

fn end_of_last_line(file: &File, mut size: u64) -> io::Result<u64> {
    let mut bytes = Vec::new();
    while size > 0 {
        let start = size.saturating_sub(STEP);
        bytes.resize(usize::try_from(size - start).unwrap_or(0), 0);
        file.read_exact_at(&mut bytes, start)?;
        if let Some(last) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + last as u64 + 1);
        }
        size = start;
    }
    Ok(0)
}

/// Sets a full file aside. A kill on the way leaves a gap in the numbers, which the next fills.
fn rotate(path: &str, max_files: u32) -> io::Result<()> {
    let number = |n: u32| if n == 0 { path.to_owned() } else { format!("{path}.{n}") };
    let last = max_files.saturating_sub(1);
    let is_free = |n: &u32| fs::symlink_metadata(number(*n)).is_err();
    let free = (1..=last).find(is_free).unwrap_or(last);
    for n in (0..free).rev() {
        fs::rename(number(n), number(n + 1))?;
    }
    if last == 0 {
        fs::remove_file(path)?;
    }
    // Of when more were allowed.
    let mut old = max_files;
    while fs::remove_file(number(old)).is_ok() {
        old += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut all: Vec<String> = all
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap();
                format!("{}={text}", entry.file_name().to_str().unwrap())
            })
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn lines_that_fit() {
        for (lines, room, is_empty, expected) in [
            (&b"ab\ncd\n"[..], 6, false, 6),
            (b"ab\ncd\n", 5, false, 3),
            (b"ab\ncd\n", 3, false, 3),
            (b"ab\ncd\n", 2, false, 0),
            (b"ab\ncd\n", 2, true, 3),
            (b"ab\ncd\n", 0, true, 3),
            (b"ab\n", u64::MAX, false, 3),
        ] {
            assert_eq!(fitting(lines, room, is_empty), expected, "{room} {is_empty}");
        }
    }

    #[test]
    fn a_gap_is_filled_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f").to_str().unwrap().to_owned();
        for (there, most, expected) in [
            (&["", ".1", ".2", ".3"][..], 4, &["f.1=", "f.2=.1", "f.3=.2"][..]),
            (&["", ".1", ".3"], 4, &["f.1=", "f.2=.1", "f.3=.3"]),
            (&["", ".2", ".3"], 4, &["f.1=", "f.2=.2", "f.3=.3"]),
            (&["", ".1", ".2", ".3", ".4"], 2, &["f.1="]),
            (&["", ".1"], 1, &[]),
        ] {
            for name in there {
                fs::write(format!("{path}{name}"), name).unwrap();
            }
            rotate(&path, most).unwrap();
            assert_eq!(names(directory.path()), expected, "{there:?} {most}");
            fs::read_dir(directory.path())
                .unwrap()
                .for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn half_a_line_of_ours_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f").to_str().unwrap().to_owned();
        let spec = LogFile { path: path.clone(), max_size: 1 << 20, max_files: 2 };
        let other = LogFile { path: format!("{path}.other"), ..spec.clone() };
        let note = tempfile::tempfile().unwrap();
        fs::write(&path, "theirs").unwrap();
        let mut files = LogFiles::new(note.try_clone().unwrap());
        assert_eq!(files.append(&other, b"other\n", Duration::ZERO), None);
        assert_eq!(files.append(&spec, b"one\n", Duration::ZERO), None);
        let half = "x".repeat(200_000);
        fs::write(&path, format!("theirs\none\n{half}")).unwrap();
        let mut files = LogFiles::new(note.try_clone().unwrap());
        assert_eq!(files.append(&other, b"more\n", Duration::ZERO), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs\none\n");
        // Its own is not taken away, and it is another that was written last.
        fs::write(&path, "theirs\none\nhalf").unwrap();
        let mut files = LogFiles::new(note);
        assert_eq!(files.append(&spec, b"two\n", Duration::ZERO), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs\none\nhalf\ntwo\n");
        assert_eq!(fs::read_to_string(&other.path).unwrap(), "other\nmore\n");
    }

    #[test]
    fn a_failure_is_told_once_an_hour() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap().to_owned();
        let spec = LogFile { path: path.clone(), max_size: 4096, max_files: 2 };
        let mut files = LogFiles::new(tempfile::tempfile().unwrap());
        let mut append = |second| files.append(&spec, b"x\n", Duration::from_secs(second));
        let told = append(1).unwrap();
        assert!(
            told.starts_with(&format!("cannot open LogFile={path}: Is a directory; ")),
            "{told}"
        );
        assert_eq!((append(2), append(3600)), (None, None));
        assert!(append(3601).is_some());
    }
}
