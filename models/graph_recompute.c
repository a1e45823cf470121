// SPDX-License-Identifier: MIT
// Recompute of activations (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"):
// where to cut the network into stretches of layers. Across a cut the values that later layers read
// are kept; within a stretch, what backward needs is computed again just before it. A rule on
// shapes alone, so every rank cuts alike.
//
// For a bound on what one stretch holds, dynamic programming over the layers finds the cuts that
// keep least; narrow points, as after a residual block, win by themselves. Of a series of bounds
// the one whose exact plan takes least memory is used.
#include <stdlib.h>

#include "comm/memory.h"
#include "models/graph.h"

#define BOUNDS 32 // each 2^(1/4) smaller than the one before: to a 256th of all
#define BOUND_STEP 0.8408964152537145

struct cutter {
    size_t n;
    double *held;   // (n + 1) floats that backward needs of layers 0 to i - 1
    double *across; // (n + 1) floats that are kept for a cut before layer i
    double *kept;   // (n + 1) least floats kept with a cut before layer i
    size_t *from;   // (n + 1) the cut before that one
    size_t *cuts;   // (n + 1)
    bool *is_read;  // (n + 1)
};

static void cutter_free(struct cutter *c)
{
    free(c->held);
    free(c->across);
    free(c->kept);
    free(c->from);
    free(c->cuts);
    free(c->is_read);
}

static enum status cutter_alloc(struct cutter *c)
{
    const size_t n = c->n + 1;
    TRY(memory_alloc(&c->held, n, sizeof *c->held, "memory plan"));
    TRY(memory_alloc(&c->across, n, sizeof *c->across, "memory plan"));
    TRY(memory_alloc(&c->kept, n, sizeof *c->kept, "memory plan"));
    TRY(memory_alloc(&c->from, n, sizeof *c->from, "memory plan"));
    TRY(memory_alloc(&c->cuts, n, sizeof *c->cuts, "memory plan"));
    return memory_alloc(&c->is_read, n, sizeof *c->is_read, "memory plan");
}

static void cutter_measure(struct cutter *c, const struct graph *graph)
{
    for (size_t i = 0; i < c->n; i++)
        if (graph->has_backward[i])
            graph_mark_reads(graph, i, c->is_read);
    for (size_t i = 0; i < c->n; i++) {
        double floats = (double)graph->values[i + 1].floats;
        c->held[i + 1] = c->held[i] + (c->is_read[i + 1] ? floats : 0);
    }
    for (size_t t = 1; t <= c->n; t++) { // its value crosses all cuts up to its last reader
        size_t last = t;
        for (size_t i = t; i < c->n; i++)
            for (int k = 0; !graph->is_skipped[i] && k < graph->layers[i].n_x; k++)
                last = (size_t)graph_x_value(graph, i, k) == t ? i : last;
        for (size_t cut = t; !graph->is_skipped[t - 1] && cut <= last && last > t - 1; cut++)
            c->across[cut] += (double)graph->values[t].floats;
    }
}

// The cuts that keep least where no stretch (of more than one layer) holds more than bound.
static size_t cuts_find(struct cutter *c, double bound)
{
    for (size_t to = 1; to <= c->n; to++) {
        c->kept[to] = c->kept[to - 1];
        c->from[to] = to - 1;
        for (size_t from = to - 1; from-- > 0 && c->held[to] - c->held[from] <= bound;)
            if (c->kept[from] <= c->kept[to]) {
                c->kept[to] = c->kept[from];
                c->from[to] = from;
            }
        c->kept[to] += to < c->n ? c->across[to] : 0;
    }
    size_t n = 0;
    for (size_t at = c->n; at > 0; at = c->from[at])
        n++;
    size_t at = c->n;
    for (size_t i = n + 1; i-- > 0; at = at > 0 ? c->from[at] : 0)
        c->cuts[i] = at;
    return n;
}

static enum status cutter_run(struct cutter *c, struct graph *graph)
{
    TRY(cutter_alloc(c));
    cutter_measure(c, graph);
    size_t least = graph->activation_floats; // of the plan without recompute
    double bound = c->held[c->n], best = bound;
    for (int i = 0; i < BOUNDS; i++, bound *= BOUND_STEP) {
        size_t n = cuts_find(c, bound);
        TRY(graph_steps(graph, c->cuts, n));
        if (graph->activation_floats < least) {
            least = graph->activation_floats;
            best = bound;
        }
    }
    size_t n = cuts_find(c, best);
    return graph_steps(graph, c->cuts, n);
}

enum status graph_recompute(struct graph *graph)
{
    struct cutter cutter = {.n = graph->network.n};
    enum status status = cutter_run(&cutter, graph);
    cutter_free(&cutter);
    return status;
}
