// SPDX-License-Identifier: MIT
// The graph's plan of memory: which gradient buffer each tensor uses and when, who writes it first
// (dx_beta), and the offsets of all activations, gradients, keeps and the shared work area.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/graph.h"

static int x_root(const struct graph *graph, size_t layer, int k)
{
    return graph_root(graph, graph->network.nodes[layer].from[k] + 1)->root;
}

static bool reads(const struct graph *graph, size_t layer, int root)
{
    for (int k = 0; !graph->is_skipped[layer] && k < graph->layers[layer].n_x; k++)
        if (x_root(graph, layer, k) == root)
            return true;
    return false;
}

// Is layer the last (in forward order) to read the root: the first to write its gradient?
static bool is_first_writer(const struct graph *graph, size_t layer, int root)
{
    for (size_t j = layer + 1; j < graph->network.n; j++)
        if (reads(graph, j, root))
            return false;
    return true;
}

static bool is_trained(const struct layer *layer)
{
    for (int i = 0; i < layer->n_params; i++)
        if (layer->param[i].kind == PARAM_WEIGHT || layer->param[i].kind == PARAM_BIAS)
            return true;
    return false;
}

static void wants_mark(struct graph *graph, bool input_gradient)
{
    graph->tensors[0].wants_gradient = input_gradient;
    for (size_t i = 0; i < graph->network.n; i++) {
        bool wants = is_trained(&graph->layers[i]);
        for (int k = 0; k < graph->layers[i].n_x; k++)
            wants = wants || graph->tensors[graph->network.nodes[i].from[k] + 1].wants_gradient;
        graph->tensors[i + 1].wants_gradient = wants;
        graph->has_backward[i] = wants && !graph->is_skipped[i];
    }
}

static struct tensor gradient_view(const struct graph *graph, int root)
{
    const struct graph_tensor *t = &graph->tensors[root];
    return tensor_of(graph->grain, t->shape, t->gradient_halo_h, t->gradient_halo_w);
}

static bool view_same(const struct tensor *a, const struct tensor *b)
{
    return a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c && a->halo_h == b->halo_h &&
           a->halo_w == b->halo_w;
}

// Takes a free buffer of exactly this geometry (its halo is still zero), or makes one.
static int buffer_take(struct graph *graph, int root)
{
    struct tensor view = gradient_view(graph, root);
    for (size_t i = 0; i < graph->n_buffers; i++)
        if (graph->buffers[i].users == 0 && view_same(&graph->buffers[i].view, &view)) {
            graph->buffers[i].users = 1;
            return (int)i;
        }
    graph->buffers[graph->n_buffers] = (struct graph_buffer){view, 1};
    return (int)graph->n_buffers++;
}

// The lowest layer that changes the gradient of `root` in place after `adder` shared it, as an
// index in forward order: readers other than adder add to it, and a fused ReLU of its producer
// masks it. All of them run in backward after every layer with a higher index.
static int highest_mutator(const struct graph *graph, size_t adder, int root)
{
    int highest = -1;
    for (size_t j = 0; j < adder; j++)
        if (reads(graph, j, root))
            highest = (int)j;
    if (root > 0 && graph->layers[root - 1].relu && graph->layers[root - 1].ops->mutates_dy &&
        root - 1 > highest)
        highest = root - 1;
    return highest;
}

// May the gradient of x[k] of an add be the very buffer of its dy? Only if nobody changes that
// buffer while another input still has to read it: every input's mutators run after the other
// inputs' producers.
static bool add_can_share(const struct graph *graph, size_t adder, int k)
{
    const struct layer *layer = &graph->layers[adder];
    int root = x_root(graph, adder, k);
    struct tensor view = gradient_view(graph, root), own = gradient_view(graph, (int)adder + 1);
    if (root == 0 || strcmp(layer->ops->name, "add") != 0 || !view_same(&view, &own))
        return false;
    for (int other = 0; other < layer->n_x; other++) {
        int peer = x_root(graph, adder, other);
        if (other == k)
            continue;
        if (peer == root || (peer == 0 && graph->tensors[0].wants_gradient))
            return false;
        if (highest_mutator(graph, adder, root) >= peer - 1 ||
            highest_mutator(graph, adder, peer) >= root - 1)
            return false;
    }
    return true;
}

static void inputs_assign(struct graph *graph, size_t i)
{
    struct layer *layer = &graph->layers[i];
    for (int k = 0; k < layer->n_x; k++) {
        struct graph_tensor *x = &graph->tensors[x_root(graph, i, k)];
        if (!x->wants_gradient)
            continue;
        layer->dx_beta[k] = x->gradient >= 0 ? 1.0f : 0.0f;
        if (x->gradient >= 0)
            continue;
        ASSERT(is_first_writer(graph, i, x->root));
        if (add_can_share(graph, i, k)) {
            x->gradient = graph->tensors[i + 1].gradient;
            graph->buffers[x->gradient].users++;
        } else {
            x->gradient = buffer_take(graph, x->root);
        }
    }
}

enum status graph_gradients(struct graph *graph, bool input_gradient)
{
    size_t n = graph->network.n;
    TRY(memory_alloc(&graph->buffers, n + 1, sizeof *graph->buffers, "gradient buffers"));
    wants_mark(graph, input_gradient);
    struct graph_tensor *output = graph_root(graph, (int)n);
    output->gradient = buffer_take(graph, output->root);
    for (size_t i = n; i-- > 0;) {
        if (!graph->has_backward[i])
            continue;
        inputs_assign(graph, i);
        graph->buffers[graph->tensors[i + 1].gradient].users--;
    }
    return STATUS_OK;
}

static size_t align(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

// Values of tensor t at its root's memory, seen in t's own shape.
static struct tensor value_view(const struct graph *graph, int t, const size_t *offset)
{
    const struct graph_tensor *root = graph_root(graph, t);
    struct tensor view =
        tensor_of(graph->grain, graph->tensors[t].shape, root->halo_h, root->halo_w);
    view.at = graph->activations + offset[root->root] + tensor_origin(&view);
    return view;
}

static struct tensor dx_view(const struct graph *graph, int t)
{
    const struct graph_tensor *root = graph_root(graph, t);
    struct tensor view = tensor_of(graph->grain, graph->tensors[t].shape, root->gradient_halo_h,
                                   root->gradient_halo_w);
    if (root->gradient >= 0)
        view.at = graph->buffers[root->gradient].view.at;
    return view;
}

static void views_set(struct graph *graph, const size_t *offset)
{
    size_t keep = 0;
    for (size_t i = 0; i < graph->network.n; i++) {
        struct layer *layer = &graph->layers[i];
        layer->y = value_view(graph, (int)i + 1, offset);
        layer->dy = dx_view(graph, (int)i + 1);
        for (int k = 0; k < layer->n_x; k++) {
            int x = graph->network.nodes[i].from[k] + 1;
            layer->x[k] = value_view(graph, x, offset);
            layer->dx[k] = dx_view(graph, x);
            if (!graph->has_backward[i])
                layer->dx[k].at = NULL;
        }
        layer->keep = graph->keep + keep;
        layer->work = graph->work;
        keep += align(layer->keep_floats);
    }
}

static void offsets_plan(struct graph *graph, size_t *offset)
{
    for (size_t t = 0; t <= graph->network.n; t++) {
        if (graph->tensors[t].root != (int)t)
            continue;
        struct tensor view = tensor_of(graph->grain, graph->tensors[t].shape,
                                       graph->tensors[t].halo_h, graph->tensors[t].halo_w);
        offset[t] = graph->activation_floats;
        graph->activation_floats += align(tensor_floats(&view));
    }
    for (size_t i = 0; i < graph->n_buffers; i++)
        graph->gradient_floats += align(tensor_floats(&graph->buffers[i].view));
}

static enum status memory_take(struct graph *graph)
{
    TRY(memory_alloc(&graph->activations, graph->activation_floats, sizeof(float), "activations"));
    TRY(memory_alloc(&graph->gradients, graph->gradient_floats, sizeof(float),
                     "gradients of activations"));
    return memory_alloc(&graph->keep, graph->keep_floats, sizeof(float), "layers' memory");
}

static void buffers_set(struct graph *graph)
{
    size_t at = 0;
    for (size_t i = 0; i < graph->n_buffers; i++) {
        struct tensor *view = &graph->buffers[i].view;
        view->at = graph->gradients + at + tensor_origin(view);
        at += align(tensor_floats(view));
    }
}

enum status graph_bind(struct graph *graph, bool is_plan)
{
    size_t *offset, work = 0, keep = 0;
    TRY(memory_alloc(&offset, graph->network.n + 1, sizeof *offset, "memory plan"));
    offsets_plan(graph, offset);
    for (size_t i = 0; i < graph->network.n; i++) {
        keep += align(graph->layers[i].keep_floats);
        work = graph->layers[i].work_floats > work ? align(graph->layers[i].work_floats) : work;
    }
    graph->keep_floats = keep + work;
    enum status status = is_plan ? STATUS_OK : memory_take(graph);
    if (status == STATUS_OK && !is_plan) {
        buffers_set(graph);
        graph->work = graph->keep + keep;
        views_set(graph, offset);
    }
    free(offset);
    return status;
}
