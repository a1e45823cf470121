// SPDX-License-Identifier: MIT
// The inner kernel by OpenBLAS: one sgemm a batch element. For machines LIBXSMM does not know.
#include <cblas.h>
#include <stdio.h>

#include "models/kernels/gemm_backends.h"

static void run(const struct gemm *gemm, const float *a, const gemm_offset *a_offset,
                const float *b, const gemm_offset *b_offset, float *c, size_t count)
{
    const struct gemm_shape *s = &gemm->shape;
    for (size_t i = 0; i < count; i++)
        cblas_sgemm(CblasColMajor, CblasNoTrans, s->trans_b ? CblasTrans : CblasNoTrans, s->m, s->n,
                    s->k, 1.0f, a + a_offset[i] / sizeof *a, s->lda, b + b_offset[i] / sizeof *b,
                    s->ldb, i == 0 ? (float)s->beta : 1.0f, c, s->ldc);
}

void gemm_blas_plan(struct gemm *gemm)
{
    openblas_set_num_threads(
        1); // ranks are the parallelism; its own threads would fight over cores
    gemm->run = run;
}

const char *gemm_blas_version(void)
{
    static char text[128];
    // openblas_get_config() reads "OpenBLAS 0.3.21 ... SkylakeX MAX_THREADS=64".
    char version[32] = "?";
    sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    snprintf(text, sizeof text, "OpenBLAS %s (%s)", version, openblas_get_corename());
    return text;
}
