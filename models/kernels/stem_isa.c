// SPDX-License-Identifier: MIT
// The kernels of stem_table.h, compiled once for each instruction set with -DROWS_ISA=<name>.
// Templates over the numbers that decide how many registers hold sums.
#include "models/kernels/stem_table.h"

#include "models/kernels/rows_vec.inc.h"

// Columns [q, q + nb) of a row, mv vectors of K.
TEMPLATE void forward_block(const struct stem *s, const float *x, const float *w, float *y,
                            const int span, const int step, const int mv, const int nb)
{
    vec sum[28];
#pragma GCC unroll 28
    for (int i = 0; i < mv * nb; i++)
        sum[i] = (vec){0};
    for (size_t r = 0; r < s->rows; r++, x += s->tap_row)
        for (int j = 0; j < span; j++, w += s->k) {
            vec a[4];
            __asm__ volatile("" ::: "memory"); // or values of x would crowd out sums
#pragma GCC unroll 4
            for (int v = 0; v < mv; v++)
                a[v] = vec_load(w + v * VEC);
#pragma GCC unroll 28
            for (int i = 0; i < nb; i++) {
                vec b = vec_all(x[i * step + j]);
#pragma GCC unroll 4
                for (int v = 0; v < mv; v++)
                    sum[i * mv + v] += a[v] * b;
            }
        }
#pragma GCC unroll 28
    for (int i = 0; i < nb; i++)
#pragma GCC unroll 4
        for (int v = 0; v < mv; v++)
            vec_store(y + (size_t)i * s->k + (size_t)v * VEC, sum[i * mv + v]);
}

// Blocks of nb columns; the last one overlaps, writing the same numbers again.
TEMPLATE void forward_row(const struct stem *s, const float *x, const float *w, float *y,
                          const int span, const int step, const int mv, const int nb)
{
    const size_t q_all = s->columns, n = (size_t)nb;
    for (size_t k = 0; k < s->k; k += (size_t)mv * VEC) {
        if (q_all < n)
            for (size_t q = 0; q < q_all; q++)
                forward_block(s, x + q * (size_t)step, w + k, y + q * s->k + k, span, step, mv, 1);
        for (size_t q = 0; q_all >= n && q < q_all; q += n) {
            size_t at = q + n <= q_all ? q : q_all - n;
            forward_block(s, x + at * (size_t)step, w + k, y + at * s->k + k, span, step, mv, nb);
        }
    }
}

// Rows [r, r + rows) of the kernel, mv vectors of K: all their sums stay in registers.
TEMPLATE void weights_block(const struct stem *s, const float *x, size_t x_row, const float *dy,
                            size_t dy_row, size_t n_rows, float *dw, const int rows, const int span,
                            const int mv)
{
    vec sum[28];
#pragma GCC unroll 28
    for (int i = 0; i < rows * span * mv; i++)
        sum[i] = (vec){0};
    for (size_t p = 0; p < n_rows; p++) {
        const float *b = x + p * x_row, *a = dy + p * dy_row;
        for (size_t q = 0; q < s->columns; q++, b += s->step, a += s->k) {
            vec g[4];
#pragma GCC unroll 4
            for (int v = 0; v < mv; v++)
                g[v] = vec_load(a + v * VEC);
#pragma GCC unroll 4
            for (int v = 0; v < mv; v++) // dy may come from memory; with many sums loads are scarce
                if (rows * span * mv < 24)
                    __builtin_prefetch(a + 2048 + v * VEC);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 28
                for (int j = 0; j < span; j++)
#pragma GCC unroll 4
                    for (int v = 0; v < mv; v++)
                        sum[(r * span + j) * mv + v] +=
                            g[v] * vec_all(b[(size_t)r * s->tap_row + (size_t)j]);
        }
    }
#pragma GCC unroll 28
    for (int i = 0; i < rows * span; i++)
#pragma GCC unroll 4
        for (int v = 0; v < mv; v++) {
            float *at = dw + (size_t)i * s->k + (size_t)v * VEC;
            vec_store(at, vec_load(at) + sum[i * mv + v]);
        }
}

// A row of the kernel with more sums than there are registers is done in two halves.
TEMPLATE void weights_image(const struct stem *s, const float *x, size_t x_row, const float *dy,
                            size_t dy_row, size_t n_rows, float *dw, const int rows, const int span,
                            const int mv)
{
    const int part = rows * span * mv > 28 ? (span + 1) / 2 : span;
    for (size_t r = 0; r < s->rows; r += (size_t)rows)
        for (size_t k = 0; k < s->k; k += (size_t)mv * VEC) {
            const float *from = x + r * s->tap_row;
            float *to = dw + r * (size_t)span * s->k + k;
            weights_block(s, from, x_row, dy + k, dy_row, n_rows, to, rows, part, mv);
            if (part < span)
                weights_block(s, from + part, x_row, dy + k, dy_row, n_rows,
                              to + (size_t)part * s->k, rows, span - part, mv);
        }
}

// FORWARD(span, step, vectors, columns), WEIGHTS(rows, span, vectors): at most 28 sums of 32
// registers, 12 of 16. The first number of vectors that fits is taken; two vectors load half as
// much for a multiply-add as one. Of several blocks of columns, the one that repeats fewest.
#if VEC == 16
#define FORWARDS                                                                                   \
    FORWARD(3, 1, 2, 14)                                                                           \
    FORWARD(3, 1, 2, 11)                                                                           \
    FORWARD(3, 1, 1, 16) FORWARD(9, 3, 2, 14) FORWARD(9, 3, 2, 11) FORWARD(9, 3, 1, 16)
#define WEIGHTSS                                                                                   \
    WEIGHTS(3, 3, 2)                                                                               \
    WEIGHTS(3, 3, 1)                                                                               \
    WEIGHTS(1, 9, 2)                                                                               \
    WEIGHTS(3, 9, 1) WEIGHTS(5, 5, 1) WEIGHTS(1, 15, 1) WEIGHTS(1, 21, 2)
#else
#define FORWARDS FORWARD(3, 1, 2, 4) FORWARD(3, 1, 1, 8) FORWARD(9, 3, 2, 4) FORWARD(9, 3, 1, 8)
#define WEIGHTSS WEIGHTS(3, 3, 1) WEIGHTS(1, 9, 1) WEIGHTS(1, 5, 2) WEIGHTS(1, 5, 1)
#endif

#define FORWARD(span, step, mv, nb)                                                                \
    static void forward_##span##_##step##_##mv##_##nb(const struct stem *s, const float *x,        \
                                                      const float *w, float *y)                    \
    {                                                                                              \
        forward_row(s, x, w, y, span, step, mv, nb);                                               \
    }
#define WEIGHTS(rows, span, mv)                                                                    \
    static void weights_##rows##_##span##_##mv(const struct stem *s, const float *x, size_t x_row, \
                                               const float *dy, size_t dy_row, size_t n_rows,      \
                                               float *dw)                                          \
    {                                                                                              \
        weights_image(s, x, x_row, dy, dy_row, n_rows, dw, rows, span, mv);                        \
    }
FORWARDS
WEIGHTSS
#undef FORWARD
#undef WEIGHTS

static stem_forward *forward_find(const struct stem *s)
{
    stem_forward *found = NULL;
    size_t vectors = 0, least = 0;
#define FORWARD(n_span, n_step, mv, nb)                                                            \
    if (s->span == n_span && s->step == n_step && s->k % (mv * VEC) == 0) {                        \
        size_t done = (s->columns + nb - 1) / nb * nb;                                             \
        if (!found || (vectors == mv && done < least)) {                                           \
            found = forward_##n_span##_##n_step##_##mv##_##nb;                                     \
            vectors = mv;                                                                          \
            least = done;                                                                          \
        }                                                                                          \
    }
    FORWARDS
#undef FORWARD
    return found;
}

static stem_weights *weights_find(const struct stem *s)
{
#define WEIGHTS(n_rows, n_span, mv)                                                                \
    if (s->rows % n_rows == 0 && s->span == n_span && s->k % (mv * VEC) == 0)                      \
        return weights_##n_rows##_##n_span##_##mv;
    WEIGHTSS
#undef WEIGHTS
    return NULL;
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

const struct stem_table JOIN(stem_table_, ROWS_ISA) = {forward_find, weights_find};
