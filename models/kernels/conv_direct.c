// SPDX-License-Identifier: MIT
// Direct convolution through batch-reduce GEMM (design: one building block), the method that suits
// always. Plans blocks, kernels and offsets of the three passes; conv_direct_run.c runs them.
#include <stdint.h>
#include <stdlib.h>

#include "comm/memory.h"
#include "models/kernels/conv_direct.h"

#define MERGED_MOST ((size_t)256) // positions of a row of a merged pointwise convolution
#define FAR ((size_t)256 * 1024)  // floats that do not stay in the second cache

static enum status forward_plan(struct conv_direct *conv)
{
    const struct conv_shape *s = &conv->shape;
    struct conv_rows *rows = &conv->forward;
    TRY(conv_rows_alloc(rows, conv->taps));
    for (size_t r = 0; r < s->kernel_h; r++)
        for (size_t t = 0; t < s->kernel_w; t++) {
            size_t down = r * s->dilation_h, right = t * s->dilation_w;
            rows->tap[rows->n_taps++] =
                (struct conv_tap){.number = r * s->kernel_w + t,
                                  .in = down * conv->x.row + right * conv->x.c,
                                  .rows = conv_range_inside((int64_t)down - (int64_t)s->pad_h,
                                                            s->stride_h, conv->x.h, conv->y.h),
                                  .columns = conv_range_inside((int64_t)right - (int64_t)s->pad_w,
                                                               s->stride_w, conv->x.w, conv->y.w)};
        }
    rows->n_rows = conv->y.h;
    rows->n_columns = conv->y.w;
    rows->in_column = s->stride_w * conv->x.c;
    rows->out_column = conv->y.c;
    rows->out_row = conv->y.row;
    rows->in_row = s->stride_h * conv->x.row;
    rows->in_reach = ((s->kernel_h - 1) * s->dilation_h + 1) * conv->x.row;
    return conv_rows_plan(rows, &conv->k_blocks, conv->c, 0);
}

// Backward data, input pixels (a + i stride_h, b + j stride_w): each is written once, as a sum over
// the taps that reach it, last tap first: dy is read upwards, as prefetchers like it (a fifth
// faster). Offsets are relative to the halo's corner, so they are never negative.
static enum status phase_plan(struct conv_direct *conv, struct conv_rows *rows, size_t a, size_t b,
                              float *sums)
{
    const struct conv_shape *s = &conv->shape;
    TRY(conv_rows_alloc(rows, conv->taps));
    rows->n_rows = conv_phase_size(conv->x.h, a, s->stride_h);
    rows->n_columns = conv_phase_size(conv->x.w, b, s->stride_w);
    for (size_t r = s->kernel_h; r-- > 0;)
        for (size_t t = s->kernel_w; t-- > 0;) {
            int64_t down, right;
            if (!conv_tap_shift(a, r, s->stride_h, s->pad_h, s->dilation_h, &down) ||
                !conv_tap_shift(b, t, s->stride_w, s->pad_w, s->dilation_w, &right))
                continue;
            size_t row = (size_t)(down + (int64_t)conv->dy.halo_h);
            size_t column = (size_t)(right + (int64_t)conv->dy.halo_w);
            rows->tap[rows->n_taps++] = (struct conv_tap){
                .number = r * s->kernel_w + t,
                .in = row * conv->dy.row + column * conv->dy.c,
                .rows = conv_range_inside(down, 1, conv->y.h, rows->n_rows),
                .columns = conv_range_inside(right, 1, conv->y.w, rows->n_columns)};
        }
    if (rows->n_columns == 0)
        rows->n_rows = 0;
    rows->in_column = conv->dy.c;
    rows->out_column = s->stride_w * conv->dx.c;
    rows->out_origin = a * conv->dx.row + b * conv->dx.c;
    rows->out_row = s->stride_h * conv->dx.row;
    rows->in_row = conv->dy.row;
    rows->in_reach = ((s->kernel_h - 1) * s->dilation_h / s->stride_h + 1) * conv->dy.row;
    rows->adds_far = conv->dx_beta == 1 && conv->taps > 1 && conv->dx.n * conv->dx.image > FAR;
    // Sums that start from memory wait for it; where they are long they are added afterwards.
    if (conv->dx_beta == 1 && rows->n_taps * conv->k >= (size_t)(rows->adds_far ? 256 : 512) &&
        !conv_direct_by_strips(conv->taps * conv->k))
        rows->sums = sums;
    conv->has_gaps = conv->has_gaps || rows->n_taps == 0;
    return rows->n_rows && rows->n_taps
               ? conv_rows_plan(rows, &conv->c_blocks, conv->k, conv->dx_beta)
               : STATUS_OK;
}

static enum status data_plan(struct conv_direct *conv, float *sums)
{
    const struct conv_shape *s = &conv->shape;
    conv->n_phases = s->stride_h * s->stride_w;
    TRY(memory_alloc(&conv->phases, conv->n_phases, sizeof *conv->phases, "convolution phases"));
    for (size_t a = 0; a < s->stride_h; a++)
        for (size_t b = 0; b < s->stride_w; b++) {
            struct conv_rows *rows = &conv->phases[a * s->stride_w + b];
            rows->first = rows > conv->phases ? rows[-1].first + rows[-1].n_taps : 0;
            TRY(phase_plan(conv, rows, a, b, sums));
        }
    return STATUS_OK;
}

static void view_merge(struct tensor *t, size_t width)
{
    size_t positions = t->n * t->h * t->w;
    t->n = positions / width;
    t->h = 1;
    t->w = width;
    t->row = t->image = width * t->c;
}

// A pointwise convolution of dense tensors is one long row; cut it in equal chunks of at most
// MERGED_MOST.
static void pointwise_merge(struct conv_direct *conv)
{
    const struct conv_shape *s = &conv->shape;
    bool is_pointwise = s->kernel_h * s->kernel_w == 1 && s->stride_h * s->stride_w == 1 &&
                        s->pad_h + s->pad_w == 0;
    if (!is_pointwise || !tensor_is_dense(&conv->x) || !tensor_is_dense(&conv->y) ||
        !tensor_is_dense(&conv->dy) || !tensor_is_dense(&conv->dx))
        return;
    conv->positions = conv->x.h * conv->x.w;
    size_t total = conv->x.n * conv->positions;
    conv->merged = total < MERGED_MOST ? total : MERGED_MOST;
    while (total % conv->merged != 0)
        conv->merged--;
    view_merge(&conv->x, conv->merged);
    view_merge(&conv->y, conv->merged);
    view_merge(&conv->dy, conv->merged);
    view_merge(&conv->dx, conv->merged);
}

static size_t packed_floats(const struct conv_shape *s, size_t c)
{
    size_t weights = s->kernel_h * s->kernel_w * (c / s->groups) * s->out;
    return (weights + 15) / 16 * 16;
}

static size_t keep_floats(const struct conv_shape *s, struct shape x, size_t n)
{
    (void)n;
    return 2 * packed_floats(s, x.c);
}

static size_t work_floats(const struct conv_shape *s, struct shape x, size_t n)
{
    size_t stem = conv_direct_stem_floats(s, x), weights = conv_direct_weights_floats(s, x, n);
    size_t sums = (x.w < MERGED_MOST ? MERGED_MOST : x.w) * CONV_BLOCK;
    size_t most = stem > weights ? stem : weights;
    return most > sums ? most : sums;
}

static bool suits(const struct conv_shape *s, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    (void)s;
    (void)x;
    (void)n;
    (void)mode;
    return true;
}

static enum status plan(struct conv *base)
{
    const struct conv_shape *s = &base->shape;
    struct conv_direct *conv = NULL;
    TRY(memory_alloc(&conv, 1, sizeof *conv, "convolution"));
    base->self = conv;
    *conv = (struct conv_direct){.shape = *s,
                                 .x = base->x,
                                 .y = base->y,
                                 .dy = base->dy,
                                 .dx = base->dx,
                                 .dx_beta = base->dx_beta,
                                 .packed_forward = base->keep,
                                 .packed_backward = base->keep + packed_floats(s, base->x.c),
                                 .c = base->x.c / s->groups,
                                 .k = s->out / s->groups,
                                 .taps = s->kernel_h * s->kernel_w};
    pointwise_merge(conv);
    conv->k_blocks = (struct conv_blocks){conv->k, (conv->k + CONV_BLOCK - 1) / CONV_BLOCK};
    conv->c_blocks = (struct conv_blocks){conv->c, (conv->c + CONV_BLOCK - 1) / CONV_BLOCK};
    TRY(conv_direct_stem_plan(conv, base->work));
    TRY(conv_direct_weights_plan(conv, base->work));
    if (!conv->stem.forward)
        TRY(forward_plan(conv));
    return conv->dx.at && !conv->stem.products ? data_plan(conv, base->work) : STATUS_OK;
}

static void direct_free(struct conv *base)
{
    struct conv_direct *conv = base->self;
    if (!conv)
        return;
    conv_rows_free(&conv->forward);
    for (size_t i = 0; conv->phases && i < conv->n_phases; i++)
        conv_rows_free(&conv->phases[i]);
    free(conv->phases);
    conv_direct_weights_free(conv);
    free(conv);
}

const struct conv_method conv_direct = {.name = "direct",
                                        .suits = suits,
                                        .keep_floats = keep_floats,
                                        .work_floats = work_floats,
                                        .plan = plan,
                                        .pack = conv_direct_pack,
                                        .forward = conv_direct_forward,
                                        .backward_data = conv_direct_backward_data,
                                        .backward_weights = conv_direct_backward_weights,
                                        .free = direct_free};
