// SPDX-License-Identifier: MIT
// The planned graph: layers in topological order, which tensors share memory, who writes which
// gradient first, and the plan of all memory. Private to models/: model.c runs it.
//
// Tensors are numbered as the layers that make them, plus one: tensor 0 is the model's input.
// Several tensors may share a root: a fused ReLU's output is its producer's, a flatten's may be its
// input.
#ifndef SW2_MODELS_GRAPH_H
#define SW2_MODELS_GRAPH_H

#include "models/arena.h"
#include "models/model.h"
#include "models/network.h"

struct graph_tensor {
    int root; // tensor whose memory this one uses (itself, usually)
    struct shape shape;
    size_t halo_h, halo_w; // of values; valid in roots
    size_t gradient_halo_h, gradient_halo_w;
    bool wants_gradient; // something trained lies before it
    int gradient;        // number of its gradient buffer, or -1
};

struct graph_buffer {   // memory of one or more gradients of activations
    struct tensor view; // geometry; at is set when bound
    size_t writer;      // the layer that writes it first; network.n: the loss
};

// After the loss: one layer's backward, or its forward again (recompute).
struct graph_step {
    size_t layer;
    bool is_again;
};

struct graph {
    struct network network;
    struct layer *layers;
    bool *is_skipped; // fused or aliased: neither forward nor backward
    bool *has_backward;
    struct graph_tensor *tensors; // network.n + 1
    struct graph_buffer *buffers;
    size_t n_buffers;
    struct graph_step *steps; // at most 2 network.n
    size_t n_steps;
    struct arena_item *values; // (network.n + 1), of roots: lifetimes and places
    struct arena_item *slopes; // (n_buffers): of gradients of activations
    size_t grain;
    int kept; // layer whose y and dy stay whole until backward is over; -1: none
    float *activations, *gradients, *keep; // owned
    size_t activation_floats, gradient_floats, keep_floats;
    float *work; // within keep
};

enum status graph_init(struct graph *graph, const struct model_config *config);
void graph_free(struct graph *graph);
// Stages of graph_init, in graph.c, graph_memory.c, graph_schedule.c and
// graph_recompute.c.
enum status graph_shape(struct graph *graph, const struct model_config *config);
enum status graph_keep(struct graph *graph, const char *name); // sets kept; see model_config.keep
void graph_share(struct graph *graph); // fuses ReLU and norms, aliases flatten, collects halos
enum status graph_gradients(struct graph *graph, bool input_gradient); // buffers and dx_beta
enum status graph_schedule(struct graph *graph, bool recompute);       // steps and lifetimes
enum status graph_tune(struct graph *graph, const struct model_config *config); // freezes layers
enum status graph_bind(struct graph *graph, bool is_plan); // allocates and sets every view

// The steps of a graph cut into stretches at cuts[0] = 0 < ... < cuts[n] = network.n: what
// stretches but the last need for backward is computed again from what is kept of the stretches
// before. Traces lifetimes and places values (activation_floats).
enum status graph_steps(struct graph *graph, const size_t *cuts, size_t n);
enum status graph_recompute(struct graph *graph); // chooses cuts that need little memory
void graph_mark_reads(const struct graph *graph, size_t layer, bool *is_read); // backward's roots
// Before a root tensor's values, or a layer's dx, are written for n samples: zeroes the halos that
// other tensors may have overwritten.
void graph_clear_value(const struct graph *graph, int root, size_t n);
void graph_clear_gradients(const struct graph *graph, size_t layer, size_t n);

static inline struct graph_tensor *graph_root(const struct graph *graph, int tensor)
{
    while (graph->tensors[tensor].root != tensor)
        tensor = graph->tensors[tensor].root;
    return &graph->tensors[tensor];
}
// Is the root's memory that of the kept layer's values and gradient?
static inline bool graph_is_kept(const struct graph *graph, int root)
{
    return graph->kept >= 0 && graph_root(graph, graph->kept + 1)->root == root;
}
int graph_x_value(const struct graph *graph, size_t layer, int k); // root whose values x[k] sees
static inline int graph_x_root(const struct graph *graph, size_t layer, int k)
{
    return graph_root(graph, graph->network.nodes[layer].from[k] + 1)->root;
}

#endif
