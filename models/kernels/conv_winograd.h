// SPDX-License-Identifier: MIT
// The planned Winograd convolution, shared by conv_winograd.c (rule, plan, pack) and
// conv_winograd_run.c (loops). Private to kernels/.
#ifndef SW2_MODELS_KERNELS_CONV_WINOGRAD_H
#define SW2_MODELS_KERNELS_CONV_WINOGRAD_H

#include "models/kernels/conv_private.h"
#include "models/kernels/winograd_table.h"

#define WINOGRAD_BLOCK ((size_t)64) // channels of a block of a product: 4 vectors of 16 floats
#define WINOGRAD_DEPTH ((size_t)16) // tiles that one product of backward weights sums over
// Channels in that one sum of forward and backward data runs over. Rounding errors grow with the
// square root of a sum's length; the parts are added when the products are transformed back.
#define WINOGRAD_PART ((size_t)256)

// n channels cut into blocks of WINOGRAD_BLOCK and a rest.
static inline size_t winograd_blocks(size_t n)
{
    return (n + WINOGRAD_BLOCK - 1) / WINOGRAD_BLOCK;
}

static inline size_t winograd_block_width(size_t n, size_t block)
{
    size_t left = n - block * WINOGRAD_BLOCK;
    return left < WINOGRAD_BLOCK ? left : WINOGRAD_BLOCK;
}

static inline size_t winograd_parts_of(size_t c)
{
    return (c + WINOGRAD_PART - 1) / WINOGRAD_PART;
}

// Forward, or backward data, which is forward with flipped and transposed weights: tiles of `in`
// are transformed, multiplied by u, and transformed into tiles of `out`, `block` tiles at a time.
struct winograd_pass {
    struct winograd_tiles in, out;
    float *u;       // (plane)(block of K)(C, width), in keep
    size_t u_plane; // floats
    size_t block;   // tiles
    int beta;
    struct gemm gemm[2][2]; // [rest of K][rest of C]
};

// Backward weights: both operands are transformed, `block` tiles at a time, and each block of
// products is summed over tiles; one transform back at the end.
struct winograd_weights {
    struct winograd_tiles x, dy;
    size_t block;              // tiles, a multiple of WINOGRAD_DEPTH
    struct gemm gemm[2][2][2]; // [rest of K][rest of C][beta]
    gemm_offset *x_offset, *dy_offset;
};

struct conv_winograd {
    enum winograd_size size;
    const struct winograd_transforms *transforms;
    size_t c, k;
    struct winograd_pass forward, data;
    struct winograd_weights weights;
    float *work;
};

// Matrices of `rows` rows of `channels`: rows are whole cache lines, and planes an odd number of
// them apart, so that the elements of a tile do not meet in one set of the cache.
static inline struct winograd_matrix winograd_matrix_of(float *at, size_t rows, size_t channels)
{
    size_t row = (channels + 15) / 16 * 16;
    return (struct winograd_matrix){at, (rows * row / 16 | 1) * 16, row};
}

// What the rule is for: any tile size, for tests. The rest as conv_private.h says.
bool conv_winograd_can(const struct conv_shape *shape);
size_t conv_winograd_keep_floats(enum winograd_size size, const struct conv_shape *shape,
                                 struct shape x);
size_t conv_winograd_work_floats(enum winograd_size size, const struct conv_shape *shape,
                                 struct shape x, size_t n);
enum status conv_winograd_plan(enum winograd_size size, struct conv *conv);
void conv_winograd_free(struct conv *conv);

void conv_winograd_pack(struct conv *conv, const float *w);
void conv_winograd_forward(const struct conv *conv, size_t n);
void conv_winograd_backward_data(const struct conv *conv, size_t n);
void conv_winograd_backward_weights(const struct conv *conv, size_t n, float *dw);

#endif
