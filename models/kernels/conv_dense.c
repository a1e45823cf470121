// SPDX-License-Identifier: MIT
// Fully connected layers of few samples: all passes read the weights (C, K) where they are. To pack
// them would cost as much as the products, and twice their memory in caches that several ranks of a
// host may share.
#include <stdlib.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "models/kernels/conv_private.h"
#include "models/kernels/dense_table.h"

#define SAMPLES_MOST ((size_t)32)
#define BLOCK ((size_t)64)  // outputs of a product: 4 vectors of 16 floats
#define PIECE ((size_t)128) // inputs of a product: weights of a block stay in the first cache

static const gemm_offset whole[1] = {0};

struct conv_dense {
    struct dense shape;
    const struct dense_table *table;
    struct gemm forward[2][2][2]; // [rest of K][rest of C][the first writes y, others add to it]
    const float *w;               // borrowed
};

static bool suits(const struct conv_shape *s, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    (void)mode;
    return s->kernel_h * s->kernel_w * s->stride_h * s->stride_w * s->groups * x.h * x.w == 1 &&
           s->pad_h + s->pad_w == 0 && s->out >= BLOCK && n <= SAMPLES_MOST;
}

static const struct dense_table *table(void)
{
    return isa_choose(&dense_table_base, &dense_table_avx2, &dense_table_avx512);
}

static enum status plan(struct conv *base)
{
    struct conv_dense *dense = NULL;
    TRY(memory_alloc(&dense, 1, sizeof *dense, "fully connected layer"));
    base->self = dense;
    size_t c = base->x.c, k = base->shape.out;
    dense->shape =
        (struct dense){c, k, base->x.image, base->dy.image, base->dx.image, base->dx_beta};
    dense->table = table();
    size_t width[2] = {BLOCK, k % BLOCK}, depth[2] = {PIECE, c % PIECE};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            for (int beta = 0; beta < 2 && width[i] && depth[j]; beta++)
                TRY(conv_plan_gemm(&dense->forward[i][j][beta], width[i], base->x.n, depth[j], k,
                                   base->x.image, base->y.image, false, beta));
    return STATUS_OK;
}

static void pack(struct conv *base, const float *w)
{
    struct conv_dense *dense = base->self;
    dense->w = w;
}

static void forward(const struct conv *base, size_t n)
{
    const struct conv_dense *dense = base->self;
    size_t c = dense->shape.c, k = dense->shape.k;
    (void)n; // those that are not there are computed, too
    for (size_t c0 = 0; c0 < c; c0 += PIECE)
        for (size_t k0 = 0; k0 < k; k0 += BLOCK)
            gemm_run(&dense->forward[k - k0 < BLOCK][c - c0 < PIECE][c0 > 0],
                     dense->w + c0 * k + k0, whole, base->x.at + c0, whole, base->y.at + k0, 1);
}

static void backward_data(const struct conv *base, size_t n)
{
    const struct conv_dense *dense = base->self;
    dense->table->data(&dense->shape, dense->w, base->dy.at, base->dx.at, n);
}

static void backward_weights(const struct conv *base, size_t n, float *dw)
{
    const struct conv_dense *dense = base->self;
    dense->table->weights(&dense->shape, base->x.at, base->dy.at, dw, n, false);
}

static void add_weights(const struct conv *base, size_t n, float *sum)
{
    const struct conv_dense *dense = base->self;
    dense->table->weights(&dense->shape, base->x.at, base->dy.at, sum, n, true);
}

static void dense_free(struct conv *base)
{
    free(base->self);
}

const struct conv_method conv_dense = {.name = "dense",
                                       .suits = suits,
                                       .plan = plan,
                                       .pack = pack,
                                       .forward = forward,
                                       .backward_data = backward_data,
                                       .backward_weights = backward_weights,
                                       .add_weights = add_weights,
                                       .free = dense_free};
