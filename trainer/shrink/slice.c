// SPDX-License-Identifier: MIT
#include "trainer/shrink/slice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/number.h"
#include "models/network.h"

// ---- recipe

static struct yaml_node *number_new(struct yaml *yaml, const char *key, size_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", value);
    return yaml_new(yaml, YAML_SCALAR, key, text);
}

// Adds key: value, in place of what the map says.
static void map_set(struct yaml_node *map, struct yaml_node *value)
{
    struct yaml_node *old = map->first;
    map->first = NULL;
    map->last = NULL;
    map->n = 0;
    for (struct yaml_node *child = old, *next; child; child = next) {
        next = child->next;
        child->next = NULL;
        if (strcmp(child->key, value->key) != 0)
            yaml_add(map, child);
    }
    yaml_add(map, value);
}

static size_t kept_before(const struct channels *c, size_t tensor, size_t k_end)
{
    size_t kept = 0;
    for (size_t k = 0; k < k_end; k++)
        kept += c->keep[channels_root(c, tensor, k)];
    return kept;
}

// Layer number of the model that a node of the recipe became (flattens may be put between).
static size_t layer_of(const struct channels *c, const char *name)
{
    size_t i = 0;
    while (strcmp(model_layer(c->model, i)->name, name) != 0)
        i++;
    return i;
}

// Name of what a layer reads now that read a node of the recipe.
static const char *source_of(const struct channels *c, const struct network *network, int node)
{
    size_t tensor = node == NETWORK_INPUT ? 0 : layer_of(c, network->nodes[node].name) + 1;
    tensor = channels_instead(c, tensor);
    return tensor == 0 ? "input" : model_layer(c->model, tensor - 1)->name;
}

static struct yaml_node *layer_write(const struct channels *c, struct yaml *yaml,
                                     const struct network *network, size_t number)
{
    const struct network_node *node = &network->nodes[number];
    struct yaml_node *item = yaml_new(yaml, YAML_MAP, NULL, NULL);
    struct yaml_node *args = yaml_new(yaml, YAML_MAP, node->ops->name, NULL);
    struct yaml_node *from = yaml_new(yaml, YAML_LIST, "from", NULL);
    size_t i = layer_of(c, node->name), y = i + 1, kept = channels_kept(c, y);
    const char *type = node->ops->name;
    yaml_add(args, yaml_new(yaml, YAML_SCALAR, "name", node->name));
    for (int k = 0; k < node->n_from; k++)
        yaml_add(from, yaml_new(yaml, YAML_SCALAR, NULL, source_of(c, network, node->from[k])));
    yaml_add(args, from);
    if (node->is_frozen)
        yaml_add(args, yaml_new(yaml, YAML_SCALAR, "frozen", "true"));
    if (node->lr_scale != 1) {
        char text[NUMBER_BYTES];
        number_text(node->lr_scale, text);
        yaml_add(args, yaml_new(yaml, YAML_SCALAR, "lr_scale", text));
    }
    for (const struct yaml_node *child = node->args ? node->args->first : NULL; child;
         child = child->next)
        yaml_add(args, yaml_copy(yaml, child));
    if (strcmp(type, "conv") == 0 || strcmp(type, "dense") == 0 || strcmp(type, "subsample") == 0)
        map_set(args, number_new(yaml, "out", kept));
    if (strcmp(type, "conv") == 0 && channels_count(c, y) > 1 &&
        model_layer(c->model, i)->param[0].dim[2] == 1 &&
        channels_count(c, channels_input(c, i)) == channels_count(c, y))
        map_set(args, number_new(yaml, "groups", kept)); // depthwise
    if (strcmp(type, "subsample") == 0) {
        size_t before = layer_subsample_before(model_layer(c->model, i));
        map_set(args, number_new(yaml, "before", kept_before(c, y, before)));
    }
    yaml_add(item, args);
    return item;
}

// A pattern, or PATTERN=FACTOR, that fits a layer which is left.
static bool is_of_use(const struct channels *c, const struct network *network, const char *text)
{
    char pattern[256];
    const char *equal = strrchr(text, '=');
    snprintf(pattern, sizeof pattern, "%.*s", equal ? (int)(equal - text) : (int)strlen(text),
             text);
    for (size_t i = 0; i < network->n; i++)
        if (!channels_is_gone(c, layer_of(c, network->nodes[i].name)) &&
            network_fits(&network->nodes[i], pattern))
            return true;
    return false;
}

// A pattern that fits no layer would be an error of the recipe.
static void patterns_keep(const struct channels *c, struct yaml *yaml,
                          const struct network *network, struct option_strings *patterns)
{
    const char **kept = yaml_memory_get(yaml, (patterns->n + 1) * sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; i < patterns->n; i++)
        if (is_of_use(c, network, patterns->v[i]))
            kept[n++] = patterns->v[i];
    *patterns = (struct option_strings){n, kept};
}

static struct yaml_node *train_write(const struct channels *c, const struct network *network,
                                     const struct trained *trained, const struct slice_train *train)
{
    struct yaml *yaml = trained->recipe.yaml;
    struct train_config config = trained->recipe.train;
    config.init_from = ""; // it is gone on from a checkpoint
    config.init_skip = (struct option_strings){0};
    patterns_keep(c, yaml, network, &config.tuning.freeze);
    patterns_keep(c, yaml, network, &config.tuning.lr_scale);
    config.epochs = train->epochs;
    config.steps = 0;
    config.lr = train->lr;
    config.warmup = fmin(config.warmup, (double)train->epochs / 4);
    struct yaml_node *node = options_write(yaml, train_options, train_options_n, &config);
    node->key = "train";
    return node;
}

static enum status tree_write(const struct channels *c, const struct trained *trained,
                              const struct slice_train *train, const struct network *network,
                              size_t n_features, char **text)
{
    const struct recipe *recipe = &trained->recipe;
    struct yaml *yaml = recipe->yaml;
    struct yaml_node *root = yaml_new(yaml, YAML_MAP, NULL, NULL);
    struct yaml_node *lists[] = {yaml_new(yaml, YAML_LIST, "features", NULL),
                                 yaml_new(yaml, YAML_LIST, "head", NULL)};
    for (size_t i = 0; i < network->n; i++)
        if (!channels_is_gone(c, layer_of(c, network->nodes[i].name)))
            yaml_add(lists[i >= n_features], layer_write(c, yaml, network, i));
    yaml_add(root, yaml_new(yaml, YAML_SCALAR, "name", train->name));
    const struct yaml_node *data = yaml_find(yaml->root, "data");
    if (data)
        yaml_add(root, yaml_copy(yaml, data));
    for (int i = 0; i < 2; i++)
        if (lists[i]->n > 0)
            yaml_add(root, lists[i]);
    if (recipe->loss) {
        struct yaml_node *loss = yaml_copy(yaml, recipe->loss);
        loss->key = "loss";
        yaml_add(root, loss);
    }
    yaml_add(root, train_write(c, network, trained, train));
    return yaml_write(root, text);
}

enum status slice_recipe(const struct channels *c, const struct trained *trained,
                         const struct slice_train *train, char **text)
{
    const struct recipe *recipe = &trained->recipe;
    struct network features = {0}, all = {0};
    *text = NULL;
    if (recipe->features)
        TRY(network_read(&features, recipe->yaml, recipe->features, NULL));
    size_t n_features = features.n;
    network_free(&features);
    enum status status = network_read(&all, recipe->yaml, recipe->features, recipe->head);
    if (status == STATUS_OK)
        status = tree_write(c, trained, train, &all, n_features, text);
    network_free(&all);
    return status;
}

// ---- weights

// Numbers of the kept channels of a tensor.
static size_t kept_list(const struct channels *c, size_t tensor, size_t *list)
{
    size_t n = 0;
    for (size_t k = 0; k < channels_count(c, tensor); k++)
        if (c->keep[channels_root(c, tensor, k)])
            list[n++] = k;
    return n;
}

// One tensor (taps, C, K) or (K): the rows and columns that are kept. of_in NULL: all of C.
static void tensor_gather(const float *old, float *fresh, size_t taps, size_t in, size_t out,
                          const size_t *of_in, size_t n_in, const size_t *of_out, size_t n_out)
{
    for (size_t t = 0; t < taps; t++)
        for (size_t c = 0; c < n_in; c++)
            for (size_t k = 0; k < n_out; k++)
                fresh[(t * n_in + c) * n_out + k] =
                    old[(t * in + (of_in ? of_in[c] : c)) * out + of_out[k]];
}

static enum status param_gather(const struct channels *c, size_t i, const struct param *from,
                                const struct param *to, const float *old, float *fresh,
                                size_t *lists)
{
    size_t x = channels_input(c, i), y = i + 1;
    size_t *of_in = lists, *of_out = lists + channels_count(c, x);
    size_t n_in = kept_list(c, x, of_in), n_out = kept_list(c, y, of_out);
    size_t out = from->dim[from->rank - 1], in = from->rank > 1 ? from->dim[from->rank - 2] : 1;
    bool is_whole = out != channels_count(c, y); // a table of its own: nothing of it goes
    size_t taps = from->count / (in * out);
    if (is_whole) {
        for (size_t k = 0; k < out; k++)
            of_out[k] = k;
        n_out = out;
    }
    bool reads_x = from->rank > 1 && in == channels_count(c, x) && !is_whole;
    CHECK(to->count == taps * (reads_x ? n_in : in) * n_out, STATUS_ERROR,
          "layer %s: %s has %zu numbers in the smaller network, expected %zu",
          model_layer(c->model, i)->name, from->name, to->count,
          taps * (reads_x ? n_in : in) * n_out);
    tensor_gather(old + from->offset, fresh + to->offset, taps, in, out, reads_x ? of_in : NULL,
                  reads_x ? n_in : in, of_out, n_out);
    return STATUS_OK;
}

enum status slice_weights(const struct channels *c, const float *old, const struct model *model,
                          float *fresh)
{
    size_t *lists, left = 0;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < model_n_layers(c->model); i++)
        left += !channels_is_gone(c, i);
    CHECK(model_n_layers(model) == left, STATUS_ERROR,
          "the smaller network has %zu layers, expected %zu", model_n_layers(model), left);
    TRY(memory_alloc(&lists, 2 * c->first[c->n_tensors] + (1 << 16), sizeof *lists, "channels"));
    memset(fresh, 0, model_floats(model) * sizeof *fresh);
    for (size_t i = 0, k = 0; status == STATUS_OK && i < model_n_layers(c->model); i++) {
        if (channels_is_gone(c, i))
            continue;
        const struct layer *a = model_layer(c->model, i), *b = model_layer(model, k++);
        ASSERT(a->ops == b->ops && a->n_params == b->n_params);
        for (int p = 0; status == STATUS_OK && p < a->n_params; p++)
            status = param_gather(c, i, &a->param[p], &b->param[p], old, fresh, lists);
    }
    free(lists);
    return status;
}
