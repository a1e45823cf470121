// SPDX-License-Identifier: MIT
// What the audit*.c files share. Nobody else includes it.
#ifndef SW2_TRAINER_AUDIT_PRIVATE_H
#define SW2_TRAINER_AUDIT_PRIVATE_H

#include <pthread.h>

#include "trainer/audit.h"
#include "trainer/ledger.h"
#include "trainer/update_private.h"

// A second place for this rank's part of the update.
struct audit_copy {
    float *params;                   // (n) this rank's slices are used
    float *state[UPDATE_STATES_MAX]; // (n_local)
};

// A rank's record after the update.
struct audit_after {
    uint64_t weights, slices;
    int32_t tensor, state; // where the update and its repetition differ; -1: nowhere
};

struct audit {
    struct session *s; // borrowed
    struct audit_config config;
    char (*hosts)[64];   // (size)
    struct tree_run run; // grains of another rank that this one computes again
    int shift;           // rank r's are checked by rank r + shift
    size_t width;        // digests a grain: tensors, and the metrics
    uint64_t *own;       // (grains, width) of this rank's grains
    uint64_t *others;    // (run.count, width)
    bool *is_chosen;     // (G) in this step
    bool any_chosen;
    struct reduce *twin; // the second sum; NULL: rate 0
    struct dataset *data;
    struct loader **loaders; // (workers)
    float **grads;           // (workers) n floats
    pthread_mutex_t mutex;   // of data
    struct audit_copy copy;
    // Digests of this rank's weights (by tensor) and state (by state and segment): when they were
    // last taken, and now.
    uint64_t *weights, *weights_now, *state, *state_now;
    size_t n_state;
    uint64_t own_slices; // of the weights, when they were last taken
    bool has_kept;
    size_t *counts; // (size) bytes of each rank's record
    char *records;
    struct audit_after *after; // (size)
    uint64_t *totals;          // (size)
    uint64_t *spare;           // (2, width)
    uint64_t epoch, at, global;
    bool is_checked, is_audited, is_recorded; // the step in hand
    struct ledger *ledger;                    // NULL: nothing is recorded
    struct audit_finding finding;
};

// Digests of the gradient of one grain, computed by this worker with a loader of its own choice.
enum status audit_compute(struct audit *audit, int worker, struct loader *loader, int grain,
                          uint64_t *digests);
uint64_t audit_total(const struct audit *audit, const uint64_t *digests);
bool audit_is_audited(const struct audit *audit, uint64_t global);
bool audit_is_checked(const struct audit *audit, uint64_t global);

// audit_check.c
enum status audit_records_init(struct audit *audit);

// audit_memory.c
enum status audit_memory_init(struct audit *audit);
void audit_memory_free(struct audit *audit);
void audit_digest_weights(const struct audit *audit, uint64_t *digests); // by tensor
// state: of each, or NULL where they are the update's own.
void audit_digest_state(const struct audit *audit, float *const *state, uint64_t *digests);
uint64_t audit_digest_slices(const struct audit *audit);
void audit_copy_take(struct audit *audit);
enum status audit_copy_update(struct audit *audit, double lr); // collective
// First difference between the copy and the real ones; tensor < 0: none. state < 0: the weights.
void audit_copy_compare(const struct audit *audit, int *tensor, int *state);
bool audit_sums_differ(const struct audit *audit);

// audit_find.c: collective; STATUS_VERIFY with the text that names the ranks.
enum status audit_find_grain(struct audit *audit, int grain, int owner, int checker);
enum status audit_find_sum(struct audit *audit, bool differs, bool partials);
// audit->totals: digest of all weights on each rank; total: what it should be, by the owners of
// slices, where has_total.
enum status audit_find_weights(struct audit *audit, uint64_t total, bool has_total);
enum status audit_fail(struct audit *audit, enum audit_check check, int rank, int other,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
