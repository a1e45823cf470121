// SPDX-License-Identifier: MIT
// Ten steps of every optimiser variant against golden values in double (PyTorch, and numpy for
// LARS), made by scripts/golden/optimizers.py; running statistics, frozen tensors, EMA, options
// that mean nothing, and sums that are not finite.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "data/h5.h"
#include "tests/support/fake_model.h"
#include "trainer/optimizer.h"
#include "trainer/update.h"

#define STEPS 10
#define N 28 // numbers of the golden tensors, packed
#define CASES_MAX 24
#define FIELDS 16
#define EPOCH 4 // steps
#define FLOATS_MAX 4096

static const struct fake_tensor golden_tensors[] = {
    {"a", "weight", PARAM_WEIGHT, 2, {3, 4}, 0},
    {"a", "bias", PARAM_BIAS, 1, {4}, 0},
    {"b", "weight", PARAM_WEIGHT, 1, {10}, 0},
    {"c", "weight", PARAM_WEIGHT, 1, {2}, 0},
};

static struct {
    double start[N], grads[STEPS][N], rates[STEPS], norms[STEPS];
    double configs[CASES_MAX][FIELDS];
    double weights[CASES_MAX][STEPS][N];
    double states[CASES_MAX][4][N];
    size_t n_cases;
    char **cases;
} golden;

static struct group *group;

// One process, one grain: a reduce whose sum is what is pushed.
struct fixture {
    struct fake_model model;
    struct reduce *reduce;
    struct update *update;
    float params[FLOATS_MAX];
};

static void must(enum status status)
{
    if (status != STATUS_OK)
        fail_msg("%s: %s", error_place(), error_text());
}

static void read_all(struct h5 *file, const char *name, void *out, size_t bytes)
{
    struct h5_info info;
    must(h5_info(file, name, &info));
    size_t n = sizeof(double);
    for (int d = 0; d < info.rank; d++)
        n *= info.dim[d];
    assert_true(n <= bytes);
    must(h5_read_rows(file, name, 0, info.dim[0], H5_F64, out));
}

static int setup(void **state)
{
    (void)state;
    static char name[] = "test_optimizers", *arguments[] = {name, NULL}, **argv = arguments;
    int argc = 1;
    must(group_init(&group, name, &argc, &argv));
    struct h5 *file = NULL;
    must(h5_open(&file, SW2_GOLDEN "/optimizers.h5"));
    read_all(file, "start", golden.start, sizeof golden.start);
    read_all(file, "grads", golden.grads, sizeof golden.grads);
    read_all(file, "rates", golden.rates, sizeof golden.rates);
    read_all(file, "norms", golden.norms, sizeof golden.norms);
    read_all(file, "configs", golden.configs, sizeof golden.configs);
    read_all(file, "weights", golden.weights, sizeof golden.weights);
    read_all(file, "states", golden.states, sizeof golden.states);
    must(h5_attr_read_texts(file, "/", "cases", &golden.n_cases, &golden.cases));
    h5_close(file);
    assert_true(golden.n_cases >= 18 && golden.n_cases <= CASES_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    h5_texts_free(golden.n_cases, golden.cases);
    group_free(group);
    return 0;
}

static enum status fixture_init(struct fixture *f, const struct update_config *config)
{
    ASSERT(f->model.n <= FLOATS_MAX);
    must(reduce_init(&f->reduce, group, f->model.n, 1, 1, 4096));
    return update_init(&f->update, config, group, f->reduce, f->model.n, 1, f->model.list,
                       f->model.n_list, f->params);
}

static void fixture_free(struct fixture *f)
{
    update_free(f->update);
    reduce_free(f->reduce);
}

// Element of the flat vector that holds the i-th of the packed numbers.
static size_t place_of(const struct fake_model *model, size_t i)
{
    size_t t = 0;
    for (; i >= model->list[t].param->count; t++)
        i -= model->list[t].param->count;
    return model->list[t].param->offset + i;
}

// Padding is NaN: nobody may look at it.
static enum status step_with(struct fixture *f, const double *gradient, double lr, uint64_t step)
{
    float *g = reduce_grain(f->reduce, 0);
    for (size_t i = 0; i < f->model.n; i++)
        g[i] = NAN;
    for (size_t i = 0; i < N; i++)
        g[place_of(&f->model, i)] = (float)gradient[i];
    reduce_push(f->reduce, 0, 0);
    reduce_wait(f->reduce);
    return update_step(f->update, f->params, lr, step);
}

static void close_enough(const char *what, size_t c, size_t step, size_t i, double got, double want)
{
    double tolerance = 2e-6 * (1 + fabs(want));
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s of case '%s' at step %zu: element %zu of %d is %.9g, expected %.9g +- %.2g",
                 what, golden.cases[c], step, i, N, got, want, tolerance);
}

static struct update_config golden_config(size_t c)
{
    const double *f = golden.configs[c];
    return (struct update_config){.optimizer = (int)f[0],
                                  .momentum = f[1],
                                  .nesterov = f[2] != 0,
                                  .beta1 = f[3],
                                  .beta2 = f[4],
                                  .epsilon = f[5],
                                  .weight_decay = f[6],
                                  .decoupled = f[7] != 0,
                                  .decay_all = f[8] != 0,
                                  .trust = f[9],
                                  .clip_norm = f[10],
                                  .ema = f[11],
                                  .lookahead = (uint64_t)f[12],
                                  .lookahead_decay = f[13],
                                  .steps = STEPS,
                                  .steps_per_epoch = EPOCH};
}

static void golden_states(struct fixture *f, size_t c, const struct update_config *config)
{
    const struct optimizer *optimizer = optimizer_at(config->optimizer);
    assert_int_equal(update_n_states(f->update),
                     optimizer->n_states + (config->ema > 0) + (config->lookahead > 0));
    assert_int_equal(update_has_ema(f->update), config->ema > 0);
    for (int s = 0; s < update_n_states(f->update); s++) {
        if (s == 0 && config->optimizer == OPTIMIZER_sgd && config->momentum == 0)
            continue; // PyTorch keeps none
        const float *state = update_state_gather(f->update, s);
        for (size_t i = 0; i < N; i++)
            close_enough(update_state_name(f->update, s), c, STEPS, i,
                         (double)state[place_of(&f->model, i)], golden.states[c][s][i]);
    }
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t c = 0; c < golden.n_cases; c++) {
        struct update_config config = golden_config(c);
        struct fixture f = {0};
        fake_model_init(&f.model, golden_tensors, 4);
        f.model.layer[2].param[0].lr_factor = (float)golden.configs[c][14];
        f.model.layer[1].param[0].trained_epochs = golden.configs[c][15];
        for (size_t i = 0; i < N; i++)
            f.params[place_of(&f.model, i)] = (float)golden.start[i];
        must(fixture_init(&f, &config));
        for (size_t step = 0; step < STEPS; step++) {
            must(step_with(&f, golden.grads[step], golden.rates[step], step));
            double epochs = golden.configs[c][15], norm = golden.norms[step];
            for (size_t i = 12; epochs > 0 && (double)step >= epochs * EPOCH && i < 16; i++)
                norm = sqrt(norm * norm - pow(golden.grads[step][i], 2)); // a/bias is frozen
            close_enough("norm", c, step, 0, update_norm(f.update), norm);
            for (size_t i = 0; i < N; i++)
                close_enough("weight", c, step, i, (double)f.params[place_of(&f.model, i)],
                             golden.weights[c][step][i]);
        }
        for (size_t i = 4; i < SPAN_BLOCK; i++) // padding after a/bias stays zero
            assert_true(f.params[SPAN_BLOCK + i] == 0);
        golden_states(&f, c, &config);
        fixture_free(&f);
    }
}

// Frozen stays, statistics move towards the mean over grains, EMA copies both.
static void test_kinds(void **state)
{
    (void)state;
    enum { GRAINS = 4, STATE = 3, FROZEN = 4 };
    struct fixture f = {0};
    fake_model_init(&f.model, fake_network, fake_network_n);
    fake_params(&f.model, 1, f.params);
    struct update_config config = {.optimizer = OPTIMIZER_sgd, .momentum = 0.9, .ema = 0.99};
    must(reduce_init(&f.reduce, group, f.model.n, GRAINS, 1, 4096));
    must(update_init(&f.update, &config, group, f.reduce, f.model.n, GRAINS, f.model.list,
                     f.model.n_list, f.params));
    static float before[FLOATS_MAX], ema[FLOATS_MAX];
    memcpy(before, f.params, sizeof before);
    const struct param *stat = f.model.list[STATE].param, *bank = f.model.list[FROZEN].param;
    for (int g = 0; g < GRAINS; g++) {
        float *grain = reduce_grain(f.reduce, 0);
        memset(grain, 0, f.model.n * sizeof *grain);
        for (size_t i = 0; i < bank->count; i++)
            grain[bank->offset + i] = NAN; // "backward writes nothing"
        for (size_t i = 0; i < stat->count; i++)
            grain[stat->offset + i] = (float)(g + (int)i); // mean: i + 1.5
        reduce_push(f.reduce, 0, 0);
    }
    reduce_wait(f.reduce);
    must(update_step(f.update, f.params, 0.1, 0));
    assert_true(update_norm(f.update) == 0); // statistics are no gradients
    update_ema(f.update, ema);
    for (size_t i = 0; i < f.model.n; i++) {
        float want = before[i];
        if (i >= stat->offset && i < stat->offset + stat->count)
            want += 0.1f * ((float)(i - stat->offset) + 1.5f - want);
        if (f.params[i] != want || ema[i] != want)
            fail_msg("element %zu: weight %.9g, ema %.9g, expected %.9g", i, (double)f.params[i],
                     (double)ema[i], (double)want);
    }
    fixture_free(&f);
}

static void test_not_finite(void **state)
{
    (void)state;
    static const struct {
        double value;
        size_t at;
        const char *names;
    } cases[] = {{(double)NAN, 0, "'a/weight'"},
                 {(double)INFINITY, 13, "'a/bias'"},
                 {-(double)INFINITY, 27, "'c/weight'"}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct fixture f = {0};
        fake_model_init(&f.model, golden_tensors, 4);
        struct update_config config = {.optimizer = OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.99};
        must(fixture_init(&f, &config));
        struct update_digest before = update_digest(f.update, f.params);
        double gradient[N] = {1, 2, 3};
        gradient[cases[c].at] = cases[c].value;
        assert_int_equal(step_with(&f, gradient, 0.1, 7), STATUS_NOT_FINITE);
        assert_non_null(strstr(error_text(), cases[c].names));
        assert_non_null(strstr(error_text(), "in step 8")); // counted from 1
        assert_int_equal(step_with(&f, golden.grads[0], (double)NAN, 7), STATUS_NOT_FINITE);
        struct update_digest after = update_digest(f.update, f.params);
        assert_memory_equal(&before, &after, sizeof before);
        fixture_free(&f);
    }
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        struct update_config config;
        const char *says;
    } cases[] = {
        {{.optimizer = OPTIMIZER_ROWS}, "optimizers.def"},
        {{.optimizer = OPTIMIZER_adamw, .nesterov = true, .momentum = 0.9}, "not of adamw"},
        {{.optimizer = OPTIMIZER_sgd, .nesterov = true}, "needs momentum"},
        {{.optimizer = OPTIMIZER_lars, .decoupled = true}, "not of lars"},
        {{.optimizer = OPTIMIZER_sgd, .ema = 1}, "ema: 1"},
        {{.optimizer = OPTIMIZER_sgd, .lookahead = 5}, "length of the run"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct fixture f = {0};
        fake_model_init(&f.model, golden_tensors, 4);
        assert_int_equal(fixture_init(&f, &cases[c].config), STATUS_USAGE);
        assert_null(f.update);
        assert_non_null(strstr(error_text(), cases[c].says));
        fixture_free(&f);
    }
}

static void test_power(void **state)
{
    (void)state;
    double product = 1;
    for (uint64_t n = 0; n < 2000; n++, product *= 0.999)
        assert_true(fabs(optimizer_power(0.999, n) - product) <= 1e-12 * product);
    assert_true(optimizer_power(0.9, UINT64_MAX) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),     cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_options),
        cmocka_unit_test(test_power),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
