// SPDX-License-Identifier: MIT
// One function a kind of node: NCHW, weights O,I,H,W. A flatten in our order (h, w, c) becomes one
// in ONNX's (c, h, w): what reads it up to the dense layers has its channels renumbered; only where
// that cannot be done a Transpose stands before it. Called by export_onnx.c.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/export_onnx_private.h"

const char *onnx_name(char out[ONNX_NAME_MAX], const char *layer, const char *what)
{
    snprintf(out, ONNX_NAME_MAX, "%s/%s", layer, what);
    return out;
}

// ---- values

static const struct onnx_value *value_of(const struct onnx_writer *w, int node)
{
    return &w->values[node + 1];
}

const char *onnx_input(struct onnx_writer *w, const struct export_node *node, int k, bool flat,
                       char out[ONNX_NAME_MAX])
{
    const struct onnx_value *x = value_of(w, node->from[k]);
    char shape[ONNX_NAME_MAX + 16];
    snprintf(out, ONNX_NAME_MAX, "%s", x->name);
    if (x->is_flat == flat)
        return out;
    snprintf(out, ONNX_NAME_MAX, "%s/%s%zu", node->name, flat ? "flat" : "image", ++w->count);
    if (flat) {
        onnx_attribute_int(w, "axis", 1);
        NODE(w, "Flatten", out, x->name);
        return out;
    }
    size_t c = node->from[k] < 0 ? w->net->input.c : w->net->nodes[node->from[k]].y.c;
    snprintf(shape, sizeof shape, "%s/shape", out);
    onnx_ints(w, shape, 4, (const int64_t[]){0, (int64_t)c, 1, 1}); // 0: as it is
    NODE(w, "Reshape", out, x->name, shape);
    return out;
}

// x permuted as the channels of node's input are: out[j] = x[perm[j]].
static void vector_add(struct onnx_writer *w, const char *name, const size_t *perm, size_t n,
                       const float *x, float *space)
{
    for (size_t j = 0; j < n; j++)
        space[j] = x[perm ? perm[j] : j];
    onnx_floats(w, name, 1, (const int64_t[]){(int64_t)n}, space);
}

static enum status perm_make(struct onnx_writer *w, size_t n, size_t **perm)
{
    TRY(memory_alloc(perm, n, sizeof **perm, "order of channels"));
    w->perms[w->n_perms++] = *perm;
    return STATUS_OK;
}

// ---- one function a kind of node

static enum status conv_put(struct onnx_writer *w, const struct export_node *node,
                            struct onnx_value *y)
{
    const struct export_window *v = &node->window;
    const size_t *perm = value_of(w, node->from[0])->perm;
    const size_t R = v->kernel_h, S = v->kernel_w, C = node->x.c / v->groups, K = node->y.c;
    const int64_t dim[] = {(int64_t)K, (int64_t)C, (int64_t)R, (int64_t)S}, out[] = {(int64_t)K};
    char x[ONNX_NAME_MAX], weight[ONNX_NAME_MAX], bias[ONNX_NAME_MAX];
    float *space = NULL;
    TRY(memory_alloc(&space, R * S * C * K, sizeof *space, "weights"));
    for (size_t k = 0; k < K; k++)
        for (size_t c = 0; c < C; c++)
            for (size_t t = 0; t < R * S; t++)
                space[(k * C + c) * R * S + t] =
                    node->weight[(t * C + (perm ? perm[c] : c)) * K + k];
    onnx_floats(w, onnx_name(weight, node->name, "weight"), 4, dim, space);
    free(space);
    if (node->bias)
        onnx_floats(w, onnx_name(bias, node->name, "bias"), 1, out, node->bias);
    onnx_input(w, node, 0, false, x);
    onnx_attribute_ints(w, "kernel_shape", 2, (const size_t[]){R, S});
    onnx_attribute_ints(w, "strides", 2, (const size_t[]){v->stride_h, v->stride_w});
    onnx_attribute_ints(w, "pads", 4, (const size_t[]){v->pad_h, v->pad_w, v->pad_h, v->pad_w});
    onnx_attribute_ints(w, "dilations", 2, (const size_t[]){v->dilation_h, v->dilation_w});
    onnx_attribute_int(w, "group", (int64_t)v->groups);
    if (node->bias)
        NODE(w, "Conv", y->name, x, weight, bias);
    else
        NODE(w, "Conv", y->name, x, weight);
    return STATUS_OK;
}

// B is (K, C), as PyTorch writes it.
static enum status dense_put(struct onnx_writer *w, const struct export_node *node,
                             struct onnx_value *y)
{
    const size_t *perm = value_of(w, node->from[0])->perm;
    const size_t C = node->x.c, K = node->y.c;
    char x[ONNX_NAME_MAX], weight[ONNX_NAME_MAX], bias[ONNX_NAME_MAX];
    float *space = NULL;
    TRY(memory_alloc(&space, C * K, sizeof *space, "weights"));
    for (size_t k = 0; k < K; k++)
        for (size_t c = 0; c < C; c++)
            space[k * C + c] = node->weight[(perm ? perm[c] : c) * K + k];
    onnx_floats(w, onnx_name(weight, node->name, "weight"), 2,
                (const int64_t[]){(int64_t)K, (int64_t)C}, space);
    free(space);
    if (node->bias)
        onnx_floats(w, onnx_name(bias, node->name, "bias"), 1, (const int64_t[]){(int64_t)K},
                    node->bias);
    onnx_input(w, node, 0, true, x);
    onnx_attribute_int(w, "transB", 1);
    if (node->bias)
        NODE(w, "Gemm", y->name, x, weight, bias);
    else
        NODE(w, "Gemm", y->name, x, weight);
    y->is_flat = true;
    return STATUS_OK;
}

static enum status norm_put(struct onnx_writer *w, const struct export_node *node,
                            struct onnx_value *y)
{
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
    const float *from[] = {node->weight, node->bias, node->mean, node->variance};
    const struct onnx_value *x = value_of(w, node->from[0]);
    char name[4][ONNX_NAME_MAX];
    float *space = NULL;
    TRY(memory_alloc(&space, node->x.c, sizeof *space, "weights"));
    for (int i = 0; i < 4; i++)
        vector_add(w, onnx_name(name[i], node->name, names[i]), x->perm, node->x.c, from[i], space);
    free(space);
    onnx_attribute_float(w, "epsilon", node->value);
    NODE(w, "BatchNormalization", y->name, x->name, name[0], name[1], name[2], name[3]);
    y->is_flat = x->is_flat;
    y->perm = x->perm;
    return STATUS_OK;
}

static const char *scalar_add(struct onnx_writer *w, char out[ONNX_NAME_MAX],
                              const struct export_node *node, const char *what, double value)
{
    const float x = (float)value;
    onnx_floats(w, onnx_name(out, node->name, what), 0, NULL, &x);
    return out;
}

// Opset 13 has no Gelu: x * (1 + erf(x / sqrt 2)) * 0.5.
static void gelu_put(struct onnx_writer *w, const struct export_node *node, const char *x,
                     const char *y)
{
    char a[ONNX_NAME_MAX], b[ONNX_NAME_MAX], c[ONNX_NAME_MAX], d[ONNX_NAME_MAX];
    char root[ONNX_NAME_MAX], one[ONNX_NAME_MAX], half[ONNX_NAME_MAX];
    scalar_add(w, root, node, "rsqrt2", sqrt(0.5));
    scalar_add(w, one, node, "one", 1);
    scalar_add(w, half, node, "half", 0.5);
    NODE(w, "Mul", onnx_name(a, node->name, "scaled"), x, root);
    NODE(w, "Erf", onnx_name(b, node->name, "erf"), a);
    NODE(w, "Add", onnx_name(c, node->name, "erf1"), b, one);
    NODE(w, "Mul", onnx_name(d, node->name, "product"), x, c);
    NODE(w, "Mul", y, d, half);
}

static enum status each_put(struct onnx_writer *w, const struct export_node *node,
                            struct onnx_value *y)
{
    const struct onnx_value *x = value_of(w, node->from[0]);
    char one[ONNX_NAME_MAX];
    y->is_flat = x->is_flat;
    y->perm = x->perm;
    switch (node->kind) {
    case EXPORT_RELU:
        NODE(w, "Relu", y->name, x->name);
        break;
    case EXPORT_LEAKY_RELU:
        onnx_attribute_float(w, "alpha", node->value);
        NODE(w, "LeakyRelu", y->name, x->name);
        break;
    case EXPORT_SILU:
        NODE(w, "Sigmoid", onnx_name(one, node->name, "sigmoid"), x->name);
        NODE(w, "Mul", y->name, x->name, one);
        break;
    case EXPORT_SCALE:
        scalar_add(w, one, node, "factor", node->value);
        NODE(w, "Mul", y->name, x->name, one);
        break;
    default:
        gelu_put(w, node, x->name, y->name);
    }
    return STATUS_OK;
}

static enum status pool_put(struct onnx_writer *w, const struct export_node *node,
                            struct onnx_value *y)
{
    const struct export_window *v = &node->window;
    char x[ONNX_NAME_MAX];
    onnx_input(w, node, 0, false, x);
    if (node->kind == EXPORT_GLOBALPOOL) {
        NODE(w, "GlobalAveragePool", y->name, x);
        return STATUS_OK;
    }
    onnx_attribute_ints(w, "kernel_shape", 2, (const size_t[]){v->kernel_h, v->kernel_w});
    onnx_attribute_ints(w, "strides", 2, (const size_t[]){v->stride_h, v->stride_w});
    onnx_attribute_ints(w, "pads", 4, (const size_t[]){v->pad_h, v->pad_w, v->pad_h, v->pad_w});
    if (node->kind == EXPORT_AVGPOOL)
        onnx_attribute_int(w, "count_include_pad", node->counts_pad);
    NODE(w, node->kind == EXPORT_AVGPOOL ? "AveragePool" : "MaxPool", y->name, x);
    return STATUS_OK;
}

// Can all that reads this flat output have its channels renumbered, up to dense layers?
static bool is_absorbed(const struct onnx_writer *w, int node)
{
    size_t readers = 0;
    for (size_t i = 0; i < w->net->n; i++) {
        const struct export_node *reader = &w->net->nodes[i];
        for (int k = 0; k < reader->n_from; k++) {
            if (reader->from[k] != node)
                continue;
            readers++;
            if (reader->kind == EXPORT_DENSE)
                continue;
            bool is_each = reader->kind >= EXPORT_NORM && reader->kind <= EXPORT_SILU;
            if (!(is_each || reader->kind == EXPORT_SCALE) || !is_absorbed(w, (int)i))
                return false;
        }
    }
    return readers > 0;
}

static enum status flatten_put(struct onnx_writer *w, const struct export_node *node,
                               struct onnx_value *y)
{
    const struct onnx_value *x = value_of(w, node->from[0]);
    const size_t H = node->x.h, W = node->x.w, C = node->x.c;
    char name[ONNX_NAME_MAX];
    y->is_flat = true;
    y->perm = x->perm;
    snprintf(name, sizeof name, "%s", x->name);
    if (x->is_flat) {
        NODE(w, "Identity", y->name, name);
        return STATUS_OK;
    }
    if (H * W > 1 && C > 1 && is_absorbed(w, (int)(node - w->net->nodes))) {
        size_t *perm = NULL;
        TRY(perm_make(w, H * W * C, &perm));
        for (size_t j = 0; j < H * W * C; j++)
            perm[j] = j % (H * W) * C + j / (H * W);
        y->perm = perm;
    } else if (H * W > 1 && C > 1) {
        onnx_attribute_ints(w, "perm", 4, (const size_t[]){0, 2, 3, 1});
        NODE(w, "Transpose", onnx_name(name, node->name, "nhwc"), x->name);
    }
    onnx_attribute_int(w, "axis", 1);
    NODE(w, "Flatten", y->name, name);
    return STATUS_OK;
}

static enum status join_put(struct onnx_writer *w, const struct export_node *node,
                            struct onnx_value *y)
{
    char x[LAYER_INPUTS_MAX][ONNX_NAME_MAX], sum[2][ONNX_NAME_MAX];
    const char *inputs[LAYER_INPUTS_MAX + 1] = {0};
    y->is_flat = true;
    for (int k = 0; k < node->n_from; k++)
        y->is_flat = y->is_flat && value_of(w, node->from[k])->is_flat;
    for (int k = 0; k < node->n_from; k++)
        inputs[k] = onnx_input(w, node, k, y->is_flat, x[k]);
    if (node->kind == EXPORT_CONCAT) {
        onnx_attribute_int(w, "axis", 1);
        onnx_node(w, "Concat", y->name, inputs);
        return STATUS_OK;
    }
    const char *left = x[0];
    for (int k = 1; k < node->n_from; k++) {
        char *to = sum[k % 2];
        snprintf(to, ONNX_NAME_MAX, "%s/sum%d", node->name, k);
        NODE(w, "Add", k == node->n_from - 1 ? y->name : to, left, inputs[k]);
        left = to;
    }
    return STATUS_OK;
}

static enum status subsample_put(struct onnx_writer *w, const struct export_node *node,
                                 struct onnx_value *y)
{
    const int64_t s = (int64_t)node->window.stride_h, before = (int64_t)node->before;
    const int64_t after = (int64_t)(node->y.c - node->x.c) - before;
    char x[ONNX_NAME_MAX], cut[ONNX_NAME_MAX], name[5][ONNX_NAME_MAX];
    onnx_input(w, node, 0, false, x);
    onnx_ints(w, onnx_name(name[0], node->name, "starts"), 2, (const int64_t[]){0, 0});
    onnx_ints(w, onnx_name(name[1], node->name, "ends"), 2,
              (const int64_t[]){INT32_MAX, INT32_MAX});
    onnx_ints(w, onnx_name(name[2], node->name, "axes"), 2, (const int64_t[]){2, 3});
    onnx_ints(w, onnx_name(name[3], node->name, "steps"), 2, (const int64_t[]){s, s});
    bool is_padded = before + after > 0;
    onnx_name(cut, node->name, "pixels");
    NODE(w, "Slice", is_padded ? cut : y->name, x, name[0], name[1], name[2], name[3]);
    if (!is_padded)
        return STATUS_OK;
    onnx_ints(w, onnx_name(name[4], node->name, "pads"), 8,
              (const int64_t[]){0, before, 0, 0, 0, after, 0, 0});
    NODE(w, "Pad", y->name, cut, name[4]);
    return STATUS_OK;
}

enum status onnx_node_put(struct onnx_writer *w, const struct export_node *node,
                          struct onnx_value *y)
{
    switch (node->kind) {
    case EXPORT_CONV:
        return conv_put(w, node, y);
    case EXPORT_DENSE:
        return dense_put(w, node, y);
    case EXPORT_NORM:
        return norm_put(w, node, y);
    case EXPORT_RELU:
    case EXPORT_LEAKY_RELU:
    case EXPORT_GELU:
    case EXPORT_SILU:
    case EXPORT_SCALE:
        return each_put(w, node, y);
    case EXPORT_MAXPOOL:
    case EXPORT_AVGPOOL:
    case EXPORT_GLOBALPOOL:
        return pool_put(w, node, y);
    case EXPORT_FLATTEN:
        return flatten_put(w, node, y);
    case EXPORT_ADD:
    case EXPORT_CONCAT:
        return join_put(w, node, y);
    case EXPORT_SUBSAMPLE:
        return subsample_put(w, node, y);
    case EXPORT_HOG:
        onnx_hog_put(w, node, y);
        return STATUS_OK;
    default:
        FAIL(STATUS_USAGE, "layer '%s' has no counterpart in ONNX", node->name);
    }
}
