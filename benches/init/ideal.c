/* The ideal: what an init cannot do without, in bare system calls, and nothing else. It is what rinit and
 * its peers are measured against, not an init to use: no configuration, no log, no limit on restarts, no
 * deadline on a stop, no message when an exec fails.
 *
 *   ideal run CMD [ARG]...              one command: signals are forwarded, its status is ours
 *   ideal many N CMD [ARG]...           N of them at once, each started again as soon as it dies
 *   ideal many N chain CMD [ARG]...     N of them, each started when the one before has exited 0
 *
 * Every mode reaps whatever it is given. `many` stops on SIGTERM: SIGTERM to all, then wait for all. */
#include <linux/signal.h>
#include <linux/wait.h>

#include "bare.h"

#define FLEET_MAX 4096

typedef unsigned long signals; /* the kernel's sigset_t: bit n-1 is signal n */

static const signals every_signal = ~0ul, no_signal = 0;
static char **environment;

static void set_signal_mask(const signals *mask) {
    SYS(rt_sigprocmask, SIG_SETMASK, mask, 0, sizeof *mask);
}

/* Signals are blocked for good and taken one by one: nothing is lost, no handler runs. */
static void block_signals(void) {
    struct {
        void *handler;
        unsigned long rest[3];
    } normal = {SIG_DFL, {0}};
    set_signal_mask(&every_signal);
    SYS(rt_sigaction, SIGCHLD, &normal, 0, sizeof(signals)); /* an inherited "ignore" would hide deaths */
}

static int next_signal(void) {
    long signal;
    do signal = SYS(rt_sigtimedwait, &every_signal, 0, 0, sizeof every_signal);
    while (signal < 0);
    return (int)signal;
}

/* The child borrows our memory until its exec, so nothing is copied; its signal mask is its own. */
static int start(char **argv) {
    long pid = vfork_bare();
    if (pid == 0) {
        set_signal_mask(&no_signal);
        SYS(execve, argv[0], argv, environment);
        leave(127);
    }
    return (int)pid;
}

/* The pid of a child that has died, or 0 or less when there is none now. */
static int reap_one(int *status) { return (int)SYS(wait4, -1, status, WNOHANG); }

static int exit_code(int status) {
    int signal = status & 0x7f;
    return signal ? 128 + signal : status >> 8 & 0xff;
}

static int run(char **argv) {
    int app = start(argv), pid, status;
    for (;;) {
        int signal = next_signal();
        if (signal != SIGCHLD) {
            SYS(kill, app, signal);
            continue;
        }
        while ((pid = reap_one(&status)) > 0)
            if (pid == app) return exit_code(status);
    }
}

/* `many`. A pid of 0: that one is gone. */
static int pids[FLEET_MAX];

static int find(int size, int pid) {
    for (int i = 0; i < size; i++)
        if (pids[i] == pid) return i;
    return -1;
}

static void stop_all(int size) {
    for (int i = 0; i < size; i++)
        if (pids[i] > 0) SYS(kill, pids[i], SIGTERM);
}

static int many(int size, char **argv) {
    int alive = size, stopping = 0, pid, status;
    for (int i = 0; i < size; i++) pids[i] = start(argv);
    while (alive > 0) {
        int signal = next_signal();
        if (signal == SIGTERM) {
            stopping = 1;
            stop_all(size);
        }
        if (signal != SIGCHLD) continue;
        while ((pid = reap_one(&status)) > 0) {
            int i = find(size, pid);
            if (i < 0) continue;
            pids[i] = stopping ? 0 : start(argv);
            alive -= stopping;
        }
    }
    return 0;
}

/* Ends with the last one, or at the first that fails. Any signal but SIGCHLD ends it too. */
static int chain(int size, char **argv) {
    int done = 0, current = start(argv), pid, status;
    for (;;) {
        if (next_signal() != SIGCHLD) return 1;
        while ((pid = reap_one(&status)) > 0) {
            if (pid != current) continue;
            if (status != 0) return exit_code(status);
            if (++done == size) return 0;
            current = start(argv);
        }
    }
}

static int is(const char *word, const char *expected) {
    while (*word && *word == *expected) word++, expected++;
    return *word == *expected;
}

static int number(const char *digits) {
    int n = 0;
    while (*digits >= '0' && *digits <= '9' && n <= FLEET_MAX) n = 10 * n + (*digits++ - '0');
    return *digits ? -1 : n;
}

_Noreturn void entry(long *stack) {
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    environment = argv + argc + 1;
    block_signals();

    if (argc > 2 && is(argv[1], "run")) leave(run(argv + 2));
    if (argc < 4 || !is(argv[1], "many")) leave(64);
    int size = number(argv[2]);
    if (size < 1 || size > FLEET_MAX) leave(64);
    if (!is(argv[3], "chain")) leave(many(size, argv + 3));
    if (argc < 5) leave(64);
    leave(chain(size, argv + 4));
}
