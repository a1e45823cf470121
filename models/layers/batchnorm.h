// SPDX-License-Identifier: MIT
// What an add or a max-pool needs of the batch-norms before it whose last pass it does
// (layer->norm).
#ifndef SW2_MODELS_LAYERS_BATCHNORM_H
#define SW2_MODELS_LAYERS_BATCHNORM_H

#include "models/kernels/rows.h"
#include "models/layer.h"

// y = x scale + shift; (c) each. sum_dy and sum_dyx as of rows_norm_sums: whoever applies the norm
// writes them in backward, before the norm's own. NULL without gradients.
struct batchnorm_terms {
    const float *mean, *scale, *shift;
    float *sum_dy, *sum_dyx;
};
struct batchnorm_terms batchnorm_terms(const struct layer *layer, const struct pass *pass);

// The norm, its ReLU and layer->pool as one.
struct rows_pooled batchnorm_pooled(const struct layer *layer);

#endif
