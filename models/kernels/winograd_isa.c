// SPDX-License-Identifier: MIT
// The transforms of winograd_table.h, compiled once for each instruction set with
// -DROWS_ISA=base|avx2|avx512; vectors run over channels. Owns the table winograd_table_<isa>;
// everything else is static. Called through conv_winograd.c.
//
// F(2x2, 3x3) interpolates at 0, 1, -1 and infinity; F(4x4, 3x3) at 0, +-1/sqrt 2, +-sqrt 2 and
// infinity, which is twice as accurate as the usual 0, +-1, +-2 at the same number of operations
// (a polynomial point and its reciprocal balance powers; compare Barabasz et al. 2020, "Error
// analysis and improving the accuracy of Winograd convolution for deep neural networks").
#include "models/kernels/rows_vec.inc.h"

#include "models/kernels/winograd_table.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 36")
#endif

#define MOST 36 // a * a of the larger size

static const float root_half = 0.70710678118654752f, root_two = 1.41421356237309505f;

// One dimension of a transform: elements of `in` and `out` are `step` apart.
typedef void (*map)(const vec *in, vec *out, size_t step, size_t out_step);

TEMPLATE void input_2(const vec *d, vec *v, size_t s, size_t t)
{
    v[0] = d[0] - d[2 * s];
    v[t] = d[s] + d[2 * s];
    v[2 * t] = d[2 * s] - d[s];
    v[3 * t] = d[3 * s] - d[s];
}

TEMPLATE void input_4(const vec *d, vec *v, size_t s, size_t t)
{
    vec even = d[4 * s] - d[2 * s] * 2.0f, odd = d[3 * s] - d[s] * 2.0f;
    vec even2 = d[4 * s] - d[2 * s] * 0.5f, odd2 = d[3 * s] - d[s] * 0.5f;
    v[0] = (d[0] + d[4 * s]) - d[2 * s] * 2.5f;
    v[t] = even + odd * root_half;
    v[2 * t] = even - odd * root_half;
    v[3 * t] = even2 + odd2 * root_two;
    v[4 * t] = even2 - odd2 * root_two;
    v[5 * t] = (d[s] + d[5 * s]) - d[3 * s] * 2.5f;
}

TEMPLATE void output_2(const vec *m, vec *y, size_t s, size_t t)
{
    y[0] = m[0] + (m[s] + m[2 * s]);
    y[t] = (m[s] - m[2 * s]) + m[3 * s];
}

TEMPLATE void output_4(const vec *m, vec *y, size_t s, size_t t)
{
    vec even = m[s] + m[2 * s], odd = (m[s] - m[2 * s]) * root_half;
    vec even2 = m[3 * s] + m[4 * s], odd2 = (m[3 * s] - m[4 * s]) * root_two;
    y[0] = m[0] + (even + even2);
    y[t] = odd + odd2;
    y[2 * t] = even * 0.5f + even2 * 2.0f;
    y[3 * t] = odd * 0.5f + (odd2 * 2.0f + m[5 * s]);
}

TEMPLATE void gradient_2(const vec *y, vec *v, size_t s, size_t t)
{
    v[0] = y[0];
    v[t] = y[0] + y[s];
    v[2 * t] = y[0] - y[s];
    v[3 * t] = y[s];
}

TEMPLATE void gradient_4(const vec *y, vec *v, size_t s, size_t t)
{
    vec even = y[0] + y[2 * s] * 0.5f, odd = y[s] + y[3 * s] * 0.5f;
    vec even2 = y[0] + y[2 * s] * 2.0f, odd2 = y[s] + y[3 * s] * 2.0f;
    v[0] = y[0];
    v[t] = even + odd * root_half;
    v[2 * t] = even - odd * root_half;
    v[3 * t] = even2 + odd2 * root_two;
    v[4 * t] = even2 - odd2 * root_two;
    v[5 * t] = y[3 * s];
}

TEMPLATE void weights_2(const vec *g, vec *u, size_t s, size_t t)
{
    vec even = (g[0] + g[2 * s]) * 0.5f, odd = g[s] * 0.5f;
    u[0] = g[0];
    u[t] = even + odd;
    u[2 * t] = even - odd;
    u[3 * t] = g[2 * s];
}

TEMPLATE void weights_4(const vec *g, vec *u, size_t s, size_t t)
{
    const float f = -2.0f / 3.0f, f2 = 1.0f / 6.0f;
    vec even = (g[0] + g[2 * s] * 0.5f) * f, odd = g[s] * (f * root_half);
    vec even2 = (g[0] + g[2 * s] * 2.0f) * f2, odd2 = g[s] * (f2 * root_two);
    u[0] = g[0];
    u[t] = even + odd;
    u[2 * t] = even - odd;
    u[3 * t] = even2 + odd2;
    u[4 * t] = even2 - odd2;
    u[5 * t] = g[2 * s];
}

TEMPLATE void weights_gradient_2(const vec *u, vec *g, size_t s, size_t t)
{
    vec even = (u[s] + u[2 * s]) * 0.5f;
    g[0] = u[0] + even;
    g[t] = (u[s] - u[2 * s]) * 0.5f;
    g[2 * t] = even + u[3 * s];
}

TEMPLATE void weights_gradient_4(const vec *u, vec *g, size_t s, size_t t)
{
    const float f = -2.0f / 3.0f, f2 = 1.0f / 6.0f;
    vec even = (u[s] + u[2 * s]) * f, odd = (u[s] - u[2 * s]) * (f * root_half);
    vec even2 = (u[3 * s] + u[4 * s]) * f2, odd2 = (u[3 * s] - u[4 * s]) * (f2 * root_two);
    g[0] = u[0] + (even + even2);
    g[t] = odd + odd2;
    g[2 * t] = even * 0.5f + (even2 * 2.0f + u[5 * s]);
}

// Both dimensions: out (to x to) from in (from x from).
TEMPLATE void map_square(map f, size_t from, size_t to, const vec *in, vec *out)
{
    vec t[MOST]; // to x from
    UNROLL
    for (size_t j = 0; j < from; j++)
        f(in + j, t + j, from, from);
    UNROLL
    for (size_t i = 0; i < to; i++)
        f(t + i * from, out + i * to, 1, 1);
}

// The rows x columns pixels of a tile that exist; zeros elsewhere.
TEMPLATE void tile_load(const float *at, size_t row, size_t c, size_t size, size_t rows,
                        size_t columns, size_t part, vec *d)
{
    UNROLL
    for (size_t i = 0; i < size; i++) {
        UNROLL
        for (size_t j = 0; j < size; j++)
            d[i * size + j] =
                i < rows && j < columns ? vec_load_part(at + i * row + j * c, part) : (vec){0};
    }
}

TEMPLATE void tile_store(float *at, size_t row, size_t c, size_t size, size_t rows, size_t columns,
                         size_t part, int beta, const vec *d)
{
    UNROLL
    for (size_t i = 0; i < size; i++) {
        UNROLL
        for (size_t j = 0; j < size; j++) {
            float *to = at + i * row + j * c;
            if (i < rows && j < columns)
                vec_store_part(
                    to, beta ? vec_load_part(to, part) + d[i * size + j] : d[i * size + j], part);
        }
    }
}

// Where tile t lies and how much of its `size` rows and columns exists.
struct place {
    float *at;
    size_t rows, columns;
};

static inline size_t size_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

TEMPLATE struct place place_of(const struct winograd_tiles *x, size_t t, size_t step, size_t size)
{
    size_t j = t % x->n_columns, i = t / x->n_columns % x->n_rows;
    size_t image = t / x->n_columns / x->n_rows;
    return (struct place){x->at + image * x->image + i * step * x->row + j * step * x->c,
                          size_least(size, x->h - i * step), size_least(size, x->w - j * step)};
}

// Asks for one vector of channels of a tile that is soon needed; it may lie beyond the tensor.
TEMPLATE void tile_prefetch(const float *at, size_t row, size_t c, size_t size, int write)
{
    UNROLL
    for (size_t i = 0; i < size; i++) {
        UNROLL
        for (size_t j = 0; j < size; j++)
            if (write)
                __builtin_prefetch(at + i * row + j * c, 1);
            else
                __builtin_prefetch(at + i * row + j * c, 0);
    }
}

// One vector of channels of one tile: load (rows x columns of it), transform, store in planes.
TEMPLATE void gather_vector(map f, size_t size, size_t a, const struct place *p,
                            const struct winograd_tiles *x, size_t c, size_t rows, size_t columns,
                            size_t part, float *v, size_t plane)
{
    vec d[MOST], out[MOST];
    tile_load(p->at + c, x->row, x->c, size, rows, columns, part, d);
    map_square(f, size, a, d, out);
    UNROLL
    for (size_t i = 0; i < a * a; i++)
        vec_store_part(v + i * plane, out[i], part);
}

TEMPLATE void gather(map f, size_t step, size_t size, size_t a, const struct winograd_tiles *x,
                     size_t first, size_t count, const struct winograd_matrix *v)
{
    size_t ahead = x->c >= 64 ? 1 : x->c >= 32 ? 2 : 4;
    for (size_t t = 0; t < count; t++) {
        struct place p = place_of(x, first + t, step, size);
        const float *next = place_of(x, first + t + ahead, step, size).at;
        float *to = v->at + t * v->row;
        for (size_t c = 0; c < x->c; c += VEC) {
            tile_prefetch(next + c, x->row, x->c, size, 0);
            if (p.rows == size && p.columns == size && x->c - c >= VEC)
                gather_vector(f, size, a, &p, x, c, size, size, VEC, to + c, v->plane);
            else
                gather_vector(f, size, a, &p, x, c, p.rows, p.columns, size_least(VEC, x->c - c),
                              to + c, v->plane);
        }
    }
}

TEMPLATE void scatter_vector(map f, size_t m, size_t a, const struct place *p,
                             const struct winograd_tiles *y, size_t c, size_t rows, size_t columns,
                             size_t part, int beta, const float *v, size_t plane, size_t n_parts,
                             size_t parts_step)
{
    vec in[MOST], d[MOST];
    UNROLL
    for (size_t i = 0; i < a * a; i++)
        in[i] = vec_load_part(v + i * plane, part);
    for (size_t j = 1; j < n_parts; j++) {
        UNROLL
        for (size_t i = 0; i < a * a; i++)
            in[i] += vec_load_part(v + j * parts_step + i * plane, part);
    }
    map_square(f, a, m, in, d);
    tile_store(p->at + c, y->row, y->c, m, rows, columns, part, beta, d);
}

TEMPLATE void scatter(map f, size_t m, size_t a, const struct winograd_tiles *y, size_t first,
                      size_t count, const struct winograd_matrix *v,
                      const struct winograd_parts *parts, int beta)
{
    size_t ahead = y->c >= 64 ? 1 : y->c >= 32 ? 2 : 4;
    for (size_t t = 0; t < count; t++) {
        struct place p = place_of(y, first + t, m, m);
        const float *next = place_of(y, first + t + ahead, m, m).at;
        const float *from = v->at + t * v->row;
        for (size_t c = 0; c < y->c; c += VEC) {
            tile_prefetch(next + c, y->row, y->c, m, 1);
            if (p.rows == m && p.columns == m && y->c - c >= VEC && !beta && parts->n == 1)
                scatter_vector(f, m, a, &p, y, c, m, m, VEC, 0, from + c, v->plane, 1, 0);
            else
                scatter_vector(f, m, a, &p, y, c, p.rows, p.columns, size_least(VEC, y->c - c),
                               beta, from + c, v->plane, parts->n, parts->step);
        }
    }
}

// Filters: 9 taps in, a x a out.
TEMPLATE void filters(map f, size_t a, const float *w, size_t w_tap, size_t w_row, size_t rows,
                      size_t columns, const struct winograd_matrix *u)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < columns; k += VEC) {
            size_t part = size_least(VEC, columns - k);
            vec g[9], out[MOST];
            UNROLL
            for (size_t i = 0; i < 9; i++)
                g[i] = vec_load_part(w + i * w_tap + r * w_row + k, part);
            map_square(f, 3, a, g, out);
            UNROLL
            for (size_t i = 0; i < a * a; i++)
                vec_store_part(u->at + i * u->plane + r * u->row + k, out[i], part);
        }
}

TEMPLATE void filters_gradient(map f, size_t a, const struct winograd_matrix *u, size_t rows,
                               size_t columns, float *dw, size_t w_tap, size_t w_row)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < columns; k += VEC) {
            size_t part = size_least(VEC, columns - k);
            vec in[MOST], g[9];
            UNROLL
            for (size_t i = 0; i < a * a; i++)
                in[i] = vec_load_part(u->at + i * u->plane + r * u->row + k, part);
            map_square(f, a, 3, in, g);
            UNROLL
            for (size_t i = 0; i < 9; i++)
                vec_store_part(dw + i * w_tap + r * w_row + k, g[i], part);
        }
}

// The functions of one size: M outputs, A = M + 2.
#define TRANSFORMS(M, A)                                                                           \
    static void tiles_input_##M(const struct winograd_tiles *x, size_t first, size_t count,        \
                                const struct winograd_matrix *v)                                   \
    {                                                                                              \
        gather(input_##M, M, A, A, x, first, count, v);                                            \
    }                                                                                              \
    static void tiles_output_##M(const struct winograd_tiles *y, size_t first, size_t count,       \
                                 const struct winograd_matrix *v,                                  \
                                 const struct winograd_parts *parts, int beta)                     \
    {                                                                                              \
        scatter(output_##M, M, A, y, first, count, v, parts, beta);                                \
    }                                                                                              \
    static void tiles_gradient_##M(const struct winograd_tiles *dy, size_t first, size_t count,    \
                                   const struct winograd_matrix *v)                                \
    {                                                                                              \
        gather(gradient_##M, M, M, A, dy, first, count, v);                                        \
    }                                                                                              \
    static void filters_##M(const float *w, size_t w_tap, size_t w_row, size_t rows,               \
                            size_t columns, const struct winograd_matrix *u)                       \
    {                                                                                              \
        filters(weights_##M, A, w, w_tap, w_row, rows, columns, u);                                \
    }                                                                                              \
    static void filters_gradient_##M(const struct winograd_matrix *u, size_t rows, size_t columns, \
                                     float *dw, size_t w_tap, size_t w_row)                        \
    {                                                                                              \
        filters_gradient(weights_gradient_##M, A, u, rows, columns, dw, w_tap, w_row);             \
    }

TRANSFORMS(2, 4)
TRANSFORMS(4, 6)

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define ROW(M)                                                                                     \
    {                                                                                              \
        tiles_input_##M, tiles_output_##M, tiles_gradient_##M, filters_##M, filters_gradient_##M   \
    }

const struct winograd_table JOIN(winograd_table_, ROWS_ISA) = {VEC, {ROW(2), ROW(4)}};
