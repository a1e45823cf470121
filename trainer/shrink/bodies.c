// SPDX-License-Identifier: MIT
#include "trainer/shrink/bodies.h"

#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/network.h"

static bool is_type(const struct channels *c, size_t layer, const char *type)
{
    return strcmp(model_layer(c->model, layer)->ops->name, type) == 0;
}

static bool is_among(const struct channels *c, size_t layer, const char *const *types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_type(c, layer, types[i]))
            return true;
    return false;
}

// How many inputs of layers read a layer; *only: the last of these layers.
static size_t readers_count(const struct channels *c, size_t layer, size_t *only)
{
    const struct network *network = model_network(c->model);
    size_t n = 0;
    for (size_t i = layer + 1; i < network->n; i++)
        for (int k = 0; k < network->nodes[i].n_from; k++)
            if (network->nodes[i].from[k] == (int)layer) {
                *only = i;
                n++;
            }
    return n;
}

// Is a layer read, and by nothing but the body and its sum?
static bool is_private(const struct network *network, const struct body *body, size_t layer)
{
    bool is_read = false;
    for (size_t i = layer + 1; i < network->n; i++)
        for (int k = 0; k < network->nodes[i].n_from; k++) {
            if (network->nodes[i].from[k] != (int)layer)
                continue;
            if (i != body->add && !body->is_in[i])
                return false;
            is_read = true;
        }
    return is_read;
}

// The layers between a shortcut and the end of the body; false: they are no body, for they read or
// give something else.
static bool members_find(const struct channels *c, struct body *body, int shortcut, int end)
{
    const struct network *network = model_network(c->model);
    memset(body->is_in, 0, network->n * sizeof *body->is_in);
    for (int i = end; i > shortcut; i--)
        body->is_in[i] = is_private(network, body, (size_t)i);
    if (end <= shortcut || !body->is_in[end])
        return false;
    for (int i = shortcut + 1; i <= end; i++)
        for (int k = 0; body->is_in[i] && k < network->nodes[i].n_from; k++) {
            int from = network->nodes[i].from[k];
            if (from != shortcut && (from < 0 || !body->is_in[from]))
                return false;
        }
    return true;
}

// From the body's end back over layers that make zeros of zeros.
static bool gate_find(const struct channels *c, struct body *body, int end)
{
    static const char *const linear[] = {"conv", "dense", "batchnorm"};
    static const char *const through[] = {"relu",       "leaky_relu", "gelu",    "silu",
                                          "maxpool",    "avgpool",    "dropout", "scale",
                                          "globalpool", "flatten"};
    int at = end;
    while (at >= 0 && body->is_in[at] &&
           is_among(c, (size_t)at, through, sizeof through / sizeof *through))
        at = model_network(c->model)->nodes[at].from[0];
    if (at < 0 || !body->is_in[at] ||
        !is_among(c, (size_t)at, linear, sizeof linear / sizeof *linear))
        return false;
    body->gate = (size_t)at;
    return true;
}

// One way to see a sum of two as a block: which of them is the shortcut.
static bool body_read(const struct channels *c, struct body *body, int which)
{
    const struct network_node *node = &model_network(c->model)->nodes[body->add];
    int shortcut = node->from[which], end = node->from[1 - which];
    size_t reader = 0;
    if (!members_find(c, body, shortcut, end) || !gate_find(c, body, end) ||
        (shortcut >= 0 && is_type(c, (size_t)shortcut, "flatten"))) // it may be an implied one
        return false;
    size_t n_readers = readers_count(c, body->add, &reader), last = reader;
    if (n_readers == 0)
        return false; // the answer itself
    body->shortcut = (size_t)(shortcut + 1);
    body->is_in[body->add] = true;
    bool is_again = n_readers == 1 && shortcut >= 0 && is_type(c, reader, "relu") &&
                    is_type(c, (size_t)shortcut, "relu");
    if (is_again && readers_count(c, reader, &last) > 0)
        body->is_in[reader] = true;
    return true;
}

enum status bodies_find(struct bodies *bodies, const struct channels *c)
{
    size_t n = model_n_layers(c->model), sums = 0;
    *bodies = (struct bodies){.n_layers = n};
    for (size_t i = 0; i < n; i++)
        sums += is_type(c, i, "add");
    TRY(memory_alloc(&bodies->v, sums + 1, sizeof *bodies->v, "residual bodies"));
    for (size_t i = 0; i < n; i++) {
        if (!is_type(c, i, "add") || model_network(c->model)->nodes[i].n_from != 2)
            continue;
        struct body *body = &bodies->v[bodies->n];
        body->add = i;
        if (!body->is_in)
            TRY(memory_alloc(&body->is_in, n, sizeof *body->is_in, "residual bodies"));
        if (body_read(c, body, 0) || body_read(c, body, 1))
            bodies->n++;
    }
    return STATUS_OK;
}

void bodies_free(struct bodies *bodies)
{
    for (size_t i = 0; bodies->v && i <= bodies->n; i++)
        free(bodies->v[i].is_in); // also of the last one tried
    free(bodies->v);
    *bodies = (struct bodies){0};
}

void body_take(struct channels *c, const struct body *body)
{
    for (size_t i = 0; i < model_n_layers(c->model); i++)
        if (body->is_in[i])
            c->instead[i + 1] = body->shortcut;
}

void body_silence(const struct channels *c, const struct body *body, float *params)
{
    const struct layer *gate = model_layer(c->model, body->gate);
    for (int p = 0; p < gate->n_params; p++)
        if (gate->param[p].kind != PARAM_STATE)
            memset(params + gate->param[p].offset, 0, gate->param[p].count * sizeof *params);
}
