// SPDX-License-Identifier: MIT
// Max pooling of a batch-norm's output that is never made gives what scale and shift, ReLU, pooling
// and their backward give one after the other; for windows of all kinds, on every instruction set.
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
#include "models/kernels/rows.h"
#include "tests/support/expect.h"

#define N 3

static const struct rows_window windows[] = {
    {3, 3, 2, 2, 1, 1, false}, // overlap
    {2, 2, 2, 2, 0, 0, false}, // tile, where sizes are even; else rows and columns are left over
    {3, 3, 1, 1, 1, 1, false}, {2, 3, 1, 2, 1, 1, false},
    {5, 4, 3, 2, 2, 2, false}, {1, 2, 3, 3, 0, 1, false}, // gaps
    {1, 1, 1, 1, 0, 0, false}, {1, 4, 1, 4, 0, 0, false},
};

struct tensors {
    struct tensor x, y, dy, dx;             // fused
    struct tensor v, y_apart, dv, dx_apart; // v: the norm's output
    float *scale, *shift, *mean, *b, *d, *sums[4];
    float *work;
};

static uint32_t state = 1;
static float draw(void)
{
    state = state * 1664525 + 1013904223;
    return (float)(state >> 20) * 0x1p-10f - 2; // of few values: ties are common
}

static struct tensor make(struct shape shape, size_t halo)
{
    struct tensor t = tensor_of(N, shape, halo, halo);
    float *at;
    expect_ok(memory_alloc(&at, tensor_floats(&t), sizeof *at, "test"), "memory");
    t.at = at + tensor_origin(&t);
    for (size_t i = 0; i < N; i++)
        for (size_t h = 0; h < t.h; h++)
            for (size_t k = 0; k < t.w * t.c; k++)
                tensor_row(&t, i, h)[k] = draw();
    return t;
}

static float *vector(size_t c)
{
    float *v;
    expect_ok(memory_alloc(&v, c, sizeof *v, "test"), "memory");
    for (size_t i = 0; i < c; i++)
        v[i] = draw();
    return v;
}

static void drop(struct tensor *t)
{
    free(t->at - tensor_origin(t));
}

static void same(const char *what, const struct tensor *a, const struct tensor *b)
{
    for (size_t i = 0; i < N; i++)
        for (size_t h = 0; h < a->h; h++)
            for (size_t k = 0; k < a->w * a->c; k++) {
                double x = (double)tensor_row(a, i, h)[k], y = (double)tensor_row(b, i, h)[k];
                if (!(fabs(x - y) <= 1e-5 * (fabs(y) + 1)))
                    fail_msg("%s of %zux%zux%zu: image %zu, row %zu, %zu: %.9g, apart %.9g", what,
                             a->h, a->w, a->c, i, h, k, x, y);
            }
}

static void run(const struct rows_window *window, struct tensors *t, bool relu, float beta)
{
    const struct rows_pooled pooled = {*window, t->y, t->dy, t->scale, t->shift, relu};
    const size_t c = t->x.c;
    rows_pool_norm(&pooled, &t->x, N);
    rows_scale_shift(&t->x, &t->v, N, t->scale, t->shift, relu);
    rows_pool_max(window, &t->v, &t->y_apart, N);
    same("y", &t->y, &t->y_apart);

    const float *mask = relu ? t->shift : NULL;
    rows_pool_norm_sums(&pooled, &t->x, N, t->mean, t->sums[0], t->sums[1]);
    rows_pool_max_backward(window, &t->v, &t->y_apart, &t->dy, &t->dv, N, 0);
    rows_norm_sums(&t->x, &t->dv, N, t->mean, t->scale, mask, t->sums[2], t->sums[3]);
    double positions = (double)(N * t->x.h * t->x.w);
    for (int s = 0; s < 2; s++)
        for (size_t k = 0; k < c; k++)
            if (!(fabs((double)t->sums[s][k] - (double)t->sums[s + 2][k]) <= 1e-6 * positions))
                fail_msg("sum %d of channel %zu: %.9g, apart %.9g", s, k, (double)t->sums[s][k],
                         (double)t->sums[s + 2][k]);

    rows_copy(&t->dx, &t->dx_apart, N); // with beta 1 it counts
    rows_pool_norm_backward(&pooled, &t->x, &t->dx, N, t->b, t->d, beta, t->work);
    rows_norm_backward(&t->x, &t->dv, &t->dx_apart, N, t->scale, mask, t->b, t->d, beta);
    same("dx", &t->dx, &t->dx_apart);
}

static void check(const struct rows_window *k, struct shape x, size_t halo)
{
    struct shape y = {(x.h + 2 * k->pad_h - k->kernel_h) / k->stride_h + 1,
                      (x.w + 2 * k->pad_w - k->kernel_w) / k->stride_w + 1, x.c};
    struct tensors t = {.x = make(x, halo),
                        .y = make(y, halo),
                        .dy = make(y, 0),
                        .dx = make(x, halo),
                        .v = make(x, 0),
                        .y_apart = make(y, 0),
                        .dv = make(x, 0),
                        .dx_apart = make(x, 0)};
    float **vectors[] = {&t.scale,   &t.shift,   &t.mean,    &t.b,      &t.d,
                         &t.sums[0], &t.sums[1], &t.sums[2], &t.sums[3]};
    struct tensor *tensors[] = {&t.x, &t.y, &t.dy, &t.dx, &t.v, &t.y_apart, &t.dv, &t.dx_apart};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        *vectors[i] = vector(x.c);
    // Of exactly this size, and what lies in it does not matter.
    t.work = vector(rows_pool_norm_floats(k, x));
    for (int relu = 0; relu < 2; relu++)
        for (int beta = 0; beta < 2; beta++)
            run(k, &t, relu, (float)beta);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        free(*vectors[i]);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        drop(tensors[i]);
    free(t.work);
}

static void test_as_apart(void **unused)
{
    (void)unused;
    static const size_t channels[] = {1, 7, 16, 33, 64, 70}, sizes[][2] = {{5, 5}, {8, 6}, {6, 13}};
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
            for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
                for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                    check(&windows[w], (struct shape){sizes[s][0], sizes[s][1], channels[c]},
                          c % 2);
            check(&windows[w], (struct shape){41, 90, 24}, 0); // past the second cache
        }
        check(&windows[0], (struct shape){299, 301, 16}, 0); // dx is streamed
    }
    isa_set(isa_detect());
}

static void test_nan_is_not_hidden(void **unused)
{
    (void)unused;
    const struct rows_window window = {2, 2, 2, 2, 0, 0, false};
    for (int isa = ISA_BASE; isa <= (int)isa_detect(); isa++) {
        isa_set((enum isa)isa);
        for (size_t c = 1; c < 40; c += 5) {
            struct tensor x = make((struct shape){2, 2, c}, 0),
                          y = make((struct shape){1, 1, c}, 0);
            float *scale = vector(c), *shift = vector(c);
            for (size_t i = 0; i < 8; i++) {
                const struct rows_pooled pooled = {window, y, y, scale, shift, i < 4};
                float *tap = tensor_row(&x, N - 1, i % 4 / 2) + i % 2 * c + c - 1, old = *tap;
                *tap = NAN;
                rows_pool_norm(&pooled, &x, N);
                assert_true(isnan(tensor_row(&y, N - 1, 0)[c - 1]));
                *tap = old;
            }
            drop(&x);
            drop(&y);
            free(scale);
            free(shift);
        }
    }
    isa_set(isa_detect());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_apart),
                                       cmocka_unit_test(test_nan_is_not_hidden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
