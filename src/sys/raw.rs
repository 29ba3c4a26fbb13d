//! System calls that touch no memory of this process: neither `errno` nor anything thread-local.
//!
//! For the child's half (`child`), which may run beside its parent in the same memory, where
//! libc's wrappers would overwrite the parent's `errno`. Not for anything else.
//! **Invariant:** a call here leaves nothing behind but its result.

/// What the kernel said: a number, or the number of the error.
pub(super) type Outcome = Result<usize, i32>;

/// Whether calls here really leave `errno` alone: not on machines whose instruction is not known.
pub(super) const IS_BARE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Makes the call.
///
/// # Safety
/// As the call itself (syscall(2)): pointers must be valid for what it does with them, and made
/// numbers with `expose_provenance`, so that the compiler knows that their memory is used.
#[inline]
pub(super) unsafe fn call<const N: usize>(number: libc::c_long, arguments: [usize; N]) -> Outcome {
    const { assert!(N <= 6, "the kernel takes six") };
    let mut six = [0usize; 6];
    for (place, argument) in six.iter_mut().zip(arguments) {
        *place = argument;
    }
    // SAFETY: the caller's promise.
    let result = unsafe { instruction(number, six) };
    // The last page of numbers is errors, negated (syscall(2), Architecture calling conventions).
    if (-4095..0).contains(&result) {
        Err(i32::try_from(-result).unwrap_or(libc::EIO))
    } else {
        Ok(result.cast_unsigned())
    }
}

#[cfg(target_arch = "x86_64")]
/// # Safety
/// As the system call with that number demands of its arguments.
#[inline]
unsafe fn instruction(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps every register but these three; memory is the caller's promise.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
/// # Safety
/// As the system call with that number demands of its arguments.
#[inline]
unsafe fn instruction(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps every register but x0; memory is the caller's promise.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn instruction(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        // SAFETY: the thread's own errno always exists.
        return -unsafe { *libc::__errno_location() } as isize;
    }
    result as isize
}
