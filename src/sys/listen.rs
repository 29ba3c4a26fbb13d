//! Opens a listening socket as a `[Socket]` section declares it (systemd.socket(5)).
//!
//! Not what is done with it later (`listener`), not which connection goes where (`steer`).
//! **Invariant:** what exists in the file system and is somebody's stays: only a socket on which
//! nobody listens is replaced. A socket is returned ready, or a sentence says at which step and
//! for which address it failed.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, bind, connect};

use super::socket::{self, Address, SocketKind};
use super::{cvt, errno_of, reason};
use crate::unit::socket::BindIpv6Only;

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddress {
    /// A bare port: `[::]`, which takes IPv4 as well by [`BindIpv6Only`]; `0.0.0.0` where this
    /// machine has no IPv6 (systemd.socket(5), ListenStream=).
    Port(u16),
    /// One address.
    At(Address),
    /// A FIFO (`ListenFIFO=`); the kind of socket means nothing.
    Fifo(PathBuf),
}

/// Who may use a socket or FIFO in the file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileAccess {
    /// `SocketMode=`, of the socket itself; connecting takes the right to write.
    pub mode: u32,
    /// `DirectoryMode=`, of parents that are made.
    pub directory_mode: u32,
    /// `SocketUser=`; `None` leaves it ours.
    pub user: Option<u32>,
    /// `SocketGroup=`.
    pub group: Option<u32>,
}

impl Default for FileAccess {
    fn default() -> FileAccess {
        FileAccess { mode: 0o666, directory_mode: 0o755, user: None, group: None }
    }
}

/// A socket to be. [`Listen::new`] has systemd's defaults but for `no_delay`, which is rinit's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where.
    pub address: ListenAddress,
    /// What.
    pub kind: SocketKind,
    /// `BindIPv6Only=`: whether a socket of IPv6 takes connections of IPv4.
    pub bind_ipv6_only: BindIpv6Only,
    /// The length of the accept queue; the kernel clips it to net.core.somaxconn.
    pub backlog: u32,
    /// `ReusePort=`: several sockets at one address, each with its own queue (socket(7)).
    pub reuse_port: bool,
    /// `DeferAcceptSec=`: so long (seconds; 0 is off) the kernel keeps a connection to itself
    /// until it has spoken (tcp(7), TCP_DEFER_ACCEPT).
    pub defer_accept: u32,
    /// `NoDelay=`: inherited by what is accepted (tcp(7), TCP_NODELAY).
    pub no_delay: bool,
    /// `KeepAlive=`: inherited by what is accepted (socket(7), SO_KEEPALIVE).
    pub keep_alive: bool,
    /// `KeepAliveTimeSec=`, `KeepAliveIntervalSec=` (seconds), `KeepAliveProbes=`; 0 is the
    /// kernel's own.
    pub keep_alive_times: [u32; 3],
    /// `FreeBind=`: an address that no interface has yet (ip(7), IP_FREEBIND).
    pub free_bind: bool,
    /// `PassCredentials=` (unix(7), SO_PASSCRED).
    pub pass_credentials: bool,
    /// `ReceiveBuffer=` in bytes.
    pub receive_buffer: Option<u32>,
    /// `SendBuffer=` in bytes.
    pub send_buffer: Option<u32>,
    /// Of a path.
    pub access: FileAccess,
    /// Calls on it do not wait. It is the open file's: the program sees it, too (`NonBlocking=`).
    pub nonblocking: bool,
}

impl Listen {
    /// With the defaults.
    pub fn new(address: ListenAddress, kind: SocketKind) -> Listen {
        Listen {
            address,
            kind,
            bind_ipv6_only: BindIpv6Only::Default,
            backlog: 4096,
            reuse_port: false,
            defer_accept: 0,
            no_delay: true,
            keep_alive: false,
            keep_alive_times: [0; 3],
            free_bind: false,
            pass_credentials: false,
            receive_buffer: None,
            send_buffer: None,
            access: FileAccess::default(),
            nonblocking: false,
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Opened {
    /// The socket.
    pub fd: OwnedFd,
    /// Where it is: with the port that the kernel chose for port 0.
    pub address: Address,
    /// Options that could not be set; it works without them.
    pub warnings: Vec<String>,
}

/// Why there is no socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenError {
    /// The kernel's error number (errno(3)).
    pub errno: i32,
    /// The sentence, as in `bind 0.0.0.0:80: Permission denied (…)`.
    pub message: String,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Opens it. Never waits.
///
/// # Errors
/// The step that failed, for which address, and why; nothing is left open.
pub fn open(listen: &Listen) -> Result<Opened, ListenError> {
    match &listen.address {
        ListenAddress::Fifo(path) => open_fifo(listen, path),
        ListenAddress::At(address) => open_socket(listen, address),
        ListenAddress::Port(port) => {
            let any = |ip| Address::Inet(SocketAddr::new(ip, *port));
            match open_socket(listen, &any(Ipv6Addr::UNSPECIFIED.into())) {
                Err(error) if is_without_ipv6(error.errno) => {
                    open_socket(listen, &any(Ipv4Addr::UNSPECIFIED.into()))
                }
                opened => opened,
            }
        }
    }
}

/// The family is not compiled in, or it is and no interface has an address of it.
fn is_without_ipv6(errno: i32) -> bool {
    matches!(errno, libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
}

fn open_socket(listen: &Listen, address: &Address) -> Result<Opened, ListenError> {
    let failed = |step: &'static str| move |error| failure(step, address, &error);
    let fd = socket::new(address.family(), listen.kind).map_err(failed("socket"))?;
    require_options(listen, fd.as_fd(), address)?;
    let warnings = try_options(listen, fd.as_fd(), address);
    if let Address::Path(path) = address {
        make_parents(path, listen.access.directory_mode)?;
    }
    bind_to(listen, &fd, address)?;
    if let Address::Path(path) = address {
        // Before listen(2): till then every connect is refused.
        let done = give_away(path, &listen.access);
        done.inspect_err(|_| drop(fs::remove_file(path))).map_err(failed("chmod"))?;
    }
    if listen.kind != SocketKind::Datagram {
        let backlog = i32::try_from(listen.backlog).unwrap_or(i32::MAX);
        // SAFETY: numbers only.
        cvt(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map_err(failed("listen"))?;
    }
    let at = super::listener::local_address(fd.as_fd()).unwrap_or_else(|_| address.clone());
    socket::set_nonblocking(fd.as_fd(), listen.nonblocking).map_err(failed("fcntl"))?;
    Ok(Opened { fd, address: at, warnings })
}

/// What a socket must have before bind(2), or there is none.
fn require_options(
    listen: &Listen,
    fd: BorrowedFd<'_>,
    address: &Address,
) -> Result<(), ListenError> {
    let is_inet = matches!(address, Address::Inet(_));
    let is_v6 = address.family() == AddressFamily::Inet6;
    let only = match listen.bind_ipv6_only {
        BindIpv6Only::Default => None,
        BindIpv6Only::Both => Some(0),
        BindIpv6Only::Ipv6Only => Some(1),
    };
    let must = |name: &'static str, level, option, value| {
        socket::set(fd, level, option, value).map_err(|error| failure(name, address, &error))
    };
    if let Some(only) = only.filter(|_| is_v6) {
        must("BindIPv6Only=", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
    }
    if is_inet {
        // As systemd: connections of a former socket that linger do not keep the port busy.
        must("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if listen.reuse_port {
        must("ReusePort=", libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if listen.free_bind && is_inet {
        must("FreeBind=", libc::IPPROTO_IP, libc::IP_FREEBIND, 1)?;
    }
    Ok(())
}

/// What only makes it better: where the kernel refuses it, a warning says so.
fn try_options(listen: &Listen, fd: BorrowedFd<'_>, address: &Address) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_inet = matches!(address, Address::Inet(_));
    let is_tcp = is_inet && listen.kind == SocketKind::Stream;
    let mut may = |wanted: bool, name: &str, level, option, value| {
        if wanted && let Err(error) = socket::set(fd, level, option, value) {
            warnings.push(format!("{name} {address}: {}", reason(errno_of(&error))));
        }
    };
    let tcp = libc::IPPROTO_TCP;
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    may(listen.no_delay && is_tcp, "NoDelay=", tcp, libc::TCP_NODELAY, 1);
    let defer = listen.defer_accept;
    may(defer > 0 && is_tcp, "DeferAcceptSec=", tcp, libc::TCP_DEFER_ACCEPT, number(defer));
    may(listen.keep_alive && is_tcp, "KeepAlive=", libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    let [time, interval, probes] = listen.keep_alive_times;
    for (value, name, option) in [
        (time, "KeepAliveTimeSec=", libc::TCP_KEEPIDLE),
        (interval, "KeepAliveIntervalSec=", libc::TCP_KEEPINTVL),
        (probes, "KeepAliveProbes=", libc::TCP_KEEPCNT),
    ] {
        may(value > 0 && is_tcp, name, tcp, option, number(value));
    }
    let credentials = listen.pass_credentials && !is_inet;
    may(credentials, "PassCredentials=", libc::SOL_SOCKET, libc::SO_PASSCRED, 1);
    for (size, name, forced, option) in [
        (listen.receive_buffer, "ReceiveBuffer=", libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (listen.send_buffer, "SendBuffer=", libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        // Over the limit of the system where we may, else as much as that allows.
        if let Some(size) = size.map(number)
            && socket::set(fd, libc::SOL_SOCKET, forced, size).is_err()
        {
            may(true, name, libc::SOL_SOCKET, option, size);
        }
    }
    warnings
}

fn bind_to(listen: &Listen, fd: &OwnedFd, address: &Address) -> Result<(), ListenError> {
    let kernel = address.to_kernel().map_err(|error| failure("bind", address, &error))?;
    let try_it = || bind(fd.as_raw_fd(), kernel.as_ref()).map_err(io::Error::from);
    match (try_it(), address) {
        (Ok(()), _) => Ok(()),
        (Err(error), Address::Path(path)) if errno_of(&error) == libc::EADDRINUSE => {
            make_way(path, listen.kind)?;
            try_it().map_err(|error| failure("bind", address, &error))
        }
        (Err(error), _) => Err(failure("bind", address, &error)),
    }
}

/// Removes a socket behind which nobody is: one that a killed process left.
fn make_way(path: &Path, kind: SocketKind) -> Result<(), ListenError> {
    let shown = path.display();
    let refuse = |what: &str| {
        let message = format!("bind {shown}: {what}");
        ListenError { errno: libc::EADDRINUSE, message }
    };
    let failed = |error: io::Error| failure("unlink", &Address::Path(path.into()), &error);
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.file_type().is_socket() {
        return Err(refuse("there is something already, and it is no socket"));
    }
    if is_alive(path, kind).map_err(failed)? {
        return Err(refuse("Address already in use (another process has it open)"));
    }
    fs::remove_file(path).map_err(failed)
}

/// Whether some process still has the socket at `path` open, as a connect of this kind tells.
fn is_alive(path: &Path, kind: SocketKind) -> io::Result<bool> {
    let fd = socket::new(AddressFamily::Unix, kind)?;
    let kernel = Address::Path(path.to_path_buf()).to_kernel()?;
    match connect(fd.as_raw_fd(), kernel.as_ref()).map_err(io::Error::from) {
        Ok(()) => Ok(true),
        Err(error) => match errno_of(&error) {
            libc::ECONNREFUSED | libc::ENOENT => Ok(false),
            // Its queue is full, or it is of another kind: both only of one that is there.
            libc::EAGAIN | libc::EPROTOTYPE => Ok(true),
            _ => Err(error),
        },
    }
}

fn open_fifo(listen: &Listen, path: &Path) -> Result<Opened, ListenError> {
    let address = Address::Path(path.to_path_buf());
    let failed = |step: &'static str| {
        let address = address.clone();
        move |error| failure(step, &address, &error)
    };
    make_parents(path, listen.access.directory_mode)?;
    let text = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
        .map_err(failed("mkfifo"))?;
    // SAFETY: a C string and a number.
    let made = cvt(unsafe { libc::mkfifo(text.as_ptr(), listen.access.mode & 0o777) });
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("mkfifo")(error));
        }
        Ok(_) | Err(_) => {}
    }
    // For reading and writing: it never reaches its end when a writer goes (fifo(7)).
    let flags =
        libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    // SAFETY: a C string and numbers.
    let fd = cvt(unsafe { libc::open(text.as_ptr(), flags) }).map_err(failed("open"))?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let file = fs::File::from(fd);
    if !file.metadata().map_err(failed("stat"))?.file_type().is_fifo() {
        let message = format!("open {}: there is something already, and no FIFO", path.display());
        return Err(ListenError { errno: libc::EEXIST, message });
    }
    give_away(path, &listen.access).map_err(failed("chmod"))?;
    let fd = OwnedFd::from(file);
    socket::set_nonblocking(fd.as_fd(), listen.nonblocking).map_err(failed("fcntl"))?;
    Ok(Opened { fd, address, warnings: Vec::new() })
}

/// Makes the directories that are missing above `path`, whatever our umask is.
fn make_parents(path: &Path, mode: u32) -> Result<(), ListenError> {
    let missing: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|parent| !parent.as_os_str().is_empty() && !parent.exists())
        .collect();
    for directory in missing.into_iter().rev() {
        let failed = |error| failure("mkdir", &Address::Path(directory.into()), &error);
        match fs::DirBuilder::new().mode(mode).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(failed)?,
        }
        fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// The owner first: the mode is for whom it belongs to then.
fn give_away(path: &Path, access: &FileAccess) -> io::Result<()> {
    if access.user.is_some() || access.group.is_some() {
        std::os::unix::fs::lchown(path, access.user, access.group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(access.mode))
}

fn failure(step: &str, address: &Address, error: &io::Error) -> ListenError {
    let errno = errno_of(error);
    let privileged = match address {
        Address::Inet(address) => address.port() < 1024,
        Address::Path(_) | Address::Abstract(_) | Address::Unnamed => false,
    };
    let hint = match errno {
        libc::EACCES if privileged => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        libc::EADDRINUSE => " (another process listens there)",
        libc::EADDRNOTAVAIL => " (no interface has that address; FreeBind=yes takes it anyway)",
        libc::EAFNOSUPPORT => " (this machine has no such address family)",
        libc::ENAMETOOLONG => " (a unix address holds 107 bytes)",
        _ => "",
    };
    ListenError { errno, message: format!("{step} {address}: {}{hint}", reason(errno)) }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
