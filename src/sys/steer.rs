//! Which socket of a reuseport group gets a connection: a classic BPF program (socket(7),
//! SO_ATTACH_REUSEPORT_CBPF) that the kernel asks for each new one. It needs no privilege.
//!
//! Not opening the sockets (`listen`, with `reuse_port`) and not who is ready (the manager).
//! A connection from this machine itself whose source port is a member's [`ProbeSource`] goes to
//! that member, ready or not; every other one goes to a ready member at random, or to any if none
//! is ready: then a queue is better than a refusal. A handshake that has begun stays where it is.
//!
//! A member's index is the order of listen(2), counted from 0, at one address. When a member
//! leaves the group (it is closed by all holders, or somebody calls shutdown(2) on it), the kernel
//! moves the last one into its place. **Invariant:** so no member is closed or shut down alone:
//! all go, or none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::sock_filter;
use nix::sys::socket::bind;

use super::listener::{self, instruction};
use super::socket::{self, Address, SocketKind};

/// One socket of the group.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Member {
    /// New connections may come to it.
    pub ready: bool,
    /// The port of its [`ProbeSource`].
    pub probe_port: Option<u16>,
}

/// Steers the group to which `fd` belongs, from the next connection on; replaces the program
/// that was there. `members` is the whole group, in the order of listen(2).
///
/// # Errors
/// setsockopt(2)'s: EINVAL if `fd` is in no group, ENOPROTOOPT before Linux 4.5; and
/// `InvalidInput` for more members than a program can hold (some 1,000).
pub fn attach(fd: BorrowedFd<'_>, members: &[Member]) -> io::Result<()> {
    let code = program(members);
    if code.len() > PROGRAM_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    listener::attach(fd, libc::SO_ATTACH_REUSEPORT_CBPF, &code)
}

/// Back to the kernel's own choice, by a hash of the addresses.
///
/// # Errors
/// setsockopt(2)'s: ENOENT if nothing is attached, ENOPROTOOPT before Linux 5.3.
pub fn detach(fd: BorrowedFd<'_>) -> io::Result<()> {
    socket::set(fd, libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
}

/// include/uapi/asm-generic/socket.h.
const SO_DETACH_REUSEPORT_BPF: i32 = 68;

/// BPF_MAXINSNS of include/uapi/linux/bpf_common.h.
const PROGRAM_MAX: usize = 4096;

/// A source port on this machine that is one member's and nobody else's while this lives.
///
/// A probe must choose its source port itself, and again and again the same. So a socket that
/// never connects is bound to a loopback port that the kernel chooses, with SO_REUSEADDR, and kept:
/// - connect(2) without bind(2) never takes a port that somebody has bound, and bind(2) to port 0
///   takes none that is in use, so no client gets it by chance;
/// - bind(2) to that very port works for a probe, because both have SO_REUSEADDR and neither
///   listens (inet_bind_conflict() of net/ipv4/inet_connection_sock.c);
/// - a probe closes with SO_LINGER 0: a reset, no TIME_WAIT, so the next one may use the same
///   four numbers at once. One probe of a member at a time, or the second fails (EADDRNOTAVAIL).
///
/// It needs no privilege and no range of ports set aside. A process here that binds the port by
/// its number, with SO_REUSEADDR, reaches that member: no more than it could do to any worker by
/// other means. From elsewhere nobody can: a packet from a loopback address does not come in.
#[derive(Debug)]
pub struct ProbeSource {
    _kept: OwnedFd,
    address: SocketAddr,
}

impl ProbeSource {
    /// Reserves a port for probes of a service at `target`, which says the family.
    ///
    /// # Errors
    /// socket(2)'s and bind(2)'s: EADDRINUSE when no port is left.
    pub fn reserve(target: IpAddr) -> io::Result<ProbeSource> {
        let loopback: IpAddr = match target {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let any = Address::Inet(SocketAddr::new(loopback, 0));
        let kept = socket::new(any.family(), SocketKind::Stream)?;
        bind_source(&kept, &any)?;
        match listener::local_address(kept.as_fd())? {
            Address::Inet(address) => Ok(ProbeSource { _kept: kept, address }),
            Address::Path(_) | Address::Abstract(_) | Address::Unnamed => {
                Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
            }
        }
    }

    /// What a probe binds.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What [`Member::probe_port`] says.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Binds a socket that is to connect.
///
/// # Errors
/// setsockopt(2)'s, bind(2)'s.
pub(super) fn bind_source(fd: &OwnedFd, address: &Address) -> io::Result<()> {
    socket::set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let kernel = address.to_kernel()?;
    bind(fd.as_raw_fd(), kernel.as_ref()).map_err(io::Error::from)
}

/// A jump whose way is filled in at the end, to where a source port is looked up.
const TO_PROBES: u32 = u32::MAX;
/// The same to where one is chosen at random.
const TO_RANDOM: u32 = u32::MAX - 1;

// Operations (include/uapi/linux/bpf_common.h).
const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
/// From X on.
const LOAD_HALF_AT: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
/// X = 4 × the lower half of a byte: the length of an IPv4 header.
const LOAD_X_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const SHIFT_RIGHT: u32 = libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const RETURN_A: u32 = libc::BPF_RET | libc::BPF_A;

/// A byte of the IP header: the program is run with the data behind the TCP header
/// (run_bpf_filter() of net/core/sock_reuseport.c), and negative offsets are relative to others.
const fn network(offset: u32) -> u32 {
    libc::SKF_NET_OFF.cast_unsigned().wrapping_add(offset)
}

/// A random number.
const RANDOM: u32 = libc::SKF_AD_OFF.wrapping_add(libc::SKF_AD_RANDOM).cast_unsigned();

/// The whole program; it returns an index.
fn program(members: &[Member]) -> Vec<sock_filter> {
    let mut code = Vec::new();
    let mut add = |operation, k| code.push(instruction(operation, 0, 0, k));
    // The upper half of the first byte is the version: a dual-stack socket gets both.
    add(LOAD_BYTE, network(0));
    add(SHIFT_RIGHT, 4);
    let (from_v4, from_v6) = (from_loopback_v4(), from_loopback_v6());
    let length = u32::try_from(from_v4.len()).unwrap_or(0);
    code.push(instruction(IF_EQUAL, 1, 0, 4));
    code.push(instruction(JUMP, 0, 0, length));
    code.extend(from_v4);
    code.extend(unless_equal(6));
    code.extend(from_v6);
    let probes = code.len();
    for (index, member) in (0u32..).zip(members) {
        if let Some(port) = member.probe_port {
            code.extend(if_equal_return(port.into(), index));
        }
    }
    let random = code.len();
    code.extend(at_random(members));
    for (place, jump) in code.iter_mut().enumerate().filter(|(_, code)| is_jump(code)) {
        let target = match jump.k {
            TO_PROBES => probes,
            TO_RANDOM => random,
            _ => continue,
        };
        jump.k = u32::try_from(target - place - 1).unwrap_or(0);
    }
    code
}

fn is_jump(code: &sock_filter) -> bool {
    u32::from(code.code) == JUMP
}

/// From 127.0.0.0/8: A is the source port, which stands behind the header and its options.
fn from_loopback_v4() -> Vec<sock_filter> {
    let mut code = vec![instruction(LOAD_BYTE, 0, 0, network(12))];
    code.extend(unless_equal(127));
    code.push(instruction(LOAD_X_LENGTH, 0, 0, network(0)));
    code.push(instruction(LOAD_HALF_AT, 0, 0, network(0)));
    code.push(instruction(JUMP, 0, 0, TO_PROBES));
    code
}

/// From ::1, without extension headers: A is the source port.
fn from_loopback_v6() -> Vec<sock_filter> {
    let mut code = vec![instruction(LOAD_BYTE, 0, 0, network(6))];
    code.extend(unless_equal(libc::IPPROTO_TCP.cast_unsigned()));
    for (offset, word) in [(8, 0), (12, 0), (16, 0), (20, 1)] {
        code.push(instruction(LOAD_WORD, 0, 0, network(offset)));
        code.extend(unless_equal(word));
    }
    code.push(instruction(LOAD_HALF, 0, 0, network(40)));
    code
}

/// Goes on if A is that, else on to the choice at random. A conditional jump reaches 255
/// instructions, an unconditional one reaches all.
fn unless_equal(value: u32) -> [sock_filter; 2] {
    [instruction(IF_EQUAL, 1, 0, value), instruction(JUMP, 0, 0, TO_RANDOM)]
}

fn if_equal_return(value: u32, index: u32) -> [sock_filter; 2] {
    [instruction(IF_EQUAL, 0, 1, value), instruction(RETURN, 0, 0, index)]
}

/// One of the ready, or of all if none is.
fn at_random(members: &[Member]) -> Vec<sock_filter> {
    let of = |wanted: bool| {
        let all = (0u32..).zip(members);
        all.filter(|(_, member)| member.ready || !wanted).map(|(index, _)| index).collect()
    };
    let mut ready: Vec<u32> = of(true);
    if ready.is_empty() {
        ready = of(false);
    }
    let count = u32::try_from(ready.len()).unwrap_or(1).max(1);
    let mut code = vec![instruction(LOAD_WORD, 0, 0, RANDOM), instruction(MODULO, 0, 0, count)];
    for (number, index) in (0u32..).zip(&ready) {
        if number != *index {
            code.extend(if_equal_return(number, *index));
        }
    }
    // What has not returned is its own index.
    code.push(instruction(RETURN_A, 0, 0, 0));
    code
}

#[cfg(test)]
#[path = "steer_tests.rs"]
mod tests;
