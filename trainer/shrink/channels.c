// SPDX-License-Identifier: MIT
#include "trainer/shrink/channels.h"

#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/network.h"

static int root_of(const struct channels *c, int v)
{
    while (c->parent[v] != v)
        v = c->parent[v];
    return v;
}

int channels_root(const struct channels *c, size_t tensor, size_t k)
{
    return root_of(c, c->var[c->first[tensor] + k]);
}

size_t channels_input(const struct channels *c, size_t layer)
{
    return (size_t)(model_network(c->model)->nodes[layer].from[0] + 1);
}

size_t channels_instead(const struct channels *c, size_t tensor)
{
    while (c->instead[tensor] != tensor)
        tensor = c->instead[tensor];
    return tensor;
}

static void tie(struct channels *c, int a, int b)
{
    int x = root_of(c, a), y = root_of(c, b);
    if (x == y)
        return;
    int low = x < y ? x : y, high = x < y ? y : x;
    c->parent[high] = low;
    c->is_fixed[low] = c->is_fixed[low] || c->is_fixed[high];
}

static int var_new(struct channels *c, bool is_fixed)
{
    int v = (int)c->n_vars++;
    c->parent[v] = v;
    c->is_fixed[v] = is_fixed;
    return v;
}

static void tensor_new(struct channels *c, size_t tensor, bool is_fixed)
{
    for (size_t k = c->first[tensor]; k < c->first[tensor + 1]; k++)
        c->var[k] = var_new(c, is_fixed);
}

static void tensor_fix(struct channels *c, size_t tensor)
{
    for (size_t k = 0; k < channels_count(c, tensor); k++)
        c->is_fixed[channels_root(c, tensor, k)] = true;
}

// Every channel of y is channel k % (channels of x) of x: also flatten, whose channels are fastest.
static void tensor_same(struct channels *c, size_t tensor, size_t from)
{
    size_t n = channels_count(c, from);
    for (size_t k = 0; k < channels_count(c, tensor); k++)
        c->var[c->first[tensor] + k] = c->var[c->first[from] + k % n];
}

static void add_trace(struct channels *c, const struct network_node *node, size_t y)
{
    size_t x = (size_t)(node->from[0] + 1);
    tensor_same(c, y, x);
    for (int i = 1; i < node->n_from; i++)
        for (size_t k = 0; k < channels_count(c, y); k++)
            tie(c, c->var[c->first[y] + k], c->var[c->first[(size_t)(node->from[i] + 1)] + k]);
}

static void concat_trace(struct channels *c, const struct network_node *node, size_t y)
{
    size_t at = c->first[y];
    for (int i = 0; i < node->n_from; i++) {
        size_t x = (size_t)(node->from[i] + 1), n = channels_count(c, x);
        memcpy(c->var + at, c->var + c->first[x], n * sizeof *c->var);
        at += n;
    }
}

// Zeros before and behind are channels of their own, which a sum ties to those of its body.
static void subsample_trace(struct channels *c, const struct layer *layer, size_t x, size_t y)
{
    size_t n = channels_count(c, x), before = layer_subsample_before(layer);
    for (size_t k = 0; k < channels_count(c, y); k++) {
        bool is_of_x = k >= before && k < before + n;
        c->var[c->first[y] + k] = is_of_x ? c->var[c->first[x] + k - before] : var_new(c, false);
    }
}

static void conv_trace(struct channels *c, const struct layer *layer, size_t x, size_t y)
{
    size_t in = channels_count(c, x), groups = in / layer->param[0].dim[2];
    if (groups > 1 && groups == in && channels_count(c, y) == in) { // depthwise
        tensor_same(c, y, x);
        return;
    }
    tensor_new(c, y, groups > 1);
    if (groups > 1)
        tensor_fix(c, x);
}

static void layer_trace(struct channels *c, size_t i)
{
    static const char *const same[] = {"batchnorm", "relu",    "leaky_relu", "gelu",
                                       "silu",      "maxpool", "avgpool",    "globalpool",
                                       "dropout",   "scale",   "flatten"};
    const struct layer *layer = model_layer(c->model, i);
    const struct network_node *node = &model_network(c->model)->nodes[i];
    size_t x = (size_t)(node->from[0] + 1), y = i + 1;
    for (size_t k = 0; k < sizeof same / sizeof *same; k++)
        if (strcmp(layer->ops->name, same[k]) == 0) {
            tensor_same(c, y, x);
            return;
        }
    if (strcmp(layer->ops->name, "conv") == 0) {
        conv_trace(c, layer, x, y);
    } else if (strcmp(layer->ops->name, "dense") == 0) {
        tensor_new(c, y, false);
    } else if (strcmp(layer->ops->name, "add") == 0) {
        add_trace(c, node, y);
    } else if (strcmp(layer->ops->name, "concat") == 0) {
        concat_trace(c, node, y);
    } else if (strcmp(layer->ops->name, "subsample") == 0) {
        subsample_trace(c, layer, x, y);
    } else { // what is not known here keeps all its channels
        tensor_new(c, y, true);
        for (int k = 0; k < node->n_from; k++)
            tensor_fix(c, (size_t)(node->from[k] + 1));
    }
}

// Channels that appear in the same tensors, as often, make a unit.
static enum status units_make(struct channels *c)
{
    uint64_t *signature;
    TRY(memory_alloc(&signature, c->n_vars, sizeof *signature, "channels"));
    for (size_t t = 0; t < c->n_tensors; t++)
        for (size_t k = 0; k < channels_count(c, t); k++) {
            uint64_t hash = (t + 1) * 0x9E3779B97F4A7C15u; // Fibonacci hashing
            signature[channels_root(c, t, k)] += hash ^ hash >> 29;
        }
    for (size_t v = 0; v < c->n_vars; v++) {
        c->unit[v] = -1;
        c->keep[v] = true;
        if (c->parent[v] != (int)v || c->is_fixed[v])
            continue;
        for (size_t o = 0; o < v && c->unit[v] < 0; o++)
            if (c->unit[o] >= 0 && signature[o] == signature[v])
                c->unit[v] = c->unit[o];
        if (c->unit[v] < 0)
            c->unit[v] = (int)c->n_units++;
    }
    free(signature);
    return STATUS_OK;
}

enum status channels_trace(struct channels *c, const struct model *model)
{
    size_t n = model_n_layers(model);
    *c = (struct channels){.model = model, .n_tensors = n + 1};
    TRY(memory_alloc(&c->first, n + 2, sizeof *c->first, "channels"));
    c->first[1] = model_input_shape(model).c;
    for (size_t i = 0; i < n; i++)
        c->first[i + 2] = c->first[i + 1] + model_layer(model, i)->y.c;
    size_t total = c->first[n + 1];
    TRY(memory_alloc(&c->var, total, sizeof *c->var, "channels"));
    TRY(memory_alloc(&c->parent, total, sizeof *c->parent, "channels"));
    TRY(memory_alloc(&c->is_fixed, total, sizeof *c->is_fixed, "channels"));
    TRY(memory_alloc(&c->unit, total, sizeof *c->unit, "channels"));
    TRY(memory_alloc(&c->keep, total, sizeof *c->keep, "channels"));
    TRY(memory_alloc(&c->importance, total, sizeof *c->importance, "channels"));
    TRY(memory_alloc(&c->instead, n + 1, sizeof *c->instead, "channels"));
    for (size_t t = 0; t <= n; t++)
        c->instead[t] = t;
    tensor_new(c, 0, true);
    for (size_t i = 0; i < n; i++)
        layer_trace(c, i);
    tensor_fix(c, n); // the answer
    return units_make(c);
}

void channels_free(struct channels *c)
{
    free(c->first);
    free(c->var);
    free(c->parent);
    free(c->is_fixed);
    free(c->unit);
    free(c->keep);
    free(c->importance);
    free(c->instead);
    *c = (struct channels){0};
}

size_t channels_kept(const struct channels *c, size_t tensor)
{
    size_t kept = 0;
    for (size_t k = 0; k < channels_count(c, tensor); k++)
        kept += c->keep[channels_root(c, tensor, k)];
    return kept;
}

static size_t unit_count(const struct channels *c, size_t unit, bool is_all)
{
    size_t n = 0;
    for (size_t v = 0; v < c->n_vars; v++)
        n += c->unit[v] == (int)unit && (is_all || c->keep[v]);
    return n;
}

size_t channels_unit_kept(const struct channels *c, size_t unit)
{
    return unit_count(c, unit, false);
}

size_t channels_unit_size(const struct channels *c, size_t unit)
{
    return unit_count(c, unit, true);
}
