// SPDX-License-Identifier: MIT
// Forward passes of all layers in double, written to be obvious: what the layers are checked by.
// Reads its options from the recipe's text itself and shares no code with models/.
#ifndef SW2_TESTS_SUPPORT_NAIVE_H
#define SW2_TESTS_SUPPORT_NAIVE_H

#include <stdbool.h>

#include "comm/yaml.h"
#include "models/layer.h"

// Arrays are dense (n, h, w, c), borrowed.
struct naive_op {
    const char *layer;
    const struct yaml_node *options; // map, or NULL
    size_t n;
    int n_x;
    const double *x[LAYER_INPUTS_MAX];
    struct shape xs[LAYER_INPUTS_MAX];
    const double *param[LAYER_PARAMS_MAX];
    double *y; // written
    struct shape ys;
    double *state[LAYER_PARAMS_MAX]; // of PARAM_STATE: the batch's value, written in training
    bool is_training;
    const struct pass *pass; // seed, epoch and rows, for dropout
    int index;               // of the layer, for dropout
};

// False if the layer is not known here.
bool naive_forward(const struct naive_op *op);
bool naive_knows(const char *layer);

#endif
