// SPDX-License-Identifier: MIT
// Private to rows.c and rows_isa.c: the functions of rows.h as one table per instruction set.
#ifndef SW2_MODELS_KERNELS_ROWS_TABLE_H
#define SW2_MODELS_KERNELS_ROWS_TABLE_H

#include "models/kernels/rows.h"

// Members as the functions of rows.h.
struct rows_table {
    int vector_floats; // width of a vector: tests choose their channel counts by it
    void (*accumulate)(const struct tensor *x, const struct tensor *y, size_t n, float beta);
    void (*accumulate_channels)(const struct tensor *x, size_t x_first, const struct tensor *y,
                                size_t y_first, size_t n, size_t channels, float beta);
    void (*add)(const struct tensor *a, const struct tensor *b, const struct tensor *y, size_t n,
                bool relu);
    void (*add_backward)(const struct tensor *y, const struct tensor *dy, const struct tensor *da,
                         const struct tensor *db, size_t n, float beta_a, float beta_b);
    void (*relu_mask)(const struct tensor *y, const struct tensor *dy, size_t n);
    void (*channel_sum)(const struct tensor *x, size_t n, float *out);
    void (*moments)(const struct tensor *x, size_t n, float *mean, float *variance);
    void (*scale_shift)(const struct tensor *x, const struct tensor *y, size_t n,
                        const float *scale, const float *shift, bool relu);
    void (*norm_sums)(const struct tensor *x, const struct tensor *dy, size_t n, const float *mean,
                      const float *scale, const float *shift, float *sum_dy, float *sum_dyx);
    void (*norm_sums_mask)(const struct tensor *x, const struct tensor *y, const struct tensor *dy,
                           size_t n, const float *mean, float *sum_dy, float *sum_dyx);
    void (*norm_add)(const struct tensor *a, const float *a_scale, const float *a_shift,
                     const struct tensor *b, const float *b_scale, const float *b_shift,
                     const struct tensor *y, size_t n, bool relu);
    void (*norm_backward)(const struct tensor *x, const struct tensor *dy, const struct tensor *dx,
                          size_t n, const float *scale, const float *shift, const float *b,
                          const float *d, float beta);
    void (*activate)(enum activation f, float slope, const struct tensor *x, const struct tensor *y,
                     size_t n);
    void (*activate_backward)(enum activation f, float slope, const struct tensor *x,
                              const struct tensor *dy, const struct tensor *dx, size_t n,
                              float beta);
    void (*exp)(const float *x, float *y, size_t n);
    void (*pool_max)(const struct rows_window *window, const struct tensor *x,
                     const struct tensor *y, size_t n);
    void (*pool_max_backward)(const struct rows_window *window, const struct tensor *x,
                              const struct tensor *y, const struct tensor *dy,
                              const struct tensor *dx, size_t n, float beta);
    void (*pool_norm)(const struct rows_pooled *pooled, const struct tensor *x, size_t n);
    void (*pool_norm_sums)(const struct rows_pooled *pooled, const struct tensor *x, size_t n,
                           const float *mean, float *sum_dy, float *sum_dyx);
    void (*pool_norm_backward)(const struct rows_pooled *pooled, const struct tensor *x,
                               const struct tensor *dx, size_t n, const float *b, const float *d,
                               float beta, float *work);
    void (*pool_mean)(const struct rows_window *window, const struct tensor *x,
                      const struct tensor *y, size_t n);
    void (*pool_mean_backward)(const struct rows_window *window, const struct tensor *dy,
                               const struct tensor *dx, size_t n, float beta);
    void (*tile_pack)(const struct rows_tile *tile, float *copy, float *transposed);
    double (*fma)(size_t rounds);
};

extern const struct rows_table rows_table_base, rows_table_avx2, rows_table_avx512;

#endif
