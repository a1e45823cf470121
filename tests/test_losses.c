// SPDX-License-Identifier: MIT
// Losses and metrics against plain formulas in double, gradients by central differences, and the
// errors of plan(). A loss of losses.def without a case fails.
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
#include "comm/random.h"
#include "models/loss.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { N = 5, K_MOST = 1000 };

struct loss_case {
    const char *loss, *options;
    struct shape logits;
    bool is_class;
};

static const struct loss_case cases[] = {
    {"softmax", "{}", {1, 1, 10}, true},
    {"softmax", "{label_smoothing: 0.1}", {1, 1, 10}, true},
    {"softmax", "{label_smoothing: 0.2, class_weights: [1, 2, 0.5]}", {1, 1, 3}, true},
    {"softmax", "{class_weights: [0, 2, 1, 3, 0.25, 5, 1]}", {1, 1, 7}, true},
    {"softmax", "{label_smoothing: 0.1}", {1, 1, 17}, false},
    {"softmax", "{}", {1, 1, 1000}, true},
    {"softmax", "{}", {1, 1, 1}, true},
    {"mse", "{}", {1, 1, 4}, false},
    {"mse", "{}", {2, 3, 5}, false},
    {"mse", "{}", {1, 1, 10}, true},
};

struct bench {
    struct yaml *yaml;
    struct loss loss;
    float y[N * K_MOST], dy[N * K_MOST], soft[N * K_MOST];
    int32_t hard[N];
    size_t k;
};

static float draw(uint32_t tag, uint64_t i)
{
    uint32_t word[4];
    random_words((struct random_key){5, RANDOM_GENERATE, tag}, i, 0, word);
    return random_uniform(word[0]) * 2 - 1;
}

static struct tensor view(const struct bench *b, float *at)
{
    struct tensor t = tensor_of(N, b->loss.logits, 0, 0);
    t.at = at;
    return t;
}

static enum status bench_plan(struct bench *b, const struct loss_case *c, struct loss_target target)
{
    char text[256];
    snprintf(text, sizeof text, "args: %s\n", c->options);
    memset(b, 0, sizeof *b);
    TRY(yaml_parse(&b->yaml, "case", text, strlen(text)));
    b->loss = (struct loss){
        .ops = loss_ops_find(c->loss), .logits = c->logits, .target = target, .grain = N};
    assert_non_null(b->loss.ops);
    b->loss.args = yaml_memory_get(b->yaml, b->loss.ops->args_size + 1);
    TRY(options_read(b->yaml, yaml_find(b->yaml->root, "args"), b->loss.ops->options,
                     b->loss.ops->n_options, c->loss, b->loss.args));
    TRY(b->loss.ops->plan(&b->loss));
    return memory_alloc(&b->loss.work, b->loss.work_floats, sizeof(float), "work");
}

static void bench_open(struct bench *b, const struct loss_case *c)
{
    size_t k = c->logits.h * c->logits.w * c->logits.c;
    if (bench_plan(b, c, (struct loss_target){c->is_class, c->is_class ? 1 : k, k}) != STATUS_OK)
        fail_msg("%s %s: %s", c->loss, c->options, error_text());
    b->k = k;
    for (size_t i = 0; i < N; i++) {
        float sum = 0;
        b->hard[i] = (int32_t)((i * 7 + 1) % k);
        for (size_t j = 0; j < k; j++) {
            b->y[i * k + j] = draw(1, i * k + j) * 6;
            b->soft[i * k + j] = fabsf(draw(2, i * k + j));
            sum += b->soft[i * k + j];
        }
        for (size_t j = 0; strcmp(c->loss, "softmax") == 0 && j < k; j++)
            b->soft[i * k + j] /= sum; // a distribution
    }
}

static void bench_close(struct bench *b)
{
    if (b->loss.ops && b->loss.ops->free)
        b->loss.ops->free(&b->loss);
    free(b->loss.work);
    yaml_free(b->yaml);
}

static const void *target_of(const struct bench *b)
{
    return b->loss.target.is_class ? (const void *)b->hard : (const void *)b->soft;
}

static double target_at(const struct bench *b, size_t i, size_t j)
{
    return b->loss.target.is_class ? (b->hard[i] == (int32_t)j) : (double)b->soft[i * b->k + j];
}

// Sum over samples of -sum_j w_j q_j log p_j.
static double naive_softmax(const struct bench *b, const double *y)
{
    const struct yaml_node *args = yaml_find(b->yaml->root, "args");
    const struct yaml_node *smoothing = yaml_find(args, "label_smoothing");
    const struct yaml_node *weights = yaml_find(args, "class_weights");
    const double e = smoothing ? strtod(smoothing->text, NULL) : 0;
    double loss = 0;
    for (size_t i = 0; i < N; i++) {
        const struct yaml_node *weight = weights ? weights->first : NULL;
        double sum = 0;
        for (size_t j = 0; j < b->k; j++)
            sum += exp(y[i * b->k + j]);
        for (size_t j = 0; j < b->k; j++) {
            double q = (1 - e) * target_at(b, i, j) + e / (double)b->k;
            double w = weight ? strtod(weight->text, NULL) : 1;
            loss -= w * q * log(exp(y[i * b->k + j]) / sum);
            weight = weight ? weight->next : NULL;
        }
    }
    return loss;
}

static double naive_mse(const struct bench *b, const double *y)
{
    double loss = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < b->k; j++)
            loss += pow(y[i * b->k + j] - target_at(b, i, j), 2) / (double)b->k;
    return loss;
}

static double naive(const struct bench *b, const double *y)
{
    return strcmp(b->loss.ops->name, "mse") == 0 ? naive_mse(b, y) : naive_softmax(b, y);
}

static void compare(const struct loss_case *c, const char *what, size_t i, double got, double want,
                    double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s %s: %s %zu is %.9g, expected %.9g, tolerance %g, logits %zu x %zu x %zu",
                 c->loss, c->options, what, i, got, want, tolerance, c->logits.h, c->logits.w,
                 c->logits.c);
}

static void check_case(const struct loss_case *c)
{
    static struct bench b;
    static double y[N * K_MOST];
    const float scale = 0.125f;
    double metrics[LOSS_METRICS_MAX], again[LOSS_METRICS_MAX];
    bench_open(&b, c);
    struct tensor ty = view(&b, b.y), tdy = view(&b, b.dy);
    for (size_t i = 0; i < N * b.k; i++) {
        y[i] = (double)b.y[i];
        b.dy[i] = NAN;
    }
    b.loss.ops->eval(&b.loss, &ty, target_of(&b), N, scale, &tdy, metrics);
    double want = naive(&b, y);
    compare(c, "loss", 0, metrics[0], want, 1e-6 * (1 + fabs(want)));
    const size_t step = b.k > 100 ? 37 : 1;
    for (size_t i = 0; i < N * b.k; i += step) {
        const double h = 1e-5, old = y[i];
        y[i] = old + h;
        double up = naive(&b, y);
        y[i] = old - h;
        double slope = (double)scale * (up - naive(&b, y)) / (2 * h);
        y[i] = old;
        compare(c, "gradient", i, (double)b.dy[i], slope, 2e-7 + 1e-6 * fabs(slope));
    }
    b.loss.ops->eval(&b.loss, &ty, target_of(&b), N, scale, NULL, again); // no gradient wanted
    assert_memory_equal(metrics, again, (size_t)b.loss.ops->n_metrics * sizeof *metrics);
    // The sum over samples: one at a time gives the same in total.
    double sum = 0;
    for (size_t i = 0; i < N; i++) {
        struct tensor one = view(&b, b.y + i * b.k);
        const void *target =
            b.loss.target.is_class ? (const void *)(b.hard + i) : (const void *)(b.soft + i * b.k);
        b.loss.ops->eval(&b.loss, &one, target, 1, scale, NULL, again);
        sum += again[0];
    }
    compare(c, "sum over samples", 0, sum, metrics[0], 1e-12 * (1 + fabs(sum)));
    bench_close(&b);
}

static void test_values_and_gradients(void **state)
{
    (void)state;
    size_t n;
    const char *const *names = loss_names(&n);
    for (size_t i = 0; i < n; i++) {
        bool has_case = false;
        for (size_t k = 0; k < COUNT(cases); k++)
            has_case = has_case || strcmp(cases[k].loss, names[i]) == 0;
        if (!has_case)
            fail_msg("loss '%s' has no case here", names[i]);
        assert_string_equal(loss_ops_find(names[i])->name, names[i]);
        assert_string_equal(loss_ops_find(names[i])->metrics[0].name, "loss");
    }
    assert_null(loss_ops_find("no such loss"));
    for (size_t i = 0; i < COUNT(cases); i++)
        check_case(&cases[i]);
}

// Large logits neither overflow nor lose the small probability.
static void test_softmax_is_stable(void **state)
{
    (void)state;
    static struct bench b;
    double metrics[LOSS_METRICS_MAX];
    bench_open(&b, &(struct loss_case){"softmax", "{}", {1, 1, 3}, true});
    const float y[6] = {1000, 990, -1000, -1e30f, 0, 1};
    memcpy(b.y, y, sizeof y);
    b.hard[0] = 1;
    b.hard[1] = 2;
    struct tensor ty = view(&b, b.y), tdy = view(&b, b.dy);
    b.loss.ops->eval(&b.loss, &ty, b.hard, 2, 1, &tdy, metrics);
    double first = 10 + log1p(exp(-10)), second = log1p(exp(-1));
    assert_true(fabs(metrics[0] - first - second) < 1e-5);
    assert_true(fabsf(b.dy[0] - 1 / (1 + expf(-10))) < 1e-6f && b.dy[2] == 0 && b.dy[3] == 0);
    bench_close(&b);
}

static void test_accuracy(void **state)
{
    (void)state;
    static const struct {
        float y[7];
        int32_t target;
        int top1, top5;
    } rows[] = {
        {{0, 1, 2, 3, 4, 5, 6}, 6, 1, 1},   {{0, 1, 2, 3, 4, 5, 6}, 2, 0, 1}, // fifth
        {{0, 1, 2, 3, 4, 5, 6}, 1, 0, 0},                                     // sixth
        {{3, 3, 3, 3, 3, 3, 3}, 0, 1, 1}, // of equals the first counts
        {{3, 3, 3, 3, 3, 3, 3}, 4, 0, 1},   {{3, 3, 3, 3, 3, 3, 3}, 5, 0, 0},
        {{0, 0, NAN, 0, 0, 9, 0}, 5, 0, 0}, // not a number: never right
    };
    static struct bench b;
    bench_open(&b, &(struct loss_case){"softmax", "{}", {1, 1, 7}, true});
    for (size_t i = 0; i < COUNT(rows); i++) {
        double metrics[LOSS_METRICS_MAX];
        memcpy(b.y, rows[i].y, sizeof rows[i].y);
        b.hard[0] = rows[i].target;
        struct tensor ty = view(&b, b.y);
        b.loss.ops->eval(&b.loss, &ty, b.hard, 1, 1, NULL, metrics);
        if (metrics[1] != rows[i].top1 || metrics[2] != rows[i].top5)
            fail_msg("row %zu: accuracy %g, top5 %g, expected %d, %d", i, metrics[1], metrics[2],
                     rows[i].top1, rows[i].top5);
        assert_true(isnan(metrics[0]) == (i == 6));
    }
    bench_close(&b);
    // Fewer than five classes: all but NaN are among the first five. Soft target: its largest.
    bench_open(&b, &(struct loss_case){"softmax", "{}", {1, 1, 3}, false});
    const float y[3] = {1, 2, 3}, soft[3] = {0.2f, 0.7f, 0.1f};
    double metrics[LOSS_METRICS_MAX];
    memcpy(b.y, y, sizeof y);
    memcpy(b.soft, soft, sizeof soft);
    struct tensor ty = view(&b, b.y);
    b.loss.ops->eval(&b.loss, &ty, b.soft, 1, 1, NULL, metrics);
    assert_true(metrics[1] == 0 && metrics[2] == 1);
    bench_close(&b);
}

static void test_mae(void **state)
{
    (void)state;
    static struct bench b;
    double metrics[LOSS_METRICS_MAX];
    bench_open(&b, &(struct loss_case){"mse", "{}", {1, 1, 2}, false});
    const float y[4] = {1, 2, 3, 4}, t[4] = {0, 4, 3, 3};
    memcpy(b.y, y, sizeof y);
    memcpy(b.soft, t, sizeof t);
    struct tensor ty = view(&b, b.y);
    b.loss.ops->eval(&b.loss, &ty, b.soft, 2, 1, NULL, metrics);
    assert_true(metrics[0] == 2.5 + 0.5 && metrics[1] == 1.5 + 0.5);
    bench_close(&b);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        struct loss_case c;
        struct loss_target target;
        const char *text;
    } bad[] = {
        {{"softmax", "{}", {1, 1, 10}, true}, {true, 1, 12}, "12 classes"},
        {{"softmax", "{}", {1, 1, 10}, true}, {true, 2, 10}, "one class a sample"},
        {{"softmax", "{}", {4, 4, 10}, true}, {true, 1, 10}, "4x4x10"},
        {{"softmax", "{}", {1, 1, 10}, false}, {false, 4, 0}, "4 target numbers"},
        {{"softmax", "{class_weights: [1, 2]}", {1, 1, 3}, true}, {true, 1, 3}, "2 numbers"},
        {{"softmax", "{label_smoothing: 2}", {1, 1, 3}, true}, {true, 1, 3}, "label_smoothing"},
        {{"mse", "{}", {1, 1, 10}, false}, {false, 9, 0}, "9 a sample"},
        {{"mse", "{}", {1, 1, 10}, true}, {true, 1, 11}, "11 classes"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        static struct bench b;
        enum status status = bench_plan(&b, &bad[i].c, bad[i].target);
        if (status != STATUS_USAGE || !strstr(error_text(), bad[i].text))
            fail_msg("%s %s: status %d, '%s', expected '... %s ...'", bad[i].c.loss,
                     bad[i].c.options, (int)status, error_text(), bad[i].text);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_and_gradients),
        cmocka_unit_test(test_softmax_is_stable),
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_mae),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
