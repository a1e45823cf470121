// SPDX-License-Identifier: MIT
// Leaky ReLU. Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

struct leaky_relu_args {
    double slope;
};

static float slope_of(const struct layer *layer)
{
    const struct leaky_relu_args *args = layer->args;
    return (float)args->slope;
}

static void leaky_relu_forward(struct layer *layer, const struct pass *pass)
{
    rows_activate(ACT_LEAKY_RELU, slope_of(layer), &layer->x[0], &layer->y, pass->n);
}

static void leaky_relu_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->dx[0].at)
        rows_activate_backward(ACT_LEAKY_RELU, slope_of(layer), &layer->x[0], &layer->dy,
                               &layer->dx[0], pass->n, layer->dx_beta[0]);
}

static const struct option leaky_relu_options[] = {
    {"slope", OPTION_FLOAT, offsetof(struct leaky_relu_args, slope), "0.01", 0, 1, NULL,
     "of the negative side"},
};

const struct layer_ops layer_leaky_relu = {
    .name = "leaky_relu",
    .help = "x where x > 0, else slope x",
    .options = leaky_relu_options,
    .n_options = sizeof leaky_relu_options / sizeof *leaky_relu_options,
    .args_size = sizeof(struct leaky_relu_args),
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_Y,
    .shape = layer_shape_same,
    .forward = leaky_relu_forward,
    .backward = leaky_relu_backward,
};
