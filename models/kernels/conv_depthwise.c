// SPDX-License-Identifier: MIT
// Depthwise convolution (groups = C = K): no matrix product in it, so plain loops over channels.
// No sum runs over channels, so the compiler's vector width cannot change bits.
//   y[n,p,q,c] = sum r,s  x[n, p u + r d - pad, q u + s d - pad, c] w[r,s,c]
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/kernels/conv_private.h"

static size_t taps_of(const struct conv *conv)
{
    return conv->shape.kernel_h * conv->shape.kernel_w;
}

// The weights as the model has them, (taps, C); set by pack.
static const float *weights_of(const struct conv *conv)
{
    return *(const float *const *)conv->self;
}

static bool suits(const struct conv_shape *s, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    (void)n;
    (void)mode;
    return s->groups == x.c && s->out == x.c && x.c > 1;
}

static enum status plan(struct conv *conv)
{
    return memory_alloc(&conv->self, 1, sizeof(const float *), "convolution");
}

static void pack(struct conv *conv, const float *w)
{
    *(const float **)conv->self = w;
}

static void depthwise_free(struct conv *conv)
{
    free(conv->self);
}

// Where tap (r, t) of output (n, p, q) reads x; the halo makes it always valid.
static size_t x_at(const struct conv *conv, size_t n, size_t p, size_t q, size_t tap)
{
    const struct conv_shape *s = &conv->shape;
    size_t r = tap / s->kernel_w, t = tap % s->kernel_w;
    return n * conv->x.image + (p * s->stride_h + r * s->dilation_h) * conv->x.row +
           (q * s->stride_w + t * s->dilation_w) * conv->x.c;
}

static const float *x_corner(const struct conv *conv)
{
    return conv->x.at - conv->shape.pad_h * conv->x.row - conv->shape.pad_w * conv->x.c;
}

static void multiply_add(float *restrict to, const float *restrict a, const float *restrict b,
                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += a[i] * b[i];
}

static void forward(const struct conv *conv, size_t n)
{
    const float *x = x_corner(conv);
    for (size_t i = 0; i < n * conv->y.h; i++)
        for (size_t q = 0; q < conv->y.w; q++) {
            size_t image = i / conv->y.h, p = i % conv->y.h;
            float *y = tensor_row(&conv->y, image, p) + q * conv->y.c;
            memset(y, 0, conv->y.c * sizeof *y);
            for (size_t tap = 0; tap < taps_of(conv); tap++)
                multiply_add(y, x + x_at(conv, image, p, q, tap),
                             weights_of(conv) + tap * conv->y.c, conv->y.c);
        }
}

// One input pixel gathers from the outputs that read it.
static void pixel_gradient(const struct conv *conv, size_t n, size_t h, size_t w, float *dx)
{
    const struct conv_shape *s = &conv->shape;
    for (size_t tap = 0; tap < taps_of(conv); tap++) {
        size_t down = (tap / s->kernel_w) * s->dilation_h,
               right = (tap % s->kernel_w) * s->dilation_w;
        if (h + s->pad_h < down || w + s->pad_w < right)
            continue;
        size_t p = h + s->pad_h - down, q = w + s->pad_w - right;
        if (p % s->stride_h || q % s->stride_w)
            continue;
        p /= s->stride_h;
        q /= s->stride_w;
        if (p < conv->dy.h && q < conv->dy.w)
            multiply_add(dx, tensor_row(&conv->dy, n, p) + q * conv->dy.c,
                         weights_of(conv) + tap * conv->dy.c, conv->dy.c);
    }
}

static void backward_data(const struct conv *conv, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < conv->dx.h; h++)
            for (size_t w = 0; w < conv->dx.w; w++) {
                float *dx = tensor_row(&conv->dx, i, h) + w * conv->dx.c;
                if (conv->dx_beta == 0)
                    memset(dx, 0, conv->dx.c * sizeof *dx);
                pixel_gradient(conv, i, h, w, dx);
            }
}

static void backward_weights(const struct conv *conv, size_t n, float *dw)
{
    const float *x = x_corner(conv);
    memset(dw, 0, taps_of(conv) * conv->y.c * sizeof *dw);
    for (size_t i = 0; i < n * conv->y.h; i++)
        for (size_t q = 0; q < conv->y.w; q++) {
            size_t image = i / conv->y.h, p = i % conv->y.h;
            const float *dy = tensor_row(&conv->dy, image, p) + q * conv->dy.c;
            for (size_t tap = 0; tap < taps_of(conv); tap++)
                multiply_add(dw + tap * conv->y.c, dy, x + x_at(conv, image, p, q, tap), conv->y.c);
        }
}

const struct conv_method conv_depthwise = {.name = "depthwise",
                                           .suits = suits,
                                           .plan = plan,
                                           .pack = pack,
                                           .forward = forward,
                                           .backward_data = backward_data,
                                           .backward_weights = backward_weights,
                                           .free = depthwise_free};
