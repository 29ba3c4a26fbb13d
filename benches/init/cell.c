/* Runs one command as PID 1 of a fresh user, mount and pid namespace.
 *
 *   cell DIR CMD [ARG]...      DIR as for payload.c
 *
 * What `unshare --user --map-root-user --fork --pid --mount-proc CMD` does, and besides: notes the
 * instant before the exec of CMD, gives it an empty /run, and tells the harness when it is gone. Ends only
 * by being killed, or with the harness, and takes everything inside along. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "slots.h"

static void die(const char *what) {
    fprintf(stderr, "cell: %s: %s\n", what, strerror(errno));
    exit(71);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct slots *map_slots(const char *dir) {
    char path[256];
    snprintf(path, sizeof path, "%s/slots", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) die(path);
    void *map = mmap(NULL, sizeof(struct slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) die("mmap");
    return map;
}

static void wake(const char *dir, char what) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/wake", dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(fd, &what, 1, 0, (struct sockaddr *)&to, sizeof to);
    close(fd);
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
    close(fd);
}

static void become_root_of_new_namespaces(void) {
    char uid[64], gid[64];
    snprintf(uid, sizeof uid, "0 %u 1", (unsigned)getuid());
    snprintf(gid, sizeof gid, "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0) die("unshare");
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", uid);
    put("/proc/self/gid_map", gid);
}

static void die_with_parent(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) die("prctl");
}

static void furnish(void) {
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) die("mount /");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) die("mount /proc");
    if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0) die("mount /run");
}

/* PID 1: waits until its pid is noted outside, then becomes the subject. */
static _Noreturn void subject(struct slots *slots, int gate, char **argv) {
    char byte;
    die_with_parent();
    furnish();
    setsid();
    if (chdir("/") < 0) die("chdir /");
    if (read(gate, &byte, 1) != 1) die("gate");
    slots->init_exec = now();
    execv(argv[0], argv);
    die(argv[0]);
    _exit(71);
}

/* Does not reap it: while it is a zombie, its pid is nobody else's, and the harness may signal it. */
static void await(pid_t pid, struct slots *slots) {
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0)
        if (errno != EINTR) die("waitid");
    slots->init_status = (uint64_t)(info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status);
}

int main(int argc, char **argv) {
    if (argc < 3) return 64;
    struct slots *slots = map_slots(argv[1]);
    int gate[2];
    die_with_parent();
    become_root_of_new_namespaces();
    if (pipe2(gate, O_CLOEXEC) < 0) die("pipe");
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) subject(slots, gate[0], argv + 2);
    slots->init_pid = (uint64_t)pid;
    if (write(gate[1], "", 1) != 1) die("gate");
    await(pid, slots);
    wake(argv[1], WAKE_INIT_GONE);
    for (;;) pause();
}
