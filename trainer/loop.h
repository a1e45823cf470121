// SPDX-License-Identifier: MIT
// The training loop: steps, epochs, evaluation, records, checkpoints, stopping. Works on a session;
// owns what changes from step to step.
#ifndef SW2_TRAINER_LOOP_H
#define SW2_TRAINER_LOOP_H

#include "trainer/audit.h"
#include "trainer/run_folder.h"
#include "trainer/session.h"

enum resume_mode { RESUME_AUTO, RESUME_NEVER, RESUME_FILE };

struct loop_config {
    const struct run_folder *folder;
    enum resume_mode resume;
    const char *resume_file; // RESUME_FILE
    struct audit_config audit;
    // Collective: the run is not refused, its first step comes next. NULL: nothing.
    enum status (*begin)(void *context);
    void *context;
    uint64_t histograms; // epochs between those of weights and gradients; 0: none
    bool force;          // resume though recipe, data or instruction set differ
};

// Collective: trains to the recipe's end. STATUS_STOPPED: a signal came, a checkpoint is saved.
// STATUS_NOT_FINITE: loss or gradient; the last checkpoint stays. STATUS_VERIFY: the audit found
// a rank that errs.
enum status loop_run(struct session *session, const struct loop_config *config);

#endif
