// SPDX-License-Identifier: MIT
// Whitening of the input: a frozen convolution whose filters are the principal components of the
// training images' patches, each divided by the root of its variance, and their negatives (Page
// 2019, "How to Train Your ResNet 8"; Jordan 2024, section 3.2). The optional bias is trained, for
// the first bias_epochs only if that is given. The trainer hands samples to init(); this file never
// sees a file. Patches are not centred: the input should be normalised.
#include "models/layers/convolve.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "comm/memory.h"
#include "models/kernels/eigen.h"

#define PATCH_MAX 512 // numbers of a patch

struct whiten_args {
    int64_t kernel, pad;
    double eps, bias_epochs;
    bool bias;
};

static const struct option options[] = {
    {"kernel", OPTION_INT, offsetof(struct whiten_args, kernel), "2", 1, 16, NULL,
     "side of a patch; channels out are twice its numbers"},
    {"pad", OPTION_INT, offsetof(struct whiten_args, pad), "0", 0, 16, NULL,
     "zeros around the input"},
    {"eps", OPTION_FLOAT, offsetof(struct whiten_args, eps), "5e-4", 0, 1e6, NULL,
     "added to each variance"},
    {"bias", OPTION_BOOL, offsetof(struct whiten_args, bias), "true", 0, 0, NULL, "add a bias"},
    {"bias_epochs", OPTION_FLOAT, offsetof(struct whiten_args, bias_epochs), "0", 0, 1e6, NULL,
     "epochs after which the bias is frozen; 0: never"},
};

static struct conv_shape shape_of(const struct layer *layer)
{
    const struct whiten_args *args = layer->args;
    size_t side = (size_t)args->kernel, high = layer->x[0].h == 1 ? 1 : side;
    size_t pad = (size_t)args->pad;
    return (struct conv_shape){high, side, 1, 1, layer->x[0].h == 1 ? 0 : pad,
                               pad,  1,    1, 1, 2 * high * side * layer->x[0].c};
}

static enum status shape(struct layer *layer)
{
    const struct whiten_args *args = layer->args;
    struct conv_shape s = shape_of(layer);
    const struct tensor *x = &layer->x[0];
    if (x->h < s.kernel_h || x->w < s.kernel_w)
        LAYER_FAIL(layer, "patches of %zu x %zu are larger than the input of %zu x %zu", s.kernel_h,
                   s.kernel_w, x->h, x->w);
    if (s.out / 2 > PATCH_MAX)
        LAYER_FAIL(layer, "a patch has %zu numbers, expected at most %d: lower kernel", s.out / 2,
                   PATCH_MAX);
    convolve_declare(layer, &s, args->bias, INIT_SAMPLES);
    layer->param[0].kind = PARAM_FROZEN;
    if (args->bias)
        layer->param[1].trained_epochs = args->bias_epochs;
    return STATUS_OK;
}

static enum status plan(struct layer *layer)
{
    struct conv_shape s = shape_of(layer);
    return convolve_plan(layer, &s);
}

// sum[i][j] += x_i x_j (i <= j) over all patches of the samples, in their order.
static void patches_add(const struct conv_shape *s, struct shape in, const float *x, size_t n,
                        double *patch, double *sum)
{
    size_t run = s->kernel_w * in.c, d = s->kernel_h * run;
    for (size_t i = 0; i < n; i++, x += in.h * in.w * in.c)
        for (size_t p = 0; p + s->kernel_h <= in.h; p++)
            for (size_t q = 0; q + s->kernel_w <= in.w; q++) {
                for (size_t r = 0; r < s->kernel_h; r++)
                    for (size_t k = 0; k < run; k++)
                        patch[r * run + k] = (double)x[((p + r) * in.w + q) * in.c + k];
                for (size_t a = 0; a < d; a++)
                    for (size_t b = a; b < d; b++)
                        sum[a * d + b] += patch[a] * patch[b];
            }
}

static enum status init(const struct layer *layer, const float *x, size_t n, float *params)
{
    const struct whiten_args *args = layer->args;
    struct conv_shape s = shape_of(layer);
    struct shape in = tensor_shape(&layer->x[0]);
    size_t d = s.out / 2;
    double *work = NULL;
    TRY(memory_alloc(&work, 2 * d * d + 2 * d, sizeof *work, "covariance of patches"));
    double *a = work, *vectors = a + d * d, *values = vectors + d * d, *patch = values + d;
    patches_add(&s, in, x, n, patch, a);
    double count = (double)n * (double)((in.h - s.kernel_h + 1) * (in.w - s.kernel_w + 1));
    for (size_t i = 0; i < d; i++)
        for (size_t j = i; j < d; j++)
            a[i * d + j] = a[j * d + i] = a[i * d + j] / count;
    eigen_symmetric(d, a, values, vectors);
    float *w = params + layer->param[0].offset;
    double least = values[0] * 1e-12; // a direction that the data do not have, with eps 0
    for (size_t k = 0; k < d; k++) {
        double variance = (values[k] > least ? values[k] : least) + args->eps;
        double scale = variance > 0 ? 1 / sqrt(variance) : 0;
        for (size_t i = 0; i < d; i++) {
            w[i * s.out + k] = (float)(vectors[k * d + i] * scale);
            w[i * s.out + d + k] = -w[i * s.out + k];
        }
    }
    free(work);
    return STATUS_OK;
}

const struct layer_ops layer_whiten = {.name = "whiten",
                                       .help = "frozen convolution that whitens input patches",
                                       .options = options,
                                       .n_options = sizeof options / sizeof *options,
                                       .args_size = sizeof(struct whiten_args),
                                       .min_x = 1,
                                       .max_x = 1,
                                       .mutates_dy = true,
                                       .spares = SPARES_X | SPARES_Y,
                                       .marks_laps = true,
                                       .shape = shape,
                                       .init = init,
                                       .plan = plan,
                                       .prepare = convolve_prepare,
                                       .forward = convolve_forward,
                                       .backward = convolve_backward,
                                       .free = convolve_free,
                                       .fuses_relu = convolve_fuses_relu};
