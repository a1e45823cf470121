// SPDX-License-Identifier: MIT
// The kernels of dense_table.h, compiled once for each instruction set with -DROWS_ISA=<name>.
#include "models/kernels/dense_table.h"

#include "models/kernels/rows_vec.inc.h"

// Backward data: dot products along K, as many at a time as a vector has places.

#define ROWS 4            // of w in a tile
#define SAMPLES (VEC / 4) // of dy in a tile

typedef float quarter __attribute__((vector_size(16)));

// Of four vectors: within each 16 bytes, the sums of those of a, b, c, d.
TEMPLATE vec fold_quarters(vec a, vec b, vec c, vec d)
{
#if VEC == 16
    vec ab = (vec)_mm512_unpacklo_ps((__m512)a, (__m512)b) +
             (vec)_mm512_unpackhi_ps((__m512)a, (__m512)b);
    vec cd = (vec)_mm512_unpacklo_ps((__m512)c, (__m512)d) +
             (vec)_mm512_unpackhi_ps((__m512)c, (__m512)d);
    return (vec)_mm512_shuffle_ps((__m512)ab, (__m512)cd, 0x44) +
           (vec)_mm512_shuffle_ps((__m512)ab, (__m512)cd, 0xee);
#elif VEC == 8
    vec ab = (vec)_mm256_unpacklo_ps((__m256)a, (__m256)b) +
             (vec)_mm256_unpackhi_ps((__m256)a, (__m256)b);
    vec cd = (vec)_mm256_unpacklo_ps((__m256)c, (__m256)d) +
             (vec)_mm256_unpackhi_ps((__m256)c, (__m256)d);
    return (vec)_mm256_shuffle_ps((__m256)ab, (__m256)cd, 0x44) +
           (vec)_mm256_shuffle_ps((__m256)ab, (__m256)cd, 0xee);
#else
    vec ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    vec cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) +
           __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#endif
}

// Element i: the sum of the elements of x[i].
TEMPLATE vec fold_all(const vec x[VEC])
{
    vec part[SAMPLES];
#pragma GCC unroll 4
    for (int i = 0; i < SAMPLES; i++)
        part[i] = fold_quarters(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
#if VEC == 16
    __m512 low = _mm512_shuffle_f32x4((__m512)part[0], (__m512)part[1], 0x88) +
                 _mm512_shuffle_f32x4((__m512)part[0], (__m512)part[1], 0xdd);
    __m512 high = _mm512_shuffle_f32x4((__m512)part[2], (__m512)part[3], 0x88) +
                  _mm512_shuffle_f32x4((__m512)part[2], (__m512)part[3], 0xdd);
    return (vec)(_mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xdd));
#elif VEC == 8
    return (vec)(_mm256_permute2f128_ps((__m256)part[0], (__m256)part[1], 0x20) +
                 _mm256_permute2f128_ps((__m256)part[0], (__m256)part[1], 0x31));
#else
    return part[0];
#endif
}

// Element SAMPLE * ROWS + ROW: their product.
TEMPLATE vec tile_products(const float *const w[ROWS], const float *const dy[SAMPLES], size_t k)
{
    vec sum[VEC];
#pragma GCC unroll 16
    for (int i = 0; i < VEC; i++)
        sum[i] = (vec){0};
    size_t at = 0;
    for (; at + VEC <= k; at += VEC) {
        vec a[ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            a[r] = vec_load(w[r] + at);
            vec_ahead(w[r] + at);
        }
#pragma GCC unroll 4
        for (int i = 0; i < SAMPLES; i++) {
            vec b = vec_load(dy[i] + at);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++)
                sum[i * ROWS + r] += a[r] * b;
        }
    }
    if (at < k)
#pragma GCC unroll 4
        for (int i = 0; i < SAMPLES; i++)
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++)
                sum[i * ROWS + r] +=
                    vec_load_part(w[r] + at, k - at) * vec_load_part(dy[i] + at, k - at);
    return fold_all(sum);
}

// At an edge the last row and sample stand in for those that are not there.
TEMPLATE void tile_run(const struct dense *d, const float *w, const float *dy, float *dx,
                       size_t n_rows, size_t n_samples)
{
    const float *w_row[ROWS], *dy_row[SAMPLES];
    for (size_t r = 0; r < ROWS; r++)
        w_row[r] = w + (r < n_rows ? r : n_rows - 1) * d->k;
    for (size_t i = 0; i < SAMPLES; i++)
        dy_row[i] = dy + (i < n_samples ? i : n_samples - 1) * d->dy_image;
    vec all = tile_products(w_row, dy_row, d->k);
    float sums[VEC];
    memcpy(sums, &all, sizeof all);
    for (size_t i = 0; i < n_samples; i++) {
        float *to = dx + i * d->dx_image;
        const float *from = sums + i * ROWS;
        if (n_rows == ROWS) {
            quarter x, y = {0};
            memcpy(&x, from, sizeof x);
            if (d->dx_beta)
                memcpy(&y, to, sizeof y);
            x = x + y;
            memcpy(to, &x, sizeof x);
            continue;
        }
        for (size_t r = 0; r < n_rows; r++)
            to[r] = d->dx_beta ? to[r] + from[r] : from[r];
    }
}

static void data(const struct dense *d, const float *w, const float *dy, float *dx, size_t n)
{
    for (size_t c = 0; c < d->c; c += ROWS)
        for (size_t i = 0; i < n; i += SAMPLES) {
            size_t n_rows = d->c - c < ROWS ? d->c - c : ROWS;
            size_t n_samples = n - i < SAMPLES ? n - i : SAMPLES;
            const float *w_at = w + c * d->k, *dy_at = dy + i * d->dy_image;
            float *dx_at = dx + i * d->dx_image + c;
            if (n_rows == ROWS && n_samples == SAMPLES)
                tile_run(d, w_at, dy_at, dx_at, ROWS, SAMPLES);
            else
                tile_run(d, w_at, dy_at, dx_at, n_rows, n_samples);
        }
}

// Backward weights: a block of dw stays in registers while the samples go by, and is written once.

#if VEC == 16
#define WIDE 4 // vectors of K in a block
#define DEEP 6 // rows of C
#else
#define WIDE 2
#define DEEP 5
#endif

// part: of the last vector.
TEMPLATE void weights_block(const struct dense *d, const float *x, const float *dy, float *dw,
                            size_t n, const bool adds, const int wide, const int deep,
                            const size_t part)
{
    vec sum[WIDE * DEEP];
#pragma GCC unroll 24
    for (int i = 0; i < wide * deep; i++)
        sum[i] = (vec){0};
    for (size_t s = 0; s < n; s++, x += d->x_image, dy += d->dy_image) {
        vec a[WIDE];
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++)
            a[v] = vec_load_part(dy + v * VEC, v < wide - 1 ? VEC : part);
#pragma GCC unroll 6
        for (int r = 0; r < deep; r++)
#pragma GCC unroll 4
            for (int v = 0; v < wide; v++)
                sum[r * wide + v] += a[v] * x[r];
    }
#pragma GCC unroll 6
    for (int r = 0; r < deep; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) {
            float *to = dw + (size_t)r * d->k + v * VEC;
            size_t count = v < wide - 1 ? VEC : part;
            vec y = sum[r * wide + v];
            vec_store_part(to, adds ? vec_load_part(to, count) + y : y, count);
        }
}

TEMPLATE void weights_row(const struct dense *d, const float *x, const float *dy, float *dw,
                          size_t n, const bool adds, const int deep)
{
    size_t k = 0;
    for (; k + WIDE * VEC <= d->k; k += WIDE * VEC)
        weights_block(d, x, dy + k, dw + k, n, adds, WIDE, deep, VEC);
    for (; k + VEC <= d->k; k += VEC)
        weights_block(d, x, dy + k, dw + k, n, adds, 1, deep, VEC);
    if (k < d->k)
        weights_block(d, x, dy + k, dw + k, n, adds, 1, deep, d->k - k);
}

TEMPLATE void weights_all(const struct dense *d, const float *x, const float *dy, float *dw,
                          size_t n, const bool adds)
{
    size_t c = 0;
    for (; c + DEEP <= d->c; c += DEEP)
        weights_row(d, x + c, dy, dw + c * d->k, n, adds, DEEP);
    for (; c < d->c; c++)
        weights_row(d, x + c, dy, dw + c * d->k, n, adds, 1);
}

static void weights(const struct dense *d, const float *x, const float *dy, float *dw, size_t n,
                    bool adds)
{
    if (adds)
        weights_all(d, x, dy, dw, n, true);
    else
        weights_all(d, x, dy, dw, n, false);
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

const struct dense_table JOIN(dense_table_, ROWS_ISA) = {data, weights};
