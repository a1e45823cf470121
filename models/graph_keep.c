// SPDX-License-Identifier: MIT
// The layer that an explanation looks at (model_config.keep): which one it is. What keeps its
// values and their gradient whole stands where the graph fuses, shares and plans memory.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/names.h"
#include "models/graph.h"

static bool is_pool(const struct layer *layer)
{
    const char *name = layer->ops->name;
    return strcmp(name, "maxpool") == 0 || strcmp(name, "avgpool") == 0;
}

// Grad-CAM's usual choice: of the last convolution with positions, the values that leave its block,
// behind norm, ReLU and residual sum: the last layer of the same height and width, pools excepted.
static int kept_infer(const struct graph *graph)
{
    const struct layer_ops *conv = layer_ops_find("conv");
    int last = -1, kept;
    for (size_t i = 0; i < graph->network.n; i++) {
        const struct layer *layer = &graph->layers[i];
        if (layer->ops == conv && layer->y.h * layer->y.w > 1)
            last = (int)i;
    }
    kept = last;
    for (int i = last + 1; last >= 0 && i < (int)graph->network.n; i++) {
        const struct layer *layer = &graph->layers[i];
        if (layer->y.h != graph->layers[last].y.h || layer->y.w != graph->layers[last].y.w)
            break;
        if (!is_pool(layer))
            kept = i;
    }
    return kept;
}

static enum status unknown(const struct graph *graph, const char *name)
{
    const size_t n = graph->network.n;
    const char **known = NULL;
    TRY(memory_alloc(&known, n, sizeof *known, "names of layers"));
    for (size_t i = 0; i < n; i++)
        known[i] = graph->layers[i].name;
    const char *nearest = names_nearest(name, known, n);
    enum status status = error_set(
        STATUS_USAGE, __FILE__, __LINE__, "unknown layer '%s'%s%s%s; the network has %s", name,
        nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "", known[0]);
    for (size_t i = 1; i < n && i < 40; i++)
        error_add(status, "%s", known[i]);
    if (n > 40)
        error_add(status, "...");
    free(known);
    return status;
}

enum status graph_keep(struct graph *graph, const char *name)
{
    graph->kept = -1;
    if (!name)
        return STATUS_OK;
    if (strcmp(name, MODEL_KEEP_AUTO) == 0) {
        graph->kept = kept_infer(graph);
        return STATUS_OK;
    }
    for (size_t i = 0; i < graph->network.n; i++)
        if (strcmp(graph->layers[i].name, name) == 0)
            graph->kept = (int)i;
    return graph->kept >= 0 ? STATUS_OK : unknown(graph, name);
}
