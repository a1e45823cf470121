// SPDX-License-Identifier: MIT
// Which channels and residual bodies go: the least important ones for the time they cost, until the
// network, as measured, is as fast as wanted.
#ifndef SW2_TRAINER_SHRINK_SEARCH_H
#define SW2_TRAINER_SHRINK_SEARCH_H

#include "trainer/shrink/bodies.h"
#include "trainer/shrink/slice.h"

struct search_config {
    struct model *reference;       // the network that speed is compared with
    const float *reference_params; // borrowed
    double speedup;                // over the reference, of the forward pass
    size_t chunk;                  // samples of one forward pass
    struct slice_train train;      // for the recipe's text
};

// Sets channels->keep and ->instead. *text: recipe of the smaller network (malloc'ed); *model:
// planned from it, of chunk samples; *yaml: its document, which must outlive it. *measured: its
// speed over the reference. Local; measures time. STATUS_USAGE: the speed cannot be reached (says
// which was).
struct search_result {
    char *text;
    struct recipe recipe;
    struct model *model;
    double measured;
};
enum status search_run(struct channels *channels, const struct bodies *bodies,
                       const struct trained *trained, const struct search_config *config,
                       struct search_result *result);
void search_free(struct search_result *result);

// Processor seconds of a's forward pass over seconds of b's, each the least of interleaved rounds
// (what the core can do when nobody disturbs it): how much faster b is. Both of n samples.
enum status search_compare(struct model *a, const float *a_params, struct model *b,
                           const float *b_params, size_t n, double *ratio);

#endif
