//! How many processors we may run on.
//!
//! Not how much of their time (cgroups: `init::capacity`). **Invariant:** there is always one.

use std::mem::size_of;

/// Processors in our affinity mask (sched_getaffinity(2)), which a cpuset bounds as well; those
/// that are online where the kernel has more than the mask holds. At least 1.
pub fn processors() -> u32 {
    // SAFETY: a `cpu_set_t` is plain bits; all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and the size are those of `set`.
    let done =
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } == 0;
    // SAFETY: reads the set that was just filled; else a name that is always known.
    let count = unsafe {
        if done {
            i64::from(libc::CPU_COUNT(&set))
        } else {
            libc::sysconf(libc::_SC_NPROCESSORS_ONLN)
        }
    };
    u32::try_from(count).unwrap_or(1).max(1)
}
