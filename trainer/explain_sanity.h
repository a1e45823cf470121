// SPDX-License-Identifier: MIT
// Do explanations depend on what was learned? Layers are given random weights, in stages from the
// last to the first, and maps compared with those of the trained network (cascading randomisation,
// Adebayo et al. 2018, "Sanity Checks for Saliency Maps"). A method whose maps stay alike shows the
// sample, not the network.
#ifndef SW2_TRAINER_EXPLAIN_SANITY_H
#define SW2_TRAINER_EXPLAIN_SANITY_H

#include "trainer/explain.h"

enum { SANITY_STAGES = 4 }; // a quarter of the layers with weights, half, three quarters, all

struct sanity;

// Collective: rank 0 draws the weights (normal, variance 2 / fan in; norms as they begin). params:
// the trained ones, borrowed. STATUS_ERROR: memory.
enum status sanity_init(struct sanity **sanity, struct group *group, struct explain *explain,
                        struct model *model, const float *params);
void sanity_free(struct sanity *sanity); // NULL is allowed
// Spearman's rank correlation of the sizes of each method's map (h, w) with those of each stage's;
// maps[method] NULL: left out. The model has its trained weights again afterwards.
void sanity_sample(struct sanity *sanity, const float *x, size_t target,
                   float *const maps[EXPLAIN_METHODS],
                   double correlation[EXPLAIN_METHODS][SANITY_STAGES]);

#endif
