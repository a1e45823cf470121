// SPDX-License-Identifier: MIT
// What profile.c (clocks), profile_table.c and profile_trace.c (what is made of them) share.
#ifndef SW2_TRAINER_PROFILE_PRIVATE_H
#define SW2_TRAINER_PROFILE_PRIVATE_H

#include <stdio.h>

#include "trainer/profile.h"

#define PROFILE_TRACE_STEPS 20 // in the trace
#define PROFILE_NAME_MAX 96

struct profile {
    struct group *group;
    const struct model *model;
    size_t grain, n_slots;
    int n_grains, n_lanes;
    struct laps *lanes; // (n_lanes)
    double peak;        // FLOP/s of one core
    uint64_t steps;     // done
    double step_begin;
    double flight; // seconds from first message to end of the sum, of all steps counted
};

// One rank's sums over its lanes.
struct profile_sums {
    struct lap_slot *slots; // (n_slots)
    double flight, images;  // images of this rank in the steps counted
    double *low, *high;     // (n_slots) seconds, over ranks
};

void profile_table_write(const struct profile *profile, const struct profile_sums *sums,
                         FILE *file);
// Collective. Rank 0 writes.
enum status profile_trace_write(const struct profile *profile, const char *path);
const char *profile_slot_name(const struct profile *profile, size_t slot,
                              char name[PROFILE_NAME_MAX]);
static inline size_t profile_model_slots(const struct profile *profile)
{
    return model_n_slots(profile->model);
}

#endif
