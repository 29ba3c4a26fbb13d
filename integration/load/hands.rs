//! Which connections are in a process's hands: those that it has accepted, by the client's port.
//!
//! What a killed worker may lose is just these. A connection that still waits in a listening socket's
//! queue belongs to no process, and its inode here is 0.

use std::collections::BTreeSet;
use std::fs;

/// The client's ports of the connections to `port` (IPv4) that this process has accepted.
pub fn in_hands(pid: i32, port: u16) -> BTreeSet<u16> {
    let inodes = sockets(pid);
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let is_held = |row: &Row| row.local == port && row.remote != 0 && inodes.contains(&row.inode);
    table.lines().filter_map(Row::parse).filter(is_held).map(|row| row.remote).collect()
}

fn sockets(pid: i32) -> BTreeSet<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inode = |link: String| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    entries.filter_map(|fd| inode(fs::read_link(fd.path()).ok()?.to_str()?.to_owned())).collect()
}

/// A line of /proc/net/tcp, see proc_pid_net(5).
struct Row {
    local: u16,
    remote: u16,
    inode: u64,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |at: usize| u16::from_str_radix(words.get(at)?.split(':').nth(1)?, 16).ok();
        Some(Row { local: port(1)?, remote: port(2)?, inode: words.get(9)?.parse().ok()? })
    }
}
