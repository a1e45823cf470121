// SPDX-License-Identifier: MIT
// A trained network made faster: channels and residual bodies go in rounds, each followed by
// training on, until the measured speed is reached. Each round is an ordinary run in a folder of
// its own.
#ifndef SW2_TRAINER_SHRINK_SHRINK_H
#define SW2_TRAINER_SHRINK_SHRINK_H

#include "comm/group.h"
#include "comm/options.h"

#define SHRINK_ROUNDS_MAX 32

struct shrink_config {
    const char *checkpoint, *out;
    double speedup;                  // of the forward pass on one core
    int rounds;                      // each takes the same factor
    int64_t epochs;                  // of a round but the last; 0: a fifth of the recipe's
    int64_t last_epochs;             // of the last round; 0: twice the recipe's
    double lr;                       // times the recipe's
    size_t chunk;                    // samples of a forward pass
    size_t batches;                  // of chunk samples, for the importance of channels
    struct option_strings overrides; // of the recipe: data.train=...
};

// Collective. Interrupted (STATUS_STOPPED, or killed), the same call goes on. Writes
// OUT/round-<n>/, OUT/shrink.csv, .json and .svg.
enum status shrink_run(struct group *group, const struct shrink_config *config);

#endif
