// SPDX-License-Identifier: MIT
// What update.c shares with update_copy.c and the audit; for no one else.
#ifndef SW2_TRAINER_UPDATE_PRIVATE_H
#define SW2_TRAINER_UPDATE_PRIVATE_H

#include "trainer/update.h"

// What of one tensor lies in one of this rank's slices. Starts at a block's begin.
struct segment {
    size_t offset, count; // in the flat vector; padding not counted
    size_t local;         // where its state begins
    size_t tensor;        // index in list
};

struct update {
    struct update_config config;
    const struct optimizer *optimizer;
    struct group *group;
    struct reduce *reduce;
    size_t n;
    int grains;
    const struct model_param *list; // (n_list), borrowed
    size_t n_list;
    const struct span *spans; // (n_spans) this rank's slices, borrowed
    size_t n_spans;
    struct segment *segments; // (n_segments) ascending
    size_t n_segments;
    size_t n_local; // floats of this rank's slices, padding included
    int n_states;
    const char *state_name[UPDATE_STATES_MAX];
    float *state[UPDATE_STATES_MAX]; // (n_local) each
    float *slow;                     // lookahead's, or NULL
    float *ema;                      // the last state, or NULL
    double *blocks;                  // (n / SPAN_BLOCK) sums of squares
    double *g_sum, *p_sum;           // (n_list) of whole tensors
    double norm;
    struct update_digest *digests; // (group size)
    struct profile *profile;       // borrowed, or NULL
    struct workers *workers;       // borrowed, or NULL
};

// New values of this rank's slices of params, and its state, from its slices of sum; collective for
// the norms. What update_step does before the all-gather.
enum status update_compute(struct update *update, float *params, const float *sum, double lr,
                           uint64_t step);

#endif
