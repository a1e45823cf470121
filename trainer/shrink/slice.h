// SPDX-License-Identifier: MIT
// What is left of a network when channels and layers go: its recipe, written out layer by layer,
// and its weights.
#ifndef SW2_TRAINER_SHRINK_SLICE_H
#define SW2_TRAINER_SHRINK_SLICE_H

#include "trainer/shrink/channels.h"
#include "trainer/trained.h"

// How the smaller network is trained on; the rest of the section train stays.
struct slice_train {
    const char *name; // of the recipe
    int64_t epochs;
    double lr;
};

// Text of a recipe whose layers have the channels that are kept; malloc'ed. Repeats and residuals
// become single layers that name their inputs.
enum status slice_recipe(const struct channels *channels, const struct trained *trained,
                         const struct slice_train *train, char **text);

// The kept part of the weights (of channels->model, in old) as those of `model`, a model of
// slice_recipe's text, into fresh (model_floats). STATUS_ERROR: a tensor is missing or of another
// size, which is a bug.
enum status slice_weights(const struct channels *channels, const float *old,
                          const struct model *model, float *fresh);

#endif
