// SPDX-License-Identifier: MIT
// Frozen layers. Whoever freezes nothing but norms in training gets the gradients that evaluation
// gives, where the statistics of all norms are constants; whoever freezes layers without statistics
// gets, for the other layers, the gradients of training. Bit for bit: nothing else is computed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "comm/memory.h"
#include "models/model.h"
#include "tests/support/expect.h"

#define GRAIN 4
#define PIXELS ((size_t)12 * 12 * 3)
#define CLASSES 5

// Norms alone, before a ReLU, and on both sides of an add; a ReLU done by a pool; biases.
static const char network[] = "features:\n"
                              "- conv: {out: 8, kernel: 3, pad: 1}\n"
                              "- relu: {}\n"
                              "- maxpool: {kernel: 2}\n"
                              "- batchnorm: {}\n"
                              "- residual:\n"
                              "    body:\n"
                              "    - conv: {out: 16, kernel: 3, pad: 1, bias: false}\n"
                              "    - batchnorm: {}\n"
                              "    - relu: {}\n"
                              "    - conv: {out: 16, kernel: 3, pad: 1}\n"
                              "    - batchnorm: {}\n"
                              "    shortcut:\n"
                              "    - conv: {out: 16, kernel: 1, bias: false}\n"
                              "    - batchnorm: {}\n"
                              "- relu: {}\n"
                              "- residual:\n"
                              "    body:\n"
                              "    - conv: {out: 16, kernel: 3, pad: 1, bias: false}\n"
                              "    - batchnorm: {scale: false}\n"
                              "- relu: {}\n"
                              "- globalpool: {}\n"
                              "head:\n"
                              "- dense: {out: 6}\n"
                              "- gelu: {}\n"
                              "- dense: {out: 5}\n";

static const struct {
    const char *freeze[3];
    size_t n;
    bool is_training; // what the free network must do for the same gradients
} cases[] = {
    {{"batchnorm*"}, 1, false},
    {{"features"}, 1, false},
    {{"batchnorm*", "conv1", "conv[45]"}, 3, false},
    {{"batchnorm*", "dense1"}, 2, false},
    {{"conv*"}, 1, true},
    {{"conv[23]", "dense2"}, 2, true},
    {{"head"}, 1, true},
};

static struct model *model_open(struct yaml *yaml, const struct model_tuning *tuning)
{
    struct model *model;
    struct model_config config = {
        .yaml = yaml,
        .features = yaml_find(yaml->root, "features"),
        .head = yaml_find(yaml->root, "head"),
        .input = {12, 12, 3},
        .target = {.is_class = true, .count = 1, .n_classes = CLASSES},
        .tuning = tuning,
        .grain = GRAIN,
    };
    expect_ok(model_init(&model, &config), "model");
    return model;
}

// Gradients of one step; running statistics that no grain of the data has.
static float *gradients(struct model *model, bool is_training)
{
    const int32_t labels[GRAIN] = {0, 4, 2, 3};
    const uint64_t rows[GRAIN] = {7, 3, 12, 5};
    const struct model_param *list;
    size_t n_list = model_params(model, &list);
    float *params = floats_make(model_floats(model), 5), *x = floats_make(GRAIN * PIXELS, 17);
    float *grads = floats_make(model_floats(model), 23); // garbage where nothing is written
    for (size_t t = 0; t < n_list; t++)
        for (size_t i = 0;
             strcmp(list[t].param->name, "running_var") == 0 && i < list[t].param->count; i++)
            params[list[t].param->offset + i] += 1.5f;
    struct pass pass = {.n = GRAIN,
                        .is_training = is_training,
                        .params = params,
                        .grads = grads,
                        .seed = 3,
                        .row = rows};
    double metrics[LOSS_METRICS_MAX];
    model_prepare(model, params, NULL);
    model_forward(model, &pass, x);
    model_loss_eval(model, &pass, labels, true, 0.25f, metrics);
    model_backward(model, &pass, NULL, NULL);
    free(params);
    free(x);
    return grads;
}

static void test_gradients(void **state)
{
    (void)state;
    struct yaml *yaml;
    expect_ok(yaml_parse(&yaml, "network", network, strlen(network)), "yaml");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_tuning tuning = {.freeze = {cases[i].n, cases[i].freeze}};
        struct model *free_one = model_open(yaml, NULL), *tuned = model_open(yaml, &tuning);
        float *want = gradients(free_one, cases[i].is_training), *got = gradients(tuned, true);
        const struct model_param *list;
        size_t n_list = model_params(tuned, &list), compared = 0;
        for (size_t t = 0; t < n_list; t++) {
            const struct param *p = list[t].param;
            if (p->kind != PARAM_WEIGHT && p->kind != PARAM_BIAS)
                continue;
            compared++;
            for (size_t k = p->offset; k < p->offset + p->count; k++)
                if (memcmp(&got[k], &want[k], sizeof *got) != 0)
                    fail_msg("case %zu: gradient %zu of %s is %a, expected %a", i, k - p->offset,
                             list[t].name, (double)got[k], (double)want[k]);
        }
        assert_true(compared > 0 && model_n_trained(tuned) < model_n_trained(free_one));
        free(want);
        free(got);
        model_free(free_one);
        model_free(tuned);
    }
    yaml_free(yaml);
}

// Kinds and rates as the keys say; the later pattern wins; a layer's own key stands where none
// fits.
static void test_keys(void **state)
{
    (void)state;
    static const char text[] = "features:\n"
                               "- conv: {out: 4, kernel: 3, frozen: true}\n"
                               "- batchnorm: {frozen: yes}\n"
                               "- conv: {out: 4, kernel: 3, lr_scale: 0.25}\n"
                               "- conv: {out: 4, kernel: 3}\n"
                               "head:\n"
                               "- dense: {out: 5, lr_scale: 3}\n";
    static const char *const rates[] = {"conv*=0.5", "conv3=2"};
    struct yaml *yaml;
    expect_ok(yaml_parse(&yaml, "network", text, strlen(text)), "yaml");
    struct model_tuning tuning = {.lr_scale = {2, rates}};
    const float plain[] = {1, 1, 0.25f, 1, 3}, tuned[] = {0.5f, 1, 0.5f, 2, 3};
    for (int run = 0; run < 2; run++) {
        struct model *model = model_open(yaml, run ? &tuning : NULL);
        const char *const names[] = {"conv1", "batchnorm1", "conv2", "conv3", "dense1"};
        const struct model_param *list;
        size_t n = model_params(model, &list);
        for (size_t t = 0; t < n; t++)
            for (size_t k = 0; k < 5; k++) {
                if (strcmp(list[t].layer->name, names[k]) != 0)
                    continue;
                assert_int_equal(list[t].param->kind == PARAM_FROZEN, k < 2);
                assert_true(list[t].param->lr_scale == (run ? tuned : plain)[k]);
            }
        model_free(model);
    }
    yaml_free(yaml);
}

static void refused(const char *layers, const struct model_tuning *tuning, const char *text)
{
    struct yaml *yaml;
    struct model *model;
    expect_ok(yaml_parse(&yaml, "network", layers, strlen(layers)), "yaml");
    struct model_config config = {
        .yaml = yaml,
        .head = yaml_find(yaml->root, "head"),
        .input = {4, 4, 1},
        .target = {.is_class = true, .count = 1, .n_classes = CLASSES},
        .tuning = tuning,
        .grain = GRAIN,
    };
    assert_int_equal(model_init(&model, &config), STATUS_USAGE);
    if (!strstr(error_text(), text))
        fail_msg("error '%s' does not say '%s'", error_text(), text);
    yaml_free(yaml);
}

static void test_refused(void **state)
{
    (void)state;
    static const char plain[] = "head: [{dense: {out: 5}}]\n";
    static const char *const bad[][2] = {
        {"dense1", "every layer is frozen"}, {"dense2", "fits no layer, did you mean 'dense1'?"},
        {"features", "fits no layer"},       {"dense1=0", "is not a layer and a factor"},
        {"dense1", "is not a layer and"},    {"dense1=x", "is not a layer and a factor"},
        {"=1", "is not a layer and"},        {"conv*=1", "'conv*' fits no layer"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct option_strings one = {1, &bad[i][0]};
        struct model_tuning freeze = {.freeze = one}, rate = {.lr_scale = one};
        refused(plain, i < 3 ? &freeze : &rate, bad[i][1]);
    }
    refused("head: [{dense: {out: 5, frozen: maybe}}]\n", NULL, "frozen is 'maybe'");
    refused("head: [{dense: {out: 5, lr_scale: 0}}]\n", NULL, "lr_scale");
    refused("head: [{dense: {out: 5, frozen: [true]}}]\n", NULL, "frozen takes one value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
