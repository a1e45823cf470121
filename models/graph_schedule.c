// SPDX-License-Identifier: MIT
// The order of a training pass, and from it the life of every tensor: forward of all layers, the
// loss, then backward, where stretches of layers may run forward again first (recompute). Times:
// layer i's forward is i, the loss is network.n, step k after it is network.n + 1 + k.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/graph.h"

// Roots whose values layer i's backward reads.
void graph_mark_reads(const struct graph *graph, size_t i, bool *is_read)
{
    const struct layer *layer = &graph->layers[i];
    const unsigned spares = layer->ops->spares;
    for (int k = 0; !(spares & SPARES_X) && k < layer->n_x; k++)
        is_read[graph_x_value(graph, i, k)] = true;
    for (int k = 0; k < layer->n_x; k++)
        if (layer->norm[k]) // its sums are the add's
            is_read[graph_x_value(graph, i, k)] = true;
    if (layer->pool)
        is_read[layer->pool->index + 1] = true;
    bool reads_mask = layer->relu && !(spares & SPARES_MASK) && !layer->is_pooled;
    if (!(spares & SPARES_Y) || reads_mask)
        is_read[i + 1] = true;
}

// Layers from first to last - 1 run again as far as their backward needs it.
static void again_add(struct graph *graph, size_t first, size_t last, const bool *is_kept,
                      bool *is_needed)
{
    memset(is_needed, 0, (graph->network.n + 1) * sizeof *is_needed);
    for (size_t i = first; i < last; i++)
        if (graph->has_backward[i])
            graph_mark_reads(graph, i, is_needed);
    for (size_t i = last; i-- > first;)
        for (int k = 0; is_needed[i + 1] && !is_kept[i + 1] && k < graph->layers[i].n_x; k++)
            is_needed[graph_x_value(graph, i, k)] = true;
    for (size_t i = first; i < last; i++)
        if (is_needed[i + 1] && !is_kept[i + 1] && !graph->is_skipped[i])
            graph->steps[graph->n_steps++] = (struct graph_step){i, true};
}

// Kept: the input, and what a later stretch reads.
static void kept_mark(const struct graph *graph, const size_t *cuts, size_t n, bool *is_kept)
{
    is_kept[0] = true;
    for (size_t s = 0; s < n; s++)
        for (size_t i = cuts[s]; i < cuts[s + 1]; i++)
            for (int k = 0; !graph->is_skipped[i] && k < graph->layers[i].n_x; k++) {
                int x = graph_x_value(graph, i, k);
                is_kept[x] = is_kept[x] || (size_t)x <= cuts[s];
            }
}

static void steps_make(struct graph *graph, const size_t *cuts, size_t n, bool *is_kept,
                       bool *is_needed)
{
    kept_mark(graph, cuts, n, is_kept);
    graph->n_steps = 0;
    for (size_t s = n; s-- > 0;) {
        if (s < n - 1)
            again_add(graph, cuts[s], cuts[s + 1], is_kept, is_needed);
        for (size_t i = cuts[s + 1]; i-- > cuts[s];)
            if (graph->has_backward[i])
                graph->steps[graph->n_steps++] = (struct graph_step){i, false};
    }
}

static void forward_trace(struct graph *graph, size_t i, size_t time)
{
    for (int k = 0; k < graph->layers[i].n_x; k++)
        arena_use(&graph->values[graph_x_value(graph, i, k)], time);
    arena_begin(&graph->values[i + 1], time);
}

static void values_trace(struct graph *graph, bool *is_read)
{
    const size_t n = graph->network.n;
    for (size_t t = 0; t <= n; t++) {
        struct tensor view = tensor_of(graph->grain, graph->tensors[t].shape,
                                       graph->tensors[t].halo_h, graph->tensors[t].halo_w);
        bool is_made = t == 0 || !graph->layers[t - 1].is_deferred;
        graph->values[t] = (struct arena_item){.floats = is_made ? tensor_floats(&view) : 0};
    }
    arena_begin(&graph->values[0], 0);
    for (size_t i = 0; i < n; i++)
        if (!graph->is_skipped[i])
            forward_trace(graph, i, i);
    for (size_t k = 0; k < graph->n_steps; k++) {
        const struct graph_step *step = &graph->steps[k];
        if (step->is_again) {
            forward_trace(graph, step->layer, n + 1 + k);
            continue;
        }
        memset(is_read, 0, (n + 1) * sizeof *is_read);
        graph_mark_reads(graph, step->layer, is_read);
        for (size_t t = 0; t <= n; t++)
            if (is_read[t])
                arena_use(&graph->values[t], n + 1 + k);
    }
    // The loss reads the output, and so may the caller, after all.
    arena_use(&graph->values[graph_root(graph, (int)n)->root], n + 1 + graph->n_steps);
    if (graph->kept >= 0)
        arena_use(&graph->values[graph_root(graph, graph->kept + 1)->root], n + 1 + graph->n_steps);
}

static enum status steps_place(struct graph *graph, const size_t *cuts, size_t n, bool *marks)
{
    steps_make(graph, cuts, n, marks, marks + graph->network.n + 1);
    values_trace(graph, marks);
    return arena_place(graph->values, graph->network.n + 1, &graph->activation_floats);
}

enum status graph_steps(struct graph *graph, const size_t *cuts, size_t n)
{
    bool *marks;
    TRY(memory_alloc(&marks, 2 * (graph->network.n + 1), sizeof *marks, "memory plan"));
    enum status status = steps_place(graph, cuts, n, marks);
    free(marks);
    return status;
}

static void slope_use(struct arena_item *item, size_t time)
{
    if (item->n_spans == 0)
        arena_begin(item, time);
    else
        arena_use(item, time);
}

static enum status slopes_place(struct graph *graph)
{
    const size_t n = graph->network.n, end = n + 1 + graph->n_steps;
    for (size_t b = 0; b < graph->n_buffers; b++)
        graph->slopes[b] = (struct arena_item){.floats = tensor_floats(&graph->buffers[b].view)};
    for (size_t i = 0; i < n; i++)
        if (graph->layers[i].pool && graph->tensors[i + 1].gradient >= 0) // never made
            graph->slopes[graph->tensors[i + 1].gradient].floats = 0;
    struct arena_item *output = &graph->slopes[graph_root(graph, (int)n)->gradient];
    bool has_halo = !tensor_is_dense(&graph->buffers[output - graph->slopes].view);
    arena_begin(output, has_halo ? 0 : n); // the loss clears no halo
    for (size_t k = 0; k < graph->n_steps; k++) {
        const size_t i = graph->steps[k].layer, time = n + 1 + k;
        if (graph->steps[k].is_again)
            continue;
        slope_use(&graph->slopes[graph->tensors[i + 1].gradient], time);
        if (graph->layers[i].pool)
            slope_use(&graph->slopes[graph->tensors[graph->layers[i].pool->index + 1].gradient],
                      time);
        for (int x = 0; x < graph->layers[i].n_x; x++) {
            int b = graph->tensors[graph_x_root(graph, i, x)].gradient;
            if (b >= 0)
                slope_use(&graph->slopes[b], time);
        }
    }
    if (has_halo)
        arena_use(output, end);
    if (graph->tensors[0].gradient >= 0) // for the caller
        arena_use(&graph->slopes[graph->tensors[0].gradient], end);
    if (graph->kept >= 0 && graph_root(graph, graph->kept + 1)->gradient >= 0)
        arena_use(&graph->slopes[graph_root(graph, graph->kept + 1)->gradient], end);
    return arena_place(graph->slopes, graph->n_buffers, &graph->gradient_floats);
}

enum status graph_schedule(struct graph *graph, bool recompute)
{
    const size_t n = graph->network.n;
    TRY(memory_alloc(&graph->steps, 2 * n, sizeof *graph->steps, "schedule"));
    TRY(memory_alloc(&graph->values, n + 1, sizeof *graph->values, "memory plan"));
    TRY(memory_alloc(&graph->slopes, graph->n_buffers, sizeof *graph->slopes, "memory plan"));
    TRY(graph_steps(graph, (const size_t[]){0, n}, 1));
    if (recompute)
        TRY(graph_recompute(graph));
    return slopes_place(graph);
}
