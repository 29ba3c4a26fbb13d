//! What the main thread of somebody else's program is doing: whether it moves, where it sleeps.
//!
//! Not what follows from it (`init::probe`) nor what its process listens on (`proc_sockets`). All
//! of it is read in /proc (proc(5)), which shows waiting channels only of processes that we could
//! trace: of another user's we need CAP_SYS_PTRACE. **Invariant:** a process that vanishes
//! meanwhile is an error of the system, never a guess.

use std::io;

use super::Pid;

/// How far a process's main thread has come, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MainThread {
    /// How often it has waited by itself (`voluntary_ctxt_switches`).
    pub waits: u64,
    /// Its time on a CPU, in clock ticks.
    pub ticks: u64,
    /// `R`, `S`, `D`, `T`, …
    pub state: u8,
    /// The kernel function in which it sleeps; `None`: it does not, or it is not shown.
    pub sleeps_in: Option<String>,
}

/// Looks at the main thread of a process.
///
/// # Errors
/// It is gone.
pub fn main_thread(pid: Pid) -> io::Result<MainThread> {
    let task = format!("/proc/{pid}/task/{pid}");
    let broken = || io::Error::from_raw_os_error(libc::EIO);
    let status = std::fs::read_to_string(format!("{task}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let waits = line.and_then(|value| value.trim().parse().ok()).ok_or_else(broken)?;
    let stat = std::fs::read_to_string(format!("{task}/stat"))?;
    let (state, ticks) = state_and_ticks(&stat).ok_or_else(broken)?;
    let channel = std::fs::read_to_string(format!("{task}/wchan")).unwrap_or_default();
    let sleeps_in = Some(channel).filter(|name| !name.is_empty() && name != "0");
    Ok(MainThread { waits, ticks, state, sleeps_in })
}

/// The system call that the main thread of a process is in, sleeping or stopped (`syscall` of
/// proc(5)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// This one, by its number.
    Number(u64),
    /// It is in its own code, or runs.
    Nowhere,
    /// It is not shown to us, or the process is gone.
    Hidden,
}

/// Where a process is.
pub fn call(pid: Pid) -> Call {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/syscall")) else {
        return Call::Hidden;
    };
    let number = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.map_or(Call::Nowhere, Call::Number)
}

/// Fields 3, 14 and 15 of a `stat` file.
fn state_and_ticks(stat: &str) -> Option<(u8, u64)> {
    let (_, rest) = stat.rsplit_once(')')?; // the name may hold anything
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let user: u64 = fields.nth(14 - 4)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((state, user + system))
}

impl MainThread {
    /// It sleeps until a descriptor has news: an idle server, not a stuck one.
    pub fn waits_for_events(&self) -> bool {
        const WAITS: [&str; 10] = [
            "ep_poll",
            "do_epoll_wait",
            "do_sys_poll",
            "poll_schedule_timeout",
            "do_select",
            "do_poll",
            "inet_csk_accept",
            "inet_csk_wait_for_connect",
            "unix_accept",
            "skb_wait_for_more_packets",
        ];
        let name = self.sleeps_in.as_deref().unwrap_or_default();
        WAITS.iter().any(|wait| name.starts_with(wait))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn fields_of_a_stat_file() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 5 6 7 8 11 22 0 0 20";
        assert_eq!(state_and_ticks(stat), Some((b'S', 33)));
        assert_eq!(state_and_ticks("7 (a"), None);
    }

    #[test]
    fn who_is_stopped_was_at_work_or_waited() {
        let reads = Call::Number(u64::try_from(libc::SYS_read).unwrap());
        for (script, expected) in [("read x", reads), ("while :; do :; done", Call::Nowhere)] {
            let mut child = std::process::Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let pid = Pid::try_from(child.id()).unwrap();
            // A shell that starts makes system calls, too: then it is looked at once more.
            let mut found = Call::Hidden;
            for _ in 0..100_000 {
                crate::sys::kill::child(pid, crate::unit::process::Signal::STOP);
                while main_thread(pid).unwrap().state != b'T' {
                    std::thread::yield_now();
                }
                found = call(pid);
                if found == expected || found == Call::Hidden {
                    break;
                }
                crate::sys::kill::child(pid, crate::unit::process::Signal::CONT);
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(found == expected || found == Call::Hidden, "{script}: {found:?}");
        }
    }

    #[test]
    fn a_busy_thread_moves_and_a_sleeping_one_does_not() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        // Once it reads it stands still; before that it sleeps now and then as it is loaded.
        let first = loop {
            match (main_thread(pid), main_thread(pid)) {
                (Ok(one), Ok(two)) if one == two && one.state == b'S' => break one,
                (_, _) => std::thread::yield_now(),
            }
        };
        assert!(!first.waits_for_events());
        // What it is given wakes it, and it sleeps once more.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        while main_thread(pid).unwrap().waits == first.waits {
            std::thread::yield_now();
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(call(pid), Call::Hidden, "it is gone");
        assert!(main_thread(pid).is_err());
    }
}
