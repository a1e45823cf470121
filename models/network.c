// SPDX-License-Identifier: MIT
#include "models/network.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/names.h"

#define NODES_MAX ((size_t)4096)

struct reader {
    struct network *network;
    struct yaml *yaml;
};

static enum status list_read(struct reader *reader, const struct yaml_node *list, const char *where,
                             int *current);

static enum status node_fail(const struct reader *reader, int line, const char *text)
{
    FAIL(STATUS_USAGE, "%s:%d: %s", reader->yaml->name, line, text);
}

static int node_find(const struct network *network, const char *name)
{
    for (size_t i = 0; i < network->n; i++)
        if (strcmp(network->nodes[i].name, name) == 0)
            return (int)i;
    return NETWORK_INPUT - 1;
}

// "conv3": how many of this type there are so far, plus one.
static const char *name_make(const struct network *network, struct yaml *yaml,
                             const struct layer_ops *ops)
{
    size_t count = 1;
    for (size_t i = 0; i < network->n; i++)
        count += network->nodes[i].ops == ops;
    size_t bytes = strlen(ops->name) + 24;
    char *name = yaml_memory_get(yaml, bytes);
    do
        snprintf(name, bytes, "%s%zu", ops->name, count++);
    while (node_find(network, name) >= 0); // a given name may look like a made one
    return name;
}

enum status network_append(struct network *network, struct yaml *yaml, const struct layer_ops *ops,
                           int line, const struct yaml_node *args, const int *from, int n_from,
                           int *number)
{
    CHECK(network->n < NODES_MAX, STATUS_USAGE, "%s:%d: more than %zu layers", yaml->name, line,
          NODES_MAX);
    if (network->n == network->capacity) {
        size_t capacity = network->capacity ? 2 * network->capacity : 64;
        void *grown = realloc(network->nodes, capacity * sizeof *network->nodes);
        CHECK(grown, STATUS_ERROR, "out of memory: %zu layers", capacity);
        network->nodes = grown;
        network->capacity = capacity;
    }
    struct network_node node = {
        .ops = ops, .line = line, .args = args, .n_from = n_from, .lr_scale = 1};
    node.name = name_make(network, yaml, ops);
    memcpy(node.from, from, (size_t)n_from * sizeof *from);
    *number = (int)network->n;
    network->nodes[network->n++] = node;
    return STATUS_OK;
}

// Keys that any layer may have, beside `name` and `from`.
static const struct option common_options[] = {
    {"frozen", OPTION_BOOL, offsetof(struct network_node, is_frozen), "false", 0, 0, NULL,
     "parameters and running statistics stay as they are"},
    {"lr_scale", OPTION_FLOAT, offsetof(struct network_node, lr_scale), "1", 1e-9, 1e9, NULL,
     "factor of the learning rate"},
};
enum { N_COMMON = sizeof common_options / sizeof *common_options };

static bool is_common(const char *key)
{
    for (size_t i = 0; i < N_COMMON; i++)
        if (strcmp(key, common_options[i].name) == 0)
            return true;
    return strcmp(key, "name") == 0 || strcmp(key, "from") == 0;
}

static enum status common_read(struct reader *reader, const struct yaml_node *map,
                               struct network_node *node)
{
    for (size_t i = 0; i < N_COMMON; i++) {
        const struct option *option = &common_options[i];
        const struct yaml_node *given = yaml_find(map, option->name);
        if (!given)
            continue;
        CHECK(given->kind == YAML_SCALAR, STATUS_USAGE, "%s:%d: %s takes one value: %s",
              reader->yaml->name, given->line, option->name, option->help);
        char where[128];
        snprintf(where, sizeof where, "%.80s: %s", yaml_place(reader->yaml, given), option->name);
        TRY(options_parse(reader->yaml, option, given->text, where, (char *)node + option->offset));
    }
    return STATUS_OK;
}

// A copy of the map without what belongs to the network and not to the layer.
static const struct yaml_node *args_strip(struct reader *reader, const struct yaml_node *map)
{
    struct yaml_node *copy = yaml_memory_get(reader->yaml, sizeof *copy);
    *copy = *map;
    copy->first = NULL;
    copy->n = 0;
    struct yaml_node **end = &copy->first;
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        if (is_common(child->key))
            continue;
        *end = yaml_memory_get(reader->yaml, sizeof **end);
        **end = *child;
        (*end)->next = NULL;
        end = &(*end)->next;
        copy->n++;
    }
    return copy;
}

static enum status from_resolve(struct reader *reader, const struct yaml_node *name, int *number)
{
    const struct network *network = reader->network;
    CHECK(name->kind == YAML_SCALAR, STATUS_USAGE, "%s:%d: 'from' takes names of layers",
          reader->yaml->name, name->line);
    *number = strcmp(name->text, "input") == 0 ? NETWORK_INPUT : node_find(network, name->text);
    if (*number >= NETWORK_INPUT)
        return STATUS_OK;
    const char **known = yaml_memory_get(reader->yaml, (network->n + 1) * sizeof *known);
    for (size_t i = 0; i < network->n; i++)
        known[i] = network->nodes[i].name;
    known[network->n] = "input";
    const char *nearest = names_nearest(name->text, known, network->n + 1);
    FAIL(STATUS_USAGE, "%s:%d: 'from' names '%s', which is no earlier layer%s%s%s",
         reader->yaml->name, name->line, name->text, nearest ? ", did you mean '" : "",
         nearest ? nearest : "", nearest ? "'?" : "");
}

static enum status from_read(struct reader *reader, const struct yaml_node *from, int *numbers,
                             int *n)
{
    if (from->kind == YAML_SCALAR) {
        *n = 1;
        return from_resolve(reader, from, numbers);
    }
    CHECK(from->kind == YAML_LIST && from->n >= 1 && from->n <= LAYER_INPUTS_MAX, STATUS_USAGE,
          "%s:%d: 'from' takes one to %d names of layers", reader->yaml->name, from->line,
          LAYER_INPUTS_MAX);
    *n = 0;
    for (const struct yaml_node *name = from->first; name; name = name->next)
        TRY(from_resolve(reader, name, &numbers[(*n)++]));
    return STATUS_OK;
}

static enum status arity_check(const struct reader *reader, const struct layer_ops *ops, int line,
                               int n)
{
    CHECK(n >= ops->min_x && n <= ops->max_x, STATUS_USAGE,
          "%s:%d: %s takes %d to %d inputs, got %d: name them with from: [a, b]",
          reader->yaml->name, line, ops->name, ops->min_x, ops->max_x, n);
    return STATUS_OK;
}

static enum status layer_read(struct reader *reader, const char *type, int line,
                              const struct yaml_node *map, int *current)
{
    const struct layer_ops *ops = layer_ops_find(type);
    if (!ops) {
        size_t n;
        const char *const *known = layer_names(&n);
        const char *nearest = names_nearest(type, known, n);
        FAIL(STATUS_USAGE, "%s:%d: unknown layer '%s'%s%s%s", reader->yaml->name, line, type,
             nearest ? ", did you mean '" : ", see README for the list", nearest ? nearest : "",
             nearest ? "'?" : "");
    }
    int from[LAYER_INPUTS_MAX] = {*current}, n_from = 1;
    const struct yaml_node *given = NULL;
    if (map) {
        const struct yaml_node *sources = yaml_find(map, "from");
        if (sources)
            TRY(from_read(reader, sources, from, &n_from));
        given = yaml_find(map, "name");
    }
    TRY(arity_check(reader, ops, line, n_from));
    if (given) {
        CHECK(given->kind == YAML_SCALAR && given->text[0] && !strchr(given->text, '/') &&
                  strlen(given->text) < 64 && strcmp(given->text, "input") != 0,
              STATUS_USAGE, "%s:%d: a layer's name is a short text without '/', not 'input'",
              reader->yaml->name, given->line);
        CHECK(node_find(reader->network, given->text) < NETWORK_INPUT, STATUS_USAGE,
              "%s:%d: layer name '%s' is taken", reader->yaml->name, given->line, given->text);
    }
    TRY(network_append(reader->network, reader->yaml, ops, line,
                       map ? args_strip(reader, map) : NULL, from, n_from, current));
    if (given)
        reader->network->nodes[*current].name = given->text;
    return map ? common_read(reader, map, &reader->network->nodes[*current]) : STATUS_OK;
}

static enum status keys_check(const struct reader *reader, const struct yaml_node *map,
                              const char *word, const char *const *known, size_t n)
{
    CHECK(map && map->kind == YAML_MAP, STATUS_USAGE, "%s:%d: %s takes a map", reader->yaml->name,
          map ? map->line : 0, word);
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        bool is_known = false;
        for (size_t i = 0; i < n; i++)
            is_known = is_known || strcmp(child->key, known[i]) == 0;
        const char *nearest = is_known ? NULL : names_nearest(child->key, known, n);
        CHECK(is_known, STATUS_USAGE, "%s:%d: unknown key '%s' in %s%s%s%s", reader->yaml->name,
              child->line, child->key, word, nearest ? ", did you mean '" : "",
              nearest ? nearest : "", nearest ? "'?" : "");
    }
    return STATUS_OK;
}

// Joins the ends of branches by the layer `join` (add or concat).
static enum status join_append(struct reader *reader, const char *join, int line, const int *from,
                               int n, int *current)
{
    const struct layer_ops *ops = layer_ops_find(join);
    if (!ops || (strcmp(join, "add") != 0 && strcmp(join, "concat") != 0))
        return node_fail(reader, line, "join must be add or concat");
    TRY(arity_check(reader, ops, line, n));
    return network_append(reader->network, reader->yaml, ops, line, NULL, from, n, current);
}

static enum status residual_read(struct reader *reader, const struct yaml_node *map, int *current)
{
    static const char *const known[] = {"body", "shortcut"};
    TRY(keys_check(reader, map, "residual", known, 2));
    const struct yaml_node *body = yaml_find(map, "body"), *shortcut = yaml_find(map, "shortcut");
    if (!body)
        return node_fail(reader, map->line, "residual needs a body: a list of layers");
    int ends[2] = {*current, *current};
    TRY(list_read(reader, body, "residual body", &ends[0]));
    if (shortcut)
        TRY(list_read(reader, shortcut, "residual shortcut", &ends[1]));
    return join_append(reader, "add", map->line, ends, 2, current);
}

static enum status branches_read(struct reader *reader, const struct yaml_node *map, int *current)
{
    static const char *const known[] = {"join", "lists"};
    TRY(keys_check(reader, map, "branches", known, 2));
    const struct yaml_node *join = yaml_find(map, "join"), *lists = yaml_find(map, "lists");
    if (!lists || lists->kind != YAML_LIST || lists->n < 2 || lists->n > LAYER_INPUTS_MAX)
        return node_fail(reader, map->line, "branches needs lists: two to eight lists of layers");
    int ends[LAYER_INPUTS_MAX], n = 0;
    for (const struct yaml_node *list = lists->first; list; list = list->next) {
        ends[n] = *current;
        TRY(list_read(reader, list, "branch", &ends[n++]));
    }
    return join_append(reader, join && join->kind == YAML_SCALAR ? join->text : "concat", map->line,
                       ends, n, current);
}

static enum status repeat_read(struct reader *reader, const struct yaml_node *map, int *current)
{
    static const char *const known[] = {"times", "layers"};
    TRY(keys_check(reader, map, "repeat", known, 2));
    const struct yaml_node *times = yaml_find(map, "times"), *layers = yaml_find(map, "layers");
    char *end = NULL;
    long n = times && times->kind == YAML_SCALAR ? strtol(times->text, &end, 10) : 0;
    if (!end || *end || n < 1 || n > 1000 || !layers || layers->n < 1)
        return node_fail(reader, map->line, "repeat needs times (1 to 1000) and layers (a list)");
    for (long i = 0; i < n; i++)
        TRY(list_read(reader, layers, "repeat", current));
    return STATUS_OK;
}

static enum status item_read(struct reader *reader, const struct yaml_node *item, int *current)
{
    if (item->kind == YAML_SCALAR) // "- relu"
        return layer_read(reader, item->text, item->line, NULL, current);
    if (item->kind != YAML_MAP || item->n != 1)
        return node_fail(reader, item->line,
                         "expected one layer here, as '- conv: {out: 32, kernel: 3}'");
    const struct yaml_node *value = item->first;
    if (strcmp(value->key, "residual") == 0)
        return residual_read(reader, value, current);
    if (strcmp(value->key, "branches") == 0)
        return branches_read(reader, value, current);
    if (strcmp(value->key, "repeat") == 0)
        return repeat_read(reader, value, current);
    bool is_empty = value->kind == YAML_SCALAR && !value->text[0];
    CHECK(value->kind == YAML_MAP || is_empty, STATUS_USAGE,
          "%s:%d: options of layer %s must be a map, as {out: 32}", reader->yaml->name, value->line,
          value->key);
    return layer_read(reader, value->key, value->line, is_empty ? NULL : value, current);
}

static enum status list_read(struct reader *reader, const struct yaml_node *list, const char *where,
                             int *current)
{
    CHECK(list->kind == YAML_LIST, STATUS_USAGE, "%s:%d: %s must be a list of layers",
          reader->yaml->name, list->line, where);
    for (const struct yaml_node *item = list->first; item; item = item->next)
        TRY(item_read(reader, item, current));
    return STATUS_OK;
}

static enum status unused_check(const struct reader *reader)
{
    const struct network *network = reader->network;
    for (size_t i = 0; i + 1 < network->n; i++) {
        bool is_used = false;
        for (size_t j = i + 1; j < network->n && !is_used; j++)
            for (int k = 0; k < network->nodes[j].n_from; k++)
                is_used = is_used || network->nodes[j].from[k] == (int)i;
        CHECK(is_used, STATUS_USAGE, "%s:%d: nothing uses the output of layer '%s'",
              reader->yaml->name, network->nodes[i].line, network->nodes[i].name);
    }
    return STATUS_OK;
}

enum status network_read(struct network *network, struct yaml *yaml,
                         const struct yaml_node *features, const struct yaml_node *head)
{
    *network = (struct network){0};
    struct reader reader = {network, yaml};
    int current = NETWORK_INPUT;
    if (features)
        TRY(list_read(&reader, features, "features", &current));
    size_t n_features = network->n;
    if (head)
        TRY(list_read(&reader, head, "head", &current));
    for (size_t i = n_features; i < network->n; i++)
        network->nodes[i].is_head = true;
    CHECK(network->n > 0, STATUS_USAGE, "%s: no layers: give features and head, lists of layers",
          yaml->name);
    return unused_check(&reader);
}

void network_free(struct network *network)
{
    free(network->nodes);
    *network = (struct network){0};
}
