// SPDX-License-Identifier: MIT
// Owns the tables of layers and losses, made from layers.def and losses.def. Knows no layer by
// itself. Called by the graph, the recipe reader and the generic tests.
#include <string.h>

#include "models/layer.h"
#include "models/loss.h"

#define LAYER(name) extern const struct layer_ops layer_##name;
#include "models/layers.def"
#undef LAYER
#define LOSS(name) extern const struct loss_ops loss_##name;
#include "models/losses.def"
#undef LOSS

#define LAYER(name) &layer_##name,
static const struct layer_ops *const layers[] = {
#include "models/layers.def"
};
#undef LAYER

#define LAYER(name) #name,
static const char *const layer_list[] = {
#include "models/layers.def"
};
#undef LAYER

#define LOSS(name) &loss_##name,
static const struct loss_ops *const losses[] = {
#include "models/losses.def"
};
#undef LOSS

#define LOSS(name) #name,
static const char *const loss_list[] = {
#include "models/losses.def"
};
#undef LOSS

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct layer_ops *layer_ops_find(const char *name)
{
    for (size_t i = 0; i < COUNT(layers); i++)
        if (strcmp(layers[i]->name, name) == 0)
            return layers[i];
    return NULL;
}

const struct layer_ops *const *layer_ops_all(size_t *n)
{
    *n = COUNT(layers);
    return layers;
}

const char *const *layer_names(size_t *n)
{
    *n = COUNT(layer_list);
    return layer_list;
}

const struct loss_ops *loss_ops_find(const char *name)
{
    for (size_t i = 0; i < COUNT(losses); i++)
        if (strcmp(losses[i]->name, name) == 0)
            return losses[i];
    return NULL;
}

const char *const *loss_names(size_t *n)
{
    *n = COUNT(loss_list);
    return loss_list;
}
