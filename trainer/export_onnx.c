// SPDX-License-Identifier: MIT
// ONNX (onnx.ai, opset 13) out of the list of nodes: the model around them. The nodes are in
// export_onnx_nodes.c. See export.h.
#include "trainer/export_onnx_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

#define OPSET 13
#define MODEL_BYTES_MAX ((size_t)INT32_MAX) // of a Protocol Buffers message

// ---- nodes and constants

static void shape_put(struct bytes *tensor, int rank, const int64_t *dim)
{
    for (int d = 0; d < rank; d++)
        pb_int(tensor, ONNX_TENSOR_DIMS, dim[d]);
}

static void tensor_end(struct onnx_writer *w, const char *name)
{
    pb_text(&w->tensor, ONNX_TENSOR_NAME, name);
    pb_message(&w->tensor, ONNX_TENSOR_RAW, &w->part);
    pb_message(&w->initialisers, ONNX_GRAPH_INITIALISER, &w->tensor);
}

void onnx_floats(struct onnx_writer *w, const char *name, int rank, const int64_t *dim,
                 const float *x)
{
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        count *= dim[d];
    shape_put(&w->tensor, rank, dim);
    pb_int(&w->tensor, ONNX_TENSOR_TYPE, ONNX_FLOAT);
    bytes_put_floats(&w->part, x, (size_t)count);
    tensor_end(w, name);
}

void onnx_ints(struct onnx_writer *w, const char *name, int n, const int64_t *x)
{
    const int64_t dim = n;
    shape_put(&w->tensor, 1, &dim);
    pb_int(&w->tensor, ONNX_TENSOR_TYPE, ONNX_INT64);
    for (int i = 0; i < n; i++)
        bytes_put_number(&w->part, (uint64_t)x[i], 8);
    tensor_end(w, name);
}

static void attribute_end(struct onnx_writer *w, const char *name, int type)
{
    pb_text(&w->part, ONNX_ATTRIBUTE_NAME, name);
    pb_int(&w->part, ONNX_ATTRIBUTE_TYPE, type);
    pb_message(&w->node, ONNX_NODE_ATTRIBUTE, &w->part);
}

void onnx_attribute_int(struct onnx_writer *w, const char *name, int64_t value)
{
    pb_int(&w->part, ONNX_ATTRIBUTE_I, value);
    attribute_end(w, name, ONNX_TYPE_INT);
}

void onnx_attribute_float(struct onnx_writer *w, const char *name, double value)
{
    pb_float(&w->part, ONNX_ATTRIBUTE_F, (float)value);
    attribute_end(w, name, ONNX_TYPE_FLOAT);
}

void onnx_attribute_ints(struct onnx_writer *w, const char *name, int n, const size_t *values)
{
    for (int i = 0; i < n; i++)
        pb_int(&w->part, ONNX_ATTRIBUTE_INTS, (int64_t)values[i]);
    attribute_end(w, name, ONNX_TYPE_INTS);
}

void onnx_attribute_text(struct onnx_writer *w, const char *name, const char *value)
{
    pb_text(&w->part, ONNX_ATTRIBUTE_S, value);
    attribute_end(w, name, ONNX_TYPE_STRING);
}

// Ends the node begun by attributes. Inputs: names, NULL at the end.
void onnx_node(struct onnx_writer *w, const char *op, const char *output, const char *const *x)
{
    for (; *x; x++)
        pb_text(&w->node, ONNX_NODE_INPUT, *x);
    pb_text(&w->node, ONNX_NODE_OUTPUT, output);
    pb_text(&w->node, ONNX_NODE_NAME, output);
    pb_text(&w->node, ONNX_NODE_OP, op);
    pb_message(&w->graph, ONNX_GRAPH_NODE, &w->node);
}

// ---- the model

// A float (or uint8) tensor of this shape, its first dimension free.
static void info_put(struct onnx_writer *w, int field, const char *name, int type, struct shape s,
                     bool is_flat)
{
    const size_t dim[] = {s.c, s.h, s.w};
    struct bytes one = {0}, shape = {0};
    for (int d = -1; d < (is_flat ? 1 : 3); d++) {
        if (d < 0)
            pb_text(&one, ONNX_DIM_PARAM, "N");
        else
            pb_int(&one, ONNX_DIM_VALUE, (int64_t)dim[d]);
        pb_message(&shape, ONNX_SHAPE_DIM, &one);
    }
    pb_int(&w->part, ONNX_TENSOR_TYPE_ELEMENT, type);
    pb_message(&w->part, ONNX_TENSOR_TYPE_SHAPE, &shape);
    pb_message(&w->tensor, ONNX_TYPE_TENSOR, &w->part);
    pb_text(&w->node, ONNX_INFO_NAME, name);
    pb_message(&w->node, ONNX_INFO_TYPE, &w->tensor);
    pb_message(&w->graph, field, &w->node);
    bytes_free(&one);
    bytes_free(&shape);
}

static void preprocessing_put(struct onnx_writer *w)
{
    struct onnx_value *x = &w->values[0];
    const int64_t dim[] = {(int64_t)w->net->input.c, 1, 1};
    const char *from = x->name;
    if (w->net->trained->is_u8) {
        onnx_attribute_int(w, "to", ONNX_FLOAT);
        NODE(w, "Cast", "preprocess/float", from);
        from = "preprocess/float";
    }
    onnx_floats(w, "preprocess/scale", 3, dim, w->net->scale);
    onnx_floats(w, "preprocess/shift", 3, dim, w->net->shift);
    NODE(w, "Mul", "preprocess/scaled", from, "preprocess/scale");
    NODE(w, "Add", "preprocess", "preprocess/scaled", "preprocess/shift");
    snprintf(x->name, sizeof x->name, "preprocess");
}

// What comes behind the last node: "scores" as (N, K) where the output is a vector.
static void output_put(struct onnx_writer *w)
{
    const struct onnx_value *last = &w->values[w->net->n];
    struct shape s = export_output(w->net);
    bool is_flat = last->is_flat || s.h * s.w == 1, is_there = w->config->probabilities;
    if (is_flat && !last->is_flat) {
        onnx_attribute_int(w, "axis", 1);
        NODE(w, "Flatten", "scores", last->name);
    } else {
        NODE(w, "Identity", "scores", last->name);
    }
    info_put(w, ONNX_GRAPH_OUTPUT, "scores", ONNX_FLOAT, s, is_flat);
    if (!is_there)
        return;
    onnx_attribute_int(w, "axis", 1);
    NODE(w, "Softmax", "probabilities", "scores");
    info_put(w, ONNX_GRAPH_OUTPUT, "probabilities", ONNX_FLOAT, s, is_flat);
}

// A layer's name, but for those of the values around the network.
static void value_name(struct onnx_value *y, const char *layer)
{
    static const char *const taken[] = {"preprocess", "scores", "probabilities"};
    bool is_taken = false;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        is_taken = is_taken || strcmp(layer, taken[i]) == 0;
    snprintf(y->name, sizeof y->name, "%s%s", layer, is_taken ? "/layer" : "");
}

static enum status graph_put(struct onnx_writer *w)
{
    const struct export_net *net = w->net;
    bool is_u8 = net->scale && net->trained->is_u8;
    snprintf(w->values[0].name, sizeof w->values[0].name, "input");
    info_put(w, ONNX_GRAPH_INPUT, "input", is_u8 ? ONNX_UINT8 : ONNX_FLOAT, net->input, false);
    if (net->scale)
        preprocessing_put(w);
    for (size_t i = 0; i < net->n; i++) {
        struct onnx_value *y = &w->values[i + 1];
        value_name(y, net->nodes[i].name);
        TRY(onnx_node_put(w, &net->nodes[i], y));
    }
    output_put(w);
    bytes_put(&w->graph, w->initialisers.at, w->initialisers.n);
    w->graph.is_lost = w->graph.is_lost || w->initialisers.is_lost;
    bytes_free(&w->initialisers);
    pb_text(&w->graph, ONNX_GRAPH_NAME, net->name);
    return STATUS_OK;
}

static void property_put(struct bytes *model, struct bytes *part, const char *key,
                         const char *value)
{
    pb_text(part, ONNX_PROPERTY_KEY, key);
    pb_text(part, ONNX_PROPERTY_VALUE, value);
    pb_message(model, ONNX_MODEL_METADATA, part);
}

static enum status model_save(struct onnx_writer *w, const char *path)
{
    const struct trained *t = w->net->trained;
    struct bytes model = {0}, names = {0};
    pb_int(&model, ONNX_MODEL_IR_VERSION, 7);
    pb_text(&model, ONNX_MODEL_PRODUCER, "sw2-export");
    pb_text(&model, ONNX_MODEL_PRODUCER_VERSION, SW2_VERSION);
    pb_message(&model, ONNX_MODEL_GRAPH, &w->graph);
    pb_text(&w->part, ONNX_OPSET_DOMAIN, "");
    pb_int(&w->part, ONNX_OPSET_VERSION, OPSET);
    pb_message(&model, ONNX_MODEL_OPSET, &w->part);
    for (size_t k = 0; t->is_classifier && k < t->n_classes; k++) {
        bytes_put(&names, "\n", k > 0);
        bytes_put(&names, t->classes[k], strlen(t->classes[k]));
    }
    bytes_put(&names, "", 1);
    if (t->is_classifier && !names.is_lost)
        property_put(&model, &w->part, "classes", (const char *)names.at);
    char *prepared = transforms_describe(t->transforms);
    property_put(&model, &w->part, w->net->scale ? "preprocessing_included" : "preprocessing",
                 prepared ? prepared : "");
    free(prepared);
    property_put(&model, &w->part, "recipe", t->recipe.resolved);
    enum status status =
        model.n <= MODEL_BYTES_MAX
            ? bytes_save(&model, path)
            : error_set(STATUS_USAGE, __FILE__, __LINE__,
                        "ONNX: the network needs %zu bytes, one file may have at most %zu", model.n,
                        MODEL_BYTES_MAX);
    bytes_free(&model);
    bytes_free(&names);
    return status;
}

enum status export_onnx(const struct export_net *net, const struct export_config *config,
                        const char *path)
{
    struct onnx_writer w = {.net = net, .config = config};
    enum status status = memory_alloc(&w.values, net->n + 1, sizeof *w.values, "ONNX");
    if (status == STATUS_OK)
        status = memory_alloc(&w.perms, net->n + 1, sizeof *w.perms, "ONNX");
    if (status == STATUS_OK)
        status = graph_put(&w);
    if (status == STATUS_OK)
        status = model_save(&w, path);
    for (size_t i = 0; i < w.n_perms; i++)
        free(w.perms[i]);
    free(w.perms);
    free(w.values);
    bytes_free(&w.graph);
    bytes_free(&w.node);
    bytes_free(&w.tensor);
    bytes_free(&w.part);
    bytes_free(&w.initialisers);
    return status;
}
