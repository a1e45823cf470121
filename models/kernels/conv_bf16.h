// SPDX-License-Identifier: MIT
// The planned convolution in bf16, shared by conv_bf16.c (plan, packing) and conv_bf16_run.c
// (loops). Private to kernels/.
//
// Each pass copies a chunk of its fp32 operand, padding included, to bf16 in the layer's work,
// small enough for the cache, and multiplies. All chunks are fixed by shapes.
#ifndef SW2_MODELS_KERNELS_CONV_BF16_H
#define SW2_MODELS_KERNELS_CONV_BF16_H

#include "models/kernels/conv_bf16_isa.h"
#include "models/kernels/conv_private.h"

// Forward, or one phase of backward data (inputs (a + i stride_h, b + j stride_w)): outputs on a
// grid, each the sum over the taps that reach it, in the order of their places in the copy.
struct bf16_pass {
    size_t *taps; // (n_taps) numbers of the taps
    size_t n_taps;
    struct bf16_run *runs; // neighbouring taps
    size_t n_runs, pairs;  // of the runs together
    size_t rows, columns;  // of the whole grid
    size_t y_origin;       // floats from an image's first
    uint16_t *w;           // packed: blocks of BF16_BLOCK channels out, each runs, pairs, channels
};

// What a copy holds of each row and column: positions first, first + step, ... of the tensor.
struct bf16_axis {
    int64_t first;
    size_t step;
    size_t count; // columns; of rows: what one output row needs
};

struct bf16_chunk {
    size_t images, rows; // one of them is 1 or whole; images: pairs of samples in backward weights
};

// All sizes, from shapes alone.
struct bf16_sizes {
    struct shape y;
    size_t stride_h, stride_w;          // of outputs on the copy of x
    struct bf16_axis x_rows, x_columns; // forward and backward weights; row p starts at p stride_h
    struct bf16_axis dy_rows, dy_columns;
    size_t phase_rows; // most rows of a phase
    struct bf16_chunk forward, data, weights;
    size_t x_pairs; // of backward weights: those of dy lie behind
    size_t work_floats;
};

struct bf16_plan {
    struct bf16_sizes sizes;
    struct bf16_pass forward, *phases; // stride_h * stride_w of them; NULL: no backward data
    size_t n_phases;
};

struct bf16_sizes bf16_sizes_of(const struct conv_shape *shape, struct shape x, size_t n);

static inline size_t bf16_width(size_t channels, size_t first)
{
    return channels - first < BF16_BLOCK ? channels - first : BF16_BLOCK;
}

static inline size_t bf16_round(size_t channels)
{
    return (channels + BF16_VECTOR - 1) / BF16_VECTOR * BF16_VECTOR;
}

void conv_bf16_pack(struct conv *conv, const float *w);
void conv_bf16_forward(const struct conv *conv, size_t n);
void conv_bf16_backward_data(const struct conv *conv, size_t n);
void conv_bf16_backward_weights(const struct conv *conv, size_t n, float *dw);

#endif
