// SPDX-License-Identifier: MIT
// Owns: the table of methods, their memory, passes over variants of a sample, and maps.
#include "trainer/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/random.h"
#include "trainer/explain_private.h"
#include "trainer/explain_render.h"

enum to_map { MAP_LAYER, MAP_LARGEST, MAP_SUM }; // how raw becomes a map

static const struct method {
    struct explain_info info;
    explain_method_run *run;
    enum to_map to_map;
} methods[EXPLAIN_METHODS] = {
    {{"gradcam", "Grad-CAM", false, true}, explain_gradcam, MAP_LAYER},
    {{"gradcampp", "Grad-CAM++", false, true}, explain_gradcam_pp, MAP_LAYER},
    {{"gradient", "gradient", false, false}, explain_plain, MAP_LARGEST},
    {{"gradxinput", "gradient x input", true, false}, explain_times_input, MAP_SUM},
    {{"integrated", "integrated grad.", true, false}, explain_integrated, MAP_SUM},
    {{"smoothgrad", "SmoothGrad", false, false}, explain_smoothgrad, MAP_LARGEST},
    {{"occlusion", "occlusion", true, false}, explain_occlusion, MAP_SUM},
    {{"activation", "activation", false, true}, explain_activation, MAP_LAYER},
};

const struct explain_info *explain_info(enum explain_method method)
{
    return &methods[method].info;
}

struct explain_config explain_defaults(void)
{
    return (struct explain_config){.steps = 50, .samples = 25, .noise = 0.15, .seed = 1};
}

// ---- memory

static enum status arrays_take(struct explain *e)
{
    const struct explain_config *c = &e->config;
    TRY(memory_alloc(&e->baseline, e->floats, sizeof *e->baseline, "baseline"));
    TRY(memory_alloc(&e->noise, c->samples * e->floats, sizeof *e->noise, "noise of SmoothGrad"));
    TRY(memory_alloc(&e->x, e->chunk * e->floats, sizeof *e->x, "variants of a sample"));
    TRY(memory_alloc(&e->dy, e->chunk * e->n_outputs, sizeof *e->dy, "gradient of the scores"));
    TRY(memory_alloc(&e->gradient, e->floats, sizeof *e->gradient, "gradient of a sample"));
    TRY(memory_alloc(&e->sum, e->floats, sizeof *e->sum, "sums of gradients"));
    TRY(memory_alloc(&e->node, c->steps, sizeof *e->node, "steps of integrated gradients"));
    TRY(memory_alloc(&e->weight, c->steps, sizeof *e->weight, "steps of integrated gradients"));
    return memory_alloc(&e->row, e->chunk, sizeof *e->row, "row numbers");
}

static enum status prepare(struct explain *e)
{
    const struct tensor *x = model_input_gradient(e->model), *y = model_output(e->model);
    ASSERT(x->at); // config.input_gradient
    e->in = tensor_shape(x);
    e->floats = x->h * x->w * x->c;
    e->n_outputs = y->c;
    e->chunk = x->n;
    CHECK(
        y->h * y->w == 1, STATUS_USAGE,
        "the network gives %zux%zux%zu (h, w, c) numbers a sample; one vector of scores is needed "
        "to explain one of them",
        y->h, y->w, y->c);
    const struct layer *kept = model_kept(e->model);
    e->layer = kept && kept->y.h * kept->y.w > 1 ? kept : NULL;
    struct explain_config *c = &e->config;
    ASSERT(c->steps > 0 && c->samples > 0);
    size_t side = e->in.h < e->in.w ? e->in.h : e->in.w;
    if (e->in.h == 1)
        side = e->in.w;
    if (c->window == 0)
        c->window = side / 7 > 2 ? side / 7 : side > 2 ? 2 : 1;
    if (c->stride == 0)
        c->stride = c->window > 1 ? c->window / 2 : 1;
    TRY(arrays_take(e));
    explain_quadrature(c->rule, c->steps, e->node, e->weight);
    if (c->baseline)
        memcpy(e->baseline, c->baseline, e->floats * sizeof *e->baseline);
    return STATUS_OK;
}

enum status explain_init(struct explain **out, struct group *group, struct model *model,
                         const float *params, const struct explain_config *config)
{
    struct explain *e = NULL;
    *out = NULL;
    enum status status = memory_alloc(&e, 1, sizeof *e, "explanations");
    if (status == STATUS_OK) {
        *e = (struct explain){.model = model, .params = params, .config = *config};
        status = prepare(e);
    }
    status = group_agree(group, status);
    if (status != STATUS_OK) {
        explain_free(e);
        return status;
    }
    struct random_key key = {config->seed, RANDOM_EXPLAIN, EXPLAIN_DRAW_NOISE};
    for (size_t i = 0; i < config->samples; i++) {
        float *to = e->noise + i * e->floats;
        if (group->rank == 0) // libm may differ between machines
            random_normal(key, (uint32_t)i, 0, e->floats, to);
        group_broadcast(group, to, e->floats * sizeof *to, 0);
    }
    group_broadcast(group, e->node, config->steps * sizeof *e->node, 0);
    group_broadcast(group, e->weight, config->steps * sizeof *e->weight, 0);
    *out = e;
    return STATUS_OK;
}

void explain_free(struct explain *e)
{
    if (!e)
        return;
    free(e->baseline);
    free(e->noise);
    free(e->x);
    free(e->dy);
    free(e->gradient);
    free(e->sum);
    free(e->node);
    free(e->weight);
    free(e->row);
    free(e);
}

void explain_set_params(struct explain *e, const float *params)
{
    e->params = params;
}

size_t explain_n_outputs(const struct explain *e)
{
    return e->n_outputs;
}

const struct layer *explain_layer(const struct explain *e)
{
    return e->layer;
}

const struct explain_config *explain_config(const struct explain *e)
{
    return &e->config;
}

// ---- passes

static struct pass pass_of(const struct explain *e, size_t n)
{
    return (struct pass){.n = n, .params = e->params, .row = e->row};
}

void explain_forward(struct explain *e, size_t n)
{
    struct pass pass = pass_of(e, n);
    ASSERT(n > 0 && n <= e->chunk);
    model_forward(e->model, &pass, e->x);
}

float explain_score(const struct explain *e, size_t i, size_t target)
{
    return tensor_row(model_output(e->model), i, 0)[target];
}

void explain_backward(struct explain *e, size_t n, size_t target)
{
    struct pass pass = pass_of(e, n);
    memset(e->dy, 0, n * e->n_outputs * sizeof *e->dy);
    for (size_t i = 0; i < n; i++)
        e->dy[i * e->n_outputs + target] = 1;
    model_seed_backward(e->model, &pass, e->dy);
    model_backward(e->model, &pass, NULL, NULL);
}

const float *explain_gradient(struct explain *e, size_t i)
{
    const struct tensor *dx = model_input_gradient(e->model);
    const size_t run = dx->w * dx->c;
    for (size_t h = 0; h < dx->h; h++)
        memcpy(e->gradient + h * run, tensor_row(dx, i, h), run * sizeof *e->gradient);
    return e->gradient;
}

// ---- what callers see

bool explain_can(const struct explain *e, enum explain_method method)
{
    return e->layer || !methods[method].info.is_layer;
}

struct shape explain_raw_shape(const struct explain *e, enum explain_method method)
{
    ASSERT(explain_can(e, method));
    struct shape s = e->in;
    if (methods[method].info.is_layer)
        s = tensor_shape(&e->layer->y);
    if (method == EXPLAIN_OCCLUSION || method == EXPLAIN_GRADCAM || method == EXPLAIN_GRADCAM_PP)
        s.c = 1;
    return s;
}

void explain_outputs(struct explain *e, const float *x, float *y)
{
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    memcpy(y, tensor_row(model_output(e->model), 0, 0), e->n_outputs * sizeof *y);
}

void explain_run(struct explain *e, enum explain_method method, const float *x, size_t target,
                 float *raw)
{
    ASSERT(explain_can(e, method) && target < e->n_outputs);
    methods[method].run(e, x, target, raw);
}

// One number a position of raw, by the rule.
static float position_value(enum explain_method method, const float *v, size_t c)
{
    float largest = 0;
    double sum = 0;
    for (size_t k = 0; k < c; k++) {
        float size = fabsf(v[k]);
        largest = size > largest ? size : largest;
        sum += (double)(method == EXPLAIN_ACTIVATION ? size : v[k]);
    }
    switch (methods[method].to_map) {
    case MAP_LARGEST:
        return largest;
    case MAP_LAYER: // Grad-CAM's ReLU; activations' mean size
        return (float)(sum > 0 ? sum / (double)c : 0);
    default:
        return (float)sum;
    }
}

void explain_map(const struct explain *e, enum explain_method method, const float *raw, float *map)
{
    struct shape s = explain_raw_shape(e, method);
    bool is_small = s.h != e->in.h || s.w != e->in.w;
    float *small = is_small ? e->gradient : map; // a layer has at most as many positions
    if (is_small && s.h * s.w > e->floats)
        small = e->x;
    for (size_t i = 0; i < s.h * s.w; i++)
        small[i] = position_value(method, raw + i * s.c, s.c);
    if (is_small)
        render_resample(small, s.h, s.w, map, e->in.h, e->in.w);
}

double explain_completeness(struct explain *e, const float *x, size_t target, const float *raw)
{
    double sum = 0;
    for (size_t i = 0; i < e->floats; i++)
        sum += (double)raw[i];
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    double here = (double)explain_score(e, 0, target);
    memcpy(e->x, e->baseline, e->floats * sizeof *x);
    explain_forward(e, 1);
    double difference = here - (double)explain_score(e, 0, target);
    return difference == 0 ? sum : fabs(sum - difference) / fabs(difference);
}
