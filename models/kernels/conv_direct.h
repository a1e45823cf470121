// SPDX-License-Identifier: MIT
// The planned direct convolution, shared by conv_direct.c (plan) and the files
// conv_direct_*.c (rows of taps, packing, loops, few channels). Private to kernels/.
#ifndef SW2_MODELS_KERNELS_CONV_DIRECT_H
#define SW2_MODELS_KERNELS_CONV_DIRECT_H

#include "models/kernels/conv_private.h"
#include "models/kernels/stem_table.h"

#define CONV_BLOCK ((size_t)64) // channels of an m-block: 4 vectors of 16 floats

// Channels of one group cut into m-blocks of CONV_BLOCK and a rest.
struct conv_blocks {
    size_t total, n;
};

static inline size_t conv_block_width(const struct conv_blocks *blocks, size_t i)
{
    size_t left = blocks->total - i * CONV_BLOCK;
    return left < CONV_BLOCK ? left : CONV_BLOCK;
}

// A tap of one output row: where it reads, and which outputs need it: the others would multiply it
// with the padding's zeros.
struct conv_tap {
    size_t number; // row * kernel_w + column in the kernel
    size_t in;     // floats from the row's base
    struct conv_range rows, columns;
};

// Taps of equal columns: the columns and, for each output row, its part of the taps.
struct conv_strip {
    struct gemm gemm[2]; // full block, rest
    size_t first, n_columns;
    struct conv_range *taps; // (n_rows), may be empty
};

// Forward or one phase of backward data: every output row is one batch-reduce GEMM a block for all
// columns, and one that adds to some of them for each other strip.
// Row i < n_rows of an image's outputs begins at out_origin + i * out_row, and its taps' offsets
// count from i * in_row of the image's input.
struct conv_rows {
    size_t n_taps;
    struct conv_tap *tap;     // (n_taps) strip after strip
    size_t first;             // packed weights hold them in this order, from here on
    gemm_offset *w_offset[2]; // bytes into a packed block, for full and rest
    gemm_offset *in_offset;   // bytes from the row's base
    struct conv_strip *strip; // the first has all columns
    size_t n_strips;
    size_t n_rows, n_columns;
    size_t in_column, out_column; // floats from column to column
    size_t out_origin, out_row;   // floats: first element within an image, from row to row
    size_t in_row, in_reach;      // floats the base moves a row; from it to the last row's end
    // A row and block of what is added to outputs, in work: (n_columns, width of the block). NULL:
    // outputs are written at once.
    float *sums;
    bool adds_far; // to outputs that do not stay in the second cache
};

// Backward weights work on this many output rows at a time: `rows` of each of `images` images, one
// or all of them.
struct conv_chunk {
    size_t images, rows, width;
    size_t x_rows, x_width; // input that they read
    bool packs_x, packs_dy; // copied block by block first
};

// One row of taps in backward weights: the output rows that it needs, and where each lies.
struct conv_weights_row {
    struct conv_range rows;                  // of an image
    gemm_offset *dy_offset[2], *x_offset[2]; // bytes, for full blocks and rests
};

// One column of taps: the output columns that it needs.
struct conv_weights_column {
    struct gemm gemm[2][2][2]; // [rest of K][rest of C][beta]
    size_t first;
};

struct conv_weights {
    struct conv_chunk chunk;
    struct conv_weights_row *rows;       // (kernel_h)
    struct conv_weights_column *columns; // (kernel_w)
    float *dy_pack, *x_pack;             // in work
};

// Kernels of a convolution of few channels; NULL: the pass runs as any other.
struct conv_stem {
    struct stem shape;
    stem_forward *forward;
    stem_weights *weights;
    float *products; // in work; backward data
    struct gemm data;
};

struct conv_direct {
    struct conv_shape shape;
    struct tensor x, y, dy, dx; // as the loops see them: pointwise ones may be merged
    size_t c, k, taps;          // per group; R S
    struct conv_blocks k_blocks, c_blocks;
    float *packed_forward, *packed_backward; // in keep
    struct conv_rows forward;
    struct conv_rows *phases; // stride_h * stride_w of them; NULL: no backward data
    size_t n_phases;
    bool has_gaps; // some phase has no taps
    int dx_beta;
    struct conv_weights weights;
    struct conv_stem stem;
    // Pointwise convolutions of dense tensors see all positions of all samples as rows of `merged`
    // positions ("images" of one row); a sample has `positions` of them. 0: not merged.
    size_t merged, positions;
};

// One block of packed weights of so many floats a channel is more than the second cache holds along
// with the rest: strips go through all images one after the other.
static inline bool conv_direct_by_strips(size_t floats_a_channel)
{
    const size_t cached = 256 * 1024; // floats
    return floats_a_channel * CONV_BLOCK > cached;
}

enum status conv_rows_alloc(struct conv_rows *rows, size_t taps);
// Makes strips of taps and fetches kernels: m-blocks of `blocks`, k channels in. From the taps,
// n_rows, n_columns, steps and sums; reorders the taps.
enum status conv_rows_plan(struct conv_rows *rows, const struct conv_blocks *blocks, size_t k,
                           int beta);
void conv_rows_free(struct conv_rows *rows);
size_t conv_direct_images(const struct conv_direct *conv, size_t n); // samples as the views count
size_t conv_direct_weights_floats(const struct conv_shape *shape, struct shape x, size_t n);
enum status conv_direct_weights_plan(struct conv_direct *conv, float *work);
void conv_direct_weights_free(struct conv_direct *conv);
size_t conv_direct_stem_floats(const struct conv_shape *shape, struct shape x);
enum status conv_direct_stem_plan(struct conv_direct *conv, float *work);
void conv_direct_stem_pack(const struct conv_direct *conv, const float *w, float *to);
void conv_direct_stem_forward(const struct conv_direct *conv, const float *x, size_t n);
void conv_direct_stem_data(const struct conv_direct *conv, size_t n);
void conv_direct_stem_weights(const struct conv_direct *conv, const float *x, size_t n, float *dw);
void conv_direct_pack(struct conv *conv, const float *w);
void conv_direct_forward(const struct conv *conv, size_t n);
void conv_direct_backward_data(const struct conv *conv, size_t n);
void conv_direct_backward_weights(const struct conv *conv, size_t n, float *dw);

#endif
