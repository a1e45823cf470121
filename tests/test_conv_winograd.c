// SPDX-License-Identifier: MIT
// Winograd convolution, both tile sizes, all three passes, every instruction set this machine has,
// against the plain convolution in double: accuracy, edges, and which layers the rule gives it.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "comm/random.h"
#include "models/kernels/conv_winograd.h"

enum pass { FORWARD, DATA, WEIGHTS, PASSES };
static const char *const pass_names[PASSES] = {"forward", "backward data", "backward weights"};

struct test_case {
    size_t n, run; // samples of the grain, samples of the call
    size_t h, w, c, k, pad_h, pad_w;
    int beta;
};

// A convolution with memory of its own. Around each tensor's halo lies one more ring: of NaN for
// what is read, of MARK for what is written.
struct world {
    const struct test_case *of;
    struct conv conv;
    struct tensor t[4]; // x, y, dy, dx with the ring as part of the halo
    float *memory[4];
    float *w, *dw;
    size_t work_floats;
    double *want[PASSES];
};

static const float MARK = 3.5f;

static float draw(uint32_t tag, uint64_t i)
{
    uint32_t word[4];
    random_words((struct random_key){7, RANDOM_GENERATE, tag}, i, 0, word);
    return random_uniform(word[0]) * 2 - 1;
}

// Samples beyond `run` hold `ring` too.
static void tensor_open(struct world *world, int i, struct shape s, size_t halo_h, size_t halo_w,
                        float ring, bool filled)
{
    struct tensor *t = &world->t[i];
    *t = tensor_of(world->of->n, s, halo_h + 1, halo_w + 1);
    size_t floats = tensor_floats(t);
    assert_int_equal(memory_alloc(&world->memory[i], floats, sizeof(float), "test"), STATUS_OK);
    for (size_t j = 0; j < floats; j++)
        world->memory[i][j] = ring;
    t->at = world->memory[i] + tensor_origin(t);
    for (size_t n = 0; n < world->of->run; n++)
        for (size_t h = 0; h < s.h + 2 * halo_h; h++) {
            float *row = tensor_row(t, n, 0) + h * t->row - halo_h * t->row - halo_w * t->c;
            memset(row, 0, (s.w + 2 * halo_w) * s.c * sizeof *row);
            for (size_t j = 0; filled && h >= halo_h && h < s.h + halo_h && j < s.w * s.c; j++)
                row[halo_w * s.c + j] = draw((uint32_t)i, (n * s.h + h - halo_h) * s.w * s.c + j);
        }
}

static float *vector_open(size_t floats)
{
    float *v = NULL;
    assert_int_equal(memory_alloc(&v, floats, sizeof *v, "test"), STATUS_OK);
    return v;
}

// y, dx and dw in double, each product added where it belongs.
static void naive(struct world *world)
{
    const struct test_case *of = world->of;
    const struct tensor *x = &world->t[0], *y = &world->t[1], *dy = &world->t[2],
                        *dx = &world->t[3];
    size_t c = of->c, k = of->k;
    world->want[FORWARD] = calloc(of->run * y->h * y->w * k + 1, sizeof(double));
    world->want[DATA] = calloc(of->run * x->h * x->w * c + 1, sizeof(double));
    world->want[WEIGHTS] = calloc(9 * c * k, sizeof(double));
    assert_true(world->want[FORWARD] && world->want[DATA] && world->want[WEIGHTS]);
    for (size_t i = 0; of->beta && i < of->run * x->h * x->w * c; i++)
        world->want[DATA][i] = (double)draw(3, i);
    for (size_t at = 0; at < of->run * y->h * y->w * 9; at++) {
        size_t tap = at % 9, q = at / 9 % y->w, p = at / 9 / y->w % y->h, n = at / 9 / y->w / y->h;
        size_t h = p + tap / 3 - of->pad_h, w = q + tap % 3 - of->pad_w;
        if (h >= x->h || w >= x->w) // in the padding, also where below zero
            continue;
        const float *from = tensor_row(x, n, h) + w * c, *e = tensor_row(dy, n, p) + q * k;
        double *to = world->want[FORWARD] + ((n * y->h + p) * y->w + q) * k;
        double *back = world->want[DATA] + ((n * dx->h + h) * dx->w + w) * c;
        for (size_t i = 0; i < c; i++) {
            const float *weight = world->w + (tap * c + i) * k;
            double *dw = world->want[WEIGHTS] + (tap * c + i) * k, a = (double)from[i], sum = 0;
            for (size_t j = 0; j < k; j++) {
                to[j] += a * (double)weight[j];
                dw[j] += a * (double)e[j];
                sum += (double)e[j] * (double)weight[j];
            }
            back[i] += sum;
        }
    }
}

static void world_open(struct world *world, const struct test_case *of)
{
    *world = (struct world){.of = of};
    struct conv_shape s = {3, 3, 1, 1, of->pad_h, of->pad_w, 1, 1, 1, of->k};
    struct shape x = {of->h, of->w, of->c}, y = conv_output(&s, x);
    assert_true(conv_winograd_can(&s) && y.h > 0 && y.w > 0);
    size_t x_halo[2], dy_halo[2];
    conv_halos(&s, x, y, x_halo, dy_halo);
    tensor_open(world, 0, x, x_halo[0], x_halo[1], NAN, true);
    tensor_open(world, 1, y, 0, 0, MARK, false);
    tensor_open(world, 2, y, dy_halo[0], dy_halo[1], NAN, true);
    tensor_open(world, 3, x, 0, 0, MARK, true);
    world->w = vector_open(9 * of->c * of->k);
    world->dw = vector_open(9 * of->c * of->k);
    for (size_t i = 0; i < 9 * of->c * of->k; i++)
        world->w[i] = draw(4, i);
    world->conv = (struct conv){.shape = s,
                                .x = world->t[0],
                                .y = world->t[1],
                                .dy = world->t[2],
                                .dx = world->t[3],
                                .dx_beta = of->beta};
    naive(world);
}

static void world_close(struct world *world)
{
    for (int i = 0; i < 4; i++)
        free(world->memory[i]);
    for (int p = 0; p < PASSES; p++)
        free(world->want[p]);
    free(world->w);
    free(world->dw);
}

static void world_plan(struct world *world, enum winograd_size size)
{
    struct conv *conv = &world->conv;
    struct shape x = tensor_shape(&conv->x);
    world->work_floats = conv_winograd_work_floats(size, &conv->shape, x, conv->x.n);
    conv->keep = vector_open(conv_winograd_keep_floats(size, &conv->shape, x));
    conv->work = vector_open(world->work_floats);
    assert_int_equal(conv_winograd_plan(size, conv), STATUS_OK);
    conv_winograd_pack(conv, world->w);
}

// What lies in the scratch beforehand must not matter.
static void world_run(struct world *world, enum pass pass, float scratch)
{
    struct conv *conv = &world->conv;
    const struct tensor *dx = &world->t[3];
    for (size_t i = 0; i < world->work_floats; i++)
        conv->work[i] = scratch;
    for (size_t i = 0; pass == DATA && i < world->of->run * dx->h * dx->w * dx->c; i++)
        tensor_row(dx, i / dx->c / dx->w / dx->h, i / dx->c / dx->w % dx->h)[i % (dx->w * dx->c)] =
            draw(3, i);
    if (pass == FORWARD)
        conv_winograd_forward(conv, world->of->run);
    else if (pass == DATA)
        conv_winograd_backward_data(conv, world->of->run);
    else
        conv_winograd_backward_weights(conv, world->of->run, world->dw);
}

static void fail_in(const struct world *world, enum winograd_size size, enum pass pass,
                    const char *what, double got, double most)
{
    const struct test_case *of = world->of;
    fail_msg("F(%zux%zu) %s on %s: %s %.3g, at most %.3g; %zu of %zu x %zu x %zu x %zu -> %zu, "
             "pad %zu %zu, beta %d",
             winograd_outputs(size), winograd_outputs(size), pass_names[pass],
             isa_name(isa_current()), what, got, most, of->run, of->n, of->h, of->w, of->c, of->k,
             of->pad_h, of->pad_w, of->beta);
}

// Relative error in the L2 norm.
static double error_of(const struct world *world, enum pass pass)
{
    const struct tensor *t = &world->t[pass == FORWARD ? 1 : 3];
    size_t line = pass == WEIGHTS ? world->of->k : t->w * t->c;
    size_t lines = pass == WEIGHTS ? 9 * world->of->c : world->of->run * t->h;
    double error = 0, norm = 0;
    for (size_t i = 0; i < lines * line; i++) {
        size_t l = i / line;
        const float *row =
            pass == WEIGHTS ? world->dw + l * line : tensor_row(t, l / t->h, l % t->h);
        double want = world->want[pass][i], got = (double)row[i % line];
        error += (got - want) * (got - want);
        norm += want * want;
    }
    return sqrt(error / norm);
}

// Number of floats of tensor i outside its run samples that are no longer MARK.
static double marks_lost(const struct world *world, int i)
{
    const struct tensor *t = &world->t[i];
    size_t kept = 0;
    for (size_t j = 0; j < tensor_floats(t); j++) {
        size_t h = j / t->row % (t->h + 2 * t->halo_h), w = j % t->row / t->c;
        bool inside = j / t->image < world->of->run && h - t->halo_h < t->h && w - t->halo_w < t->w;
        kept += !inside && world->memory[i][j] != MARK;
    }
    return (double)kept;
}

static size_t output_floats(const struct world *world, enum pass pass, const float **at)
{
    *at = pass == WEIGHTS ? world->dw : world->memory[pass == FORWARD ? 1 : 3];
    return pass == WEIGHTS ? 9 * world->of->c * world->of->k
                           : tensor_floats(&world->t[pass == FORWARD ? 1 : 3]);
}

// The pass twice over different scratch: correct, the same bits, nothing written outside.
static void check_pass(struct world *world, enum winograd_size size, enum pass pass, double most)
{
    world_run(world, pass, NAN);
    double error = error_of(world, pass);
    if (getenv("SW2_PRINT_ERRORS"))
        printf("F%zu %-16s %-6s c %3zu k %3zu h %2zu: %.2e\n", winograd_outputs(size),
               pass_names[pass], isa_name(isa_current()), world->of->c, world->of->k, world->of->h,
               error);
    if (!(error <= most))
        fail_in(world, size, pass, "relative error", error, most);
    const float *at;
    size_t bytes = output_floats(world, pass, &at) * sizeof *at;
    float *first = malloc(bytes);
    assert_non_null(first);
    memcpy(first, at, bytes);
    world_run(world, pass, 1e30f);
    if (memcmp(first, at, bytes) != 0)
        fail_in(world, size, pass, "bits differ with the scratch's former content:", 1, 0);
    free(first);
    for (int i = 1; i < 4; i += 2)
        if (marks_lost(world, i) > 0)
            fail_in(world, size, pass, "floats written outside:", marks_lost(world, i), 0);
}

// Measured: floor^2 + growth^2 times the length of the longest sum (channels in, at most 256, or
// tiles) is the squared error, on AVX2 and AVX-512 alike; here with half as much again. Forward and
// backward data of any layer stay below 2e-6.
static double bound_of(const struct test_case *of, enum winograd_size size, enum pass pass)
{
    static const double floors[WINOGRAD_SIZES] = {1.5e-7, 5e-7}, growth[] = {3.1e-8, 1e-7};
    size_t m = winograd_outputs(size);
    size_t rows = (of->h + 2 * of->pad_h - 2 + m - 1) / m;
    size_t columns = (of->w + 2 * of->pad_w - 2 + m - 1) / m;
    size_t channels = pass == FORWARD ? of->c : of->k;
    size_t sum = pass == WEIGHTS ? of->run * rows * columns : channels < 256 ? channels : 256;
    double most =
        1.5 * sqrt(floors[size] * floors[size] + growth[size] * growth[size] * (double)sum);
    return pass == WEIGHTS || most < 2e-6 ? most : 2e-6;
}

static void check_case(const struct test_case *of)
{
    struct world world;
    world_open(&world, of);
    enum isa best = isa_detect();
    for (int size = 0; size < WINOGRAD_SIZES; size++)
        for (int isa = ISA_BASE; isa <= (int)best; isa++) {
            isa_set((enum isa)isa);
            world_plan(&world, (enum winograd_size)size);
            for (int pass = 0; pass < PASSES; pass++)
                check_pass(&world, (enum winograd_size)size, (enum pass)pass,
                           bound_of(of, (enum winograd_size)size, (enum pass)pass));
            conv_winograd_free(&world.conv);
            free(world.conv.keep);
            free(world.conv.work);
        }
    isa_set(best);
    world_close(&world);
}

static void accuracy(void **state)
{
    (void)state;
    static const struct test_case cases[] = {
        {2, 2, 32, 32, 64, 64, 1, 1, 0}, {4, 4, 16, 16, 128, 128, 1, 1, 0},
        {8, 8, 8, 8, 256, 256, 1, 1, 0}, {8, 8, 14, 14, 32, 64, 1, 1, 0},
        {2, 2, 7, 7, 512, 512, 1, 1, 0}, {4, 4, 32, 32, 16, 16, 1, 1, 0},
        {2, 2, 56, 56, 32, 32, 1, 1, 0}, {4, 4, 6, 6, 300, 520, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

// Sizes that tiles do not divide, channels that vectors and blocks do not divide, all paddings,
// calls of fewer samples than the grain.
static void edges(void **state)
{
    (void)state;
    static const struct test_case cases[] = {
        {1, 1, 1, 1, 1, 1, 1, 1, 0},     {2, 1, 1, 2, 3, 5, 1, 1, 1},
        {3, 2, 2, 1, 16, 16, 1, 1, 0},   {2, 2, 3, 3, 17, 15, 1, 1, 1},
        {5, 3, 3, 4, 8, 33, 1, 1, 0},    {4, 4, 4, 5, 20, 4, 1, 1, 1},
        {2, 2, 5, 6, 65, 31, 1, 1, 0},   {9, 7, 6, 5, 31, 66, 1, 1, 1},
        {3, 3, 7, 7, 96, 70, 1, 1, 1},   {2, 2, 14, 14, 12, 130, 1, 1, 0},
        {40, 37, 5, 5, 7, 9, 1, 1, 1},   {2, 2, 9, 13, 24, 40, 0, 0, 1},
        {2, 1, 3, 7, 19, 18, 0, 1, 0},   {3, 3, 6, 4, 5, 16, 1, 0, 1},
        {2, 2, 5, 4, 16, 21, 2, 2, 1},   {2, 2, 1, 5, 10, 6, 2, 1, 0},
        {20, 20, 8, 8, 80, 72, 1, 1, 1}, {33, 30, 4, 4, 3, 2, 1, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

static void rule(void **state)
{
    (void)state;
    static const struct {
        struct conv_shape shape;
        struct shape x;
        size_t n;
        bool winograd;
        const char *method;
        size_t keep_planes; // 0: not looked at
    } cases[] = {
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {32, 32, 64}, 8, true, "winograd", 36},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {32, 32, 64}, 8, false, "direct", 0},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 256}, {8, 8, 256}, 8, true, "winograd", 36},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 512}, {7, 7, 512}, 2, true, "winograd", 16}, // few tiles
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 512}, {7, 7, 512}, 8, true, "winograd", 36},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {6, 6, 64}, 8, true, "winograd", 16}, // a draw
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {3, 3, 64}, 8, true, "direct", 0},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {3, 3, 64}, 16, true, "winograd", 36},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {1, 32, 64}, 16, true, "direct", 0},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 64}, {32, 32, 3}, 8, true, "direct", 0},
        {{3, 3, 1, 1, 1, 1, 1, 1, 1, 8}, {32, 32, 8}, 8, true, "winograd", 36},
        {{3, 3, 2, 2, 1, 1, 1, 1, 1, 64}, {32, 32, 64}, 8, true, "direct", 0},
        {{3, 3, 1, 1, 2, 2, 2, 2, 1, 64}, {32, 32, 64}, 8, true, "direct", 0},
        {{3, 3, 1, 1, 1, 1, 1, 1, 2, 64}, {32, 32, 64}, 8, true, "direct", 0},
        {{3, 3, 1, 1, 3, 3, 1, 1, 1, 64}, {32, 32, 64}, 8, true, "direct", 0},
        {{1, 1, 1, 1, 0, 0, 1, 1, 1, 64}, {32, 32, 64}, 8, true, "direct", 0},
        {{5, 5, 1, 1, 2, 2, 1, 1, 1, 64}, {32, 32, 64}, 8, true, "direct", 0},
        {{3, 3, 1, 1, 1, 1, 1, 1, 64, 64}, {32, 32, 64}, 8, true, "depthwise", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conv_mode mode = {.winograd = cases[i].winograd};
        const char *got = conv_method_name(&cases[i].shape, cases[i].x, cases[i].n, &mode);
        if (strcmp(got, cases[i].method) != 0)
            fail_msg("case %zu: method %s, expected %s", i, got, cases[i].method);
        size_t keep = conv_keep_floats(&cases[i].shape, cases[i].x, cases[i].n, &mode);
        size_t least = 2 * cases[i].keep_planes * cases[i].x.c * cases[i].shape.out;
        if (cases[i].keep_planes > 0 && (keep < least || keep > least * 5 / 4))
            fail_msg("case %zu keeps %zu floats, expected about %zu", i, keep, least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy),
        cmocka_unit_test(edges),
        cmocka_unit_test(rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
