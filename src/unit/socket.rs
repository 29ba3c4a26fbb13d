//! What a `[Socket]` section says, in types: plain public fields, no behaviour.
//!
//! Not how it is opened (`sys::listen`) nor when (`manager::sockets`). Names, defaults and
//! meanings are systemd.socket(5)'s unless a field says otherwise. **Invariant:** it is complete: what
//! was not written has its default, or the field's docs say what `None` means.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::Duration;

use super::UnitName;

/// What kind of endpoint it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ListenKind {
    /// `ListenStream=`: SOCK_STREAM.
    Stream,
    /// `ListenDatagram=`: SOCK_DGRAM.
    Datagram,
    /// `ListenSequentialPacket=`: SOCK_SEQPACKET, AF_UNIX only.
    SequentialPacket,
    /// `ListenFIFO=`: a FIFO in the file system, opened for reading and writing.
    Fifo,
}

impl ListenKind {
    /// The directive that asks for it.
    pub fn directive(self) -> &'static str {
        match self {
            ListenKind::Stream => "ListenStream",
            ListenKind::Datagram => "ListenDatagram",
            ListenKind::SequentialPacket => "ListenSequentialPacket",
            ListenKind::Fifo => "ListenFIFO",
        }
    }
}

/// Where it listens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ListenAddress {
    /// `8000`: this port of every address, IPv6 and IPv4; IPv4 alone where there is no IPv6.
    Port(u16),
    /// `127.0.0.1:8000`, `[::1]:8000`.
    Ip(SocketAddr),
    /// `/run/app.sock`.
    Path(String),
    /// `@name`: in the abstract namespace, without the `@`.
    Abstract(String),
}

/// One `Listen*=`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listen {
    /// What.
    pub kind: ListenKind,
    /// Where.
    pub address: ListenAddress,
}

/// `BindIPv6Only=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BindIpv6Only {
    /// As `/proc/sys/net/ipv6/bindv6only` says.
    #[default]
    Default,
    /// IPv4 as well.
    Both,
    /// IPv6 only.
    Ipv6Only,
}

/// Everything a `[Socket]` section says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Socket {
    /// Every `Listen*=`, in order: the order of the descriptors from 3 on.
    pub listen: Vec<Listen>,
    /// `Service=`: whom a separate socket unit starts; `None`: the service of its own name.
    pub service: Option<UnitName>,
    /// `Accept=`: one instance of the service for each connection.
    pub accept: bool,
    /// `MaxConnections=` (64), with `accept`.
    pub max_connections: u32,
    /// `MaxConnectionsPerSource=` (0, no limit), with `accept`.
    pub max_connections_per_source: u32,
    /// `SocketUser=`.
    pub user: Option<String>,
    /// `SocketGroup=`.
    pub group: Option<String>,
    /// `SocketMode=` (0666).
    pub mode: u32,
    /// `DirectoryMode=` (0755) of parents that are made.
    pub directory_mode: u32,
    /// `Backlog=`: the kernel cuts it to net.core.somaxconn.
    pub backlog: u32,
    /// `BindIPv6Only=`.
    pub bind_ipv6_only: BindIpv6Only,
    /// `ReusePort=`: a socket for each instance, steered by rinit.
    pub reuse_port: bool,
    /// `DeferAcceptSec=` (0, off): the kernel keeps a connection until it speaks.
    pub defer_accept: Duration,
    /// `NoDelay=` (rinit's default is yes).
    pub no_delay: bool,
    /// `KeepAlive=`.
    pub keep_alive: bool,
    /// `FreeBind=`.
    pub free_bind: bool,
    /// `FileDescriptorName=`; `None`: the name of the unit.
    pub descriptor_name: Option<String>,
    /// `RemoveOnStop=`: the path goes with the socket.
    pub remove_on_stop: bool,
    /// `ReceiveBuffer=`, bytes.
    pub receive_buffer: Option<u64>,
    /// `SendBuffer=`, bytes.
    pub send_buffer: Option<u64>,
    /// `PassCredentials=`.
    pub pass_credentials: bool,
    /// `TriggerLimitIntervalSec=` (2 s); zero: no limit.
    pub trigger_limit_interval: Duration,
    /// `TriggerLimitBurst=` (20; with `accept` 0, no limit).
    pub trigger_limit_burst: u32,
    /// `PollLimitIntervalSec=` (2 s), with `accept`; zero: no limit.
    pub poll_limit_interval: Duration,
    /// `PollLimitBurst=` (150), with `accept`.
    pub poll_limit_burst: u32,
    /// It is opened only when its service is started: the service is one that `OnFailure=` or
    /// `OnSuccess=` starts, or that `--unit` left out. Set by `verify`.
    pub opens_late: bool,
}

impl Socket {
    /// Whether one of them is a TCP listener.
    pub fn has_tcp_stream(&self) -> bool {
        self.listen.iter().any(|listen| match (&listen.address, listen.kind) {
            (ListenAddress::Port(_) | ListenAddress::Ip(_), ListenKind::Stream) => true,
            (_, _) => false,
        })
    }
}

impl Default for Socket {
    fn default() -> Socket {
        Socket {
            listen: Vec::new(),
            service: None,
            accept: false,
            max_connections: 64,
            max_connections_per_source: 0,
            user: None,
            group: None,
            mode: 0o666,
            directory_mode: 0o755,
            backlog: u32::MAX,
            bind_ipv6_only: BindIpv6Only::Default,
            reuse_port: false,
            defer_accept: Duration::ZERO,
            no_delay: true,
            keep_alive: false,
            free_bind: false,
            descriptor_name: None,
            remove_on_stop: false,
            receive_buffer: None,
            send_buffer: None,
            pass_credentials: false,
            trigger_limit_interval: Duration::from_secs(2),
            trigger_limit_burst: 20,
            poll_limit_interval: Duration::from_secs(2),
            poll_limit_burst: 150,
            opens_late: false,
        }
    }
}
