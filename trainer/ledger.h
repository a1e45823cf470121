// SPDX-License-Identifier: MIT
// Digests of all that a step computes, in the order in which it is computed: weights before it,
// inputs, each layer's output, loss, gradients, their sums, weights and optimiser state after it. A
// line of OUT/digests.jsonl for every recorded step, so that a later replay (replay.h) can say
// where another machine, or this one on another day, computes something else. Each is a sum over
// grains or slices that does not depend on who holds which. Called by the audit; rank 0 writes.
#ifndef SW2_TRAINER_LEDGER_H
#define SW2_TRAINER_LEDGER_H

#include "trainer/session.h"

struct ledger;

// Collective. STATUS_ERROR: memory.
enum status ledger_init(struct ledger **ledger, struct session *session);
void ledger_free(struct ledger *ledger); // NULL is allowed
// Local, rank 0: lines go to this file from now on; those of steps after `done` are removed from
// it. STATUS_ERROR names the file.
enum status ledger_open(struct ledger *ledger, const char *path, uint64_t done);

// A step, in this order. Workers may call input, layer and loss at the same time.
void ledger_begin(struct ledger *ledger);
void ledger_input(struct ledger *ledger, int worker, const struct batch *batch);
void ledger_layer(struct ledger *ledger, int worker, int grain, const struct layer *layer);
// digests: of each tensor's gradient, then of the metrics.
void ledger_grain(struct ledger *ledger, int worker, int grain, const uint64_t *digests);
// Before the update; weights: by tensor.
void ledger_sums(struct ledger *ledger, const uint64_t *weights);
// Collective, after the update, the step's last: writes the line (rank 0; what cannot be written is
// a log_warn, once). state: by state and segment of the update.
void ledger_end(struct ledger *ledger, uint64_t step, uint64_t epoch, const uint64_t *weights,
                const uint64_t *state);

// Of the last step, on all ranks. Names: "forward conv1".
size_t ledger_items(const struct ledger *ledger, const uint64_t **digests);
void ledger_name(const struct ledger *ledger, size_t item, char name[128]);
// Item's digest in a line of the file; false: the line does not have it.
bool ledger_find(const struct ledger *ledger, size_t item, const char *line, uint64_t *digest);

#endif
