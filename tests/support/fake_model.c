// SPDX-License-Identifier: MIT
// A parameter list without a network; see fake_model.h.
#include "tests/support/fake_model.h"

#include <stdio.h>
#include <string.h>

#include "comm/span.h"

const struct fake_tensor fake_network[] = {
    {"conv1", "weight", PARAM_WEIGHT, 4, {3, 3, 7, 13}, 0},
    {"norm1", "scale", PARAM_BIAS, 1, {13}, 0},
    {"norm1", "shift", PARAM_BIAS, 1, {13}, 0},
    {"norm1", "running_mean", PARAM_STATE, 1, {13}, 0.1f},
    {"bank", "weight", PARAM_FROZEN, 2, {20, 20}, 0},
    {"dense", "weight", PARAM_WEIGHT, 2, {51, 10}, 0},
    {"dense", "bias", PARAM_BIAS, 1, {10}, 0},
};
const size_t fake_network_n = sizeof fake_network / sizeof fake_network[0];

void fake_model_init(struct fake_model *model, const struct fake_tensor *tensors, size_t n_list)
{
    memset(model, 0, sizeof *model);
    ASSERT(n_list <= FAKE_MAX);
    for (size_t i = 0; i < n_list; i++) {
        const struct fake_tensor *t = &tensors[i];
        struct layer *layer = &model->layer[i];
        struct param *param = &layer->param[0];
        layer->name = t->layer;
        layer->n_params = 1;
        *param = (struct param){.name = t->param,
                                .rank = t->rank,
                                .kind = t->kind,
                                .state_momentum = t->state_momentum,
                                .count = 1,
                                .offset = model->n};
        for (int d = 0; d < t->rank; d++) {
            param->dim[d] = t->dim[d];
            param->count *= t->dim[d];
        }
        model->n += span_round(param->count);
        struct model_param *entry = &model->list[i];
        entry->layer = layer;
        entry->param = param;
        snprintf(entry->name, sizeof entry->name, "%s/%s", t->layer, t->param);
    }
    model->n_list = n_list;
}

float fake_value(uint64_t key, uint64_t index)
{
    uint64_t z = key * 0x9E3779B97F4A7C15u + index + 1; // splitmix64
    z *= 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)(int32_t)(uint32_t)(z >> 32) * 0x1p-31f;
}

void fake_params(const struct fake_model *model, uint64_t key, float *params)
{
    memset(params, 0, model->n * sizeof *params);
    for (size_t t = 0; t < model->n_list; t++) {
        const struct param *param = model->list[t].param;
        for (size_t i = 0; i < param->count; i++)
            params[param->offset + i] = fake_value(key, param->offset + i);
    }
}
