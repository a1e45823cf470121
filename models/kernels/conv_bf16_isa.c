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

// The first n of a vector.
TEMPLATE __mmask16 part_of(size_t n)
{
    return (__mmask16)(n < BF16_VECTOR ? (1u << n) - 1 : 0xffffu);
}

// The last vector of a block may be part of one.
TEMPLATE __mmask16 mask_of(size_t width)
{
    return part_of((width - 1) % BF16_VECTOR + 1);
}

// ---- forward and backward data ----

// Groups of G pixels next to each other in a row; the last of a row may be partial.
struct cursor {
    size_t row, column;
    const uint16_t *x, *x_row, *x_image;
    float *y, *y_row, *y_image;
};

TEMPLATE struct cursor cursor_at(const struct bf16_product *p)
{
    return (struct cursor){0, 0, p->x, p->x, p->x, p->y, p->y, p->y};
}

TEMPLATE void cursor_next(const struct bf16_grid *g, struct cursor *at, size_t G)
{
    at->column += G;
    at->x += G * g->x_column;
    at->y += G * g->y_column;
    if (at->column < g->columns)
        return;
    at->column = 0;
    at->x_row += g->x_row;
    at->y_row += g->y_row;
    if (++at->row == g->rows) {
        at->row = 0;
        at->x_row = at->x_image += g->x_image;
        at->y_row = at->y_image += g->y_image;
    }
    at->x = at->x_row;
    at->y = at->y_row;
}

// N groups.
struct places {
    const uint16_t *x[8];
    float *y[8];
    size_t count[8]; // pixels of the group that exist; 0: a repeated group, not stored
    bool is_whole;   // all of them
};

TEMPLATE void product_store(int V, int N, int G, const struct bf16_product *p,
                            const struct places *at, const __m512 sum[])
{
    const size_t step = p->grid->y_column;
    if (at->is_whole && !p->beta && p->width == (size_t)V * BF16_VECTOR) {
        UNROLL for (int i = 0; i < N * G; i++) UNROLL for (int v = 0; v < V; v++)
            _mm512_storeu_ps(at->y[i / G] + (size_t)(i % G) * step + v * 16, sum[i * V + v]);
        return;
    }
    const __mmask16 mask = mask_of(p->width);
    UNROLL for (int i = 0; i < N * G; i++)
    {
        if ((size_t)(i % G) >= at->count[i / G])
            continue;
        float *y = at->y[i / G] + (size_t)(i % G) * step;
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

// N groups of G pixels, V vectors of channels out.
TEMPLATE void product_block(int V, int N, int G, const struct bf16_product *p,
                            const struct places *at)
{
    const size_t step = p->grid->x_column;
    __m512 sum[24];
    UNROLL for (int i = 0; i < V * N * G; i++) sum[i] = _mm512_setzero_ps();
    const uint16_t *w = p->w;
    for (size_t r = 0; r < p->n_runs; r++) {
        const uint16_t *x[8];
        UNROLL for (int i = 0; i < N; i++) x[i] = at->x[i] + p->runs[r].at;
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
    product_store(V, N, G, p, at, sum);
}

// At most `left` groups, N at a time; fewer are made up by repeating the last.
TEMPLATE void product_some(int V, int N, int G, const struct bf16_product *p, struct cursor *at,
                           size_t left)
{
    struct places places = {.is_whole = true};
    UNROLL for (int i = 0; i < N; i++)
    {
        if ((size_t)i >= left) {
            places.x[i] = places.x[i - 1];
            places.y[i] = places.y[i - 1];
            places.count[i] = 0;
        } else {
            size_t count = p->grid->columns - at->column;
            places.x[i] = at->x;
            places.y[i] = at->y;
            places.count[i] = count < (size_t)G ? count : (size_t)G;
            cursor_next(p->grid, at, (size_t)G);
        }
        places.is_whole = places.is_whole && places.count[i] == (size_t)G;
    }
    product_block(V, N, G, p, &places);
}

// Blocks of N groups, and where that wastes less, of M < N.
TEMPLATE void product_all(int V, int N, int M, int G, const struct bf16_product *p)
{
    const struct bf16_grid *g = p->grid;
    struct cursor at = cursor_at(p);
    size_t left = g->images * g->rows * ((g->columns + (size_t)G - 1) / (size_t)G);
    while (left > 0) {
        if (left <= (size_t)M || (left > (size_t)N && left <= (size_t)(2 * M))) {
            product_some(V, M, G, p, &at, left);
            left -= left < (size_t)M ? left : (size_t)M;
        } else {
            product_some(V, N, G, p, &at, left);
            left -= left < (size_t)N ? left : (size_t)N;
        }
    }
}

static size_t vectors_of(size_t width)
{
    return (width + BF16_VECTOR - 1) / BF16_VECTOR;
}

void bf16_multiply(const struct bf16_product *p)
{
    switch (vectors_of(p->width)) {
    case 1:
        product_all(1, 4, 2, 4, p);
        break;
    case 2:
        product_all(2, 6, 4, 2, p);
        break;
    case 3:
        product_all(3, 8, 4, 1, p);
        break;
    default:
        product_all(4, 6, 4, 1, p);
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

// Blocks of J values, of M or L where no more are left (both at least 8 sums, which hides the
// latency); what lies beyond n_j is read, not stored.
TEMPLATE void outer_all(int V, int J, int M, int L, const struct bf16_outer *o)
{
    for (size_t j = 0; j < o->n_j;) {
        size_t left = o->n_j - j;
        if (left <= (size_t)L) {
            outer_block(V, L, o, j);
            j += (size_t)L;
        } else if (left <= (size_t)M || (left > (size_t)J && left <= (size_t)(2 * M))) {
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
        outer_all(1, 24, 16, 10, o);
        break;
    case 2:
        outer_all(2, 12, 8, 4, o);
        break;
    case 3:
        outer_all(3, 8, 6, 3, o);
        break;
    default:
        outer_all(4, 6, 4, 2, o);
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
        __mmask16 m = part_of(n - i);
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
    const __m512 zero = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_si512(to + 2 * i,
                            pairs_make(_mm512_loadu_ps(a + i), b ? _mm512_loadu_ps(b + i) : zero));
    if (i == n)
        return;
    __mmask16 m = part_of(n - i);
    __m512 second = b ? _mm512_maskz_loadu_ps(m, b + i) : zero;
    _mm512_mask_storeu_epi32(to + 2 * i, m, pairs_make(_mm512_maskz_loadu_ps(m, a + i), second));
}

void bf16_gather(const float *a, const float *b, size_t ld, size_t n, uint16_t *to)
{
    const __m512i at =
        _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                           _mm512_set1_epi32((int)ld));
    const __m512 zero = _mm512_setzero_ps();
    __mmask16 m = part_of(n);
    __m512 first = _mm512_mask_i32gather_ps(zero, m, at, a, 4);
    __m512 second = b ? _mm512_mask_i32gather_ps(zero, m, at, b, 4) : zero;
    _mm512_storeu_si512(to, pairs_make(first, second));
}

// In place: 16 x 16 words, by blocks of 8, 4, 2, 1 (Eklundh 1972).
TEMPLATE void words_transpose(__m512i v[16])
{
    const __m512i at = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    UNROLL for (int d = 8; d > 0; d /= 2)
    {
        // Words of the second operand have bit 4 set in the index.
        __mmask16 odd = _mm512_test_epi32_mask(at, _mm512_set1_epi32(d));
        __m512i low = _mm512_mask_add_epi32(at, odd, at, _mm512_set1_epi32(16 - d));
        __m512i high = _mm512_mask_add_epi32(_mm512_add_epi32(at, _mm512_set1_epi32(d)), odd, at,
                                             _mm512_set1_epi32(16));
        UNROLL for (int i = 0; i < 16; i++)
        {
            if (i & d)
                continue;
            __m512i a = v[i], b = v[i + d];
            v[i] = _mm512_permutex2var_epi32(a, low, b);
            v[i + d] = _mm512_permutex2var_epi32(a, high, b);
        }
    }
}

void bf16_transpose(const float *w, size_t ld, uint16_t *to, size_t step)
{
    __m512i v[16];
    UNROLL for (int i = 0; i < 16; i++)
    {
        const float *row = w + (size_t)i * ld;
        v[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + 16), _mm512_loadu_ps(row));
    }
    words_transpose(v);
    UNROLL for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + (size_t)i * step, v[i]);
}
