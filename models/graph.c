// SPDX-License-Identifier: MIT
// Builds the graph: reads options, infers shapes, decides what is fused and what shares memory.
#include "models/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/layers/window.h"

static enum status layer_read(struct layer *layer, const struct network_node *node, int index,
                              const struct model_config *config)
{
    struct yaml *yaml = config->yaml;
    *layer = (struct layer){.ops = node->ops,
                            .name = node->name,
                            .line = node->line,
                            .index = index,
                            .mode = {config->mode.winograd, config->mode.bf16},
                            .n_x = node->n_from};
    char where[96];
    snprintf(where, sizeof where, "layer %s", node->ops->name);
    layer->args = yaml_memory_get(yaml, node->ops->args_size + 1);
    return options_read(yaml, node->args, node->ops->options, node->ops->n_options, where,
                        layer->args);
}

static enum status node_shape(struct graph *graph, const struct model_config *config, int i)
{
    struct layer *layer = &graph->layers[i];
    const struct network_node *node = &graph->network.nodes[i];
    TRY(layer_read(layer, node, i, config));
    for (int k = 0; k < node->n_from; k++)
        layer->x[k] = tensor_of(graph->grain, graph->tensors[node->from[k] + 1].shape, 0, 0);
    TRY(layer->ops->shape(layer));
    ASSERT(layer->y.h > 0 && layer->y.w > 0 && layer->y.c > 0);
    ASSERT(layer->n_params <= LAYER_PARAMS_MAX);
    struct graph_tensor *y = &graph->tensors[i + 1];
    *y = (struct graph_tensor){.root = i + 1,
                               .shape = tensor_shape(&layer->y),
                               .gradient = -1,
                               .gradient_halo_h = layer->dy_halo_h,
                               .gradient_halo_w = layer->dy_halo_w};
    return STATUS_OK;
}

// A dense layer takes vectors: an image before it is flattened, as if the recipe said so.
static enum status flatten_imply(struct network *network, struct yaml *yaml, size_t dense)
{
    const struct network_node copy = network->nodes[dense];
    int number;
    TRY(network_append(network, yaml, layer_ops_find("flatten"), copy.line, NULL, copy.from, 1,
                       &number));
    struct network_node flatten = network->nodes[number];
    flatten.is_head = copy.is_head;
    for (size_t i = (size_t)number; i > dense; i--)
        network->nodes[i] = network->nodes[i - 1];
    network->nodes[dense] = flatten;
    for (size_t i = dense + 1; i < network->n; i++)
        for (int k = 0; k < network->nodes[i].n_from; k++)
            if (network->nodes[i].from[k] >= (int)dense)
                network->nodes[i].from[k]++;
    network->nodes[dense + 1].from[0] = (int)dense;
    return STATUS_OK;
}

static enum status arrays_grow(struct graph *graph, size_t *capacity)
{
    if (graph->network.n <= *capacity)
        return STATUS_OK;
    size_t n = graph->network.n + 64;
    void *layers = realloc(graph->layers, n * sizeof *graph->layers);
    graph->layers = layers ? layers : graph->layers;
    void *tensors = realloc(graph->tensors, (n + 1) * sizeof *graph->tensors);
    graph->tensors = tensors ? tensors : graph->tensors;
    CHECK(layers && tensors, STATUS_ERROR, "out of memory: %zu layers", n);
    memset(graph->layers + *capacity, 0, (n - *capacity) * sizeof *graph->layers);
    *capacity = n;
    return STATUS_OK;
}

enum status graph_shape(struct graph *graph, const struct model_config *config)
{
    size_t capacity = 0;
    const struct layer_ops *dense = layer_ops_find("dense");
    TRY(arrays_grow(graph, &capacity));
    graph->tensors[0] = (struct graph_tensor){.shape = config->input, .gradient = -1};
    for (size_t i = 0; i < graph->network.n; i++) {
        const struct network_node *node = &graph->network.nodes[i];
        struct shape x = graph->tensors[node->from[0] + 1].shape;
        if (node->ops == dense && x.h * x.w > 1) {
            TRY(flatten_imply(&graph->network, config->yaml, i));
            TRY(arrays_grow(graph, &capacity));
        }
        TRY(node_shape(graph, config, (int)i));
    }
    size_t n = graph->network.n;
    TRY(memory_alloc(&graph->is_skipped, n, sizeof(bool), "layers"));
    return memory_alloc(&graph->has_backward, n, sizeof(bool), "layers");
}

// How many layers (not skipped) read this tensor or one that shares its memory.
static size_t readers_count(const struct graph *graph, int root)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->network.n; i++)
        for (int k = 0; !graph->is_skipped[i] && k < graph->layers[i].n_x; k++)
            count += graph_root(graph, graph->network.nodes[i].from[k] + 1)->root == root;
    return count;
}

// A ReLU that is the only reader of a layer able to do it becomes part of that layer.
static void relu_fuse(struct graph *graph, size_t i)
{
    int x = graph->network.nodes[i].from[0] + 1;
    int root = graph_root(graph, x)->root;
    if (x == 0 || root != x || readers_count(graph, root) != 1)
        return;
    if (graph->kept == (int)i || graph->kept == x - 1)
        return;
    struct layer *producer = &graph->layers[x - 1];
    if (graph->is_skipped[x - 1] || producer->relu || !producer->ops->fuses_relu ||
        !producer->ops->fuses_relu(producer))
        return;
    producer->relu = true;
    graph->is_skipped[i] = true;
    graph->tensors[i + 1].root = root;
}

// A batch-norm whose only reader is an add of two leaves its last pass to the add, which then reads
// the norm's own x and makes relu(norm(x) + shortcut) at once.
static void norm_defer(struct graph *graph, size_t adder)
{
    struct layer *add = &graph->layers[adder];
    for (int k = 0; add->n_x == 2 && k < 2; k++) {
        int root = graph_x_root(graph, adder, k);
        struct layer *norm = root > 0 ? &graph->layers[root - 1] : NULL;
        if (!norm || norm->ops != layer_ops_find("batchnorm") || norm->relu ||
            readers_count(graph, root) != 1 || graph_is_kept(graph, root))
            continue;
        norm->is_deferred = true;
        add->norm[k] = norm;
    }
}

// A batch-norm whose only reader is a max-pool is computed within the pool's windows. Its backward
// reads the pool's dy, so none may run between the two.
static void norm_pool(struct graph *graph, size_t pool)
{
    int root = graph_x_root(graph, pool, 0);
    struct layer *layer = &graph->layers[pool], *norm = root > 0 ? &graph->layers[root - 1] : NULL;
    if (!norm || norm->ops != layer_ops_find("batchnorm") || readers_count(graph, root) != 1 ||
        graph_is_kept(graph, root))
        return;
    for (size_t i = (size_t)root; i < pool; i++)
        if (!graph->is_skipped[i])
            return;
    struct rows_window window = pool_window(layer);
    norm->work_floats += rows_pool_norm_floats(&window, graph->tensors[root].shape);
    norm->is_deferred = true;
    norm->pool = layer;
    layer->norm[0] = norm;
}

// A max-pool that alone reads a convolution with ReLU, and whose dy it may mask: no add shares it.
static void pool_source(struct graph *graph, size_t pool)
{
    int root = graph_x_root(graph, pool, 0), y = (int)pool + 1;
    struct layer *source = root > 0 ? &graph->layers[root - 1] : NULL;
    if (!source || !source->ops->marks_laps || !source->relu || readers_count(graph, root) != 1 ||
        graph_is_kept(graph, y))
        return;
    for (size_t i = pool + 1; i < graph->network.n; i++)
        for (int k = 0; k < graph->layers[i].n_x; k++)
            if (graph->layers[i].ops == layer_ops_find("add") && graph_x_root(graph, i, k) == y)
                return;
    graph->layers[pool].source = source;
    source->is_pooled = true;
}

int graph_x_value(const struct graph *graph, size_t layer, int k)
{
    int root = graph_x_root(graph, layer, k);
    while (root > 0 && graph->layers[root - 1].is_deferred)
        root = graph_x_root(graph, (size_t)root - 1, 0);
    return root;
}

static void halos_collect(struct graph *graph)
{
    for (size_t i = 0; i < graph->network.n; i++)
        for (int k = 0; !graph->is_skipped[i] && k < graph->layers[i].n_x; k++) {
            struct graph_tensor *x = graph_root(graph, graph->network.nodes[i].from[k] + 1);
            const struct layer *layer = &graph->layers[i];
            x->halo_h = layer->x_halo_h[k] > x->halo_h ? layer->x_halo_h[k] : x->halo_h;
            x->halo_w = layer->x_halo_w[k] > x->halo_w ? layer->x_halo_w[k] : x->halo_w;
        }
}

// A flatten of memory without a halo changes nothing but the shape.
static void flatten_alias(struct graph *graph, size_t i)
{
    int x = graph->network.nodes[i].from[0] + 1;
    const struct graph_tensor *root = graph_root(graph, x);
    if (root->root == 0 || root->halo_h + root->halo_w > 0 ||
        root->gradient_halo_h + root->gradient_halo_w > 0)
        return;
    graph->is_skipped[i] = true;
    graph->tensors[i + 1].root = root->root;
}

void graph_share(struct graph *graph)
{
    const struct layer_ops *relu = layer_ops_find("relu"), *flatten = layer_ops_find("flatten");
    const struct layer_ops *add = layer_ops_find("add"), *maxpool = layer_ops_find("maxpool");
    for (size_t i = 0; i < graph->network.n; i++)
        if (graph->layers[i].ops == relu)
            relu_fuse(graph, i);
    for (size_t i = 0; i < graph->network.n; i++)
        if (graph->layers[i].ops == add)
            norm_defer(graph, i);
    for (size_t i = 0; i < graph->network.n; i++)
        if (graph->layers[i].ops == maxpool) {
            norm_pool(graph, i);
            pool_source(graph, i);
        }
    halos_collect(graph);
    for (size_t i = 0; i < graph->network.n; i++)
        if (graph->layers[i].ops == flatten)
            flatten_alias(graph, i);
}

static enum status layers_plan(struct graph *graph)
{
    for (size_t i = 0; i < graph->network.n; i++)
        if (!graph->is_skipped[i] && graph->layers[i].ops->plan)
            TRY(graph->layers[i].ops->plan(&graph->layers[i]));
    return STATUS_OK;
}

enum status graph_init(struct graph *graph, const struct model_config *config)
{
    struct conv_mode mode = {config->mode.winograd, config->mode.bf16};
    *graph = (struct graph){.grain = config->grain};
    TRY(conv_mode_check(&mode));
    TRY(network_read(&graph->network, config->yaml, config->features, config->head));
    TRY(graph_shape(graph, config));
    TRY(graph_tune(graph, config));
    TRY(graph_keep(graph, config->keep));
    graph_share(graph);
    TRY(graph_gradients(graph, config->input_gradient));
    TRY(graph_schedule(graph, config->mode.recompute));
    TRY(graph_bind(graph, config->is_plan));
    return config->is_plan ? STATUS_OK : layers_plan(graph);
}

void graph_free(struct graph *graph)
{
    for (size_t i = 0; graph->layers && i < graph->network.n; i++)
        if (graph->layers[i].ops && graph->layers[i].ops->free)
            graph->layers[i].ops->free(&graph->layers[i]);
    network_free(&graph->network);
    free(graph->layers);
    free(graph->is_skipped);
    free(graph->has_backward);
    free(graph->tensors);
    free(graph->buffers);
    free(graph->steps);
    free(graph->values);
    free(graph->slopes);
    free(graph->activations);
    free(graph->gradients);
    free(graph->keep);
    *graph = (struct graph){0};
}
