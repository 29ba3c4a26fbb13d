//! Who is at the other end of a unix socket, and whether anybody is behind a path.
//!
//! Not what they may do (`init::control`). **Invariant:** nothing here waits: a connection is
//! tried without blocking.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Pid, cvt};

/// A process as it was when it connected (unix(7), SO_PEERCRED).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its pid as our namespace has it; 0 from outside of it.
    pub pid: Pid,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// Who connected.
///
/// # Errors
/// As getsockopt(2).
pub fn of(stream: &impl AsRawFd) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: `found` and `size` are valid for writing, and `size` says how large `found` is.
    cvt(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut size,
        )
    })?;
    Ok(Peer { pid: found.pid, uid: found.uid, gid: found.gid })
}

/// Whether who connected has this group among its supplementary ones (socket(7), SO_PEERGROUPS).
/// A kernel that does not tell (before 4.13) says no.
pub fn has_group(stream: &UnixStream, gid: u32) -> bool {
    let mut groups = vec![0u32; 256];
    for _ in 0..2 {
        let mut size = libc::socklen_t::try_from(groups.len() * 4).unwrap_or(0);
        // SAFETY: the pointer and the size are those of `groups`; the kernel writes no more.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        let count = usize::try_from(size).unwrap_or(0) / 4;
        if result == 0 {
            return groups.iter().take(count).any(|group| *group == gid);
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::ERANGE) {
            return false;
        }
        groups.resize(count.min(1 << 16), 0); // NGROUPS_MAX
    }
    false
}

/// Whether somebody listens on the socket at `path`.
///
/// # Errors
/// It cannot be told, for reasons of connect(2) other than "nobody does".
pub fn is_listening(path: &Path) -> io::Result<bool> {
    let mut address: libc::sockaddr_un =
        // SAFETY: all zeroes is a valid sockaddr_un.
        unsafe { std::mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or(1);
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes no memory of ours.
    let fd = cvt(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the descriptor was just made, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>()).unwrap_or(0);
    // SAFETY: the address and its size are those of `address`, which lives through the call.
    let result = unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), size) };
    match cvt(result) {
        Ok(_) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(true), // its queue is full: it is alive, and busy
            Some(libc::ECONNREFUSED | libc::ENOENT) => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn we_are_our_own_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of(&one).unwrap();
        assert_eq!((peer.pid, peer.uid), (crate::sys::own_pid(), crate::sys::own_uid()));
        assert!(!has_group(&one, 4_000_000_000));
    }

    #[test]
    fn a_socket_without_listener_is_stale() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert!(!is_listening(&path).unwrap());
        let listener = UnixListener::bind(&path).unwrap();
        assert!(is_listening(&path).unwrap());
        drop(listener);
        assert!(!is_listening(&path).unwrap());
        assert!(is_listening(Path::new(&"x".repeat(200))).is_err());
    }
}
