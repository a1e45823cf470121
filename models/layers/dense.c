// SPDX-License-Identifier: MIT
// Fully connected layer: y[n,k] = sum c x[n,c] w[c,k] + b[k], c over (h, w, c) of the input.
// A pointwise convolution of 1 x 1 images; kernels/conv_direct.c merges the samples into one matrix
// product.
#include "models/layers/convolve.h"

#include <stddef.h>

struct dense_args {
    int64_t out;
    bool bias;
    int init;
};

static const struct option options[] = {
    {"out", OPTION_INT, offsetof(struct dense_args, out), NULL, 1, 1 << 24, NULL, "outputs (K)"},
    {"bias", OPTION_BOOL, offsetof(struct dense_args, bias), "true", 0, 0, NULL, "add a bias"},
    {"init", OPTION_CHOICE, offsetof(struct dense_args, init), "he_normal", 0, 0, INIT_CHOICES,
     "distribution of the first weights"},
};

static struct conv_shape pointwise(const struct layer *layer)
{
    const struct dense_args *args = layer->args;
    return (struct conv_shape){1, 1, 1, 1, 0, 0, 1, 1, 1, (size_t)args->out};
}

// The graph puts a flatten before a dense layer whose input has height or width, so x is (n, 1, 1,
// c).
static enum status shape(struct layer *layer)
{
    const struct dense_args *args = layer->args;
    const struct tensor *x = &layer->x[0];
    if (x->h != 1 || x->w != 1)
        LAYER_FAIL(layer, "input is %zu x %zu x %zu, expected a vector: put a flatten before it",
                   x->h, x->w, x->c);
    struct conv_shape s = pointwise(layer);
    convolve_declare(layer, &s, args->bias, (enum init)(INIT_HE_NORMAL + args->init));
    struct param *weight = &layer->param[0]; // (C, K) for whoever reads the checkpoint
    weight->rank = 2;
    weight->dim[0] = x->c;
    weight->dim[1] = s.out;
    return STATUS_OK;
}

static enum status plan(struct layer *layer)
{
    struct conv_shape s = pointwise(layer);
    return convolve_plan(layer, &s);
}

const struct layer_ops layer_dense = {.name = "dense",
                                      .help = "fully connected layer",
                                      .options = options,
                                      .n_options = sizeof options / sizeof *options,
                                      .args_size = sizeof(struct dense_args),
                                      .min_x = 1,
                                      .max_x = 1,
                                      .spares = SPARES_Y,
                                      .mutates_dy = true,
                                      .marks_laps = true,
                                      .shape = shape,
                                      .plan = plan,
                                      .prepare = convolve_prepare,
                                      .forward = convolve_forward,
                                      .backward = convolve_backward,
                                      .free = convolve_free,
                                      .fuses_relu = convolve_fuses_relu};
