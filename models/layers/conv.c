// SPDX-License-Identifier: MIT
// 2-D convolution (1-D where h = 1), with bias and fused ReLU. Weights R,S,C/groups,K.
#include "models/layers/convolve.h"

#include <stddef.h>

struct conv_args {
    int64_t out, groups;
    struct option_ints kernel, stride, pad, dilation;
    bool bias;
    int init;
};

static const struct option options[] = {
    {"out", OPTION_INT, offsetof(struct conv_args, out), NULL, 1, 1 << 20, NULL,
     "channels out (K)"},
    {"kernel", OPTION_INTS, offsetof(struct conv_args, kernel), NULL, 1, 1024, NULL,
     "kernel size, one number or [height, width]"},
    {"stride", OPTION_INTS, offsetof(struct conv_args, stride), "1", 1, 1024, NULL,
     "step between outputs"},
    {"pad", OPTION_INTS, offsetof(struct conv_args, pad), "0", 0, 1024, NULL,
     "zeros around the input"},
    {"dilation", OPTION_INTS, offsetof(struct conv_args, dilation), "1", 1, 1024, NULL,
     "step between kernel taps"},
    {"groups", OPTION_INT, offsetof(struct conv_args, groups), "1", 1, 1 << 20, NULL,
     "channel groups; equal to the channels in and out: depthwise"},
    {"bias", OPTION_BOOL, offsetof(struct conv_args, bias), "true", 0, 0, NULL, "add a bias"},
    {"init", OPTION_CHOICE, offsetof(struct conv_args, init), "he_normal", 0, 0,
     INIT_CHOICES "|dirac", "distribution of the first weights; dirac: pass the input on"},
};

static enum status pair_read(const struct layer *layer, const char *name,
                             const struct option_ints *v, size_t *h, size_t *w)
{
    if (v->n != 1 && v->n != 2)
        LAYER_FAIL(layer, "%s has %zu numbers, expected one or [height, width]", name, v->n);
    *h = (size_t)v->v[0];
    *w = (size_t)v->v[v->n - 1];
    return STATUS_OK;
}

static enum status shape_read(const struct layer *layer, struct conv_shape *s)
{
    const struct conv_args *args = layer->args;
    TRY(pair_read(layer, "kernel", &args->kernel, &s->kernel_h, &s->kernel_w));
    TRY(pair_read(layer, "stride", &args->stride, &s->stride_h, &s->stride_w));
    TRY(pair_read(layer, "pad", &args->pad, &s->pad_h, &s->pad_w));
    TRY(pair_read(layer, "dilation", &args->dilation, &s->dilation_h, &s->dilation_w));
    if (layer->x[0].h == 1) { // a signal: one number means the width
        s->kernel_h = args->kernel.n == 1 ? 1 : s->kernel_h;
        s->stride_h = args->stride.n == 1 ? 1 : s->stride_h;
        s->pad_h = args->pad.n == 1 ? 0 : s->pad_h;
        s->dilation_h = args->dilation.n == 1 ? 1 : s->dilation_h;
    }
    s->out = (size_t)args->out;
    s->groups = (size_t)args->groups;
    if (layer->x[0].c % s->groups != 0 || s->out % s->groups != 0)
        LAYER_FAIL(layer, "groups %zu must divide both channels in (%zu) and out (%zu)", s->groups,
                   layer->x[0].c, s->out);
    bool is_odd = s->kernel_h % 2 == 1 && s->kernel_w % 2 == 1;
    if (INIT_HE_NORMAL + args->init == INIT_DIRAC && !(is_odd && s->groups == 1))
        LAYER_FAIL(layer, "init dirac needs an odd kernel and groups 1, not %zu x %zu and %zu",
                   s->kernel_h, s->kernel_w, s->groups);
    return STATUS_OK;
}

static enum status shape(struct layer *layer)
{
    const struct conv_args *args = layer->args;
    struct conv_shape s;
    TRY(shape_read(layer, &s));
    const struct tensor *x = &layer->x[0];
    struct shape in = tensor_shape(x), out = conv_output(&s, in);
    if (out.h == 0 || out.w == 0)
        LAYER_FAIL(layer,
                   "kernel %zu x %zu (dilation %zu x %zu, pad %zu x %zu) does not fit its "
                   "input of %zu x %zu x %zu",
                   s.kernel_h, s.kernel_w, s.dilation_h, s.dilation_w, s.pad_h, s.pad_w, in.h, in.w,
                   in.c);
    convolve_declare(layer, &s, args->bias, (enum init)(INIT_HE_NORMAL + args->init));
    return STATUS_OK;
}

static enum status plan(struct layer *layer)
{
    struct conv_shape s;
    TRY(shape_read(layer, &s));
    return convolve_plan(layer, &s);
}

const struct layer_ops layer_conv = {.name = "conv",
                                     .help = "convolution over height and width",
                                     .options = options,
                                     .n_options = sizeof options / sizeof *options,
                                     .args_size = sizeof(struct conv_args),
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
