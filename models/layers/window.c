// SPDX-License-Identifier: MIT
// Owns what max and average pooling share: reading the window and the output's shape.
#include "models/layers/window.h"

static enum status pool_read(const struct layer *layer, struct rows_window *k)
{
    const struct pool_args *args = layer->args;
    TRY(window_pair(layer, "kernel", args->kernel, &k->kernel_h, &k->kernel_w));
    TRY(window_pair(layer, "stride", args->stride, &k->stride_h, &k->stride_w));
    TRY(window_pair(layer, "pad", args->pad, &k->pad_h, &k->pad_w));
    if (layer->x[0].h == 1) { // a signal: one number means the width
        k->kernel_h = args->kernel.n == 1 ? 1 : k->kernel_h;
        k->stride_h = args->stride.n == 1 ? 1 : k->stride_h;
        k->pad_h = args->pad.n == 1 ? 0 : k->pad_h;
    }
    if (k->stride_h == 0)
        k->stride_h = k->kernel_h;
    if (k->stride_w == 0)
        k->stride_w = k->kernel_w;
    k->counts_pad = args->counts_pad;
    return STATUS_OK;
}

enum status pool_shape(struct layer *layer, struct rows_window *k)
{
    TRY(pool_read(layer, k));
    if (2 * k->pad_h > k->kernel_h || 2 * k->pad_w > k->kernel_w)
        LAYER_FAIL(layer, "pad %zux%zu is more than half the kernel %zux%zu", k->pad_h, k->pad_w,
                   k->kernel_h, k->kernel_w);
    const struct tensor *x = &layer->x[0];
    size_t h = x->h + 2 * k->pad_h, w = x->w + 2 * k->pad_w;
    if (h < k->kernel_h || w < k->kernel_w)
        LAYER_FAIL(layer,
                   "kernel %zux%zu does not fit its input of %zux%zux%zu (h, w, c), pad %zux%zu",
                   k->kernel_h, k->kernel_w, x->h, x->w, x->c, k->pad_h, k->pad_w);
    layer->y.h = (h - k->kernel_h) / k->stride_h + 1;
    layer->y.w = (w - k->kernel_w) / k->stride_w + 1;
    layer->y.c = x->c;
    layer->flops =
        (double)(layer->y.h * layer->y.w * layer->y.c) * (double)(k->kernel_h * k->kernel_w);
    return STATUS_OK;
}

struct rows_window pool_window(const struct layer *layer)
{
    struct rows_window window;
    ASSERT(pool_read(layer, &window) == STATUS_OK);
    return window;
}
