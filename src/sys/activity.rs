//! What a process of somebody else's program is doing: what it waits for, whether it moves.
//!
//! Not what follows from it (`init::probe`). All of it is read in /proc (proc(5)), which shows
//! descriptors and waiting channels only of processes that we could trace: of another user's we
//! need CAP_SYS_PTRACE, and then this says so. **Invariant:** a process that vanishes meanwhile is
//! an error of the system, never a guess.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Pid;

/// The number of a socket, as `socket:[…]` and epoll sets show it.
///
/// # Errors
/// fstat(2)'s.
pub fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(fd.as_fd()).map_err(io::Error::from)?.st_ino)
}

/// Whether a process holds one of these sockets in an epoll set (epoll(7), `tfd:` lines of
/// /proc/PID/fdinfo): then it waits for connections there.
///
/// # Errors
/// It cannot be seen: it is gone, or another user's.
pub fn polls(pid: Pid, inodes: &BTreeSet<u64>) -> io::Result<bool> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let Ok(text) = std::fs::read_to_string(entry?.path()) else { continue };
        if epoll_targets(&text).any(|inode| inodes.contains(&inode)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The inodes of the `tfd:` lines; before Linux 5.x there are none.
fn epoll_targets(text: &str) -> impl Iterator<Item = u64> {
    let lines = text.lines().filter(|line| line.starts_with("tfd:"));
    lines.filter_map(|line| {
        let inode = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("ino:"))?;
        u64::from_str_radix(inode, 16).ok()
    })
}

/// Whether a process holds a listening TCP or unix stream socket (/proc/PID/net) other than these.
///
/// # Errors
/// It cannot be seen: it is gone, or another user's.
pub fn listens(pid: Pid, but: &BTreeSet<u64>) -> io::Result<bool> {
    let mut own = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        own.extend(target.to_str().and_then(socket_inode).filter(|inode| !but.contains(inode)));
    }
    if own.is_empty() {
        return Ok(false);
    }
    for (table, column, state, inode) in [
        ("tcp", 3, "0A", 9), // TCP_LISTEN
        ("tcp6", 3, "0A", 9),
        ("unix", 3, "00010000", 6), // __SO_ACCEPTCON
    ] {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")) else {
            continue;
        };
        if listening(&text, column, state, inode).any(|inode| own.contains(&inode)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inodes of the lines that have `state` in this column.
fn listening<'a>(
    text: &'a str,
    column: usize,
    state: &'a str,
    inode: usize,
) -> impl Iterator<Item = u64> + 'a {
    text.lines().skip(1).filter_map(move |line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(column).copied() == Some(state)).then(|| words.get(inode)?.parse().ok())?
    })
}

/// How far a process's main thread has come, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MainThread {
    /// How often it has waited by itself (`voluntary_ctxt_switches`).
    pub waits: u64,
    /// Its time on a CPU, in clock ticks.
    pub ticks: u64,
    /// `R`, `S`, `D`, `T`, …
    pub state: u8,
    /// The kernel function in which it sleeps; `None`: it does not, or it is not shown.
    pub sleeps_in: Option<String>,
}

/// Looks at the main thread of a process.
///
/// # Errors
/// It is gone.
pub fn main_thread(pid: Pid) -> io::Result<MainThread> {
    let task = format!("/proc/{pid}/task/{pid}");
    let broken = || io::Error::from_raw_os_error(libc::EIO);
    let status = std::fs::read_to_string(format!("{task}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let waits = line.and_then(|value| value.trim().parse().ok()).ok_or_else(broken)?;
    let stat = std::fs::read_to_string(format!("{task}/stat"))?;
    let (state, ticks) = state_and_ticks(&stat).ok_or_else(broken)?;
    let channel = std::fs::read_to_string(format!("{task}/wchan")).unwrap_or_default();
    let sleeps_in = Some(channel).filter(|name| !name.is_empty() && name != "0");
    Ok(MainThread { waits, ticks, state, sleeps_in })
}

/// Fields 3, 14 and 15 of a `stat` file.
fn state_and_ticks(stat: &str) -> Option<(u8, u64)> {
    let (_, rest) = stat.rsplit_once(')')?; // the name may hold anything
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let user: u64 = fields.nth(14 - 4)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((state, user + system))
}

impl MainThread {
    /// It sleeps until a descriptor has news: an idle server, not a stuck one.
    pub fn waits_for_events(&self) -> bool {
        const WAITS: [&str; 10] = [
            "ep_poll",
            "do_epoll_wait",
            "do_sys_poll",
            "poll_schedule_timeout",
            "do_select",
            "do_poll",
            "inet_csk_accept",
            "inet_csk_wait_for_connect",
            "unix_accept",
            "skb_wait_for_more_packets",
        ];
        let name = self.sleeps_in.as_deref().unwrap_or_default();
        WAITS.iter().any(|wait| name.starts_with(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_we_listen_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = inode(listener.as_fd()).unwrap();
        let pid = super::super::own_pid();
        assert!(listens(pid, &BTreeSet::new()).unwrap());
        let text = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        assert!(listening(&text, 3, "0A", 9).any(|found| found == inode));
        let unix = UnixListener::bind(tempfile::tempdir().unwrap().path().join("x")).unwrap();
        let own = super::inode(unix.as_fd()).unwrap();
        let text = std::fs::read_to_string("/proc/self/net/unix").unwrap();
        assert!(listening(&text, 3, "00010000", 6).any(|found| found == own));
        assert!(listens(1_999_999_999, &BTreeSet::new()).is_err());
    }

    #[test]
    fn what_we_poll() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = BTreeSet::from([inode(listener.as_fd()).unwrap()]);
        let pid = super::super::own_pid();
        assert!(!polls(pid, &inodes).unwrap());
        let poll = mio::Poll::new().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let source = &mut mio::unix::SourceFd(&fd);
        poll.registry().register(source, mio::Token(0), mio::Interest::READABLE).unwrap();
        assert!(polls(pid, &inodes).unwrap());
    }

    #[test]
    fn a_line_of_an_epoll_set() {
        let text = "pos:\t0\nflags:\t02\nino:\t13\ntfd:        5 events:       19 data:  7  pos:0 \
                    ino:1f3 sdev:8\ntfd:        6 events: 19 data: 7\n";
        assert_eq!(epoll_targets(text).collect::<Vec<_>>(), [0x1f3]);
        assert_eq!(socket_inode("socket:[77]"), Some(77));
        assert_eq!(socket_inode("pipe:[77]"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4 5 6 7 8 11 22 0 0 20";
        assert_eq!(state_and_ticks(stat), Some((b'S', 33)));
        assert_eq!(state_and_ticks("7 (a"), None);
    }

    #[test]
    fn a_busy_thread_moves_and_a_sleeping_one_does_not() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        // Once it reads, it is in a pipe's read and stays there.
        let asleep = || {
            main_thread(pid).ok().filter(|thread| {
                thread.sleeps_in.as_deref().is_none_or(|name| name.contains("pipe"))
                    && thread.state == b'S'
            })
        };
        let first = loop {
            match asleep() {
                Some(thread) => break thread,
                None => std::thread::yield_now(),
            }
        };
        assert!(!first.waits_for_events());
        assert_eq!(main_thread(pid).unwrap(), first);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(main_thread(pid).is_err());
    }
}
