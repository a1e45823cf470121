// SPDX-License-Identifier: MIT
// The kernels of backward of fully connected layers, whose weights (C, K) stay where they are.
// Compiled once for each instruction set (dense_isa.c), called by conv_dense.c.
#ifndef SW2_MODELS_KERNELS_DENSE_TABLE_H
#define SW2_MODELS_KERNELS_DENSE_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct dense {
    size_t c, k;
    size_t x_image, dy_image, dx_image; // floats from sample to sample
    int dx_beta;                        // 0: dx is written, 1: added to
};

// n samples: dx[n,c] = beta dx[n,c] + sum k  dy[n,k] w[c,k]
typedef void dense_data(const struct dense *dense, const float *w, const float *dy, float *dx,
                        size_t n);

// n samples: dw[c,k] = sum n  x[n,c] dy[n,k]; adds: dw[c,k] = dw[c,k] + that sum
typedef void dense_weights(const struct dense *dense, const float *x, const float *dy, float *dw,
                           size_t n, bool adds);

struct dense_table {
    dense_data *data;
    dense_weights *weights;
};

extern const struct dense_table dense_table_base, dense_table_avx2, dense_table_avx512;

#endif
