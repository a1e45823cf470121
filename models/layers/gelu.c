// SPDX-License-Identifier: MIT
// GELU in its exact form (not the tanh approximation). Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

static void gelu_forward(struct layer *layer, const struct pass *pass)
{
    rows_activate(ACT_GELU, 0, &layer->x[0], &layer->y, pass->n);
}

static void gelu_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->dx[0].at)
        rows_activate_backward(ACT_GELU, 0, &layer->x[0], &layer->dy, &layer->dx[0], pass->n,
                               layer->dx_beta[0]);
}

const struct layer_ops layer_gelu = {
    .name = "gelu",
    .help = "x Phi(x), exact form (Hendrycks and Gimpel 2016)",
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_Y,
    .shape = layer_shape_same,
    .forward = gelu_forward,
    .backward = gelu_backward,
};
