//! Real sockets: what is opened is there and as declared, and what cannot be says why.

use super::*;
use crate::sys::listener;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

fn at(address: &str, kind: SocketKind) -> Listen {
    let address = match address.strip_prefix('@') {
        Some(name) => Address::Abstract(name.as_bytes().to_vec()),
        None if address.starts_with('/') => Address::Path(address.into()),
        None => Address::Inet(address.parse().unwrap()),
    };
    Listen::new(ListenAddress::At(address), kind)
}

fn tcp(address: &str) -> Listen {
    at(address, SocketKind::Stream)
}

fn port(opened: &Opened) -> u16 {
    let Address::Inet(address) = &opened.address else { panic!("{opened:?}") };
    address.port()
}

fn option(opened: &Opened, level: i32, name: i32) -> i32 {
    socket::get(opened.fd.as_fd(), level, name).unwrap()
}

#[test]
fn ports_are_served_on_the_address_that_was_asked_for() {
    for (address, reached, refused) in [
        ("127.0.0.1:0", "127.0.0.1", "::1"),
        ("[::1]:0", "::1", "127.7.7.7"),
        ("0.0.0.0:0", "127.0.0.1", "::1"),
    ] {
        let opened = open(&tcp(address)).unwrap();
        let to = |ip: &str| TcpStream::connect((ip, port(&opened)));
        assert!(to(reached).is_ok() && to(refused).is_err(), "{address}");
        assert_eq!(opened.warnings, [] as [&str; 0]);
    }
}

#[test]
fn a_bare_port_is_dual_stack_unless_it_is_not_to_be() {
    let listen = Listen::new(ListenAddress::Port(0), SocketKind::Stream);
    let opened = open(&listen).unwrap();
    assert_eq!(opened.address, Address::Inet(([0; 8], port(&opened)).into()));
    let to = |ip: &str, opened| TcpStream::connect((ip, port(opened)));
    assert!(to("127.0.0.1", &opened).is_ok() && to("::1", &opened).is_ok());
    let only = open(&Listen { bind_ipv6_only: BindIpv6Only::Ipv6Only, ..listen }).unwrap();
    assert!(to("127.7.7.7", &only).is_err() && to("::1", &only).is_ok());
    for errno in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
        assert!(is_without_ipv6(errno));
    }
    assert!(!is_without_ipv6(libc::EADDRINUSE));
}

#[test]
fn options_are_set() {
    let mut listen = tcp("127.0.0.1:0");
    let (ours, tcp_level) = (libc::SOL_SOCKET, libc::IPPROTO_TCP);
    let plain = open(&listen).unwrap();
    assert_eq!(option(&plain, tcp_level, libc::TCP_NODELAY), 1, "ours by default");
    assert_eq!(option(&plain, ours, libc::SO_REUSEADDR), 1);
    for (level, name) in [
        (ours, libc::SO_REUSEPORT),
        (ours, libc::SO_KEEPALIVE),
        (tcp_level, libc::TCP_DEFER_ACCEPT),
        (libc::IPPROTO_IP, libc::IP_FREEBIND),
    ] {
        assert_eq!(option(&plain, level, name), 0, "{level} {name}");
    }
    listen.no_delay = false;
    (listen.reuse_port, listen.keep_alive, listen.free_bind) = (true, true, true);
    (listen.defer_accept, listen.keep_alive_times) = (5, [11, 12, 13]);
    (listen.receive_buffer, listen.send_buffer) = (Some(65_536), Some(32_768));
    (listen.backlog, listen.nonblocking) = (17, true);
    let all = open(&listen).unwrap();
    for (level, name, expected) in [
        (tcp_level, libc::TCP_NODELAY, 0),
        (ours, libc::SO_REUSEPORT, 1),
        (ours, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_IP, libc::IP_FREEBIND, 1),
        (tcp_level, libc::TCP_KEEPIDLE, 11),
        (tcp_level, libc::TCP_KEEPINTVL, 12),
        (tcp_level, libc::TCP_KEEPCNT, 13),
        (ours, libc::SO_RCVBUF, 131_072), // the kernel doubles it (socket(7))
        (ours, libc::SO_SNDBUF, 65_536),
    ] {
        assert_eq!(option(&all, level, name), expected, "{level} {name}");
    }
    // Seconds become a number of retransmissions, and those seconds again.
    assert!((5..=10).contains(&option(&all, tcp_level, libc::TCP_DEFER_ACCEPT)));
    assert_eq!(listener::queue(all.fd.as_fd()).unwrap().limit, 17);
    for (opened, nonblocking) in [(&plain, false), (&all, true)] {
        // SAFETY: numbers only.
        let [status, descriptor] = [libc::F_GETFL, libc::F_GETFD]
            .map(|command| unsafe { libc::fcntl(opened.fd.as_raw_fd(), command) });
        assert_eq!(status & libc::O_NONBLOCK != 0, nonblocking);
        assert_eq!(descriptor & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

#[test]
fn what_cannot_be_opened_says_where_and_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = listener.local_addr().unwrap();
    let message = |listen: &Listen| open(listen).unwrap_err().message;
    let said = message(&tcp(&busy.to_string()));
    assert_eq!(
        said,
        format!("bind {busy}: Address already in use (another process listens there)")
    );
    drop(listener);
    assert_eq!(
        message(&tcp("203.0.113.1:80")),
        "bind 203.0.113.1:80: Cannot assign requested address (no interface has that address; \
         FreeBind=yes takes it anyway)"
    );
    let free = open(&Listen { free_bind: true, ..tcp("203.0.113.1:0") });
    assert!(free.is_ok(), "{free:?}");
    let long = format!("/{}", "x".repeat(107));
    let said = message(&tcp(&long));
    assert_eq!(said, format!("bind {long}: File name too long (a unix address holds 107 bytes)"));
    let denied = io::Error::from_raw_os_error(libc::EACCES);
    let at = |text: &str| Address::Inet(text.parse().unwrap());
    assert_eq!(
        failure("bind", &at("0.0.0.0:80"), &denied).message,
        "bind 0.0.0.0:80: Permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)"
    );
    assert!(!failure("bind", &at("0.0.0.0:8080"), &denied).message.contains("CAP"));
}

#[test]
fn unix_sockets_have_their_directory_mode_and_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/socket");
    let mut listen = tcp(path.to_str().unwrap());
    listen.access = FileAccess { mode: 0o620, directory_mode: 0o750, user: None, group: None };
    if crate::sys::own_uid() == 0 {
        (listen.access.user, listen.access.group) = (Some(12_345), Some(54_321));
    }
    let opened = open(&listen).unwrap();
    assert_eq!(opened.address, Address::Path(path.clone()));
    UnixStream::connect(&path).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o620);
    if let Some(user) = listen.access.user {
        assert_eq!((found.uid(), found.gid()), (user, 54_321));
    }
    for parent in ["a", "a/b"] {
        let found = fs::metadata(directory.path().join(parent)).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o750, "{parent}");
    }
}

#[test]
fn only_a_socket_without_an_owner_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    let text = path.to_str().unwrap();
    let [stream, datagram, packet] =
        [SocketKind::Stream, SocketKind::Datagram, SocketKind::SequentialPacket]
            .map(|kind| at(text, kind));
    for kind in [&stream, &datagram, &packet] {
        let held = open(kind).unwrap();
        for other in [&stream, &datagram, &packet] {
            let said = open(other).unwrap_err().message;
            assert!(said.ends_with("in use (another process has it open)"), "{said}");
        }
        drop(held); // and its file stays
    }
    drop(UnixDatagram::bind(directory.path().join("y")).unwrap());
    let stale = directory.path().join("y");
    assert!(open(&tcp(stale.to_str().unwrap())).is_ok());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let said = open(&stream).unwrap_err().message;
    assert_eq!(said, format!("bind {text}: there is something already, and it is no socket"));
    let fifo = Listen::new(ListenAddress::Fifo(path.clone()), SocketKind::Stream);
    let said = open(&fifo).unwrap_err().message;
    assert_eq!(said, format!("open {text}: there is something already, and no FIFO"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert!(UnixListener::bind(&path).is_err());
}

#[test]
fn abstract_names_are_served() {
    let name = format!("@rinit-test-{:x}", crate::sys::seed());
    let opened = open(&tcp(&name)).unwrap();
    assert_eq!(opened.address.to_string(), name);
    let said = open(&tcp(&name)).unwrap_err().message;
    assert_eq!(
        said,
        format!("bind {name}: Address already in use (another process listens there)")
    );
}

#[test]
fn a_fifo_can_be_read_and_never_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/fifo");
    let mut listen = Listen::new(ListenAddress::Fifo(path.clone()), SocketKind::Stream);
    (listen.access.mode, listen.nonblocking) = (0o600, true);
    let opened = open(&listen).unwrap();
    fs::write(&path, "hello").unwrap();
    let mut file = fs::File::from(opened.fd);
    let mut buffer = [0u8; 16];
    assert_eq!(io::Read::read(&mut file, &mut buffer).unwrap(), 5);
    let again = io::Read::read(&mut file, &mut buffer).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::WouldBlock, "no end of file without writers");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(open(&listen).is_ok(), "one that is there is used");
}

#[test]
fn datagrams_are_received() {
    let opened = open(&at("127.0.0.1:0", SocketKind::Datagram)).unwrap();
    let to = ("127.0.0.1", port(&opened));
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"hello", to).unwrap();
    let server = std::net::UdpSocket::from(opened.fd);
    assert_eq!(server.recv(&mut [0; 16]).unwrap(), 5);
}
