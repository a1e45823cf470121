// SPDX-License-Identifier: MIT
// The graph's memory: which gradient buffer each tensor uses, who writes it first (dx_beta), and
// the views of all activations, gradients, keeps and the shared work area. When tensors are alive,
// so what may lie on what, is graph_schedule.c's.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/graph.h"

static bool reads(const struct graph *graph, size_t layer, int root)
{
    for (int k = 0; !graph->is_skipped[layer] && k < graph->layers[layer].n_x; k++)
        if (graph_x_root(graph, layer, k) == root)
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

static int buffer_make(struct graph *graph, int root, size_t writer)
{
    graph->buffers[graph->n_buffers] = (struct graph_buffer){gradient_view(graph, root), writer};
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
    int root = graph_x_root(graph, adder, k);
    struct tensor view = gradient_view(graph, root), own = gradient_view(graph, (int)adder + 1);
    if (root == 0 || strcmp(layer->ops->name, "add") != 0 || !view_same(&view, &own) ||
        graph_is_kept(graph, root) || graph_is_kept(graph, (int)adder + 1))
        return false;
    for (int other = 0; other < layer->n_x; other++) {
        int peer = graph_x_root(graph, adder, other);
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
        struct graph_tensor *x = &graph->tensors[graph_x_root(graph, i, k)];
        if (!x->wants_gradient)
            continue;
        layer->dx_beta[k] = x->gradient >= 0 ? 1.0f : 0.0f;
        if (x->gradient >= 0)
            continue;
        ASSERT(is_first_writer(graph, i, x->root));
        if (add_can_share(graph, i, k)) {
            x->gradient = graph->tensors[i + 1].gradient;
        } else {
            x->gradient = buffer_make(graph, x->root, i);
        }
    }
}

enum status graph_gradients(struct graph *graph, bool input_gradient)
{
    size_t n = graph->network.n;
    TRY(memory_alloc(&graph->buffers, n + 1, sizeof *graph->buffers, "gradient buffers"));
    wants_mark(graph, input_gradient);
    struct graph_tensor *output = graph_root(graph, (int)n);
    output->gradient = buffer_make(graph, output->root, n);
    for (size_t i = n; i-- > 0;)
        if (graph->has_backward[i])
            inputs_assign(graph, i);
    return STATUS_OK;
}

static size_t align(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

// Values of tensor t at its root's memory, seen in t's own shape.
static struct tensor value_view(const struct graph *graph, int t)
{
    const struct graph_tensor *root = graph_root(graph, t);
    struct tensor view =
        tensor_of(graph->grain, graph->tensors[t].shape, root->halo_h, root->halo_w);
    view.at = graph->activations + graph->values[root->root].offset + tensor_origin(&view);
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

static void views_set(struct graph *graph)
{
    size_t keep = 0;
    for (size_t b = 0; b < graph->n_buffers; b++) {
        struct tensor *view = &graph->buffers[b].view;
        view->at = graph->gradients + graph->slopes[b].offset + tensor_origin(view);
    }
    for (size_t i = 0; i < graph->network.n; i++) {
        struct layer *layer = &graph->layers[i];
        layer->y = value_view(graph, (int)i + 1);
        layer->dy = dx_view(graph, (int)i + 1);
        for (int k = 0; k < layer->n_x; k++) {
            int x = graph->network.nodes[i].from[k] + 1;
            layer->x[k] = value_view(graph, layer->norm[k] ? graph_x_value(graph, i, k) : x);
            layer->dx[k] = dx_view(graph, x);
            bool is_made = !layer->norm[k] || !layer->norm[k]->pool;
            if (!graph->has_backward[i] || !is_made)
                layer->dx[k].at = NULL;
        }
        layer->keep = graph->keep + keep;
        layer->work = graph->work;
        keep += align(layer->keep_floats);
    }
}

static enum status memory_take(struct graph *graph)
{
    TRY(memory_alloc(&graph->activations, graph->activation_floats, sizeof(float), "activations"));
    TRY(memory_alloc(&graph->gradients, graph->gradient_floats, sizeof(float),
                     "gradients of activations"));
    return memory_alloc(&graph->keep, graph->keep_floats, sizeof(float), "layers' memory");
}

enum status graph_bind(struct graph *graph, bool is_plan)
{
    size_t work = 0, keep = 0;
    for (size_t i = 0; i < graph->network.n; i++) {
        keep += align(graph->layers[i].keep_floats);
        work = graph->layers[i].work_floats > work ? align(graph->layers[i].work_floats) : work;
    }
    graph->keep_floats = keep + work;
    if (is_plan)
        return STATUS_OK;
    TRY(memory_take(graph));
    graph->work = graph->keep + keep;
    views_set(graph);
    return STATUS_OK;
}

static void halo_clear(const struct tensor *t, size_t n)
{
    const size_t edge = t->halo_w * t->c, rows = t->h + 2 * t->halo_h;
    for (size_t i = 0; i < n; i++) {
        float *image = t->at - tensor_origin(t) + i * t->image;
        for (size_t h = 0; h < rows; h++) {
            float *row = image + h * t->row;
            if (h < t->halo_h || h >= t->halo_h + t->h) {
                memset(row, 0, t->row * sizeof *row);
            } else {
                memset(row, 0, edge * sizeof *row);
                memset(row + t->row - edge, 0, edge * sizeof *row);
            }
        }
    }
}

void graph_clear_value(const struct graph *graph, int root, size_t n)
{
    const struct graph_tensor *t = &graph->tensors[root];
    if (!graph->values[root].is_shared || t->halo_h + t->halo_w == 0)
        return;
    struct tensor view = value_view(graph, root);
    halo_clear(&view, n);
}

void graph_clear_gradients(const struct graph *graph, size_t layer, size_t n)
{
    for (int k = 0; k < graph->layers[layer].n_x; k++) {
        int b = graph->tensors[graph_x_root(graph, layer, k)].gradient;
        if (b >= 0 && graph->buffers[b].writer == layer && graph->slopes[b].is_shared &&
            !tensor_is_dense(&graph->buffers[b].view))
            halo_clear(&graph->buffers[b].view, n);
    }
}
