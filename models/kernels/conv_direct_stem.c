// SPDX-License-Identifier: MIT
// Direct convolution of a few input channels, where matrix products of k = C or m = C are too thin.
// Each pass has its own rule; what no kernel suits stays with the other files of conv_direct.
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "models/kernels/conv_direct.h"

#define STEM_CHANNELS ((size_t)4)

static const struct stem_table *table(void)
{
    return isa_choose(&stem_table_base, &stem_table_avx2, &stem_table_avx512);
}

static size_t taps_floats(const struct conv_shape *s, size_t c) // R S C
{
    return s->kernel_h * s->kernel_w * c;
}

static bool is_stem(const struct conv_shape *s, size_t c)
{
    return s->groups == 1 && c <= STEM_CHANNELS && s->kernel_h * s->kernel_w > 1;
}

// Backward data by products and scattered adds, or by products of m = C: the adds cost as much as
// 90 K multiply-adds, the thin products lose 1 - C / 16 of the vectors.
static bool has_products(const struct conv_shape *s, size_t c)
{
    return s->out >= 12 * c;
}

// Backward data: one row of dy times all weights, (Q, R S C).
size_t conv_direct_stem_floats(const struct conv_shape *s, struct shape x)
{
    return is_stem(s, x.c) && has_products(s, x.c) ? conv_output(s, x).w * taps_floats(s, x.c) : 0;
}

enum status conv_direct_stem_plan(struct conv_direct *conv, float *work)
{
    const struct conv_shape *s = &conv->shape;
    struct conv_stem *stem = &conv->stem;
    if (!is_stem(s, conv->c))
        return STATUS_OK;
    stem->shape = (struct stem){.rows = s->kernel_h,
                                .span = s->kernel_w * conv->c,
                                .step = s->stride_w * conv->c,
                                .tap_row = s->dilation_h * conv->x.row,
                                .k = s->out,
                                .columns = conv->y.w};
    if (s->dilation_w == 1) {
        stem->forward = s->out <= CONV_BLOCK ? table()->forward_find(&stem->shape) : NULL;
        stem->weights = table()->weights_find(&stem->shape);
    }
    if (!conv->dx.at || !has_products(s, conv->c))
        return STATUS_OK;
    size_t m = taps_floats(s, conv->c);
    stem->products = work;
    return conv_plan_gemm(&stem->data, m, conv->y.w, s->out, m, conv->dy.c, m, false, 0);
}

void conv_direct_stem_forward(const struct conv_direct *conv, const float *x, size_t n)
{
    for (size_t i = 0; i < n * conv->y.h; i++) {
        size_t image = i / conv->y.h, p = i % conv->y.h;
        conv->stem.forward(&conv->stem.shape,
                           x + image * conv->x.image + p * conv->shape.stride_h * conv->x.row,
                           conv->packed_forward, tensor_row(&conv->y, image, p));
    }
}

void conv_direct_stem_weights(const struct conv_direct *conv, const float *x, size_t n, float *dw)
{
    const struct stem *stem = &conv->stem.shape;
    memset(dw, 0, stem->rows * stem->span * stem->k * sizeof *dw);
    // As many rows at a time as the second cache holds: each row of taps goes through dy again.
    enum { CACHED = 64 * 1024 }; // floats
    size_t fit = CACHED / conv->dy.row, rows = fit < 1 ? 1 : fit < conv->y.h ? fit : conv->y.h;
    size_t x_row = conv->shape.stride_h * conv->x.row;
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < conv->y.h; p += rows)
            conv->stem.weights(stem, x + i * conv->x.image + p * x_row, x_row,
                               tensor_row(&conv->dy, i, p), conv->dy.row,
                               rows < conv->y.h - p ? rows : conv->y.h - p, dw);
}

// Backward data's weights: (K, R S C).
void conv_direct_stem_pack(const struct conv_direct *conv, const float *w, float *to)
{
    size_t m = taps_floats(&conv->shape, conv->c);
    for (size_t k = 0; k < conv->shape.out; k++)
        for (size_t t = 0; t < m; t++)
            to[k * m + t] = w[t * conv->shape.out + k];
}

// Adds what one output row gives to one tap: products (Q, R S C) from this tap on, dx from row h.
static void tap_scatter(const struct conv_direct *conv, const float *products, size_t m, size_t t,
                        float *dx)
{
    const struct conv_shape *s = &conv->shape;
    size_t right = t * s->dilation_w, step = s->stride_w * conv->c;
    struct conv_range columns = // that fall into dx
        conv_range_inside((int64_t)right - (int64_t)s->pad_w, s->stride_w, conv->dx.w, conv->y.w);
    for (size_t c = 0; c < conv->c; c++) {
        const float *from = products + c;
        float *to =
            dx + (ptrdiff_t)c + ((ptrdiff_t)right - (ptrdiff_t)s->pad_w) * (ptrdiff_t)conv->c;
        for (size_t q = columns.first; q < columns.end; q++)
            to[q * step] += from[q * m];
    }
}

void conv_direct_stem_data(const struct conv_direct *conv, size_t n)
{
    const struct conv_shape *s = &conv->shape;
    const gemm_offset zero = 0;
    size_t m = taps_floats(s, conv->c);
    for (size_t i = 0; i < n; i++) {
        for (size_t h = 0; conv->dx_beta == 0 && h < conv->dx.h; h++)
            memset(tensor_row(&conv->dx, i, h), 0, conv->dx.w * conv->dx.c * sizeof(float));
        for (size_t p = 0; p < conv->y.h; p++) {
            gemm_run(&conv->stem.data, conv->packed_backward, &zero, tensor_row(&conv->dy, i, p),
                     &zero, conv->stem.products, 1);
            for (size_t tap = 0; tap < conv->taps; tap++) {
                size_t h = p * s->stride_h + tap / s->kernel_w * s->dilation_h - s->pad_h;
                if (h < conv->dx.h) // also false below 0
                    tap_scatter(conv, conv->stem.products + tap * conv->c, m, tap % s->kernel_w,
                                tensor_row(&conv->dx, i, h));
            }
        }
    }
}
