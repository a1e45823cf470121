// SPDX-License-Identifier: MIT
// Average pooling as PyTorch's AvgPool2d. Owns nothing between calls. Called through layer.h.
#include "models/layers/window.h"

static enum status avgpool_shape(struct layer *layer)
{
    struct rows_window window;
    return pool_shape(layer, &window);
}

static void avgpool_forward(struct layer *layer, const struct pass *pass)
{
    struct rows_window window = pool_window(layer);
    rows_pool_mean(&window, &layer->x[0], &layer->y, pass->n);
}

static void avgpool_backward(struct layer *layer, const struct pass *pass)
{
    struct rows_window window = pool_window(layer);
    if (layer->dx[0].at)
        rows_pool_mean_backward(&window, &layer->dy, &layer->dx[0], pass->n, layer->dx_beta[0]);
}

static const struct option avgpool_options[] = {
    POOL_OPTIONS,
    {"count_include_pad", OPTION_BOOL, offsetof(struct pool_args, counts_pad), "true", 0, 0, NULL,
     "padding counts as zeros in the mean"},
};

const struct layer_ops layer_avgpool = {
    .name = "avgpool",
    .help = "mean of each window",
    .options = avgpool_options,
    .n_options = sizeof avgpool_options / sizeof *avgpool_options,
    .args_size = sizeof(struct pool_args),
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X | SPARES_Y,
    .shape = avgpool_shape,
    .forward = avgpool_forward,
    .backward = avgpool_backward,
};
