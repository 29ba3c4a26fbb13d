//! What to send, how fast, over which connections.

use std::net::SocketAddr;
use std::time::Duration;

/// The requests of one load: `Plan::new(address).rate(300).pause(…)`.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) target: SocketAddr,
    pub(super) path: String,
    pub(super) rate: Option<u32>,
    pub(super) connections: Connections,
    pub(super) pause: Duration,
    pub(super) timeout: Duration,
    pub(super) requests: Option<u64>,
}

/// How requests share connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// One for each request.
    Fresh,
    /// So many that stay open, used in turn; one that the server closes is made anew.
    KeepAlive(usize),
}

impl Plan {
    /// 300 requests a second for `/ping`, each on a connection of its own, with 10 s to be answered.
    pub fn new(target: SocketAddr) -> Plan {
        Plan {
            target,
            path: "/ping".into(),
            rate: Some(300),
            connections: Connections::Fresh,
            pause: Duration::ZERO,
            timeout: Duration::from_secs(10),
            requests: None,
        }
    }

    pub fn path(self, path: &str) -> Plan {
        Plan { path: path.into(), ..self }
    }

    /// Requests a second.
    pub fn rate(self, rate: u32) -> Plan {
        Plan { rate: Some(rate.max(1)), ..self }
    }

    /// As fast as the answers come, on so many connections that stay open (a closed loop).
    pub fn saturating(self, connections: usize) -> Plan {
        Plan { rate: None, connections: Connections::KeepAlive(connections), ..self }
    }

    pub fn keep_alive(self, connections: usize) -> Plan {
        Plan { connections: Connections::KeepAlive(connections), ..self }
    }

    /// How long a new connection is silent: the round trip of a real network.
    pub fn pause(self, pause: Duration) -> Plan {
        Plan { pause, ..self }
    }

    /// From the arrival of a request to its last byte.
    pub fn timeout(self, timeout: Duration) -> Plan {
        Plan { timeout, ..self }
    }

    /// So many, and no more.
    pub fn requests(self, requests: u64) -> Plan {
        Plan { requests: Some(requests), ..self }
    }

    pub(super) fn request(&self) -> Vec<u8> {
        let connection = match self.connections {
            Connections::Fresh => "Connection: close\r\n",
            Connections::KeepAlive(_) => "",
        };
        format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{connection}\r\n", self.path).into_bytes()
    }
}
