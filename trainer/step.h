// SPDX-License-Identifier: MIT
// One training step of all ranks: every worker's grains, the sum, what ranks agree on, the update.
// Owns what a step needs beside the session; the loop around it is loop.c's.
#ifndef SW2_TRAINER_STEP_H
#define SW2_TRAINER_STEP_H

#include "trainer/audit.h"
#include "trainer/session.h"

#define STEP_SKIPS_MAX 10 // in a row

struct step {
    struct session *s;   // borrowed
    struct audit *audit; // borrowed, or NULL; set by the caller
    int n_metrics;
    double *metrics;    // (grains of this rank, LOSS_METRICS_MAX)
    char *shared;       // a record of each rank
    size_t *counts;     // (size) bytes of each
    double *per_grain;  // (G)
    uint64_t epoch, at; // the step in hand: of this epoch,
    uint64_t global;    // and steps done before it
    // Of the whole run, kept in checkpoints: steps that were skipped because loss or gradient were
    // not finite, and those of them that came just before this step.
    uint64_t skipped, skipped_in_row;
    unsigned skips_told;
};

// What ranks tell each other in a step.
struct step_news {
    bool save_due;                 // rank 0's clock says so (in: this rank's)
    int signal;                    // that asks for a stop, of the lowest rank that has one; 0: none
    double sums[LOSS_METRICS_MAX]; // of the loss's metrics over the global batch
    bool is_skipped;               // nothing has changed, sums mean nothing
};

enum status step_init(struct step *step, struct session *session); // STATUS_ERROR: memory
void step_free(struct step *step);

// Collective: step `at` of the epoch; global: steps done before. STATUS_NOT_FINITE: loss, gradient
// or statistic are not, and the recipe's train.not_finite says stop, or it was so for more than
// STEP_SKIPS_MAX steps in a row; weights and state are those before the step; STATUS_DATA and
// STATUS_ERROR of any rank's loader. The same on all ranks. Sends, beside the sum, 1 gather of 16
// bytes a rank and 8 n_metrics bytes a grain.
enum status step_run(struct step *step, uint64_t epoch, uint64_t at, uint64_t global,
                     struct step_news *news);

#endif
