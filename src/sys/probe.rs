//! A connection that asks a service whether it is well: the bare steps, none of which waits.
//!
//! Not what is said on it (`http_probe`), not how often and what follows (the manager), not whom it
//! reaches behind one port (`steer`). **Invariant:** its end is a reset (SO_LINGER 0): no
//! TIME_WAIT holds the source port, so the next probe can have it at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, connect, getpeername, recv, send};

use super::errno_of;
use super::socket::{self, Address, SocketKind};
use super::steer::bind_source;

/// A TCP connection on its way or made.
#[derive(Debug)]
pub struct ProbeSocket {
    fd: OwnedFd,
    to: SocketAddr,
}

impl ProbeSocket {
    /// Begins to connect, from this source (a [`super::steer::ProbeSource`]'s address) if given.
    ///
    /// # Errors
    /// What connect(2) says at once: ECONNREFUSED on loopback, EADDRNOTAVAIL if another probe has
    /// this source just now.
    pub fn connect(to: SocketAddr, source: Option<SocketAddr>) -> io::Result<ProbeSocket> {
        let target = Address::Inet(to);
        let fd = socket::new(target.family(), SocketKind::Stream)?;
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: SO_LINGER takes a `linger`.
        unsafe { socket::set_raw(fd.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger) }?;
        socket::set(fd.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        if let Some(source) = source {
            bind_source(&fd, &Address::Inet(source))?;
        }
        match connect(fd.as_raw_fd(), target.to_kernel()?.as_ref()).map_err(io::Error::from) {
            Err(error) if errno_of(&error) != libc::EINPROGRESS => Err(error),
            Ok(()) | Err(_) => Ok(ProbeSocket { fd, to }),
        }
    }

    /// Whether the connection is made; for a `Tcp=` probe that is all.
    ///
    /// # Errors
    /// Why it will not be (connect(2)).
    pub fn is_connected(&self) -> io::Result<bool> {
        match socket::get(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR)? {
            0 => Ok(getpeername::<SockaddrStorage>(self.fd.as_raw_fd()).is_ok()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Sends as much as goes; `None`: nothing just now.
    ///
    /// # Errors
    /// send(2)'s.
    pub fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        unless_passing(send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL))
    }

    /// Receives what is there: 0 bytes are the end; `None`: nothing just now.
    ///
    /// # Errors
    /// recv(2)'s.
    pub fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        unless_passing(recv(self.fd.as_raw_fd(), into, MsgFlags::empty()))
    }

    /// Where it leads.
    pub fn target(&self) -> SocketAddr {
        self.to
    }
}

fn unless_passing(result: nix::Result<usize>) -> io::Result<Option<usize>> {
    match result.map_err(io::Error::from) {
        Ok(size) => Ok(Some(size)),
        Err(error) if super::is_passing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl AsFd for ProbeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ProbeSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Waits, in tests, until something can be done on it.
#[cfg(test)]
pub(super) fn wait(socket: &ProbeSocket, events: libc::c_short) {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd, which lives through the call.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, -1) }, 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::steer::ProbeSource;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn the_same_source_is_used_again_at_once() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let server = TcpListener::bind(ip).unwrap();
            let to = server.local_addr().unwrap();
            let source = ProbeSource::reserve(to.ip()).unwrap();
            // Whoever closes first would else be in TIME_WAIT, and the second time it fails.
            for server_first in [true, false, true, false, true] {
                let probe = ProbeSocket::connect(to, Some(source.address())).unwrap();
                wait(&probe, libc::POLLOUT);
                assert!(probe.is_connected().unwrap());
                assert_eq!(probe.write(b"ping").unwrap(), Some(4));
                let (mut accepted, from) = server.accept().unwrap();
                assert_eq!(from, source.address());
                let mut buffer = [0u8; 4];
                accepted.read_exact(&mut buffer).unwrap();
                assert_eq!(probe.read(&mut buffer).unwrap(), None, "never waits");
                accepted.write_all(b"pong").unwrap();
                wait(&probe, libc::POLLIN);
                assert_eq!(probe.read(&mut buffer).unwrap(), Some(4));
                if server_first {
                    drop(accepted);
                    wait(&probe, libc::POLLIN);
                    assert_eq!(probe.read(&mut buffer).unwrap(), Some(0));
                } else {
                    drop(probe);
                    let reset = accepted.read(&mut buffer).unwrap_err();
                    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
                }
            }
        }
    }

    #[test]
    fn nobody_there() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        drop(server);
        let refused = match ProbeSocket::connect(to, None) {
            Ok(probe) => {
                wait(&probe, libc::POLLOUT);
                probe.is_connected().unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
