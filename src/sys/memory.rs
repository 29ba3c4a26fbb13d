//! What the allocator keeps of memory that nobody uses any more.
//!
//! Not an allocator. **Invariant:** nothing here changes what a program sees but its size.

/// From this size on (bytes) an allocation is a mapping of its own, gone when it is freed.
#[cfg(target_env = "gnu")]
const OWN_MAPPING: libc::c_int = 128 << 10;

/// Makes the allocator prefer a small process; to be called first. Big allocations go back to
/// the kernel when they are freed, always: by default glibc stops doing that with the first of
/// them that is freed (mallopt(3), M_MMAP_THRESHOLD). Small ones are joined with their
/// neighbours at once, or they would pin what is free around them (M_MXFAST).
pub fn prefer_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: numbers only; it stores the limits.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// Room in the heap of the thread that makes it: see [`give_back`].
#[derive(Debug)]
pub struct Ballast(#[allow(dead_code, reason = "it is only there to be freed")] Vec<u8>);

impl Ballast {
    /// Never touched, so it is no memory.
    pub fn here() -> Ballast {
        Ballast(Vec::with_capacity(BALLAST))
    }
}

/// Less than a mapping of its own, and more than the 64 KiB from which on a free makes glibc look
/// at the end of that heap (FASTBIN_CONSOLIDATION_THRESHOLD of malloc.c).
const BALLAST: usize = 96 << 10;

/// Gives back the heap of a thread to the last page, once all in it is free but its ballast: by
/// default glibc keeps 128 KiB and more of each (mallopt(3), M_TOP_PAD, M_TRIM_THRESHOLD), and it
/// looks only when something large is freed.
pub fn give_back(ballast: Ballast) {
    keep_free(0);
    drop(ballast);
    keep_free(DEFAULT_KEPT);
    trim();
}

/// glibc's own default, in bytes, of what is kept at the end of a heap.
const DEFAULT_KEPT: libc::c_int = 128 << 10;

fn keep_free(bytes: libc::c_int) {
    #[cfg(target_env = "gnu")]
    // SAFETY: numbers only; it stores the limits.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, bytes);
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

/// Gives every free page of the heap back to the kernel (malloc_trim(3)).
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number of bytes to keep and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
