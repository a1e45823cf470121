// SPDX-License-Identifier: MIT
// Every layer and loss against PyTorch in double: outputs in training and evaluation, the loss, and
// all gradients, at every instruction set of this machine. The cases are in
// scripts/golden_cases.py, the values in golden/layers.h5.
//
// Tolerances are relative to the largest element of a tensor. A float sum of up to 363 products
// (the longest here) is wrong by about 1e-6 at worst, however it is ordered; a backward pass
// stacks several such sums and divides by a variance.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/isa.h"
#include "tests/support/golden.h"

#define TOLERANCE_FORWARD 4e-6
#define TOLERANCE_GRADIENT 2e-5
#define SEED 1 // of dropout, as in make_golden.py

static struct h5 *file;

struct golden_case {
    const char *name;
    struct golden_model m;
    struct pass pass;
    float *x;
    void *target;
    bool is_ok;
};

static void dims_text(const size_t *dim, int rank, char *text, size_t bytes)
{
    int at = 0;
    text[0] = 0;
    for (int i = 0; i < rank; i++)
        at += snprintf(text + at, bytes - (size_t)at, i ? "x%zu" : "%zu", dim[i]);
}

static void tensor_dims_text(const struct tensor *t, size_t n, char *text, size_t bytes)
{
    size_t dim[4] = {n, t->h, t->w, t->c};
    dims_text(dim, 4, text, bytes);
}

// The file's lines "conv1/weight 3x3x2x8" are the model's parameters in vector order, dims too.
// Copies the file's values to params.
static void params_load(struct golden_case *c)
{
    const struct model_param *list;
    size_t n_list = model_params(c->m.model, &list), n_values, at = 0;
    char *lines = golden_text(file, c->name, "params"), *rest = lines;
    float *values = golden_read(file, c->name, "params", H5_F32, &n_values);
    for (size_t i = 0; i < n_list; i++) {
        char dims[80], line[200];
        const struct param *param = list[i].param;
        dims_text(param->dim, param->rank, dims, sizeof dims);
        snprintf(line, sizeof line, "%s %s", list[i].name, dims);
        char *expected = strsep(&rest, "\n");
        assert_string_equal(line, expected ? expected : "(no more parameters)");
        assert_true(at + param->count <= n_values);
        memcpy(c->m.params + param->offset, values + at, param->count * sizeof *values);
        at += param->count;
    }
    assert_true(!rest || !*rest);
    assert_int_equal(at, n_values);
    free(values);
    free(lines);
}

static void case_open(struct golden_case *c)
{
    int64_t classes = golden_int(file, c->name, "classes");
    size_t n_target, n = (size_t)golden_int(file, c->name, "n");
    c->target = golden_read(file, c->name, "target", classes ? H5_I32 : H5_F32, &n_target);
    c->x = golden_read(file, c->name, "x", H5_F32, NULL);
    struct model_config config = {.input = golden_shape(file, c->name, "input"),
                                  .target = {classes > 0, n_target / n, (size_t)classes},
                                  .grain = n,
                                  .input_gradient = true};
    char *recipe = golden_text(file, c->name, "recipe");
    golden_model_init(&c->m, recipe, config);
    free(recipe);
    params_load(c);
    static uint64_t rows[64];
    for (size_t i = 0; i < n; i++)
        rows[i] = i;
    c->pass = (struct pass){.n = n, .params = c->m.params, .seed = SEED, .row = rows};
    model_prepare(c->m.model, c->m.params, NULL);
}

static void case_close(struct golden_case *c)
{
    golden_model_free(&c->m);
    free(c->x);
    free(c->target);
}

// Compares a tensor, which may have a halo, with the dense data set `name`.
static void check_tensor(struct golden_case *c, const char *name, const struct tensor *t,
                         double tolerance)
{
    char shape[80];
    size_t n_want, row = t->w * t->c, at = 0;
    float *want = golden_read(file, c->name, name, H5_F32, &n_want);
    float *got = golden_read(file, c->name, name, H5_F32, NULL);
    assert_non_null(t->at);
    assert_int_equal(n_want, c->m.n * t->h * row);
    for (size_t i = 0; i < c->m.n; i++)
        for (size_t h = 0; h < t->h; h++, at += row)
            memcpy(got + at, tensor_row(t, i, h), row * sizeof *got);
    tensor_dims_text(t, c->m.n, shape, sizeof shape);
    c->is_ok = golden_equal(name, shape, got, want, n_want, tolerance) && c->is_ok;
    free(got);
    free(want);
}

// What the file holds for one parameter: its gradient, or the running statistic after the step.
static void check_param(struct golden_case *c, const struct model_param *p, const float *want)
{
    const struct param *param = p->param;
    const float *before = c->m.params + param->offset;
    float *g = c->m.grads + param->offset;
    char dims[80], name[128];
    dims_text(param->dim, param->rank, dims, sizeof dims);
    snprintf(name, sizeof name, "gradient of %s", p->name);
    for (size_t i = 0; i < param->count; i++)
        if (param->kind == PARAM_STATE)
            g[i] = before[i] + param->state_momentum * (g[i] - before[i]);
        else if (param->kind == PARAM_FROZEN && g[i] == g[i]) // backward has to leave our NaN
            fail_msg("%s[%zu]: backward wrote to a frozen parameter", p->name, i);
    if (param->kind != PARAM_FROZEN)
        c->is_ok = golden_equal(name, dims, g, want, param->count, TOLERANCE_GRADIENT) && c->is_ok;
}

static void check_gradients(struct golden_case *c)
{
    const struct model_param *list;
    size_t n_list = model_params(c->m.model, &list), n_values, at = 0;
    float *want = golden_read(file, c->name, "grads", H5_F32, &n_values);
    for (size_t i = 0; i < n_list; i++) {
        check_param(c, &list[i], want + at);
        at += list[i].param->count;
    }
    assert_int_equal(at, n_values);
    check_tensor(c, "dx", model_input_gradient(c->m.model), TOLERANCE_GRADIENT);
    free(want);
}

static void check_loss(struct golden_case *c, double loss)
{
    double want = golden_double(file, c->name, "loss");
    if (!(loss >= want - TOLERANCE_FORWARD * want && loss <= want + TOLERANCE_FORWARD * want)) {
        print_error("loss: got %.9g, PyTorch %.9g, tolerance %.3g\n", loss, want,
                    TOLERANCE_FORWARD);
        c->is_ok = false;
    }
}

static void test_case(void **state)
{
    struct golden_case c = {.name = *state, .is_ok = true};
    double metrics[LOSS_METRICS_MAX];
    case_open(&c);

    char y_eval[128];
    snprintf(y_eval, sizeof y_eval, "%s/y_eval", c.name);
    model_forward(c.m.model, &c.pass, c.x);
    check_tensor(&c, h5_exists(file, y_eval) ? "y_eval" : "y", model_output(c.m.model),
                 TOLERANCE_FORWARD);

    c.pass.is_training = true;
    c.pass.grads = c.m.grads;
    for (size_t i = 0; i < model_floats(c.m.model); i++)
        c.m.grads[i] = __builtin_nanf(""); // backward writes, never adds
    model_forward(c.m.model, &c.pass, c.x);
    check_tensor(&c, "y", model_output(c.m.model), TOLERANCE_FORWARD);
    model_loss_eval(c.m.model, &c.pass, c.target, true, 1.0f / (float)c.m.n, metrics);
    check_loss(&c, metrics[0] / (double)c.m.n);
    model_backward(c.m.model, &c.pass, NULL, NULL);
    check_gradients(&c);

    case_close(&c);
    assert_true(c.is_ok);
}

int main(void)
{
    static const char *names[GOLDEN_CASES_MAX];
    static struct CMUnitTest tests[GOLDEN_CASES_MAX];
    if (h5_open(&file, SW2_GOLDEN "/layers.h5") != STATUS_OK) {
        fprintf(stderr, "%s\n", error_text());
        return 1;
    }
    size_t n = golden_groups(file, names);
    for (size_t i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = test_case, .initial_state = (void *)(uintptr_t)names[i]};
    int failures = n < 60; // a file with fewer cases is not ours
    enum isa best = isa_detect();
    for (int isa = ISA_BASE; isa <= (int)best; isa++) {
        char title[64];
        snprintf(title, sizeof title, "golden layers, %s", isa_name((enum isa)isa));
        isa_set((enum isa)isa);
        failures += _cmocka_run_group_tests(title, tests, n, NULL, NULL);
    }
    h5_close(file);
    return failures;
}
