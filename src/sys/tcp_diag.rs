//! The connections behind a TCP port, and how far their servers have read them (sock_diag(7)).
//!
//! Not whose they are: that is told by the inodes among a process's descriptors (`proc_sockets`).
//! The kernel shows every socket of our network namespace to everybody. **Invariant:** nothing
//! here waits, and what the kernel does not say is an error, never a guess.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

/// One connection on the server's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Its socket's inode; 0 while it is in a queue, accepted by nobody.
    pub inode: u64,
    /// The client has closed its half.
    pub half_closed: bool,
    /// Bytes that have arrived and were not read; the client's close counts as one.
    pub unread: u32,
    /// Bytes that have ever arrived; `None`: the kernel does not count them (before Linux 4.1).
    pub received: Option<u64>,
}

impl Connection {
    /// Somebody has accepted it, and has not read what it said, or it has said nothing yet: a
    /// server that stops now may close it without an answer.
    pub fn is_unread(&self) -> bool {
        let silent = self.received == Some(0) && !self.half_closed;
        self.inode != 0 && (silent || self.unread > u32::from(self.half_closed))
    }
}

/// `SOCK_DIAG_BY_FAMILY` of include/uapi/linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `INET_DIAG_INFO` of include/uapi/linux/inet_diag.h: the `tcp_info` of each.
const INFO: u16 = 2;
/// `TCP_ESTABLISHED` and `TCP_CLOSE_WAIT` of include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// Of `tcpi_bytes_received` in `struct tcp_info`.
const BYTES_RECEIVED: usize = 128;

/// What the kernel fills at a time.
const BUFFER: usize = 32 * 1024;

/// Every connection whose local port this is, over IPv4 and IPv6.
///
/// # Errors
/// The kernel has no sock_diag for TCP (ENOENT), or a sandbox does not let us ask.
pub fn connections(port: u16) -> io::Result<Vec<Connection>> {
    let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let protocol = SockProtocol::NetlinkSockDiag;
    let fd = socket::socket(AddressFamily::Netlink, kind, flags, protocol)?;
    let mut found = dump(&fd, libc::AF_INET, port)?;
    match dump(&fd, libc::AF_INET6, port) {
        Ok(more) => found.extend(more),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {} // no IPv6 here
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn dump(fd: &OwnedFd, family: i32, port: u16) -> io::Result<Vec<Connection>> {
    socket::send(fd.as_raw_fd(), &request(family, port), MsgFlags::MSG_DONTWAIT)?;
    let (mut found, mut buffer) = (Vec::new(), vec![0u8; BUFFER]);
    loop {
        let size = socket::recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        if read_messages(buffer.get(..size).unwrap_or_default(), &mut found)? {
            return Ok(found);
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2`, all of whose addresses are "any".
fn request(family: i32, port: u16) -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or(0);
    let states: u32 = 1 << ESTABLISHED | 1 << CLOSE_WAIT;
    let byte = |number: i32| u8::try_from(number).unwrap_or(0);
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(u32::try_from(HEADER + REQUEST).unwrap_or(0).to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port id
    bytes.extend([byte(family), byte(libc::IPPROTO_TCP), 1 << (INFO - 1), 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Adds what the messages say; whether they were the last.
fn read_messages(mut bytes: &[u8], found: &mut Vec<Connection>) -> io::Result<bool> {
    while let Some(length) = number32(bytes, 0) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (Some(message), Some(kind)) = (bytes.get(HEADER..length), number16(bytes, 4)) else {
            return Err(broken());
        };
        match i32::from(kind) {
            libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                // An errno, negated; 0 is success.
                let errno = number32(message, 0).map_or(0, u32::cast_signed);
                return if errno < 0 {
                    Err(io::Error::from_raw_os_error(-errno))
                } else {
                    Ok(true)
                };
            }
            _ => found.push(connection(message).ok_or_else(broken)?),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// An `inet_diag_msg` and its attributes.
fn connection(message: &[u8]) -> Option<Connection> {
    let info = attribute(message.get(MESSAGE..)?, INFO);
    Some(Connection {
        half_closed: *message.get(1)? == CLOSE_WAIT,
        unread: number32(message, 56)?,
        inode: number32(message, 68)?.into(),
        received: info.and_then(|info| {
            Some(u64::from_ne_bytes(info.get(BYTES_RECEIVED..)?.first_chunk().copied()?))
        }),
    })
}

/// The content of the attribute of this kind (`struct rtattr`).
fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(number16(bytes, 0)?);
        let content = bytes.get(4..length)?;
        if number16(bytes, 2)? == kind {
            return Some(content);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listener::inode;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    /// `None`: this machine has no sock_diag.
    fn all(port: u16) -> Option<Vec<Connection>> {
        connections(port).inspect_err(|error| println!("skipped: sock_diag: {error}")).ok()
    }

    fn one_of(address: &str) {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let Some(found) = all(port) else { return };
        assert_eq!(found, [], "the listener is no connection");
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let queued = all(port).unwrap();
        assert!(queued.iter().all(|it| it.inode == 0 && !it.is_unread()), "{queued:?}");
        let (mut server, _) = listener.accept().unwrap();
        let number = inode(server.as_fd()).unwrap();
        let only = || {
            let found = all(port).unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].inode, number);
            found[0]
        };
        let silent = only();
        assert_eq!((silent.unread, silent.received), (0, Some(0)));
        assert!(silent.is_unread());
        client.write_all(b"GET").unwrap();
        server.peek(&mut [0]).unwrap(); // it has arrived
        let spoke = only();
        assert_eq!((spoke.unread, spoke.received), (3, Some(3)));
        assert!(spoke.is_unread());
        server.read_exact(&mut [0; 3]).unwrap();
        assert!(!only().is_unread());
        client.shutdown(Shutdown::Write).unwrap();
        while !only().half_closed {
            std::thread::yield_now();
        }
        assert!(!only().is_unread(), "{:?}", only());
    }

    #[test]
    fn what_a_server_has_read_is_seen() {
        one_of("127.0.0.1:0");
        if TcpListener::bind("[::1]:0").is_ok() {
            one_of("[::1]:0");
        }
    }

    #[test]
    fn broken_messages_are_errors() {
        let mut found = Vec::new();
        assert!(!read_messages(&[], &mut found).unwrap());
        let message = |length: u32, kind: u16, content: &[u8]| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(content);
            bytes
        };
        for broken in [message(0, BY_FAMILY, &[]), message(99, BY_FAMILY, &[0; 8]), {
            message(24, BY_FAMILY, &[0; 8])
        }] {
            let error = read_messages(&broken, &mut found).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADMSG));
        }
        let refused = message(20, 2, &(-libc::ENOENT).to_ne_bytes());
        let error = read_messages(&refused, &mut found).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(read_messages(&message(20, 3, &[0; 4]), &mut found).unwrap());
        assert_eq!(attribute(&[3, 0, 2, 0], INFO), None);
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 2, 0], INFO), None);
        assert_eq!(found, []);
    }
}
