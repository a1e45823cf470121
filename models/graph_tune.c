// SPDX-License-Identifier: MIT
// Fine-tuning: which layers stay as they are and which learn at another rate, from keys of the
// layers (frozen, lr_scale) and patterns of the recipe's section train. Called by graph_init.
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/names.h"
#include "models/graph.h"

bool network_fits(const struct network_node *node, const char *pattern)
{
    if (strcmp(pattern, "features") == 0 || strcmp(pattern, "head") == 0)
        return node->is_head == (pattern[0] == 'h');
    return fnmatch(pattern, node->name, 0) == 0;
}

static enum status pattern_fail(const struct graph *graph, struct yaml *yaml, const char *key,
                                const char *pattern)
{
    const struct network *network = &graph->network;
    const char **known = yaml_memory_get(yaml, network->n * sizeof *known);
    for (size_t i = 0; i < network->n; i++)
        known[i] = network->nodes[i].name;
    const char *nearest = names_nearest(pattern, known, network->n);
    FAIL(STATUS_USAGE, "%s: train.%s: '%s' fits no layer%s%s%s", yaml->name, key, pattern,
         nearest ? ", did you mean '"
                 : " (names as sw2-train --plan shows them, or features, head)",
         nearest ? nearest : "", nearest ? "'?" : "");
}

// "conv*=0.1" of train.lr_scale.
static enum status rate_apply(struct graph *graph, struct yaml *yaml, const char *text)
{
    const char *equal = strrchr(text, '=');
    char *end = NULL;
    double scale = equal ? strtod(equal + 1, &end) : 0;
    bool is_good = equal && equal > text && end > equal + 1 && !*end && isfinite(scale);
    CHECK(is_good && scale >= 1e-9 && scale <= 1e9, STATUS_USAGE,
          "%s: train.lr_scale: '%s' is not a layer and a factor from 1e-9 to 1e9, as conv1=0.1",
          yaml->name, text);
    size_t n = (size_t)(equal - text), count = 0;
    char *pattern = yaml_memory_get(yaml, n + 1);
    memcpy(pattern, text, n);
    for (size_t i = 0; i < graph->network.n; i++)
        if (network_fits(&graph->network.nodes[i], pattern)) {
            graph->network.nodes[i].lr_scale = scale;
            count++;
        }
    return count > 0 ? STATUS_OK : pattern_fail(graph, yaml, "lr_scale", pattern);
}

static enum status freeze_apply(struct graph *graph, struct yaml *yaml, const char *pattern)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->network.n; i++)
        if (network_fits(&graph->network.nodes[i], pattern)) {
            graph->network.nodes[i].is_frozen = true;
            count++;
        }
    return count > 0 ? STATUS_OK : pattern_fail(graph, yaml, "freeze", pattern);
}

enum status graph_tune(struct graph *graph, const struct model_config *config)
{
    const struct model_tuning *tuning = config->tuning;
    bool was_trained = false, is_trained = false;
    for (size_t i = 0; tuning && i < tuning->freeze.n; i++)
        TRY(freeze_apply(graph, config->yaml, tuning->freeze.v[i]));
    for (size_t i = 0; tuning && i < tuning->lr_scale.n; i++)
        TRY(rate_apply(graph, config->yaml, tuning->lr_scale.v[i]));
    for (size_t i = 0; i < graph->network.n; i++) {
        struct layer *layer = &graph->layers[i];
        layer->is_frozen = graph->network.nodes[i].is_frozen;
        for (int k = 0; k < layer->n_params; k++) {
            struct param *param = &layer->param[k];
            was_trained = was_trained || param->kind == PARAM_WEIGHT || param->kind == PARAM_BIAS;
            param->kind = layer->is_frozen ? PARAM_FROZEN : param->kind;
            param->lr_scale = (float)graph->network.nodes[i].lr_scale;
            is_trained = is_trained || param->kind == PARAM_WEIGHT || param->kind == PARAM_BIAS;
        }
    }
    CHECK(is_trained || !was_trained, STATUS_USAGE,
          "%s: every layer is frozen: nothing is left to train", config->yaml->name);
    return STATUS_OK;
}
