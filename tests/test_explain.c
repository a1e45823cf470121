// SPDX-License-Identifier: MIT
// Explanations against PyTorch and Captum on the same weights and samples (golden/explain.h5, made
// by scripts/make_golden_explain.py), and against their own axioms.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "tests/support/expect.h"
#include "tests/support/golden.h"
#include "trainer/explain_quality.h"
#include "trainer/explain_sanity.h"

#define TOLERANCE 2e-5 // of the largest value: float32 against float64

enum { STEPS = 20, SAMPLES = 6, MASKS = 8, CURVE = 10 }; // of make_golden_explain.py

static struct h5 *file;
static struct group alone = {.size = 1};

struct net {
    const char *name;
    struct golden_model m;
    size_t target, floats;
    float *x, *baseline;
    struct explain_config config;
    struct explain *explain;
};

static void net_open(struct net *net, const char *name, const char *keep, size_t chunk)
{
    *net = (struct net){.name = name};
    struct shape in = golden_shape(file, name, "input");
    char *recipe = golden_text(file, name, "recipe");
    struct model_config config = {
        .input = in,
        .target = {true, 1, (size_t)golden_int(file, name, "classes")},
        .grain = chunk,
        .input_gradient = true,
        .keep = keep,
    };
    golden_model_init(&net->m, recipe, config);
    free(recipe);
    const struct model_param *list;
    size_t n_list = model_params(net->m.model, &list), n, at = 0;
    float *params = golden_read(file, name, "params", H5_F32, &n);
    for (size_t i = 0; i < n_list; i++) {
        assert_true(at + list[i].param->count <= n);
        memcpy(net->m.params + list[i].param->offset, params + at,
               list[i].param->count * sizeof *params);
        at += list[i].param->count;
    }
    assert_int_equal(at, n);
    free(params);
    model_prepare(net->m.model, net->m.params, NULL);
    net->target = (size_t)golden_int(file, name, "target");
    net->x = golden_read(file, name, "x", H5_F32, &net->floats);
    net->baseline = golden_read(file, name, "baseline", H5_F32, NULL);
    net->config = explain_defaults();
    net->config.steps = STEPS;
    net->config.samples = SAMPLES;
    net->config.seed = 3;
    net->config.window = 3;
    net->config.stride = 2;
    expect_ok(explain_init(&net->explain, &alone, net->m.model, net->m.params, &net->config), name);
}

// The same network with other settings.
static void net_again(struct net *net)
{
    explain_free(net->explain);
    expect_ok(explain_init(&net->explain, &alone, net->m.model, net->m.params, &net->config),
              net->name);
}

static void net_close(struct net *net)
{
    explain_free(net->explain);
    golden_model_free(&net->m);
    free(net->x);
    free(net->baseline);
}

static void compare(const struct net *net, const char *set, const float *got, size_t n)
{
    size_t n_want;
    char name[128];
    snprintf(name, sizeof name, "%s/%s", net->name, set);
    float *want = golden_read(file, net->name, set, H5_F32, &n_want);
    assert_int_equal(n, n_want);
    bool is_equal = golden_equal(name, "(h, w, c)", got, want, n, TOLERANCE);
    free(want);
    assert_true(is_equal);
}

static size_t raw_floats(const struct net *net, enum explain_method method)
{
    struct shape s = explain_raw_shape(net->explain, method);
    return s.h * s.w * s.c;
}

static float *run(struct net *net, enum explain_method method)
{
    float *raw = malloc(raw_floats(net, method) * sizeof *raw);
    assert_non_null(raw);
    explain_run(net->explain, method, net->x, net->target, raw);
    return raw;
}

static void check(struct net *net, enum explain_method method, const char *set)
{
    float *raw = run(net, method);
    compare(net, set, raw, raw_floats(net, method));
    free(raw);
}

// Each layer kept in turn: what it gives and the score's gradient are PyTorch's.
static void layer_check(struct net *net, const struct layer *layer)
{
    float row[4096], y[4096];
    const struct tensor *views[2] = {&layer->y, &layer->dy};
    static const char *const sets[2] = {"y", "dy"};
    explain_run(net->explain, EXPLAIN_GRADIENT, net->x, net->target, row);
    compare(net, "gradient", row, net->floats); // which keeping did not change
    for (int k = 0; k < 2; k++) {
        char set[128];
        const struct tensor *t = views[k];
        for (size_t h = 0; h < t->h; h++)
            memcpy(y + h * t->w * t->c, tensor_row(t, 0, h), t->w * t->c * sizeof *y);
        snprintf(set, sizeof set, "layers/%s/%s", layer->name, sets[k]);
        compare(net, set, y, t->h * t->w * t->c);
    }
}

static void test_kept_layers(void **state)
{
    struct net net;
    net_open(&net, *state, NULL, 2);
    size_t n = model_n_layers(net.m.model), checked = 0;
    char name[64];
    assert_null(model_kept(net.m.model));
    for (size_t i = 0; i < n; i++) {
        const struct layer *layer = model_layer(net.m.model, i);
        snprintf(name, sizeof name, "%s", layer->name);
        if (strncmp(name, "flatten", 7) == 0)
            continue; // made by the graph
        struct net kept;
        net_open(&kept, *state, name, 2);
        assert_string_equal(model_kept(kept.m.model)->name, name);
        layer_check(&kept, model_kept(kept.m.model));
        net_close(&kept);
        checked++;
    }
    assert_true(checked >= 8);
    net_close(&net);
}

static void test_captum(void **state)
{
    struct net net;
    net_open(&net, *state, MODEL_KEEP_AUTO, 4);
    char *kept = golden_text(file, net.name, "kept"), *layer = golden_text(file, net.name, "layer");
    assert_string_equal(explain_layer(net.explain)->name, kept);
    float y[64];
    explain_outputs(net.explain, net.x, y);
    compare(&net, "y", y, explain_n_outputs(net.explain));
    check(&net, EXPLAIN_GRADIENT, "gradient");
    check(&net, EXPLAIN_GRADIENT_INPUT, "gradxinput");
    check(&net, EXPLAIN_INTEGRATED, "integrated");
    check(&net, EXPLAIN_SMOOTHGRAD, "smoothgrad");
    check(&net, EXPLAIN_OCCLUSION, "occlusion");
    check(&net, EXPLAIN_GRADCAM, "gradcam");
    check(&net, EXPLAIN_GRADCAM_PP, "gradcampp");
    float *raw = run(&net, EXPLAIN_GRADCAM), map[1024];
    explain_map(net.explain, EXPLAIN_GRADCAM, raw, map);
    compare(&net, "gradcam_map", map,
            model_layer(net.m.model, 0)->x[0].h * model_layer(net.m.model, 0)->x[0].w);
    free(raw);
    net.config.rule = EXPLAIN_MIDDLE;
    net_again(&net);
    check(&net, EXPLAIN_INTEGRATED, "integrated_middle");
    net.config.rule = EXPLAIN_GAUSS_LEGENDRE;
    net.config.baseline = net.baseline;
    net.config.window = 4;
    net.config.stride = 3;
    net_again(&net);
    check(&net, EXPLAIN_INTEGRATED, "integrated_baseline");
    check(&net, EXPLAIN_OCCLUSION, "occlusion_baseline");
    net_close(&net);
    net_open(&net, *state, layer, 4);
    check(&net, EXPLAIN_GRADCAM, "gradcam_layer");
    net_close(&net);
    free(kept);
    free(layer);
}

static void near(const struct net *net, const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s: %s is %.9g, expected %.9g within %g", net->name, what, got, want, tolerance);
}

static void test_quality(void **state)
{
    struct net net;
    struct quality_config config = {.steps = CURVE, .masks = MASKS, .is_probability = true};
    struct explain_quality *quality;
    float map[1024];
    net_open(&net, *state, NULL, 5);
    struct shape in = golden_shape(file, net.name, "input");
    expect_ok(quality_init(&quality, net.explain, in, &config), "quality");
    float *raw = run(&net, EXPLAIN_INTEGRATED);
    explain_map(net.explain, EXPLAIN_INTEGRATED, raw, map);
    quality_sample(quality, net.x, net.target);
    struct quality got = quality_measure(quality, map);
    near(&net, "deletion", got.deletion, golden_double(file, net.name, "deletion"), 1e-5);
    near(&net, "insertion", got.insertion, golden_double(file, net.name, "insertion"), 1e-5);
    double want = golden_double(file, net.name, "infidelity");
    near(&net, "infidelity", got.infidelity, want, 1e-4 * want);
    near(&net, "sensitivity-n", got.sensitivity_n, golden_double(file, net.name, "sensitivity_n"),
         1e-4);
    for (size_t i = 0; i < in.h * in.w; i++)
        map[i] *= 3; // its scale does not count
    struct quality scaled = quality_measure(quality, map);
    near(&net, "infidelity of a scaled map", scaled.infidelity, want, 1e-4 * want);
    assert_true(scaled.unexplained >= 0 && scaled.unexplained <= 1);
    quality_free(quality);
    free(raw);
    net_close(&net);
}

// Sundararajan et al. 2017: completeness; and a feature that is the baseline's gets nothing.
static void test_completeness(void **state)
{
    struct net net;
    net_open(&net, *state, NULL, 16);
    net.config.steps = 2000; // ReLUs make kinks
    for (int k = 0; k < 2; k++) {
        net.config.baseline = k ? net.baseline : NULL;
        net_again(&net);
        net.x[5] = k ? net.baseline[5] : 0;
        float *raw = run(&net, EXPLAIN_INTEGRATED);
        double rest = explain_completeness(net.explain, net.x, net.target, raw);
        if (!(rest < 2e-3))
            fail_msg("%s: the sum is off by %g of the scores' difference", net.name, rest);
        assert_true(raw[5] == 0);
        raw[7] += 1; // and a broken sum is seen
        assert_true(explain_completeness(net.explain, net.x, net.target, raw) > 1e-2);
        free(raw);
    }
    net_close(&net);
}

// The gradient by central differences of the score, where the network is smooth.
static void test_differences(void **state)
{
    struct net net;
    net_open(&net, *state, NULL, 1);
    float *raw = run(&net, EXPLAIN_GRADIENT), y[64];
    double most = 0;
    for (size_t i = 0; i < net.floats; i++)
        most = fmax(most, fabs((double)raw[i]));
    for (size_t i = 0; i < net.floats; i += 7) {
        const float at = net.x[i], step = 4e-3f;
        double difference = 0;
        for (int side = -1; side <= 1; side += 2) {
            net.x[i] = at + (float)side * step;
            explain_outputs(net.explain, net.x, y);
            difference += side * (double)y[net.target] / (2 * (double)step);
        }
        net.x[i] = at;
        near(&net, "a difference", (double)raw[i], difference, 2e-3 * most);
    }
    free(raw);
    net_close(&net);
}

// Adebayo et al. 2018: maps of random weights are other maps, the first stages leave the features
// alone, and the trained weights come back.
static void test_sanity(void **state)
{
    struct net net;
    struct sanity *sanity;
    float *maps[EXPLAIN_METHODS] = {NULL}, memory[EXPLAIN_METHODS][256];
    double correlation[EXPLAIN_METHODS][SANITY_STAGES];
    net_open(&net, *state, MODEL_KEEP_AUTO, 8);
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        float *raw = run(&net, (enum explain_method)m);
        explain_map(net.explain, (enum explain_method)m, raw, maps[m] = memory[m]);
        free(raw);
    }
    expect_ok(sanity_init(&sanity, &alone, net.explain, net.m.model, net.m.params), "sanity");
    sanity_sample(sanity, net.x, net.target, maps, correlation);
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        for (int stage = 0; stage < SANITY_STAGES; stage++) {
            bool is_same = m == EXPLAIN_ACTIVATION && stage == 0; // the head alone is random
            double got = correlation[m][stage];
            bool is_empty = got == 0 && !explain_info((enum explain_method)m)->is_layer;
            if (is_empty || (is_same ? got < 1 - 1e-9 : !(fabs(got) < 0.95)))
                fail_msg("%s of %s, stage %d: correlation %g", net.name,
                         explain_info((enum explain_method)m)->name, stage, got);
        }
    check(&net, EXPLAIN_GRADIENT, "gradient");
    sanity_free(sanity);
    net_close(&net);
}

// Of a linear network gradients times inputs and integrated gradients explain all that hiding
// positions does (Ancona et al. 2018, proposition 2), and are the same.
static void test_linear(void **state)
{
    (void)state;
    enum { FLOATS = 6 * 5 * 3 };
    struct golden_model m;
    struct model_config config = {
        .input = {6, 5, 3}, .target = {true, 1, 4}, .grain = 8, .input_gradient = true};
    struct explain_config defaults = explain_defaults();
    struct quality_config sets = {.steps = 5, .masks = 16, .is_probability = true};
    struct explain *explain;
    struct explain_quality *quality;
    float x[FLOATS], raw[2][FLOATS], map[30];
    golden_model_init(&m, "head: [dense: {out: 4}]\n", config);
    expect_ok(model_init_params(m.model, 5, m.params), "params");
    model_prepare(m.model, m.params, NULL);
    defaults.steps = 1;
    expect_ok(explain_init(&explain, &alone, m.model, m.params, &defaults), "linear");
    expect_ok(quality_init(&quality, explain, config.input, &sets), "quality");
    for (size_t i = 0; i < FLOATS; i++)
        x[i] = (float)(i * 37 % 101) / 50 - 1;
    quality_sample(quality, x, 2);
    for (int k = 0; k < 2; k++) {
        enum explain_method method = k ? EXPLAIN_INTEGRATED : EXPLAIN_GRADIENT_INPUT;
        explain_run(explain, method, x, 2, raw[k]);
        explain_map(explain, method, raw[k], map);
        struct quality got = quality_measure(quality, map);
        assert_true(got.sensitivity_n > 1 - 1e-6 && got.unexplained < 1e-6);
        assert_true(got.deletion < got.insertion);
    }
    assert_true(golden_equal("linear", "(h, w, c)", raw[0], raw[1], FLOATS, 1e-6));
    quality_free(quality);
    explain_free(explain);
    golden_model_free(&m);
}

// How many variants run at a time changes no more than rounding.
static void test_chunks(void **state)
{
    struct net one, many;
    net_open(&one, *state, MODEL_KEEP_AUTO, 1);
    net_open(&many, *state, MODEL_KEEP_AUTO, 7);
    for (int method = 0; method < EXPLAIN_METHODS; method++) {
        float *a = run(&one, (enum explain_method)method),
              *b = run(&many, (enum explain_method)method);
        float *again = run(&many, (enum explain_method)method);
        size_t n = raw_floats(&one, (enum explain_method)method);
        assert_true(golden_equal(explain_info((enum explain_method)method)->name, "(h, w, c)", a, b,
                                 n, 1e-4)); // drops are differences
        assert_memory_equal(b, again, n * sizeof *b);
        free(a);
        free(b);
        free(again);
    }
    net_close(&one);
    net_close(&many);
}

static void test_unknown_layer(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct model *model;
    static const char text[] =
        "features: [conv: {out: 4, kernel: 3}, relu: {}]\nhead: [dense: {out: 3}]\n";
    expect_ok(yaml_parse(&yaml, "t", text, strlen(text)), "yaml");
    struct model_config config = {.yaml = yaml,
                                  .features = yaml_find(yaml->root, "features"),
                                  .head = yaml_find(yaml->root, "head"),
                                  .input = {5, 5, 1},
                                  .target = {true, 1, 3},
                                  .grain = 1,
                                  .keep = "conv2"};
    expect_error(model_init(&model, &config), STATUS_USAGE,
                 "unknown layer 'conv2'|did you mean 'conv1'?|the network has conv1, relu1, "
                 "flatten1, dense1",
                 "conv2");
    yaml_free(yaml);
}

// A head alone has no layer with positions.
static void test_no_layer(void **state)
{
    (void)state;
    struct golden_model m;
    struct model_config config = {.input = {4, 4, 1},
                                  .target = {true, 1, 3},
                                  .grain = 2,
                                  .input_gradient = true,
                                  .keep = MODEL_KEEP_AUTO};
    struct explain_config defaults = explain_defaults();
    struct explain *explain;
    golden_model_init(&m, "head: [dense: {out: 3}]\n", config);
    expect_ok(explain_init(&explain, &alone, m.model, m.params, &defaults), "dense");
    for (int method = 0; method < EXPLAIN_METHODS; method++)
        assert_int_equal(explain_can(explain, (enum explain_method)method),
                         !explain_info((enum explain_method)method)->is_layer);
    explain_free(explain);
    golden_model_free(&m);
}

static void test_ranks(void **state)
{
    (void)state;
    const float a[6] = {1, 2, 3, 4, 5, 6}, up[6] = {-9, -3, 0, 1, 7, 90};
    const float down[6] = {5, 4, 3, 2, 1, 0}, ties[6] = {1, 1, 2, 2, 3, 3},
                flat[6] = {2, 2, 2, 2, 2, 2};
    double work[24];
    assert_true(fabs(rank_correlation(a, up, 6, work) - 1) < 1e-12);
    assert_true(fabs(rank_correlation(a, down, 6, work) + 1) < 1e-12);
    // scipy.stats.spearmanr
    assert_true(fabs(rank_correlation(a, ties, 6, work) - 0.9561828874675149) < 1e-12);
    assert_true(rank_correlation(a, flat, 6, work) == 0);
    static float same[193], rising[193];
    static double more[4 * 193];
    for (int i = 0; i < 193; i++) {
        same[i] = 0.1f;
        rising[i] = (float)i;
    }
    assert_true(rank_correlation(same, rising, 193, more) == 0);
    assert_true(rank_correlation(same, same, 193, more) == 0);
}

#define EACH(net, test)                                                                            \
    {                                                                                              \
        .name = #test " " net, .test_func = test, .initial_state = (void *)(uintptr_t)net          \
    }
#define ALL(test)                                                                                  \
    EACH("plain", test), EACH("residual", test), EACH("pooled", test), EACH("smooth", test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(test_kept_layers),
        ALL(test_captum),
        ALL(test_quality),
        ALL(test_completeness),
        EACH("smooth", test_differences),
        ALL(test_chunks),
        EACH("plain", test_sanity),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_unknown_layer),
        cmocka_unit_test(test_no_layer),
        cmocka_unit_test(test_ranks),
    };
    if (h5_open(&file, SW2_GOLDEN "/explain.h5") != STATUS_OK) {
        fprintf(stderr, "%s\n", error_text());
        return 1;
    }
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    h5_close(file);
    return failures;
}
