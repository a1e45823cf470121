// SPDX-License-Identifier: MIT
// One table of cases drives all layers of layers.def through layer_check, on every instruction set
// this machine has; a layer without a case fails. Plus the errors of shape().
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "models/kernels/gemm.h"
#include "tests/support/layer_check.h"
#include "tests/support/naive.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// clang-format off
static const struct layer_case cases[] = {
    // layer, options, y, n, number of inputs, inputs
    {"conv", "{out: 8, kernel: 3, pad: 1}", {5, 5, 8}, 2, 1, {{5, 5, 3}}},
    {"conv", "{out: 16, kernel: 3, pad: 1, bias: false}", {6, 6, 16}, 4, 1, {{6, 6, 16}}},
    {"conv", "{out: 64, kernel: 3, pad: 1}", {3, 4, 64}, 2, 1, {{3, 4, 64}}},
    {"conv", "{out: 80, kernel: 1}", {4, 3, 80}, 2, 1, {{4, 3, 17}}},
    {"conv", "{out: 130, kernel: 1, bias: false}", {3, 3, 130}, 2, 1, {{3, 3, 64}}},
    {"conv", "{out: 17, kernel: 3, stride: 2, pad: 1}", {4, 4, 17}, 2, 1, {{7, 7, 5}}},
    {"conv", "{out: 16, kernel: 3, stride: 2, pad: 1, bias: false}",
     {4, 4, 16}, 2, 1, {{8, 8, 16}}},
    {"conv", "{out: 32, kernel: 1, stride: 2}", {4, 3, 32}, 2, 1, {{7, 6, 16}}},
    {"conv", "{out: 5, kernel: 2, stride: 3}", {2, 2, 5}, 2, 1, {{6, 7, 1}}},
    {"conv", "{out: 4, kernel: 3}", {3, 4, 4}, 2, 1, {{5, 6, 1}}},
    {"conv", "{out: 6, kernel: 3, dilation: 2, pad: 2}", {6, 5, 6}, 2, 1, {{6, 5, 3}}},
    {"conv", "{out: 3, kernel: [1, 5], stride: [2, 1], pad: [0, 2]}", {3, 7, 3}, 2, 1, {{6, 7, 2}}},
    {"conv", "{out: 6, kernel: [3, 2], stride: [1, 2], dilation: [2, 1]}",
     {3, 3, 6}, 2, 1, {{7, 7, 3}}},
    {"conv", "{out: 8, kernel: 3, pad: 1, groups: 2}", {5, 5, 8}, 2, 1, {{5, 5, 6}}},
    {"conv", "{out: 32, kernel: 3, pad: 1, groups: 4, stride: 2}", {3, 3, 32}, 2, 1, {{6, 6, 64}}},
    {"conv", "{out: 16, kernel: 3, pad: 1, groups: 16}", {5, 6, 16}, 2, 1, {{5, 6, 16}}},
    {"conv", "{out: 17, kernel: 3, pad: 1, stride: 2, groups: 17, bias: false}",
     {3, 3, 17}, 2, 1, {{5, 6, 17}}},
    {"conv", "{out: 10, kernel: 3, pad: 1, groups: 5}", {4, 4, 10}, 2, 1, {{4, 4, 5}}},
    {"conv", "{out: 8, kernel: 7, stride: 2, pad: 3, bias: false}", {5, 5, 8}, 2, 1, {{9, 10, 3}}},
    {"conv", "{out: 4, kernel: 5, pad: 2}", {2, 3, 4}, 2, 1, {{2, 3, 4}}},
    {"conv", "{out: 5, kernel: 3, pad: 1}", {1, 9, 5}, 2, 1, {{1, 9, 4}}},
    {"conv", "{out: 16, kernel: 3, stride: 2}", {1, 4, 16}, 2, 1, {{1, 9, 16}}},
    {"dense", "{out: 10}", {1, 1, 10}, 6, 1, {{1, 1, 64}}},
    {"dense", "{out: 1}", {1, 1, 1}, 2, 1, {{1, 1, 1}}},
    {"dense", "{out: 17, bias: false}", {1, 1, 17}, 4, 1, {{1, 1, 33}}},
    {"dense", "{out: 100}", {1, 1, 100}, 14, 1, {{1, 1, 130}}},
    {"batchnorm", "", {4, 5, 3}, 4, 1, {{4, 5, 3}}},
    {"batchnorm", "", {3, 3, 16}, 2, 1, {{3, 3, 16}}},
    {"batchnorm", "{eps: 1e-3, momentum: 0.3}", {5, 7, 37}, 2, 1, {{5, 7, 37}}},
    {"batchnorm", "", {1, 1, 70}, 8, 1, {{1, 1, 70}}},
    {"batchnorm", "{scale: false, bias_lr: 64}", {3, 3, 16}, 2, 1, {{3, 3, 16}}},
    {"batchnorm", "", {2, 2, 128}, 4, 1, {{2, 2, 128}}},
    {"relu", "", {3, 5, 7}, 2, 1, {{3, 5, 7}}},
    {"relu", "", {4, 4, 64}, 2, 1, {{4, 4, 64}}},
    {"leaky_relu", "", {3, 5, 7}, 2, 1, {{3, 5, 7}}},
    {"leaky_relu", "{slope: 0.2}", {1, 1, 33}, 2, 1, {{1, 1, 33}}},
    {"gelu", "", {3, 5, 7}, 2, 1, {{3, 5, 7}}},
    {"silu", "", {3, 5, 7}, 2, 1, {{3, 5, 7}}},
    {"maxpool", "{kernel: 2}", {3, 4, 16}, 2, 1, {{6, 8, 16}}},
    {"maxpool", "{kernel: 2}", {3, 3, 5}, 2, 1, {{7, 7, 5}}},
    {"maxpool", "{kernel: 3, stride: 2, pad: 1}", {4, 4, 37}, 2, 1, {{8, 7, 37}}},
    {"maxpool", "{kernel: [1, 3], stride: [2, 1], pad: [0, 1]}", {3, 5, 3}, 2, 1, {{5, 5, 3}}},
    {"maxpool", "{kernel: 2, stride: 3}", {2, 3, 70}, 2, 1, {{6, 8, 70}}},
    {"maxpool", "{kernel: 2}", {1, 4, 3}, 2, 1, {{1, 9, 3}}},
    {"avgpool", "{kernel: 2}", {3, 4, 16}, 2, 1, {{6, 8, 16}}},
    {"avgpool", "{kernel: 3, stride: 2, pad: 1}", {4, 4, 37}, 2, 1, {{8, 7, 37}}},
    {"avgpool", "{kernel: 3, stride: 2, pad: 1, count_include_pad: false}",
     {4, 3, 4}, 2, 1, {{7, 6, 4}}},
    {"avgpool", "{kernel: [3, 1], stride: [1, 2]}", {3, 3, 70}, 2, 1, {{5, 6, 70}}},
    {"globalpool", "", {1, 1, 16}, 2, 1, {{7, 5, 16}}},
    {"globalpool", "", {1, 1, 37}, 2, 1, {{3, 2, 37}}},
    {"dropout", "", {3, 5, 7}, 4, 1, {{3, 5, 7}}},
    {"dropout", "{rate: 0.1}", {1, 1, 64}, 2, 1, {{1, 1, 64}}},
    {"dropout", "{rate: 0}", {2, 2, 3}, 2, 1, {{2, 2, 3}}},
    {"flatten", "", {1, 1, 105}, 2, 1, {{3, 5, 7}}},
    {"add", "", {3, 5, 7}, 2, 2, {{3, 5, 7}, {3, 5, 7}}},
    {"add", "", {4, 4, 16}, 2, 2, {{4, 4, 16}, {4, 4, 16}}},
    {"add", "", {2, 3, 4}, 2, 3, {{2, 3, 4}, {2, 3, 4}, {2, 3, 4}}},
    {"concat", "", {3, 4, 10}, 2, 2, {{3, 4, 3}, {3, 4, 7}}},
    {"concat", "", {2, 2, 112}, 2, 3, {{2, 2, 16}, {2, 2, 64}, {2, 2, 32}}},
    {"subsample", "{out: 32}", {4, 3, 32}, 2, 1, {{7, 6, 16}}},
    {"subsample", "{stride: 1, out: 8}", {2, 2, 8}, 2, 1, {{2, 2, 3}}},
    {"subsample", "{stride: 3}", {2, 3, 5}, 2, 1, {{5, 7, 5}}},
    {"subsample", "{out: 9, before: 1}", {3, 4, 9}, 2, 1, {{5, 7, 5}}},
    {"subsample", "{out: 9, before: 0}", {3, 4, 9}, 2, 1, {{5, 7, 5}}},
    {"filterbank", "{filters: [sobel_x, laplacian, gaussian]}", {5, 6, 3}, 2, 1, {{5, 6, 1}}},
    {"filterbank", "{filters: [sobel_x], numbers: [1, 2, 3, 4, 5, 6, 7, 8, 9]}",
     {4, 4, 6}, 2, 1, {{4, 4, 3}}},
    {"filterbank", "{filters: [gaussian], kernel: 5}", {6, 5, 2}, 2, 1, {{6, 5, 2}}},
    {"whiten", "{kernel: 2}", {5, 4, 24}, 2, 1, {{6, 5, 3}}},
    {"whiten", "{kernel: 3, pad: 1, bias: false}", {5, 5, 18}, 2, 1, {{5, 5, 1}}},
    {"whiten", "{kernel: 4}", {1, 6, 16}, 2, 1, {{1, 9, 2}}},
    {"hog", "{cell: 3, bins: 4}", {1, 2, 16}, 2, 1, {{7, 9, 1}}},
    {"hog", "{cell: 2, eps: 0.5}", {2, 1, 36}, 2, 1, {{6, 5, 1}}},
    {"scale", "{factor: -0.3}", {3, 5, 7}, 2, 1, {{3, 5, 7}}},
    {"scale", "{factor: 0.125}", {1, 1, 10}, 4, 1, {{1, 1, 10}}},
};
// clang-format on

static void test_all_have_cases(void **state)
{
    (void)state;
    size_t n;
    const struct layer_ops *const *all = layer_ops_all(&n);
    const char *const *names = layer_names(&n);
    for (size_t i = 0; i < n; i++) {
        bool has_case = false;
        for (size_t k = 0; k < COUNT(cases); k++)
            has_case = has_case || strcmp(cases[k].layer, all[i]->name) == 0;
        if (!has_case || !naive_knows(all[i]->name))
            fail_msg("layer '%s' has no case here or no naive form", all[i]->name);
        assert_string_equal(names[i], all[i]->name);
        assert_ptr_equal(layer_ops_find(names[i]), all[i]);
        assert_true(all[i]->help && all[i]->help[0]);
    }
    assert_null(layer_ops_find("no such layer"));
}

static bool uses_gemm(const struct layer_case *c)
{
    return strcmp(c->layer, "conv") == 0 || strcmp(c->layer, "dense") == 0 ||
           strcmp(c->layer, "filterbank") == 0;
}

static void check_on(enum isa isa)
{
    if (isa > isa_detect()) {
        print_message("this machine has no %s\n", isa_name(isa));
        skip();
    }
    isa_set(isa);
    for (size_t i = 0; i < COUNT(cases); i++)
        if (isa == isa_detect() || !uses_gemm(&cases[i]))
            layer_check(&cases[i]);
    isa_set(isa_detect());
}

static void test_base(void **state)
{
    (void)state;
    check_on(ISA_BASE);
}

static void test_avx2(void **state)
{
    (void)state;
    check_on(ISA_AVX2);
}

static void test_avx512(void **state)
{
    (void)state;
    check_on(ISA_AVX512);
}

static void check_with(enum gemm_backend backend)
{
    const size_t step = getenv("SW2_TEST_QUICK") ? 4 : 1; // sanitizer builds: 5 times as slow
    gemm_select(backend);
    for (size_t i = 0; i < COUNT(cases); i += step)
        if (uses_gemm(&cases[i]))
            layer_check(&cases[i]);
    gemm_select(GEMM_AUTO);
}

static void test_openblas(void **state)
{
    (void)state;
    check_with(GEMM_BLAS);
}

static void test_reference(void **state)
{
    (void)state;
    check_with(GEMM_REF);
}

static void test_shape_errors(void **state)
{
    (void)state;
    static const struct {
        struct layer_case c;
        const char *text; // part of the message
    } bad[] = {
        {{"conv", "{out: 8, kernel: 5}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "does not fit"},
        {{"conv", "{out: 8, kernel: 3, groups: 2}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "groups 2"},
        {{"conv", "{out: 8, kernel: [3, 3, 3]}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "kernel"},
        {{"dense", "{out: 8}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "4 x 6 x 3"},
        {{"maxpool", "{kernel: 5}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "5x5 does not fit its input"},
        {{"maxpool", "{kernel: 3, pad: 2}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "more than half"},
        {{"avgpool", "{kernel: [2, 2, 2]}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "not 3 numbers"},
        {{"maxpool", "{}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "kernel"},
        {{"add", "", {0, 0, 0}, 2, 2, {{4, 6, 3}, {4, 6, 2}}}, "input 2 is 4x6x2"},
        {{"concat", "", {0, 0, 0}, 2, 2, {{4, 6, 3}, {4, 5, 3}}}, "input 2 is 4x5x3"},
        {{"subsample", "{out: 2}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "less than the 3 channels"},
        {{"subsample", "{out: 5, before: 3}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "before 3 is more"},
        {{"hog", "{cell: 4}", {0, 0, 0}, 2, 1, {{12, 7, 3}}}, "not two cells of 4"},
        {{"dropout", "{rate: 1}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "rate"},
        {{"dropout", "", {0, 0, 0}, 2, 1, {{3000, 3000, 3}}}, "more than"},
        {{"filterbank", "{filters: [sobel_z]}", {0, 0, 0}, 2, 1, {{4, 6, 3}}}, "sobel"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        enum status status = layer_check_shape(&bad[i].c);
        if (status != STATUS_USAGE || !strstr(error_text(), bad[i].text))
            fail_msg("%s %s: status %d, '%s', expected '... %s ...'", bad[i].c.layer,
                     bad[i].c.options, (int)status, error_text(), bad[i].text);
    }
}

// The mask depends on seed, epoch, row and layer, and on nothing else; about `rate` of it is zero.
static void test_dropout_mask(void **state)
{
    (void)state;
    static const struct layer_case c = {"dropout", "{rate: 0.25}", {4, 8, 16}, 4, 1, {{4, 8, 16}}};
    const struct layer_bench_options base = {.n = 4, .index = 3, .seed = 11, .epoch = 2};
    struct layer_bench_options o[5] = {base, base, base, base, base};
    o[1].seed = 12, o[2].epoch = 3, o[3].index = 4;
    o[4].first = 1, o[4].n = 2; // other rows; its row 0 is row 1 of the first
    double *y[5];
    size_t size = c.y.h * c.y.w * c.y.c;
    for (int i = 0; i < 5; i++) {
        struct layer_bench b;
        layer_bench_open(&b, &c, &o[i]);
        layer_bench_forward(&b, true);
        y[i] = layer_bench_dense(&b, &b.layer.y, "y");
        layer_bench_close(&b);
        size_t zeros = 0, same = 0;
        for (size_t k = 0; k < o[i].n * size; k++) {
            zeros += y[i][k] == 0;
            same += (y[i][k] == 0) == (y[0][k] == 0);
        }
        assert_in_range(zeros, o[i].n * size * 22 / 100, o[i].n * size * 28 / 100);
        assert_true(i == 0 || same < o[i].n * size * 80 / 100); // two masks: 62.5 % alike
    }
    assert_memory_equal(y[4], y[0] + size, 2 * size * sizeof **y);
    for (int i = 0; i < 5; i++)
        free(y[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_have_cases), cmocka_unit_test(test_base),
        cmocka_unit_test(test_avx2),           cmocka_unit_test(test_avx512),
        cmocka_unit_test(test_openblas),       cmocka_unit_test(test_reference),
        cmocka_unit_test(test_shape_errors),   cmocka_unit_test(test_dropout_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
