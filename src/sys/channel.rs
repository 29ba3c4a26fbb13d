//! A socket pair between rinit and its journal process: messages that stay whole, with
//! descriptors.
//!
//! Not what they say (`journal::protocol`). **Invariant:** neither end ever waits, and each
//! descriptor that comes is owned and close-on-exec from birth.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, socketpair,
};

/// A message is not longer, in bytes: the names of all units that one may ask for at once, behind
/// what else goes with them.
const MESSAGE_MAX: usize = 80 << 10;

/// So many descriptors go with one message (the kernel takes 253, unix(7)).
pub const DESCRIPTORS_MAX: usize = 64;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came.
#[derive(Debug)]
pub enum Received {
    /// A message, and the descriptors that came with it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing just now.
    Nothing,
    /// The other end is gone.
    End,
}

impl Channel {
    /// Both ends, close-on-exec.
    ///
    /// # Errors
    /// socketpair(2)'s.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Channel(one), Channel(other)))
    }

    /// The end that we were given as descriptor 3 or more.
    ///
    /// # Errors
    /// It is no such socket.
    pub fn inherited(fd: RawFd) -> io::Result<Channel> {
        let fd = super::inherited(fd)?;
        let channel = Channel(fd);
        let kind = nix::sys::socket::getsockopt(&channel.0, nix::sys::socket::sockopt::SockType)?;
        if kind == SockType::SeqPacket {
            Ok(channel)
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }

    /// Sends a message with at most [`DESCRIPTORS_MAX`]; `false`: there is no room just now.
    ///
    /// # Errors
    /// sendmsg(2)'s: EPIPE where the other end is gone.
    pub fn send(&self, message: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<bool> {
        let fds: Vec<RawFd> = with.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let part = [IoSlice::new(message)];
        match sendmsg::<UnixAddr>(self.0.as_raw_fd(), &part, control, flags, None) {
            Ok(_) => Ok(true),
            // Too many descriptors are on their way (ETOOMANYREFS): so many as there may be open.
            Err(nix::Error::EAGAIN | nix::Error::EINTR | nix::Error::ETOOMANYREFS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing will be sent any more: the other end sees that after the last message.
    pub fn close(&self) {
        let _ = nix::sys::socket::shutdown(self.0.as_raw_fd(), nix::sys::socket::Shutdown::Write);
    }

    /// The next message.
    ///
    /// # Errors
    /// recvmsg(2)'s, but for "nothing there": a descriptor was lost for lack of room (EMFILE).
    pub fn receive(&self) -> io::Result<Received> {
        // Only as much memory as the message has: who once had more keeps it.
        let look = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
        let size = match nix::sys::socket::recv(self.0.as_raw_fd(), &mut [], look) {
            Ok(size) => size.min(MESSAGE_MAX),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(Received::Nothing),
            Err(nix::Error::ECONNRESET) => return Ok(Received::End),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; size];
        let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let (size, fds, cut) = {
            let mut part = [IoSliceMut::new(&mut bytes)];
            let fd = self.0.as_raw_fd();
            let found = match recvmsg::<UnixAddr>(fd, &mut part, Some(&mut space), flags) {
                Ok(found) => found,
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(Received::Nothing),
                Err(nix::Error::ECONNRESET) => return Ok(Received::End),
                Err(error) => return Err(error.into()),
            };
            let mut fds = Vec::new();
            for entry in found.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::ScmRights(got) = entry {
                    // SAFETY: the kernel has just made each for us, and nobody else has it.
                    fds.extend(got.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            let lost = found.flags.contains(MsgFlags::MSG_CTRUNC);
            (found.bytes, fds, lost)
        };
        if cut {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        if size == 0 {
            return Ok(Received::End);
        }
        bytes.truncate(size);
        Ok(Received::Message(bytes, fds))
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn messages_stay_whole_and_bring_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        assert!(matches!(other.receive().unwrap(), Received::Nothing));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let all = vec![writer.as_fd(); DESCRIPTORS_MAX];
        assert!(one.send(b"first", &all).unwrap());
        assert!(one.send(b"second", &[]).unwrap());
        drop(writer);
        let Received::Message(text, fds) = other.receive().unwrap() else { panic!() };
        assert_eq!((&text[..], fds.len()), (&b"first"[..], DESCRIPTORS_MAX));
        for fd in fds {
            File::from(fd).write_all(b"x").unwrap();
        }
        let mut through = String::new();
        reader.read_to_string(&mut through).unwrap();
        assert_eq!(through, "x".repeat(DESCRIPTORS_MAX));
        let Received::Message(text, fds) = other.receive().unwrap() else { panic!() };
        assert_eq!((&text[..], fds.len()), (&b"second"[..], 0));
        drop(one);
        assert!(matches!(other.receive().unwrap(), Received::End));
        assert!(other.send(b"late", &[]).is_err());
    }

    #[test]
    fn a_full_channel_says_so() {
        let (one, _other) = Channel::pair().unwrap();
        let mut sent = 0;
        while one.send(b"message", &[]).unwrap() {
            sent += 1;
        }
        assert!(sent > 0);
    }
}
