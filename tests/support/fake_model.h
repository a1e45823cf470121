// SPDX-License-Identifier: MIT
// A parameter list without a network, for tests of what only sees the flat vector.
#ifndef SW2_TESTS_FAKE_MODEL_H
#define SW2_TESTS_FAKE_MODEL_H

#include "models/model.h"

#define FAKE_MAX 160

struct fake_tensor {
    const char *layer, *param;
    enum param_kind kind;
    int rank;
    size_t dim[4];
    float state_momentum;
};

struct fake_model {
    struct layer layer[FAKE_MAX];
    struct model_param list[FAKE_MAX];
    size_t n_list, n; // n: floats, a multiple of SPAN_BLOCK
};

// Lays the tensors out as the graph does.
void fake_model_init(struct fake_model *model, const struct fake_tensor *tensors, size_t n_list);

// A small network with all kinds of parameters, some longer than several blocks: 13 blocks.
extern const struct fake_tensor fake_network[];
extern const size_t fake_network_n;

// A number in [-1, 1) that differs by key and index.
float fake_value(uint64_t key, uint64_t index);
// Initial weights: padding zero.
void fake_params(const struct fake_model *model, uint64_t key, float *params);

#endif
