// SPDX-License-Identifier: MIT
// The parameter-free shortcut of He et al. 2015 (their option A): every stride-th pixel, channels
// padded with zeros to `out`, half before and half behind (of an odd number the larger half
// behind) unless `before` says otherwise, as most public ResNets for CIFAR-10 do. Called through
// layer.h.
#include <string.h>

#include "models/kernels/rows.h"
#include "models/layer.h"

struct subsample_args {
    int64_t stride, out, before;
};

size_t layer_subsample_before(const struct layer *layer)
{
    const struct subsample_args *args = layer->args;
    return args->before < 0 ? (layer->y.c - layer->x[0].c) / 2 : (size_t)args->before;
}

static float *pixel(const struct tensor *t, size_t n, size_t h, size_t w)
{
    return tensor_row(t, n, h) + w * t->c;
}

static enum status subsample_shape(struct layer *layer)
{
    const struct subsample_args *args = layer->args;
    const struct tensor *x = &layer->x[0];
    const size_t stride = (size_t)args->stride, out = args->out ? (size_t)args->out : x->c;
    if (out < x->c)
        LAYER_FAIL(layer, "out %zu is less than the %zu channels of its input (%zux%zux%zu)", out,
                   x->c, x->h, x->w, x->c);
    if (args->before > (int64_t)(out - x->c))
        LAYER_FAIL(layer, "before %lld is more than the %zu channels of zeros (out %zu, input %zu)",
                   (long long)args->before, out - x->c, out, x->c);
    layer->y.h = (x->h + stride - 1) / stride;
    layer->y.w = (x->w + stride - 1) / stride;
    layer->y.c = out;
    return STATUS_OK;
}

static void subsample_forward(struct layer *layer, const struct pass *pass)
{
    const struct subsample_args *args = layer->args;
    const struct tensor *x = &layer->x[0], *y = &layer->y;
    const size_t u = (size_t)args->stride, before = layer_subsample_before(layer);
    for (size_t n = 0; n < pass->n; n++)
        for (size_t p = 0; p < y->h; p++) {
            memset(tensor_row(y, n, p), 0, y->w * y->c * sizeof(float));
            for (size_t q = 0; q < y->w; q++)
                memcpy(pixel(y, n, p, q) + before, pixel(x, n, p * u, q * u), x->c * sizeof(float));
        }
}

static void subsample_backward(struct layer *layer, const struct pass *pass)
{
    const struct subsample_args *args = layer->args;
    const struct tensor *dx = &layer->dx[0], *dy = &layer->dy;
    if (!dx->at)
        return;
    const size_t u = (size_t)args->stride, before = layer_subsample_before(layer);
    for (size_t n = 0; n < pass->n; n++) {
        if (layer->dx_beta[0] == 0)
            for (size_t h = 0; h < dx->h; h++)
                memset(tensor_row(dx, n, h), 0, dx->w * dx->c * sizeof(float));
        for (size_t p = 0; p < dy->h; p++)
            for (size_t q = 0; q < dy->w; q++) {
                const float *restrict from = pixel(dy, n, p, q) + before;
                float *restrict to = pixel(dx, n, p * u, q * u);
                for (size_t k = 0; k < dx->c; k++)
                    to[k] += from[k];
            }
    }
}

static const struct option subsample_options[] = {
    {"stride", OPTION_INT, offsetof(struct subsample_args, stride), "2", 1, 1024, NULL,
     "step between the pixels taken"},
    {"out", OPTION_INT, offsetof(struct subsample_args, out), "0", 0, 1 << 20, NULL,
     "channels out, zeros on both sides; 0: as many as in"},
    {"before", OPTION_INT, offsetof(struct subsample_args, before), "-1", -1, 1 << 20, NULL,
     "channels of zeros before the others; -1: half of them"},
};

const struct layer_ops layer_subsample = {
    .name = "subsample",
    .help = "every stride-th pixel, channels padded with zeros (ResNet shortcut, option A)",
    .options = subsample_options,
    .n_options = sizeof subsample_options / sizeof *subsample_options,
    .args_size = sizeof(struct subsample_args),
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X | SPARES_Y,
    .shape = subsample_shape,
    .forward = subsample_forward,
    .backward = subsample_backward,
};
