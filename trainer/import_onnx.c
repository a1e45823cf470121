// SPDX-License-Identifier: MIT
// ONNX files: initialisers and constants, and the nodes that use them as weights: Conv, Gemm,
// MatMul (with the Add behind it), BatchNormalization. In the order of the nodes, which ONNX wants
// to be topological. Everything else is looked at only to know that it holds no weights. See
// import_foreign.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/import_onnx_private.h"

#define FILE_BYTES_MAX ((long)4 << 30)
#define INPUTS_MAX 8

struct node_view {
    struct onnx_text op, name, input[INPUTS_MAX], output;
    size_t n_inputs;
    struct pb_reader message;
};

// ---- nodes

static enum status node_read(struct onnx_reader *r, struct pb_reader message,
                             struct node_view *node)
{
    struct pb_field field;
    *node = (struct node_view){.message = message};
    while (pb_next(&message, &field)) {
        if (field.number == ONNX_NODE_INPUT && node->n_inputs < INPUTS_MAX)
            node->input[node->n_inputs++] = onnx_text_of(&field);
        else if (field.number == ONNX_NODE_OUTPUT && node->output.n == 0)
            node->output = onnx_text_of(&field);
        else if (field.number == ONNX_NODE_NAME)
            node->name = onnx_text_of(&field);
        else if (field.number == ONNX_NODE_OP)
            node->op = onnx_text_of(&field);
    }
    node->name = node->name.n > 0 ? node->name : node->output;
    return message.is_bad ? BAD(r, "a node is cut short") : STATUS_OK;
}

// A node's attribute of this name: the reader of its message. False: it has none.
static bool attribute_find(const struct node_view *node, const char *name, struct pb_reader *out)
{
    struct pb_reader message = node->message;
    struct pb_field field, inner;
    while (pb_next(&message, &field)) {
        if (field.number != ONNX_NODE_ATTRIBUTE || field.wire != 2)
            continue;
        struct pb_reader attribute = pb_inner(&field);
        *out = attribute;
        while (pb_next(&attribute, &inner))
            if (inner.number == ONNX_ATTRIBUTE_NAME && onnx_text_is(onnx_text_of(&inner), name))
                return true;
    }
    return false;
}

static double attribute_number(const struct node_view *node, const char *name, double otherwise)
{
    struct pb_reader attribute;
    struct pb_field field;
    if (!attribute_find(node, name, &attribute))
        return otherwise;
    while (pb_next(&attribute, &field)) {
        if (field.number == ONNX_ATTRIBUTE_F && field.wire == 5)
            return (double)pb_float_of(&field);
        if (field.number == ONNX_ATTRIBUTE_I && field.wire == 0)
            return (double)(int64_t)field.value;
    }
    return otherwise;
}

// ---- what bytes there are between h, w, c and c, h, w

static bool is_turned(const struct onnx_reader *r, struct onnx_text name)
{
    for (size_t i = 0; i < r->n_turned; i++)
        if (onnx_text_compare(r->turned[i], name) == 0)
            return true;
    return false;
}

// A Transpose to N, H, W, C, and whatever follows it until a layer with weights.
static enum status turn_follow(struct onnx_reader *r, const struct node_view *node)
{
    static const uint64_t want[] = {0, 2, 3, 1};
    bool turns = node->n_inputs > 0 && is_turned(r, node->input[0]);
    struct pb_reader attribute;
    if (onnx_text_is(node->op, "Transpose") && attribute_find(node, "perm", &attribute)) {
        struct pb_field field;
        size_t n = 0;
        bool is_same = true;
        while (pb_next(&attribute, &field)) {
            struct pb_reader packed = pb_inner(&field);
            if (field.number != ONNX_ATTRIBUTE_INTS)
                continue;
            if (field.wire == 0) {
                is_same = n < 4 && field.value == want[n] && is_same;
                n++;
            }
            while (field.wire == 2 && packed.at < packed.end && !packed.is_bad) {
                uint64_t value = pb_varint(&packed);
                is_same = n < 4 && value == want[n] && is_same;
                n++;
            }
        }
        turns = is_same && n == 4;
    }
    if (!turns || r->n_turned >= 1000) // more is no honest file
        return STATUS_OK;
    TRY(onnx_array_grow(&r->turned, r->n_turned, &r->turned_capacity, sizeof *r->turned));
    r->turned[r->n_turned++] = node->output;
    return STATUS_OK;
}

// ---- layers

static enum status weights_get(struct onnx_reader *r, const struct node_view *node, size_t input,
                               int rank, const struct onnx_tensor **tensor, float **out)
{
    char name[FOREIGN_NAME_MAX], op[FOREIGN_NAME_MAX];
    const struct onnx_tensor *t =
        input < node->n_inputs ? onnx_tensor_find(r, node->input[input]) : NULL;
    CHECK(t, STATUS_DATA,
          "%s: input %zu of %s '%s' is no constant: its weights are not in the file", r->path,
          input, onnx_shown(node->op, op), onnx_shown(node->name, name));
    bool is_signal = rank == 4 && t->rank == 3; // Conv over one dimension
    CHECK(t->rank == rank || is_signal, STATUS_DATA,
          "%s: input %zu of %s '%s' has %d dimensions, expected %d", r->path, input,
          onnx_shown(node->op, op), onnx_shown(node->name, name), t->rank, rank);
    *tensor = t;
    return onnx_tensor_floats_get(r, t, out);
}

static bool has_input(const struct node_view *node, size_t input)
{
    return input < node->n_inputs && node->input[input].n > 0;
}

static enum status vector_get(struct onnx_reader *r, const struct node_view *node, size_t input,
                              size_t count, float **out)
{
    const struct onnx_tensor *t = NULL;
    char name[FOREIGN_NAME_MAX];
    TRY(weights_get(r, node, input, 1, &t, out));
    CHECK(t->count == count, STATUS_DATA, "%s: input %zu of '%s' has %zu numbers, expected %zu",
          r->path, input, onnx_shown(node->name, name), t->count, count);
    return STATUS_OK;
}

static enum status conv_read(struct onnx_reader *r, const struct node_view *node,
                             struct foreign_layer *layer)
{
    const struct onnx_tensor *t = NULL;
    layer->kind = FOREIGN_CONV;
    TRY(weights_get(r, node, 1, 4, &t, &layer->weight));
    memcpy(layer->dim, t->dim, sizeof layer->dim);
    if (t->rank == 3) {
        layer->dim[3] = layer->dim[2];
        layer->dim[2] = 1;
    }
    return has_input(node, 2) ? vector_get(r, node, 2, layer->dim[0], &layer->bias) : STATUS_OK;
}

static enum status dense_read(struct onnx_reader *r, const struct node_view *node,
                              struct foreign_layer *layer)
{
    const struct onnx_tensor *t = NULL;
    char name[FOREIGN_NAME_MAX];
    bool is_gemm = onnx_text_is(node->op, "Gemm");
    layer->kind = FOREIGN_DENSE;
    layer->is_in_out = !is_gemm || attribute_number(node, "transB", 0) == 0;
    layer->is_hwc = is_turned(r, node->input[0]);
    CHECK(attribute_number(node, "alpha", 1) == 1 && attribute_number(node, "beta", 1) == 1 &&
              attribute_number(node, "transA", 0) == 0,
          STATUS_DATA, "%s: Gemm '%s' has alpha, beta or transA, which no dense layer has", r->path,
          onnx_shown(node->name, name));
    TRY(weights_get(r, node, 1, 2, &t, &layer->weight));
    layer->dim[0] = t->dim[layer->is_in_out ? 1 : 0];
    layer->dim[1] = t->dim[layer->is_in_out ? 0 : 1];
    return is_gemm && has_input(node, 2) ? vector_get(r, node, 2, layer->dim[0], &layer->bias)
                                         : STATUS_OK;
}

static enum status norm_read(struct onnx_reader *r, const struct node_view *node,
                             struct foreign_layer *layer)
{
    const struct onnx_tensor *t = NULL;
    layer->kind = FOREIGN_NORM;
    TRY(weights_get(r, node, 1, 1, &t, &layer->weight));
    layer->dim[0] = t->count;
    layer->has_eps = true;
    layer->is_hwc = is_turned(r, node->input[0]);
    layer->eps = (float)attribute_number(node, "epsilon", 1e-5);
    TRY(vector_get(r, node, 2, t->count, &layer->bias));
    TRY(vector_get(r, node, 3, t->count, &layer->mean));
    return vector_get(r, node, 4, t->count, &layer->variance);
}

// An Add of a constant to the output of the MatMul before it is that one's bias.
static enum status add_read(struct onnx_reader *r, const struct node_view *node,
                            struct onnx_text *matmul, bool *is_bias)
{
    *is_bias = false;
    for (size_t k = 0; k < 2 && node->n_inputs == 2 && matmul->n > 0; k++) {
        struct foreign_layer *layer = &r->net->layers[r->net->n - 1];
        const struct onnx_tensor *t = onnx_tensor_find(r, node->input[1 - k]);
        if (onnx_text_compare(node->input[k], *matmul) != 0 || !t || t->rank != 1 ||
            t->count != layer->dim[0])
            continue;
        *is_bias = true;
        *matmul = (struct onnx_text){0};
        return onnx_tensor_floats_get(r, t, &layer->bias);
    }
    return STATUS_OK;
}

// Operators with weights for which no layer here stands.
static enum status others_check(const struct onnx_reader *r, const struct node_view *node)
{
    static const char *const unknown[] = {"ConvTranspose",
                                          "LSTM",
                                          "GRU",
                                          "RNN",
                                          "LayerNormalization",
                                          "InstanceNormalization",
                                          "GroupNormalization",
                                          "PRelu",
                                          "ConvInteger",
                                          "QLinearConv",
                                          "QLinearMatMul",
                                          "MatMulInteger",
                                          "DequantizeLinear",
                                          "DeformConv",
                                          "Attention",
                                          "Einsum"};
    char op[FOREIGN_NAME_MAX], name[FOREIGN_NAME_MAX];
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(!onnx_text_is(node->op, unknown[i]), STATUS_DATA,
              "%s: node '%s' is a %s, for which there is no layer here", r->path,
              onnx_shown(node->name, name), onnx_shown(node->op, op));
    for (size_t k = 0; k < node->n_inputs; k++) {
        const struct onnx_tensor *t = onnx_tensor_find(r, node->input[k]);
        bool is_weight = t && (t->type == ONNX_FLOAT || t->type == ONNX_DOUBLE) && t->count > 1;
        if (is_weight)
            log_warn("%s: %zu numbers of %s '%s' belong to no layer and are left out", r->path,
                     t->count, onnx_shown(node->op, op), onnx_shown(node->name, name));
    }
    return STATUS_OK;
}

static enum status node_take(struct onnx_reader *r, const struct node_view *node,
                             struct onnx_text *matmul)
{
    static const struct {
        const char *op;
        enum status (*read)(struct onnx_reader *r, const struct node_view *node,
                            struct foreign_layer *layer);
    } table[] = {{"Conv", conv_read},
                 {"Gemm", dense_read},
                 {"MatMul", dense_read},
                 {"BatchNormalization", norm_read}};
    bool is_bias;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct foreign_layer *layer;
        if (!onnx_text_is(node->op, table[i].op))
            continue;
        TRY(foreign_add(r->net, r->path, &layer));
        onnx_shown(node->name, layer->name);
        TRY(table[i].read(r, node, layer));
        *matmul = onnx_text_is(node->op, "MatMul") ? node->output : (struct onnx_text){0};
        return layer->kind == FOREIGN_NORM ? turn_follow(r, node) : STATUS_OK;
    }
    if (onnx_text_is(node->op, "Add")) {
        TRY(add_read(r, node, matmul, &is_bias));
        if (is_bias)
            return STATUS_OK;
    }
    TRY(turn_follow(r, node));
    return others_check(r, node);
}

// ---- the file

// Constants: initialisers and the tensors of Constant nodes.
static enum status tensors_collect(struct onnx_reader *r, struct pb_reader graph)
{
    struct pb_field field, inner;
    while (pb_next(&graph, &field)) {
        if (field.number == ONNX_GRAPH_INITIALISER)
            TRY(onnx_tensor_add(r, pb_inner(&field), (struct onnx_text){0}));
        if (field.number != ONNX_GRAPH_NODE)
            continue;
        struct node_view node;
        struct pb_reader value;
        TRY(node_read(r, pb_inner(&field), &node));
        if (onnx_text_is(node.op, "Constant") && attribute_find(&node, "value", &value))
            while (pb_next(&value, &inner))
                if (inner.number == ONNX_ATTRIBUTE_T)
                    TRY(onnx_tensor_add(r, pb_inner(&inner), node.output));
    }
    if (graph.is_bad)
        return BAD(r, "its graph is cut short");
    if (r->n_tensors > 1)
        qsort(r->tensors, r->n_tensors, sizeof *r->tensors, onnx_tensor_compare);
    for (size_t i = 1; i < r->n_tensors; i++)
        if (onnx_tensor_compare(&r->tensors[i - 1], &r->tensors[i]) == 0)
            return BAD(r, "two tensors have one name");
    return STATUS_OK;
}

// Exporters write equal constants once and name them again by Identity.
static enum status aliases_collect(struct onnx_reader *r, struct pb_reader graph)
{
    struct pb_field field;
    size_t n = r->n_tensors; // those there are, sorted
    while (pb_next(&graph, &field)) {
        struct node_view node;
        if (field.number != ONNX_GRAPH_NODE)
            continue;
        TRY(node_read(r, pb_inner(&field), &node));
        const struct onnx_tensor *t =
            node.n_inputs == 1 ? onnx_tensor_find(r, node.input[0]) : NULL;
        if (!t || !onnx_text_is(node.op, "Identity") || n >= ONNX_TENSORS_MAX)
            continue;
        struct onnx_tensor alias = *t;
        alias.name = node.output;
        TRY(onnx_array_grow(&r->tensors, n, &r->tensor_capacity, sizeof *r->tensors));
        r->tensors[n++] = alias;
    }
    r->n_tensors = n;
    if (n > 1)
        qsort(r->tensors, n, sizeof *r->tensors, onnx_tensor_compare);
    return STATUS_OK;
}

static enum status graph_read(struct onnx_reader *r, struct pb_reader graph)
{
    struct pb_field field;
    struct onnx_text matmul = {0};
    TRY(tensors_collect(r, graph));
    TRY(aliases_collect(r, graph));
    while (pb_next(&graph, &field)) {
        struct node_view node;
        if (field.number != ONNX_GRAPH_NODE)
            continue;
        TRY(node_read(r, pb_inner(&field), &node));
        TRY(node_take(r, &node, &matmul));
    }
    return STATUS_OK;
}

static enum status model_read(struct onnx_reader *r)
{
    struct pb_reader model = {.at = r->bytes, .end = r->bytes + r->n}, graph = {0};
    struct pb_field field;
    bool has_graph = false;
    while (pb_next(&model, &field))
        if (field.number == ONNX_MODEL_GRAPH && field.wire == 2) {
            graph = pb_inner(&field);
            has_graph = true;
        }
    if (model.is_bad || !has_graph)
        return BAD(r, model.is_bad ? "it is cut short, or something else" : "it has no graph");
    TRY(graph_read(r, graph));
    CHECK(r->net->n > 0, STATUS_DATA, "%s has no convolution, dense layer or batch-norm", r->path);
    return STATUS_OK;
}

static enum status file_load(struct onnx_reader *r)
{
    FILE *file = fopen(r->path, "rb");
    CHECK(file, STATUS_DATA, "cannot open '%s': %s", r->path, strerror(errno));
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    enum status status = STATUS_OK;
    if (size < 0 || size > FILE_BYTES_MAX || fseek(file, 0, SEEK_SET) != 0)
        status = error_set(STATUS_DATA, __FILE__, __LINE__, "'%s' is no file of less than 4 GiB",
                           r->path);
    if (status == STATUS_OK)
        status = memory_alloc(&r->bytes, (size_t)size, 1, r->path);
    if (status == STATUS_OK) {
        r->n = fread(r->bytes, 1, (size_t)size, file);
        if (r->n != (size_t)size)
            status = error_set(STATUS_DATA, __FILE__, __LINE__, "cannot read '%s'", r->path);
    }
    fclose(file);
    return status;
}

enum status foreign_onnx_read(struct foreign_net *net, const char *path)
{
    struct onnx_reader r = {.path = path, .net = net};
    enum status status = file_load(&r);
    if (status == STATUS_OK)
        status = model_read(&r);
    free(r.bytes);
    free(r.tensors);
    free(r.turned);
    return status;
}
