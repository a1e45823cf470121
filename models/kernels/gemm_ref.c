// SPDX-License-Identifier: MIT
// The inner kernel in plain C, sums in double: what the others are tested against.
#include "models/kernels/gemm_backends.h"

static void run(const struct gemm *gemm, const float *a, const gemm_offset *a_offset,
                const float *b, const gemm_offset *b_offset, float *c, size_t count)
{
    const struct gemm_shape *s = &gemm->shape;
    size_t lda = (size_t)s->lda, ldb = (size_t)s->ldb, ldc = (size_t)s->ldc;
    for (size_t j = 0; j < (size_t)s->n; j++)
        for (size_t i = 0; i < (size_t)s->m; i++) {
            double sum = s->beta ? (double)c[j * ldc + i] : 0.0;
            for (size_t t = 0; t < count; t++) {
                const float *at = a + a_offset[t] / sizeof *a, *bt = b + b_offset[t] / sizeof *b;
                for (size_t l = 0; l < (size_t)s->k; l++)
                    sum += (double)at[l * lda + i] *
                           (double)bt[s->trans_b ? l * ldb + j : j * ldb + l];
            }
            c[j * ldc + i] = (float)sum;
        }
}

void gemm_ref_plan(struct gemm *gemm)
{
    gemm->run = run;
}
