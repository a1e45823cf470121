// SPDX-License-Identifier: MIT
// Max pooling. Owns nothing between calls: backward finds the maximum again, the first of equals
// (row by row) as PyTorch does. A batch-norm before it may be applied here. Called through layer.h.
#include "models/layers/batchnorm.h"
#include "models/layers/window.h"

static enum status maxpool_shape(struct layer *layer)
{
    struct rows_window window;
    return pool_shape(layer, &window);
}

static void maxpool_forward(struct layer *layer, const struct pass *pass)
{
    if (layer->norm[0]) {
        struct rows_pooled pooled = batchnorm_pooled(layer->norm[0]);
        rows_pool_norm(&pooled, &layer->x[0], pass->n);
        return;
    }
    struct rows_window window = pool_window(layer);
    rows_pool_max(&window, &layer->x[0], &layer->y, pass->n);
}

// Each element of dy goes to one of x. So the mask of a ReLU before (y > 0 where its x is) and the
// sum for its bias may be taken here, of fewer numbers.
static void source_backward(const struct layer *layer, const struct pass *pass)
{
    const struct layer *source = layer->source;
    rows_relu_mask(&layer->y, &layer->dy, pass->n);
    if (source->n_params > 1 && !source->is_frozen && pass->grads)
        rows_channel_sum(&layer->dy, pass->n, layer_grad(source, pass, 1));
}

static void maxpool_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->norm[0]) // the norm's backward comes next and does both
        return;
    struct rows_window window = pool_window(layer);
    if (layer->source)
        source_backward(layer, pass);
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
