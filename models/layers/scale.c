// SPDX-License-Identifier: MIT
// y = factor x, for logits that should start small. Called through layer.h.
#include <stddef.h>

#include "models/layer.h"

struct scale_args {
    double factor;
};

static const struct option options[] = {
    {"factor", OPTION_FLOAT, offsetof(struct scale_args, factor), NULL, -1e6, 1e6, NULL,
     "multiplies every value"},
};

// to = beta to + factor from; where beta is 0, to is not read.
static void rows_factor(const struct tensor *from, const struct tensor *to, size_t n, float factor,
                        float beta)
{
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < from->h; h++) {
            const float *x = tensor_row(from, i, h);
            float *y = tensor_row(to, i, h);
            for (size_t k = 0; k < from->w * from->c; k++)
                y[k] = beta > 0 ? y[k] + factor * x[k] : factor * x[k];
        }
}

static void forward(struct layer *layer, const struct pass *pass)
{
    const struct scale_args *args = layer->args;
    rows_factor(&layer->x[0], &layer->y, pass->n, (float)args->factor, 0);
}

static void backward(struct layer *layer, const struct pass *pass)
{
    const struct scale_args *args = layer->args;
    if (layer->dx[0].at)
        rows_factor(&layer->dy, &layer->dx[0], pass->n, (float)args->factor, layer->dx_beta[0]);
}

const struct layer_ops layer_scale = {.name = "scale",
                                      .help = "times a fixed factor",
                                      .options = options,
                                      .n_options = sizeof options / sizeof *options,
                                      .args_size = sizeof(struct scale_args),
                                      .min_x = 1,
                                      .max_x = 1,
                                      .spares = SPARES_X | SPARES_Y,
                                      .shape = layer_shape_same,
                                      .forward = forward,
                                      .backward = backward};
