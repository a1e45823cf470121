// SPDX-License-Identifier: MIT
// Runs a planned direct convolution: packs weights, and the three loops over batch-reduce GEMM.
#include <string.h>

#include "models/kernels/conv_direct.h"

// One group's weights for forward: blocks of K, each (taps, C, width), taps in the strips' order.
static void pack_forward(const struct conv_direct *conv, size_t group, const float *w, float *to)
{
    size_t row = conv->shape.out;
    for (size_t b = 0; b < conv->k_blocks.n; b++) {
        size_t width = conv_block_width(&conv->k_blocks, b);
        for (size_t t = 0; t < conv->taps; t++) {
            const float *from =
                w + conv->forward.tap[t].number * conv->c * row + group * conv->k + b * CONV_BLOCK;
            for (size_t c = 0; c < conv->c; c++, to += width)
                memcpy(to, from + c * row, width * sizeof *to);
        }
    }
}

// to[k, c] = from[c, k] for 4 x 4 numbers.
static void transpose_4x4(const float *from, size_t from_row, float *to, size_t to_row)
{
    typedef float four __attribute__((vector_size(16)));
    four x[4], lower[2], upper[2], y[4];
    for (size_t i = 0; i < 4; i++)
        memcpy(&x[i], from + i * from_row, sizeof x[i]);
    for (size_t i = 0; i < 2; i++) {
        lower[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 4, 1, 5);
        upper[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 2, 6, 3, 7);
    }
    y[0] = __builtin_shufflevector(lower[0], lower[1], 0, 1, 4, 5);
    y[1] = __builtin_shufflevector(lower[0], lower[1], 2, 3, 6, 7);
    y[2] = __builtin_shufflevector(upper[0], upper[1], 0, 1, 4, 5);
    y[3] = __builtin_shufflevector(upper[0], upper[1], 2, 3, 6, 7);
    for (size_t i = 0; i < 4; i++)
        memcpy(to + i * to_row, &y[i], sizeof y[i]);
}

// to[k, c] = from[c, k], n_c x n_k; a cache line of each row of `from` at a time.
static void transpose(const float *from, size_t from_row, float *to, size_t to_row, size_t n_c,
                      size_t n_k)
{
    enum { TILE = 16 };
    size_t c_fours = n_c / 4 * 4, k_fours = n_k / 4 * 4;
    for (size_t k0 = 0; k0 < k_fours; k0 += TILE)
        for (size_t c = 0; c < c_fours; c += 4)
            for (size_t k = k0; k < k0 + TILE && k < k_fours; k += 4)
                transpose_4x4(from + c * from_row + k, from_row, to + k * to_row + c, to_row);
    for (size_t c = 0; c < n_c; c++)
        for (size_t k = c < c_fours ? k_fours : 0; k < n_k; k++)
            to[k * to_row + c] = from[c * from_row + k];
}

// One group's weights for backward data: blocks of C, each (taps, K, width), taps in the order of
// phases and their strips, transposed in tiles.
static void pack_backward(const struct conv_direct *conv, size_t group, const float *w, float *to)
{
    for (size_t b = 0; b < conv->c_blocks.n; b++) {
        size_t width = conv_block_width(&conv->c_blocks, b);
        for (size_t i = 0; i < conv->n_phases; i++)
            for (size_t t = 0; t < conv->phases[i].n_taps; t++, to += conv->k * width) {
                size_t tap = conv->phases[i].tap[t].number;
                const float *from =
                    w + (tap * conv->c + b * CONV_BLOCK) * conv->shape.out + group * conv->k;
                transpose(from, conv->shape.out, to, width, width, conv->k);
            }
    }
}

void conv_direct_pack(struct conv *base, const float *w)
{
    const struct conv_direct *conv = base->self;
    size_t floats = conv->taps * conv->c * conv->k;
    for (size_t g = 0; g < conv->shape.groups; g++) {
        pack_forward(conv, g, w, conv->packed_forward + g * floats);
        if (conv->stem.products)
            conv_direct_stem_pack(conv, w, conv->packed_backward);
        else if (conv->phases)
            pack_backward(conv, g, w, conv->packed_backward + g * floats);
    }
}

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

struct run { // forward or a phase of backward data, of one group
    const struct conv_rows *rows;
    const struct conv_blocks *blocks;
    size_t floats_a_channel; // of packed weights
    const float *packed, *from;
    float *to;
    size_t in_image, out_image; // floats from image to image
};

// Strips [s0, s1) of one block over images [n0, n1).
static void run_rows(const struct run *run, size_t block, size_t n0, size_t n1, size_t s0,
                     size_t s1)
{
    const struct conv_rows *rows = run->rows;
    int rest = conv_block_width(run->blocks, block) < CONV_BLOCK;
    const gemm_offset *w_offset = rows->w_offset[rest];
    const float *packed = run->packed + block * CONV_BLOCK * run->floats_a_channel;
    for (size_t n = n0; n < n1; n++)
        for (size_t i = 0; i < rows->n_rows; i++) {
            const float *from = run->from + n * run->in_image + i * rows->in_row;
            float *to = run->to + n * run->out_image + rows->out_origin + i * rows->out_row +
                        block * CONV_BLOCK;
            if (block + s0 == 0 && rows->n_taps > 1)
                ask_ahead(rows, from);
            for (size_t s = s0; s < s1; s++) {
                const struct conv_strip *strip = &rows->strip[s];
                struct conv_range taps = strip->taps[i];
                if (taps.first < taps.end)
                    gemm_run(&strip->gemm[rest], packed, w_offset + taps.first, from,
                             rows->in_offset + taps.first, to + strip->out, taps.end - taps.first);
            }
        }
}

// Image by image while all packed weights stay in cache, else block by block, and strip by strip
// where even one block's do not.
static void run_blocks(const struct run *run, size_t n)
{
    const size_t cached = 128 * 1024; // floats
    size_t strips = run->rows->n_strips, blocks = run->blocks->n;
    bool all_cached = run->floats_a_channel * run->blocks->total <= cached;
    bool block_cached = run->floats_a_channel * CONV_BLOCK <= 2 * cached;
    size_t images = all_cached ? 1 : n, step = all_cached || block_cached ? strips : 1;
    for (size_t n0 = 0; n0 < n; n0 += images)
        for (size_t b = 0; b < blocks; b++)
            for (size_t s = 0; s < strips; s += step)
                run_rows(run, b, n0, n0 + images, s, s + step);
}

void conv_direct_forward(const struct conv *base, size_t n)
{
    const struct conv_direct *conv = base->self;
    const struct conv_shape *s = &conv->shape;
    const float *x = conv->x.at - s->pad_h * conv->x.row - s->pad_w * conv->x.c;
    struct run run = {.rows = &conv->forward,
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
        run_blocks(&run, conv_direct_images(conv, n));
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
    struct run run = {.blocks = &conv->c_blocks,
                      .floats_a_channel = conv->taps * conv->k,
                      .in_image = conv->dy.image,
                      .out_image = conv->dx.image};
    if (conv->has_gaps && conv->dx_beta == 0)
        zero_rows(&conv->dx, n);
    for (size_t i = 0; i < conv->n_phases; i++)
        for (size_t g = 0; g < conv->shape.groups && conv->phases[i].n_taps > 0; g++) {
            run.rows = &conv->phases[i];
            run.packed = conv->packed_backward + g * conv->taps * conv->c * conv->k;
            run.from = dy + g * conv->k;
            run.to = conv->dx.at + g * conv->c;
            run_blocks(&run, n);
        }
}
