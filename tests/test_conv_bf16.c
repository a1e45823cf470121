// SPDX-License-Identifier: MIT
// Convolution in bf16 against sums in double over operands rounded to bf16: what is left is the
// rounding of fp32 sums. A sum of L products of bf16 values (exact in fp32's fused multiply-add)
// in any order differs from the exact one by at most L u / (1 - L u) times the sum of the absolute
// values, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
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
#include "models/kernels/conv.h"

struct conv_case {
    struct conv_shape shape; // R S, strides, pads, dilations, groups, K
    struct shape x;
    size_t n; // the grain
};

#define PLAIN(r, s, u, pad, d, k)                                                                  \
    {                                                                                              \
        r, s, u, u, pad, pad, d, d, 1, k                                                           \
    }

static const struct conv_case cases[] = {
    {PLAIN(3, 3, 1, 1, 1, 16), {32, 32, 16}, 4},   // ResNet-20
    {PLAIN(3, 3, 2, 1, 1, 32), {32, 32, 16}, 3},   //
    {PLAIN(1, 1, 2, 0, 1, 32), {32, 32, 16}, 3},   // shortcut
    {PLAIN(3, 3, 1, 1, 1, 64), {8, 8, 64}, 5},     //
    {PLAIN(3, 3, 1, 1, 1, 16), {32, 32, 3}, 4},    // stems
    {PLAIN(3, 3, 1, 1, 1, 32), {28, 28, 2}, 5},    //
    {PLAIN(7, 7, 2, 3, 1, 64), {57, 55, 3}, 2},    //
    {PLAIN(5, 5, 1, 2, 1, 20), {9, 7, 5}, 3},      // odd everything
    {PLAIN(3, 3, 2, 1, 1, 33), {13, 11, 17}, 7},   //
    {PLAIN(3, 3, 3, 0, 1, 7), {14, 17, 2}, 2},     // inputs that no tap reaches
    {PLAIN(3, 3, 1, 2, 2, 19), {11, 12, 21}, 3},   // dilation
    {PLAIN(3, 2, 2, 3, 3, 48), {15, 16, 6}, 3},    //
    {PLAIN(1, 1, 1, 0, 1, 100), {5, 6, 130}, 3},   // pointwise
    {PLAIN(1, 1, 1, 2, 1, 8), {3, 4, 9}, 2},       // padding alone
    {PLAIN(1, 1, 2, 0, 1, 9), {4, 4, 3}, 3},       // inputs that nothing reads
    {PLAIN(2, 2, 2, 0, 1, 65), {6, 10, 129}, 2},   // blocks and rests
    {PLAIN(3, 3, 1, 1, 1, 48), {57, 56, 80}, 2},   // cut in rows
    {PLAIN(3, 3, 2, 1, 1, 80), {113, 112, 48}, 1}, //
    {PLAIN(3, 3, 1, 1, 1, 192), {14, 14, 160}, 9}, // large weights
    {{1, 5, 1, 2, 0, 2, 1, 1, 1, 24}, {1, 50, 4}, 6},
    {{3, 1, 2, 1, 1, 0, 1, 1, 1, 6}, {20, 3, 7}, 4},
    {PLAIN(1, 1, 1, 0, 1, 10), {1, 1, 64}, 16}, // dense
    {PLAIN(1, 1, 1, 0, 1, 128), {1, 1, 3136}, 8},
    {PLAIN(1, 1, 1, 0, 1, 1), {1, 1, 2}, 1},
    {PLAIN(1, 1, 1, 0, 1, 45), {1, 1, 77}, 21},
};
#define N_CASES (sizeof cases / sizeof *cases)

static float value(uint32_t tag, size_t i)
{
    uint32_t word[4];
    random_words((struct random_key){3, RANDOM_GENERATE, tag}, i, 0, word);
    return random_uniform(word[0]) * 2 - 1;
}

// Round to nearest, ties to even, on the bits.
static double rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

struct bench {
    const struct conv_case *c;
    struct conv_config config;
    struct conv *conv;
    float *w, *dw, *keep, *work;
    size_t n_w, keep_floats, work_floats;
    void *memory[16];
    int n_memory;
};

#define GUARD 64

// Floats between guards of NaN.
static float *allocate(struct bench *b, size_t n)
{
    float *memory;
    assert_int_equal(memory_alloc(&memory, n + 2 * GUARD, sizeof *memory, "test"), STATUS_OK);
    for (size_t i = 0; i < GUARD; i++)
        memory[i] = memory[GUARD + n + i] = NAN;
    b->memory[b->n_memory++] = memory;
    return memory + GUARD;
}

static void guard_check(const float *at, size_t n, const char *what)
{
    for (size_t i = 1; i <= GUARD; i++)
        if (!isnan(at[-(ptrdiff_t)i]) || !isnan(at[n + i - 1]))
            fail_msg("%s: written %zu before or after its %zu floats", what, i, n);
}

static void tensor_fill(struct tensor *t, uint32_t tag, size_t n)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t h = 0; h < t->h; h++)
            for (size_t k = 0; k < t->w * t->c; k++)
                tensor_row(t, i, h)[k] = i < n ? value(tag, (i * t->h + h) * t->w * t->c + k) : NAN;
}

static struct tensor tensor_make(struct bench *b, struct shape s, const size_t halo[2])
{
    struct tensor t = tensor_of(b->c->n, s, halo[0], halo[1]);
    t.at = allocate(b, tensor_floats(&t)) + tensor_origin(&t);
    return t;
}

static void open_bench(struct bench *b, const struct conv_case *c, int beta)
{
    *b = (struct bench){.c = c};
    struct conv_config *config = &b->config;
    struct shape y = conv_output(&c->shape, c->x);
    *config = (struct conv_config){.shape = c->shape, .mode = {.bf16 = true}, .dx_beta = beta};
    size_t halo[2], dy_halo[2], none[2] = {1, 2};
    conv_halos(&c->shape, c->x, y, halo, dy_halo);
    if (beta) { // with and without halos
        assert_true(conv_pads_itself(&c->shape, c->x, c->n, &config->mode));
        memset(halo, 0, sizeof halo);
        memset(dy_halo, 0, sizeof dy_halo);
    }
    config->x = tensor_make(b, c->x, halo);
    config->dy = tensor_make(b, y, dy_halo);
    config->y = tensor_make(b, y, none);
    config->dx = tensor_make(b, c->x, none);
    assert_string_equal(conv_method_name(&c->shape, c->x, c->n, &config->mode), "bf16");
    b->keep_floats = conv_keep_floats(&c->shape, c->x, c->n, &config->mode);
    b->work_floats = conv_work_floats(&c->shape, c->x, c->n, &config->mode);
    config->keep = allocate(b, b->keep_floats);
    config->work = allocate(b, b->work_floats);
    b->n_w = c->shape.kernel_h * c->shape.kernel_w * c->x.c * c->shape.out;
    b->w = allocate(b, b->n_w);
    b->dw = allocate(b, b->n_w);
    for (size_t i = 0; i < b->n_w; i++)
        b->w[i] = value(4, i);
    if (conv_plan(&b->conv, config) != STATUS_OK)
        fail_msg("%s", error_text());
}

static void close_bench(struct bench *b)
{
    conv_free(b->conv);
    for (int i = 0; i < b->n_memory; i++)
        free(b->memory[i]);
}

// What was computed before must not matter: NaN of both widths.
static void work_spoil(struct bench *b)
{
    memset(b->config.work, 0xff, b->work_floats * sizeof *b->config.work);
}

// Exact sum, sum of absolute values and their number.
struct sum {
    double sum, size;
    size_t n;
};

static void add(struct sum *s, double product)
{
    s->sum += product;
    s->size += fabs(product);
    s->n++;
}

static void compare(const struct bench *b, const char *pass, size_t at, float got,
                    const struct sum *want)
{
    // Chunks of one sum are added too, and odd counts are padded by one.
    const double u = ldexp(1, -24), l = (double)want->n + 16;
    double most = l * u / (1 - l * u) * want->size + 1e-35;
    if (!(fabs((double)got - want->sum) <= most))
        fail_msg("%s of case %td, element %zu: %.9g, expected %.9g +- %.2g", pass, b->c - cases, at,
                 (double)got, want->sum, most);
}

// Calls each(b, context, n, p, q, tap, h, w) for every output and tap that meets the input.
static bool meets(const struct bench *b, size_t p, size_t q, size_t tap, size_t *h, size_t *w)
{
    const struct conv_shape *s = &b->c->shape;
    *h = p * s->stride_h + tap / s->kernel_w * s->dilation_h - s->pad_h;
    *w = q * s->stride_w + tap % s->kernel_w * s->dilation_w - s->pad_w;
    return *h < b->c->x.h && *w < b->c->x.w; // below 0: wraps to a large number
}

static double w_at(const struct bench *b, size_t tap, size_t c, size_t k)
{
    return rounded(b->w[(tap * b->c->x.c + c) * b->c->shape.out + k]);
}

// Few elements of large cases: every `stride`-th.
static size_t stride_of(size_t outputs, size_t products)
{
    double all = (double)outputs * (double)products;
    size_t stride = all > 2e6 ? (size_t)(all / 2e6) : 1;
    return stride | 1;
}

static void check_forward(struct bench *b, size_t n)
{
    const struct tensor *x = &b->config.x, *y = &b->config.y;
    size_t taps = b->c->shape.kernel_h * b->c->shape.kernel_w, outputs = n * y->h * y->w * y->c;
    tensor_fill(&b->config.x, 1, n);
    work_spoil(b);
    conv_forward(b->conv, n);
    for (size_t i = 0; i < outputs; i += stride_of(outputs, taps * x->c)) {
        size_t k = i % y->c, q = i / y->c % y->w, p = i / y->c / y->w % y->h;
        size_t image = i / y->c / y->w / y->h, h, w;
        struct sum sum = {0};
        for (size_t tap = 0; tap < taps; tap++)
            for (size_t c = 0; meets(b, p, q, tap, &h, &w) && c < x->c; c++)
                add(&sum, rounded(tensor_row(x, image, h)[w * x->c + c]) * w_at(b, tap, c, k));
        compare(b, "forward", i, tensor_row(y, image, p)[q * y->c + k], &sum);
    }
}

static void check_data(struct bench *b, size_t n)
{
    const struct tensor *dy = &b->config.dy, *dx = &b->config.dx;
    const struct conv_shape *s = &b->c->shape;
    size_t taps = s->kernel_h * s->kernel_w, outputs = n * dx->h * dx->w * dx->c;
    tensor_fill(&b->config.dy, 2, n);
    tensor_fill(&b->config.dx, 3, b->config.dx_beta ? n : 0);
    work_spoil(b);
    conv_backward_data(b->conv, n);
    for (size_t i = 0; i < outputs; i += stride_of(outputs, taps * dy->c)) {
        size_t c = i % dx->c, w = i / dx->c % dx->w, h = i / dx->c / dx->w % dx->h;
        size_t image = i / dx->c / dx->w / dx->h;
        struct sum sum = {0};
        if (b->config.dx_beta)
            add(&sum, (double)value(3, i));
        for (size_t tap = 0; tap < taps; tap++) {
            size_t p = h + s->pad_h - tap / s->kernel_w * s->dilation_h;
            size_t q = w + s->pad_w - tap % s->kernel_w * s->dilation_w;
            if (p > h + s->pad_h || q > w + s->pad_w || p % s->stride_h || q % s->stride_w)
                continue;
            p /= s->stride_h, q /= s->stride_w;
            for (size_t k = 0; p < dy->h && q < dy->w && k < dy->c; k++)
                add(&sum, rounded(tensor_row(dy, image, p)[q * dy->c + k]) * w_at(b, tap, c, k));
        }
        compare(b, "backward data", i, tensor_row(dx, image, h)[w * dx->c + c], &sum);
    }
}

static void check_weights(struct bench *b, size_t n)
{
    const struct tensor *x = &b->config.x, *dy = &b->config.dy;
    size_t products = n * dy->h * dy->w;
    tensor_fill(&b->config.x, 1, n);
    tensor_fill(&b->config.dy, 2, n);
    for (size_t i = 0; i < b->n_w; i++)
        b->dw[i] = NAN;
    work_spoil(b);
    conv_backward_weights(b->conv, n, b->dw);
    for (size_t i = 0; i < b->n_w; i += stride_of(b->n_w, products)) {
        size_t k = i % dy->c, c = i / dy->c % x->c, tap = i / dy->c / x->c, h, w;
        struct sum sum = {0};
        for (size_t j = 0; j < products; j++) {
            size_t q = j % dy->w, p = j / dy->w % dy->h, image = j / dy->w / dy->h;
            if (meets(b, p, q, tap, &h, &w))
                add(&sum, rounded(tensor_row(x, image, h)[w * x->c + c]) *
                              rounded(tensor_row(dy, image, p)[q * dy->c + k]));
        }
        sum.n = products; // padding is added too
        compare(b, "backward weights", i, b->dw[i], &sum);
    }
}

static void check(const struct conv_case *c, size_t n, int beta)
{
    struct bench b;
    open_bench(&b, c, beta);
    conv_pack(b.conv, b.w);
    check_forward(&b, n);
    check_data(&b, n);
    check_weights(&b, n);
    guard_check(b.w, b.n_w, "w");
    guard_check(b.dw, b.n_w, "dw");
    guard_check(b.config.keep, b.keep_floats, "keep");
    guard_check(b.config.work, b.work_floats, "work");
    const struct tensor *out[] = {&b.config.y, &b.config.dx};
    for (int i = 0; i < 2; i++) {
        const float *memory = out[i]->at - tensor_origin(out[i]);
        guard_check(memory, tensor_floats(out[i]), i ? "dx" : "y");
        for (size_t j = 0; j < tensor_floats(out[i]); j++) {
            size_t h = j % out[i]->image / out[i]->row, w = j % out[i]->row / out[i]->c;
            if ((h < 1 || h > out[i]->h || w < 2 || w > out[i]->w + 1) && memory[j] != 0)
                fail_msg("halo of %s of case %td is written", i ? "dx" : "y", c - cases);
        }
    }
    close_bench(&b);
}

static bool is_skipped(void)
{
    if (!isa_bf16_missing())
        return false;
    print_message("no AVX512_BF16 here: %s\n", isa_bf16_missing());
    return true;
}

static void test_passes(void **state)
{
    (void)state;
    if (is_skipped())
        skip();
    for (size_t i = 0; i < N_CASES; i++) {
        check(&cases[i], cases[i].n, 0);
        check(&cases[i], cases[i].n, 1);
        if (cases[i].n > 1)
            check(&cases[i], cases[i].n - 1, 0);
        if (cases[i].n > 4)
            check(&cases[i], 3, 1);
    }
}

// The bits are defined, so they are the same on every CPU: of each pair the second product is added
// first, both by fused multiply-add (Intel SDM, VDPBF16PS).
static void test_order_of_sums(void **state)
{
    (void)state;
    if (is_skipped())
        skip();
    static const struct conv_case dense = {PLAIN(1, 1, 1, 0, 1, 45), {1, 1, 77}, 3};
    struct bench b;
    open_bench(&b, &dense, 0);
    conv_pack(b.conv, b.w);
    tensor_fill(&b.config.x, 1, 3);
    conv_forward(b.conv, 3);
    for (size_t i = 0; i < 3 * 45; i++) {
        const float *x = b.config.x.at + i / 45 * b.config.x.image;
        float sum = 0;
        for (size_t c = 0; c < 77; c += 2) {
            if (c + 1 < 77)
                sum = fmaf((float)rounded(x[c + 1]), (float)w_at(&b, 0, c + 1, i % 45), sum);
            sum = fmaf((float)rounded(x[c]), (float)w_at(&b, 0, c, i % 45), sum);
        }
        float got = tensor_row(&b.config.y, i / 45, 0)[i % 45];
        if (memcmp(&sum, &got, sizeof sum) != 0)
            fail_msg("element %zu: %a, expected %a", i, (double)got, (double)sum);
    }
    close_bench(&b);
}

// Without backward data, as a first layer is planned.
static void test_first_layer(void **state)
{
    (void)state;
    if (is_skipped())
        skip();
    struct bench b;
    open_bench(&b, &cases[4], 0);
    conv_free(b.conv);
    b.config.dx.at = NULL;
    assert_int_equal(conv_plan(&b.conv, &b.config), STATUS_OK);
    conv_pack(b.conv, b.w);
    check_forward(&b, 4);
    check_weights(&b, 4);
    close_bench(&b);
}

static void test_other_methods(void **state)
{
    (void)state;
    const struct conv_mode bf16 = {.bf16 = true}, fp32 = {0};
    struct conv_shape s = PLAIN(3, 3, 1, 1, 1, 32);
    assert_string_not_equal(conv_method_name(&s, (struct shape){8, 8, 16}, 4, &fp32), "bf16");
    assert_string_not_equal(conv_method_name(&s, (struct shape){8, 8, 1}, 4, &bf16), "bf16");
    assert_string_equal(conv_method_name(&s, (struct shape){8, 8, 3}, 4, &bf16), "bf16");
    s.groups = 2;
    assert_string_not_equal(conv_method_name(&s, (struct shape){8, 8, 16}, 4, &bf16), "bf16");
    s.groups = 32;
    assert_string_equal(conv_method_name(&s, (struct shape){8, 8, 32}, 4, &bf16), "depthwise");
}

static void test_refused(void **state)
{
    (void)state;
    const struct conv_mode bf16 = {.bf16 = true}, fp32 = {0};
    isa_set(ISA_AVX2);
    assert_int_equal(conv_mode_check(&bf16), STATUS_USAGE);
    assert_non_null(strstr(error_text(), "precision: bf16"));
    assert_non_null(strstr(error_text(), "avx2"));
    assert_non_null(strstr(error_text(), "train.precision=fp32"));
    assert_int_equal(conv_mode_check(&fp32), STATUS_OK);
    isa_set(isa_detect());
    isa_forbid_bf16("rank 3 (node7): its CPU has avx2 at most");
    assert_int_equal(conv_mode_check(&bf16), STATUS_USAGE);
    assert_non_null(strstr(error_text(), "rank 3 (node7): its CPU has avx2 at most"));
    isa_forbid_bf16(NULL);
    assert_int_equal(conv_mode_check(&bf16), isa_detect_bf16() ? STATUS_OK : STATUS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),      cmocka_unit_test(test_order_of_sums),
        cmocka_unit_test(test_first_layer), cmocka_unit_test(test_other_methods),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
