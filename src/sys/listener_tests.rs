//! Loopback connections against a listener that is changed under them.

use super::*;
use crate::sys::listen::{Listen, ListenAddress, Opened, open};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

fn listening() -> (Opened, SocketAddr) {
    listening_at("127.0.0.1:0")
}

fn listening_at(ip: &str) -> (Opened, SocketAddr) {
    let address = Address::Inet(ip.parse().unwrap());
    let opened = open(&Listen::new(ListenAddress::At(address), SocketKind::Stream)).unwrap();
    let Address::Inet(address) = opened.address else { panic!("{opened:?}") };
    (opened, address)
}

fn connect(to: SocketAddr) -> Result<TcpStream, ErrorKind> {
    TcpStream::connect(to).map_err(|error| error.kind())
}

/// Waits for it: the last segment of a handshake may still be on its way when connect returns.
fn queue_becomes(fd: BorrowedFd<'_>, length: u32) {
    while queue_length(fd).unwrap() != length {
        std::thread::yield_now();
    }
}

#[test]
fn the_queue_is_counted() {
    let (opened, address) = listening();
    let fd = opened.fd.as_fd();
    assert_eq!(queue_length(fd).unwrap(), 0);
    let clients: Vec<_> = (0..3).map(|_| connect(address).unwrap()).collect();
    queue_becomes(fd, 3);
    socket::set_nonblocking(fd, true).unwrap();
    let Accepted::Connection(_, peer) = accept(fd).unwrap() else { panic!("nobody") };
    assert_eq!(peer, Address::Inet(clients[0].local_addr().unwrap()));
    assert_eq!(queue_length(fd).unwrap(), 2);
    assert!(matches!(accept(fd).unwrap(), Accepted::Connection(..)));
    assert!(matches!(accept(fd).unwrap(), Accepted::Connection(..)));
    assert!(matches!(accept(fd).unwrap(), Accepted::Nobody));
    let other =
        std::os::unix::net::UnixListener::bind(tempfile::tempdir().unwrap().path().join("x"));
    assert!(queue(other.unwrap().as_fd()).is_err());
}

#[test]
fn new_ones_are_refused_and_the_queued_are_served() {
    for ip in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let (opened, address) = listening_at(ip);
        let mut queued = connect(address).unwrap();
        queued.write_all(b"ping").unwrap();
        refuse_new(opened.fd.as_fd()).unwrap();
        assert_eq!(connect(address).unwrap_err(), ErrorKind::ConnectionRefused, "{ip}");
        queue_becomes(opened.fd.as_fd(), 1);
        let server = TcpListener::from(opened.fd.try_clone().unwrap());
        let (mut accepted, _) = server.accept().unwrap();
        let mut buffer = [0u8; 4];
        accepted.read_exact(&mut buffer).unwrap();
        accepted.write_all(b"pong").unwrap();
        drop(accepted);
        let mut answer = String::new();
        queued.read_to_string(&mut answer).unwrap();
        assert_eq!((&buffer, answer.as_str()), (b"ping", "pong"));
        match accept_new(opened.fd.as_fd()) {
            Ok(()) => assert!(connect(address).is_ok()),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }
}

/// With TCP_DEFER_ACCEPT a connection is half open for the kernel until it speaks: it still gets
/// in after new ones are refused.
#[test]
fn what_is_half_open_still_gets_in() {
    let (opened, address) = listening();
    let fd = opened.fd.as_fd();
    socket::set(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 30).unwrap();
    let mut silent = connect(address).unwrap();
    assert_eq!(queue_length(fd).unwrap(), 0, "kept back");
    refuse_new(fd).unwrap();
    assert_eq!(connect(address).unwrap_err(), ErrorKind::ConnectionRefused);
    silent.write_all(b"ping").unwrap();
    let server = TcpListener::from(opened.fd.try_clone().unwrap());
    let (mut accepted, _) = server.accept().unwrap();
    let mut buffer = [0u8; 4];
    accepted.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
}

#[test]
fn a_group_is_refused_when_all_its_members_are() {
    let mut listen = Listen::new(
        ListenAddress::At(Address::Inet("127.0.0.1:0".parse().unwrap())),
        SocketKind::Stream,
    );
    listen.reuse_port = true;
    let first = open(&listen).unwrap();
    let Address::Inet(address) = first.address else { panic!("{first:?}") };
    listen.address = ListenAddress::At(first.address.clone());
    let second = open(&listen).unwrap();
    // More than enough for both to have some, whatever the kernel's hash says.
    let queued: Vec<_> = (0..40).map(|_| connect(address).unwrap()).collect();
    let both = [first.fd.as_fd(), second.fd.as_fd()];
    for fd in both {
        refuse_new(fd).unwrap();
    }
    for _ in 0..40 {
        assert_eq!(connect(address).unwrap_err(), ErrorKind::ConnectionRefused);
    }
    while both.map(|fd| queue_length(fd).unwrap()).iter().sum::<u32>() < 40 {
        std::thread::yield_now();
    }
    drop(queued);
}

#[test]
fn a_shutdown_is_for_everybody() {
    let (opened, address) = listening();
    let copy = opened.fd.try_clone().unwrap();
    assert!(is_listening(copy.as_fd()).unwrap());
    let mut queued = connect(address).unwrap();
    queue_becomes(copy.as_fd(), 1);
    shutdown(opened.fd.as_fd()).unwrap();
    assert_eq!(connect(address).unwrap_err(), ErrorKind::ConnectionRefused);
    let reset = queued.read(&mut [0]).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    let waiting = TcpListener::from(copy.try_clone().unwrap()).accept().unwrap_err();
    assert_eq!(waiting.raw_os_error(), Some(libc::EINVAL));
    assert!(!is_listening(copy.as_fd()).unwrap());
    assert!(queue(copy.as_fd()).is_err());
}

#[test]
fn kinds_and_inodes() {
    let (opened, _) = listening();
    assert_eq!(kind(opened.fd.as_fd()).unwrap(), Some(SocketKind::Stream));
    let link = format!("/proc/self/fd/{}", opened.fd.as_raw_fd());
    let expected = format!("socket:[{}]", inode(opened.fd.as_fd()).unwrap());
    assert_eq!(std::fs::read_link(link).unwrap().to_str(), Some(expected.as_str()));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(kind(file.as_fd()).is_err() && local_address(file.as_fd()).is_err());
}
