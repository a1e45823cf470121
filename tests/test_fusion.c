// SPDX-License-Identifier: MIT
// What the graph fuses computes the same as the layers one by one: each network is compared with
// its twin, in which layers that do nothing (dropout of rate 0) stand where the fusion would be.
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
#include "models/model.h"
#include "tests/support/expect.h"

#define GRAIN 4
#define CLASSES 5
#define SIDE 9
#define PIXELS (SIDE * SIDE * 3)

struct fused_case {
    const char *name;
    const char *features; // NOTHING stands for the layer that does nothing, or for none
    int n_deferred;       // norms left to an add or a pool
};

#define NOTHING "@"
#define CONV "{conv: {out: 8, kernel: 3, pad: 1, bias: false}}"
#define NORM "{batchnorm: {}}"

static const struct fused_case cases[] = {
    {"identity", "- " CONV "\n- residual: {body: [" CONV ", " NORM NOTHING "]}\n- relu: {}\n", 1},
    {"no ReLU", "- " CONV "\n- residual: {body: [" CONV ", " NORM NOTHING "]}\n", 1},
    {"chain of two",
     "- " CONV "\n- " NORM "\n- relu: {}\n- residual: {body: [" CONV ", " NORM NOTHING "]}\n"
     "- relu: {}\n- residual: {body: [" CONV ", " NORM NOTHING "]}\n- relu: {}\n",
     2},
    {"both inputs",
     "- residual: {body: [" CONV ", " NORM NOTHING "], shortcut: [" CONV ", " NORM NOTHING
     "]}\n- relu: {}\n",
     2},
    {"both, no ReLU, smaller",
     "- residual: {body: [{conv: {out: 6, kernel: 3, stride: 2, pad: 1}}, " NORM NOTHING
     "], shortcut: [{conv: {out: 6, kernel: 1, stride: 2}}, " NORM NOTHING "]}\n",
     2},
    {"shortcut only",
     "- " CONV "\n- residual: {body: [" CONV "], shortcut: [" NORM NOTHING "]}\n- relu: {}\n", 1},
    {"frozen weight",
     "- " CONV "\n- residual: {body: [" CONV ", {batchnorm: {scale: false}}" NOTHING
     "]}\n- relu: {}\n",
     1},
    {"the norm is read twice",
     "- conv: {out: 8, kernel: 3, pad: 1, name: a}\n- batchnorm: {name: b}\n"
     "- conv: {out: 8, kernel: 3, pad: 1, name: c}\n- add: {from: [b, c]}\n- relu: {}\n",
     0},
    {"pool",
     "- conv: {out: 8, kernel: 3, pad: 1}\n- relu: {}\n- residual: {body: [{maxpool: "
     "{kernel: 1}}" NOTHING "]}\n",
     0},
    {"conv, ReLU, pool",
     "- repeat: {times: 2, layers: [{conv: {out: 8, kernel: 3, pad: 1}}, "
     "{relu: {}}" NOTHING ", {maxpool: {kernel: 2}}]}\n",
     0},
    {"conv, ReLU, overlapping pool",
     "- repeat: {times: 2, layers: [{conv: {out: 8, kernel: 3, pad: 1, bias: false}}, "
     "{relu: {}}" NOTHING ", {maxpool: {kernel: 3, stride: 2, pad: 1}}]}\n",
     0},
    {"norm, ReLU, pool",
     "- repeat: {times: 2, layers: [" CONV ", " NORM ", {relu: {}}" NOTHING
     ", {maxpool: {kernel: 2}}]}\n",
     2},
    {"norm, ReLU, overlapping pool",
     "- repeat: {times: 2, layers: [" CONV ", " NORM ", {relu: {}}" NOTHING
     ", {maxpool: {kernel: 3, stride: 2, pad: 1}}]}\n",
     2},
    {"norm, pool",
     "- repeat: {times: 1, layers: [" CONV ", " NORM NOTHING
     ", {maxpool: {kernel: 3, stride: 2}}]}\n",
     1},
    {"norm on the input",
     "- repeat: {times: 1, layers: [" NORM NOTHING
     ", {maxpool: {kernel: 3, stride: 1, pad: 1}}]}\n",
     1},
    {"the norm's x is read twice, the pool feeds a residual block",
     "- conv: {out: 8, kernel: 3, pad: 1, name: a}\n"
     "- repeat: {times: 1, layers: [{batchnorm: {scale: false}}" NOTHING
     ", {maxpool: {kernel: 3, stride: 1, pad: 1}}]}\n"
     "- residual: {body: [" CONV "]}\n- relu: {name: z}\n- add: {from: [z, a]}\n",
     1},
    {"a pool and another reader",
     "- " CONV "\n- batchnorm: {name: a}\n- maxpool: {kernel: 3, stride: 1, pad: 1, name: b}\n"
     "- add: {from: [a, b]}\n",
     0},
    {"another layer between norm and pool",
     "- conv: {out: 8, kernel: 3, pad: 1, name: a}\n- batchnorm: {name: b}\n"
     "- conv: {out: 8, kernel: 3, pad: 1, name: c, from: [a]}\n"
     "- maxpool: {kernel: 3, stride: 1, pad: 1, name: d, from: [b]}\n- add: {from: [c, d]}\n",
     0},
    {"three inputs",
     "- conv: {out: 8, kernel: 3, pad: 1, name: a}\n- batchnorm: {name: b, from: [a]}\n"
     "- conv: {out: 8, kernel: 3, pad: 1, name: c, from: [a]}\n- add: {from: [b, c, a]}\n",
     0},
};

// The text with NOTHING replaced.
static void text_make(const struct fused_case *c, bool is_fused, char *to)
{
    to += sprintf(to, "features:\n");
    for (const char *from = c->features; *from; from++)
        if (*from != *NOTHING)
            *to++ = *from;
        else if (!is_fused)
            to += sprintf(to, ", {dropout: {rate: 0}}");
    sprintf(to, "head:\n- dense: {out: %d}\n", CLASSES);
}

static void fill(float *v, size_t n, uint32_t start, float scale, float shift)
{
    for (size_t i = 0; i < n; i++) {
        start = start * 1664525 + 1013904223;
        v[i] = shift + scale * ((float)(start >> 8) * 0x1p-23f - 1);
    }
}

struct result {
    size_t n;
    float *params, *grads;
    float output[2][GRAIN * CLASSES], dx[GRAIN * PIXELS]; // of training and evaluation
};

static int n_deferred(const struct model *model)
{
    int n = 0;
    for (size_t i = 0; i < model_n_layers(model); i++)
        n += model_layer(model, i)->is_deferred;
    return n;
}

static void pass_run(struct model *model, struct result *r)
{
    static float x[GRAIN * PIXELS];
    const int32_t labels[GRAIN] = {0, 4, 2, 3};
    const uint64_t rows[GRAIN] = {7, 3, 12, 5};
    double metrics[LOSS_METRICS_MAX];
    struct pass pass = {.n = GRAIN, .params = r->params, .row = rows};
    fill(x, GRAIN * PIXELS, 17, 1, 0.2f);
    model_prepare(model, r->params, NULL);
    for (int is_training = 0; is_training < 2; is_training++) {
        pass.is_training = is_training;
        pass.grads = is_training ? r->grads : NULL;
        model_forward(model, &pass, x);
        memcpy(r->output[is_training], model_output(model)->at, sizeof r->output[0]);
    }
    model_loss_eval(model, &pass, labels, true, 0.25f, metrics);
    model_backward(model, &pass, NULL, NULL);
    const struct tensor *dx = model_input_gradient(model);
    for (size_t i = 0; i < GRAIN * PIXELS; i++)
        r->dx[i] = tensor_row(dx, i / PIXELS, i % PIXELS / (SIDE * 3))[i % (SIDE * 3)];
}

static void case_run(const struct fused_case *c, bool is_fused, struct result *r)
{
    static char text[4096];
    struct yaml *yaml;
    struct model *model;
    text_make(c, is_fused, text);
    expect_ok(yaml_parse(&yaml, c->name, text, strlen(text)), c->name);
    struct model_config config = {
        .yaml = yaml,
        .features = yaml_find(yaml->root, "features"),
        .head = yaml_find(yaml->root, "head"),
        .input = {SIDE, SIDE, 3},
        .target = {.is_class = true, .count = 1, .n_classes = CLASSES},
        .grain = GRAIN,
        .input_gradient = true,
    };
    expect_ok(model_init(&model, &config), c->name);
    assert_int_equal(n_deferred(model), is_fused ? c->n_deferred : 0);
    r->n = model_floats(model);
    expect_ok(memory_alloc(&r->params, r->n, sizeof(float), "test"), "memory");
    expect_ok(memory_alloc(&r->grads, r->n, sizeof(float), "test"), "memory");
    // Running variances must be positive; without norms, ReLUs should see both signs.
    fill(r->params, r->n, 5, 0.3f, strstr(text, "batchnorm") ? 0.35f : -0.02f);
    pass_run(model, r);
    const struct model_param *list;
    for (size_t i = 0, n = model_params(model, &list); i < n; i++)
        for (size_t k = 0; list[i].param->kind == PARAM_FROZEN && k < list[i].param->count; k++)
            assert_true(r->grads[list[i].param->offset + k] == 0);
    model_free(model);
    yaml_free(yaml);
}

static void compare(const char *name, const char *what, const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)b[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 2e-5 * (most + 1)))
            fail_msg("%s: %s %zu is %.9g fused, %.9g apart (the largest is %g)", name, what, i,
                     (double)a[i], (double)b[i], most);
}

static void test_fused_as_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct result fused, apart;
        case_run(&cases[i], true, &fused);
        case_run(&cases[i], false, &apart);
        assert_int_equal(fused.n, apart.n);
        compare(cases[i].name, "output of evaluation", fused.output[0], apart.output[0],
                GRAIN * CLASSES);
        compare(cases[i].name, "output", fused.output[1], apart.output[1], GRAIN * CLASSES);
        compare(cases[i].name, "gradient", fused.grads, apart.grads, fused.n);
        compare(cases[i].name, "gradient of x", fused.dx, apart.dx, GRAIN * PIXELS);
        free(fused.params);
        free(fused.grads);
        free(apart.params);
        free(apart.grads);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fused_as_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
