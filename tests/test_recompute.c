// SPDX-License-Identifier: MIT
// Recompute of activations: the same bits in less memory.
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
#define CLASSES 5

// Between them: every kind of layer, halos of several widths, shared inputs, long and nested
// branches, a frozen start, dropout, fused and unfused ReLU.
static const char *const networks[] = {
    "features:\n"
    "- conv: {out: 8, kernel: 3, pad: 1, bias: false}\n"
    "- batchnorm: {}\n"
    "- relu: {}\n"
    "- repeat:\n"
    "    times: 4\n"
    "    layers:\n"
    "    - residual:\n"
    "        body:\n"
    "        - conv: {out: 8, kernel: 3, pad: 1, bias: false}\n"
    "        - batchnorm: {}\n"
    "        - relu: {}\n"
    "        - conv: {out: 8, kernel: 3, pad: 1, bias: false}\n"
    "        - batchnorm: {}\n"
    "    - relu: {}\n"
    "- residual:\n"
    "    body:\n"
    "    - conv: {out: 16, kernel: 3, stride: 2, pad: 1}\n"
    "    - relu: {}\n"
    "    - dropout: {rate: 0.3}\n"
    "    - conv: {out: 16, kernel: 5, pad: 2}\n"
    "    - gelu: {}\n"
    "    shortcut:\n"
    "    - subsample: {stride: 2, out: 16}\n"
    "- silu: {}\n"
    "- maxpool: {kernel: 2}\n"
    "head:\n"
    "- dropout: {}\n"
    "- dense: {out: 7}\n"
    "- leaky_relu: {}\n"
    "- dense: {out: 5}\n",
    "features:\n"
    "- filterbank: {filters: [sobel_x, laplacian]}\n"
    "- conv: {out: 6, kernel: 7, pad: 3, name: a}\n"
    "- batchnorm: {name: b}\n"
    "- conv: {out: 6, kernel: 3, pad: 1, name: c}\n"
    "- relu: {name: d}\n"
    "- concat: {from: [b, d], name: e}\n"
    "- conv: {out: 6, kernel: 1, name: f}\n"
    "- gelu: {name: g}\n"
    "- add: {from: [b, g, a], name: h}\n"
    "- avgpool: {kernel: 3, stride: 2, pad: 1}\n"
    "- conv: {out: 9, kernel: 3, pad: 2, dilation: 2}\n"
    "- batchnorm: {}\n"
    "- relu: {}\n"
    "- globalpool: {}\n"
    "head:\n"
    "- dense: {out: 5}\n",
    // Norms within pools.
    "features:\n"
    "- conv: {out: 4, kernel: 3, pad: 1, bias: false}\n"
    "- batchnorm: {}\n"
    "- maxpool: {kernel: 3, stride: 1, pad: 1}\n"
    "- repeat:\n"
    "    times: 5\n"
    "    layers:\n"
    "    - conv: {out: 12, kernel: 3, pad: 1, bias: false}\n"
    "    - conv: {out: 4, kernel: 3, pad: 1, bias: false}\n"
    "    - batchnorm: {}\n"
    "    - relu: {}\n"
    "    - maxpool: {kernel: 3, stride: 1, pad: 1}\n"
    "head:\n"
    "- dense: {out: 5}\n",
};

static struct model *model_open(struct yaml *yaml, struct shape input, size_t grain, size_t classes,
                                bool recompute, bool is_plan)
{
    struct model *model;
    struct model_config config = {
        .yaml = yaml,
        .features = yaml_find(yaml->root, "features"),
        .head = yaml_find(yaml->root, "head"),
        .input = input,
        .target = {.is_class = true, .count = 1, .n_classes = classes},
        .mode = {.recompute = recompute},
        .grain = grain,
        .is_plan = is_plan,
    };
    expect_ok(model_init(&model, &config), "model");
    return model;
}

// Two steps with an evaluation between them; gradients of both, and the outputs.
static void train(struct model *model, const float *params, float *grads, float *output)
{
    const size_t n = model_floats(model), pixels = 13 * 11 * 3;
    const int32_t labels[GRAIN] = {0, 4, 2, 3};
    const uint64_t rows[GRAIN] = {7, 3, 12, 5};
    float *x = floats_make(2 * GRAIN * pixels, 17);
    model_prepare(model, params, NULL);
    for (size_t step = 0; step < 2; step++) {
        double metrics[LOSS_METRICS_MAX];
        struct pass pass = {.n = GRAIN,
                            .is_training = true,
                            .params = params,
                            .grads = grads + step * n,
                            .seed = 3,
                            .epoch = (uint32_t)step,
                            .row = rows};
        model_forward(model, &pass, x + step * GRAIN * pixels);
        model_loss_eval(model, &pass, labels, true, 0.25f, metrics);
        model_backward(model, &pass, NULL, NULL);
        memcpy(output + step * GRAIN * CLASSES, model_output(model)->at,
               GRAIN * CLASSES * sizeof *output);
        pass.is_training = false;
        pass.n = GRAIN - 1;
        model_forward(model, &pass, x);
    }
    free(x);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        struct yaml *yaml;
        expect_ok(yaml_parse(&yaml, "network", networks[i], strlen(networks[i])), "yaml");
        float *grads[2], *params[2], *output[2];
        size_t n = 0;
        for (int on = 0; on < 2; on++) {
            struct model *model =
                model_open(yaml, (struct shape){13, 11, 3}, GRAIN, CLASSES, on == 1, false);
            n = model_floats(model);
            params[on] = floats_make(n, 1);
            grads[on] = floats_make(2 * n, 2);
            output[on] = floats_make(2 * GRAIN * CLASSES, 3);
            expect_ok(model_init_params(model, 5, params[on]), "weights");
            train(model, params[on], grads[on], output[on]);
            assert_true((model_flops_again(model) > 0) == (on == 1));
            model_free(model);
        }
        for (size_t k = 0; k < 2 * n; k++)
            if (memcmp(&grads[0][k], &grads[1][k], sizeof(float)) != 0)
                fail_msg("network %zu: gradient %zu of %zu is %.9g, with recompute %.9g", i, k % n,
                         n, (double)grads[0][k], (double)grads[1][k]);
        assert_memory_equal(output[0], output[1], 2 * GRAIN * CLASSES * sizeof(float));
        for (int on = 0; on < 2; on++) {
            free(grads[on]);
            free(params[on]);
            free(output[on]);
        }
        yaml_free(yaml);
    }
}

static struct model *recipe_open(struct yaml **yaml, const char *name, bool recompute)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/recipes/%s.yaml", SW2_SOURCEDIR, name);
    char *text = file_text(path);
    expect_ok(yaml_parse(yaml, path, text, strlen(text)), path);
    free(text);
    return model_open(*yaml, (struct shape){224, 224, 3}, 32, 1000, recompute, true);
}

// The promise: on ResNet-50 at 224 x 224, grains of 32, a third of the activations or less, for
// at most one more forward: a third of a step.
static void test_resnet50(void **state)
{
    (void)state;
    struct yaml *yaml[2];
    struct model *off = recipe_open(&yaml[0], "imagenet_resnet50", false);
    struct model *on = recipe_open(&yaml[1], "imagenet_resnet50", true);
    struct model_memory a = model_memory(off), b = model_memory(on);
    double again = model_flops_again(on) / model_flops(on);
    print_message("activations %zu MiB, with recompute %zu MiB: %.2f times less; gradients %zu "
                  "and %zu MiB; %.0f %% of forward again\n",
                  a.activations >> 20, b.activations >> 20,
                  (double)a.activations / (double)b.activations, a.gradients >> 20,
                  b.gradients >> 20, 100 * again);
    assert_true(a.activations >= 3 * b.activations);
    assert_true(a.gradients >= b.gradients);
    assert_true(model_flops_again(off) == 0 && again > 0 && again < 1);
    assert_true(a.activations < (size_t)2800 << 20); // what backward does not need does not stay
    model_free(off);
    model_free(on);
    yaml_free(yaml[0]);
    yaml_free(yaml[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_resnet50)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
