// SPDX-License-Identifier: MIT
// Vectors of the compiler (GCC and clang extensions) as wide as the instruction set's registers,
// and the few functions the loops of rows_*.inc.h need. Included by rows_isa.c and winograd_isa.c.
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "models/kernels/rows_table.h"

#if defined(__AVX512F__)
#define VEC 16
#elif defined(__AVX__)
#define VEC 8
#else
#define VEC 4
#endif

typedef float vec __attribute__((vector_size(VEC * 4)));
typedef int32_t vec_int __attribute__((vector_size(VEC * 4)));
typedef uint32_t vec_uint __attribute__((vector_size(VEC * 4)));
typedef float vec_loose __attribute__((vector_size(VEC * 4), aligned(4), may_alias));

// Templates: functions whose constant arguments are folded after inlining.
#define TEMPLATE static inline __attribute__((always_inline))

TEMPLATE vec vec_all(float x)
{
    return x - (vec){0};
}

TEMPLATE vec vec_load(const float *at)
{
    return *(const vec_loose *)at;
}

TEMPLATE void vec_store(float *at, vec x)
{
    *(vec_loose *)at = x;
}

// Past the caches, to an aligned address: where what is written is so much that it would be gone
// from them before it is read.
TEMPLATE void vec_stream(float *at, vec x)
{
#if defined(__AVX512F__)
    _mm512_stream_ps(at, (__m512)x);
#elif defined(__AVX__)
    _mm256_stream_ps(at, (__m256)x);
#elif defined(__SSE2__)
    _mm_stream_ps(at, (__m128)x);
#else
    vec_store(at, x);
#endif
}

// Asks for what a loop reads 8 KiB further on: what backward reads of forward comes from far, and
// the processor's own prefetching stays within a page.
TEMPLATE void vec_ahead(const float *at)
{
    __builtin_prefetch((const void *)((uintptr_t)at + 8192), 0);
}

// The first `part` floats, zeros behind them. part == VEC (a constant) is a whole vector.
TEMPLATE vec vec_load_part(const float *at, size_t part)
{
    if (part == VEC)
        return vec_load(at);
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << part) - 1), at);
#else
    vec x = {0};
    memcpy(&x, at, part * sizeof *at);
    return x;
#endif
}

TEMPLATE void vec_store_part(float *at, vec x, size_t part)
{
    if (part == VEC) {
        vec_store(at, x);
        return;
    }
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(at, (__mmask16)((1u << part) - 1), (__m512)x);
#else
    memcpy(at, &x, part * sizeof *at);
#endif
}

// mask ? a : b for each element; masks are what comparisons of vectors give (0 or -1).
TEMPLATE vec vec_select(vec_int mask, vec a, vec b)
{
    return (vec)((mask & (vec_int)a) | (~mask & (vec_int)b));
}

// y > 0 ? x : 0
TEMPLATE vec vec_where_positive(vec y, vec x)
{
#if defined(__AVX512F__)
    __mmask16 mask = _mm512_cmp_ps_mask((__m512)y, _mm512_setzero_ps(), _CMP_GT_OQ);
    return (vec)_mm512_maskz_mov_ps(mask, (__m512)x);
#else
    return (vec)((vec_int)x & (y > (vec){0}));
#endif
}

// max(0, x); NaN stays NaN, so that it is seen and not hidden
TEMPLATE vec vec_relu(vec x)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x); // of a NaN: the second operand
#elif defined(__AVX__)
    return (vec)_mm256_max_ps(_mm256_setzero_ps(), (__m256)x);
#elif defined(__SSE2__)
    return (vec)_mm_max_ps(_mm_setzero_ps(), (__m128)x);
#else
    return (vec)((vec_int)x & ~(x <= (vec){0}));
#endif
}

// exp: x = k ln 2 + r, Taylor-like polynomial of degree 6 (coefficients of Cephes' expf, Moshier),
// then 2^k in two factors, so that results below the normal range come out right. Relative error
// below 2e-7 where the result is normal.
TEMPLATE vec vec_exp(vec x)
{
    const vec most = vec_all(89.0f), least = vec_all(-104.0f), magic = vec_all(12582912.0f);
    x = vec_select(x > most, most, x); // NaN passes
    x = vec_select(x < least, least, x);
    vec shifted = x * 1.44269504088896341f + magic; // rounds to an integer
    vec k = shifted - magic;
    vec r = x - k * 0.693359375f; // exact: few bits
    r = r - k * -2.12194440e-4f;
    vec p = vec_all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    vec_int i = (vec_int)shifted - (vec_int)magic;
    vec_int half = i >> 1;
    vec a = (vec)((vec_uint)(half + 127) << 23), b = (vec)((vec_uint)(i - half + 127) << 23);
    return p * a * b;
}

// erfc(|x| / sqrt 2) / 2, the smaller tail of the normal distribution, and exp(-x^2 / 2):
// Abramowitz and Stegun 7.1.26, absolute error of erf below 1.5e-7 + rounding.
TEMPLATE vec vec_normal_tail(vec x, vec *bell)
{
    vec z = (vec)((vec_int)x & 0x7fffffff) * 0.70710678118654752f;
    vec t = 1.0f / (z * 0.3275911f + 1.0f);
    vec p = vec_all(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    *bell = vec_exp(-(z * z));
    return p * t * *bell * 0.5f;
}

// Tensors of the same shape as runs of contiguous floats: one run where all are dense.
struct runs {
    size_t images, rows, positions; // images x rows runs of positions x c floats
};

static inline bool is_one_run(const struct tensor *t)
{
    return t->row == t->w * t->c && t->image == t->h * t->row;
}

static inline struct runs runs_of(size_t n, const struct tensor *a, const struct tensor *b,
                                  const struct tensor *c, const struct tensor *d)
{
    if (is_one_run(a) && (!b || is_one_run(b)) && (!c || is_one_run(c)) && (!d || is_one_run(d)))
        return (struct runs){1, 1, n * a->h * a->w};
    return (struct runs){n, a->h, a->w};
}

// Are n samples so large that they are better streamed, and all their vectors aligned?
static inline bool vec_can_stream(const struct tensor *t, size_t n)
{
    const size_t most = (size_t)4 << 20; // floats
    return n * t->image > most && t->c % VEC == 0 && (uintptr_t)t->at % sizeof(vec) == 0;
}

// Address of a run of a tensor that may be absent.
static inline float *run_at(const struct tensor *t, size_t image, size_t row)
{
    return t ? tensor_row(t, image, row) : NULL;
}
