// SPDX-License-Identifier: MIT
// The inner kernel by LIBXSMM's JIT (batch-reduce GEMM with offsets).
#include <libxsmm.h>
#include <stdio.h>

#include "comm/isa.h"
#include "models/kernels/gemm_backends.h"

// LIBXSMM follows the instruction set all ranks agreed on, never this CPU's own.
void gemm_xsmm_start(void)
{
    static int is_set = -1;
    int isa = (int)isa_current();
    if (is_set == isa)
        return;
    libxsmm_init();
    libxsmm_set_target_archid(isa == ISA_AVX512 ? LIBXSMM_X86_AVX512_CORE
                              : isa == ISA_AVX2 ? LIBXSMM_X86_AVX2
                                                : LIBXSMM_X86_SSE3);
    is_set = isa;
}

bool gemm_xsmm_is_usable(void)
{
#if defined(__x86_64__)
    return isa_current() >= ISA_AVX2;
#else
    return false;
#endif
}

static void run(const struct gemm *gemm, const float *a, const gemm_offset *a_offset,
                const float *b, const gemm_offset *b_offset, float *c, size_t count)
{
    unsigned long long n = count;
    ((libxsmm_smmfunction_reducebatch_offs)gemm->kernel)(a, b, c, &n, a_offset, b_offset);
}

bool gemm_xsmm_plan(struct gemm *gemm)
{
    gemm_xsmm_start();
    const struct gemm_shape *s = &gemm->shape;
    libxsmm_blasint lda = s->lda, ldb = s->ldb, ldc = s->ldc;
    float alpha = 1, beta = (float)s->beta;
    int flags = s->trans_b ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
    int prefetch = LIBXSMM_PREFETCH_NONE;
    gemm->kernel = (void (*)(void))libxsmm_smmdispatch_reducebatch_offs(
        s->m, s->n, s->k, &lda, &ldb, &ldc, &alpha, &beta, &flags, &prefetch);
    gemm->run = run;
    return gemm->kernel != NULL;
}

const char *gemm_xsmm_version(void)
{
    return "LIBXSMM " LIBXSMM_VERSION;
}
