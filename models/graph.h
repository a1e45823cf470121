// SPDX-License-Identifier: MIT
// The planned graph: layers in topological order, which tensors share memory, who writes which
// gradient first, and the plan of all memory. Private to models/: model.c runs it.
//
// Tensors are numbered as the layers that make them, plus one: tensor 0 is the model's input.
// Several tensors may share a root: a fused ReLU's output is its producer's, a flatten's may be its
// input.
#ifndef SW2_MODELS_GRAPH_H
#define SW2_MODELS_GRAPH_H

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

struct graph_buffer {   // memory of gradients of activations, reused as backward goes
    struct tensor view; // geometry; at is set when bound
    int users;
};

struct graph {
    struct network network;
    struct layer *layers;
    bool *is_skipped; // fused or aliased: neither forward nor backward
    bool *has_backward;
    struct graph_tensor *tensors; // network.n + 1
    struct graph_buffer *buffers;
    size_t n_buffers;
    size_t grain;
    float *activations, *gradients, *keep; // owned
    size_t activation_floats, gradient_floats, keep_floats;
    float *work; // within keep
};

enum status graph_init(struct graph *graph, const struct model_config *config);
void graph_free(struct graph *graph);
// Stages of graph_init, in graph.c and graph_memory.c.
enum status graph_shape(struct graph *graph, const struct model_config *config);
void graph_share(struct graph *graph); // fuses ReLU, aliases flatten, collects halos
enum status graph_gradients(struct graph *graph, bool input_gradient); // buffers and dx_beta
enum status graph_bind(struct graph *graph, bool is_plan); // allocates and sets every view

static inline struct graph_tensor *graph_root(const struct graph *graph, int tensor)
{
    while (graph->tensors[tensor].root != tensor)
        tensor = graph->tensors[tensor].root;
    return &graph->tensors[tensor];
}

#endif
