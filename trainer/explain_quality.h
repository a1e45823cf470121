// SPDX-License-Identifier: MIT
// How good an explanation is, measured by what the network does when positions are taken away (they
// get the baseline's values, in all channels): curves of deletion and insertion, sensitivity-n,
// infidelity. Of maps (h, w), so that all methods are measured alike.
#ifndef SW2_TRAINER_EXPLAIN_QUALITY_H
#define SW2_TRAINER_EXPLAIN_QUALITY_H

#include "trainer/explain.h"

enum { QUALITY_SIZES = 4 };

struct quality_config {
    size_t steps;        // of each curve
    size_t masks;        // of each size
    bool is_probability; // curves of the softmax of the scores; else of the score
};

struct quality {
    // Area under the curve over the share of positions, in order of falling map values (Petsiuk et
    // al. 2018): taken away, the lower the better; brought back into the baseline, the higher.
    double deletion, insertion;
    // Over random sets of positions: Pearson's correlation of the sum of the map with the drop of
    // the score, the mean over sets of 1/16, 1/8, 1/4 and 1/2 of the positions (sensitivity-n,
    // Ancona et al. 2018).
    double sensitivity_n;
    // Mean squared difference of the two, with the map scaled to be least (Yeh et al. 2019;
    // Captum's infidelity with normalize), and that as a share of the mean square of the drops: 0
    // explains all of it, 1 nothing.
    double infidelity, unexplained;
};

struct explain_quality; // memory, masks and the drops of one sample

enum status quality_init(struct explain_quality **quality, struct explain *explain, struct shape in,
                         const struct quality_config *config);
void quality_free(struct explain_quality *quality); // NULL is allowed
// The drops for all sets: once a sample, before quality_measure.
void quality_sample(struct explain_quality *quality, const float *x, size_t target);
struct quality quality_measure(struct explain_quality *quality, const float *map);

// Spearman's rank correlation of n values, ranks of equals averaged; 0 where one does not vary.
// work: 4 n doubles.
double rank_correlation(const float *a, const float *b, size_t n, double *work);

#endif
