// SPDX-License-Identifier: MIT
// Max pooling. Owns nothing between calls: backward finds the maximum again, the first of equals
// (row by row) as PyTorch does. Called through layer.h.
#include "models/layers/window.h"

static enum status maxpool_shape(struct layer *layer)
{
    struct rows_window window;
    return pool_shape(layer, &window);
}

static void maxpool_forward(struct layer *layer, const struct pass *pass)
{
    struct rows_window window = pool_window(layer);
    rows_pool_max(&window, &layer->x[0], &layer->y, pass->n);
}

static void maxpool_backward(struct layer *layer, const struct pass *pass)
{
    struct rows_window window = pool_window(layer);
    if (layer->dx[0].at)
        rows_pool_max_backward(&window, &layer->x[0], &layer->y, &layer->dy, &layer->dx[0], pass->n,
                               layer->dx_beta[0]);
}

static const struct option maxpool_options[] = {POOL_OPTIONS};

const struct layer_ops layer_maxpool = {
    .name = "maxpool",
    .help = "largest value of each window",
    .options = maxpool_options,
    .n_options = sizeof maxpool_options / sizeof *maxpool_options,
    .args_size = sizeof(struct pool_args),
    .min_x = 1,
    .max_x = 1,
    .shape = maxpool_shape,
    .forward = maxpool_forward,
    .backward = maxpool_backward,
};
