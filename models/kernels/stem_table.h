// SPDX-License-Identifier: MIT
// Kernels for the first convolution of a network, whose input has one or three channels: what a row
// of the kernel reads are span = S C contiguous floats, too few for a matrix product. Compiled once
// for each instruction set (stem_isa.c), called by conv_direct_stem.c.
#ifndef SW2_MODELS_KERNELS_STEM_TABLE_H
#define SW2_MODELS_KERNELS_STEM_TABLE_H

#include <stddef.h>

struct stem {
    size_t rows, span; // R, S C
    size_t step;       // floats of x from one output column to the next: stride C
    size_t tap_row;    // floats of x from one row of the kernel to the next
    size_t k;          // K; w and dw are (R S C, K)
    size_t columns;    // Q
};

// One output row, y (Q, K): y[q,k] = sum r,j  x[r tap_row + q step + j] w[r,j,k]
typedef void stem_forward(const struct stem *stem, const float *x, const float *w, float *y);

// One image, n_rows output rows: dw[r,j,k] += sum p,q  x[p x_row + r tap_row + q step + j]
// dy[p dy_row + q K + k]. The sum is added to dw once.
typedef void stem_weights(const struct stem *stem, const float *x, size_t x_row, const float *dy,
                          size_t dy_row, size_t n_rows, float *dw);

struct stem_table { // NULL: no kernel for this one
    stem_forward *(*forward_find)(const struct stem *stem);
    stem_weights *(*weights_find)(const struct stem *stem);
};

extern const struct stem_table stem_table_base, stem_table_avx2, stem_table_avx512;

#endif
