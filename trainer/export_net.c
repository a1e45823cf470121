// SPDX-License-Identifier: MIT
// From a trained network to the plain list of nodes that all writers read; see export.h. Options of
// layers are read by their names in the tables of layer_ops, so no layer knows of exporting.
#include "trainer/export.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/log.h"
#include "models/network.h"

// The value of an option in layer->args. The option must exist.
static const void *option_of(const struct layer *layer, const char *name)
{
    const struct layer_ops *ops = layer->ops;
    for (size_t i = 0; i < ops->n_options; i++)
        if (strcmp(ops->options[i].name, name) == 0)
            return (const char *)layer->args + ops->options[i].offset;
    assert_failed(__FILE__, __LINE__, name);
}

static double number_of(const struct layer *layer, const char *name)
{
    return *(const double *)option_of(layer, name);
}

static size_t size_of(const struct layer *layer, const char *name)
{
    return (size_t) * (const int64_t *)option_of(layer, name);
}

// One number or [h, w]; of a signal (h = 1) one number means the width, `unit` the height.
static void pair_of(const struct layer *layer, const char *name, size_t unit, size_t *h, size_t *w)
{
    const struct option_ints *v = option_of(layer, name);
    *h = layer->x[0].h == 1 && v->n == 1 ? unit : (size_t)v->v[0];
    *w = (size_t)v->v[v->n - 1];
}

// ---- one function a kind of layer

static void conv_weights(struct export_node *node, const struct layer *layer, const float *params)
{
    node->weight = params + layer->param[0].offset;
    node->bias = layer->n_params > 1 ? params + layer->param[1].offset : NULL;
    node->window.kernel_h = layer->param[0].dim[0];
    node->window.kernel_w = layer->param[0].dim[1];
}

static void conv_read(struct export_node *node, const struct layer *layer, const float *params)
{
    struct export_window *w = &node->window;
    node->kind = EXPORT_CONV;
    conv_weights(node, layer, params);
    pair_of(layer, "stride", 1, &w->stride_h, &w->stride_w);
    pair_of(layer, "pad", 0, &w->pad_h, &w->pad_w);
    pair_of(layer, "dilation", 1, &w->dilation_h, &w->dilation_w);
    w->groups = size_of(layer, "groups");
}

static void whiten_read(struct export_node *node, const struct layer *layer, const float *params)
{
    size_t pad = size_of(layer, "pad");
    node->kind = EXPORT_CONV;
    node->window = (struct export_window){0, 0, 1, 1, layer->x[0].h == 1 ? 0 : pad, pad, 1, 1, 1};
    conv_weights(node, layer, params);
}

static void filterbank_read(struct export_node *node, const struct layer *layer,
                            const float *params)
{
    size_t side = layer->param[0].dim[0];
    node->kind = EXPORT_CONV;
    node->window =
        (struct export_window){side, side, 1, 1, side / 2, side / 2, 1, 1, layer->x[0].c};
    conv_weights(node, layer, params);
}

static void dense_read(struct export_node *node, const struct layer *layer, const float *params)
{
    node->kind = EXPORT_DENSE;
    node->weight = params + layer->param[0].offset;
    node->bias = layer->n_params > 1 ? params + layer->param[1].offset : NULL;
}

static void norm_read(struct export_node *node, const struct layer *layer, const float *params)
{
    node->kind = EXPORT_NORM;
    node->weight = params + layer->param[0].offset;
    node->bias = params + layer->param[1].offset;
    node->mean = params + layer->param[2].offset;
    node->variance = params + layer->param[3].offset;
    node->value = number_of(layer, "eps");
}

static void pool_read(struct export_node *node, const struct layer *layer, const float *params)
{
    struct export_window *w = &node->window;
    (void)params;
    bool is_max = strcmp(layer->ops->name, "maxpool") == 0;
    node->kind = is_max ? EXPORT_MAXPOOL : EXPORT_AVGPOOL;
    pair_of(layer, "kernel", 1, &w->kernel_h, &w->kernel_w);
    pair_of(layer, "stride", 1, &w->stride_h, &w->stride_w);
    pair_of(layer, "pad", 0, &w->pad_h, &w->pad_w);
    w->stride_h = w->stride_h ? w->stride_h : w->kernel_h;
    w->stride_w = w->stride_w ? w->stride_w : w->kernel_w;
    w->dilation_h = w->dilation_w = w->groups = 1;
    node->counts_pad = !is_max && *(const bool *)option_of(layer, "count_include_pad");
}

static void subsample_read(struct export_node *node, const struct layer *layer, const float *params)
{
    (void)params;
    node->kind = EXPORT_SUBSAMPLE;
    node->window.stride_h = node->window.stride_w = size_of(layer, "stride");
    node->before = (layer->y.c - layer->x[0].c) / 2;
}

static void scale_read(struct export_node *node, const struct layer *layer, const float *params)
{
    (void)params;
    node->kind = EXPORT_SCALE;
    node->value = number_of(layer, "factor");
}

static void hog_read(struct export_node *node, const struct layer *layer, const float *params)
{
    struct export_window *w = &node->window;
    (void)params;
    node->kind = EXPORT_HOG;
    w->kernel_h = w->kernel_w = w->stride_h = w->stride_w = size_of(layer, "cell");
    node->value = number_of(layer, "eps");
}

static void leaky_read(struct export_node *node, const struct layer *layer, const float *params)
{
    (void)params;
    node->kind = EXPORT_LEAKY_RELU;
    node->value = number_of(layer, "slope");
}

// What stands for which layer. read NULL: the kind says it all.
static const struct {
    const char *layer;
    enum export_kind kind;
    void (*read)(struct export_node *node, const struct layer *layer, const float *params);
} table[] = {
    {"conv", EXPORT_CONV, conv_read},
    {"whiten", EXPORT_CONV, whiten_read},
    {"filterbank", EXPORT_CONV, filterbank_read},
    {"dense", EXPORT_DENSE, dense_read},
    {"batchnorm", EXPORT_NORM, norm_read},
    {"relu", EXPORT_RELU, NULL},
    {"leaky_relu", EXPORT_LEAKY_RELU, leaky_read},
    {"gelu", EXPORT_GELU, NULL},
    {"silu", EXPORT_SILU, NULL},
    {"maxpool", EXPORT_MAXPOOL, pool_read},
    {"avgpool", EXPORT_AVGPOOL, pool_read},
    {"globalpool", EXPORT_GLOBALPOOL, NULL},
    {"flatten", EXPORT_FLATTEN, NULL},
    {"add", EXPORT_ADD, NULL},
    {"concat", EXPORT_CONCAT, NULL},
    {"subsample", EXPORT_SUBSAMPLE, subsample_read},
    {"scale", EXPORT_SCALE, scale_read},
    {"hog", EXPORT_HOG, hog_read},
};

static enum status node_read(struct export_node *node, const struct layer *layer,
                             const float *params)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].layer, layer->ops->name) != 0)
            continue;
        node->kind = table[i].kind;
        if (table[i].read)
            table[i].read(node, layer, params);
        return STATUS_OK;
    }
    FAIL(STATUS_USAGE, "layer '%s' is a %s, which cannot be exported", layer->name,
         layer->ops->name);
}

// ---- the list

// `at`: for each layer, the node that makes its output (-1: the network's input).
static enum status layer_add(struct export_net *net, size_t i, int *at)
{
    const struct model *model = net->trained->model;
    const struct layer *layer = model_layer(model, i);
    const int *from = model_network(model)->nodes[i].from;
    if (strcmp(layer->ops->name, "dropout") == 0) {
        at[i] = from[0] < 0 ? -1 : at[from[0]];
        return STATUS_OK;
    }
    struct export_node *node = &net->nodes[net->n];
    *node = (struct export_node){.name = layer->name,
                                 .n_from = layer->n_x,
                                 .x = tensor_shape(&layer->x[0]),
                                 .y = tensor_shape(&layer->y)};
    for (int k = 0; k < layer->n_x; k++)
        node->from[k] = from[k] < 0 ? -1 : at[from[k]];
    TRY(node_read(node, layer, net->trained->params));
    at[i] = (int)net->n++;
    return STATUS_OK;
}

static enum status layers_add(struct export_net *net)
{
    size_t n = model_n_layers(net->trained->model);
    int *at = NULL;
    TRY(memory_alloc(&net->nodes, n, sizeof *net->nodes, "nodes"));
    TRY(memory_alloc(&net->folded, 2 * n, sizeof *net->folded, "nodes"));
    TRY(memory_alloc(&at, n, sizeof *at, "nodes"));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        status = layer_add(net, i, at);
    free(at);
    TRY(status);
    CHECK(net->n > 0, STATUS_USAGE, "the network has no layer that does anything");
    return STATUS_OK;
}

static enum status weights_check(const struct trained *trained)
{
    for (size_t t = 0; t < trained->n_list; t++) {
        const struct param *param = trained->list[t].param;
        for (size_t i = 0; i < param->count; i++)
            CHECK(isfinite(trained->params[param->offset + i]), STATUS_DATA,
                  "checkpoint %s: number %zu of '%s' is not finite: nothing to export",
                  checkpoint_path(trained->checkpoint), i, trained->list[t].name);
    }
    return STATUS_OK;
}

// ---- preprocessing

struct probe {
    const struct trained *trained;
    size_t count;
    void *raw;            // (count) uint8 or float
    float *out, *scratch; // (count), as transforms want
};

// Sample of values a + b (i / c % 3), i / c the position.
static void probe_run(struct probe *p, double a, double b)
{
    for (size_t i = 0; i < p->count; i++) {
        double v = a + b * (double)(i / p->trained->input.c % 3);
        if (p->trained->is_u8)
            ((uint8_t *)p->raw)[i] = (uint8_t)v;
        else
            ((float *)p->raw)[i] = (float)v;
    }
    transforms_apply(p->trained->transforms, p->raw, p->trained->is_u8, false, 0, 0, 0, p->out,
                     p->scratch);
}

// Is what the transforms do to a sample a factor and an offset for each channel? Found by trying.
static enum status affine_find(struct export_net *net, struct probe *p)
{
    const size_t c = net->input.c;
    const double high = p->trained->is_u8 ? 255 : 1;
    probe_run(p, 0, 0);
    memcpy(net->shift, p->out, c * sizeof *net->shift);
    probe_run(p, high, 0);
    for (size_t k = 0; k < c; k++)
        net->scale[k] = (float)(((double)p->out[k] - (double)net->shift[k]) / high);
    for (int run = 0; run < 2; run++) {
        const double a = run ? 0 : high, b = run ? high / 5 : -high / 3;
        probe_run(p, a, b);
        for (size_t i = 0; i < p->count; i++) {
            double raw = a + b * (double)(i / c % 3), scale = (double)net->scale[i % c];
            double want = raw * scale + (double)net->shift[i % c];
            CHECK(fabs((double)p->out[i] - want) <= 1e-5 * (1 + fabs(want) + fabs(high * scale)),
                  STATUS_USAGE,
                  "preprocessing that is not a factor and an offset for each channel cannot be "
                  "exported: sample element %zu of %g becomes %g, not %g",
                  i, raw, (double)p->out[i], want);
        }
    }
    return STATUS_OK;
}

static enum status preprocessing_read(struct export_net *net)
{
    const struct trained *t = net->trained;
    struct probe p = {.trained = t, .count = export_shape_count(net->input)};
    enum status status = memory_alloc(&p.raw, p.count, sizeof(float), "preprocessing");
    if (status == STATUS_OK)
        status = memory_alloc(&p.out, p.count, sizeof(float), "preprocessing");
    if (status == STATUS_OK)
        status = memory_alloc(&p.scratch, transforms_scratch(t->transforms), sizeof(float),
                              "preprocessing");
    if (status == STATUS_OK)
        status = memory_alloc(&net->scale, net->input.c, sizeof(float), "preprocessing");
    if (status == STATUS_OK)
        status = memory_alloc(&net->shift, net->input.c, sizeof(float), "preprocessing");
    if (status == STATUS_OK)
        status = affine_find(net, &p);
    free(p.raw);
    free(p.out);
    free(p.scratch);
    return status;
}

static enum status net_make(struct export_net *net, const struct export_config *config)
{
    const struct trained *t = net->trained;
    net->input = (struct shape){t->input.h, t->input.w, t->input.c};
    const char *name = config->name && config->name[0] ? config->name : t->recipe.name;
    export_identifier(net->name, name, "net_");
    TRY(weights_check(t));
    TRY(layers_add(net));
    export_net_name(net);
    if (config->folds_norms)
        TRY(export_net_fold(net));
    if (t->recipe.train.precision == TRAIN_PRECISION_BF16)
        log_warn("trained with precision: bf16: the exported network computes in fp32, so its "
                 "scores differ in the third digit");
    return config->prepares ? preprocessing_read(net) : STATUS_OK;
}

enum status export_net_open(struct export_net *net, const struct trained *trained,
                            const struct export_config *config)
{
    *net = (struct export_net){.trained = trained};
    enum status status = net_make(net, config);
    if (status != STATUS_OK)
        export_net_close(net);
    return status;
}

void export_net_close(struct export_net *net)
{
    for (size_t i = 0; i < net->n_folded; i++)
        free(net->folded[i]);
    free(net->folded);
    free(net->nodes);
    free(net->scale);
    free(net->shift);
    *net = (struct export_net){0};
}
