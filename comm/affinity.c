// SPDX-License-Identifier: MIT
// Pure arithmetic on sets of cores. Called by workers.c.
#include "comm/affinity.h"

#include <string.h>

#include "comm/spin.h"

unsigned spin_patience = SPIN_PATIENT;

int affinity_core(const cpu_set_t *cores, int i)
{
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, cores) && i-- == 0)
            return core;
    return -1;
}

struct affinity_place affinity_place_of(const struct affinity_seat *seats, int size, int rank,
                                        int n)
{
    const struct affinity_seat *own = &seats[rank];
    struct affinity_place place = {.n_workers = n};
    cpu_set_t all = own->cores, common;
    bool is_mixed = false;
    for (int r = 0; r < size; r++) {
        if (r == rank || strcmp(seats[r].host, own->host) != 0)
            continue;
        CPU_AND(&common, &seats[r].cores, &own->cores);
        if (CPU_COUNT(&common) == 0)
            continue;
        is_mixed = is_mixed || !CPU_EQUAL(&seats[r].cores, &own->cores);
        CPU_OR(&all, &all, &seats[r].cores);
        place.n_workers += n;
        if (r < rank)
            place.first += n;
    }
    place.n_cores = CPU_COUNT(&all);
    place.is_pinned = !is_mixed && place.n_workers <= place.n_cores;
    return place;
}
