// SPDX-License-Identifier: MIT
// trainer/tta: the logits of a linear and of a non-linear model, averaged over views that are made
// here pixel by pixel; names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "tests/support/fake_model.h"
#include "trainer/tta.h"

#define N 3
#define H 4
#define W 5
#define C 2
#define K 6
#define SIZE (H * W * C)
#define FLOATS_MAX 4096

static float params[FLOATS_MAX], x[N * SIZE], moved[N * SIZE];

static const char *const networks[] = {
    "features: [dense: {out: 6}]",
    "features: [conv: {out: 4, kernel: 3, pad: 1}, gelu: {}, maxpool: {kernel: 2},"
    " dense: {out: 6}, scale: {factor: 0.5}]",
};

static struct yaml *yaml;

static struct model *model_open(const char *text)
{
    struct model *model;
    expect_ok(yaml_parse(&yaml, "test.yaml", text, strlen(text)), text);
    struct model_config config = {.yaml = yaml,
                                  .features = yaml_find(yaml->root, "features"),
                                  .input = {H, W, C},
                                  .target = {true, 1, K},
                                  .grain = N};
    expect_ok(model_init(&model, &config), text);
    assert_true(model_floats(model) <= FLOATS_MAX);
    expect_ok(model_init_params(model, 3, params), "init");
    model_prepare(model, params, NULL);
    return model;
}

// Without a mirror at the edge: pixel -1 is pixel 1, pixel n is pixel n - 2.
static size_t inside(int i, int n)
{
    return (size_t)(i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);
}

// sum += weight * logits of the view: flipped, then moved by shift pixels down and right.
static void view_add(struct model *model, bool is_flipped, int shift, double weight, double *sum)
{
    for (int n = 0; n < N; n++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++)
                for (int c = 0; c < C; c++) {
                    size_t from_w = inside((is_flipped ? W - 1 - w : w) - shift, W);
                    size_t from = (inside(h - shift, H) * W + from_w) * C + (size_t)c;
                    moved[((n * H + h) * W + w) * C + c] = x[(size_t)n * SIZE + from];
                }
    struct pass pass = {.n = N, .params = params};
    model_forward(model, &pass, moved);
    for (size_t i = 0; i < N * K; i++)
        sum[i] += weight * (double)model_output(model)->at[i];
}

static void check(const char *network, enum tta_kind kind)
{
    struct model *model = model_open(network);
    struct tta *tta;
    double want[N * K] = {0}, plain[N * K] = {0}, most = 0;
    double whole = kind == TTA_FLIP ? 0.5 : 0.25;
    for (size_t i = 0; i < N * SIZE; i++)
        x[i] = fake_value(9, i);
    view_add(model, false, 0, 1, plain);
    for (int flip = 0; flip < 2; flip++) {
        view_add(model, flip, 0, whole, want);
        for (int shift = -1; kind == TTA_SHIFT && shift < 2; shift += 2)
            view_add(model, flip, shift, whole / 2, want);
    }
    expect_ok(tta_init(&tta, kind, model, (struct shape){H, W, C}, N), "tta");
    struct pass pass = {.n = N, .params = params};
    tta_forward(tta, &pass, x);
    for (size_t i = 0; i < N * K; i++) {
        double got = (double)model_output(model)->at[i];
        if (!(fabs(got - want[i]) < 1e-6))
            fail_msg("%s, %s: logit %zu is %.9g, expected %.9g, tolerance 1e-6", network,
                     tta_name(kind), i, got, want[i]);
        most = fmax(most, fabs(want[i] - plain[i]));
    }
    assert_true(most > 1e-3); // views do differ
    tta_free(tta);
    model_free(model);
    yaml_free(yaml);
}

static void test_views(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        check(networks[i], TTA_FLIP);
        check(networks[i], TTA_SHIFT);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (int kind = TTA_OFF; kind <= TTA_SHIFT; kind++) {
        enum tta_kind found = TTA_OFF;
        expect_ok(tta_find("--tta", tta_name((enum tta_kind)kind), &found), "find");
        assert_int_equal(found, kind);
    }
    enum tta_kind kind;
    expect_error(tta_find("--tta", "mirror", &kind), STATUS_USAGE, "--tta|'mirror'|flip, shift",
                 "mirror");
    struct model *model = model_open(networks[0]);
    struct tta *tta;
    expect_error(tta_init(&tta, TTA_SHIFT, model, (struct shape){1, H * W, C}, N), STATUS_USAGE,
                 "shift|1 x 20", "signal");
    assert_null(tta);
    model_free(model);
    yaml_free(yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
