// SPDX-License-Identifier: MIT
// Sum of inputs of one shape: the residual connection (He et al. 2015). Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

static enum status add_shape(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    for (int i = 1; i < layer->n_x; i++) {
        const struct tensor *o = &layer->x[i];
        if (o->h != x->h || o->w != x->w || o->c != x->c)
            LAYER_FAIL(layer,
                       "all inputs must have one shape: the first is %zux%zux%zu (h, w, c), input "
                       "%d is %zux%zux%zu",
                       x->h, x->w, x->c, i + 1, o->h, o->w, o->c);
    }
    layer->y.h = x->h;
    layer->y.w = x->w;
    layer->y.c = x->c;
    layer->flops = (double)(x->h * x->w * x->c) * (layer->n_x - 1);
    return STATUS_OK;
}

static void add_forward(struct layer *layer, const struct pass *pass)
{
    const struct tensor *sum = &layer->x[0];
    for (int i = 1; i < layer->n_x; i++) {
        bool is_last = i == layer->n_x - 1;
        rows_add(sum, &layer->x[i], &layer->y, pass->n, is_last && layer->relu);
        sum = &layer->y;
    }
}

static void add_backward(struct layer *layer, const struct pass *pass)
{
    const struct tensor *mask = layer->relu ? &layer->y : NULL;
    struct tensor dx[LAYER_INPUTS_MAX];
    for (int i = 0; i < layer->n_x; i++) {
        dx[i] = layer->dx[i];
        if (dx[i].at == layer->dy.at && !mask)
            dx[i].at = NULL; // the graph let them share memory: nothing to copy
    }
    if (layer->n_x == 2) {
        // An input's gradient may be dy itself: then only the mask is left to do.
        bool wants[2];
        for (int i = 0; i < 2; i++)
            wants[i] = dx[i].at && (mask || dx[i].at != layer->dy.at);
        if (wants[0] || wants[1])
            rows_add_backward(mask, &layer->dy, wants[0] ? &dx[0] : NULL, wants[1] ? &dx[1] : NULL,
                              pass->n, layer->dx_beta[0], layer->dx_beta[1]);
        return;
    }
    if (mask)
        rows_relu_mask(mask, &layer->dy, pass->n);
    for (int i = 0; i < layer->n_x; i++)
        if (dx[i].at)
            rows_accumulate(&layer->dy, &dx[i], pass->n, layer->dx_beta[i]);
}

static bool add_fuses_relu(const struct layer *layer)
{
    (void)layer;
    return true;
}

const struct layer_ops layer_add = {
    .name = "add",
    .help = "sum of inputs of one shape",
    .min_x = 2,
    .max_x = LAYER_INPUTS_MAX,
    .spares = SPARES_X | SPARES_Y,
    .mutates_dy = true,
    .shape = add_shape,
    .forward = add_forward,
    .backward = add_backward,
    .fuses_relu = add_fuses_relu,
};
