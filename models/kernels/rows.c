// SPDX-License-Identifier: MIT
// Sends each function of rows.h to the table of the instruction set in force. Owns no loop but the
// scalar logarithm. Called by layers and losses.
#include "models/kernels/rows.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "comm/isa.h"
#include "models/kernels/rows_table.h"

static const struct rows_table *table(void)
{
    return isa_choose(&rows_table_base, &rows_table_avx2, &rows_table_avx512);
}

void rows_copy(const struct tensor *x, const struct tensor *y, size_t n)
{
    table()->accumulate(x, y, n, 0);
}

void rows_accumulate(const struct tensor *x, const struct tensor *y, size_t n, float beta)
{
    table()->accumulate(x, y, n, beta);
}

void rows_accumulate_channels(const struct tensor *x, size_t x_first, const struct tensor *y,
                              size_t y_first, size_t n, size_t channels, float beta)
{
    table()->accumulate_channels(x, x_first, y, y_first, n, channels, beta);
}

void rows_add(const struct tensor *a, const struct tensor *b, const struct tensor *y, size_t n,
              bool relu)
{
    table()->add(a, b, y, n, relu);
}

void rows_add_backward(const struct tensor *y, const struct tensor *dy, const struct tensor *da,
                       const struct tensor *db, size_t n, float beta_a, float beta_b)
{
    table()->add_backward(y, dy, da, db, n, beta_a, beta_b);
}

void rows_bias(const struct tensor *y, size_t n, const float *bias, bool relu)
{
    if (bias)
        table()->scale_shift(y, y, n, NULL, bias, relu);
    else if (relu)
        table()->activate(ACT_RELU, 0, y, y, n);
}

void rows_relu_mask(const struct tensor *y, const struct tensor *dy, size_t n)
{
    table()->relu_mask(y, dy, n);
}

void rows_channel_sum(const struct tensor *x, size_t n, float *out)
{
    table()->channel_sum(x, n, out);
}

void rows_moments(const struct tensor *x, size_t n, float *mean, float *variance)
{
    table()->moments(x, n, mean, variance);
}

void rows_scale_shift(const struct tensor *x, const struct tensor *y, size_t n, const float *scale,
                      const float *shift, bool relu)
{
    table()->scale_shift(x, y, n, scale, shift, relu);
}

void rows_norm_sums(const struct tensor *x, const struct tensor *dy, size_t n, const float *mean,
                    const float *scale, const float *shift, float *sum_dy, float *sum_dyx)
{
    table()->norm_sums(x, dy, n, mean, scale, shift, sum_dy, sum_dyx);
}

void rows_norm_sums_mask(const struct tensor *x, const struct tensor *y, const struct tensor *dy,
                         size_t n, const float *mean, float *sum_dy, float *sum_dyx)
{
    table()->norm_sums_mask(x, y, dy, n, mean, sum_dy, sum_dyx);
}

void rows_norm_add(const struct tensor *a, const float *a_scale, const float *a_shift,
                   const struct tensor *b, const float *b_scale, const float *b_shift,
                   const struct tensor *y, size_t n, bool relu)
{
    table()->norm_add(a, a_scale, a_shift, b, b_scale, b_shift, y, n, relu);
}

void rows_norm_backward(const struct tensor *x, const struct tensor *dy, const struct tensor *dx,
                        size_t n, const float *scale, const float *shift, const float *b,
                        const float *d, float beta)
{
    table()->norm_backward(x, dy, dx, n, scale, shift, b, d, beta);
}

void rows_activate(enum activation f, float slope, const struct tensor *x, const struct tensor *y,
                   size_t n)
{
    table()->activate(f, slope, x, y, n);
}

void rows_activate_backward(enum activation f, float slope, const struct tensor *x,
                            const struct tensor *dy, const struct tensor *dx, size_t n, float beta)
{
    table()->activate_backward(f, slope, x, dy, dx, n, beta);
}

void rows_pool_max(const struct rows_window *window, const struct tensor *x, const struct tensor *y,
                   size_t n)
{
    table()->pool_max(window, x, y, n);
}

void rows_pool_max_backward(const struct rows_window *window, const struct tensor *x,
                            const struct tensor *y, const struct tensor *dy,
                            const struct tensor *dx, size_t n, float beta)
{
    table()->pool_max_backward(window, x, y, dy, dx, n, beta);
}

void rows_pool_norm(const struct rows_pooled *pooled, const struct tensor *x, size_t n)
{
    table()->pool_norm(pooled, x, n);
}

void rows_pool_norm_sums(const struct rows_pooled *pooled, const struct tensor *x, size_t n,
                         const float *mean, float *sum_dy, float *sum_dyx)
{
    table()->pool_norm_sums(pooled, x, n, mean, sum_dy, sum_dyx);
}

void rows_streams_end(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

void rows_pool_norm_backward(const struct rows_pooled *pooled, const struct tensor *x,
                             const struct tensor *dx, size_t n, const float *b, const float *d,
                             float beta, float *work)
{
    table()->pool_norm_backward(pooled, x, dx, n, b, d, beta, work);
    rows_streams_end(); // of a large dx
}

// Rows that a row of windows reaches, and those up to the next.
size_t rows_pool_norm_floats(const struct rows_window *window, struct shape x)
{
    return (window->kernel_h + window->stride_h) * x.w * x.c;
}

void rows_pool_mean(const struct rows_window *window, const struct tensor *x,
                    const struct tensor *y, size_t n)
{
    table()->pool_mean(window, x, y, n);
}

void rows_pool_mean_backward(const struct rows_window *window, const struct tensor *dy,
                             const struct tensor *dx, size_t n, float beta)
{
    table()->pool_mean_backward(window, dy, dx, n, beta);
}

void rows_tile_pack(const struct rows_tile *tile, float *copy, float *transposed)
{
    table()->tile_pack(tile, copy, transposed);
}

void rows_exp(const float *x, float *y, size_t n)
{
    table()->exp(x, y, n);
}

double rows_fma(size_t rounds)
{
    return table()->fma(rounds);
}

// x = m 2^k with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m - 1) / (m + 1)) as its series, in
// double, whose error is far below a float's.
float rows_log(float x)
{
    if (!(x > 0))
        return x == 0 ? -__builtin_inff() : __builtin_nanf("");
    if (x > 0x1.fffffep127f)
        return x;
    double m = (double)x;
    uint64_t bits = 0;
    memcpy(&bits, &m, sizeof bits);
    int k = (int)(bits >> 52) - 1022; // m in [0.5, 1)
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1022 << 52;
    memcpy(&m, &bits, sizeof m);
    if (m < 0.70710678118654752) {
        m *= 2;
        k--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int i = 21; i >= 1; i -= 2)
        sum = sum * s2 + 1.0 / i;
    return (float)(2 * s * sum + k * 0.69314718055994530942);
}
