//! What must be true before anything else: signals, standard streams, descriptors, directory.
//!
//! Not configuration: nothing is read here but what the launcher left behind. One half runs
//! from `.init_array`, before Rust's runtime (a TERM that reaches PID 1 while its disposition is
//! still the default is dropped by the kernel, pid_namespaces(7)); the other at the start of main.
//! **Invariant:** from the first instruction on every signal but the faults is blocked, for good.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use super::signals::{self, ALL_BUT_FAULTS};

/// The binary's entry: [`before_main`] in `.init_array`, and a C `main` that exits with what
/// `$main` gives. Not Rust's own `main`, whose runtime reads `/proc/self/maps` and makes a second
/// stack for a message about an overflow of the first: an eighth of the time until COMMAND runs.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static RINIT_BEFORE_MAIN: extern "C" fn() = $crate::sys::early::before_main;

        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
            $crate::sys::early::exit_with($main)
        }
    };
}

/// Exits with what `main` gives; with 70 (sysexits(3), EX_SOFTWARE) where it panics.
pub fn exit_with(main: fn() -> u8) -> ! {
    let code = std::panic::catch_unwind(main).unwrap_or(70);
    std::process::exit(i32::from(code))
}

/// Runs before Rust's runtime: system calls only, no allocation, no failure.
pub extern "C" fn before_main() {
    signals::set_mask(ALL_BUT_FAULTS);
    // SIG_IGN survives execve(2): with an ignored SIGCHLD no exit would ever be seen. The rest
    // is made default as well, so that the services get it so without 64 calls for each.
    for number in 1..=64 {
        signals::set_disposition(number, signals::Disposition::Default);
    }
    for fd in 0..=2 {
        open_if_closed(fd);
    }
}

/// Rust's runtime does this as well, but aborts where there is no /dev/null.
fn open_if_closed(fd: RawFd) {
    // SAFETY: F_GETFD takes no third argument and changes nothing.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1 {
        return;
    }
    // The lowest free number is `fd`, for those below it are open by now.
    for (path, flags) in [(c"/dev/null", libc::O_RDWR), (c"/", libc::O_RDONLY)] {
        // SAFETY: the path is a C string and no mode is needed without O_CREAT.
        if unsafe { libc::open(path.as_ptr(), flags) } != -1 {
            return;
        }
    }
}

/// What the launcher left, for the services to inherit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inherited {
    /// We are PID 1 of our pid namespace; otherwise a child subreaper.
    pub is_pid1: bool,
    /// Where rinit was started: the services' default directory (a container's WORKDIR).
    /// A path and not a descriptor, which would pin the mount. `None`: the way back is barred or
    /// gone (`docker run --user 1000 -w /root`), so rinit stays there, as its services do.
    pub directory: Option<PathBuf>,
    /// The launcher's umask.
    pub umask: u32,
    /// Our `oom_score_adj` is −1000: rinit's own protection, not the services'.
    pub oom_protected: bool,
    /// Sockets that a parent holds for us (sd_listen_fds(3)): so many, from descriptor 3 on;
    /// they are open until [`Inherited::take_sockets`].
    pub sockets: u32,
    /// COMMAND as it was given, where it is not UTF-8.
    pub words: Vec<OsString>,
    /// What could not be done, one sentence each.
    pub warnings: Vec<String>,
}

/// The second half: at the start of main, before any thread, file or child.
pub fn at_start_of_main() -> Inherited {
    let mut warnings = Vec::new();
    signals::set_disposition(libc::SIGPIPE, signals::Disposition::Ignore);
    let sockets = passed_sockets();
    if let Err(error) = close_inherited(3 + sockets) {
        warnings.push(format!("descriptors from the launcher stay open: {error}"));
    }
    // SAFETY: umask cannot fail; rinit's own files say their mode, children get this one back.
    let umask = unsafe { libc::umask(0o022) };
    let directory = std::env::current_dir().ok();
    let directory = directory.filter(|path| std::env::set_current_dir(path).is_ok());
    if directory.is_some()
        && let Err(error) = std::env::set_current_dir("/")
    {
        warnings.push(format!("chdir /: {error}; the launcher's directory stays in use"));
    }
    let is_pid1 = super::own_pid() == 1;
    if !is_pid1 && let Err(error) = become_subreaper() {
        warnings.push(format!("not PID 1 and no child subreaper ({error}): orphans are not ours"));
    }
    let oom_protected = own_oom_score_adj().is_some_and(|text| text.starts_with(b"-1000"));
    Inherited { is_pid1, directory, umask, oom_protected, sockets, words: Vec::new(), warnings }
}

/// `LISTEN_FDS`, if `LISTEN_PID` says that it is for us.
fn passed_sockets() -> u32 {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let ours = number("LISTEN_PID") == u32::try_from(super::own_pid()).ok();
    number("LISTEN_FDS").filter(|count| ours && *count <= PASSED_MAX).unwrap_or(0)
}

/// More are a mistake.
const PASSED_MAX: u32 = 1024;

impl Inherited {
    /// The sockets that a parent passed, with their names (`LISTEN_FDNAMES`); the second time there
    /// are none.
    pub fn take_sockets(&mut self) -> Vec<(OwnedFd, String)> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut taken = Vec::new();
        for number in 0..std::mem::take(&mut self.sockets) {
            let Ok(fd) = RawFd::try_from(3 + number) else { break };
            let name = names.next().unwrap_or_default().to_owned();
            // SAFETY: numbers only; it says whether there is such a descriptor at all.
            if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != -1 {
                // SAFETY: it was left open for this when all others were closed, nothing since
                // has opened one at a number in use, and the count is 0 from now on.
                taken.push((unsafe { OwnedFd::from_raw_fd(fd) }, name));
            }
        }
        taken
    }
}

/// One read, and no question for its size: `fs::read` takes twice the calls.
fn own_oom_score_adj() -> Option<[u8; 8]> {
    let mut text = [0; 8];
    File::open("/proc/self/oom_score_adj").and_then(|mut file| file.read(&mut text)).ok()?;
    Some(text)
}

/// Orphans of our descendants come to us, as they do to PID 1 (prctl(2)).
fn become_subreaper() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one number and no pointer.
    super::cvt(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Closes everything from `first` on: a pipe that we kept would never show its reader an end.
fn close_inherited(first: u32) -> io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor from `first` on yet; main has just begun.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) };
    if done == 0 {
        return Ok(());
    }
    // Before Linux 5.9.
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| u32::try_from(*fd).is_ok_and(|fd| fd >= first))
        .collect();
    for fd in open {
        // SAFETY: as above. The directory's own descriptor is among them and closed already:
        // EBADF, which harms nobody while there is one thread.
        unsafe { libc::close(fd) };
    }
    Ok(())
}
