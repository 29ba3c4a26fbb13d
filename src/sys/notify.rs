//! The socket on which services say sd_notify(3): who sent what, with which descriptors.
//!
//! Not what a message means (`unit::notification`) and not who may send one (NotifyAccess=, the
//! shell). The address is abstract: it works for every uid and with a read-only root, and nothing
//! is left behind. It is the network namespace's, so the sender's credentials decide, never the
//! knowledge of the name. The kernel counts a datagram against its sender, and a full queue
//! (net.unix.max_dgram_qlen) makes the sender wait: nothing is lost, and there is no buffer of ours
//! to enlarge. **Invariant:** every descriptor that comes is in the [`Notification`], which owns
//! it, or closed; it is close-on-exec from birth.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, bind};

use super::socket::{self, Address, SocketKind};
use super::{Pid, seed};

/// A message is not longer, in bytes (systemd's NOTIFY_BUFFER_MAX, which is PIPE_BUF).
const MESSAGE_MAX: usize = 4096;

/// As many descriptors as one message carries (SCM_MAX_FD of include/net/scm.h).
const DESCRIPTORS_MAX: usize = 253;

/// Room for them and the credentials, with their headers, in words: so it is aligned.
const CONTROL_WORDS: usize = (DESCRIPTORS_MAX * 4 + 12 + 4 * 16).div_ceil(8) + 8;

/// Where services send.
#[derive(Debug)]
pub struct NotifySocket {
    fd: OwnedFd,
    name: String,
}

/// One message.
#[derive(Debug)]
pub struct Notification {
    /// Who sent it, as our pid namespace has it; 0 from outside of it.
    pub pid: Pid,
    /// The sender's user.
    pub uid: u32,
    /// What it said; empty if it was too long.
    pub text: Vec<u8>,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
    /// It was longer than 4096 bytes: it is to be ignored, as systemd does.
    pub too_long: bool,
    /// Not all descriptors came: we have no room for more (EMFILE).
    pub descriptors_lost: bool,
}

impl NotifySocket {
    /// Opens one at a new random address, non-blocking.
    ///
    /// # Errors
    /// socket(2)'s and bind(2)'s: EMFILE, ENOMEM.
    pub fn open() -> io::Result<NotifySocket> {
        let fd = socket::new(AddressFamily::Unix, SocketKind::Datagram)?;
        // First: a message from before it would have no credentials.
        socket::set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
        let name = format!("rinit/notify/{:016x}{:016x}", seed(), seed());
        let address = Address::Abstract(name.clone().into_bytes());
        bind(fd.as_raw_fd(), address.to_kernel()?.as_ref())?;
        Ok(NotifySocket { fd, name: format!("@{name}") })
    }

    /// What `NOTIFY_SOCKET` says: `@rinit/notify/…`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next message; `None`: there is none just now.
    ///
    /// # Errors
    /// recvmsg(2)'s, but for "nothing there" and interruptions: ENOMEM.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        let mut text = vec![0u8; MESSAGE_MAX];
        let mut control = [0u64; CONTROL_WORDS];
        let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
        // SAFETY: a `msghdr` is plain numbers and pointers; all zeroes is one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: all that `header` points to is valid for writing and lives on.
        let size = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, flags) };
        let Ok(size) = usize::try_from(size) else {
            let error = io::Error::last_os_error();
            return if super::is_passing(&error) { Ok(None) } else { Err(error) };
        };
        text.truncate(size);
        let mut found = Notification {
            pid: 0,
            uid: u32::MAX,
            text,
            descriptors: Vec::new(),
            too_long: header.msg_flags & libc::MSG_TRUNC != 0,
            descriptors_lost: header.msg_flags & libc::MSG_CTRUNC != 0,
        };
        // SAFETY: the kernel has just filled `header` and the buffer that it points to.
        unsafe { found.take_control(&header) };
        if found.too_long {
            found.text.clear();
            found.descriptors.clear();
        }
        Ok(Some(found))
    }
}

impl Notification {
    /// Reads the credentials and takes every descriptor (cmsg(3)).
    ///
    /// # Safety
    /// `header` is as recvmsg(2) left it, its buffer lives, and this is called once.
    unsafe fn take_control(&mut self, header: &libc::msghdr) {
        // SAFETY: by the caller's promise; these macros stay inside of the buffer.
        let mut entry = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !entry.is_null() {
            // SAFETY: an entry that is not null is a whole header in the buffer, which is aligned.
            let (level, kind, length, data) = unsafe {
                let entry = &*entry;
                (entry.cmsg_level, entry.cmsg_type, entry.cmsg_len, libc::CMSG_DATA(entry))
            };
            // SAFETY: a number.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast)] // 32 bits with musl
            let size = (length as usize).saturating_sub(before);
            if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
                for index in 0..size / size_of::<RawFd>() {
                    // SAFETY: the entry holds that many numbers; each is a descriptor that the
                    // kernel has just made for us, and nobody else has it.
                    let fd = unsafe {
                        let number = data.cast::<RawFd>().add(index).read_unaligned();
                        OwnedFd::from_raw_fd(number)
                    };
                    self.descriptors.push(fd);
                }
            } else if level == libc::SOL_SOCKET
                && kind == libc::SCM_CREDENTIALS
                && size >= size_of::<libc::ucred>()
            {
                // SAFETY: the entry is that large.
                let sender = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                (self.pid, self.uid) = (sender.pid, sender.uid);
            }
            // SAFETY: as above.
            entry = unsafe { libc::CMSG_NXTHDR(header, entry) };
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for NotifySocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
