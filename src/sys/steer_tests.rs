//! Groups of real sockets and real connections: the kernel runs every program that is tested.

use super::*;
use crate::sys::listen::{Listen, ListenAddress, open};
use nix::sys::socket::connect;
use std::collections::BTreeMap;

struct Group {
    sockets: Vec<OwnedFd>,
    port: u16,
}

/// So many sockets at one address, in the order of their indices.
fn group(ip: &str, count: usize) -> Group {
    let mut group = Group { sockets: Vec::new(), port: 0 };
    for _ in 0..count {
        let address = Address::Inet(SocketAddr::new(ip.parse().unwrap(), group.port));
        let mut listen = Listen::new(ListenAddress::At(address), SocketKind::Stream);
        (listen.reuse_port, listen.nonblocking) = (true, true);
        let opened = open(&listen).unwrap();
        let Address::Inet(address) = opened.address else { panic!() };
        group.port = address.port();
        group.sockets.push(opened.fd);
    }
    group
}

/// A connection that ends with a reset, so that thousands leave no TIME_WAIT behind.
fn client(to: SocketAddr, source: Option<SocketAddr>, options: &[u8]) -> io::Result<OwnedFd> {
    let target = Address::Inet(to);
    let fd = socket::new(target.family(), SocketKind::Stream)?;
    socket::set_nonblocking(fd.as_fd(), false)?;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: SO_LINGER takes a `linger`.
    unsafe { socket::set_raw(fd.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger) }?;
    if let &[a, b, c, d] = options {
        // SAFETY: IP_OPTIONS takes bytes.
        unsafe { socket::set_raw(fd.as_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, &[a, b, c, d]) }?;
    }
    if let Some(source) = source {
        bind_source(&fd, &Address::Inet(source))?;
    }
    connect(fd.as_raw_fd(), target.to_kernel()?.as_ref())?;
    Ok(fd)
}

impl Group {
    /// Connects and sees who gets it.
    fn lands(&self, ip: &str, source: Option<SocketAddr>, options: &[u8]) -> usize {
        let to = SocketAddr::new(ip.parse().unwrap(), self.port);
        // A child of another test, on its way to its program, may hold the last one's descriptor.
        let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
        let mut tries = std::iter::repeat_with(|| client(to, source, options));
        let _client = tries.find(|made| !made.as_ref().is_err_and(in_use));
        let _client = _client.unwrap().unwrap();
        loop {
            let got = |(_, fd): &(usize, &OwnedFd)| {
                matches!(listener::accept(fd.as_fd()).unwrap(), listener::Accepted::Connection(..))
            };
            if let Some((index, _)) = self.sockets.iter().enumerate().find(got) {
                return index;
            }
            std::thread::yield_now();
        }
    }

    fn attach(&self, members: &[Member]) {
        // Any member will do: the program is the group's.
        attach(self.sockets.last().unwrap().as_fd(), members).unwrap();
    }

    /// How many of 2,000 connections each member gets.
    fn spread(&self, ip: &str) -> BTreeMap<usize, u32> {
        let mut counts = BTreeMap::new();
        for _ in 0..2_000 {
            *counts.entry(self.lands(ip, None, &[])).or_default() += 1;
        }
        counts
    }
}

fn ready(list: &[bool]) -> Vec<Member> {
    list.iter().map(|ready| Member { ready: *ready, probe_port: None }).collect()
}

/// 500 of 2,000 are expected: 200 off is ten standard deviations.
fn is_even(counts: &BTreeMap<usize, u32>, members: &[usize], bounds: std::ops::Range<u32>) {
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), members, "{counts:?}");
    assert!(counts.values().all(|count| bounds.contains(count)), "{counts:?}");
}

#[test]
fn clients_are_spread_over_the_ready() {
    let group = group("127.0.0.1", 4);
    group.attach(&ready(&[true; 4]));
    is_even(&group.spread("127.0.0.1"), &[0, 1, 2, 3], 300..700);
    group.attach(&ready(&[true, false, true, true]));
    is_even(&group.spread("127.0.0.1"), &[0, 2, 3], 467..867);
    group.attach(&ready(&[false, false, false, true]));
    is_even(&group.spread("127.0.0.1"), &[3], 2_000..2_001);
    group.attach(&ready(&[false; 4]));
    is_even(&group.spread("127.0.0.1"), &[0, 1, 2, 3], 300..700);
}

#[test]
fn a_probe_reaches_its_member_ready_or_not() {
    for (bound, ip) in [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::1"),
        ("::", "127.0.0.1"),
    ] {
        let group = group(bound, 4);
        let target: IpAddr = ip.parse().unwrap();
        let sources: Vec<_> = (0..4).map(|_| ProbeSource::reserve(target).unwrap()).collect();
        let is_ready = [true, false, true, false];
        let members: Vec<_> = (0..4)
            .map(|i| Member { ready: is_ready[i], probe_port: Some(sources[i].port()) })
            .collect();
        group.attach(&members);
        for round in 0..50 {
            for (index, source) in sources.iter().enumerate() {
                let source = Some(source.address());
                assert_eq!(group.lands(ip, source, &[]), index, "{bound} {ip} round {round}");
            }
        }
        is_even(&group.spread(ip), &[0, 2], 800..1_200);
    }
}

/// Options make the header longer: the port is not at byte 20 then.
#[test]
fn a_probe_is_known_by_its_port_wherever_that_stands() {
    let group = group("0.0.0.0", 2);
    let source = ProbeSource::reserve(Ipv4Addr::LOCALHOST.into()).unwrap();
    let members = [
        Member { ready: true, probe_port: None },
        Member { ready: false, probe_port: Some(source.port()) },
    ];
    group.attach(&members);
    for _ in 0..20 {
        let three_nops_and_the_end = [1, 1, 1, 0];
        let options = &three_nops_and_the_end;
        assert_eq!(group.lands("127.0.0.1", Some(source.address()), options), 1);
        assert_eq!(group.lands("127.0.0.1", None, options), 0);
    }
}

/// The same port from an address that is not loopback means nothing.
#[test]
fn only_this_machine_can_probe() {
    let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing; tells the address that leads out of here, if there is one.
    let own = udp.connect("203.0.113.1:9").and_then(|()| udp.local_addr());
    let Some(own) = own.ok().map(|own| own.ip()).filter(|ip| !ip.is_loopback()) else {
        println!("skipped: this machine has no address but loopback");
        return;
    };
    let group = group("0.0.0.0", 2);
    let source = ProbeSource::reserve(own).unwrap();
    let probed = Member { ready: false, probe_port: Some(source.port()) };
    group.attach(&[Member { ready: true, probe_port: None }, probed]);
    let ip = own.to_string();
    for _ in 0..20 {
        let elsewhere = SocketAddr::new(own, source.port());
        assert_eq!(group.lands(&ip, Some(elsewhere), &[]), 0);
        assert_eq!(group.lands(&ip, Some(source.address()), &[]), 1, "to another address of ours");
    }
}

#[test]
fn a_reserved_port_is_nobody_elses() {
    let source = ProbeSource::reserve(Ipv4Addr::LOCALHOST.into()).unwrap();
    assert!(source.address().ip().is_loopback());
    assert_ne!(source.port(), ProbeSource::reserve(Ipv4Addr::LOCALHOST.into()).unwrap().port());
    let server = group("127.0.0.1", 1);
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.port);
    let first = client(to, Some(source.address()), &[]).unwrap();
    let second = client(to, Some(source.address()), &[]).unwrap_err();
    assert_eq!(second.raw_os_error(), Some(libc::EADDRNOTAVAIL), "one at a time");
    drop(first);
    client(to, Some(source.address()), &[]).unwrap();
    // Who does not say SO_REUSEADDR cannot have it at all.
    let other = socket::new(nix::sys::socket::AddressFamily::Inet, SocketKind::Stream).unwrap();
    let kernel = Address::Inet(source.address()).to_kernel().unwrap();
    assert_eq!(bind(other.as_raw_fd(), kernel.as_ref()), Err(nix::errno::Errno::EADDRINUSE));
}

/// A worker calls listen(2) on what it inherits: its place stays.
#[test]
fn an_index_is_the_order_of_the_first_listen() {
    let group = group("127.0.0.1", 3);
    group.attach(&ready(&[true, false, false]));
    for fd in &group.sockets {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::listen(fd.as_raw_fd(), 100) }, 0);
        assert_eq!(group.lands("127.0.0.1", None, &[]), 0);
    }
    detach(group.sockets[1].as_fd()).unwrap();
    let counts = group.spread("127.0.0.1");
    assert_eq!(counts.len(), 3, "the kernel's own choice: {counts:?}");
    assert_eq!(detach(group.sockets[1].as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn what_cannot_be_steered_says_so() {
    let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = attach(alone.as_fd(), &ready(&[true])).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    let members = |count: usize| -> Vec<Member> {
        (0..count).map(|i| Member { ready: i != 0, probe_port: u16::try_from(i).ok() }).collect()
    };
    let group = group("127.0.0.1", 2);
    attach(group.sockets[0].as_fd(), &members(1_000)).unwrap();
    let error = attach(group.sockets[0].as_fd(), &members(1_100)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// Far jumps: with 300 members both tables are longer than a conditional jump reaches.
#[test]
fn many_members_are_steered() {
    let group = group("127.0.0.1", 300);
    let source = ProbeSource::reserve(Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut members = ready(&[false; 300]);
    for (index, member) in members.iter_mut().enumerate() {
        member.probe_port = u16::try_from(index).ok();
    }
    members[299].probe_port = Some(source.port());
    members[297].ready = true;
    group.attach(&members);
    for _ in 0..10 {
        assert_eq!(group.lands("127.0.0.1", Some(source.address()), &[]), 299);
        assert_eq!(group.lands("127.0.0.1", None, &[]), 297);
    }
}
