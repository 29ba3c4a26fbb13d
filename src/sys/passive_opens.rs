//! How many TCP connections somebody has opened to us (`PassiveOpens` of RFC 4022, proc_net(5)).
//!
//! Not to which port: the kernel counts them for the whole network namespace. **Invariant:** a
//! connection is counted before it is in a listener's queue, and so before anybody is woken for it
//! (`tcp_create_openreq_child` in net/ipv4/tcp_minisocks.c).

use std::fs;
use std::io;

/// The count since the namespace was made.
///
/// # Errors
/// /proc is not to be seen, or does not have it.
pub fn count() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/net/snmp")?;
    value(&text).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
}

/// A line of names, and one of numbers below it.
fn value(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next()?.split(' '), lines.next()?.split(' '));
    let (_, number) = names.zip(numbers).find(|(name, _)| *name == "PassiveOpens")?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_counts_though_it_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = count().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop((client, listener.accept().unwrap()));
        assert!(count().unwrap() > before);
    }

    #[test]
    fn lines_of_names_and_numbers() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn ActiveOpens PassiveOpens\nTcp: -1 8 7\n";
        assert_eq!(value(text), Some(7));
        for broken in ["", "Tcp: PassiveOpens\n", "Tcp: PassiveOpens\nTcp: x\n", "Tcp: A\nTcp: 1\n"]
        {
            assert_eq!(value(broken), None, "{broken}");
        }
    }
}
