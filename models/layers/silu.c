// SPDX-License-Identifier: MIT
// SiLU, also called swish. Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

static void silu_forward(struct layer *layer, const struct pass *pass)
{
    rows_activate(ACT_SILU, 0, &layer->x[0], &layer->y, pass->n);
}

static void silu_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->dx[0].at)
        rows_activate_backward(ACT_SILU, 0, &layer->x[0], &layer->dy, &layer->dx[0], pass->n,
                               layer->dx_beta[0]);
}

const struct layer_ops layer_silu = {
    .name = "silu",
    .help = "x sigmoid(x)",
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_Y,
    .shape = layer_shape_same,
    .forward = silu_forward,
    .backward = silu_backward,
};
