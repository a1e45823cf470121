// SPDX-License-Identifier: MIT
// Shapes of convolution that take roads which the small cases of test_layers.c do not: sums cut
// into chunks, copied operands, stems. Against loops in double, on every instruction set and GEMM
// backend of this machine. The tolerance is relative to the sum of the absolute products.
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
#include "models/kernels/conv.h"
#include "models/kernels/gemm.h"

#define TOLERANCE 3e-6
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct conv_case {
    size_t n;
    struct shape x;
    struct conv_shape s; // kernel, stride, pad, dilation, groups, out
    size_t extra;        // halo beyond what is asked for, everywhere
};

// clang-format off
static const struct conv_case cases[] = {
    // backward weights: rows of an image a time
    {2, {50, 47, 2}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 5}, 0},
    {2, {67, 40, 6}, {3, 2, 2, 1, 1, 0, 1, 2, 1, 3}, 1},
    // backward weights: dy, x, both copied; rests in both; several chunks
    {3, {13, 12, 8}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 70}, 0},
    {3, {13, 12, 70}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 8}, 0},
    {5, {15, 17, 66}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 130}, 0},
    {2, {36, 33, 65}, {3, 1, 1, 1, 1, 0, 1, 1, 1, 67}, 1},
    {2, {21, 13, 70}, {2, 3, 2, 2, 1, 1, 2, 1, 1, 96}, 0},
    {2, {12, 24, 140}, {3, 3, 1, 1, 1, 1, 1, 1, 2, 132}, 0},
    {3, {18, 18, 260}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 80}, 0},
    {3, {18, 18, 260}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 80}, 1},
    {3, {18, 18, 256}, {1, 1, 2, 2, 0, 0, 1, 1, 1, 72}, 0},
    {2, {1, 1, 99000}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 3}, 0},
    // fully connected layers of few samples: rests in K, C, samples; one sample; the most
    {8, {1, 1, 300}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 128}, 0},
    {7, {1, 1, 131}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 77}, 0},
    {5, {1, 1, 256}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 150}, 1},
    {1, {1, 1, 3}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 64}, 0},
    {32, {1, 1, 66}, {1, 1, 1, 1, 0, 0, 1, 1, 1, 65}, 0},
    // taps that read padding only are left out: strips of columns; strides; dilation; an output
    // that nothing but padding reaches; a kernel wider than the image
    {2, {8, 8, 64}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, 0},
    {2, {9, 8, 66}, {3, 3, 2, 2, 1, 1, 1, 1, 1, 70}, 1},
    {2, {7, 9, 64}, {3, 3, 1, 1, 2, 2, 2, 2, 1, 48}, 0},
    {2, {3, 4, 96}, {3, 3, 1, 1, 3, 3, 1, 1, 1, 80}, 0},
    {2, {2, 3, 64}, {5, 5, 1, 1, 2, 2, 1, 1, 1, 64}, 0},
    // gradients that are added to and do not stay in the second cache
    {2, {50, 51, 64}, {3, 3, 2, 2, 1, 1, 1, 1, 1, 64}, 1},
    // packed weights that go past the caches; strip after strip through all images
    {2, {4, 5, 192}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 208}, 0},
    {2, {3, 4, 512}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 528}, 0},
    // stems: one or three channels; columns as many as a block, fewer, with a rest
    {2, {16, 14, 1}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 32}, 0},
    {2, {7, 5, 1}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, 1},
    {3, {9, 19, 1}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 16}, 1},
    {2, {11, 33, 3}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 32}, 0},
    {2, {6, 7, 3}, {3, 3, 1, 1, 0, 0, 1, 1, 1, 16}, 0},
    {2, {12, 18, 3}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 48}, 1},
    {2, {13, 12, 1}, {3, 3, 2, 2, 1, 1, 1, 1, 1, 32}, 0}, // strides; dilation
    {2, {13, 12, 3}, {3, 3, 2, 1, 0, 1, 2, 1, 1, 48}, 0},
    {2, {9, 8, 1}, {3, 3, 1, 1, 2, 2, 2, 2, 1, 32}, 0},
    {2, {14, 15, 1}, {5, 5, 1, 1, 2, 2, 1, 1, 1, 32}, 0},
    {2, {14, 15, 3}, {5, 5, 1, 1, 0, 0, 1, 1, 1, 16}, 1},
    {2, {20, 21, 3}, {7, 7, 2, 2, 3, 3, 1, 1, 1, 64}, 0},
    {2, {9, 32, 3}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 32}, 0},
    {2, {150, 147, 3}, {7, 7, 2, 2, 3, 3, 1, 1, 1, 32}, 0}, // rows in several parts
    {2, {5, 6, 1}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 80}, 0}, // K of no whole block
    {2, {5, 6, 1}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 17}, 0},
};
// clang-format on

static float value(size_t i, unsigned tag)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u + tag * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)(z >> 40) / 8388608.0f - 1;
}

struct world {
    const struct conv_case *c;
    struct conv_config config;
    struct conv *conv;
    float *memory[8], *w, *dw;
    int n_memory;
    double *want, *scale; // of the widest pass
};

static float *take(struct world *t, size_t floats)
{
    float *at;
    assert_int_equal(memory_alloc(&at, floats + 1, sizeof *at, "test"), STATUS_OK);
    return t->memory[t->n_memory++] = at;
}

// tag 0: the inside is NaN, what must be overwritten.
static struct tensor tensor_take(struct world *t, struct shape s, size_t halo_h, size_t halo_w,
                                 unsigned tag)
{
    struct tensor out = tensor_of(t->c->n, s, halo_h + t->c->extra, halo_w + t->c->extra);
    out.at = take(t, tensor_floats(&out)) + tensor_origin(&out);
    size_t at = 0;
    for (size_t n = 0; n < out.n; n++)
        for (size_t h = 0; h < s.h; h++)
            for (size_t i = 0; i < s.w * s.c; i++, at++)
                tensor_row(&out, n, h)[i] = tag ? value(at, tag) : NAN;
    return out;
}

static size_t weights_of(const struct conv_case *c)
{
    return c->s.kernel_h * c->s.kernel_w * (c->x.c / c->s.groups) * c->s.out;
}

static void world_open(struct world *t, const struct conv_case *c, int beta)
{
    *t = (struct world){.c = c, .config = {.shape = c->s, .dx_beta = beta}};
    struct conv_config *config = &t->config;
    struct shape y = conv_output(&c->s, c->x);
    size_t x_halo[2], dy_halo[2], n = weights_of(c);
    conv_halos(&c->s, c->x, y, x_halo, dy_halo);
    config->x = tensor_take(t, c->x, x_halo[0], x_halo[1], 1);
    config->y = tensor_take(t, y, 0, 0, 0);
    config->dy = tensor_take(t, y, dy_halo[0], dy_halo[1], 2);
    config->dx = tensor_take(t, c->x, 0, 0, beta ? 4 : 0);
    t->w = take(t, n);
    t->dw = take(t, n);
    for (size_t i = 0; i < n; i++) {
        t->w[i] = value(i, 3);
        t->dw[i] = NAN;
    }
    config->keep = take(t, conv_keep_floats(&c->s, c->x, c->n, &config->mode));
    size_t work = conv_work_floats(&c->s, c->x, c->n, &config->mode);
    config->work = take(t, work);
    for (size_t i = 0; i < work; i++)
        config->work[i] = NAN;
    config->work[work] = 4321; // guard
    if (conv_plan(&t->conv, config) != STATUS_OK)
        fail_msg("%s", error_text());
    conv_pack(t->conv, t->w);
    size_t most = tensor_floats(&config->x) + tensor_floats(&config->y) + n;
    t->want = calloc(most, sizeof *t->want);
    t->scale = calloc(most, sizeof *t->scale);
    assert_true(t->want && t->scale);
}

static void world_close(struct world *t)
{
    const struct conv_config *config = &t->config;
    size_t work = conv_work_floats(&config->shape, t->c->x, t->c->n, &config->mode);
    if (!(config->work[work] == 4321))
        fail_msg("wrote behind the scratch of %zu floats", work);
    conv_free(t->conv);
    for (int i = 0; i < t->n_memory; i++)
        free(t->memory[i]);
    free(t->want);
    free(t->scale);
}

static void add(struct world *t, size_t at, float a, float b)
{
    t->want[at] += (double)a * (double)b;
    t->scale[at] += fabs((double)a * (double)b);
}

// One output pixel's part in a pass: 0 forward, 1 backward data, 2 backward weights. Index of x:
// within padded x as it lies in memory.
static void naive_pixel(struct world *t, int pass, size_t n, size_t p, size_t q)
{
    const struct conv_case *c = t->c;
    const struct conv_shape *s = &c->s;
    const struct conv_config *config = &t->config;
    size_t cg = c->x.c / s->groups, kg = s->out / s->groups;
    const float *dy = tensor_row(&config->dy, n, p) + q * s->out;
    size_t y_at = ((n * config->y.h + p) * config->y.w + q) * s->out;
    for (size_t tap = 0; tap < s->kernel_h * s->kernel_w; tap++) {
        size_t h = p * s->stride_h + tap / s->kernel_w * s->dilation_h - s->pad_h;
        size_t w = q * s->stride_w + tap % s->kernel_w * s->dilation_w - s->pad_w;
        if (h >= c->x.h || w >= c->x.w) // also what is below 0
            continue;
        const float *x = tensor_row(&config->x, n, h) + w * c->x.c;
        size_t x_at = ((n * c->x.h + h) * c->x.w + w) * c->x.c;
        for (size_t i = 0; i < c->x.c; i++)
            for (size_t k = i / cg * kg; k < (i / cg + 1) * kg; k++) {
                size_t w_at = (tap * cg + i % cg) * s->out + k;
                if (pass == 0)
                    add(t, y_at + k, x[i], t->w[w_at]);
                else if (pass == 1)
                    add(t, x_at + i, dy[k], t->w[w_at]);
                else
                    add(t, w_at, x[i], dy[k]);
            }
    }
}

static void naive(struct world *t, int pass, size_t most)
{
    memset(t->want, 0, most * sizeof *t->want);
    memset(t->scale, 0, most * sizeof *t->scale);
    for (size_t i = 0; i < t->c->n * t->config.y.h * t->config.y.w; i++)
        naive_pixel(t, pass, i / (t->config.y.h * t->config.y.w), i / t->config.y.w % t->config.y.h,
                    i % t->config.y.w);
}

static void compare(const struct world *t, const char *what, size_t i, float got, double extra)
{
    const struct conv_case *c = t->c;
    double want = t->want[i] + extra, tolerance = TOLERANCE * (t->scale[i] + fabs(extra));
    if (!(fabs((double)got - want) <= tolerance))
        fail_msg("case %d, %zu x %zu x %zu -> %zu (%s): %s[%zu] is %.9g, expected %.9g within %.3g",
                 (int)(c - cases), c->x.h, c->x.w, c->x.c, c->s.out, gemm_backend_name(), what, i,
                 (double)got, want, tolerance);
}

static void tensor_compare(const struct world *t, const char *what, const struct tensor *got,
                           unsigned tag)
{
    size_t at = 0;
    const float *memory = got->at - tensor_origin(got);
    for (size_t n = 0; n < got->n; n++)
        for (size_t h = 0; h < got->h; h++)
            for (size_t i = 0; i < got->w * got->c; i++, at++)
                compare(t, what, at, tensor_row(got, n, h)[i], tag ? (double)value(at, tag) : 0);
    for (size_t i = 0; i < tensor_floats(got); i++) {
        size_t h = i % got->image / got->row, w = i % got->row / got->c;
        bool is_inside = h >= got->halo_h && h < got->halo_h + got->h && w >= got->halo_w &&
                         w < got->halo_w + got->w;
        if (!is_inside && memory[i] != 0)
            fail_msg("case %d: the halo of %s was written", (int)(t->c - cases), what);
    }
}

// The same bits as dw added to some sum.
static void add_check(const struct world *t)
{
    size_t n = weights_of(t->c);
    float *sum = malloc(n * sizeof *sum);
    assert_non_null(sum);
    for (size_t i = 0; i < n; i++)
        sum[i] = value(i, 5);
    conv_add_weights(t->conv, t->c->n, sum);
    for (size_t i = 0; i < n; i++)
        if (sum[i] != value(i, 5) + t->dw[i])
            fail_msg("case %d: sum[%zu] is %.9g, expected %.9g + %.9g", (int)(t->c - cases), i,
                     (double)sum[i], (double)value(i, 5), (double)t->dw[i]);
    free(sum);
}

static void case_check(const struct conv_case *c, int beta)
{
    struct world t;
    world_open(&t, c, beta);
    const struct conv_config *config = &t.config;
    size_t y = c->n * config->y.h * config->y.w * config->y.c, x = c->n * c->x.h * c->x.w * c->x.c;
    conv_forward(t.conv, c->n);
    naive(&t, 0, y);
    tensor_compare(&t, "y", &config->y, 0);
    conv_backward_data(t.conv, c->n);
    naive(&t, 1, x);
    tensor_compare(&t, "dx", &config->dx, beta ? 4 : 0);
    conv_backward_weights(t.conv, c->n, t.dw);
    naive(&t, 2, weights_of(c));
    for (size_t i = 0; i < weights_of(c); i++)
        compare(&t, "dw", i, t.dw[i], 0);
    if (conv_can_add(&c->s, c->x, c->n, &config->mode))
        add_check(&t);
    world_close(&t);
}

static void test_isas(void **state)
{
    (void)state;
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        for (size_t i = 0; i < COUNT(cases); i++)
            case_check(&cases[i], isa & 1);
    }
    isa_set(isa_detect());
}

static void test_backends(void **state)
{
    (void)state;
    for (int backend = GEMM_BLAS; backend <= GEMM_REF; backend++) {
        gemm_select((enum gemm_backend)backend);
        for (size_t i = 0; i < COUNT(cases); i++)
            case_check(&cases[i], backend == GEMM_BLAS);
    }
    gemm_select(GEMM_AUTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_isas),
                                       cmocka_unit_test(test_backends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
