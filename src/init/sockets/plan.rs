//! From the words of `[Socket]` to those of the system.
//!
//! Not the opening (`sys::listen`). **Invariant:** what the unit does not say is what
//! `unit::socket::Socket` has for it.

use std::path::Path;
use std::time::Duration;

use crate::sys::identity::Database;
use crate::sys::listen::{self, FileAccess};
use crate::sys::socket::{Address, SocketKind};
use crate::unit::Unit;
use crate::unit::socket::{Listen, ListenAddress, ListenKind, Socket};

/// From the unit's words to those of the system.
pub(super) fn plan(
    wanted: &Listen,
    unit: &Unit,
    socket: &Socket,
) -> Result<listen::Listen, String> {
    let address = match (&wanted.address, wanted.kind) {
        (ListenAddress::Path(path), ListenKind::Fifo) => listen::ListenAddress::Fifo(path.into()),
        (ListenAddress::Port(port), _) => listen::ListenAddress::Port(*port),
        (ListenAddress::Ip(ip), _) => listen::ListenAddress::At(Address::Inet(*ip)),
        (ListenAddress::Path(path), _) => {
            listen::ListenAddress::At(Address::Path(Path::new(path).to_path_buf()))
        }
        (ListenAddress::Abstract(name), _) => {
            listen::ListenAddress::At(Address::Abstract(name.clone().into_bytes()))
        }
    };
    let kind = kind_of(wanted.kind);
    let number = |bytes: Option<u64>| bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    let mut plan = listen::Listen::new(address, kind);
    plan.bind_ipv6_only = socket.bind_ipv6_only;
    plan.backlog = socket.backlog;
    plan.reuse_port = socket.reuse_port;
    plan.defer_accept = whole_seconds(socket.defer_accept);
    plan.no_delay = socket.no_delay;
    plan.keep_alive = socket.keep_alive;
    plan.free_bind = socket.free_bind;
    plan.pass_credentials = socket.pass_credentials;
    plan.receive_buffer = number(socket.receive_buffer);
    plan.send_buffer = number(socket.send_buffer);
    // Who accepts is a service, as it likes; or rinit, which waits for nobody.
    plan.nonblocking = unit.service.non_blocking || socket.accept;
    plan.access = access(socket)?;
    Ok(plan)
}

pub(super) fn kind_of(kind: ListenKind) -> SocketKind {
    match kind {
        ListenKind::Stream | ListenKind::Fifo => SocketKind::Stream,
        ListenKind::Datagram => SocketKind::Datagram,
        ListenKind::SequentialPacket => SocketKind::SequentialPacket,
    }
}

/// The kernel counts whole seconds; a part of one is one more, for 0 would be off.
fn whole_seconds(time: Duration) -> u32 {
    let part = u64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs().saturating_add(part)).unwrap_or(u32::MAX)
}

fn access(socket: &Socket) -> Result<FileAccess, String> {
    let mut access = FileAccess {
        mode: socket.mode,
        directory_mode: socket.directory_mode,
        user: None,
        group: None,
    };
    if socket.user.is_none() && socket.group.is_none() {
        return Ok(access);
    }
    let database = Database::read().map_err(|error| format!("/etc/passwd, /etc/group: {error}"))?;
    if let Some(user) = &socket.user {
        let account = database.account(user);
        let account =
            account.ok_or_else(|| format!("SocketUser={user}: no such user in /etc/passwd"))?;
        (access.user, access.group) = (Some(account.uid), Some(account.gid));
    }
    if let Some(group) = &socket.group {
        let gid = database.group(group);
        access.group =
            Some(gid.ok_or_else(|| format!("SocketGroup={group}: no such group in /etc/group"))?);
    }
    Ok(access)
}

/// As it was written.
pub(super) fn shown(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Port(port) => port.to_string(),
        ListenAddress::Ip(ip) => ip.to_string(),
        ListenAddress::Path(path) => path.clone(),
        ListenAddress::Abstract(name) => format!("@{name}"),
    }
}
