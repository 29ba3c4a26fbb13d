//! What /proc says about processes that are not our children (proc(5)).
//!
//! Not who belongs to which unit: `init::members` concludes that. **Invariant:** a process that
//! vanishes while it is looked at is `None`, never an error.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::Pid;
use crate::unit::process::Signal;

/// A line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// The process.
    pub pid: Pid,
    /// `Z` and `X` are dead.
    pub state: u8,
    /// Its parent; 0 for one that came from outside the pid namespace.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// It is a thread that leads no process (its exit signal is −1).
    pub is_thread: bool,
    /// When it started, in clock ticks since boot: with the pid, its identity.
    pub started: u64,
}

impl Stat {
    /// Neither a zombie nor on its way to become one.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Looks at one process.
pub fn stat(pid: Pid) -> Option<Stat> {
    let mut buffer = [0u8; 1024];
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    let size = file.read(&mut buffer).ok()?;
    parse_stat(pid, buffer.get(..size)?)
}

/// The name may hold spaces and parentheses: what counts begins after the last `)`.
fn parse_stat(pid: Pid, line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?; // field 3
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let started = fields.nth(22 - 7)?.parse().ok()?; // field 22
    let exit_signal: Option<i32> = fields.nth(38 - 23).and_then(|field| field.parse().ok());
    let is_thread = exit_signal == Some(-1);
    Some(Stat { pid, state, parent, group, session, is_thread, started })
}

/// Every process that can be seen.
///
/// # Errors
/// /proc is missing or hidden.
pub fn pids() -> io::Result<Vec<Pid>> {
    let entries = std::fs::read_dir("/proc")?;
    let pids: Vec<Pid> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    if pids.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    Ok(pids)
}

/// `INVOCATION_ID` of a process's first environment: whose it is when all other ties are cut.
pub fn invocation_id(pid: Pid) -> Option<u128> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(1 << 20).read_to_end(&mut bytes).ok()?;
    let value =
        bytes.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"INVOCATION_ID="))?;
    u128::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()
}

/// Whether a process catches a signal (`SigCgt` of `/proc/PID/status`).
pub fn catches(pid: Pid, signal: Signal) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & super::signals::bit(signal.number()) != 0
}

/// The pid that the namespace gave out last (fifth field of /proc/loadavg): if it has not moved,
/// no process was born. That saves walking /proc for every death.
#[derive(Debug, Default)]
pub struct LastPid(OnceCell<Option<File>>);

impl LastPid {
    /// The last pid given out; `None`: unknown. The first call opens the file; where that is not
    /// the kernel's own (lxcfs) or says nothing, it is of no use.
    pub fn read(&self) -> Option<Pid> {
        let open = || File::open("/proc/loadavg").ok().filter(is_procfs);
        let mut buffer = [0u8; 128];
        let size = self.0.get_or_init(open).as_ref()?.read_at(&mut buffer, 0).ok()?;
        let line = std::str::from_utf8(buffer.get(..size)?).ok()?;
        line.split_ascii_whitespace().nth(4)?.parse().ok().filter(|pid| *pid > 0)
    }
}

fn is_procfs(file: &File) -> bool {
    // SAFETY: a `statfs` is plain numbers; all zeroes is one.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `info` is a valid place for the result.
    let done = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut info) };
    done == 0 && info.f_type == libc::PROC_SUPER_MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_the_rest() {
        let line = b"42 (a) b (c) R 7 8 9 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 999 1 2 18 0 0 0 0 0 \
            0 0 0 0 0 0 0 17 1 0 0\n";
        let expected = Stat {
            pid: 42,
            state: b'R',
            parent: 7,
            group: 8,
            session: 9,
            is_thread: false,
            started: 999,
        };
        assert_eq!(parse_stat(42, line), Some(expected));
        for broken in [&b""[..], b"42", b"42 (x)", b"42 (x) R 1", b"42 (\xff) R a b c"] {
            assert_eq!(parse_stat(42, broken), None);
        }
    }

    #[test]
    fn ourselves() {
        let pid = crate::sys::own_pid();
        let own = stat(pid).unwrap();
        assert!(own.is_alive() && !own.is_thread);
        // SAFETY: getppid takes nothing and cannot fail.
        assert_eq!(own.parent, unsafe { libc::getppid() });
        assert!(pids().unwrap().contains(&pid));
        // SAFETY: gettid takes nothing and cannot fail.
        let thread = unsafe { libc::gettid() };
        assert_eq!(stat(thread).unwrap().is_thread, thread != pid);
    }

    #[test]
    fn the_last_pid_moves_with_every_birth() {
        let last = LastPid::default();
        let before = last.read();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(before.is_none() || last.read() != before);
    }
}
