// SPDX-License-Identifier: MIT
// First weights from training rows: patches of whitened rows have the identity as their second
// moments, in every direction and both signs; the rows are spread over the whole set; dirac filters
// pass their channel on; what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/model.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/rows_file.h"
#include "trainer/samples.h"

#define FLOATS_MAX (1 << 16)

static uint64_t odd_row; // its first number is another

struct fixture {
    struct yaml *yaml;
    struct dataset *dataset;
    struct transforms *transforms;
    struct model *model;
    const struct model_param *list;
    float params[FLOATS_MAX];
};

static enum status fixture_try(struct fixture *f, const char *features, uint64_t rows, size_t h,
                               size_t w, size_t c)
{
    char path[256], text[1024];
    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    const struct part parts[2] = {
        {.key = "train/images",
         .type = H5_U8,
         .rank = 4,
         .dim = {rows, h, w, c},
         .odd = odd_row * h * w * c + 1,
         .odd_value = 251},
        {.key = "train/labels", .type = H5_I64, .rank = 1, .dim = {rows}, .fill = FILL_CLASSES}};
    rows_file_write(path, parts, 2);
    struct data_config data = dataset_defaults();
    expect_ok(dataset_open(&f->dataset, path, DATASET_TRAIN, &data), "open");
    snprintf(text, sizeof text, "features: %s\n", features);
    expect_ok(yaml_parse(&f->yaml, "test.yaml", text, strlen(text)), "yaml");
    expect_ok(transforms_plan(&f->transforms, f->yaml, yaml_find(f->yaml->root, "transforms"),
                              f->dataset),
              "transforms");
    struct model_config config = {.yaml = f->yaml,
                                  .features = yaml_find(f->yaml->root, "features"),
                                  .input = {h, w, c},
                                  .target = {true, 1, 2},
                                  .grain = 1};
    TRY(model_init(&f->model, &config));
    assert_true(model_floats(f->model) <= FLOATS_MAX);
    model_params(f->model, &f->list);
    expect_ok(model_init_params(f->model, 1, f->params), "init");
    return samples_init_params(f->model, f->dataset, f->transforms, f->params);
}

static void fixture_close(struct fixture *f)
{
    model_free(f->model);
    transforms_free(f->transforms);
    yaml_free(f->yaml);
    dataset_close(f->dataset);
}

// The answer of filter k at patch (p, q) of a sample.
static double answer(const struct param *w, const float *params, const float *x, size_t width,
                     size_t p, size_t q, size_t k)
{
    double y = 0;
    for (size_t r = 0; r < w->dim[0]; r++)
        for (size_t s = 0; s < w->dim[1]; s++)
            for (size_t c = 0; c < w->dim[2]; c++)
                y += (double)x[((p + r) * width + q + s) * w->dim[2] + c] *
                     (double)
                         params[w->offset + ((r * w->dim[1] + s) * w->dim[2] + c) * w->dim[3] + k];
    return y;
}

static const struct {
    const char *features;
    size_t rows, h, w, c, K;
} cases[] = {
    {"[whiten: {kernel: 2, eps: 0}, flatten: {}, dense: {out: 2}]", 40, 6, 5, 3, 24},
    {"[whiten: {kernel: 3, eps: 0, bias: false}, dense: {out: 2}]", 45, 6, 7, 1, 18},
    {"[whiten: {kernel: 2, eps: 0}, dense: {out: 2}]", 49, 1, 16, 2, 8},
};

// All rows are taken (fewer than one run): the moments must be the identity up to float.
static void test_identity(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct fixture f;
        expect_ok(
            fixture_try(&f, cases[i].features, cases[i].rows, cases[i].h, cases[i].w, cases[i].c),
            cases[i].features);
        const struct param *w = f.list[0].param;
        size_t K = cases[i].K, n = cases[i].h * cases[i].w * cases[i].c, count = 0;
        assert_int_equal(w->dim[3], K);
        double moment[24 * 24] = {0}, y[24];
        float x[256], scratch[256];
        uint8_t raw[256];
        for (uint64_t row = 0; row < cases[i].rows; row++) {
            expect_ok(dataset_read(f.dataset, row, 1, raw), "read");
            transforms_apply(f.transforms, raw, true, false, 0, 0, row, x, scratch);
            assert_true(n <= 256);
            for (size_t p = 0; p + w->dim[0] <= cases[i].h; p++)
                for (size_t q = 0; q + w->dim[1] <= cases[i].w; q++, count++) {
                    for (size_t k = 0; k < K; k++)
                        y[k] = answer(w, f.params, x, cases[i].w, p, q, k);
                    for (size_t k = 0; k < K * K; k++)
                        moment[k] += y[k / K] * y[k % K];
                }
        }
        for (size_t k = 0; k < K * K; k++) {
            size_t a = k / K, b = k % K;
            double want = a == b ? 1 : a % (K / 2) == b % (K / 2) ? -1 : 0;
            double got = moment[k] / (double)count;
            if (!(fabs(got - want) < 1e-5))
                fail_msg("%s: moment %zu, %zu is %.9g, expected %g, tolerance 1e-5",
                         cases[i].features, a, b, got, want);
        }
        fixture_close(&f);
    }
}

// Variances shrink by eps: filter k answers with lambda / (lambda + eps).
static void test_eps(void **state)
{
    (void)state;
    static struct fixture f, g;
    expect_ok(fixture_try(&f, "[whiten: {eps: 0}, dense: {out: 2}]", 40, 6, 5, 1), "eps 0");
    const struct param *w = f.list[0].param;
    expect_ok(fixture_try(&g, "[whiten: {eps: 0.5}, dense: {out: 2}]", 40, 6, 5, 1), "eps");
    for (size_t k = 0; k < 4; k++) {
        double a = 0, b = 0; // squared lengths: 1 / lambda, 1 / (lambda + eps)
        for (size_t i = 0; i < 4; i++) {
            a += pow((double)f.params[w->offset + i * 8 + k], 2);
            b += pow((double)g.params[w->offset + i * 8 + k], 2);
        }
        assert_true(fabs(1 / b - 1 / a - 0.5) < 1e-5);
        assert_true(k == 0 || a > 0);
    }
    fixture_close(&g);
    fixture_close(&f);
}

// 5,170 rows, more than are taken: 100 runs of 50, 51 apart. A number of a row counts if and only
// if a run holds the row; and twice the same is the same bits.
static void test_spread(void **state)
{
    (void)state;
    static const struct {
        uint64_t row;
        bool is_taken;
    } rows[] = {{1, true},     {49, true},    {50, false},  {51, true},
                {5047, true},  {5048, false}, {5049, true}, {5098, true},
                {5099, false}, {5169, false}, {2548, true}, {2549, false}};
    static struct fixture f, g;
    const char *recipe = "[whiten: {}, dense: {out: 2}]\ntransforms: []";
    odd_row = 5150;
    expect_ok(fixture_try(&f, recipe, 5170, 3, 3, 1), recipe);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        odd_row = rows[i].row;
        expect_ok(fixture_try(&g, recipe, 5170, 3, 3, 1), recipe);
        if ((memcmp(f.params, g.params, sizeof f.params) != 0) != rows[i].is_taken)
            fail_msg("row %d is %staken", (int)odd_row, rows[i].is_taken ? "not " : "");
        fixture_close(&g);
    }
    odd_row = 0;
    fixture_close(&f);
}

static void test_dirac(void **state)
{
    (void)state;
    static struct fixture f;
    expect_ok(
        fixture_try(&f, "[conv: {out: 5, kernel: 3, init: dirac}, dense: {out: 2}]", 12, 4, 5, 3),
        "dirac");
    const struct param *w = f.list[0].param;
    double squares = 0;
    for (size_t i = 0; i < w->count; i++) {
        size_t k = i % 5, c = i / 5 % 3, tap = i / 15;
        float value = f.params[w->offset + i];
        if (k < 3)
            assert_true(value == (tap == 4 && c == k ? 1.0f : 0.0f));
        else
            assert_true(fabsf(value) <= 0.19246f && value != 0); // 1 / sqrt(27)
        squares += k < 3 ? 0 : (double)(value * value);
    }
    assert_true(fabs(squares / 54 * 81 - 1) < 0.35); // variance 1 / (3 fan in), of 54 numbers
    fixture_close(&f);
}

static const struct {
    const char *features, *parts;
} refused[] = {
    {"[relu: {}, whiten: {}, dense: {out: 2}]", "'whiten1'|must be the first layer|'relu1'"},
    {"[whiten: {kernel: 5}, dense: {out: 2}]", "patches of 5 x 5|input of 4 x 5"},
    {"[whiten: {eps: -1}, dense: {out: 2}]", "'eps'|-1"},
    {"[conv: {out: 4, kernel: 2, init: dirac}, dense: {out: 2}]", "odd kernel|2 x 2"},
    {"[conv: {out: 6, kernel: 3, groups: 3, init: dirac}, dense: {out: 2}]", "groups 1"},
    {"[scale: {}, dense: {out: 2}]", "factor"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        static struct fixture f;
        expect_error(fixture_try(&f, refused[i].features, 12, 4, 5, 3), STATUS_USAGE,
                     refused[i].parts, refused[i].features);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity), cmocka_unit_test(test_eps),
        cmocka_unit_test(test_spread),   cmocka_unit_test(test_dirac),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, folder_begin, folder_end);
}
