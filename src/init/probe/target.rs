//! Where a probe goes: the addresses to try, in order.
//!
//! Not the connection (`probe`). **Invariant:** a name is never resolved: `localhost` is both
//! loopback addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::unit::health::HealthCheck;
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};

const LOOPBACK_4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What to connect to, and what to ask there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The first that answers counts.
    pub addresses: Vec<SocketAddr>,
    /// The path of an HTTP request; `None`: a connection is all.
    pub path: Option<String>,
    /// It is the unit's own socket: of several the prober's source port says which.
    pub own: bool,
}

/// Where a check goes; `socket` is the unit's, and `bound` where its first one really is.
///
/// # Errors
/// There is nowhere to go, in words.
pub fn target(
    check: &HealthCheck,
    socket: Option<&Socket>,
    bound: Option<SocketAddr>,
) -> Result<Target, String> {
    let (addresses, path, own) = match check {
        HealthCheck::HttpPath(path) => {
            let listens = socket.map_or(&[][..], |socket| &socket.listen);
            let declared = || listens.iter().find_map(addresses);
            let addresses = bound
                .map(reach)
                .or_else(declared)
                .ok_or_else(|| format!("Http={path}: the unit has no TCP ListenStream= to ask"))?;
            (addresses, Some(path.clone()), true)
        }
        HealthCheck::HttpUrl { host, port, path } => {
            (resolve(host, *port)?, Some(path.clone()), false)
        }
        HealthCheck::Tcp { host, port } => (resolve(host, *port)?, None, false),
        HealthCheck::Exec(_) => (Vec::new(), None, false),
    };
    Ok(Target { addresses, path, own })
}

/// How a listening socket is reached from here; `None`: it is no TCP.
fn addresses(listen: &Listen) -> Option<Vec<SocketAddr>> {
    if listen.kind != ListenKind::Stream {
        return None;
    }
    match &listen.address {
        // Also what IPv4 alone would listen on.
        ListenAddress::Port(port) => Some(vec![SocketAddr::new(LOOPBACK_4, *port)]),
        ListenAddress::Ip(address) => Some(reach(*address)),
        ListenAddress::Path(_) | ListenAddress::Abstract(_) => None,
    }
}

/// Where to connect to reach who listens there.
fn reach(address: SocketAddr) -> Vec<SocketAddr> {
    let ips = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![LOOPBACK_4],
        // Where there is no IPv6, it became IPv4.
        IpAddr::V6(ip) if ip.is_unspecified() => vec![LOOPBACK_6, LOOPBACK_4],
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect()
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok([LOOPBACK_4, LOOPBACK_6].map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = bare.parse().map_err(|_| format!("{host} is neither an address nor localhost"))?;
    Ok(vec![SocketAddr::new(ip, port)])
}

impl Target {
    /// As a person would write it.
    pub fn describe(&self, address: SocketAddr) -> String {
        format!("{address}{}", self.path.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(addresses: &[(ListenKind, ListenAddress)]) -> Socket {
        let listen = |(kind, address): &(ListenKind, ListenAddress)| Listen {
            kind: *kind,
            address: address.clone(),
        };
        Socket { listen: addresses.iter().map(listen).collect(), ..Socket::default() }
    }

    fn where_to(check: &HealthCheck, socket: Option<&Socket>) -> Vec<String> {
        let target = target(check, socket, None).unwrap();
        target.addresses.iter().map(|address| target.describe(*address)).collect()
    }

    #[test]
    fn the_first_tcp_socket_of_the_unit() {
        let check = HealthCheck::HttpPath("/up".into());
        let ip = |text: &str| ListenAddress::Ip(text.parse().unwrap());
        for (address, expected) in [
            (ip("0.0.0.0:80"), &["127.0.0.1:80/up"][..]),
            (ip("[::]:80"), &["[::1]:80/up", "127.0.0.1:80/up"]),
            (ip("10.1.2.3:80"), &["10.1.2.3:80/up"]),
            (ip("[::1]:80"), &["[::1]:80/up"]),
            (ListenAddress::Port(80), &["127.0.0.1:80/up"]),
        ] {
            let socket = socket(&[
                (ListenKind::Stream, ListenAddress::Path("/run/x".into())),
                (ListenKind::Datagram, ListenAddress::Port(53)),
                (ListenKind::Stream, address),
            ]);
            assert_eq!(where_to(&check, Some(&socket)), expected);
        }
        assert!(target(&check, None, None).is_err());
        let bound = target(&check, None, Some("0.0.0.0:4711".parse().unwrap())).unwrap();
        assert_eq!(bound.addresses, ["127.0.0.1:4711".parse().unwrap()]);
        let only_path = socket(&[(ListenKind::Stream, ListenAddress::Path("/run/x".into()))]);
        assert!(target(&check, Some(&only_path), None).is_err());
    }

    #[test]
    fn hosts() {
        let tcp = |host: &str| HealthCheck::Tcp { host: host.into(), port: 7 };
        assert_eq!(where_to(&tcp("localhost"), None), ["127.0.0.1:7", "[::1]:7"]);
        assert_eq!(where_to(&tcp("10.0.0.1"), None), ["10.0.0.1:7"]);
        assert_eq!(where_to(&tcp("[::1]"), None), ["[::1]:7"]);
        assert_eq!(where_to(&tcp("::1"), None), ["[::1]:7"]);
        assert!(target(&tcp("example.com"), None, None).is_err());
    }
}
