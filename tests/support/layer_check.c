// SPDX-License-Identifier: MIT
#include "tests/support/layer_check.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/random.h"
#include "comm/span.h"
#include "tests/support/naive.h"

// What a run gave, as dense doubles, and the naive layer on the same values.
struct run {
    struct layer_bench bench;
    struct naive_op op;
    double *x[LAYER_INPUTS_MAX], *param[LAYER_PARAMS_MAX], *dy, *y, *naive_y;
    double *dx[LAYER_INPUTS_MAX];
    size_t n_x[LAYER_INPUTS_MAX], n_y; // elements
};

static size_t elements(const struct tensor *t)
{
    return t->n * t->h * t->w * t->c;
}

static double *doubles(size_t n)
{
    double *out = calloc(n + 1, sizeof *out);
    assert_non_null(out);
    return out;
}

static void close_compare(const struct run *r, const char *what, const double *got,
                          const double *want, size_t n, double tolerance)
{
    double most = 1e-3;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * most))
            fail_msg("%s %s%s: %s[%zu] of %zu is %.9g, expected %.9g, tolerance %g, halo +%zu,%zu, "
                     "x %zu x %zu x %zu x %zu",
                     r->bench.c->layer, r->bench.c->options,
                     r->bench.options.relu ? " with relu" : "", what, i, n, got[i], want[i],
                     tolerance * most, r->bench.options.extra[0], r->bench.options.extra[1],
                     r->bench.options.n, r->bench.c->x[0].h, r->bench.c->x[0].w,
                     r->bench.c->x[0].c);
}

static void naive_run(struct run *r)
{
    assert_true(naive_forward(&r->op));
    for (size_t i = 0; r->bench.options.relu && i < r->n_y; i++)
        r->op.y[i] = r->op.y[i] > 0 ? r->op.y[i] : 0;
}

static void run_open(struct run *r, const struct layer_case *c, struct layer_bench_options options)
{
    *r = (struct run){0};
    struct layer_bench *b = &r->bench;
    layer_bench_open(b, c, &options);
    r->op = (struct naive_op){.layer = c->layer,
                              .options = yaml_find(b->yaml->root, "args"),
                              .n = options.n,
                              .n_x = c->n_x,
                              .ys = c->y,
                              .pass = &b->pass,
                              .index = options.index};
    for (int i = 0; i < c->n_x; i++) {
        r->n_x[i] = elements(&b->layer.x[i]);
        r->op.xs[i] = c->x[i];
        r->op.x[i] = r->x[i] = layer_bench_dense(b, &b->layer.x[i], "x");
    }
    for (int i = 0; i < b->layer.n_params; i++) {
        const struct param *p = &b->layer.param[i];
        r->op.param[i] = r->param[i] = doubles(p->count);
        for (size_t k = 0; k < p->count; k++)
            r->param[i][k] = (double)b->params[p->offset + k];
        if (p->kind == PARAM_STATE)
            r->op.state[i] = doubles(p->count);
    }
    r->n_y = elements(&b->layer.y);
    r->dy = layer_bench_dense(b, &b->layer.dy, "dy");
    r->op.y = r->naive_y = doubles(r->n_y);
}

static void run_close(struct run *r)
{
    for (int i = 0; i < LAYER_INPUTS_MAX; i++) {
        free(r->x[i]);
        free(r->dx[i]);
    }
    for (int i = 0; i < LAYER_PARAMS_MAX; i++) {
        free(r->param[i]);
        free(r->op.state[i]);
    }
    free(r->dy);
    free(r->y);
    free(r->naive_y);
    layer_bench_close(&r->bench);
}

static void unchanged_check(const struct run *r, const char *what, const struct tensor *t,
                            const double *before)
{
    double *now = layer_bench_dense(&r->bench, t, what);
    close_compare(r, what, now, before, elements(t), 0);
    free(now);
}

static void forward_check(struct run *r, bool is_training)
{
    layer_bench_forward(&r->bench, is_training);
    free(r->y);
    r->y = layer_bench_dense(&r->bench, &r->bench.layer.y, "y");
    r->op.is_training = is_training;
    naive_run(r);
    close_compare(r, is_training ? "y" : "y of evaluation", r->y, r->naive_y, r->n_y, 1e-5);
}

// Backward, then what the contract says about what it may touch.
static void backward_run(struct run *r)
{
    const struct layer_bench *b = &r->bench;
    layer_bench_backward(&r->bench);
    for (int i = 0; i < b->c->n_x; i++) {
        unchanged_check(r, "x after backward", &b->layer.x[i], r->x[i]);
        free(r->dx[i]);
        r->dx[i] = NULL;
        if (b->layer.dx[i].at)
            r->dx[i] = layer_bench_dense(b, &b->layer.dx[i], "dx");
    }
    unchanged_check(r, "y after backward", &b->layer.y, r->y);
    if (!(b->options.relu && b->layer.ops->mutates_dy))
        unchanged_check(r, "dy after backward", &b->layer.dy, r->dy);
    else
        free(layer_bench_dense(b, &b->layer.dy, "dy"));
}

// Every number of grads outside the parameters (and of frozen ones) is still the NaN of the start;
// the others were written.
static void grads_check(const struct run *r)
{
    const struct layer_bench *b = &r->bench;
    for (size_t i = 0; i < b->floats; i++) {
        bool is_wanted = false;
        for (int k = 0; k < b->layer.n_params; k++) {
            const struct param *p = &b->layer.param[k];
            if (i >= p->offset && i < p->offset + p->count)
                is_wanted = p->kind != PARAM_FROZEN;
        }
        if (is_wanted == (bool)isnan(b->grads[i]))
            fail_msg("%s %s: gradient %zu of the flat vector %s", b->c->layer, b->c->options, i,
                     is_wanted ? "was not written" : "is not a parameter's and was written");
    }
}

// sum of y dy, the function whose gradient is checked
static double objective(struct run *r)
{
    double sum = 0;
    naive_run(r);
    for (size_t i = 0; i < r->n_y; i++)
        sum += r->op.y[i] * r->dy[i];
    return sum;
}

static double slope(struct run *r, double *v, const double *at, const double *direction, size_t n)
{
    const double step = 1e-6;
    for (size_t i = 0; i < n; i++)
        v[i] = at[i] + step * direction[i];
    double up = objective(r);
    for (size_t i = 0; i < n; i++)
        v[i] = at[i] - step * direction[i];
    double down = objective(r);
    memcpy(v, at, n * sizeof *v);
    return (up - down) / (2 * step);
}

// The gradient g of v (n numbers, which the naive layer reads): along random directions, which see
// every element, and for single elements.
static void gradient_check(struct run *r, const char *what, double *v, const double *g, size_t n)
{
    enum { DIRECTIONS = 3, SINGLES = 12 };
    double *at = doubles(n), *direction = doubles(n), norm = 0;
    memcpy(at, v, n * sizeof *at);
    for (size_t i = 0; i < n; i++)
        norm += g[i] * g[i];
    norm = sqrt(norm);
    for (size_t t = 0; t < DIRECTIONS + SINGLES; t++) {
        const size_t single = (t * 2654435761u + t) % n;
        double along = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t word[4];
            random_words((struct random_key){3, RANDOM_GENERATE, (uint32_t)t}, i, 0, word);
            direction[i] = t < DIRECTIONS ? (double)random_uniform(word[0]) * 2 - 1 : i == single;
            along += g[i] * direction[i];
        }
        double numeric = slope(r, v, at, direction, n);
        double tolerance = t < DIRECTIONS
                               ? 2e-5 * norm + 1e-6
                               : 1e-4 * fabs(along) + 2e-5 * norm / sqrt((double)n) + 1e-6;
        if (!(fabs(numeric - along) <= tolerance))
            fail_msg("%s %s%s: gradient of %s (%zu numbers) %s %zu is %.9g, by differences %.9g, "
                     "tolerance %g, halo +%zu,%zu",
                     r->bench.c->layer, r->bench.c->options,
                     r->bench.options.relu ? " with relu" : "", what, n,
                     t < DIRECTIONS ? "along direction" : "of element", t < DIRECTIONS ? t : single,
                     along, numeric, tolerance, r->bench.options.extra[0],
                     r->bench.options.extra[1]);
    }
    free(at);
    free(direction);
}

static double *grads_of(const struct run *r, int i)
{
    const struct param *p = &r->bench.layer.param[i];
    double *g = doubles(p->count);
    for (size_t k = 0; k < p->count; k++)
        g[k] = (double)r->bench.grads[p->offset + k];
    return g;
}

static void gradients_check(struct run *r)
{
    const struct layer *layer = &r->bench.layer;
    for (int i = 0; i < layer->n_x; i++)
        gradient_check(r, "x", r->x[i], r->dx[i], r->n_x[i]);
    for (int i = 0; i < layer->n_params; i++) {
        const struct param *p = &layer->param[i];
        if (p->kind == PARAM_FROZEN)
            continue;
        double *g = grads_of(r, i);
        if (p->kind == PARAM_STATE)
            close_compare(r, p->name, g, r->op.state[i], p->count, 1e-5);
        else
            gradient_check(r, p->name, r->param[i], g, p->count);
        free(g);
    }
}

// dx with beta 1 is what was there plus dx with beta 0; a hidden dx changes nothing else.
static void accumulation_check(const struct run *zero, const struct layer_case *c,
                               struct layer_bench_options options)
{
    struct run one, hidden;
    options.beta = 1;
    run_open(&one, c, options);
    double *before[LAYER_INPUTS_MAX];
    for (int i = 0; i < c->n_x; i++)
        before[i] = layer_bench_dense(&one.bench, &one.bench.layer.dx[i], "dx");
    forward_check(&one, true);
    backward_run(&one);
    for (int i = 0; i < c->n_x; i++) {
        for (size_t k = 0; k < one.n_x[i]; k++)
            before[i][k] += zero->dx[i][k];
        close_compare(&one, "dx with beta 1", one.dx[i], before[i], one.n_x[i], 2e-6);
        free(before[i]);
    }
    options.beta = 0;
    options.hidden = 1;
    run_open(&hidden, c, options);
    forward_check(&hidden, true);
    backward_run(&hidden);
    for (int i = 1; i < c->n_x; i++)
        close_compare(&hidden, "dx beside a hidden one", hidden.dx[i], zero->dx[i], zero->n_x[i],
                      0);
    if (memcmp(hidden.bench.grads, zero->bench.grads, zero->bench.floats * sizeof(float)) != 0 ||
        memcmp(one.bench.grads, zero->bench.grads, zero->bench.floats * sizeof(float)) != 0)
        fail_msg("%s %s: parameter gradients depend on dx", c->layer, c->options);
    run_close(&one);
    run_close(&hidden);
}

static void nan_fill(const struct tensor *t)
{
    for (size_t n = 0; n < t->n; n++)
        for (size_t h = 0; h < t->h; h++)
            for (size_t i = 0; i < t->w * t->c; i++)
                tensor_row(t, n, h)[i] = NAN;
}

// What the layer says backward does not read is really not read.
static void spares_check(const struct run *whole, const struct layer_case *c,
                         struct layer_bench_options options)
{
    struct run r;
    run_open(&r, c, options);
    forward_check(&r, true);
    const struct layer *layer = &r.bench.layer;
    const unsigned spares = layer->ops->spares;
    for (int i = 0; (spares & SPARES_X) && i < c->n_x; i++)
        nan_fill(&layer->x[i]);
    if ((spares & SPARES_MASK) || ((spares & SPARES_Y) && !options.relu))
        nan_fill(&layer->y);
    layer_bench_backward(&r.bench);
    for (int i = 0; i < c->n_x; i++) {
        r.dx[i] = layer_bench_dense(&r.bench, &layer->dx[i], "dx");
        close_compare(&r, "dx without what is spared", r.dx[i], whole->dx[i], whole->n_x[i], 0);
    }
    if (memcmp(r.bench.grads, whole->bench.grads, whole->bench.floats * sizeof(float)) != 0)
        fail_msg("%s %s: backward reads what ops->spares says it does not", c->layer, c->options);
    run_close(&r);
}

static bool has_state(const struct layer *layer)
{
    for (int i = 0; i < layer->n_params; i++)
        if (layer->param[i].kind == PARAM_STATE)
            return true;
    return false;
}

// Two halves of the batch give the halves of y and dx, and gradients whose sum is the whole's.
static void parts_check(const struct run *whole, const struct layer_case *c,
                        struct layer_bench_options options)
{
    struct run part[2];
    for (int h = 0; h < 2; h++) {
        options.n = c->n / 2;
        options.first = (size_t)h * options.n;
        run_open(&part[h], c, options);
        forward_check(&part[h], true);
        backward_run(&part[h]);
        size_t n_y = part[h].n_y;
        close_compare(&part[h], "y of a part", part[h].y, whole->y + (size_t)h * n_y, n_y, 1e-5);
        for (int i = 0; i < c->n_x; i++) {
            size_t n = part[h].n_x[i];
            close_compare(&part[h], "dx of a part", part[h].dx[i], whole->dx[i] + (size_t)h * n, n,
                          1e-5);
        }
    }
    for (int i = 0; i < part[0].bench.layer.n_params; i++) {
        const struct param *p = &part[0].bench.layer.param[i];
        double *a = grads_of(&part[0], i), *b = grads_of(&part[1], i), *sum = grads_of(whole, i);
        for (size_t k = 0; k < p->count; k++)
            a[k] += b[k];
        if (p->kind != PARAM_FROZEN)
            close_compare(whole, "sum of the parts' gradients", a, sum, p->count, 1e-5);
        free(a);
        free(b);
        free(sum);
    }
    run_close(&part[0]);
    run_close(&part[1]);
}

// A pass over fewer samples than the grain, as at the end of an evaluation.
static void short_pass_check(const struct layer_case *c, struct layer_bench_options options)
{
    struct run r;
    run_open(&r, c, options);
    forward_check(&r, false);
    double *before = r.y;
    r.y = NULL;
    r.bench.pass.n = options.n - 1;
    layer_bench_forward(&r.bench, false);
    double *y = layer_bench_dense(&r.bench, &r.bench.layer.y, "y");
    close_compare(&r, "y of fewer samples", y, before, r.n_y / options.n * (options.n - 1), 1e-6);
    free(before);
    free(y);
    run_close(&r);
}

static void variant_check(const struct layer_case *c, struct layer_bench_options options)
{
    struct run r, again;
    run_open(&r, c, options);
    forward_check(&r, true);
    backward_run(&r);
    grads_check(&r);
    run_open(&again, c, options);
    forward_check(&again, true);
    backward_run(&again);
    if (memcmp(again.bench.grads, r.bench.grads, r.bench.floats * sizeof(float)) != 0)
        fail_msg("%s %s: gradients differ from run to run", c->layer, c->options);
    close_compare(&again, "y of a second run", again.y, r.y, r.n_y, 0);
    run_close(&again);
    accumulation_check(&r, c, options);
    spares_check(&r, c, options);
    if (!has_state(&r.bench.layer))
        parts_check(&r, c, options);
    gradients_check(&r); // last: leaves the naive y disturbed
    run_close(&r);
    short_pass_check(c, options);
}

void layer_check(const struct layer_case *c)
{
    static const size_t extra[][2] = {{0, 0}, {2, 1}};
    struct layer_bench_options options = {.n = c->n, .index = 3, .seed = 11, .epoch = 2};
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        memcpy(options.extra, extra[i], sizeof options.extra);
        struct layer_bench probe;
        layer_bench_open(&probe, c, &options);
        bool fuses = probe.layer.ops->fuses_relu && probe.layer.ops->fuses_relu(&probe.layer);
        layer_bench_close(&probe);
        for (int relu = 0; relu <= fuses; relu++) {
            options.relu = relu;
            variant_check(c, options);
        }
    }
}
