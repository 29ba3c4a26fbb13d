/* The app that the benchmarked inits run: it notes its own start and does next to nothing else.
 *
 *   payload MODE:DIR      DIR holds `slots` (see slots.h) and `wake`, the harness's datagram socket
 *
 *   up      note the start, then wait for a signal
 *   once    note the start, exit 0
 *   crash   note the start, note the death, die by SIGKILL; once the target is reached: as `up`
 *   limp    as crash, after 2 ms of life
 *   flood   make `orphans` orphans that init adopts; tell when they are there, all dead, all reaped
 *   probe   exit 0
 *
 * Mode and directory are one word because a `#!` line passes only one. */
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/time.h>
#include <linux/un.h>

#include "bare.h"
#include "slots.h"

/* <linux/socket.h> leaves these to the C library. */
#define AF_UNIX 1
#define SOCK_DGRAM 2
#define PATH_SIZE 108 /* sun_path */

/* Between two looks at a dying process group, ns. */
#define PAUSE_MIN 50000u
#define PAUSE_MAX 20000000u

static uint64_t read_clock(long clock) {
    struct timespec t;
    SYS(clock_gettime, clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now(void) { return read_clock(CLOCK_MONOTONIC); }

static void sleep_ns(uint64_t ns) {
    struct timespec t = {(long)(ns / 1000000000u), (long)(ns % 1000000000u)};
    SYS(nanosleep, &t);
}

static _Noreturn void rest(void) {
    for (;;) SYS(ppoll);
}

/* to = DIR/NAME; leaves the process if that does not fit a socket's address. */
static void join(char *to, const char *dir, const char *name) {
    unsigned n = 0;
    while (*dir && n < PATH_SIZE - 1) to[n++] = *dir++;
    while (*name && n < PATH_SIZE - 1) to[n++] = *name++;
    if (*dir || *name) leave(64);
    to[n] = 0;
}

static struct slots *map_slots(const char *dir) {
    char path[PATH_SIZE];
    join(path, dir, "/slots");
    long fd = SYS(openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) leave(66);
    long map = SYS(mmap, 0, sizeof(struct slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    if (map < 0 && map > -4096) leave(71);
    SYS(close, fd);
    return (struct slots *)map;
}

static void wake(const char *dir, char what) {
    struct sockaddr_un to;
    to.sun_family = AF_UNIX;
    join(to.sun_path, dir, "/wake");
    long fd = SYS(socket, AF_UNIX, SOCK_DGRAM | O_CLOEXEC);
    syscall6(__NR_sendto, fd, (long)&what, 1, 0, (long)&to, sizeof to);
    SYS(close, fd);
}

static uint64_t note_start(struct slots *slots, const char *dir, uint64_t at) {
    uint64_t ticket = __atomic_fetch_add(&slots->tickets, 1, __ATOMIC_RELAXED);
    if (ticket < SLOTS_CAPACITY) slots->start[ticket] = at;
    uint64_t started = __atomic_add_fetch(&slots->started, 1, __ATOMIC_ACQ_REL);
    if (started == slots->target) wake(dir, WAKE_STARTED);
    return ticket;
}

static _Noreturn void crash(struct slots *slots, uint64_t ticket, uint64_t life) {
    if (ticket + 1 >= slots->target || ticket >= SLOTS_CAPACITY) rest();
    if (life) sleep_ns(life);
    slots->death[ticket] = now();
    SYS(kill, SYS(getpid), SIGKILL);
    rest();
}

static long fork_bare(void) { return SYS(clone, SIGCHLD); }

/* The first fork: makes `count` children and leaves them to init, in a session of their own as daemons are.
 * (In init's session, the kernel would go through their process group at each death, to see whether that is
 * orphaned now: ten thousand times ten thousand steps that are not init's.)
 * They share its memory, so that what is measured is init's reaping, not the kernel freeing memory. None
 * of them uses its stack for more than a call that does not return: one serves all. */
static _Noreturn void make_orphans(uint64_t count) {
    static char stack[256] __attribute__((aligned(16)));
    SYS(setsid);
    for (uint64_t i = 0; i < count; i++) {
        long child = SYS(clone, CLONE_VM | SIGCHLD, stack + 128);
        if (child == 0) rest();
        if (child < 0) leave(71);
    }
    leave(0);
}

/* A process group exists until its last member is reaped, zombies included: kill(-group, 0) tells.
 * One look costs CPU time in proportion to what is left; twenty times that is waited between two looks,
 * so that watching takes 5 % at most and grows precise towards the end. */
static void wait_until_reaped(long group) {
    for (;;) {
        uint64_t before = read_clock(CLOCK_PROCESS_CPUTIME_ID);
        if (SYS(kill, -group, 0) == -ESRCH) return;
        uint64_t pause = 20 * (read_clock(CLOCK_PROCESS_CPUTIME_ID) - before);
        sleep_ns(pause < PAUSE_MIN ? PAUSE_MIN : pause > PAUSE_MAX ? PAUSE_MAX : pause);
    }
}

/* Every orphan holds the write end of `alive`: its end of file is the death of the last. */
static void flood(struct slots *slots, const char *dir) {
    int alive[2], status = 0;
    char byte;
    SYS(pipe2, alive, O_CLOEXEC);
    long group = fork_bare();
    if (group == 0) make_orphans(slots->orphans);
    SYS(close, alive[1]);
    long waited = SYS(wait4, group, &status);
    if (group < 0 || waited != group || status != 0) {
        wake(dir, WAKE_FLOOD_FAILED);
        return;
    }
    wake(dir, WAKE_FLOOD_READY);
    SYS(read, alive[0], &byte, 1);
    wake(dir, WAKE_FLOOD_DEAD);
    wait_until_reaped(group);
    wake(dir, WAKE_FLOOD_REAPED);
}

_Noreturn void entry(long *stack) {
    uint64_t at = now();
    if (stack[0] < 2) leave(64);
    const char *mode = ((const char **)stack)[2];
    const char *dir = mode;
    while (*dir && *dir != ':') dir++;
    if (*mode == 'p') leave(0);
    if (!*dir) leave(64);
    dir++;

    struct slots *slots = map_slots(dir);
    uint64_t ticket = note_start(slots, dir, at);
    switch (*mode) {
    case 'o': leave(0);
    case 'c': crash(slots, ticket, 0);
    case 'l': crash(slots, ticket, 2000000);
    case 'f': flood(slots, dir); break;
    }
    rest();
}
