// SPDX-License-Identifier: MIT
// Runs a planned direct convolution: forward and backward data as loops over batch-reduce GEMM.
#include <string.h>

#include "models/kernels/conv_direct.h"
#include "models/kernels/rows.h"

// Samples of the caller to images of the (perhaps merged) views.
size_t conv_direct_images(const struct conv_direct *conv, size_t n)
{
    return conv->merged ? (n * conv->positions + conv->merged - 1) / conv->merged : n;
}

// Asks for what the next output row will read besides: the strips come to it too late for the
// hardware to foresee.
static void ask_ahead(const struct conv_rows *rows, const float *from)
{
    enum { LINE = 16, MOST = 4096 }; // floats
    size_t floats = rows->in_row < MOST ? rows->in_row : MOST;
    for (size_t i = 0; i < floats; i += LINE)
        __builtin_prefetch(from + rows->in_reach + i, 0, 2);
}

// ... for outputs that a row's sums will be added to.
static void ask_outputs(const struct conv_rows *rows, size_t width, const float *to)
{
    for (size_t q = 0; q < rows->n_columns; q++)
        for (size_t i = 0; i < width; i += 16)
            __builtin_prefetch(to + q * rows->out_column + i, 1, 2);
}

struct run { // forward or backward data, of one group
    const struct conv_rows *phases;
    size_t n_phases;
    const struct conv_blocks *blocks;
    size_t floats_a_channel; // of packed weights
    const float *packed, *from;
    float *to;
    size_t in_image, out_image; // floats from image to image
};

// The row and block in `sums` goes to its outputs.
static void sums_add(const struct conv_rows *rows, size_t width, float *to)
{
    struct tensor sums = tensor_of(1, (struct shape){1, rows->n_columns, width}, 0, 0);
    struct tensor out = tensor_of(1, (struct shape){1, rows->n_columns, rows->out_column}, 0, 0);
    sums.at = rows->sums;
    out.at = to;
    rows_accumulate_channels(&sums, 0, &out, 0, 1, width, 1);
}

struct span { // of images, output rows, strips
    size_t first, end;
};

// Strips of one block over output rows of images, in one phase.
static void run_rows(const struct run *run, const struct conv_rows *rows, size_t block,
                     struct span images, struct span outputs, struct span strips)
{
    size_t width = conv_block_width(run->blocks, block);
    size_t out_column = rows->sums ? width : rows->out_column;
    int rest = width < CONV_BLOCK;
    const gemm_offset *w_offset = rows->w_offset[rest];
    const float *packed = run->packed + block * CONV_BLOCK * run->floats_a_channel;
    for (size_t n = images.first; n < images.end; n++)
        for (size_t i = outputs.first; i < outputs.end; i++) {
            const float *from = run->from + n * run->in_image + i * rows->in_row;
            float *to = run->to + n * run->out_image + rows->out_origin + i * rows->out_row +
                        block * CONV_BLOCK;
            if (block + strips.first == 0 && rows->n_taps > 1)
                ask_ahead(rows, from);
            float *out = rows->sums ? rows->sums : to;
            if (rows->adds_far && strips.first == 0)
                ask_outputs(rows, width, to);
            for (size_t s = strips.first; s < strips.end; s++) {
                const struct conv_strip *strip = &rows->strip[s];
                struct conv_range taps = strip->taps[i];
                if (taps.first < taps.end)
                    gemm_run(&strip->gemm[rest], packed, w_offset + taps.first, from,
                             rows->in_offset + taps.first, out + strip->first * out_column,
                             taps.end - taps.first);
            }
            if (rows->sums)
                sums_add(rows, width, to);
        }
}

// A row of the input serves all blocks of all phases (the first has the most rows) while it stays
// in cache.
static void run_by_rows(const struct run *run, size_t n)
{
    for (size_t image = 0; image < n; image++)
        for (size_t i = 0; i < run->phases[0].n_rows; i++)
            for (size_t p = 0; p < run->n_phases; p++)
                for (size_t b = 0; b < run->blocks->n && i < run->phases[p].n_rows; b++)
                    run_rows(run, &run->phases[p], b, (struct span){image, image + 1},
                             (struct span){i, i + 1}, (struct span){0, run->phases[p].n_strips});
}

// Row by row while all packed weights stay in cache, else block by block, and strip by strip where
// even one block's do not.
static void run_all(const struct run *run, size_t n)
{
    const size_t cached = 128 * 1024; // floats
    if (run->floats_a_channel * run->blocks->total <= cached) {
        run_by_rows(run, n);
        return;
    }
    bool by_strips = conv_direct_by_strips(run->floats_a_channel);
    for (size_t p = 0; p < run->n_phases; p++) {
        const struct conv_rows *rows = &run->phases[p];
        size_t step = by_strips ? 1 : rows->n_strips;
        for (size_t b = 0; b < run->blocks->n; b++)
            for (size_t s = 0; s < rows->n_strips; s += step)
                run_rows(run, rows, b, (struct span){0, n}, (struct span){0, rows->n_rows},
                         (struct span){s, s + step});
    }
}

void conv_direct_forward(const struct conv *base, size_t n)
{
    const struct conv_direct *conv = base->self;
    const struct conv_shape *s = &conv->shape;
    const float *x = conv->x.at - s->pad_h * conv->x.row - s->pad_w * conv->x.c;
    struct run run = {.phases = &conv->forward,
                      .n_phases = 1,
                      .blocks = &conv->k_blocks,
                      .floats_a_channel = conv->taps * conv->c,
                      .in_image = conv->x.image,
                      .out_image = conv->y.image};
    if (conv->stem.forward) {
        conv_direct_stem_forward(conv, x, n);
        return;
    }
    for (size_t g = 0; g < s->groups; g++) {
        run.packed = conv->packed_forward + g * conv->taps * conv->c * conv->k;
        run.from = x + g * conv->c;
        run.to = conv->y.at + g * conv->k;
        run_all(&run, conv_direct_images(conv, n));
    }
}

// Input pixels that no tap reaches have gradient zero.
static void zero_rows(const struct tensor *dx, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < dx->h; h++)
            memset(tensor_row(dx, i, h), 0, dx->w * dx->c * sizeof(float));
}

void conv_direct_backward_data(const struct conv *base, size_t n)
{
    const struct conv_direct *conv = base->self;
    if (conv->stem.products) {
        conv_direct_stem_data(conv, n);
        return;
    }
    n = conv_direct_images(conv, n);
    const float *dy = conv->dy.at - conv->dy.halo_h * conv->dy.row - conv->dy.halo_w * conv->dy.c;
    struct run run = {.phases = conv->phases,
                      .n_phases = conv->n_phases,
                      .blocks = &conv->c_blocks,
                      .floats_a_channel = conv->taps * conv->k,
                      .in_image = conv->dy.image,
                      .out_image = conv->dx.image};
    if (conv->has_gaps && conv->dx_beta == 0)
        zero_rows(&conv->dx, n);
    for (size_t g = 0; g < conv->shape.groups; g++) {
        run.packed = conv->packed_backward + g * conv->taps * conv->c * conv->k;
        run.from = dy + g * conv->k;
        run.to = conv->dx.at + g * conv->c;
        run_all(&run, n);
    }
}
