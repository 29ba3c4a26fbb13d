/* System calls without a C library: a program made of these is one page, its first instruction is ours,
 * and nothing runs before `entry`. (The start-up of a static glibc program costs more than its exec.) */
#ifndef BARE_H
#define BARE_H

#include <asm/unistd.h>

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "bare.h knows x86_64 and aarch64"
#endif
}

/* SYS(name, up to five arguments); a failure is -errno. */
#define SYS_(name, a, b, c, d, e, ...) \
    syscall6(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS(...) SYS_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static inline _Noreturn void leave(int status) {
    for (;;) SYS(exit_group, status);
}

/* As vfork(2). The child returns first and uses our stack, so the return address waits in a register. */
__attribute__((returns_twice)) long vfork_bare(void);

/* The kernel enters at _start with argc and argv on the stack; `entry` gets that address. */
_Noreturn void entry(long *stack);

#if defined(__x86_64__)
__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "        mov %rsp, %rdi\n"
        "        and $-16, %rsp\n"
        "        call entry\n"
        "vfork_bare:\n"
        "        pop %rdx\n"
        "        mov $58, %eax\n" /* vfork */
        "        syscall\n"
        "        push %rdx\n"
        "        ret\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n"
        "_start: mov x29, #0\n"
        "        mov x0, sp\n"
        "        bl entry\n"
        "vfork_bare:\n"
        "        mov x0, #0x4111\n" /* CLONE_VM | CLONE_VFORK | SIGCHLD */
        "        mov x1, #0\n"
        "        mov x2, #0\n"
        "        mov x3, #0\n"
        "        mov x4, #0\n"
        "        mov x8, #220\n" /* clone */
        "        svc 0\n"
        "        ret\n");
#endif

#endif
