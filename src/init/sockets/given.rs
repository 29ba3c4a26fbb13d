//! Sockets that a parent opened and passed to rinit (sd_listen_fds(3)): whose each is.
//!
//! Not how they are held then (`sockets`). **Invariant:** one that is claimed is as if rinit had
//! opened it; its options stay as the parent set them, but that it waits for nobody where rinit accepts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::{Place, Spread, plan};
use crate::sys::listener;
use crate::sys::socket::Address;
use crate::unit::socket::{Listen, ListenAddress, ListenKind};

/// An inherited socket of this kind that has one of these names, or else this address.
pub(super) fn claim(
    given: &mut Vec<(OwnedFd, String)>,
    wanted: &Listen,
    names: &[Option<&str>],
) -> Option<Place> {
    let is_kind = |fd: &OwnedFd| {
        let kind = listener::kind(fd.as_fd()).ok().flatten();
        wanted.kind != ListenKind::Fifo && kind == Some(plan::kind_of(wanted.kind))
    };
    let at = |fd: &OwnedFd| listener::local_address(fd.as_fd()).unwrap_or(Address::Unnamed);
    let named = |(fd, name): &(OwnedFd, String)| is_kind(fd) && names.contains(&Some(name));
    let placed = |(fd, _): &(OwnedFd, String)| is_kind(fd) && is_at(&wanted.address, &at(fd));
    let found = given.iter().position(named).or_else(|| given.iter().position(placed))?;
    let (fd, _) = given.remove(found);
    let (listen, address) = (wanted.clone(), at(&fd));
    Some(Place { listen, address, sockets: vec![fd], spread: Spread::Shared })
}

fn is_at(wanted: &ListenAddress, address: &Address) -> bool {
    match (wanted, address) {
        (ListenAddress::Port(port), Address::Inet(at)) => {
            at.port() == *port && at.ip().is_unspecified()
        }
        (ListenAddress::Ip(wanted), Address::Inet(at)) => wanted == at,
        (ListenAddress::Path(wanted), Address::Path(at)) => Path::new(wanted) == at,
        (ListenAddress::Abstract(wanted), Address::Abstract(at)) => wanted.as_bytes() == at,
        (_, _) => false,
    }
}
