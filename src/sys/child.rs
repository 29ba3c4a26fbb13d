//! Between fork and exec: the child's half.
//!
//! **Invariant:** async-signal-safe calls only (signal-safety(7)): no allocation, no lock, no
//! panic; the first failure goes over the pipe as eight bytes and ends the child. The signal mask
//! is emptied as soon as the terminal is handed over, with every disposition at its default: a
//! signal sent meanwhile ends the child, even while it waits in open(2) for a FIFO's reader.

use std::os::fd::RawFd;

use super::exec::{Directory, ExecPlan, Grouping, Identity, Report, Rlimit, Stdio};
use super::signals::{self, Disposition};
use super::terminal;
use crate::unit::process::ExecStage;

/// The arrays of pointers that execve(2) takes, made before fork.
#[derive(Debug)]
pub(super) struct Pointers {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl Pointers {
    pub(super) fn new(plan: &ExecPlan) -> Pointers {
        let ended = |texts: &[std::ffi::CString]| {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        Pointers { argv: ended(&plan.argv), envp: ended(&plan.envp) }
    }
}

/// A stage that failed, with the reason that `errno` has.
struct Failure {
    stage: ExecStage,
    index: u16,
}

type Step = Result<(), Failure>;

/// Becomes the program, or reports and exits.
///
/// # Safety
/// Only in the child of a fork; `pointers` must point into `plan`.
pub(super) unsafe fn run(plan: &ExecPlan, pointers: &Pointers, pipe: RawFd) -> ! {
    let failure = match set_up(plan) {
        Ok(()) => become_program(plan, pointers),
        Err(failure) => failure,
    };
    let report = Report { stage: failure.stage, index: failure.index, errno: errno() };
    let bytes = report.to_bytes();
    // SAFETY: the pointer and the length are those of `bytes`; _exit does not return.
    unsafe {
        libc::write(pipe, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(report.exit_code(plan.failure_code))
    }
}

fn set_up(plan: &ExecPlan) -> Step {
    group(plan.grouping)?;
    signals::set_mask(0);
    // SAFETY: umask cannot fail. First, for files that are opened below.
    unsafe { libc::umask(plan.umask) };
    if let Some((text, required)) = &plan.oom_score_adjust {
        let written = write_file(c"/proc/self/oom_score_adj", text.as_bytes());
        // Without the privilege it stays as it is, as in systemd: `check` has said so.
        check(written || !required || is_denied(), ExecStage::OomScoreAdjust)?;
    }
    let [input, output, error] = &plan.stdio;
    stream(input, 0, ExecStage::StandardInput)?;
    stream(output, 1, ExecStage::StandardOutput)?;
    stream(error, 2, ExecStage::StandardError)?;
    for (index, limit) in plan.limits.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        set_limit(*limit).map_err(|()| Failure { stage: ExecStage::Limits, index })?;
    }
    if let Some(nice) = plan.nice {
        // SAFETY: numbers only.
        let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } == 0;
        check(set || is_denied(), ExecStage::Nice)?;
    }
    if let Directory::Inherited(path) = &plan.directory {
        // Where it is gone or hidden, `/` is where we are already.
        // SAFETY: the path is a C string.
        unsafe { libc::chdir(path.as_ptr()) };
    }
    identity(&plan.identity)?;
    if let Directory::Declared { path, optional } = &plan.directory {
        // SAFETY: the path is a C string.
        let entered = unsafe { libc::chdir(path.as_ptr()) } == 0;
        check(entered || *optional, ExecStage::WorkingDirectory)?;
    }
    // rinit's own descriptors are close-on-exec from birth; this is for whatever is not.
    // SAFETY: numbers only; an old kernel says ENOSYS.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// rinit made every disposition default at its start (`early`) and ignores only SIGPIPE since;
/// what Rust's runtime catches, exec makes default.
fn become_program(plan: &ExecPlan, pointers: &Pointers) -> Failure {
    let pipe = if plan.ignore_sigpipe { Disposition::Ignore } else { Disposition::Default };
    signals::set_disposition(libc::SIGPIPE, pipe);
    let mut denied = None;
    let mut last = 0;
    for (index, candidate) in plan.candidates.iter().enumerate() {
        last = u16::try_from(index).unwrap_or(u16::MAX);
        // SAFETY: a C string and two arrays of C strings that end in a null pointer.
        unsafe {
            libc::execve(candidate.as_ptr(), pointers.argv.as_ptr(), pointers.envp.as_ptr());
        }
        match errno() {
            libc::ENOENT | libc::ENOTDIR if plan.candidates.len() > 1 => {}
            libc::EACCES => denied = denied.or(Some(last)),
            _ => return Failure { stage: ExecStage::Exec, index: last },
        }
    }
    // As execvp(3): "permission denied" anywhere beats "not found" everywhere.
    set_errno(if denied.is_some() { libc::EACCES } else { libc::ENOENT });
    Failure { stage: ExecStage::Exec, index: denied.unwrap_or(last) }
}

fn group(grouping: Grouping) -> Step {
    match grouping {
        // SAFETY: setsid takes nothing.
        Grouping::Session => check(unsafe { libc::setsid() } != -1, ExecStage::Session),
        Grouping::Group { terminal } => {
            // SAFETY: numbers only.
            check(unsafe { libc::setpgid(0, 0) } == 0, ExecStage::Session)?;
            if let Some(fd) = terminal {
                // SAFETY: getpid takes nothing and cannot fail.
                terminal::hand_over(fd, unsafe { libc::getpid() });
            }
            Ok(())
        }
    }
}

fn stream(stream: &Stdio, target: RawFd, stage: ExecStage) -> Step {
    match stream {
        Stdio::Inherit => Ok(()),
        // SAFETY: numbers only.
        Stdio::AsOutput => check(unsafe { libc::dup2(1, target) } != -1, stage),
        Stdio::Open { path, flags, terminal } => {
            // SAFETY: a C string; the mode is there for O_CREAT.
            let fd = unsafe { libc::open(path.as_ptr(), *flags | libc::O_CLOEXEC, 0o666) };
            check(fd != -1, stage)?;
            if *terminal {
                // Not fatal: somebody else's session may have it (ENOTTY, EPERM).
                // SAFETY: numbers only.
                unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) };
            }
            // 0 to 2 are open in rinit, so `fd` is above them and dup2 makes a copy without
            // close-on-exec.
            // SAFETY: numbers only.
            check(unsafe { libc::dup2(fd, target) } != -1, stage)
        }
    }
}

/// Over the hard limit and without the privilege to raise it: as much as there is.
fn set_limit(limit: Rlimit) -> Result<(), ()> {
    let mut new = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: `new` lives through the call, and no old limit is asked for.
    let set = |new: &libc::rlimit64| unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, limit.resource, std::ptr::from_ref(new), none) == 0
    };
    if set(&new) {
        return Ok(());
    }
    if errno() != libc::EPERM {
        return Err(());
    }
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let no_new = std::ptr::null::<libc::rlimit64>();
    // SAFETY: `now` is a valid place for the result.
    unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, limit.resource, no_new, &raw mut now);
    }
    new.rlim_max = new.rlim_max.min(now.rlim_max);
    new.rlim_cur = new.rlim_cur.min(new.rlim_max);
    if set(&new) { Ok(()) } else { Err(()) }
}

/// Groups, then gid, then uid: after the uid there is no privilege left for the others. The
/// kernel's calls, because glibc's would signal threads that the child does not have.
fn identity(identity: &Identity) -> Step {
    // SAFETY: getegid and geteuid take nothing and cannot fail.
    let (own_gid, own_uid) = unsafe { (libc::getegid(), libc::geteuid()) };
    let already = identity.gid.is_none_or(|gid| gid == own_gid)
        && identity.uid.is_none_or(|uid| uid == own_uid);
    if let Some(groups) = &identity.groups {
        // SAFETY: the pointer and the length are those of `groups`.
        let set = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
        // Without privilege one can still "become" who one is.
        check(set == 0 || (already && errno() == libc::EPERM), ExecStage::Group)?;
    }
    if let Some(gid) = identity.gid {
        // SAFETY: numbers only.
        check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) } == 0, ExecStage::Group)?;
    }
    if let Some(uid) = identity.uid {
        // SAFETY: numbers only.
        check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) } == 0, ExecStage::User)?;
    }
    Ok(())
}

fn write_file(path: &std::ffi::CStr, text: &[u8]) -> bool {
    // SAFETY: a C string; no mode is needed without O_CREAT.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    // SAFETY: the pointer and the length are those of `text`; exec closes the descriptor.
    fd != -1 && unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) } != -1
}

fn check(done: bool, stage: ExecStage) -> Step {
    if done { Ok(()) } else { Err(Failure { stage, index: 0 }) }
}

fn is_denied() -> bool {
    matches!(errno(), libc::EACCES | libc::EPERM)
}

fn errno() -> i32 {
    // SAFETY: the thread's own errno always exists.
    unsafe { *libc::__errno_location() }
}

fn set_errno(number: i32) {
    // SAFETY: the thread's own errno always exists.
    unsafe { *libc::__errno_location() = number };
}
