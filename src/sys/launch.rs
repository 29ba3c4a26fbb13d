//! The birth of a child: beside us in our own memory where that is safe, else as a copy.
//!
//! Not what the child does (`child`) nor what it is to become (`exec`). fork(2) copies our page
//! tables, and after it we fault on each page that we write: for a thousand services that is most
//! of a boot. `CLONE_VM` without `CLONE_VFORK` copies nothing and does not hold us up either: the
//! child sets itself up on a stack of its own while we go on, so nothing that it waits for (a
//! FIFO, a dead file server) is waited for by us. It is not used where the child would change
//! what belongs to the memory and so to us: a user id makes it undumpable, `oom_score_adj`
//! and the flag for KSM are one for all who share it; nor before Linux 5.16, where a core dump of the child would end
//! everybody who shares its memory.
//! **Invariant:** what a child was given, stack and plan, is neither changed nor freed before its
//! pipe has reached its end: exec and exit leave the memory first, and close descriptors then.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::child::{self, Prepared};
use super::exec::{ExecPlan, Identity};
use super::{Pid, cvt, raw};

/// What the child uses of its stack is one or two pages; the rest is never touched.
const STACK: usize = 64 << 10;

/// So many stacks are kept for the next children.
const SPARE_MAX: usize = 4;

/// Stacks that nobody uses.
static SPARE: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

/// All that a child reads of our memory.
#[derive(Debug)]
struct Given {
    plan: ExecPlan,
    prepared: Prepared,
    pipe: RawFd,
}

/// A child's memory, kept until it is done with it.
#[derive(Debug)]
pub(super) struct Launch {
    given: Option<NonNull<Given>>,
    stack: Option<Stack>,
    /// The child may still use it.
    shared: bool,
}

impl Launch {
    /// A new child that goes through the plan; its end of the pipe is closed here.
    ///
    /// # Errors
    /// clone(2)'s, mmap(2)'s.
    pub(super) fn new(plan: ExecPlan, write: OwnedFd) -> io::Result<(Pid, Launch)> {
        let shares = may_share(&plan);
        let pipe = write.as_raw_fd();
        let given = Box::new(Given { prepared: Prepared::new(&plan), plan, pipe });
        let given = NonNull::from(Box::leak(given));
        let mut launch = Launch { given: Some(given), stack: None, shared: false };
        let pid = match shares.then(|| launch.beside(given)) {
            Some(Ok(pid)) => pid,
            // No room; anything else is a machine that does not like the flags.
            Some(Err(error)) if is_full(&error) => return Err(error),
            Some(Err(_)) | None => copied(given)?,
        };
        drop(write); // the child has a descriptor of its own, of the same number
        Ok((pid, launch))
    }

    fn beside(&mut self, given: NonNull<Given>) -> io::Result<Pid> {
        let stack = Stack::take()?;
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY: the stack is this child's alone and stays, as `given` does, while `shared`; the
        // child writes nowhere else but in the slots of `prepared`, which only it uses.
        let pid = cvt(unsafe { libc::clone(enter, stack.top(), flags, given.as_ptr().cast()) });
        match pid {
            Ok(pid) => {
                (self.stack, self.shared) = (Some(stack), true);
                Ok(pid)
            }
            Err(error) => {
                stack.give_back();
                Err(error)
            }
        }
    }

    /// What the child was told to do, until [`Launch::free`].
    pub(super) fn plan(&self) -> Option<&ExecPlan> {
        // SAFETY: allocated in `new`, freed in `free`; nobody changes it in between.
        self.given.map(|given| &unsafe { given.as_ref() }.plan)
    }

    /// The pipe has reached its end: the child is the program, or dead.
    pub(super) fn is_over(&mut self) {
        self.shared = false;
        if let Some(stack) = self.stack.take() {
            stack.give_back();
        }
    }

    /// Frees all that nobody can use any more.
    pub(super) fn free(&mut self) {
        if self.shared {
            // Lost rather than used twice: neither is unmapped or freed by being dropped.
            self.given = None;
            self.stack = None;
        } else if let Some(given) = self.given.take() {
            // SAFETY: leaked in `new`, and the child has left our memory or had a copy.
            drop(unsafe { Box::from_raw(given.as_ptr()) });
        }
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        self.free();
    }
}

fn copied(given: NonNull<Given>) -> io::Result<Pid> {
    // SAFETY: rinit has one thread, and the child makes system calls only until execve or exit
    // (in the tests, which have several, that is what makes it allowed).
    let pid = cvt(unsafe { libc::fork() })?;
    if pid == 0 {
        enter(given.as_ptr().cast());
    }
    Ok(pid)
}

extern "C" fn enter(given: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `new` passes a `Given` that outlives the child's use of it.
    let given = unsafe { &*given.cast::<Given>() };
    // SAFETY: this is the new child, and `prepared` was made of `plan` for it alone.
    unsafe { child::run(&given.plan, &given.prepared, given.pipe) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM))
}

/// Whether the child may be born in our memory.
fn may_share(plan: &ExecPlan) -> bool {
    raw::IS_BARE
        && plan.identity == Identity::default()
        && plan.oom_score_adjust.is_none()
        && !plan.merges_memory
        && kernel_allows()
}

/// Linux 5.16 or later: "coredump: Limit coredumps to a single thread group".
fn kernel_allows() -> bool {
    static ALLOWS: OnceLock<bool> = OnceLock::new();
    *ALLOWS.get_or_init(|| {
        // SAFETY: a `utsname` is plain bytes; all zeroes is one.
        let mut name: libc::utsname = unsafe { std::mem::zeroed() };
        // SAFETY: `name` is a valid place for the result.
        let done = unsafe { libc::uname(&raw mut name) } == 0;
        let release: Vec<u8> = name.release.iter().map(|c| c.cast_unsigned()).collect();
        done && version(&release).is_some_and(|version| version >= (5, 16))
    })
}

fn version(release: &[u8]) -> Option<(u32, u32)> {
    let mut parts = release.split(|byte| !byte.is_ascii_digit());
    let mut part = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    Some((part()?, part()?))
}

/// A stack with a page below it that nobody may touch.
#[derive(Debug)]
struct Stack(NonNull<libc::c_void>);

// SAFETY: a stack in `SPARE` is memory that nobody uses.
unsafe impl Send for Stack {}

impl Stack {
    fn take() -> io::Result<Stack> {
        match SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(stack) => Ok(stack),
            None => Stack::map(),
        }
    }

    fn map() -> io::Result<Stack> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, wherever the kernel likes.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), STACK, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = NonNull::new(base).map(Stack).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the first page of the mapping, or the first of the larger pages that it has.
        cvt(unsafe { libc::mprotect(base, 4096, libc::PROT_NONE) })?;
        Ok(stack)
    }

    /// Its upper end: on every machine that we know a stack grows down.
    fn top(&self) -> *mut libc::c_void {
        // SAFETY: one past the end of the mapping.
        unsafe { self.0.as_ptr().byte_add(STACK) }
    }

    fn give_back(self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(self);
        } else {
            // SAFETY: the whole of our mapping, which nobody uses.
            unsafe { libc::munmap(self.0.as_ptr(), STACK) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels() {
        for (release, expected) in [
            (&b"6.18.44-fc\0\0"[..], Some((6, 18))),
            (b"5.15.0-91-generic\0", Some((5, 15))),
            (b"4.4.0\0", Some((4, 4))),
            (b"\0\0", None),
            (b"x", None),
        ] {
            assert_eq!(version(release), expected);
        }
    }
}
