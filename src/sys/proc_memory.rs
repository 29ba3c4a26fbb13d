//! How much memory a process has, from the cheapest question to the dearest (proc(5)).
//!
//! Not whose it is and not how much is too much. Each answer is at most the one before it:
//! [`resident`] counts what it maps of files and what it shares, [`anonymous`] leaves out files,
//! [`proportional`] counts what several share once, and has to walk the page tables. What is in
//! swap is in none of them, as it is not in `memory.max` (cgroup-v2.rst).
//! **Invariant:** a process that is gone, or a zombie, has nothing; that is no error.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use super::Pid;

/// All that is in memory of it, in bytes: the second number of `statm`.
pub fn resident(pid: Pid) -> u64 {
    let Some(text) = read(format!("/proc/{pid}/statm")) else { return 0 };
    let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64).saturating_mul(page_size())
}

/// Its own and its shared memory without what it maps of files, in bytes: `RssAnon` and
/// `RssShmem` of `status`; before Linux 4.5 all of it (`VmRSS`).
pub fn anonymous(pid: Pid) -> u64 {
    let Some(text) = read(format!("/proc/{pid}/status")) else { return 0 };
    kilobytes(&text, &["RssAnon:", "RssShmem:"])
        .or_else(|| kilobytes(&text, &["VmRSS:"]))
        .unwrap_or(0)
}

/// As [`anonymous`], each page divided by how many map it, in bytes (`smaps_rollup`).
/// `None`: it may not be read, or this kernel has no such file (before Linux 4.14).
pub fn proportional(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_as_owner(pid, &path),
        other => other,
    };
    match file {
        Ok(file) => {
            let text = read_all(file).unwrap_or_default(); // ESRCH: it is gone
            // One number before Linux 5.3.
            let parts = kilobytes(&text, &["Pss_Anon:", "Pss_Shmem:"]);
            Some(parts.or_else(|| kilobytes(&text, &["Pss:"])).unwrap_or(0))
        }
        Err(_) => (!std::fs::exists(format!("/proc/{pid}")).unwrap_or(true)).then_some(0),
    }
}

/// The page tables of another user's process are open to CAP_SYS_PTRACE, which a container does
/// not have, and to a reader with that user's file system ids (ptrace(2), PTRACE_MODE_FSCREDS).
fn open_as_owner(pid: Pid, path: &str) -> io::Result<File> {
    let owner = std::fs::metadata(format!("/proc/{pid}"))?;
    // SAFETY: numbers only; they are this thread's ids until they are put back below, and the
    // change makes the process undumpable, which is put back as well.
    unsafe {
        let dumpable = libc::prctl(libc::PR_GET_DUMPABLE);
        libc::setfsgid(owner.gid());
        libc::setfsuid(owner.uid());
        let file = File::open(path);
        libc::setfsuid(libc::geteuid());
        libc::setfsgid(libc::getegid());
        if dumpable == 1 {
            libc::prctl(libc::PR_SET_DUMPABLE, 1);
        }
        file
    }
}

/// Makes a process this likely to be the one that is killed when memory is used up (proc(5),
/// `oom_score_adj`); where it may not be done it stays as it is.
pub fn set_oom_score_adjust(pid: Pid, score: i32) {
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string());
}

/// Our own `oom_score_adj`.
pub fn own_oom_score_adjust() -> Option<i32> {
    read("/proc/self/oom_score_adj".to_owned())?.trim().parse().ok()
}

/// Whether the kernel can merge the equal pages of whole processes (prctl(2),
/// `PR_SET_MEMORY_MERGE`; Linux 6.4, and built with KSM).
pub fn can_merge() -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_GET_MEMORY_MERGE, 0, 0, 0, 0) >= 0 }
}

fn read(path: String) -> Option<String> {
    read_all(File::open(path).ok()?).ok()
}

/// In one call of read(2) if it fits, as it does.
fn read_all(mut file: File) -> io::Result<String> {
    let mut text = String::with_capacity(4096);
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// The sum of lines such as `RssAnon: 12 kB`, in bytes; `None` if one of them is not there.
fn kilobytes(text: &str, names: &[&str]) -> Option<u64> {
    let value = |name: &&str| {
        let line = text.lines().find_map(|line| line.strip_prefix(*name))?;
        line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()
    };
    let sum: Option<u64> = names.iter().map(value).sum();
    Some(sum?.saturating_mul(1024))
}

fn page_size() -> u64 {
    // SAFETY: it takes a number and gives one.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_kilobytes() {
        let text = "Rss:   9 kB\nPss:      7 kB\nPss_Anon:\t 5 kB\nPss_Shmem:  1 kB\nX: y\n";
        let rows: [(&[&str], Option<u64>); 4] = [
            (&["Pss_Anon:", "Pss_Shmem:"], Some(6 << 10)),
            (&["Pss:"], Some(7 << 10)),
            (&["Pss:", "VmRSS:"], None),
            (&["X:"], None),
        ];
        for (names, expected) in rows {
            assert_eq!(kilobytes(text, names), expected, "{names:?}");
        }
    }

    /// Each question's answer is at most the one before it, and none is nothing.
    #[test]
    fn ourselves() {
        let hoard = vec![1_u8; 32 << 20];
        let own = super::super::own_pid();
        let (all, without_files) = (resident(own), anonymous(own));
        let proportional = proportional(own).unwrap();
        assert!(proportional >= 32 << 20, "{proportional}");
        // The kernel's counters are each a few pages late for each processor.
        let late = 4 << 20;
        assert!(without_files + late >= proportional, "{without_files} {proportional}");
        assert!(all + late >= without_files, "{all} {without_files}");
        drop(hoard);
    }

    #[test]
    fn who_is_gone_has_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert_eq!((resident(pid), anonymous(pid), proportional(pid)), (0, 0, Some(0)));
    }
}
