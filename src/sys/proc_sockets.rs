//! Whether a process takes connections, as far as /proc shows it (proc(5)): `ReadyOn=accept`.
//!
//! Not a proof that it answers: that is a probe's. A server that waits in epoll(7) for the socket
//! that it was given is seen, and so is one that listens on a socket of its own. One that waits
//! for a given socket in accept(2), poll(2), select(2) or io_uring leaves no trace that may be
//! read without ptrace, and is not seen. Only the process itself is looked at, not its children.
//! **Invariant:** a descriptor that is closed meanwhile counts as never seen; a process that cannot
//! be looked at is the system's error, never a guess.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::Pid;

/// Whether a process has one of the listeners that it was given (by [`super::listener::inode`])
/// in an epoll set, or another socket that listens.
///
/// # Errors
/// It cannot be seen: it is gone, or another user's and we have no CAP_SYS_PTRACE.
pub fn waits_for_connections(pid: Pid, given: &[u64]) -> io::Result<bool> {
    let mut own = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let link = match fs::read_link(entry.path()) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // closed meanwhile
            Err(error) => return Err(error),
        };
        let Some(link) = link.to_str() else { continue };
        if link == "anon_inode:[eventpoll]" {
            let number = entry.file_name();
            let path = format!("/proc/{pid}/fdinfo/{}", number.display());
            let text = fs::read_to_string(path).unwrap_or_default();
            if polled(&text).any(|inode| given.contains(&inode)) {
                return Ok(true);
            }
        } else if let Some(inode) = socket_inode(link).filter(|inode| !given.contains(inode)) {
            own.push(inode);
        }
    }
    if own.is_empty() {
        return Ok(false);
    }
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let listens = |inode: u64| own.contains(&inode);
    Ok(["tcp", "tcp6"].iter().any(|name| tcp(&table(name).unwrap_or_default()).any(listens))
        || unix(&table("unix").unwrap_or_default()).any(listens))
}

/// The inodes of every socket that a process has open.
///
/// # Errors
/// As [`waits_for_connections`].
pub fn open_sockets(pid: Pid) -> io::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        match fs::read_link(entry?.path()) {
            Ok(link) => found.extend(link.to_str().and_then(socket_inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // closed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// `socket:[4711]`.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inodes in an epoll set: `tfd: 5 events: 19 data: 5  pos:0 ino:1a2b sdev:8`, in hexadecimal.
fn polled(fdinfo: &str) -> impl Iterator<Item = u64> {
    let lines = fdinfo.lines().filter(|line| line.starts_with("tfd:"));
    lines.filter_map(|line| {
        let inode = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("ino:"))?;
        u64::from_str_radix(inode, 16).ok()
    })
}

/// The inodes of listeners in `net/tcp`: field 3 is the state (0A: TCP_LISTEN), field 9 the inode.
fn tcp(table: &str) -> impl Iterator<Item = u64> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(3).filter(|state| *state == "0A")?;
        fields.nth(9 - 4)?.parse().ok()
    })
}

/// The inodes of listeners in `net/unix`: field 3 has the flags (10000: __SO_ACCEPTCON), field 6
/// the inode.
fn unix(table: &str) -> impl Iterator<Item = u64> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        fields.nth(6 - 4).filter(|_| flags & 0x10000 != 0)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listener::inode;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixListener;

    #[test]
    fn tables_as_the_kernel_writes_them() {
        let fdinfo = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t1059\n\
            tfd:        5 events:       19 data:                5  pos:0 ino:1a2b sdev:8\n\
            tfd:        6 events:       19 data:                6  pos:0 ino:ff sdev:8\n";
        assert_eq!(polled(fdinfo).collect::<Vec<_>>(), [0x1a2b, 0xff]);
        let tcp_table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
            uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 \
            00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n   1: 0100007F:1F90 \
            0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10\n";
        assert_eq!(tcp(tcp_table).collect::<Vec<_>>(), [4_711]);
        let unix_table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 31 /run/x\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 32\n";
        assert_eq!(unix(unix_table).collect::<Vec<_>>(), [31]);
        for broken in ["", "x\n", "x\ny\n", "tfd: 1 ino:zz\n", "tfd:\n"] {
            assert_eq!(polled(broken).count() + tcp(broken).count() + unix(broken).count(), 0);
        }
    }

    /// In a process of its own: other tests of this one have listeners, too.
    fn seen(script: &str, listener: &TcpListener) -> Option<bool> {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let mut python = Command::new("python3")
            .args([
                "-c",
                &format!("import os,select,socket,sys\n{script}\nprint(flush=True)\ninput()"),
            ])
            .stdin(Stdio::from(listener.as_fd().try_clone_to_owned().unwrap()))
            .stdout(Stdio::piped())
            .spawn()
            .inspect_err(|_| println!("skipped: python3 does not run here"))
            .ok()?;
        let mut line = String::new();
        BufReader::new(python.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::try_from(python.id()).unwrap();
        let found = waits_for_connections(pid, &[inode(listener.as_fd()).unwrap()]).unwrap();
        python.kill().unwrap();
        python.wait().unwrap();
        Some(found)
    }

    #[test]
    fn servers_that_wait_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let given = "s = socket.socket(fileno=0); e = select.epoll(); input = e.poll\n";
        for (script, expected) in [
            ("e = select.epoll(); input = e.poll", false),
            (&format!("{given}e.register(s, select.EPOLLIN)"), true),
            ("t = socket.socket(); t.bind(('127.0.0.1', 0)); input = select.epoll().poll", false),
            ("t = socket.socket(); t.listen(); input = t.accept", true),
            ("t = socket.socket(socket.AF_INET6); t.listen(); input = t.accept", true),
            (
                "t = socket.socket(socket.AF_UNIX); t.bind('\\0rinit-test-%d' % os.getpid()); \
                 t.listen(); input = t.accept",
                true,
            ),
        ] {
            let Some(found) = seen(script, &listener) else { return };
            assert_eq!(found, expected, "{script}");
        }
        assert!(TcpStream::connect(listener.local_addr().unwrap()).is_ok());
    }

    #[test]
    fn who_is_gone_is_an_error() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        child.wait().unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        let error = waits_for_connections(pid, &[1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// PID 1 is somebody else's unless we are privileged enough: then nothing is asserted of it.
    #[test]
    fn who_may_not_be_looked_at_is_an_error() {
        let denied = fs::read_link("/proc/1/fd/0")
            .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if denied {
            let error = waits_for_connections(1, &[]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn own_sockets_by_their_links() {
        let listener = UnixListener::bind(tempfile::tempdir().unwrap().path().join("x")).unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let expected = inode(listener.as_fd()).unwrap();
        assert_eq!(socket_inode(link.to_str().unwrap()), Some(expected));
        assert_eq!(socket_inode("pipe:[1]"), None);
        assert!(open_sockets(crate::sys::own_pid()).unwrap().contains(&expected));
    }
}
