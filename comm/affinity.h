// SPDX-License-Identifier: MIT
// Which core each worker of each rank gets. Private to workers.c and its test.
#ifndef SW2_COMM_AFFINITY_H
#define SW2_COMM_AFFINITY_H

#include <sched.h>
#include <stdbool.h>

// What a rank says of itself.
struct affinity_seat {
    char host[64];
    cpu_set_t cores; // that its process may use
};

struct affinity_place {
    int n_cores;    // that the rank's workers have together, on its host
    int n_workers;  // that share them, of this and other ranks
    bool is_pinned; // each worker gets a core of its own:
    int first;      // worker w gets the (first + w)-th core of the rank's own set
};

// Pure: the place of `rank` among `size` ranks of n workers each. Ranks of a host with the same set
// take turns in it; with sets that share nothing each uses its own; any other mixture is left to
// the scheduler.
struct affinity_place affinity_place_of(const struct affinity_seat *seats, int size, int rank,
                                        int n);
// Number of the i-th core of a set; -1: it has fewer.
int affinity_core(const cpu_set_t *cores, int i);

#endif
