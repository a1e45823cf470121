// SPDX-License-Identifier: MIT
// The folder of a run: OUT/{recipe.yaml, metrics.csv, metrics.jsonl, checkpoints/, .lock}. Rank 0
// makes it.
#ifndef SW2_TRAINER_RUN_FOLDER_H
#define SW2_TRAINER_RUN_FOLDER_H

#include <stdbool.h>

#include "comm/group.h"

#define RUN_PATH_MAX 3072

struct run_folder {
    char path[RUN_PATH_MAX];             // OUT
    char checkpoints[RUN_PATH_MAX + 32]; // OUT/checkpoints
    int lock;                            // rank 0's descriptor, held until the process ends; or -1
    bool is_new;                         // it was not there before
};

// Collective. out: the folder, or NULL: runs/<name>-<n> with the first n that is free. anew:
// checkpoints of an earlier run are put aside (checkpoints.old-<n>), not mixed with new ones.
// One run at a time: where another one writes there (ranks that outlive a killed mpirun for a
// moment), waits for its end, RUN_LOCK_SECONDS at most. STATUS_ERROR names the folder and why.
#define RUN_LOCK_SECONDS 30
enum status run_folder_open(struct run_folder *folder, struct group *group, const char *out,
                            const char *name, bool anew);
// Local. After a start that failed: rank 0 removes a new folder again. One with a recipe stays: its
// run had begun.
void run_folder_drop(const struct run_folder *folder, const struct group *group);
// Collective. Writes OUT/recipe.yaml (whole or not at all).
enum status run_folder_recipe(const struct run_folder *folder, struct group *group,
                              const char *text);

#endif
