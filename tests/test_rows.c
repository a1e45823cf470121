// SPDX-License-Identifier: MIT
// Every loop of kernels/rows.h on every instruction set this machine has, against plain loops in
// double: channel counts around all vector widths, halos that differ between operands, NaN, ties.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "comm/random.h"
#include "models/kernels/rows_table.h"

enum { N = 3, TENSORS = 5, C_MOST = 160 };

// Tensors 0..4 of one shape and (C) vectors, filled with numbers in [-1, 1).
struct world {
    struct tensor t[TENSORS];
    float *memory[TENSORS];
    float v[4][C_MOST];
    size_t count; // elements of a tensor
};

static float draw(uint32_t tag, uint64_t i)
{
    uint32_t word[4];
    random_words((struct random_key){5, RANDOM_GENERATE, tag}, i, 0, word);
    return random_uniform(word[0]) * 2 - 1;
}

static float *at(const struct tensor *t, size_t i)
{
    size_t c = i % t->c, w = i / t->c % t->w, h = i / t->c / t->w % t->h;
    return tensor_row(t, i / t->c / t->w / t->h, h) + w * t->c + c;
}

static void world_open(struct world *w, struct shape s, bool has_halo)
{
    *w = (struct world){.count = N * s.h * s.w * s.c};
    for (size_t k = 0; k < TENSORS; k++) {
        w->t[k] = tensor_of(N, s, has_halo ? k % 3 : 0, has_halo ? (k + 1) % 2 : 0);
        size_t floats = tensor_floats(&w->t[k]);
        assert_int_equal(memory_alloc(&w->memory[k], floats, sizeof(float), "test"), 0);
        w->t[k].at = w->memory[k] + tensor_origin(&w->t[k]);
        for (size_t i = 0; i < w->count; i++)
            *at(&w->t[k], i) = draw((uint32_t)k, i);
    }
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < s.c; i++)
            w->v[k][i] = draw(100 + (uint32_t)k, i);
}

// The halo is still zero. Releases.
static void world_close(struct world *w)
{
    for (size_t k = 0; k < TENSORS; k++) {
        const struct tensor *t = &w->t[k];
        double inside = 0, all = 0;
        for (size_t i = 0; i < w->count; i++)
            inside += *at(t, i) != 0;
        for (size_t i = 0; i < tensor_floats(t); i++)
            all += w->memory[k][i] != 0;
        if (inside != all)
            fail_msg("halo of tensor %zu (%zu x %zu x %zu) was written", k, t->h, t->w, t->c);
        free(w->memory[k]);
    }
}

static double *keep(const struct world *w, int k)
{
    double *out = malloc(w->count * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < w->count; i++)
        out[i] = (double)*at(&w->t[k], i);
    return out;
}

static void near(const char *what, const struct tensor *t, size_t i, double got, double want,
                 double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s on %s: element %zu is %.9g, expected %.9g, tolerance %g, %zu x %zu x %zu",
                 what, isa_name(isa_current()), i, got, want, tolerance * (1 + fabs(want)), t->h,
                 t->w, t->c);
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

// Elementwise, no channels. Operands by number; every formula stands beside its call.
static void check_flat(struct world *w)
{
    const struct tensor *t = w->t;
    double *x[TENSORS];
    for (int k = 0; k < TENSORS; k++)
        x[k] = keep(w, k);
#define EXPECT(what, k, formula)                                                                   \
    for (size_t i = 0; i < w->count; i++) {                                                        \
        double want = (formula);                                                                   \
        near(what, &t[k], i, (double)*at(&t[k], i), want, 2e-7);                                   \
        x[k][i] = (double)*at(&t[k], i);                                                           \
    }
    rows_accumulate(&t[0], &t[1], N, 1);
    EXPECT("accumulate", 1, x[1][i] + x[0][i])
    rows_add(&t[0], &t[1], &t[2], N, false);
    EXPECT("add", 2, x[0][i] + x[1][i])
    rows_add(&t[0], &t[4], &t[2], N, true);
    EXPECT("add relu", 2, relu(x[0][i] + x[4][i]))
    rows_add_backward(&t[2], &t[0], &t[3], &t[4], N, 0, 1);
    EXPECT("add backward a", 3, x[2][i] > 0 ? x[0][i] : 0)
    EXPECT("add backward b", 4, x[4][i] + (x[2][i] > 0 ? x[0][i] : 0))
    rows_add_backward(NULL, &t[0], &t[3], &t[4], N, 1, 0);
    EXPECT("add backward a, no mask", 3, x[3][i] + x[0][i])
    EXPECT("add backward b, no mask", 4, x[0][i])
    rows_add_backward(&t[2], &t[0], NULL, &t[4], N, 0, 1);
    EXPECT("add backward, only b", 4, x[4][i] + (x[2][i] > 0 ? x[0][i] : 0))
    rows_add_backward(NULL, &t[0], &t[1], &t[1], N, 0, 1);
    EXPECT("add backward, a is b", 1, 2 * x[0][i])
    rows_add_backward(&t[2], &t[3], &t[3], &t[4], N, 0, 0);
    EXPECT("add backward, dy is da: b", 4, x[2][i] > 0 ? x[3][i] : 0)
    EXPECT("add backward, dy is da: a", 3, x[2][i] > 0 ? x[3][i] : 0)
    rows_relu_mask(&t[2], &t[0], N);
    EXPECT("relu mask", 0, x[2][i] > 0 ? x[0][i] : 0)
    rows_bias(&t[1], N, NULL, true);
    EXPECT("relu", 1, relu(x[1][i]))
    rows_copy(&t[0], &t[1], N - 1);
    const size_t copied = w->count / N * (N - 1);
    EXPECT("copy of fewer samples", 1, i < copied ? x[0][i] : x[1][i])
#undef EXPECT
    for (int k = 0; k < TENSORS; k++)
        free(x[k]);
}

static void check_activations(struct world *w)
{
    const struct tensor *t = w->t;
    for (size_t i = 0; i < w->count; i++)
        *at(&t[0], i) *= (float)(i % 9); // up to 8
    double *x = keep(w, 0), *dy = keep(w, 1), *before = keep(w, 3);
    for (int f = ACT_RELU; f <= ACT_SILU; f++) {
        rows_activate((enum activation)f, 0.1f, &t[0], &t[2], N);
        rows_activate_backward((enum activation)f, 0.1f, &t[0], &t[1], &t[3], N,
                               f % 2 ? 1.0f : 0.0f);
        for (size_t i = 0; i < w->count; i++) {
            double v = x[i], s = 1 / (1 + exp(-v)), phi = 0.5 * erfc(-v / sqrt(2)), y, d;
            y = f == ACT_RELU         ? relu(v)
                : f == ACT_LEAKY_RELU ? (v > 0 ? v : 0.1 * v)
                : f == ACT_GELU       ? v * phi
                                      : v * s;
            d = f == ACT_RELU         ? (v > 0)
                : f == ACT_LEAKY_RELU ? (v > 0 ? 1 : 0.1)
                : f == ACT_GELU       ? phi + v * exp(-v * v / 2) / sqrt(2 * acos(-1))
                                      : s + v * s * (1 - s);
            near("activate", &t[2], i, (double)*at(&t[2], i), y, 4e-7);
            near("activate backward", &t[3], i, (double)*at(&t[3], i),
                 (f % 2 ? before[i] : 0) + dy[i] * d, 1e-6);
            before[i] = (double)*at(&t[3], i);
        }
    }
    free(x);
    free(dy);
    free(before);
}

static void check_channels(struct world *w)
{
    const struct tensor *t = w->t;
    const size_t c = t->c;
    const float *scale = w->v[0], *shift = w->v[1], *d = w->v[2];
    const float *b = w->v[3];
    double *x = keep(w, 0), *dy = keep(w, 2), *dx = keep(w, 3);
    for (int form = 0; form < 4; form++) {
        bool is_masked = form & 1, is_added = form & 2;
        rows_scale_shift(&t[0], &t[4], N, scale, shift, is_masked);
        for (size_t i = 0; i < w->count; i++) {
            double v = x[i] * (double)scale[i % c] + (double)shift[i % c];
            near("scale shift", &t[4], i, (double)*at(&t[4], i), is_masked ? relu(v) : v, 4e-7);
        }
        rows_bias(&t[4], N, d, is_added);
        for (size_t i = 0; i < w->count; i++) {
            double v = x[i] * (double)scale[i % c] + (double)shift[i % c];
            v = (is_masked ? relu(v) : v) + (double)d[i % c];
            near("bias", &t[4], i, (double)*at(&t[4], i), is_added ? relu(v) : v, 4e-7);
        }
        rows_scale_shift(&t[0], &t[1], N, scale, shift, true);
        rows_norm_backward(&t[0], &t[2], &t[3], N, scale, is_masked ? shift : NULL, b, d,
                           is_added ? 1.0f : 0.0f);
        for (size_t i = 0; i < w->count; i++) {
            double v = is_masked && !(*at(&t[1], i) > 0) ? 0 : dy[i];
            v = v * (double)scale[i % c] + x[i] * (double)b[i % c] + (double)d[i % c];
            near("norm backward", &t[3], i, (double)*at(&t[3], i), (is_added ? dx[i] : 0) + v,
                 6e-7);
            dx[i] = (double)*at(&t[3], i);
        }
    }
    free(x);
    free(dy);
    free(dx);
}

// out: what rows gave, for the comparison of halos.
static void check_sums(struct world *w, float out[5][C_MOST])
{
    const struct tensor *t = w->t;
    const size_t c = t->c, n = w->count / c;
    const float *mean = w->v[0];
    rows_scale_shift(&t[0], &t[1], N, w->v[1], w->v[2], true); // the mask of the sums
    double *x = keep(w, 0), *y = keep(w, 1), *dy = keep(w, 2);
    rows_channel_sum(&t[0], N, out[0]);
    rows_moments(&t[0], N, out[1], out[2]);
    rows_norm_sums(&t[0], &t[2], N, mean, w->v[1], w->v[2], out[3], out[4]);
    float plain[2][C_MOST];
    rows_norm_sums(&t[0], &t[2], N, mean, NULL, NULL, plain[0], plain[1]);
    const double tolerance = 1e-6 + 3e-7 * sqrt((double)n); // rounding walks at random
    for (size_t k = 0; k < c; k++) {
        double sum = 0, variance = 0, sums[4] = {0};
        for (size_t i = 0; i < n; i++)
            sum += x[i * c + k];
        for (size_t i = 0; i < n; i++) {
            double g = dy[i * c + k], v = x[i * c + k] - (double)mean[k];
            variance += pow(x[i * c + k] - sum / (double)n, 2) / (double)n;
            sums[0] += y[i * c + k] > 0 ? g : 0;
            sums[1] += y[i * c + k] > 0 ? g * v : 0;
            sums[2] += g;
            sums[3] += g * v;
        }
        near("channel sum", t, k, (double)out[0][k], sum, tolerance);
        near("mean", t, k, (double)out[1][k], sum / (double)n, 2e-7);
        near("variance", t, k, (double)out[2][k], variance, 1e-6);
        near("masked sum of dy", t, k, (double)out[3][k], sums[0], tolerance);
        near("masked sum of dy x", t, k, (double)out[4][k], sums[1], tolerance);
        near("sum of dy", t, k, (double)plain[0][k], sums[2], tolerance);
        near("sum of dy x", t, k, (double)plain[1][k], sums[3], tolerance);
    }
    free(x);
    free(y);
    free(dy);
}

// Sums that mask dy on the way, and the sum of norms.
static void check_norm_add(struct world *w)
{
    const struct tensor *t = w->t;
    static float out[2][C_MOST];
    const size_t c = t->c, n = w->count / c;
    const float *s = w->v[1], *u = w->v[2], *v = w->v[3], *m = w->v[0];
    double *a = keep(w, 0), *b = keep(w, 1);
    for (int both = 0; both < 2; both++)
        for (int is_relu = 0; is_relu < 2; is_relu++) {
            rows_norm_add(&t[0], s, u, &t[1], both ? v : NULL, both ? m : NULL, &t[4], N, is_relu);
            for (size_t i = 0; i < w->count; i++) {
                size_t k = i % c;
                double want = a[i] * (double)s[k] + (double)u[k] +
                              (both ? b[i] * (double)v[k] + (double)m[k] : b[i]);
                near("norm add", &t[4], i, (double)*at(&t[4], i), is_relu ? relu(want) : want,
                     4e-7);
            }
        }
    double *dy = keep(w, 2), *y = keep(w, 3);
    rows_norm_sums_mask(&t[0], &t[3], &t[2], N, m, out[0], out[1]);
    for (size_t k = 0; k < c; k++) {
        double sums[2] = {0}, tolerance = 1e-6 + 3e-7 * sqrt((double)n);
        for (size_t i = k; i < w->count; i += c) {
            double g = y[i] > 0 ? dy[i] : 0;
            sums[0] += g;
            sums[1] += g * (a[i] - (double)m[k]);
            near("masked dy", t, i, (double)*at(&t[2], i), g, 0);
        }
        near("sum of masked dy", t, k, (double)out[0][k], sums[0], tolerance);
        near("sum of masked dy x", t, k, (double)out[1][k], sums[1], tolerance);
    }
    free(a);
    free(b);
    free(dy);
    free(y);
}

static void check_shape(struct shape s)
{
    float sums[2][5][C_MOST] = {0};
    for (int has_halo = 0; has_halo < 2; has_halo++) {
        struct world w;
        void (*const checks[])(struct world *) = {check_flat, check_activations, check_channels,
                                                  check_norm_add};
        for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
            world_open(&w, s, has_halo);
            checks[i](&w);
            world_close(&w);
        }
        world_open(&w, s, has_halo);
        check_sums(&w, sums[has_halo]);
        world_close(&w);
    }
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]); // the order ignores halos
}

static void check_isa(enum isa isa, const struct rows_table *table, int vector_floats)
{
    static const size_t channels[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 48, 64, 67, 128, 131};
    static const size_t sizes[][2] = {{1, 1}, {2, 3}, {5, 4}, {3, 9}};
    assert_int_equal(table->vector_floats, vector_floats);
    if (isa > isa_detect()) {
        print_message("this machine has no %s\n", isa_name(isa));
        skip();
    }
    isa_set(isa);
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            check_shape((struct shape){sizes[k][0], sizes[k][1], channels[i]});
    check_shape((struct shape){40, 33, 16}); // several groups of rows
    check_shape((struct shape){2, 600, 5});
    isa_set(isa_detect());
}

static void test_base(void **state)
{
    (void)state;
    check_isa(ISA_BASE, &rows_table_base, 4);
}

static void test_avx2(void **state)
{
    (void)state;
    check_isa(ISA_AVX2, &rows_table_avx2, 8);
}

static void test_avx512(void **state)
{
    (void)state;
    check_isa(ISA_AVX512, &rows_table_avx512, 16);
}

// Far from zero: the mean 1000 times the deviation, and a first group that differs from the rest.
static void test_moments_are_accurate(void **state)
{
    (void)state;
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        struct world w;
        world_open(&w, (struct shape){30, 32, 20}, false);
        const struct tensor *t = w.t;
        const size_t n = w.count / 20;
        for (size_t i = 0; i < w.count; i++)
            *at(t, i) += i < w.count / 5 ? 990.0f : 1000.0f;
        float mean[20], variance[20];
        rows_moments(t, N, mean, variance);
        for (size_t k = 0; k < 20; k++) {
            double m = 0, v = 0;
            for (size_t i = 0; i < n; i++)
                m += (double)*at(t, i * 20 + k) / (double)n;
            for (size_t i = 0; i < n; i++)
                v += pow((double)*at(t, i * 20 + k) - m, 2) / (double)n;
            near("far mean", t, k, (double)mean[k], m, 1e-7);
            near("far variance", t, k, (double)variance[k], v, 1e-5);
        }
        world_close(&w);
    }
    isa_set(isa_detect());
}

static void test_nan_is_not_hidden(void **state)
{
    (void)state;
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        for (size_t c = 1; c < 40; c += 5) {
            struct world w;
            world_open(&w, (struct shape){2, 2, c}, false);
            const struct tensor *t = w.t;
            const struct rows_window k = {2, 2, 2, 2, 0, 0, true};
            struct tensor pooled = tensor_of(N, (struct shape){1, 1, c}, 0, 0);
            pooled.at = t[3].at;
            for (size_t tap = 0; tap < 4; tap++) { // wherever the NaN stands in the window
                float old = *at(&t[0], tap * c + c - 1);
                *at(&t[0], tap * c + c - 1) = NAN;
                rows_pool_max(&k, &t[0], &pooled, N);
                assert_true(isnan(*at(&pooled, c - 1)));
                rows_activate(ACT_RELU, 0, &t[0], &t[1], N);
                assert_true(isnan(*at(&t[1], tap * c + c - 1)));
                rows_moments(&t[0], N, w.v[0], w.v[1]);
                assert_true(isnan(w.v[0][c - 1]) && isnan(w.v[1][c - 1]));
                *at(&t[0], tap * c + c - 1) = old;
            }
            world_close(&w);
        }
    }
    isa_set(isa_detect());
}

// Of equal values the first of the window gets the gradient, as in PyTorch: after a ReLU windows of
// zeros are common.
static void test_pool_ties(void **state)
{
    (void)state;
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        for (size_t c = 1; c < 40; c += 5) {
            struct world w;
            world_open(&w, (struct shape){3, 3, c}, true);
            const struct rows_window k = {2, 2, 1, 1, 0, 0, true};
            struct tensor y = tensor_of(N, (struct shape){2, 2, c}, 0, 0);
            struct tensor dy = y;
            y.at = calloc(2 * tensor_floats(&y), sizeof *y.at);
            assert_non_null(y.at);
            dy.at = y.at + tensor_floats(&y);
            for (size_t i = 0; i < w.count; i++)
                *at(&w.t[0], i) = 0;
            for (size_t i = 0; i < tensor_floats(&dy); i++)
                dy.at[i] = (float)(i + 1);
            rows_pool_max(&k, &w.t[0], &y, N);
            rows_pool_max_backward(&k, &w.t[0], &y, &dy, &w.t[1], N, 0);
            for (size_t i = 0; i < w.count; i++) {
                size_t q = i / c % 3, p = i / c / 3 % 3, n = i / c / 9;
                float want = p < 2 && q < 2 ? *at(&dy, ((n * 2 + p) * 2 + q) * c + i % c) : 0;
                near("ties", &w.t[1], i, (double)*at(&w.t[1], i), (double)want, 0);
            }
            free(y.at);
            world_close(&w);
        }
    }
    isa_set(isa_detect());
}

static void test_exp_and_log(void **state)
{
    (void)state;
    enum { COUNT = 40001 };
    static float x[COUNT], y[COUNT];
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        for (int i = 0; i < COUNT; i++)
            x[i] = ((float)i - 20000) * 0.00434f; // -86.8 .. 86.8
        rows_exp(x, y, COUNT);
        for (int i = 0; i < COUNT; i++)
            if (!(fabs((double)y[i] / exp((double)x[i]) - 1) < 2e-7))
                fail_msg("exp(%.9g) is %.9g on %s", (double)x[i], (double)y[i],
                         isa_name((enum isa)isa));
        float special[7] = {-1e30f, -INFINITY, -200, 1e30f, INFINITY, NAN, 0};
        rows_exp(special, special, 7);
        assert_true(special[0] == 0 && special[1] == 0 && special[2] == 0);
        assert_true(isinf(special[3]) && isinf(special[4]) && isnan(special[5]) && special[6] == 1);
        float small[1] = {-95}; // below the normal range
        rows_exp(small, small, 1);
        assert_true(fabs((double)small[0] / exp(-95.0) - 1) < 1e-3);
    }
    isa_set(isa_detect());
    for (float v = 1e-41f; v < 1e38f; v *= 1.0003f) { // from subnormal ones
        double want = log((double)v), ulp = fabs(want) * 0x1p-23 + 1e-45;
        if (!(fabs((double)rows_log(v) - want) <= 2 * ulp))
            fail_msg("log(%.9g) is %.9g, expected %.9g", (double)v, (double)rows_log(v), want);
    }
    assert_true(rows_log(1) == 0 && isinf(rows_log(0)) && isnan(rows_log(-1)));
    assert_true(isnan(rows_log(NAN)) && isinf(rows_log(INFINITY)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_avx2),
        cmocka_unit_test(test_avx512),
        cmocka_unit_test(test_moments_are_accurate),
        cmocka_unit_test(test_nan_is_not_hidden),
        cmocka_unit_test(test_pool_ties),
        cmocka_unit_test(test_exp_and_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
