// SPDX-License-Identifier: MIT
// What the parts of a layer cost on paper: arithmetic and bytes, for the profile. Pure.
#include "models/model.h"

static double tensor_bytes(const struct tensor *t)
{
    return (double)(t->n * t->h * t->w * t->c) * sizeof(float);
}

static double params_bytes(const struct layer *layer)
{
    double bytes = 0;
    for (int i = 0; i < layer->n_params; i++)
        bytes += (double)layer->param[i].count * sizeof(float);
    return bytes;
}

static double inputs_bytes(const struct layer *layer, const struct tensor *x)
{
    double bytes = 0;
    for (int i = 0; i < layer->n_x; i++)
        bytes += x[i].at ? tensor_bytes(&x[i]) : 0;
    return bytes;
}

double model_part_flops(const struct layer *layer, enum layer_part part)
{
    bool is_product = part == PART_FORWARD || part == PART_WEIGHTS || part == PART_BACKWARD;
    return layer->ops->marks_laps && is_product ? layer->flops : 0;
}

double model_part_bytes(const struct layer *layer, enum layer_part part)
{
    double x = inputs_bytes(layer, layer->x), dx = inputs_bytes(layer, layer->dx);
    double y = tensor_bytes(&layer->y), w = params_bytes(layer);
    bool is_product = layer->ops->marks_laps;
    switch (part) {
    case PART_PREPARE:
        return 2 * w;
    case PART_FORWARD:
        return x + w + y;
    case PART_FUSED: // y, and dy
        return 2 * y + (layer->relu ? 2 * y : 0);
    case PART_WEIGHTS:
        return is_product ? x + y + w : 0;
    case PART_BACKWARD:
        return is_product ? y + w + dx : x + y + dx;
    case LAYER_PARTS:
        break;
    }
    return 0;
}
