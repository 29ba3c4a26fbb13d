//! What can be asked of a socket that listens, and done to it while programs use it.
//!
//! Not how it is opened (`listen`). All of it acts on the socket itself, so on everybody who holds
//! it: that is the point. **Invariant:** nothing here takes a connection from its queue but
//! [`accept`], and nothing waits.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{SockaddrStorage, getsockname};

use super::cvt;
use super::socket::{self, Address, SocketKind};

/// The accept queue of a TCP listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Connections that nobody has accepted yet. Those that DeferAcceptSec= keeps back because
    /// they have not spoken do not count.
    pub length: u32,
    /// As many as fit.
    pub limit: u32,
}

/// How many connections wait in a TCP listener's queue: TCP_INFO has it in `tcpi_unacked`, and
/// the limit in `tcpi_sacked` (tcp_get_info() of net/ipv4/tcp.c).
///
/// # Errors
/// getsockopt(2)'s: ENOPROTOOPT or EOPNOTSUPP for what is not TCP; EINVAL if it does not listen
/// any more.
pub fn queue(fd: BorrowedFd<'_>) -> io::Result<Queue> {
    // SAFETY: a `tcp_info` is plain numbers; all zeroes is one.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    let (place, level) = ((&raw mut info).cast(), libc::IPPROTO_TCP);
    // SAFETY: the place and its size are those of `info`; a kernel that knows less writes less.
    cvt(unsafe { libc::getsockopt(fd.as_raw_fd(), level, libc::TCP_INFO, place, &raw mut size) })?;
    if info.tcpi_state != TCP_LISTEN {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(Queue { length: info.tcpi_unacked, limit: info.tcpi_sacked })
}

/// `TCP_LISTEN` of include/net/tcp_states.h.
const TCP_LISTEN: u8 = 10;

/// Only the length of [`queue`].
///
/// # Errors
/// As [`queue`].
pub fn queue_length(fd: BorrowedFd<'_>) -> io::Result<u32> {
    queue(fd).map(|queue| queue.length)
}

/// Where a socket is bound.
///
/// # Errors
/// getsockname(2)'s: it is no socket.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    let found: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    Ok(Address::from_kernel(&found))
}

/// What a socket carries; `None`: something else.
///
/// # Errors
/// getsockopt(2)'s: it is no socket.
pub fn kind(fd: BorrowedFd<'_>) -> io::Result<Option<SocketKind>> {
    Ok(match socket::get(fd, libc::SOL_SOCKET, libc::SO_TYPE)? {
        libc::SOCK_STREAM => Some(SocketKind::Stream),
        libc::SOCK_DGRAM => Some(SocketKind::Datagram),
        libc::SOCK_SEQPACKET => Some(SocketKind::SequentialPacket),
        _ => None,
    })
}

/// Whether it listens (still): a program that holds it can end that with shutdown(2).
///
/// # Errors
/// getsockopt(2)'s: it is no socket.
pub fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(socket::get(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}

/// Its inode, by which /proc names it (proc(5), fdinfo).
///
/// # Errors
/// fstat(2)'s.
pub fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: a `stat` is plain numbers; all zeroes is one.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is a valid place for the result.
    cvt(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut found) })?;
    Ok(found.st_ino)
}

/// Refuses new connections from now on, with a reset and at once, while all that is in the queue or
/// half open goes on and is served: the listener is bound to a network interface that does not
/// exist, so the kernel finds nobody for a SYN, and what has begun is not looked up again
/// (compute_score() and tcp_v4_syn_recv_sock() of net/ipv4). Of a reuseport group do it to all, one
/// right after the other: while one is left, the group may still give a SYN to one that refuses,
/// which then drops it, and the client sends it again a second later.
/// Needs no privilege from Linux 5.7 on. (A filter that drops SYNs needs CAP_NET_ADMIN on kernels
/// of 2026, and leaves the client without an answer.)
///
/// # Errors
/// setsockopt(2)'s: ENOPROTOOPT before Linux 5.0; EPERM without CAP_NET_RAW before 5.7, or if the
/// socket was bound to an interface before.
pub fn refuse_new(fd: BorrowedFd<'_>) -> io::Result<()> {
    socket::set(fd, libc::SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE)
}

/// Takes [`refuse_new`] back. Without CAP_NET_RAW that is not to be had.
///
/// # Errors
/// setsockopt(2)'s: EPERM.
pub fn accept_new(fd: BorrowedFd<'_>) -> io::Result<()> {
    socket::set(fd, libc::SOL_SOCKET, SO_BINDTOIFINDEX, 0)
}

/// include/uapi/asm-generic/socket.h.
const SO_BINDTOIFINDEX: i32 = 62;

/// The kernel counts interfaces from 1 on, and does not ask whether there is one.
const NO_INTERFACE: i32 = i32::MAX;

/// Ends listening for everybody who holds the socket (shutdown(2)): new connects are refused at
/// once, a waiting accept(2) fails with EINVAL, and what is still in the queue is reset.
///
/// # Errors
/// shutdown(2)'s: ENOTCONN if it does not listen any more.
pub fn shutdown(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: numbers only.
    cvt(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// What [`accept`] found.
#[derive(Debug)]
pub enum Accepted {
    /// A connection, and its peer.
    Connection(OwnedFd, Address),
    /// One whose client has gone again; there may be others.
    Gone,
    /// Nobody, just now.
    Nobody,
}

/// Takes one connection, for `Accept=yes`. The new socket blocks, is close-on-exec, and its peer is
/// given. The listener itself must be non-blocking.
///
/// # Errors
/// accept(2)'s that do not pass by themselves: EMFILE, EINVAL.
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<Accepted> {
    // SAFETY: null pointers ask for no address.
    let new = unsafe {
        let (address, size) = (std::ptr::null_mut(), std::ptr::null_mut());
        libc::accept4(fd.as_raw_fd(), address, size, libc::SOCK_CLOEXEC)
    };
    let new = match cvt(new) {
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(new) => unsafe { OwnedFd::from_raw_fd(new) },
        Err(error) if super::is_passing(&error) => return Ok(Accepted::Nobody),
        Err(error) => {
            let passing = [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN, libc::EHOSTUNREACH];
            let passes = error.raw_os_error().is_some_and(|errno| passing.contains(&errno));
            return if passes { Ok(Accepted::Gone) } else { Err(error) };
        }
    };
    let peer = nix::sys::socket::getpeername::<SockaddrStorage>(new.as_raw_fd());
    Ok(match peer {
        Ok(peer) => Accepted::Connection(new, Address::from_kernel(&peer)),
        Err(_) => Accepted::Gone, // ENOTCONN: it was reset before we came
    })
}

/// One instruction of classic BPF: operation, jumps if true and if false, operand.
pub(super) fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

/// Attaches a program of classic BPF as socket option `name`; the kernel copies it.
pub(super) fn attach(fd: BorrowedFd<'_>, name: i32, code: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(code.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: code.as_ptr().cast_mut() };
    // SAFETY: this is what these options take; the kernel only reads the instructions.
    unsafe { socket::set_raw(fd, libc::SOL_SOCKET, name, &program) }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
