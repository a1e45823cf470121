// SPDX-License-Identifier: MIT
// ReLU as a layer of its own, where it could not be fused. Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

static void relu_forward(struct layer *layer, const struct pass *pass)
{
    rows_activate(ACT_RELU, 0, &layer->x[0], &layer->y, pass->n);
}

// y > 0 where x > 0, so y serves, even where x was overwritten by it.
static void relu_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->dx[0].at)
        rows_activate_backward(ACT_RELU, 0, &layer->y, &layer->dy, &layer->dx[0], pass->n,
                               layer->dx_beta[0]);
}

const struct layer_ops layer_relu = {
    .name = "relu",
    .help = "max(0, x)",
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X,
    .shape = layer_shape_same,
    .forward = relu_forward,
    .backward = relu_backward,
};
