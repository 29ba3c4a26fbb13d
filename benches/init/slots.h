/* The file that every process of one measurement maps: counters and timestamps (CLOCK_MONOTONIC, ns).
 * slots.rs reads it by the same word numbers. Nothing here depends on a C library. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdint.h>

#define SLOTS_CAPACITY 4096

struct slots {
    uint64_t tickets;      /* 0: starts begun; a start's ticket is its index below */
    uint64_t started;      /* 1: starts whose timestamp is written */
    uint64_t target;       /* 2: the start that makes `started` equal to this wakes the harness */
    uint64_t init_exec;    /* 3: just before the subject is exec'ed */
    uint64_t init_pid;     /* 4: the subject's pid as the harness sees it */
    uint64_t init_status;  /* 5: its exit status once it is gone, 128 + n for a signal */
    uint64_t orphans;      /* 6: how many orphans a flood makes */
    uint64_t unused[9];
    uint64_t start[SLOTS_CAPACITY]; /* 16: an app's first instruction */
    uint64_t death[SLOTS_CAPACITY]; /* the instruction before an app's death */
};

/* One-byte messages on DIR/wake, the harness's datagram socket. */
#define WAKE_STARTED 's'
#define WAKE_FLOOD_READY 'r'
#define WAKE_FLOOD_DEAD 'd'
#define WAKE_FLOOD_REAPED 'z'
#define WAKE_FLOOD_FAILED 'e'
#define WAKE_INIT_GONE 'x'

#endif
