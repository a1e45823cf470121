// SPDX-License-Identifier: MIT
// Keras 3: NAME.weights.h5 in the layout of its saving library (layers/<class>_<n>/vars/<i>, n in
// the order of model.layers) and NAME.py, which builds the functional model that loads it. Nodes
// become steps, one Keras layer each; model.layers has them by depth, so the file must, too. See
// export.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "data/h5.h"
#include "trainer/export.h"
#include "trainer/export_bytes.h"

#define STEPS_A_NODE 3
#define TEXT_MAX 320

struct step {
    const char *group;              // class in snake case, of those with weights; else NULL
    const struct export_node *node; // whose weights
    char text[TEXT_MAX];            // "layers.Dense(10, name='dense1')"
    int from[LAYER_INPUTS_MAX], n_from;
    size_t depth, visit; // longest way to the output; order in which Keras comes by
    size_t number;       // among those of its group
};

struct keras {
    const struct export_net *net;
    struct step *steps;
    size_t n;
    int *at; // (net->n + 1) step of each node's output; [0] the input
    bool *is_flat;
};

static struct step *step_add(struct keras *k, int from)
{
    struct step *step = &k->steps[k->n++];
    *step = (struct step){.from = {from}, .n_from = 1};
    return step;
}
#define STEP(k, from, ...)                                                                         \
    (snprintf(step_add(k, from)->text, TEXT_MAX, __VA_ARGS__), (int)(k)->n - 1)

// ---- one function a kind of node: each returns the step that makes the output

static int zero_pad(struct keras *k, const struct export_window *v, int x)
{
    if (v->pad_h + v->pad_w == 0)
        return x;
    return STEP(k, x, "layers.ZeroPadding2D((%zu, %zu))", v->pad_h, v->pad_w);
}

static enum status conv_step(struct keras *k, const struct export_node *node, int x, int *out)
{
    const struct export_window *v = &node->window;
    bool is_dilated = v->dilation_h * v->dilation_w > 1;
    CHECK(!is_dilated || v->stride_h * v->stride_w == 1, STATUS_USAGE,
          "Keras: layer '%s' has both stride and dilation, which its Conv2D does not allow",
          node->ident);
    x = zero_pad(k, v, x);
    *out = STEP(k, x,
                "layers.Conv2D(%zu, (%zu, %zu), strides=(%zu, %zu), dilation_rate=(%zu, %zu), "
                "groups=%zu, use_bias=%s, name=\"%s\")",
                node->y.c, v->kernel_h, v->kernel_w, v->stride_h, v->stride_w, v->dilation_h,
                v->dilation_w, v->groups, node->bias ? "True" : "False", node->ident);
    k->steps[*out].group = "conv2d";
    k->steps[*out].node = node;
    return STATUS_OK;
}

static int dense_step(struct keras *k, const struct export_node *node, int x)
{
    int out = STEP(k, x, "layers.Dense(%zu, use_bias=%s, name=\"%s\")", node->y.c,
                   node->bias ? "True" : "False", node->ident);
    k->steps[out].group = "dense";
    k->steps[out].node = node;
    return out;
}

static int norm_step(struct keras *k, const struct export_node *node, int x)
{
    int out = STEP(k, x, "layers.BatchNormalization(epsilon=%.9g, name=\"%s\")", node->value,
                   node->ident);
    k->steps[out].group = "batch_normalization";
    k->steps[out].node = node;
    return out;
}

static enum status pool_step(struct keras *k, const struct export_node *node, int x, int *out)
{
    const struct export_window *v = &node->window;
    bool is_max = node->kind == EXPORT_MAXPOOL, is_padded = v->pad_h + v->pad_w > 0;
    CHECK(is_max || !is_padded || node->counts_pad, STATUS_USAGE,
          "Keras: layer '%s' has padding that does not count (count_include_pad: false), for which "
          "it has no layer",
          node->ident);
    if (is_max && is_padded)
        x = STEP(k, x,
                 "layers.Lambda(lambda t: keras.ops.pad(t, ((0, 0), (%zu, %zu), (%zu, %zu), "
                 "(0, 0)), constant_values=float(\"-inf\")))",
                 v->pad_h, v->pad_h, v->pad_w, v->pad_w);
    else
        x = zero_pad(k, v, x);
    *out = STEP(k, x, "layers.%s((%zu, %zu), strides=(%zu, %zu), name=\"%s\")",
                is_max ? "MaxPooling2D" : "AveragePooling2D", v->kernel_h, v->kernel_w, v->stride_h,
                v->stride_w, node->ident);
    return STATUS_OK;
}

static int subsample_step(struct keras *k, const struct export_node *node, int x)
{
    size_t s = node->window.stride_h, after = node->y.c - node->x.c - node->before;
    return STEP(k, x,
                "layers.Lambda(lambda t: keras.ops.pad(t[:, ::%zu, ::%zu, :], ((0, 0), (0, 0), "
                "(0, 0), (%zu, %zu))), name=\"%s\")",
                s, s, node->before, after, node->ident);
}

static int hog_step(struct keras *k, const struct export_node *node, int x)
{
    return STEP(k, x,
                "layers.Lambda(lambda t: hog(t, %zu, %zu, %.9g), output_shape=(%zu, %zu, %zu), "
                "name=\"%s\")",
                node->window.kernel_h, node->y.c / 4, node->value, node->y.h, node->y.w, node->y.c,
                node->ident);
}

static int each_step(struct keras *k, const struct export_node *node, int x)
{
    switch (node->kind) {
    case EXPORT_RELU:
        return STEP(k, x, "layers.ReLU(name=\"%s\")", node->ident);
    case EXPORT_LEAKY_RELU:
        return STEP(k, x, "layers.LeakyReLU(negative_slope=%.9g, name=\"%s\")", node->value,
                    node->ident);
    case EXPORT_GELU:
        return STEP(k, x, "layers.Activation(\"gelu\", name=\"%s\")", node->ident);
    case EXPORT_SILU:
        return STEP(k, x, "layers.Activation(\"silu\", name=\"%s\")", node->ident);
    case EXPORT_GLOBALPOOL:
        return STEP(k, x, "layers.GlobalAveragePooling2D(keepdims=True, name=\"%s\")", node->ident);
    case EXPORT_FLATTEN:
        return STEP(k, x, "layers.Flatten(name=\"%s\")", node->ident);
    default:
        return STEP(k, x, "layers.Rescaling(%.9g, name=\"%s\")", node->value, node->ident);
    }
}

static int join_step(struct keras *k, const struct export_node *node, const int *x)
{
    struct step *step = step_add(k, x[0]);
    snprintf(step->text, TEXT_MAX, "layers.%sname=\"%s\")",
             node->kind == EXPORT_ADD ? "Add(" : "Concatenate(axis=-1, ", node->ident);
    step->n_from = node->n_from;
    memcpy(step->from, x, (size_t)node->n_from * sizeof *x);
    return (int)k->n - 1;
}

// Keras has vectors (N, C) beside images (N, 1, 1, C): the one that a layer wants.
static int as_flat(struct keras *k, int x, bool is_flat, bool wants_flat, size_t c)
{
    if (is_flat == wants_flat)
        return x;
    return wants_flat ? STEP(k, x, "layers.Flatten()")
                      : STEP(k, x, "layers.Reshape((1, 1, %zu))", c);
}

static enum status node_steps(struct keras *k, size_t i)
{
    const struct export_node *node = &k->net->nodes[i];
    bool is_each = node->kind >= EXPORT_NORM && node->kind <= EXPORT_SILU;
    bool is_any = is_each || node->kind == EXPORT_SCALE, all_flat = true;
    bool wants_flat = node->kind == EXPORT_DENSE;
    int x[LAYER_INPUTS_MAX], *out = &k->at[i + 1];
    for (int j = 0; j < node->n_from; j++)
        all_flat = all_flat && k->is_flat[node->from[j] + 1];
    if (is_any || node->kind == EXPORT_ADD || node->kind == EXPORT_CONCAT)
        wants_flat = all_flat;
    for (int j = 0; j < node->n_from; j++) {
        int from = node->from[j] + 1;
        size_t c = from > 0 ? k->net->nodes[from - 1].y.c : k->net->input.c;
        bool is_flat = k->is_flat[from];
        x[j] = node->kind == EXPORT_FLATTEN ? k->at[from]
                                            : as_flat(k, k->at[from], is_flat, wants_flat, c);
    }
    k->is_flat[i + 1] = wants_flat || node->kind == EXPORT_FLATTEN;
    switch (node->kind) {
    case EXPORT_CONV:
        return conv_step(k, node, x[0], out);
    case EXPORT_MAXPOOL:
    case EXPORT_AVGPOOL:
        return pool_step(k, node, x[0], out);
    case EXPORT_DENSE:
        *out = dense_step(k, node, x[0]);
        return STATUS_OK;
    case EXPORT_NORM:
        *out = norm_step(k, node, x[0]);
        return STATUS_OK;
    case EXPORT_SUBSAMPLE:
        *out = subsample_step(k, node, x[0]);
        return STATUS_OK;
    case EXPORT_HOG:
        *out = hog_step(k, node, x[0]);
        return STATUS_OK;
    case EXPORT_ADD:
    case EXPORT_CONCAT:
        *out = join_step(k, node, x);
        return STATUS_OK;
    default:
        *out = each_step(k, node, x[0]);
        return STATUS_OK;
    }
}

// ---- the order of model.layers

static void visit(struct keras *k, int i, size_t *n)
{
    struct step *step = &k->steps[i];
    if (step->visit > 0)
        return;
    step->visit = ++*n;
    for (int j = 0; j < step->n_from; j++)
        visit(k, step->from[j], n);
}

static int step_compare(const void *a, const void *b)
{
    const struct step *x = *(const struct step *const *)a, *y = *(const struct step *const *)b;
    if (x->depth != y->depth)
        return x->depth > y->depth ? -1 : 1;
    return x->visit < y->visit ? -1 : x->visit > y->visit;
}

// By depth, deepest first; of one depth, in the order of a walk from the output.
static enum status steps_number(struct keras *k)
{
    static const char *const groups[] = {"conv2d", "dense", "batch_normalization"};
    struct step **order = NULL;
    size_t n = 0, counts[3] = {0};
    TRY(memory_alloc(&order, k->n, sizeof *order, "Keras"));
    visit(k, (int)k->n - 1, &n);
    for (size_t i = k->n; i-- > 0;)
        for (int j = 0; j < k->steps[i].n_from; j++) {
            struct step *source = &k->steps[k->steps[i].from[j]];
            size_t depth = k->steps[i].depth + 1;
            source->depth = depth > source->depth ? depth : source->depth;
        }
    for (size_t i = 0; i < k->n; i++)
        order[i] = &k->steps[i];
    qsort(order, k->n, sizeof *order, step_compare);
    for (size_t i = 0; i < k->n; i++)
        for (int g = 0; order[i]->group && g < 3; g++)
            if (strcmp(order[i]->group, groups[g]) == 0)
                order[i]->number = counts[g]++;
    free(order);
    return STATUS_OK;
}

// ---- the files

static enum status steps_make(struct keras *k)
{
    const struct export_net *net = k->net;
    *step_add(k, 0) = (struct step){.n_from = 0};
    if (net->scale)
        step_add(k, 0); // its text is long: preprocess_put
    k->at[0] = (int)k->n - 1;
    for (size_t i = 0; i < net->n; i++)
        TRY(node_steps(k, i));
    struct shape y = export_output(net);
    if (!k->is_flat[net->n] && y.h * y.w == 1)
        as_flat(k, k->at[net->n], false, true, y.c);
    return steps_number(k);
}

// (raw - mean) / root of the variance, from raw scale + shift.
static void preprocess_put(struct bytes *text, const struct export_net *net)
{
    bytes_print(text, "    x1 = layers.Normalization(axis=-1, mean=[");
    for (size_t i = 0; i < net->input.c; i++)
        bytes_print(text, "%s%.9g", i ? ", " : "", -(double)net->shift[i] / (double)net->scale[i]);
    bytes_print(text, "], variance=[");
    for (size_t i = 0; i < net->input.c; i++)
        bytes_print(text, "%s%.9g", i ? ", " : "",
                    1 / ((double)net->scale[i] * (double)net->scale[i]));
    bytes_print(text, "], name=\"preprocess\")(x0)\n");
}

// Keras has no such layer: (n, h, w, c) to (n, h / cell - 1, w / cell - 1, 4 bins).
#define PYTHON_HOG                                                                                 \
    "\n\ndef hog(x, cell, bins, eps):\n"                                                           \
    "    \"\"\"Histograms of oriented gradients, of 2 x 2 cells at once.\"\"\"\n"                  \
    "    ops = keras.ops\n"                                                                        \
    "    above = ops.concatenate([x[:, :1], x[:, :-1]], axis=1)\n"                                 \
    "    below = ops.concatenate([x[:, 1:], x[:, -1:]], axis=1)\n"                                 \
    "    left = ops.concatenate([x[:, :, :1], x[:, :, :-1]], axis=2)\n"                            \
    "    right = ops.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2)\n"                           \
    "    gx, gy = right - left, below - above\n"                                                   \
    "    most = ops.argmax(gx * gx + gy * gy, axis=-1, keepdims=True)\n"                           \
    "    gx = ops.take_along_axis(gx, most, axis=-1)\n"                                            \
    "    gy = ops.take_along_axis(gy, most, axis=-1)\n"                                            \
    "    place = ops.mod(ops.arctan2(gy, gx) * (bins / math.pi), bins)\n"                          \
    "    far = ops.abs(place - (ops.arange(bins, dtype=x.dtype) + 0.5))\n"                         \
    "    share = ops.relu(1 - ops.minimum(far, bins - far))\n"                                     \
    "    votes = share * ops.sqrt(gx * gx + gy * gy)\n"                                            \
    "    cells = ops.average_pool(votes, cell, cell) * cell**2\n"                                  \
    "    top, bottom = cells[:, :-1], cells[:, 1:]\n"                                              \
    "    four = [top[:, :, :-1], top[:, :, 1:], bottom[:, :, :-1], bottom[:, :, 1:]]\n"            \
    "    block = ops.concatenate(four, axis=-1)\n"                                                 \
    "    return block / ops.sqrt(ops.sum(block * block, axis=-1, keepdims=True) + eps**2)\n"

static void imports_put(struct bytes *text, const struct export_net *net)
{
    bool has_hog = false;
    for (size_t i = 0; i < net->n; i++)
        has_hog = has_hog || net->nodes[i].kind == EXPORT_HOG;
    bytes_print(text, "%simport keras\nfrom keras import layers\n%s",
                has_hog ? "import math\n\n" : "", has_hog ? PYTHON_HOG : "");
}

static void python_put(struct bytes *text, const struct keras *k)
{
    const struct export_net *net = k->net;
    bytes_print(text,
                "\"\"\"%s, made by sw2-export %s\n\nmodel = load(\"%s.weights.h5\"); scores of "
                "(n, %zu, %zu, %zu) %s: model.predict(x)\n\"\"\"\n",
                net->name, SW2_VERSION, net->name, net->input.h, net->input.w, net->input.c,
                net->scale ? "raw values (of bytes: 0 to 255)" : "prepared inputs");
    imports_put(text, net);
    bytes_print(text, "\n\ndef build():\n    x0 = keras.Input((%zu, %zu, %zu), name=\"input\")\n",
                net->input.h, net->input.w, net->input.c);
    if (net->scale)
        preprocess_put(text, net);
    for (size_t i = net->scale ? 2 : 1; i < k->n; i++) {
        const struct step *step = &k->steps[i];
        bytes_print(text, "    x%zu = %s(%s", i, step->text, step->n_from > 1 ? "[" : "");
        for (int j = 0; j < step->n_from; j++)
            bytes_print(text, "%sx%d", j ? ", " : "", step->from[j]);
        bytes_print(text, "%s)\n", step->n_from > 1 ? "]" : "");
    }
    bytes_print(text, "    return keras.Model(x0, x%zu, name=\"%s\")\n", k->n - 1, net->name);
    bytes_print(text, "\n\ndef load(path):\n    model = build()\n    model.load_weights(path)\n"
                      "    return model\n");
}

static enum status var_write(struct h5 *file, const struct step *step, int var, int rank,
                             const uint64_t *dim, const float *x)
{
    char path[96];
    snprintf(path, sizeof path, "/layers/%s", step->group);
    size_t used = strlen(path);
    if (step->number > 0)
        used += (size_t)snprintf(path + used, sizeof path - used, "_%zu", step->number);
    snprintf(path + used, sizeof path - used, "/vars/%d", var);
    TRY(h5_write(file, path, H5_F32, rank, dim, x));
    path[used] = 0;
    strcat(path, "/vars");
    return var > 0 ? STATUS_OK : h5_attr_write_text(file, path, "name", step->node->ident);
}

static enum status step_write(struct h5 *file, const struct step *step)
{
    const struct export_node *node = step->node;
    const struct export_window *v = &node->window;
    const uint64_t channels = node->y.c, dense[] = {node->x.c, node->y.c};
    if (node->kind == EXPORT_CONV) {
        const uint64_t conv[] = {v->kernel_h, v->kernel_w, node->x.c / v->groups, channels};
        TRY(var_write(file, step, 0, 4, conv, node->weight));
    } else {
        TRY(var_write(file, step, 0, node->kind == EXPORT_DENSE ? 2 : 1, dense, node->weight));
    }
    if (node->bias)
        TRY(var_write(file, step, 1, 1, &channels, node->bias));
    if (node->kind != EXPORT_NORM)
        return STATUS_OK;
    TRY(var_write(file, step, 2, 1, &channels, node->mean));
    return var_write(file, step, 3, 1, &channels, node->variance);
}

static enum status weights_write(const struct keras *k, const char *path)
{
    struct h5 *file;
    TRY(h5_create(&file, path));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < k->n && status == STATUS_OK; i++)
        if (k->steps[i].group)
            status = step_write(file, &k->steps[i]);
    if (status == STATUS_OK)
        return h5_commit(file);
    h5_close(file);
    return status;
}

static enum status keras_save(struct keras *k, const char *path)
{
    struct bytes text = {0};
    char name[4096];
    size_t n = 3 + (k->net->n + 1) * (STEPS_A_NODE + LAYER_INPUTS_MAX);
    TRY(memory_alloc(&k->steps, n, sizeof *k->steps, "Keras"));
    TRY(memory_alloc(&k->at, k->net->n + 1, sizeof *k->at, "Keras"));
    TRY(memory_alloc(&k->is_flat, k->net->n + 1, sizeof *k->is_flat, "Keras"));
    TRY(steps_make(k));
    int length = snprintf(name, sizeof name, "%s.weights.h5", path);
    CHECK(length > 0 && (size_t)length < sizeof name, STATUS_USAGE, "path '%.80s' is too long",
          path);
    TRY(weights_write(k, name));
    python_put(&text, k);
    snprintf(name, sizeof name, "%s.py", path);
    enum status status = bytes_save(&text, name);
    bytes_free(&text);
    return status;
}

enum status export_keras(const struct export_net *net, const struct export_config *config,
                         const char *path)
{
    struct keras k = {.net = net};
    (void)config;
    enum status status = keras_save(&k, path);
    free(k.steps);
    free(k.at);
    free(k.is_flat);
    return status;
}
