// SPDX-License-Identifier: MIT
// All elementwise and reducing loops over tensors: one small set, written with fixed-width vectors,
// compiled once per instruction set (rows_isa.c) and chosen by isa_current(). The order of every
// sum is fixed by the shape alone.
#ifndef SW2_MODELS_KERNELS_ROWS_H
#define SW2_MODELS_KERNELS_ROWS_H

#include <stdint.h>

#include "models/tensor.h"

// Tensors of the same (h, w, c); halos may differ; n: first n samples. "beta" 0 or 1 as in layer.h.

// y = x
void rows_copy(const struct tensor *x, const struct tensor *y, size_t n);
// y = beta y + x
void rows_accumulate(const struct tensor *x, const struct tensor *y, size_t n, float beta);
// y = a + b, then max(0, .) if relu
void rows_add(const struct tensor *a, const struct tensor *b, const struct tensor *y, size_t n,
              bool relu);
// y = y + bias[c] (bias may be NULL), then max(0, .) if relu
void rows_bias(const struct tensor *y, size_t n, const float *bias, bool relu);
// dy = y > 0 ? dy : 0
void rows_relu_mask(const struct tensor *y, const struct tensor *dy, size_t n);
// out[c] = sum over samples, rows, columns of x (writes)
void rows_channel_sum(const struct tensor *x, size_t n, float *out);
// Batch-norm, forward statistics: mean[c] and (biased) variance[c] over n*h*w positions. Two-pass
// or shifted: accurate.
void rows_moments(const struct tensor *x, size_t n, float *mean, float *variance);
// y = x * scale[c] + shift[c], then max(0, .) if relu
void rows_scale_shift(const struct tensor *x, const struct tensor *y, size_t n, const float *scale,
                      const float *shift, bool relu);
// Batch-norm, backward sums: sum_dy[c] = sum dy', sum_dyx[c] = sum dy' (x - mean[c]). Where shift
// != NULL a ReLU followed, and dy' is dy where x scale[c] + shift[c] > 0 (the very numbers of
// rows_scale_shift, so that y need not be read again), else 0; without it dy' = dy.
void rows_norm_sums(const struct tensor *x, const struct tensor *dy, size_t n, const float *mean,
                    const float *scale, const float *shift, float *sum_dy, float *sum_dyx);
// The same without a ReLU, after dy = y > 0 ? dy : 0 in place.
void rows_norm_sums_mask(const struct tensor *x, const struct tensor *y, const struct tensor *dy,
                         size_t n, const float *mean, float *sum_dy, float *sum_dyx);
// y = a a_scale[c] + a_shift[c] + b b_scale[c] + b_shift[c], then max(0, .) if relu. b_scale and
// b_shift NULL: y = a a_scale[c] + a_shift[c] + b.
void rows_norm_add(const struct tensor *a, const float *a_scale, const float *a_shift,
                   const struct tensor *b, const float *b_scale, const float *b_shift,
                   const struct tensor *y, size_t n, bool relu);
// dx = beta dx + scale[c] dy' + b[c] x + d[c], dy' as above
void rows_norm_backward(const struct tensor *x, const struct tensor *dy, const struct tensor *dx,
                        size_t n, const float *scale, const float *shift, const float *b,
                        const float *d, float beta);

// Backward of rows_add: da = beta_a da + dy', db = beta_b db + dy', dy' masked by y > 0 where
// y != NULL. da and db may be NULL (not wanted), be dy, and be the same (da is done first).
void rows_add_backward(const struct tensor *y, const struct tensor *dy, const struct tensor *da,
                       const struct tensor *db, size_t n, float beta_a, float beta_b);
// y[.., y_first + k] = beta y[.., y_first + k] + x[.., x_first + k], k < channels; x and y have the
// same h and w, and their own c. Concatenation and its backward.
void rows_accumulate_channels(const struct tensor *x, size_t x_first, const struct tensor *y,
                              size_t y_first, size_t n, size_t channels, float beta);

// copy[c, k] = from[c, k] and, if not NULL, transposed[k, c] = from[c, k]; dense, n_c x n_k.
// streams: past the caches; then both and their rows are aligned to 64 bytes, and rows_streams_end
// makes them visible to other threads.
struct rows_tile {
    const float *from;
    size_t from_row, n_c, n_k; // floats from c to c + 1
    bool streams;
};
void rows_tile_pack(const struct rows_tile *tile, float *copy, float *transposed);
void rows_streams_end(void);

enum activation { ACT_RELU, ACT_LEAKY_RELU, ACT_GELU, ACT_SILU };
// y = f(x); slope: of leaky ReLU
void rows_activate(enum activation f, float slope, const struct tensor *x, const struct tensor *y,
                   size_t n);
// dx = beta dx + dy f'(x)
void rows_activate_backward(enum activation f, float slope, const struct tensor *x,
                            const struct tensor *dy, const struct tensor *dx, size_t n, float beta);

// Pooling windows over x (h, w), y (p, q): p = (h + 2 pad_h - kernel_h) / stride_h + 1. Taps
// outside x do not exist for max; mean divides by all taps of the window where counts_pad (taps in
// the padding count, as PyTorch's count_include_pad), else by those inside x. pad < kernel.
struct rows_window {
    size_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    bool counts_pad;
};
void rows_pool_max(const struct rows_window *window, const struct tensor *x, const struct tensor *y,
                   size_t n);
// dx = beta dx + dy at the first tap (row by row) of each window with x == y
void rows_pool_max_backward(const struct rows_window *window, const struct tensor *x,
                            const struct tensor *y, const struct tensor *dy,
                            const struct tensor *dx, size_t n, float beta);

// Max pooling of v = x scale[c] + shift[c] (a batch-norm's output, and max(0, .) if relu), which is
// never made: y = the largest v of each window.
struct rows_pooled {
    struct rows_window window;
    struct tensor y, dy;        // dy: in backward
    const float *scale, *shift; // (c)
    bool relu;
};
void rows_pool_norm(const struct rows_pooled *pooled, const struct tensor *x, size_t n);
// The norm's backward, as rows_norm_sums and rows_norm_backward: dy', of the shape of x, has the dy
// of each window at its first tap with v == y (where y > 0, if relu), else 0.
void rows_pool_norm_sums(const struct rows_pooled *pooled, const struct tensor *x, size_t n,
                         const float *mean, float *sum_dy, float *sum_dyx);
// work: rows_pool_norm_floats
void rows_pool_norm_backward(const struct rows_pooled *pooled, const struct tensor *x,
                             const struct tensor *dx, size_t n, const float *b, const float *d,
                             float beta, float *work);
size_t rows_pool_norm_floats(const struct rows_window *window, struct shape x);

void rows_pool_mean(const struct rows_window *window, const struct tensor *x,
                    const struct tensor *y, size_t n);
void rows_pool_mean_backward(const struct rows_window *window, const struct tensor *dy,
                             const struct tensor *dx, size_t n, float beta);

// exp of n floats, relative error below 2e-7, the same bits wherever the instruction set is the
// same (no libm).
void rows_exp(const float *x, float *y, size_t n);
// Fused multiply-adds on registers, for whoever times them: returns how many FLOP they were.
double rows_fma(size_t rounds);
float rows_log(float x); // natural logarithm, correct to 2 ulp, no libm

#endif
