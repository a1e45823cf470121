// SPDX-License-Identifier: MIT
// The one inner kernel: batch-reduce GEMM on column-major blocks,
//     C (m x n, ldc) = beta C + sum over i < count of A_i (m x k, lda) op(B_i)
// op(B_i) is k x n (ldb), or n x k (ldb) transposed where trans_b. beta 0: C is not read.
// A_i = a + a_offset[i], B_i = b + b_offset[i] (bytes). Backends: LIBXSMM (JIT), OpenBLAS, plain C
// (tests).
#ifndef SW2_MODELS_KERNELS_GEMM_H
#define SW2_MODELS_KERNELS_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/error.h"

typedef unsigned long long gemm_offset; // bytes, a multiple of sizeof(float)

enum gemm_backend { GEMM_AUTO, GEMM_XSMM, GEMM_BLAS, GEMM_REF };

struct gemm_shape {
    int m, n, k, lda, ldb, ldc;
    bool trans_b;
    int beta; // 0 or 1
};

struct gemm {
    struct gemm_shape shape;
    void (*run)(const struct gemm *gemm, const float *a, const gemm_offset *a_offset,
                const float *b, const gemm_offset *b_offset, float *c, size_t count);
    void (*kernel)(void); // the backend's own, cached by it, never released
};

// Fetches the kernel; once, at plan time. STATUS_ERROR if no backend can do the shape.
enum status gemm_plan(struct gemm *gemm, const struct gemm_shape *shape);
static inline void gemm_run(const struct gemm *gemm, const float *a, const gemm_offset *a_offset,
                            const float *b, const gemm_offset *b_offset, float *c, size_t count)
{
    gemm->run(gemm, a, a_offset, b, b_offset, c, count);
}

// Process-wide choice before planning (tests, and the environment variable SW2_GEMM=xsmm|blas|ref):
// default GEMM_AUTO: LIBXSMM where it is built in and has a JIT for this machine, else OpenBLAS.
void gemm_select(enum gemm_backend backend);
// Loads the backend in force and what it keeps for itself; planning does so too. The plan of memory
// calls it early, to measure rather than guess that part.
void gemm_start(void);
const char *gemm_backend_name(void); // "LIBXSMM 1.17", "OpenBLAS 0.3.21 SkylakeX", "reference"
const char *gemm_versions(void);     // both libraries' versions, for --version

#endif
