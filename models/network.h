// SPDX-License-Identifier: MIT
// From the recipe's lists of layers to a flat list of nodes in topological order: names, edges and
// the structural words residual, branches and repeat. Knows no shapes: graph.c adds those.
#ifndef SW2_MODELS_NETWORK_H
#define SW2_MODELS_NETWORK_H

#include "models/layer.h"

#define NETWORK_INPUT (-1) // the node number of the model's input

struct network_node {
    const struct layer_ops *ops;
    const char *name; // unique: given by `name:` or made from type and count, "conv3"
    int line;
    const struct yaml_node *args; // map of the layer's own options, or NULL
    int from[LAYER_INPUTS_MAX];   // numbers of earlier nodes, or NETWORK_INPUT
    int n_from;
    bool is_frozen;  // common to all layers: frozen: true
    double lr_scale; // lr_scale: 0.1
    bool is_head;    // of the list head
};

struct network {
    struct network_node *nodes; // owned
    size_t n, capacity;
};

// features and head: lists of layers, either may be NULL. Names and args are borrowed from the yaml
// document. STATUS_USAGE with line: unknown layer (nearest named), unknown `from`, wrong number of
// inputs.
enum status network_read(struct network *network, struct yaml *yaml,
                         const struct yaml_node *features, const struct yaml_node *head);
// Does a layer's name fit the pattern (fnmatch(3)), or its list the word features or head?
bool network_fits(const struct network_node *node, const char *pattern);
void network_free(struct network *network);
// One more node before the network is planned (an implied flatten). Returns its number.
enum status network_append(struct network *network, struct yaml *yaml, const struct layer_ops *ops,
                           int line, const struct yaml_node *args, const int *from, int n_from,
                           int *number);

#endif
