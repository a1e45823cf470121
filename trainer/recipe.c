// SPDX-License-Identifier: MIT
#include "trainer/recipe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "comm/names.h"
#include "comm/places.h"
#include "models/layer.h"

#include "embedded_recipe.h" // made by the build from models/recipes/digits.yaml

#define RECIPE_BYTES_MAX ((size_t)8 << 20)

// The top level of a recipe.
struct sections {
    const char *name;
    const struct yaml_node *data, *features, *head, *loss, *train;
};

static const struct option section_options[] = {
    {"name", OPTION_STRING, offsetof(struct sections, name), "run", 0, 0, NULL,
     "names the folder of the run"},
    {"data", OPTION_NODE, offsetof(struct sections, data), NULL, 0, 0, NULL,
     "files and transforms"},
    {"features", OPTION_NODE, offsetof(struct sections, features), NULL, 0, 0, NULL,
     "layers: feature extraction"},
    {"head", OPTION_NODE, offsetof(struct sections, head), NULL, 0, 0, NULL, "layers: the head"},
    {"loss", OPTION_NODE, offsetof(struct sections, loss), NULL, 0, 0, NULL, "softmax, mse"},
    {"train", OPTION_NODE, offsetof(struct sections, train), NULL, 0, 0, NULL, "how to train"},
};
enum { N_SECTIONS = sizeof section_options / sizeof *section_options };

static bool file_is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

// `which` itself, or a recipe of that name beside the sources or the installation.
static enum status recipe_find(const char *which, char path[4096])
{
    const char *const places[][3] = {{"", "", ""},
                                     {places_share(), "/recipes/", ".yaml"},
                                     {SW2_SOURCEDIR, "/models/recipes/", ".yaml"}};
    size_t n = strchr(which, '/') ? 1 : sizeof places / sizeof *places;
    for (size_t i = 0; i < n; i++) {
        int length =
            snprintf(path, 4096, "%s%s%s%s", places[i][0], places[i][1], which, places[i][2]);
        if (length > 0 && length < 4096 && file_is_there(path))
            return STATUS_OK;
    }
    struct stat there;
    CHECK(stat(which, &there) != 0, STATUS_USAGE, "recipe '%s' is %s, expected a file", which,
          S_ISDIR(there.st_mode) ? "a folder" : "no regular file");
    CHECK(n > 1, STATUS_USAGE, "recipe '%s' not found: there is no such file", which);
    FAIL(STATUS_USAGE,
         "recipe '%s' not found: neither a file nor the name of an installed recipe "
         "(looked for %s.yaml in %s/recipes)",
         which, which, places_share());
}

static enum status file_read(const char *path, char **text, size_t *n)
{
    *text = NULL;
    FILE *file = fopen(path, "rb");
    CHECK(file, STATUS_USAGE, "cannot open recipe '%s': %s", path, strerror(errno));
    enum status status = memory_alloc(text, RECIPE_BYTES_MAX + 1, 1, "recipe text");
    if (status == STATUS_OK) {
        *n = fread(*text, 1, RECIPE_BYTES_MAX + 1, file);
        if (ferror(file))
            status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot read recipe '%s'", path);
        else if (*n > RECIPE_BYTES_MAX)
            status = error_set(STATUS_USAGE, __FILE__, __LINE__,
                               "recipe '%s' is larger than %zu MiB", path, RECIPE_BYTES_MAX >> 20);
    }
    fclose(file);
    return status;
}

static enum status sections_read(struct recipe *recipe)
{
    struct sections sections;
    struct yaml *yaml = recipe->yaml;
    TRY(options_read(yaml, yaml->root, section_options, N_SECTIONS, "the recipe", &sections));
    CHECK(sections.name[0] && !strchr(sections.name, '/') && sections.name[0] != '.', STATUS_USAGE,
          "%s: name '%s' must do as a folder's name", yaml->name, sections.name);
    for (const char *c = sections.name; *c; c++)
        CHECK((unsigned char)*c >= ' ', STATUS_USAGE,
              "%s: name has a control character (0x%02x): it must do as a folder's name",
              yaml->name, (unsigned char)*c);
    recipe->name = sections.name;
    recipe->features = sections.features;
    recipe->head = sections.head;
    recipe->loss = sections.loss;
    TRY(options_read(yaml, sections.data, data_options, data_options_n, "data", &recipe->data));
    return train_config_read(yaml, sections.train, &recipe->train);
}

// A copy of `node` (its subtree is shared) under another key, put at *end.
static void map_append(struct yaml *yaml, struct yaml_node *map, const char *key,
                       const struct yaml_node *node)
{
    if (!node)
        return;
    struct yaml_node *copy = yaml_memory_get(yaml, sizeof *copy), **end = &map->first;
    *copy = *node;
    copy->key = key;
    copy->next = NULL;
    while (*end)
        end = &(*end)->next;
    *end = copy;
    map->n++;
}

enum status recipe_resolve(struct recipe *recipe)
{
    free(recipe->resolved);
    recipe->resolved = NULL;
    struct yaml *yaml = recipe->yaml;
    struct yaml_node *root = yaml_memory_get(yaml, sizeof *root);
    struct yaml_node *name = yaml_memory_get(yaml, sizeof *name);
    root->kind = YAML_MAP;
    name->kind = YAML_SCALAR;
    name->text = recipe->name;
    map_append(yaml, root, "name", name);
    map_append(yaml, root, "data",
               options_write(yaml, data_options, data_options_n, &recipe->data));
    map_append(yaml, root, "features", recipe->features);
    map_append(yaml, root, "head", recipe->head);
    map_append(yaml, root, "loss", recipe->loss);
    map_append(yaml, root, "train",
               options_write(yaml, train_options, train_options_n, &recipe->train));
    return yaml_write(root, &recipe->resolved);
}

static enum status parse(struct recipe *recipe, const char *name, const char *text, size_t n,
                         const struct option_strings *overrides)
{
    *recipe = (struct recipe){0};
    TRY(yaml_parse(&recipe->yaml, name, text, n));
    for (size_t i = 0; overrides && i < overrides->n; i++)
        TRY(yaml_override(recipe->yaml, overrides->v[i]));
    TRY(sections_read(recipe));
    return recipe_resolve(recipe);
}

enum status recipe_parse(struct recipe *recipe, const char *name, const char *text,
                         const struct option_strings *overrides)
{
    return parse(recipe, name, text, strlen(text), overrides);
}

// Text of rank 0's file on all ranks; *text is malloc'ed.
static enum status text_share(struct group *group, const char *which, char path[4096], char **text,
                              size_t *n)
{
    enum status status = STATUS_OK;
    *text = NULL;
    *n = 0;
    if (group->rank == 0) {
        status = recipe_find(which, path);
        if (status == STATUS_OK)
            status = file_read(path, text, n);
    }
    TRY(group_agree(group, status));
    group_broadcast(group, path, 4096, 0);
    group_broadcast(group, n, sizeof *n, 0);
    if (group->rank != 0)
        status = memory_alloc(text, *n + 1, 1, "recipe text");
    TRY(group_agree(group, status));
    group_broadcast(group, *text, *n, 0);
    return STATUS_OK;
}

enum status recipe_load(struct recipe *recipe, struct group *group, const char *which,
                        const struct option_strings *overrides)
{
    *recipe = (struct recipe){0};
    if (!which)
        return group_agree(group, parse(recipe, "embedded recipe", embedded_recipe,
                                        sizeof embedded_recipe - 1, overrides));
    char path[4096] = "", *text = NULL;
    size_t n = 0;
    enum status status = text_share(group, which, path, &text, &n);
    if (status == STATUS_OK)
        status = group_agree(group, parse(recipe, path, text, n, overrides));
    free(text);
    return status;
}

void recipe_free(struct recipe *recipe)
{
    if (recipe->yaml)
        yaml_free(recipe->yaml);
    free(recipe->resolved);
    *recipe = (struct recipe){0};
}
