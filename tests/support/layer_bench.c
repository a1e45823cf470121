// SPDX-License-Identifier: MIT
// One layer with memory, as the graph would bind it. See layer_check.h.
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
#include "comm/span.h"
#include "tests/support/layer_check.h"

// In [-1, 1), a function of (tag, index).
static float value(uint32_t tag, uint64_t index)
{
    uint32_t word[4];
    random_words((struct random_key){7, RANDOM_GENERATE, tag}, index, 0, word);
    return random_uniform(word[0]) * 2 - 1;
}

static void try_(enum status status, const struct layer_case *c)
{
    if (status != STATUS_OK)
        fail_msg("%s %s: %s (%s)", c->layer, c->options, error_text(), error_place());
}

static float *allocate(struct layer_bench *b, size_t floats)
{
    float *memory;
    try_(memory_alloc(&memory, floats, sizeof *memory, "test"), b->c);
    assert_true(b->n_memory < (int)(sizeof b->memory / sizeof *b->memory));
    return b->memory[b->n_memory++] = memory;
}

// Memory for a tensor; values by place (tag > 0) or NaN (tag 0).
static void tensor_bind(struct layer_bench *b, struct tensor *t, struct shape s, size_t halo_h,
                        size_t halo_w, uint32_t tag)
{
    const size_t first = b->options.first;
    *t = tensor_of(b->options.n, s, halo_h + b->options.extra[0], halo_w + b->options.extra[1]);
    t->at = allocate(b, tensor_floats(t)) + tensor_origin(t);
    for (size_t n = 0; n < t->n; n++)
        for (size_t h = 0; h < s.h; h++)
            for (size_t i = 0; i < s.w * s.c; i++)
                tensor_row(t, n, h)[i] =
                    tag ? value(tag, ((first + n) * s.h + h) * s.w * s.c + i) : NAN;
}

static void params_bind(struct layer_bench *b)
{
    struct layer *layer = &b->layer;
    for (int i = 0; i < layer->n_params; i++) {
        struct param *p = &layer->param[i];
        p->count = 1;
        for (int k = 0; k < p->rank; k++)
            p->count *= p->dim[k];
        p->offset = b->floats;
        b->floats += span_round(p->count) + SPAN_BLOCK; // a gap that nobody may touch
    }
    b->params = allocate(b, b->floats);
    b->grads = allocate(b, b->floats);
    for (size_t i = 0; i < b->floats; i++)
        b->grads[i] = NAN;
    for (int i = 0; i < layer->n_params; i++) {
        const struct param *p = &layer->param[i];
        for (size_t k = 0; k < p->count; k++) {
            float v = value(20 + (uint32_t)i, k);
            v = p->init == INIT_ONE ? 1 + v / 2 : v; // norms' weights, running variance: positive
            b->params[p->offset + k] = p->init == INIT_VALUES ? p->values[k] : v;
        }
    }
}

static enum status layer_shape(struct layer_bench *b)
{
    const struct layer_case *c = b->c;
    struct layer *layer = &b->layer;
    char text[1024];
    snprintf(text, sizeof text, "args: %s\n", c->options[0] ? c->options : "{}");
    const struct layer_ops *ops = layer_ops_find(c->layer);
    if (!ops)
        fail_msg("no layer '%s'", c->layer);
    TRY(yaml_parse(&b->yaml, "case", text, strlen(text)));
    *layer = (struct layer){.ops = ops,
                            .name = "it",
                            .line = 1,
                            .index = b->options.index,
                            .n_x = c->n_x,
                            .relu = b->options.relu};
    layer->args = yaml_memory_get(b->yaml, ops->args_size + 1);
    TRY(options_read(b->yaml, yaml_find(b->yaml->root, "args"), ops->options, ops->n_options,
                     c->layer, layer->args));
    assert_true(c->n_x >= ops->min_x && c->n_x <= ops->max_x);
    for (int i = 0; i < c->n_x; i++)
        layer->x[i] = tensor_of(b->options.n, c->x[i], 0, 0);
    return ops->shape(layer);
}

void layer_bench_open(struct layer_bench *b, const struct layer_case *c,
                      const struct layer_bench_options *options)
{
    *b = (struct layer_bench){.c = c, .options = *options};
    struct layer *layer = &b->layer;
    try_(layer_shape(b), c);
    struct shape y = tensor_shape(&layer->y);
    if (y.h != c->y.h || y.w != c->y.w || y.c != c->y.c)
        fail_msg("%s %s: y is %zu x %zu x %zu, expected %zu x %zu x %zu", c->layer, c->options, y.h,
                 y.w, y.c, c->y.h, c->y.w, c->y.c);
    for (int i = 0; i < c->n_x; i++) {
        size_t h = layer->x_halo_h[i], w = layer->x_halo_w[i];
        tensor_bind(b, &layer->x[i], c->x[i], h, w, 1 + (uint32_t)i);
        tensor_bind(b, &layer->dx[i], c->x[i], 0, 0, options->beta > 0 ? 10 + (uint32_t)i : 0);
        layer->dx_beta[i] = options->beta;
        if (options->hidden >> i & 1)
            layer->dx[i].at = NULL;
    }
    tensor_bind(b, &layer->y, y, 0, 0, 0);
    tensor_bind(b, &layer->dy, y, layer->dy_halo_h, layer->dy_halo_w, 9);
    params_bind(b);
    layer->keep = allocate(b, layer->keep_floats);
    layer->work = allocate(b, layer->work_floats);
    assert_true(options->n <= sizeof b->row / sizeof *b->row);
    for (size_t i = 0; i < options->n; i++)
        b->row[i] = 1000 + options->first + i;
    b->pass = (struct pass){.n = options->n,
                            .params = b->params,
                            .grads = b->grads,
                            .seed = options->seed,
                            .epoch = options->epoch,
                            .row = b->row};
    if (layer->ops->plan)
        try_(layer->ops->plan(layer), c);
}

void layer_bench_close(struct layer_bench *b)
{
    if (b->layer.ops->free)
        b->layer.ops->free(&b->layer);
    for (int i = 0; i < b->n_memory; i++)
        free(b->memory[i]);
    yaml_free(b->yaml);
}

void layer_bench_forward(struct layer_bench *b, bool is_training)
{
    b->pass.is_training = is_training;
    if (b->layer.ops->prepare)
        b->layer.ops->prepare(&b->layer, b->params);
    b->layer.ops->forward(&b->layer, &b->pass);
}

void layer_bench_backward(struct layer_bench *b)
{
    b->layer.ops->backward(&b->layer, &b->pass);
}

static void halo_check(const struct layer_bench *b, const struct tensor *t, const char *what)
{
    const float *memory = t->at - tensor_origin(t);
    for (size_t i = 0; i < tensor_floats(t); i++) {
        size_t h = i % t->image / t->row, w = i % t->row / t->c;
        bool is_inside =
            h >= t->halo_h && h < t->halo_h + t->h && w >= t->halo_w && w < t->halo_w + t->w;
        if (!is_inside && memory[i] != 0)
            fail_msg("%s %s: halo of %s holds %g at padded row %zu, column %zu", b->c->layer,
                     b->c->options, what, (double)memory[i], h, w);
    }
}

double *layer_bench_dense(const struct layer_bench *b, const struct tensor *t, const char *what)
{
    halo_check(b, t, what);
    double *out = malloc((t->n * t->h * t->w * t->c + 1) * sizeof *out), *next = out;
    assert_non_null(out);
    for (size_t n = 0; n < t->n; n++)
        for (size_t h = 0; h < t->h; h++)
            for (size_t i = 0; i < t->w * t->c; i++)
                *next++ = (double)tensor_row(t, n, h)[i];
    return out;
}

enum status layer_check_shape(const struct layer_case *c)
{
    struct layer_bench b = {.c = c, .options = {.n = c->n}};
    enum status status = layer_shape(&b);
    if (b.layer.ops && b.layer.ops->free)
        b.layer.ops->free(&b.layer);
    yaml_free(b.yaml);
    return status;
}
