//! What every socket of rinit has in common: how one is made, its options, its addresses.
//!
//! Not listening (`listen`, `listener`), probing (`probe`) or notifications (`notify`).
//! **Invariant:** every descriptor is close-on-exec from birth.

use std::fmt;
use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, socket,
};

use super::cvt;

/// Where a socket is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A socket in the file system (unix(7)).
    Path(PathBuf),
    /// A name in the abstract namespace of the network namespace, without its leading NUL.
    Abstract(Vec<u8>),
    /// A unix socket that has no name, or another family's.
    Unnamed,
}

impl fmt::Display for Address {
    /// As `ListenStream=` has it: `127.0.0.1:80`, `[::]:80`, `/run/x`, `@name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Path(path) => path.display().fmt(f),
            Address::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            Address::Unnamed => f.write_str("unnamed"),
        }
    }
}

impl Address {
    /// The family that socket(2) takes.
    pub(super) fn family(&self) -> AddressFamily {
        match self {
            Address::Inet(SocketAddr::V4(_)) => AddressFamily::Inet,
            Address::Inet(SocketAddr::V6(_)) => AddressFamily::Inet6,
            Address::Path(_) | Address::Abstract(_) | Address::Unnamed => AddressFamily::Unix,
        }
    }

    /// As the kernel has it.
    ///
    /// # Errors
    /// ENAMETOOLONG: a unix address holds 107 bytes; EINVAL: `Unnamed` is none.
    pub(super) fn to_kernel(&self) -> io::Result<Box<dyn SockaddrLike>> {
        Ok(match self {
            Address::Inet(address) => Box::new(SockaddrStorage::from(*address)),
            Address::Path(path) => Box::new(UnixAddr::new(path)?),
            Address::Abstract(name) => Box::new(UnixAddr::new_abstract(name)?),
            Address::Unnamed => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
        })
    }

    pub(super) fn from_kernel(address: &SockaddrStorage) -> Address {
        if let Some(v4) = address.as_sockaddr_in() {
            return Address::Inet(std::net::SocketAddrV4::from(*v4).into());
        }
        if let Some(v6) = address.as_sockaddr_in6() {
            return Address::Inet(std::net::SocketAddrV6::from(*v6).into());
        }
        let unix = address.as_unix_addr();
        let path = unix.and_then(UnixAddr::path).filter(|path| !path.as_os_str().is_empty());
        match (path, unix.and_then(UnixAddr::as_abstract)) {
            (Some(path), _) => Address::Path(path.to_path_buf()),
            (None, Some(name)) => Address::Abstract(name.to_vec()),
            (None, None) => Address::Unnamed,
        }
    }

    /// Reads `/path` and `@name` (sd_listen_fds(3), sd_notify(3)); `None` for anything else.
    pub fn unix(text: &std::ffi::OsStr) -> Option<Address> {
        match text.as_bytes() {
            [b'/', ..] => Some(Address::Path(text.into())),
            [b'@', name @ ..] if !name.is_empty() => Some(Address::Abstract(name.to_vec())),
            _ => None,
        }
    }
}

/// What a socket carries (socket(2)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SocketKind {
    /// SOCK_STREAM: TCP.
    Stream,
    /// SOCK_DGRAM: UDP.
    Datagram,
    /// SOCK_SEQPACKET: unix sockets only.
    SequentialPacket,
}

impl SocketKind {
    fn number(self) -> SockType {
        match self {
            SocketKind::Stream => SockType::Stream,
            SocketKind::Datagram => SockType::Datagram,
            SocketKind::SequentialPacket => SockType::SeqPacket,
        }
    }
}

/// A new socket, non-blocking.
///
/// # Errors
/// socket(2)'s: EAFNOSUPPORT without that family, EMFILE.
pub(super) fn new(family: AddressFamily, kind: SocketKind) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, kind.number(), flags, None)?)
}

/// Sets a number (setsockopt(2)).
///
/// # Errors
/// setsockopt(2)'s.
pub(super) fn set(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: a C `int` is plain bytes.
    unsafe { set_raw(fd, level, name, &value) }
}

/// Sets anything.
///
/// # Safety
/// `T` is what the kernel reads for this option, and whatever it points to is valid.
pub(super) unsafe fn set_raw<T>(
    fd: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &T,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let place = std::ptr::from_ref(value).cast();
    // SAFETY: the place and its size are those of `value`; its meaning is the caller's promise.
    cvt(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, place, size) }).map(drop)
}

/// Gets a number (getsockopt(2)).
///
/// # Errors
/// getsockopt(2)'s.
pub(super) fn get(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut size = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(0);
    let place = (&raw mut value).cast();
    // SAFETY: the place and its size are those of `value`.
    cvt(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, place, &raw mut size) })?;
    Ok(value)
}

/// Whether calls on it wait. It belongs to the open file, not to the number: a program that got
/// this socket sees the change.
///
/// # Errors
/// fcntl(2)'s.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: FIONBIO reads one C `int`, which lives through the call.
    cvt(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw const value) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_to_the_kernel_and_back() {
        for (address, shown) in [
            (Address::Inet("127.0.0.1:80".parse().unwrap()), "127.0.0.1:80"),
            (Address::Inet("[::1]:8080".parse().unwrap()), "[::1]:8080"),
            (Address::Path("/run/x.sock".into()), "/run/x.sock"),
            (Address::Abstract(b"rinit/x".to_vec()), "@rinit/x"),
        ] {
            assert_eq!(address.to_string(), shown);
            let kernel = address.to_kernel().unwrap();
            let length = Some(kernel.len());
            // SAFETY: the address and its length are the kernel's own form.
            let storage = unsafe { SockaddrStorage::from_raw(kernel.as_ptr(), length) }.unwrap();
            assert_eq!(Address::from_kernel(&storage), address);
            let unix = Address::unix(shown.as_ref());
            assert_eq!(unix, matches!(address.family(), AddressFamily::Unix).then_some(address));
        }
        let long = Address::Path("x".repeat(108).into()).to_kernel().err().unwrap();
        assert_eq!(long.raw_os_error(), Some(libc::ENAMETOOLONG));
    }
}
