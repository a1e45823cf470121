// SPDX-License-Identifier: MIT
// Inputs of one height and width, their channels one after another. Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

static enum status concat_shape(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    size_t c = 0;
    for (int i = 0; i < layer->n_x; i++) {
        const struct tensor *o = &layer->x[i];
        if (o->h != x->h || o->w != x->w)
            LAYER_FAIL(layer,
                       "all inputs must have one height and width: the first is %zux%zux%zu "
                       "(h, w, c), input %d is %zux%zux%zu",
                       x->h, x->w, x->c, i + 1, o->h, o->w, o->c);
        c += o->c;
    }
    layer->y.h = x->h;
    layer->y.w = x->w;
    layer->y.c = c;
    return STATUS_OK;
}

static void concat_forward(struct layer *layer, const struct pass *pass)
{
    size_t first = 0;
    for (int i = 0; i < layer->n_x; i++) {
        const struct tensor *x = &layer->x[i];
        rows_accumulate_channels(x, 0, &layer->y, first, pass->n, x->c, 0);
        first += x->c;
    }
}

static void concat_backward(struct layer *layer, const struct pass *pass)
{
    size_t first = 0;
    for (int i = 0; i < layer->n_x; i++) {
        const size_t c = layer->x[i].c;
        if (layer->dx[i].at)
            rows_accumulate_channels(&layer->dy, first, &layer->dx[i], 0, pass->n, c,
                                     layer->dx_beta[i]);
        first += c;
    }
}

const struct layer_ops layer_concat = {
    .name = "concat",
    .help = "channels of all inputs, one after another",
    .min_x = 2,
    .max_x = LAYER_INPUTS_MAX,
    .spares = SPARES_X | SPARES_Y,
    .shape = concat_shape,
    .forward = concat_forward,
    .backward = concat_backward,
};
