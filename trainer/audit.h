// SPDX-License-Identifier: MIT
// Wrong arithmetic and flipped bits, found while training (silent data corruption). Owns what is
// computed twice and the digests that are compared; says which rank of which host differs. Called
// by step.c and loop.c; does not change a bit of the training.
//
// In a step that is checked (every verify_every-th) each rank compares digests of its weights and
// optimiser state with those it took after the step before, and its weights with all ranks'.
// --audit RATE: of the grains this share, chosen by counter-based random numbers, is computed again
// by another rank, on another host where there is one, from the data on; digests of each tensor's
// gradient and of the loss are compared. In the same share of the steps (audited ones) everything
// after the gradients is done twice, too: the sum over grains, by folds, messages and memory of its
// own, and the update, from a copy of weights and state; both results are compared bit for bit.
// Two ranks that differ both compute once more, and a third one, if there is one, to tell who errs.
#ifndef SW2_TRAINER_AUDIT_H
#define SW2_TRAINER_AUDIT_H

#include "trainer/session.h"

struct audit_config {
    double rate;           // share of the grains and of the steps; 0: none; 1: all
    uint64_t verify_every; // steps; 0: never, but for audited and recorded steps
    uint64_t record_every; // steps whose digests are recorded (ledger.h); 0: none
    uint64_t record_at;    // for a replay: only this step (counted from 1) is
};

enum audit_check {
    AUDIT_NONE,
    AUDIT_MEMORY,  // weights or state changed between two steps
    AUDIT_WEIGHTS, // ranks hold different weights
    AUDIT_GRAIN,
    AUDIT_MESSAGE, // what arrived is not what was sent
    AUDIT_SUM,
    AUDIT_UPDATE,
    AUDIT_CHECKS
};

// What was found; the same on all ranks. rank, other: who errs (other: or the one it cannot be told
// from, or the sender of a message), -1: nobody.
struct audit_finding {
    enum audit_check check;
    int rank, other;
};

struct audit;

// Collective. *audit NULL: nothing is to be checked. All memory is allocated here: with a rate
// above 0 that of a second reduction, a gradient a worker, a copy of weights and state of the
// slices.
enum status audit_init(struct audit **audit, struct session *session,
                       const struct audit_config *config);
void audit_free(struct audit *audit); // NULL is allowed, as everywhere below
// Once weights and state are those of the next step, `done` steps done: what the first check
// compares with.
void audit_start(struct audit *audit, uint64_t done);

// The step in hand; collective in what it decides.
void audit_step(struct audit *audit, uint64_t epoch, uint64_t at, uint64_t global);

// What watches one grain of a worker.
struct audit_watch {
    const struct session *s;
    struct audit *audit;
    int worker, grain;
    float *grads;          // (n)
    float *twin;           // of the second sum, or NULL
    uint64_t *digests;     // by tensor, then of the metrics; or NULL
    size_t next;           // tensors from here on are final
    struct ledger *ledger; // of a recorded step, or NULL
};
void audit_watch_begin(struct audit_watch *watch, const struct session *session,
                       struct audit *audit, int worker, int grain, float *grads);
// Does it read each tensor's gradient of this grain? Else they may go right into the sum.
bool audit_watch_reads(const struct audit_watch *watch);
// May have the pass look at each layer.
void audit_watch_input(struct audit_watch *watch, const struct batch *batch, struct pass *pass);
// [offset, the one before) is final, and not yet in the sum.
void audit_watch_push(struct audit_watch *watch, size_t offset);
// ... and now it is. Also where the grain failed: others wait for its sum.
void audit_watch_pushed(struct audit_watch *watch, size_t offset);
void audit_watch_end(struct audit_watch *watch, const double *metrics);

// Each worker, after its grains and the sum: the second sum, and grains of other ranks.
enum status audit_work(struct audit *audit, int worker);
// Collective, between the sum and the update: STATUS_VERIFY on all ranks, naming who errs.
enum status audit_before_update(struct audit *audit);
// Collective, after it. lr: of this step.
enum status audit_after_update(struct audit *audit, double lr);

// Where tests flip bits between the sum and the update.
void audit_faults(const struct session *session);

void audit_reset(struct audit *audit); // nothing is kept, nothing was found: for tests
// Where digests of steps are kept; NULL: nowhere. Borrowed.
struct ledger;
struct ledger *audit_ledger(const struct audit *audit);
struct audit_finding audit_finding(const struct audit *audit);

#endif
