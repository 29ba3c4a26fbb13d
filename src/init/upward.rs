//! What rinit tells the supervisor above it, if that asked by `NOTIFY_SOCKET` (sd_notify(3)):
//! that the boot is done, that it reloads, that it stops, that its loop still turns.
//!
//! Not the socket of its own services (`notify`). **Invariant:** nothing here waits or fails: a
//! message that cannot be sent is a supervisor that does not listen.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::manager::event::{Fact, StopCause};
use crate::manager::time::Timestamp;
use crate::sys::own_pid;
use crate::unit::environment::Environment;

/// The way up.
#[derive(Debug, Default)]
pub(super) struct Upward {
    socket: Option<UnixDatagram>,
    /// How often `WATCHDOG=1` is sent, and when next.
    watchdog: Option<(Duration, Timestamp)>,
    /// `READY=1` was sent: a reload ends with another one.
    ready: bool,
}

impl Upward {
    /// As rinit's own environment says; the second is a warning.
    pub(super) fn new(environment: &Environment, now: Timestamp) -> (Upward, Option<String>) {
        let variable = |name: &str| environment.get(OsStr::new(name)).map(OsStr::new);
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return (Upward::default(), None);
        };
        let socket = match connect(name.as_bytes()) {
            Ok(socket) => socket,
            Err(error) => {
                let why = crate::sys::reason(crate::sys::errno_of(&error));
                let text = format!("NOTIFY_SOCKET={}: {why}; nobody is told", name.display());
                return (Upward::default(), Some(text));
            }
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let for_us =
            number("WATCHDOG_PID").is_none_or(|pid| i64::try_from(pid) == Ok(own_pid().into()));
        let period = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && for_us);
        // Twice as often as is asked (sd_watchdog_enabled(3)).
        let watchdog = period.map(|usec| (Duration::from_micros(usec.div_ceil(2)), now));
        (Upward { socket: Some(socket), watchdog, ready: false }, None)
    }

    /// When the next `WATCHDOG=1` is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.watchdog.map(|(_, next)| next)
    }

    /// The loop turns.
    pub(super) fn turn(&mut self, now: Timestamp) {
        if let Some((every, next)) = &mut self.watchdog
            && *next <= now
        {
            *next = now.after(*every);
            self.send("WATCHDOG=1");
        }
    }

    /// Something happened.
    pub(super) fn fact(&mut self, fact: &Fact) {
        if let Fact::Booted { .. } = fact {
            self.ready = true;
            self.send("READY=1\nSTATUS=every unit of the boot is started");
        }
        if let Fact::Stopping { cause, .. } = fact {
            self.send(&format!("STOPPING=1\nSTATUS=stopping: {}", in_words(cause)));
        }
    }

    /// The units are being read again.
    pub(super) fn reloading(&self, now: Timestamp) {
        if self.ready {
            let usec = now.since_start().as_micros();
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
        }
    }

    /// They were.
    pub(super) fn reloaded(&self) {
        if self.ready {
            self.send("READY=1");
        }
    }

    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}

fn in_words(cause: &StopCause) -> String {
    match cause {
        StopCause::Signal(signal) => signal.to_string(),
        StopCause::Client => "a client asked for it".to_owned(),
        StopCause::Failed(unit) => format!("{unit} failed"),
        StopCause::Succeeded(unit) => format!("{unit} is done"),
        StopCause::NothingLeft => "nothing is left to run".to_owned(),
    }
}

/// A path, or `@` and an abstract name.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::process::Signal;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0u8; 1024];
        let size = socket.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_life() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let above = UnixDatagram::bind(&path).unwrap();
        above.set_nonblocking(true).unwrap();
        let pid = own_pid().to_string();
        let variables = [
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "2000000"),
            ("WATCHDOG_PID", &pid),
        ];
        let (mut up, warning) = Upward::new(&environment(&variables), at(0));
        assert_eq!(warning, None);
        up.reloading(at(1)); // nobody is told before it is ready
        up.reloaded();
        up.turn(at(2));
        up.turn(at(3));
        up.turn(at(1002));
        assert_eq!(up.next_deadline(), Some(at(2002)));
        up.fact(&Fact::Booted { took: Duration::ZERO });
        up.reloading(at(1003));
        up.reloaded();
        let cause = StopCause::Signal(Signal::TERM);
        up.fact(&Fact::Stopping {
            cause,
            budget: Duration::ZERO,
            drain: Duration::ZERO,
            code: None,
        });
        for expected in [
            "WATCHDOG=1",
            "WATCHDOG=1",
            "READY=1\nSTATUS=every unit of the boot is started",
            "RELOADING=1\nMONOTONIC_USEC=1003000",
            "READY=1",
            "STOPPING=1\nSTATUS=stopping: SIGTERM",
            "",
        ] {
            assert_eq!(receive(&above), expected);
        }
    }

    #[test]
    fn nobody_above() {
        let (up, warning) = Upward::new(&environment(&[("WATCHDOG_USEC", "5")]), at(0));
        assert_eq!((up.next_deadline(), warning), (None, None));
        let absent = environment(&[("NOTIFY_SOCKET", "/nonexistent/socket")]);
        let (_, warning) = Upward::new(&absent, at(0));
        let expected =
            "NOTIFY_SOCKET=/nonexistent/socket: No such file or directory; nobody is told";
        assert_eq!(warning.as_deref(), Some(expected));
    }

    #[test]
    fn a_watchdog_for_another() {
        let name = format!("rinit-test-{}", own_pid());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _above = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        for (pid, ours) in [("1999999999", false), ("x", true)] {
            let variables =
                [("NOTIFY_SOCKET", &*name), ("WATCHDOG_USEC", "5"), ("WATCHDOG_PID", pid)];
            let (up, warning) = Upward::new(&environment(&variables), at(0));
            assert_eq!((up.next_deadline().is_some(), warning), (ours, None), "{pid}");
        }
    }
}
