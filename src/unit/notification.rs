//! A message of sd_notify(3): what a service says about itself, line by line.
//!
//! Not the socket (`sys::notify`), not who may say it (NotifyAccess=) and not what follows.
//! As systemd reads it: an assignment that is unknown or does not make sense is as if it were not
//! there, and of one that comes twice the first counts. **Invariant:** any bytes give a message.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

/// What `WATCHDOG=` said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchdogMessage {
    /// `WATCHDOG=1`: it is alive.
    Ping,
    /// `WATCHDOG=trigger`: it is not, and wants to be treated so at once.
    Trigger,
}

/// What a message said. Of several states in one message systemd takes STOPPING before READY
/// before RELOADING.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifyMessage {
    /// `READY=1`: started, or reloaded.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `MONOTONIC_USEC=`: the time of CLOCK_MONOTONIC when the reload began (µs).
    pub monotonic_usec: Option<u64>,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`, a line for people; an empty one takes the last back.
    pub status: Option<String>,
    /// `ERRNO=`, as of errno(3).
    pub errno: Option<i32>,
    /// `MAINPID=`, as the sender has it.
    pub main_pid: Option<i32>,
    /// `WATCHDOG=`.
    pub watchdog: Option<WatchdogMessage>,
    /// `WATCHDOG_USEC=`: from now on in place of WatchdogSec= (µs).
    pub watchdog_usec: Option<u64>,
    /// `EXTEND_TIMEOUT_USEC=`: so long from now the present step may take (µs).
    pub extend_timeout_usec: Option<u64>,
    /// `FDSTORE=1`: keep the descriptors that come with it.
    pub fdstore: bool,
    /// `FDSTOREREMOVE=1`: forget those of this name.
    pub fdstoreremove: bool,
    /// `FDNAME=`, if it is a name.
    pub fdname: Option<String>,
    /// Not `FDPOLL=0`: a kept descriptor is dropped once it hangs up or fails.
    pub fdpoll: bool,
    /// `BARRIER=1`: closing the one descriptor that comes with it says that all before has been
    /// read. Whatever stood beside it is ignored (sd_notify_barrier(3)).
    pub barrier: bool,
}

impl Default for NotifyMessage {
    fn default() -> NotifyMessage {
        NotifyMessage {
            ready: false,
            reloading: false,
            monotonic_usec: None,
            stopping: false,
            status: None,
            errno: None,
            main_pid: None,
            watchdog: None,
            watchdog_usec: None,
            extend_timeout_usec: None,
            fdstore: false,
            fdstoreremove: false,
            fdname: None,
            fdpoll: true,
            barrier: false,
        }
    }
}

/// A status is not longer, in bytes (systemd's STATUS_TEXT_MAX).
const STATUS_MAX: usize = 16 << 10;

/// FDNAME= is not longer, in bytes (systemd's FDNAME_MAX).
const FDNAME_MAX: usize = 255;

impl NotifyMessage {
    /// Reads a datagram. One that holds a NUL says nothing at all.
    pub fn parse(bytes: &[u8]) -> NotifyMessage {
        if bytes.contains(&0) {
            return NotifyMessage::default();
        }
        let lines = || bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
        let has = |line: &str| lines().any(|other| other == line.as_bytes());
        if has("BARRIER=1") {
            return NotifyMessage { barrier: true, ..NotifyMessage::default() };
        }
        let value = |name: &str| lines().find_map(|line| line.strip_prefix(name.as_bytes()));
        let text = |name: &str| value(name).and_then(|value| std::str::from_utf8(value).ok());
        NotifyMessage {
            ready: has("READY=1"),
            reloading: has("RELOADING=1"),
            monotonic_usec: text("MONOTONIC_USEC=").and_then(number),
            stopping: has("STOPPING=1"),
            status: text("STATUS=").filter(|text| text.len() <= STATUS_MAX).map(str::to_owned),
            errno: text("ERRNO=").and_then(number),
            main_pid: text("MAINPID=").and_then(number).filter(|pid| *pid > 0),
            watchdog: text("WATCHDOG=").and_then(watchdog),
            watchdog_usec: text("WATCHDOG_USEC=").and_then(number),
            extend_timeout_usec: text("EXTEND_TIMEOUT_USEC=").and_then(number),
            fdstore: has("FDSTORE=1"),
            fdstoreremove: has("FDSTOREREMOVE=1"),
            fdname: text("FDNAME=").filter(|name| is_fd_name(name)).map(str::to_owned),
            fdpoll: !has("FDPOLL=0"),
            barrier: false,
        }
    }

    /// Nothing in it was understood.
    pub fn is_empty(&self) -> bool {
        *self == NotifyMessage::default()
    }
}

/// Digits only: neither a sign nor a space.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn watchdog(text: &str) -> Option<WatchdogMessage> {
    match text {
        "1" => Some(WatchdogMessage::Ping),
        "trigger" => Some(WatchdogMessage::Trigger),
        _ => None,
    }
}

/// A name that fits between the colons of LISTEN_FDNAMES (sd_pid_notify_with_fds(3)).
pub fn is_fd_name(name: &str) -> bool {
    let is_good = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    name.len() <= FDNAME_MAX && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut NotifyMessage)) -> NotifyMessage {
        let mut message = NotifyMessage::default();
        change(&mut message);
        message
    }

    fn check(text: impl AsRef<[u8]>, change: impl FnOnce(&mut NotifyMessage)) {
        let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
        assert_eq!(NotifyMessage::parse(text.as_ref()), changed(change), "{shown}");
    }

    #[test]
    fn each_assignment_is_read() {
        check("READY=1", |m| m.ready = true);
        check("RELOADING=1\nMONOTONIC_USEC=12", |m| {
            (m.reloading, m.monotonic_usec) = (true, Some(12));
        });
        check("STOPPING=1\n", |m| m.stopping = true);
        check("STATUS=half of it: 50 %", |m| m.status = Some("half of it: 50 %".to_owned()));
        check("STATUS=", |m| m.status = Some(String::new()));
        check("ERRNO=2", |m| m.errno = Some(2));
        check("MAINPID=4711", |m| m.main_pid = Some(4_711));
        check("WATCHDOG=1", |m| m.watchdog = Some(WatchdogMessage::Ping));
        check("WATCHDOG=trigger", |m| m.watchdog = Some(WatchdogMessage::Trigger));
        check("WATCHDOG_USEC=20000000", |m| m.watchdog_usec = Some(20_000_000));
        check("EXTEND_TIMEOUT_USEC=5", |m| m.extend_timeout_usec = Some(5));
        check("FDSTORE=1\nFDNAME=a b\nFDPOLL=0", |m| {
            (m.fdstore, m.fdname, m.fdpoll) = (true, Some("a b".to_owned()), false);
        });
        check("FDSTOREREMOVE=1\nFDNAME=x", |m| {
            (m.fdstoreremove, m.fdname) = (true, Some("x".to_owned()));
        });
        check("BARRIER=1", |m| m.barrier = true);
    }

    #[test]
    fn several_lines_in_one_message() {
        check("READY=1\nSTATUS=up\nX_OWN=7\n\nMAINPID=7\n", |m| {
            (m.ready, m.main_pid) = (true, Some(7));
            m.status = Some("up".to_owned());
        });
        check("READY=1\r\nSTOPPING=1\r\n", |m| (m.ready, m.stopping) = (true, true));
        check("MAINPID=1\nMAINPID=2", |m| m.main_pid = Some(1));
        check("BARRIER=1\nREADY=1", |m| m.barrier = true);
    }

    #[test]
    fn what_makes_no_sense_is_not_there() {
        for text in [
            "",
            "\n\n",
            "READY",
            "READY=",
            "READY=0",
            "READY=yes",
            " READY=1",
            "READY=1 ",
            "ready=1",
            "XREADY=1",
            "MAINPID=",
            "MAINPID=0",
            "MAINPID=-5",
            "MAINPID=+5",
            "MAINPID= 5",
            "MAINPID=99999999999",
            "MAINPID=x\nMAINPID=5",
            "ERRNO=-1",
            "ERRNO=x",
            "WATCHDOG=0",
            "WATCHDOG=TRIGGER",
            "WATCHDOG_USEC=18446744073709551616",
            "WATCHDOG_USEC=1s",
            "FDNAME=a:b",
            "FDNAME=\u{e9}",
            "FDNAME=\t",
            "FDSTORE=yes",
            "STATUS",
            "READY=1\0",
        ] {
            check(text, |_| ());
            assert!(NotifyMessage::parse(text.as_bytes()).is_empty(), "{text}");
        }
        check(b"STATUS=\xff\nREADY=1", |m| m.ready = true);
        check(format!("FDNAME={}", "n".repeat(256)), |_| ());
        check(format!("FDNAME={}", "n".repeat(255)), |m| m.fdname = Some("n".repeat(255)));
        check(format!("STATUS={}", "s".repeat(STATUS_MAX + 1)), |_| ());
        assert!(!changed(|m| m.fdpoll = false).is_empty());
    }
}
