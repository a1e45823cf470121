// SPDX-License-Identifier: MIT
// What will run, before it runs: network table, grains, steps, memory per rank, bytes per step,
// checkpoint size. Shown at the start of training and by --plan; the memory is checked against what
// the machine has.
#ifndef SW2_TRAINER_PLAN_H
#define SW2_TRAINER_PLAN_H

#include "trainer/session.h"

// Bytes of one rank, by purpose. Needs session_data and session_sizes (or a trained session).
struct plan_memory {
    size_t activations, gradients, work; // of one grain
    size_t weights;                      // and the EMA copy for evaluation
    size_t sums;                         // partial sums over grains and buckets
    size_t state;                        // the optimiser's slices
    size_t snapshot;                     // of what a checkpoint holds, on rank 0
    size_t data;                         // prefetched batches, windows and chunks of files
    size_t base;                         // the program and its libraries, measured
    size_t shared;                       // read of other ranks on this host, resident in both
    size_t audit;                        // what computes a share once more
    size_t total;                        // the most at a time
};
struct plan_memory plan_memory(const struct session *session);
uint64_t plan_checkpoint_bytes(const struct session *session);

// Prints everything, on rank 0.
void plan_show(const struct session *session);
// After training: the rank that took most memory, beside its plan. Collective (16 bytes a rank).
enum status plan_show_measured(const struct session *session);
// STATUS_ERROR where the ranks on this host need more than its memory or its cgroup's limit: names
// both and what takes most. Collective.
enum status plan_check_memory(const struct session *session);

// "1.5 GiB". Static buffers would collide in one call, so the caller gives one of 32 bytes.
const char *plan_bytes_text(double bytes, char text[32]);

#endif
