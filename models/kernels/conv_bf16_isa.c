// SPDX-License-Identifier: MIT
// The loops of conv_bf16_isa.h in AVX512_BF16. Owns no memory. Called by conv_bf16*.c.
#include "models/kernels/conv_bf16_isa.h"

#include <immintrin.h>

#define TEMPLATE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

typedef int32_t int_loose __attribute__((aligned(1), may_alias));

TEMPLATE __m512bh pair_all(const uint16_t *at)
{
    return (__m512bh)_mm512_set1_epi32(*(const int_loose *)at);
}

TEMPLATE __m512bh pairs_load(const uint16_t *at)
{
    return (__m512bh)_mm512_loadu_si512(at);
}

// The last vector of a block may be part of one.
TEMPLATE __mmask16 mask_of(size_t width)
{
    size_t part = (width - 1) % BF16_VECTOR + 1;
    return (__mmask16)((1u << part) - 1);
}

// ---- forward and backward data ----

// Groups of G pixels next to each other in a row; the last of a row may be partial.
struct cursor {
    size_t image, row, column;
};

TEMPLATE struct cursor cursor_at(const struct bf16_grid *grid, size_t group, size_t G)
{
    size_t a_row = (grid->columns + G - 1) / G;
    size_t row = group / a_row;
    return (struct cursor){row / grid->rows, row % grid->rows, group % a_row * G};
}

TEMPLATE void cursor_next(const struct bf16_grid *grid, struct cursor *at, size_t G)
{
    at->column += G;
    if (at->column < grid->columns)
        return;
    at->column = 0;
    if (++at->row < grid->rows)
        return;
    at->row = 0;
    at->image++;
}

struct place {
    const uint16_t *x;
    float *y;
    size_t count; // pixels of the group that exist; 0: a repeated group, not stored
};

TEMPLATE struct place place_of(const struct bf16_product *p, const struct cursor *at, size_t G)
{
    const struct bf16_grid *g = p->grid;
    size_t left = g->columns - at->column;
    return (struct place){
        p->x + at->image * g->x_image + at->row * g->x_row + at->column * g->x_column,
        p->y + at->image * g->y_image + at->row * g->y_row + at->column * g->y_column,
        left < G ? left : G};
}

// N groups of G pixels, V vectors of channels out.
TEMPLATE void product_block(int V, int N, int G, const struct bf16_product *p,
                            const struct place place[])
{
    const size_t step = p->grid->x_column, y_step = p->grid->y_column;
    const __mmask16 mask = mask_of(p->width);
    __m512 sum[24];
    UNROLL for (int i = 0; i < V * N * G; i++) sum[i] = _mm512_setzero_ps();
    const uint16_t *w = p->w;
    for (size_t r = 0; r < p->n_runs; r++) {
        const uint16_t *x[8];
        UNROLL for (int i = 0; i < N; i++) x[i] = place[i].x + p->runs[r].at;
        const size_t pairs = bf16_pairs(&p->runs[r]);
        for (size_t c = 0; c < pairs; c++) {
            __m512bh a[4];
            UNROLL for (int v = 0; v < V; v++) a[v] = pairs_load(w + v * 32);
            w += V * 32;
            UNROLL for (int i = 0; i < N * G; i++)
            {
                __m512bh b = pair_all(x[i / G] + 2 * c + (size_t)(i % G) * step);
                UNROLL for (int v = 0; v < V; v++) sum[i * V + v] =
                    _mm512_dpbf16_ps(sum[i * V + v], a[v], b);
            }
        }
    }
    UNROLL for (int i = 0; i < N * G; i++)
    {
        if ((size_t)(i % G) >= place[i / G].count)
            continue;
        float *y = place[i / G].y + (size_t)(i % G) * y_step;
        UNROLL for (int v = 0; v < V; v++)
        {
            __mmask16 m = v == V - 1 ? mask : (__mmask16)0xffff;
            __m512 s = sum[i * V + v];
            if (p->beta)
                s = _mm512_add_ps(s, _mm512_maskz_loadu_ps(m, y + v * 16));
            _mm512_mask_storeu_ps(y + v * 16, m, s);
        }
    }
}

// Groups [first, last), N at a time; fewer are made up by repeating the last.
TEMPLATE size_t product_some(int V, int N, int G, const struct bf16_product *p, struct cursor *at,
                             size_t first, size_t last)
{
    struct place place[8];
    for (size_t i = 0; i < (size_t)N; i++) {
        if (first + i >= last) {
            place[i] = place[i - 1];
            place[i].count = 0;
            continue;
        }
        place[i] = place_of(p, at, (size_t)G);
        cursor_next(p->grid, at, (size_t)G);
    }
    product_block(V, N, G, p, place);
    return first + (size_t)N;
}

// Blocks of N groups, and where that wastes less, of M < N.
TEMPLATE void product_all(int V, int N, int M, int G, const struct bf16_product *p, size_t first,
                          size_t last)
{
    struct cursor at = cursor_at(p->grid, first, (size_t)G);
    while (first < last) {
        size_t left = last - first;
        if (left <= (size_t)M || (left > (size_t)N && left <= (size_t)(2 * M)))
            first = product_some(V, M, G, p, &at, first, last);
        else
            first = product_some(V, N, G, p, &at, first, last);
    }
}

static size_t vectors_of(size_t width)
{
    return (width + BF16_VECTOR - 1) / BF16_VECTOR;
}

static size_t group_of(size_t width)
{
    return vectors_of(width) == 1 ? 4 : vectors_of(width) == 2 ? 2 : 1;
}

size_t bf16_groups(const struct bf16_grid *grid, size_t width)
{
    size_t G = group_of(width);
    return grid->images * grid->rows * ((grid->columns + G - 1) / G);
}

void bf16_multiply(const struct bf16_product *p, size_t first, size_t last)
{
    switch (vectors_of(p->width)) {
    case 1:
        product_all(1, 4, 2, 4, p, first, last);
        break;
    case 2:
        product_all(2, 6, 4, 2, p, first, last);
        break;
    case 3:
        product_all(3, 8, 4, 1, p, first, last);
        break;
    default:
        product_all(4, 6, 4, 1, p, first, last);
    }
}

// ---- backward weights ----

// J values of x from j on, V vectors of dy.
TEMPLATE void outer_block(int V, int J, const struct bf16_outer *o, size_t j)
{
    const struct bf16_grid *g = o->grid;
    __m512 sum[24];
    UNROLL for (int i = 0; i < V * J; i++) sum[i] = _mm512_setzero_ps();
    const uint16_t *dy = o->dy;
    const size_t step = 2 * g->x_column;
    for (size_t n = 0; n < g->images; n++)
        for (size_t h = 0; h < g->rows; h++) {
            const uint16_t *x = o->x + 2 * (n * g->x_image + h * g->x_row + j);
            for (size_t w = 0; w < g->columns; w++, x += step, dy += V * 32) {
                __m512bh a[4];
                UNROLL for (int v = 0; v < V; v++) a[v] = pairs_load(dy + v * 32);
                UNROLL for (int i = 0; i < J; i++)
                {
                    __m512bh b = pair_all(x + 2 * i);
                    UNROLL for (int v = 0; v < V; v++) sum[i * V + v] =
                        _mm512_dpbf16_ps(sum[i * V + v], a[v], b);
                }
            }
        }
    const __mmask16 mask = mask_of(o->width);
    UNROLL for (int i = 0; i < J; i++)
    {
        if (j + (size_t)i >= o->n_j)
            continue;
        float *dw = o->dw + (j + (size_t)i) * o->ld;
        UNROLL for (int v = 0; v < V; v++)
        {
            __mmask16 m = v == V - 1 ? mask : (__mmask16)0xffff;
            __m512 s = sum[i * V + v];
            if (o->beta)
                s = _mm512_add_ps(s, _mm512_maskz_loadu_ps(m, dw + v * 16));
            _mm512_mask_storeu_ps(dw + v * 16, m, s);
        }
    }
}

// Blocks of J values, and of M where no more are left; what lies beyond n_j is read, not stored.
TEMPLATE void outer_all(int V, int J, int M, const struct bf16_outer *o)
{
    for (size_t j = 0; j < o->n_j;) {
        size_t left = o->n_j - j;
        if (left <= (size_t)M || (left > (size_t)J && left <= (size_t)(2 * M))) {
            outer_block(V, M, o, j);
            j += (size_t)M;
        } else {
            outer_block(V, J, o, j);
            j += (size_t)J;
        }
    }
}

void bf16_multiply_outer(const struct bf16_outer *o)
{
    switch (vectors_of(o->width)) {
    case 1:
        outer_all(1, 24, 16, o);
        break;
    case 2:
        outer_all(2, 12, 8, o);
        break;
    case 3:
        outer_all(3, 8, 4, o);
        break;
    default:
        outer_all(4, 6, 4, o);
    }
}

// ---- conversion ----

void bf16_convert(const float *from, uint16_t *to, size_t n)
{
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16),
                                                                 _mm512_loadu_ps(from + i)));
    for (; i < n; i += 16) {
        __mmask16 m = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        _mm256_mask_storeu_epi16(to + i, m,
                                 (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(m, from + i)));
    }
}

// 16 pairs (low: a, high: b).
TEMPLATE __m512i pairs_make(__m512 a, __m512 b)
{
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

void bf16_interleave(const float *a, const float *b, uint16_t *to, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        __m512 first = _mm512_maskz_loadu_ps(m, a + i);
        __m512 second = b ? _mm512_maskz_loadu_ps(m, b + i) : _mm512_setzero_ps();
        _mm512_mask_storeu_epi32(to + 2 * i, m, pairs_make(first, second));
    }
}

void bf16_gather(const float *a, const float *b, size_t ld, size_t n, uint16_t *to)
{
    const __m512i at =
        _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                           _mm512_set1_epi32((int)ld));
    const __m512 zero = _mm512_setzero_ps();
    __mmask16 m = (__mmask16)((1u << n) - 1);
    __m512 first = _mm512_mask_i32gather_ps(zero, m, at, a, 4);
    __m512 second = b ? _mm512_mask_i32gather_ps(zero, m, at, b, 4) : zero;
    _mm512_storeu_si512(to, pairs_make(first, second));
}
