//! What senders of all kinds send, and what arrives of it.

use super::*;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use std::io::{IoSlice, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

fn sender(socket: &NotifySocket) -> UnixDatagram {
    let name = socket.name().strip_prefix('@').unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    client
}

fn send_with(client: &UnixDatagram, text: &[u8], descriptors: &[RawFd]) {
    let parts = [IoSlice::new(text)];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let sent = sendmsg::<UnixAddr>(client.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None);
    assert_eq!(sent.unwrap(), text.len());
}

fn receive(socket: &NotifySocket) -> Notification {
    socket.receive().unwrap().unwrap()
}

#[test]
fn a_message_has_its_senders_credentials() {
    let socket = NotifySocket::open().unwrap();
    assert!(socket.receive().unwrap().is_none(), "never waits");
    assert!(socket.name().starts_with("@rinit/notify/") && socket.name().len() == 14 + 32);
    assert_ne!(socket.name(), NotifySocket::open().unwrap().name());
    sender(&socket).send(b"READY=1").unwrap();
    let got = receive(&socket);
    assert_eq!((got.pid, got.uid), (crate::sys::own_pid(), crate::sys::own_uid()));
    assert_eq!(got.text, b"READY=1");
    assert!(got.descriptors.is_empty() && !got.too_long && !got.descriptors_lost);
    assert!(socket.receive().unwrap().is_none());
}

#[test]
fn another_process_is_known_by_its_pid() {
    let socket = NotifySocket::open().unwrap();
    let script = "import os,socket; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
        s.sendto(b'READY=1','\\0'+os.environ['NOTIFY_SOCKET'][1:])";
    let python = std::process::Command::new("python3")
        .args(["-c", script])
        .env("NOTIFY_SOCKET", socket.name())
        .spawn();
    let Ok(mut child) = python else {
        println!("skipped: python3 does not run here");
        return;
    };
    let pid = Pid::try_from(child.id()).unwrap();
    assert!(child.wait().unwrap().success());
    // Dead and reaped: the message still says who it was.
    assert_eq!(receive(&socket).pid, pid);
}

#[test]
fn descriptors_arrive_close_on_exec_and_are_owned() {
    let socket = NotifySocket::open().unwrap();
    let client = sender(&socket);
    let (mut read, write) = std::io::pipe().unwrap();
    send_with(&client, b"FDSTORE=1", &[write.as_raw_fd(), write.as_raw_fd()]);
    drop(write);
    let got = receive(&socket);
    assert_eq!((got.descriptors.len(), got.text.as_slice()), (2, &b"FDSTORE=1"[..]));
    for fd in &got.descriptors {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }, libc::FD_CLOEXEC);
    }
    drop(got);
    // The end of the pipe: nobody has its other side any more.
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

#[test]
fn as_many_descriptors_as_can_be_sent_arrive() {
    let socket = NotifySocket::open().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    send_with(&sender(&socket), b"x", &[write.as_raw_fd(); DESCRIPTORS_MAX]);
    drop(write);
    let got = receive(&socket);
    assert_eq!((got.descriptors.len(), got.descriptors_lost), (DESCRIPTORS_MAX, false));
    assert_eq!(got.pid, crate::sys::own_pid(), "the credentials have room beside them");
    drop(got);
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_is_too_long_says_nothing_and_leaks_nothing() {
    let socket = NotifySocket::open().unwrap();
    let client = sender(&socket);
    let (mut read, write) = std::io::pipe().unwrap();
    send_with(&client, &[b'x'; MESSAGE_MAX + 1], &[write.as_raw_fd()]);
    drop(write);
    let got = receive(&socket);
    assert!(got.too_long && got.text.is_empty() && got.descriptors.is_empty());
    assert_eq!(got.pid, crate::sys::own_pid(), "so it can be said who it was");
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
    client.send(&[b'y'; MESSAGE_MAX]).unwrap();
    assert_eq!(receive(&socket).text.len(), MESSAGE_MAX);
    client.send(b"").unwrap();
    assert_eq!(receive(&socket).text, b"");
}
