// SPDX-License-Identifier: MIT
// The model: graph, loss and the flat vector's layout; forward and backward of one grain.
#include "models/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/events.h"
#include "comm/fault.h"
#include "comm/memory.h"
#include "comm/names.h"
#include "comm/random.h"
#include "comm/span.h"
#include "models/graph.h"
#include "models/kernels/rows.h"

struct model {
    struct graph graph;
    struct loss loss;
    struct tensor input, input_gradient;
    struct tensor loss_dy; // dense: the last layer's dy, or loss_memory where that has a halo
    float *loss_memory;    // owned, may be NULL
    struct model_param *params;
    size_t n_params, floats, n_trained;
};

static enum status loss_fail(const struct yaml *yaml, int line, const char *name)
{
    size_t n;
    const char *const *known = loss_names(&n);
    const char *nearest = names_nearest(name, known, n);
    FAIL(STATUS_USAGE, "%s:%d: unknown loss '%s'%s%s%s", yaml->name, line, name,
         nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static enum status loss_init(struct model *model, const struct model_config *config)
{
    const struct yaml_node *node = config->loss, *args = NULL;
    struct loss *loss = &model->loss;
    const char *name = "softmax";
    if (node && node->kind == YAML_SCALAR) {
        name = node->text;
    } else if (node) {
        CHECK(node->kind == YAML_MAP && node->n == 1, STATUS_USAGE,
              "%s:%d: loss takes one loss, as {softmax: {label_smoothing: 0.1}}",
              config->yaml->name, node->line);
        node = node->first;
        name = node->key;
        args = node->kind == YAML_SCALAR && !node->text[0] ? NULL : node;
    }
    loss->ops = loss_ops_find(name);
    if (!loss->ops)
        return loss_fail(config->yaml, node->line, name);
    loss->line = node ? node->line : 0;
    loss->target = config->target;
    loss->grain = config->grain;
    loss->logits = model->graph.tensors[model->graph.network.n].shape;
    loss->args = yaml_memory_get(config->yaml, loss->ops->args_size + 1);
    TRY(options_read(config->yaml, args, loss->ops->options, loss->ops->n_options, loss->ops->name,
                     loss->args));
    TRY(loss->ops->plan(loss));
    return config->is_plan ? STATUS_OK
                           : memory_alloc(&loss->work, loss->work_floats, sizeof(float), "loss");
}

// A loss writes a dense gradient; a last layer may want a halo around it.
static enum status loss_bind(struct model *model, const struct model_config *config)
{
    const struct tensor *dy = &model->graph.layers[model->graph.network.n - 1].dy;
    model->loss_dy = *dy;
    if (tensor_is_dense(dy) || config->is_plan)
        return STATUS_OK;
    model->loss_dy = tensor_of(dy->n, tensor_shape(dy), 0, 0);
    TRY(memory_alloc(&model->loss_memory, tensor_floats(&model->loss_dy), sizeof(float),
                     "gradient of the loss"));
    model->loss_dy.at = model->loss_memory;
    return STATUS_OK;
}

// Lays the parameters out in the flat vector, in network order, each on a block of its own.
static enum status params_lay(struct model *model)
{
    struct graph *graph = &model->graph;
    for (size_t i = 0; i < graph->network.n; i++)
        model->n_params += (size_t)graph->layers[i].n_params;
    TRY(memory_alloc(&model->params, model->n_params, sizeof *model->params, "parameter table"));
    size_t at = 0;
    for (size_t i = 0; i < graph->network.n; i++)
        for (int j = 0; j < graph->layers[i].n_params; j++) {
            struct layer *layer = &graph->layers[i];
            struct param *param = &layer->param[j];
            param->count = 1;
            for (int d = 0; d < param->rank; d++)
                param->count *= param->dim[d];
            param->offset = model->floats;
            model->floats += span_round(param->count);
            model->params[at] = (struct model_param){.layer = layer, .param = param};
            snprintf(model->params[at].name, sizeof model->params[at].name, "%s/%s", layer->name,
                     param->name);
            at++;
            if (param->kind == PARAM_WEIGHT || param->kind == PARAM_BIAS)
                model->n_trained += param->count;
        }
    return STATUS_OK;
}

static void input_bind(struct model *model)
{
    struct graph *graph = &model->graph;
    for (size_t i = 0; i < graph->network.n; i++)
        for (int k = 0; k < graph->layers[i].n_x; k++)
            if (graph->network.nodes[i].from[k] == NETWORK_INPUT) {
                model->input = graph->layers[i].x[k];
                model->input_gradient = graph->layers[i].dx[k];
            }
}

// A layer that learns from samples sees the network's input: nothing else is known before training.
static enum status samples_check(const struct graph *graph)
{
    for (size_t i = 0; i < graph->network.n; i++) {
        const struct layer *layer = &graph->layers[i];
        if (layer->ops->init && graph->network.nodes[i].from[0] != NETWORK_INPUT)
            LAYER_FAIL(layer,
                       "its filters come from the data, so it must be the first layer, not "
                       "after '%s'",
                       graph->layers[graph->network.nodes[i].from[0]].name);
    }
    return STATUS_OK;
}

static enum status model_build(struct model *model, const struct model_config *config)
{
    CHECK(config->grain > 0, STATUS_USAGE, "a grain needs at least one sample");
    TRY(graph_init(&model->graph, config));
    TRY(samples_check(&model->graph));
    TRY(loss_init(model, config));
    TRY(loss_bind(model, config));
    TRY(params_lay(model));
    input_bind(model);
    return STATUS_OK;
}

enum status model_init(struct model **out, const struct model_config *config)
{
    struct model *model = NULL;
    *out = NULL;
    TRY(memory_alloc(&model, 1, sizeof *model, "model"));
    enum status status = model_build(model, config);
    if (status != STATUS_OK)
        model_free(model);
    else
        *out = model;
    return status;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    if (model->loss.ops && model->loss.ops->free)
        model->loss.ops->free(&model->loss);
    free(model->loss.work);
    free(model->loss_memory);
    graph_free(&model->graph);
    free(model->params);
    free(model);
}

size_t model_floats(const struct model *model)
{
    return model->floats;
}

size_t model_n_trained(const struct model *model)
{
    return model->n_trained;
}

size_t model_n_layers(const struct model *model)
{
    return model->graph.network.n;
}

size_t model_n_slots(const struct model *model)
{
    return model->graph.network.n * LAYER_PARTS + MODEL_LAPS;
}

const struct layer *model_layer(const struct model *model, size_t i)
{
    return &model->graph.layers[i];
}

struct shape model_input_shape(const struct model *model)
{
    return model->graph.tensors[0].shape;
}

const struct network *model_network(const struct model *model)
{
    return &model->graph.network;
}

const struct layer *model_kept(const struct model *model)
{
    return model->graph.kept >= 0 ? &model->graph.layers[model->graph.kept] : NULL;
}

const struct loss *model_loss(const struct model *model)
{
    return &model->loss;
}

struct model_memory model_memory(const struct model *model)
{
    const struct graph *graph = &model->graph;
    return (struct model_memory){graph->activation_floats * sizeof(float),
                                 graph->gradient_floats * sizeof(float),
                                 (graph->keep_floats + model->loss.work_floats) * sizeof(float)};
}

double model_flops(const struct model *model)
{
    double flops = 0;
    for (size_t i = 0; i < model->graph.network.n; i++)
        flops += model->graph.layers[i].flops;
    return flops;
}

double model_flops_again(const struct model *model)
{
    double flops = 0;
    for (size_t k = 0; k < model->graph.n_steps; k++)
        if (model->graph.steps[k].is_again)
            flops += model->graph.layers[model->graph.steps[k].layer].flops;
    return flops;
}

size_t model_params(const struct model *model, const struct model_param **params)
{
    *params = model->params;
    return model->n_params;
}

// Standard deviation or bound of the random inits: He et al. 2015, Glorot and Bengio 2010.
static double init_scale(const struct param *param)
{
    double in = (double)param->fan_in, both = (double)(param->fan_in + param->fan_out);
    switch (param->init) {
    case INIT_HE_NORMAL:
        return sqrt(2.0 / in);
    case INIT_HE_UNIFORM:
        return sqrt(6.0 / in);
    case INIT_XAVIER_NORMAL:
        return sqrt(2.0 / both);
    case INIT_XAVIER_UNIFORM:
        return sqrt(6.0 / both);
    case INIT_DIRAC:
        return sqrt(1.0 / in);
    default:
        return 0;
    }
}

// Uniform numbers, but for filter k < C, which is 1 at the centre of channel k and 0 elsewhere.
static void dirac_set(const struct param *param, float *to)
{
    size_t C = param->dim[2], K = param->dim[3], taps = param->dim[0] * param->dim[1];
    for (size_t i = 0; i < param->count; i++)
        if (i % K < C)
            to[i] = i / K == taps / 2 * C + i % K ? 1.0f : 0.0f;
}

static void param_init(const struct param *param, struct random_key key, uint32_t number, float *to)
{
    float scale = (float)init_scale(param);
    bool is_normal = param->init == INIT_HE_NORMAL || param->init == INIT_XAVIER_NORMAL;
    if (is_normal)
        random_normal(key, number, 0, param->count, to);
    for (size_t i = 0; i < param->count; i++) {
        uint32_t words[4];
        if (param->init == INIT_ZERO || param->init == INIT_ONE || param->init == INIT_SAMPLES) {
            to[i] = param->init == INIT_ONE ? 1.0f : 0.0f;
        } else if (param->init == INIT_VALUES) {
            to[i] = param->values[i];
        } else if (is_normal) {
            to[i] *= scale;
        } else {
            random_words(key, i, number, words);
            to[i] = scale * (2.0f * random_uniform(words[0]) - 1.0f);
        }
    }
    if (param->init == INIT_DIRAC)
        dirac_set(param, to);
}

enum status model_init_params(const struct model *model, uint64_t seed, float *params)
{
    struct random_key key = {seed, RANDOM_INIT, 0};
    memset(params, 0, model->floats * sizeof *params);
    for (size_t i = 0; i < model->n_params; i++) {
        const struct param *param = model->params[i].param;
        param_init(param, key, (uint32_t)i, params + param->offset);
    }
    return STATUS_OK;
}

bool model_wants_samples(const struct model *model)
{
    for (size_t i = 0; i < model->graph.network.n; i++)
        if (model->graph.layers[i].ops->init)
            return true;
    return false;
}

enum status model_init_samples(const struct model *model, const float *x, size_t n, float *params)
{
    const struct graph *graph = &model->graph;
    for (size_t i = 0; i < graph->network.n; i++)
        if (graph->layers[i].ops->init)
            TRY(graph->layers[i].ops->init(&graph->layers[i], x, n, params));
    return STATUS_OK;
}

void model_prepare(struct model *model, const float *params, struct laps *laps)
{
    struct graph *graph = &model->graph;
    for (size_t i = 0; i < graph->network.n; i++)
        if (!graph->is_skipped[i] && graph->layers[i].ops->prepare) {
            events_tick("packing weights of layer", i + 1);
            graph->layers[i].ops->prepare(&graph->layers[i], params);
            laps_mark(laps, i * LAYER_PARTS + PART_PREPARE);
        }
}

// Tests may flip bits of what a layer made.
static void tensor_faults(const struct tensor *t, size_t n)
{
    for (size_t i = 0; t->at && i < n; i++)
        for (size_t h = 0; h < t->h; h++)
            fault_point(FAULT_ACTIVATION, tensor_row(t, i, h), t->w * t->c * sizeof *t->at);
}

static void layer_forward(const struct graph *graph, size_t i, const struct pass *pass)
{
    struct layer *layer = &graph->layers[i];
    events_tick("forward of layer", i + 1);
    graph_clear_value(graph, (int)i + 1, pass->n);
    layer->ops->forward(layer, pass);
    if (!layer->ops->marks_laps)
        layer_lap(layer, pass, PART_FORWARD);
    if (fault_hook && !layer->is_deferred)
        tensor_faults(&layer->y, pass->n);
    if (pass->seen && !pass->is_again && !layer->is_deferred)
        pass->seen(pass->seen_context, layer);
}

static void layer_backward(const struct graph *graph, size_t i, const struct pass *pass)
{
    struct layer *layer = &graph->layers[i];
    events_tick("backward of layer", i + 1);
    graph_clear_gradients(graph, i, pass->n);
    layer->ops->backward(layer, pass);
    if (!layer->ops->marks_laps)
        layer_lap(layer, pass, PART_BACKWARD);
    for (int k = 0; fault_hook && k < layer->n_x; k++)
        tensor_faults(&layer->dx[k], pass->n);
}

void model_forward(struct model *model, const struct pass *pass, const float *x)
{
    struct graph *graph = &model->graph;
    struct tensor from = tensor_of(pass->n, tensor_shape(&model->input), 0, 0);
    from.at = (float *)(uintptr_t)x; // rows_copy only reads it
    graph_clear_value(graph, 0, pass->n);
    rows_copy(&from, &model->input, pass->n);
    laps_mark(pass->laps, model_slot(model, MODEL_INPUT));
    for (size_t i = 0; i < graph->network.n; i++)
        if (!graph->is_skipped[i])
            layer_forward(graph, i, pass);
}

void model_loss_eval(struct model *model, const struct pass *pass, const void *target,
                     bool is_gradient, float scale, double metrics[LOSS_METRICS_MAX])
{
    const struct layer *last = &model->graph.layers[model->graph.network.n - 1];
    model->loss.ops->eval(&model->loss, &last->y, target, pass->n, scale,
                          is_gradient ? &model->loss_dy : NULL, metrics);
    if (is_gradient && model->loss_memory)
        rows_copy(&model->loss_dy, &last->dy, pass->n);
    laps_mark(pass->laps, model_slot(model, MODEL_LOSS));
}

void model_seed_backward(struct model *model, const struct pass *pass, const float *dy)
{
    const struct layer *last = &model->graph.layers[model->graph.network.n - 1];
    struct tensor from = tensor_of(pass->n, tensor_shape(&last->y), 0, 0);
    from.at = (float *)(uintptr_t)dy; // rows_copy only reads it
    rows_copy(&from, &last->dy, pass->n);
}

void model_backward(struct model *model, const struct pass *pass,
                    void (*hook)(void *context, size_t offset), void *context)
{
    struct graph *graph = &model->graph;
    struct pass again = *pass;
    again.is_again = true;
    ASSERT(pass->grads || (!pass->is_training && !hook)); // batch statistics need sums
    for (size_t k = 0; k < graph->n_steps; k++) {
        const size_t i = graph->steps[k].layer;
        const struct layer *layer = &graph->layers[i];
        if (graph->steps[k].is_again) {
            layer_forward(graph, i, &again);
            continue;
        }
        layer_backward(graph, i, pass);
        if (hook && layer->n_params > 0) {
            hook(context, layer->param[0].offset);
            laps_mark(pass->laps, model_slot(model, MODEL_HOOK));
        }
    }
    if (!hook)
        return;
    hook(context, 0);
    laps_mark(pass->laps, model_slot(model, MODEL_HOOK));
}

const struct tensor *model_output(const struct model *model)
{
    return &model->graph.layers[model->graph.network.n - 1].y;
}

const struct tensor *model_input_gradient(const struct model *model)
{
    return &model->input_gradient;
}
