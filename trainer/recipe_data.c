// SPDX-License-Identifier: MIT
// What the training data taught, written into the recipe; see recipe_fix_data.
#include <stdio.h>
#include <string.h>

#include "trainer/recipe.h"

static struct yaml_node *node_make(struct yaml *yaml, enum yaml_kind kind, const char *key)
{
    struct yaml_node *node = yaml_memory_get(yaml, sizeof *node);
    node->kind = kind;
    node->key = key;
    return node;
}

static void node_append(struct yaml_node *parent, struct yaml_node *child)
{
    struct yaml_node **end = &parent->first;
    while (*end)
        end = &(*end)->next;
    child->next = NULL;
    *end = child;
    parent->n++;
}

static struct yaml_node *node_copy(struct yaml *yaml, const struct yaml_node *from)
{
    struct yaml_node *copy = yaml_memory_get(yaml, sizeof *copy);
    *copy = *from;
    copy->next = NULL;
    return copy;
}

// `key`: [v, ...], with all digits that a double has.
static struct yaml_node *numbers_make(struct yaml *yaml, const char *key, const double *v, size_t n)
{
    struct yaml_node *list = node_make(yaml, YAML_LIST, key);
    for (size_t i = 0; i < n; i++) {
        struct yaml_node *number = node_make(yaml, YAML_SCALAR, NULL);
        char *text = yaml_memory_get(yaml, 32);
        snprintf(text, 32, "%.17g", v[i]);
        number->text = text;
        node_append(list, number);
    }
    return list;
}

// {normalize: {mean: [...], std: [...]}}; what `args` (may be NULL) gives stays.
static struct yaml_node *normalize_make(struct yaml *yaml, const struct yaml_node *args,
                                        const struct dataset *train)
{
    size_t c = dataset_shape(train).c;
    struct yaml_node *item = node_make(yaml, YAML_MAP, NULL);
    struct yaml_node *map = node_make(yaml, YAML_MAP, "normalize");
    for (const struct yaml_node *arg = args ? args->first : NULL; arg; arg = arg->next)
        node_append(map, node_copy(yaml, arg));
    if (!yaml_find(map, "mean"))
        node_append(map, numbers_make(yaml, "mean", dataset_mean(train), c));
    if (!yaml_find(map, "std"))
        node_append(map, numbers_make(yaml, "std", dataset_std(train), c));
    node_append(item, map);
    return item;
}

static bool is_normalize(const struct yaml_node *item)
{
    if (item->kind == YAML_SCALAR)
        return strcmp(item->text, "normalize") == 0;
    return item->kind == YAML_MAP && item->n == 1 && strcmp(item->first->key, "normalize") == 0;
}

enum status recipe_fix_data(struct recipe *recipe, const struct dataset *train, uint64_t block,
                            uint64_t window)
{
    struct yaml *yaml = recipe->yaml;
    struct yaml_node *list = node_make(yaml, YAML_LIST, "transforms");
    const struct yaml_node *given = recipe->data.transforms;
    if (!given)
        node_append(list, normalize_make(yaml, NULL, train));
    for (const struct yaml_node *item = given ? given->first : NULL; item; item = item->next) {
        const struct yaml_node *args = item->kind == YAML_MAP ? item->first : NULL;
        if (is_normalize(item))
            node_append(list,
                        normalize_make(yaml, args && args->kind == YAML_MAP ? args : NULL, train));
        else
            node_append(list, node_copy(yaml, item));
    }
    recipe->data.transforms = list;
    recipe->data.n_classes = (int64_t)dataset_target(train).n_classes;
    recipe->data.block = (int64_t)block;
    recipe->data.window = (int64_t)window;
    return recipe_resolve(recipe);
}
