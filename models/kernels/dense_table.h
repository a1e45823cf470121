// SPDX-License-Identifier: MIT
// The kernel of backward data of fully connected layers that leaves weights (C, K) where they are.
// Compiled once for each instruction set (dense_isa.c), called by conv_dense.c.
#ifndef SW2_MODELS_KERNELS_DENSE_TABLE_H
#define SW2_MODELS_KERNELS_DENSE_TABLE_H

#include <stddef.h>

struct dense {
    size_t c, k;
    size_t dy_image, dx_image; // floats from sample to sample
    int dx_beta;               // 0: dx is written, 1: added to
};

// n samples: dx[n,c] = beta dx[n,c] + sum k  dy[n,k] w[c,k]
typedef void dense_data(const struct dense *dense, const float *w, const float *dy, float *dx,
                        size_t n);

extern dense_data dense_data_base, dense_data_avx2, dense_data_avx512;

#endif
