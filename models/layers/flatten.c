// SPDX-License-Identifier: MIT
// Flatten: (h, w, c) to (1, 1, h w c), channels fastest. A copy; called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

// A flat tensor (y or dy) seen with the shape of x, so that rows can be copied.
static struct tensor folded(const struct layer *layer, const struct tensor *flat)
{
    const struct tensor *x = &layer->x[0];
    struct tensor t = tensor_of(flat->n, tensor_shape(x), 0, 0);
    t.at = flat->at;
    t.image = flat->image;
    return t;
}

static enum status flatten_shape(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    layer->y.h = layer->y.w = 1;
    layer->y.c = x->h * x->w * x->c;
    return STATUS_OK;
}

static void flatten_forward(struct layer *layer, const struct pass *pass)
{
    struct tensor y = folded(layer, &layer->y);
    rows_copy(&layer->x[0], &y, pass->n);
}

static void flatten_backward(struct layer *layer, const struct pass *pass)
{
    struct tensor dy = folded(layer, &layer->dy);
    if (layer->dx[0].at)
        rows_accumulate(&dy, &layer->dx[0], pass->n, layer->dx_beta[0]);
}

const struct layer_ops layer_flatten = {
    .name = "flatten",
    .help = "(h, w, c) to a vector",
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X | SPARES_Y,
    .shape = flatten_shape,
    .forward = flatten_forward,
    .backward = flatten_backward,
};
