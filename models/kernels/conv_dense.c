// SPDX-License-Identifier: MIT
// Fully connected layers of few samples: all passes read the weights (C, K) where they are. To pack
// them would cost as much as the products, and twice their memory in caches that several ranks of a
// host may share.
#include <stdlib.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "models/kernels/conv_private.h"
#include "models/kernels/dense_table.h"
#include "models/kernels/gemm.h"

#define SAMPLES_MOST ((size_t)32)
#define BLOCK ((size_t)64)  // outputs of a product: 4 vectors of 16 floats
#define PIECE ((size_t)128) // inputs of a product: weights of a block stay in the first cache

static const gemm_offset whole[1] = {0};

struct conv_dense {
    struct dense shape;
    dense_data *data;
    // [rest of K]; [rest of C, the first piece that writes y, others that add to it]
    struct gemm forward[2][2][2], weights[2];
    const float *w; // borrowed
};

static bool suits(const struct conv_shape *s, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    (void)mode;
    return s->kernel_h * s->kernel_w * s->stride_h * s->stride_w * s->groups * x.h * x.w == 1 &&
           s->pad_h + s->pad_w == 0 && s->out >= BLOCK && n <= SAMPLES_MOST;
}

static dense_data *data_choose(void)
{
    switch (isa_current()) {
    case ISA_AVX512:
        return dense_data_avx512;
    case ISA_AVX2:
        return dense_data_avx2;
    case ISA_BASE:
        break;
    }
    return dense_data_base;
}

static enum status product_plan(struct gemm *gemm, size_t m, size_t n, size_t k, size_t lda,
                                size_t ldb, size_t ldc, bool trans_b, int beta)
{
    const size_t most = INT32_MAX;
    if (m == 0 || n == 0 || k == 0)
        return STATUS_OK; // there is no rest
    CHECK(n <= most && lda <= most && ldb <= most && ldc <= most, STATUS_USAGE,
          "fully connected layer of %zu x %zu is too large for one kernel", n, lda);
    struct gemm_shape shape = {(int)m, (int)n, (int)k, (int)lda, (int)ldb, (int)ldc, trans_b, beta};
    return gemm_plan(gemm, &shape);
}

static enum status plan(struct conv *base)
{
    struct conv_dense *dense = NULL;
    TRY(memory_alloc(&dense, 1, sizeof *dense, "fully connected layer"));
    base->self = dense;
    size_t n = base->x.n, c = base->x.c, k = base->shape.out;
    dense->shape = (struct dense){c, k, base->dy.image, base->dx.image, base->dx_beta};
    dense->data = data_choose();
    size_t width[2] = {BLOCK, k % BLOCK}, depth[2] = {PIECE, c % PIECE};
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++)
            for (int beta = 0; beta < 2; beta++)
                TRY(product_plan(&dense->forward[i][j][beta], width[i], n, depth[j], k,
                                 base->x.image, base->y.image, false, beta));
        TRY(product_plan(&dense->weights[i], width[i], c, n, base->dy.image, base->x.image, k, true,
                         0));
    }
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
    dense->data(&dense->shape, dense->w, base->dy.at, base->dx.at, n);
}

static void backward_weights(const struct conv *base, size_t n, float *dw)
{
    const struct conv_dense *dense = base->self;
    size_t k = dense->shape.k;
    ASSERT(n == base->x.n);
    for (size_t k0 = 0; k0 < k; k0 += BLOCK)
        gemm_run(&dense->weights[k - k0 < BLOCK], base->dy.at + k0, whole, base->x.at, whole,
                 dw + k0, 1);
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
                                       .free = dense_free};
