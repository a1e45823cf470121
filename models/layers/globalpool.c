// SPDX-License-Identifier: MIT
// Global average pooling: (h, w, c) to (1, 1, c). Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layer.h"

static struct rows_window whole(const struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    return (struct rows_window){
        .kernel_h = x->h, .kernel_w = x->w, .stride_h = x->h, .stride_w = x->w};
}

static enum status globalpool_shape(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    layer->y.h = layer->y.w = 1;
    layer->y.c = x->c;
    layer->flops = (double)(x->h * x->w * x->c);
    return STATUS_OK;
}

static void globalpool_forward(struct layer *layer, const struct pass *pass)
{
    struct rows_window window = whole(layer);
    rows_pool_mean(&window, &layer->x[0], &layer->y, pass->n);
}

static void globalpool_backward(struct layer *layer, const struct pass *pass)
{
    struct rows_window window = whole(layer);
    if (layer->dx[0].at)
        rows_pool_mean_backward(&window, &layer->dy, &layer->dx[0], pass->n, layer->dx_beta[0]);
}

const struct layer_ops layer_globalpool = {
    .name = "globalpool",
    .help = "mean over all positions of each channel",
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X | SPARES_Y,
    .shape = globalpool_shape,
    .forward = globalpool_forward,
    .backward = globalpool_backward,
};
