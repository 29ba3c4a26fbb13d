//! From birth to exec: the child's half.
//!
//! It may run beside its parent in the parent's own memory (`launch`). **Invariant:** it writes
//! nowhere but on its stack and in the slots that were made for it ([`Prepared`]), which the parent
//! neither reads nor frees while it may run: bare system calls only (`raw`), no allocation, no lock, no panic, no
//! `errno`; the first failure goes over the pipe as eight bytes and ends the child. The signal
//! mask is emptied as soon as the terminal is handed over, with every disposition at its default: a
//! signal sent meanwhile ends the child, even while it waits in open(2) for a FIFO's reader.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use super::exec::{Descriptor, Directory, ExecPlan, Grouping, Identity, Report, Rlimit, Stdio};
use super::raw::{Outcome, call};
use super::signals::{self, Disposition};
use crate::unit::process::ExecStage;

/// What is made before birth because the child cannot allocate: the arrays of pointers that
/// execve(2) takes, and the slots into which the child writes.
#[derive(Debug)]
pub(super) struct Prepared {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// `NAME=` and room for a pid; `envp` points to them.
    pid_variables: Vec<PidVariable>,
    /// Where each source is once it is out of the way of all targets.
    moved: Vec<Cell<RawFd>>,
    /// Above all targets.
    floor: RawFd,
    /// From first to last: what is not to survive exec.
    closed: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct PidVariable {
    text: Box<[Cell<u8>]>,
    /// Where the digits begin.
    value: usize,
}

/// The digits of the largest `pid_t`, and the NUL.
const PID_ROOM: usize = 11;

impl Prepared {
    pub(super) fn new(plan: &ExecPlan) -> Prepared {
        let ended = |texts: &mut dyn Iterator<Item = *const libc::c_char>| {
            texts.chain([std::ptr::null()]).collect()
        };
        let pid_variables: Vec<_> = plan.pid_variables.iter().map(PidVariable::new).collect();
        let is_replaced = |text: &&CString| {
            pid_variables.iter().any(|variable| variable.is_named_in(text.as_bytes()))
        };
        let kept = plan.envp.iter().filter(|text| !is_replaced(text)).map(|text| text.as_ptr());
        let own = pid_variables.iter().map(|variable| variable.text.as_ptr().cast());
        Prepared {
            argv: ended(&mut plan.argv.iter().map(|text| text.as_ptr())),
            envp: ended(&mut kept.chain(own)),
            moved: plan.descriptors.iter().map(|descriptor| Cell::new(descriptor.source)).collect(),
            floor: plan
                .descriptors
                .iter()
                .map(|descriptor| descriptor.target + 1)
                .fold(3, i32::max),
            closed: gaps(plan.descriptors.iter().map(|descriptor| descriptor.target)),
            pid_variables,
        }
    }
}

impl PidVariable {
    fn new(name: &CString) -> PidVariable {
        let name = name.as_bytes().iter().copied().chain([b'=']);
        let text: Box<[Cell<u8>]> = name.chain([0; PID_ROOM]).map(Cell::new).collect();
        PidVariable { value: text.len() - PID_ROOM, text }
    }

    fn is_named_in(&self, assignment: &[u8]) -> bool {
        let mut name = self.text.iter().take(self.value).map(Cell::get);
        let mut theirs = assignment.iter().copied();
        name.all(|byte| theirs.next() == Some(byte))
    }

    /// Writes the digits; the rest is NUL already.
    fn set(&self, pid: usize) {
        let mut divisor = 1;
        while pid / divisor >= 10 {
            divisor *= 10;
        }
        for place in self.text.iter().skip(self.value).take(PID_ROOM - 1) {
            let digit = (pid / divisor) % 10;
            place.set(b'0' + digit as u8);
            if divisor == 1 {
                break;
            }
            divisor /= 10;
        }
    }
}

/// The numbers from 3 on without the targets, as ranges that close_range(2) takes.
fn gaps(targets: impl Iterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut targets: Vec<u32> = targets.filter_map(|target| u32::try_from(target).ok()).collect();
    targets.sort_unstable();
    let mut first = 3;
    let mut found = Vec::new();
    for target in targets {
        if first < target {
            found.push((first, target - 1));
        }
        first = target.saturating_add(1).max(first);
    }
    found.push((first, u32::MAX));
    found
}

/// A stage that failed, and why.
struct Failure {
    stage: ExecStage,
    index: u16,
    errno: i32,
}

type Step = Result<(), Failure>;

/// Becomes the program, or reports and exits.
///
/// # Safety
/// Only in a new child; `prepared` must be made of `plan`, both must stay until the child is the
/// program or dead, and nobody else may use `prepared` meanwhile.
pub(super) unsafe fn run(plan: &ExecPlan, prepared: &Prepared, mut pipe: RawFd) -> ! {
    let done = above(prepared.floor, pipe).map_err(no_descriptor).and_then(|moved| {
        pipe = moved;
        set_up(plan, prepared)
    });
    let failure = match done {
        Ok(()) => become_program(plan, prepared),
        Err(failure) => failure,
    };
    let report = Report { stage: failure.stage, index: failure.index, errno: failure.errno };
    let bytes = report.to_bytes();
    let code = number(report.exit_code(plan.failure_code));
    loop {
        // SAFETY: the pointer and the length are those of `bytes`; exit_group does not return.
        unsafe {
            let _ = call(
                libc::SYS_write,
                [number(pipe), bytes.as_ptr().expose_provenance(), bytes.len()],
            );
            let _ = call(libc::SYS_exit_group, [code]);
        }
    }
}

fn set_up(plan: &ExecPlan, prepared: &Prepared) -> Step {
    enter_cgroups(&plan.cgroups)?;
    group(plan.grouping)?;
    signals::set_mask(0);
    // SAFETY: umask cannot fail. First, for files that are opened below.
    let _ = unsafe { call(libc::SYS_umask, [plan.umask as usize]) };
    if let Some((text, required)) = &plan.oom_score_adjust {
        let written = write_file(c"/proc/self/oom_score_adj", text.as_bytes());
        // Without the privilege it stays as it is, as in systemd: `check` has said so.
        if *required {
            check(unless_denied(written), ExecStage::OomScoreAdjust)?;
        }
    }
    if plan.merges_memory {
        // Not fatal: it saves memory, and nothing else. It stays over exec (Linux 6.7).
        // SAFETY: numbers only.
        let _ = unsafe { call(libc::SYS_prctl, [libc::PR_SET_MEMORY_MERGE as usize, 1, 0, 0, 0]) };
    }
    let [input, output, error] = &plan.stdio;
    stream(input, 0, ExecStage::StandardInput)?;
    stream(output, 1, ExecStage::StandardOutput)?;
    stream(error, 2, ExecStage::StandardError)?;
    pass(&plan.descriptors, prepared)?;
    for (index, limit) in plan.limits.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let failed = |errno| Failure { stage: ExecStage::Limits, index, errno };
        set_limit(*limit).map_err(failed)?;
    }
    if let Some(nice) = plan.nice {
        let arguments = [libc::PRIO_PROCESS as usize, 0, number(nice)];
        // SAFETY: numbers only.
        let set = unsafe { call(libc::SYS_setpriority, arguments) };
        check(unless_denied(set), ExecStage::Nice)?;
    }
    if let Directory::Inherited(Some(path)) = &plan.directory
        && path.as_bytes() != b"/"
    {
        // Where it is gone or hidden by now, `/` is where we are already.
        let _ = change_directory(path);
    }
    identity(&plan.identity)?;
    if let Directory::Declared { path, optional } = &plan.directory {
        let entered = change_directory(path);
        if *optional && entered.is_err() {
            let _ = change_directory(c"/"); // where rinit is, but not always (`early`)
        } else {
            check(entered, ExecStage::WorkingDirectory)?;
        }
    }
    // rinit's own descriptors are close-on-exec from birth; this is for whatever is not.
    let cloexec = libc::CLOSE_RANGE_CLOEXEC as usize;
    for (first, last) in &prepared.closed {
        // SAFETY: numbers only; an old kernel says ENOSYS.
        let _ = unsafe { call(libc::SYS_close_range, [*first as usize, *last as usize, cloexec]) };
    }
    Ok(())
}

/// Into the unit's control groups, before there is anything to be charged to it (cgroups(7)): `0`
/// is who writes.
fn enter_cgroups(cgroups: &[CString]) -> Step {
    for (index, procs) in cgroups.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let failed = |errno| Failure { stage: ExecStage::Cgroup, index, errno };
        write_file(procs, b"0").map_err(failed)?;
    }
    Ok(())
}

/// Puts every descriptor at its number. First all sources are moved out of the way, for one may
/// have a number at which another is to be; in the same way the pipe was moved before all else.
fn pass(descriptors: &[Descriptor], prepared: &Prepared) -> Step {
    let failed = |index: usize| {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        move |errno| Failure { stage: ExecStage::Descriptors, index, errno }
    };
    for (index, source) in prepared.moved.iter().enumerate() {
        source.set(above(prepared.floor, source.get()).map_err(failed(index))?);
    }
    for (index, (source, descriptor)) in prepared.moved.iter().zip(descriptors).enumerate() {
        let arguments = [number(source.get()), number(descriptor.target), 0];
        // SAFETY: numbers only; a source is not a target any more, so dup3 makes a copy without
        // close-on-exec.
        unsafe { call(libc::SYS_dup3, arguments) }.map_err(failed(index))?;
    }
    Ok(())
}

/// The same open file at a number of at least `floor`; as it is, if it has one.
fn above(floor: RawFd, fd: RawFd) -> Result<RawFd, i32> {
    if fd >= floor {
        return Ok(fd);
    }
    let arguments = [number(fd), libc::F_DUPFD_CLOEXEC as usize, number(floor)];
    // SAFETY: numbers only.
    let moved = unsafe { call(libc::SYS_fcntl, arguments) }?;
    RawFd::try_from(moved).map_err(|_| libc::EBADF)
}

fn no_descriptor(errno: i32) -> Failure {
    Failure { stage: ExecStage::Descriptors, index: u16::MAX, errno }
}

/// rinit made every disposition default at its start (`early`) and ignores only SIGPIPE since;
/// what Rust's runtime catches, exec makes default.
fn become_program(plan: &ExecPlan, prepared: &Prepared) -> Failure {
    // SAFETY: getpid takes nothing and cannot fail.
    let pid = unsafe { call(libc::SYS_getpid, []) }.unwrap_or(0);
    for variable in &prepared.pid_variables {
        variable.set(pid);
    }
    let pipe = if plan.ignore_sigpipe { Disposition::Ignore } else { Disposition::Default };
    signals::set_disposition(libc::SIGPIPE, pipe);
    let (argv, envp) =
        (prepared.argv.as_ptr().expose_provenance(), prepared.envp.as_ptr().expose_provenance());
    let mut denied = None;
    let mut last = 0;
    for (index, candidate) in plan.candidates.iter().enumerate() {
        last = u16::try_from(index).unwrap_or(u16::MAX);
        // SAFETY: a C string and two arrays of C strings that end in a null pointer.
        let outcome = unsafe { call(libc::SYS_execve, [address(candidate), argv, envp]) };
        match outcome.err().unwrap_or(libc::EIO) {
            libc::ENOENT | libc::ENOTDIR if plan.candidates.len() > 1 => {}
            libc::EACCES => denied = denied.or(Some(last)),
            errno => return Failure { stage: ExecStage::Exec, index: last, errno },
        }
    }
    // As execvp(3): "permission denied" anywhere beats "not found" everywhere.
    let errno = if denied.is_some() { libc::EACCES } else { libc::ENOENT };
    Failure { stage: ExecStage::Exec, index: denied.unwrap_or(last), errno }
}

fn group(grouping: Grouping) -> Step {
    match grouping {
        // SAFETY: setsid takes nothing.
        Grouping::Session => check(unsafe { call(libc::SYS_setsid, []) }, ExecStage::Session),
        Grouping::Group { terminal } => {
            // SAFETY: numbers only.
            check(unsafe { call(libc::SYS_setpgid, [0, 0]) }, ExecStage::Session)?;
            if let Some(fd) = terminal {
                hand_over(fd);
            }
            Ok(())
        }
    }
}

/// Makes our own group the foreground of the terminal; what `terminal::hand_over` says of
/// SIGTTOU and of failures holds here, too.
fn hand_over(fd: RawFd) {
    // SAFETY: getpid takes nothing and cannot fail; the ioctl reads one pid, which lives on.
    unsafe {
        let pid = call(libc::SYS_getpid, []).map_or(0, |pid| pid as libc::pid_t);
        let place = (&raw const pid).expose_provenance();
        let _ = call(libc::SYS_ioctl, [number(fd), libc::TIOCSPGRP as usize, place]);
    }
}

fn stream(stream: &Stdio, target: RawFd, stage: ExecStage) -> Step {
    match stream {
        Stdio::Inherit => Ok(()),
        // SAFETY: numbers only.
        Stdio::AsOutput => check(unsafe { call(libc::SYS_dup3, [1, number(target), 0]) }, stage),
        // One of the three itself is no source: rinit has its own streams there.
        Stdio::Descriptor(source) => {
            // SAFETY: numbers only.
            check(unsafe { call(libc::SYS_dup3, [number(*source), number(target), 0]) }, stage)
        }
        Stdio::Open { path, flags, terminal } => {
            let fd = open(path, *flags).map_err(|errno| Failure { stage, index: 0, errno })?;
            if *terminal {
                // Not fatal: somebody else's session may have it (ENOTTY, EPERM).
                // SAFETY: numbers only.
                let _ = unsafe { call(libc::SYS_ioctl, [fd, libc::TIOCSCTTY as usize, 0]) };
            }
            // 0 to 2 are open in rinit, so `fd` is above them and dup3 makes a copy without
            // close-on-exec.
            // SAFETY: numbers only.
            check(unsafe { call(libc::SYS_dup3, [fd, number(target), 0]) }, stage)
        }
    }
}

/// Over the hard limit and without the privilege to raise it: as much as there is.
fn set_limit(limit: Rlimit) -> Result<(), i32> {
    let mut new = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    let resource = limit.resource as usize;
    let set = |new: &libc::rlimit64| {
        let place = std::ptr::from_ref(new).expose_provenance();
        // SAFETY: `new` lives through the call, and no old limit is asked for.
        unsafe { call(libc::SYS_prlimit64, [0, resource, place, 0]) }
    };
    match set(&new) {
        Ok(_) => return Ok(()),
        Err(libc::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let place = (&raw mut now).expose_provenance();
    // SAFETY: `now` is a valid place for the result.
    unsafe { call(libc::SYS_prlimit64, [0, resource, 0, place]) }?;
    new.rlim_max = new.rlim_max.min(now.rlim_max);
    new.rlim_cur = new.rlim_cur.min(new.rlim_max);
    set(&new).map(drop)
}

/// Groups, then gid, then uid: after the uid there is no privilege left for the others. The
/// kernel's calls, because glibc's would signal threads that the child does not have.
fn identity(identity: &Identity) -> Step {
    // SAFETY: getegid and geteuid take nothing and cannot fail.
    let own = unsafe { (call(libc::SYS_getegid, []), call(libc::SYS_geteuid, [])) };
    let already = identity.gid.is_none_or(|gid| own.0 == Ok(gid as usize))
        && identity.uid.is_none_or(|uid| own.1 == Ok(uid as usize));
    if let Some(groups) = &identity.groups {
        let arguments = [groups.len(), groups.as_ptr().expose_provenance()];
        // SAFETY: the pointer and the length are those of `groups`.
        let set = unsafe { call(libc::SYS_setgroups, arguments) };
        // Without privilege one can still "become" who one is.
        if !(already && set == Err(libc::EPERM)) {
            check(set, ExecStage::Group)?;
        }
    }
    if let Some(gid) = identity.gid {
        let gid = gid as usize;
        // SAFETY: numbers only.
        check(unsafe { call(libc::SYS_setresgid, [gid, gid, gid]) }, ExecStage::Group)?;
    }
    if let Some(uid) = identity.uid {
        let uid = uid as usize;
        // SAFETY: numbers only.
        check(unsafe { call(libc::SYS_setresuid, [uid, uid, uid]) }, ExecStage::User)?;
    }
    Ok(())
}

fn write_file(path: &CStr, text: &[u8]) -> Outcome {
    let fd = open(path, libc::O_WRONLY)?;
    // SAFETY: the pointer and the length are those of `text`; exec closes the descriptor.
    unsafe { call(libc::SYS_write, [fd, text.as_ptr().expose_provenance(), text.len()]) }
}

/// Close-on-exec; the mode is there for O_CREAT.
fn open(path: &CStr, flags: libc::c_int) -> Outcome {
    let flags = number(flags | libc::O_CLOEXEC);
    // SAFETY: a C string and numbers.
    unsafe { call(libc::SYS_openat, [number(libc::AT_FDCWD), address(path), flags, 0o666]) }
}

fn change_directory(path: &CStr) -> Outcome {
    // SAFETY: a C string.
    unsafe { call(libc::SYS_chdir, [address(path)]) }
}

/// What a lack of privilege forbids is left as it is.
fn unless_denied(outcome: Outcome) -> Outcome {
    match outcome {
        Err(libc::EACCES | libc::EPERM) => Ok(0),
        other => other,
    }
}

fn check(outcome: Outcome, stage: ExecStage) -> Step {
    outcome.map(drop).map_err(|errno| Failure { stage, index: 0, errno })
}

/// A C `int` as a register has it.
fn number(value: libc::c_int) -> usize {
    (value as isize).cast_unsigned()
}

fn address(text: &CStr) -> usize {
    text.as_ptr().expose_provenance()
}
