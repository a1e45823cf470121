// SPDX-License-Identifier: MIT
// Reads values by a table of options; options_text.c writes them.
#include "comm/options.h"
#include "comm/names.h"
#include "comm/number.h"
#include "comm/options_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What one value is read for: `label` begins every message.
struct target {
    struct yaml *yaml;
    const struct option *option;
    const char *label; // "recipe.yaml:12: 'lr' in train" or "--seed"
    void *out;
};

#define READ_FAIL(target, text, format, ...)                                                       \
    FAIL(STATUS_USAGE, "%s is '%.80s', " format, (target)->label, (text), ##__VA_ARGS__)

static const char *kind_name(enum yaml_kind kind)
{
    return kind == YAML_LIST ? "a list" : kind == YAML_MAP ? "a map of keys" : "a single value";
}

static enum status scalar_only(const struct target *target, const struct yaml_node *node,
                               const char *expected)
{
    CHECK(node->kind == YAML_SCALAR, STATUS_USAGE, "%s is %s, expected %s", target->label,
          kind_name(node->kind), expected);
    return STATUS_OK;
}

// min and max are doubles: exact to 2^53, which is more than any row asks for.
static enum status check_bounds(const struct target *target, const char *text, double value)
{
    const struct option *option = target->option;
    char bounds[OPTION_BOUNDS_BYTES];
    if ((option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max))
        return STATUS_OK;
    option_bounds(option, bounds);
    READ_FAIL(target, text, "expected %s", bounds);
}

static enum status read_int(const struct target *target, const struct yaml_node *node, int64_t *out)
{
    const char *problem;
    TRY(scalar_only(target, node, "an integer"));
    if (!number_int(node->text, out, &problem))
        READ_FAIL(target, node->text, "%s", problem);
    return check_bounds(target, node->text, (double)*out);
}

static enum status read_double(const struct target *target, const struct yaml_node *node,
                               double *out)
{
    const char *problem;
    TRY(scalar_only(target, node, "a number"));
    if (!number_double(node->text, out, &problem))
        READ_FAIL(target, node->text, "%s", problem);
    return check_bounds(target, node->text, *out);
}

static enum status read_bool(const struct target *target, const struct yaml_node *node)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    TRY(scalar_only(target, node, "true or false"));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(node->text, words[i]) == 0) {
            *(bool *)target->out = i % 2;
            return STATUS_OK;
        }
    READ_FAIL(target, node->text, "expected true or false");
}

static enum status read_choice(const struct target *target, const struct yaml_node *node)
{
    TRY(scalar_only(target, node, target->option->choices));
    size_t n = 0;
    char **names = option_choices(target->option->choices, &n);
    CHECK(names, STATUS_ERROR, "out of memory");
    size_t i = 0;
    while (i < n && strcmp(names[i], node->text) != 0)
        i++;
    *(int *)target->out = (int)i;
    enum status status = STATUS_OK;
    if (i == n) {
        const char *near = names_nearest(node->text, (const char *const *)names, n);
        status = error_set(STATUS_USAGE, __FILE__, __LINE__, "%s is '%.80s'%s%s%s, expected %s",
                           target->label, node->text, near ? ", did you mean '" : "",
                           near ? near : "", near ? "'?" : "", target->option->choices);
    }
    free(names);
    return status;
}

static size_t count_scalars(const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR)
        return 1;
    size_t n = 0;
    for (const struct yaml_node *child = node->first; child; child = child->next)
        n += count_scalars(child);
    return n;
}

static enum status read_element(const struct target *target, const struct yaml_node *node, void *v,
                                size_t i)
{
    if (target->option->type == OPTION_INTS)
        return read_int(target, node, (int64_t *)v + i);
    if (target->option->type == OPTION_FLOATS)
        return read_double(target, node, (double *)v + i);
    TRY(scalar_only(target, node, "a list of texts"));
    ((const char **)v)[i] = node->text;
    return STATUS_OK;
}

// Elements of node from v[*at] on. Only lists of floats nest (filters written as matrices).
static enum status read_elements(const struct target *target, const struct yaml_node *node, void *v,
                                 size_t *at)
{
    if (node->kind != YAML_LIST)
        return read_element(target, node, v, (*at)++);
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        if (target->option->type == OPTION_FLOATS)
            TRY(read_elements(target, child, v, at));
        else
            TRY(read_element(target, child, v, (*at)++));
    }
    return STATUS_OK;
}

static enum status read_list(const struct target *target, const struct yaml_node *node)
{
    _Static_assert(sizeof(struct option_ints) == sizeof(struct option_floats) &&
                       sizeof(struct option_ints) == sizeof(struct option_strings),
                   "one shape");
    size_t n = node->kind == YAML_LIST ? count_scalars(node) : 1, at = 0;
    // An empty scalar ("shape:") is an empty list; 8 bytes hold any of the three element types.
    if (node->kind == YAML_SCALAR && node->text[0] == '\0')
        n = 0;
    void *v = yaml_memory_get(target->yaml, n * 8 + 8);
    if (n > 0 || node->n > 0)
        TRY(read_elements(target, node, v, &at));
    if (target->option->type == OPTION_INTS)
        *(struct option_ints *)target->out = (struct option_ints){n, v};
    else if (target->option->type == OPTION_FLOATS)
        *(struct option_floats *)target->out = (struct option_floats){n, v};
    else
        *(struct option_strings *)target->out = (struct option_strings){n, v};
    return STATUS_OK;
}

static enum status read_value(const struct target *target, const struct yaml_node *node)
{
    switch (target->option->type) {
    case OPTION_BOOL:
        return read_bool(target, node);
    case OPTION_INT:
        return read_int(target, node, target->out);
    case OPTION_FLOAT:
        return read_double(target, node, target->out);
    case OPTION_STRING:
        TRY(scalar_only(target, node, "a single text"));
        *(const char **)target->out = node->text;
        return STATUS_OK;
    case OPTION_CHOICE:
        return read_choice(target, node);
    case OPTION_INTS:
    case OPTION_FLOATS:
    case OPTION_STRINGS:
        return read_list(target, node);
    case OPTION_NODE:
        *(const struct yaml_node **)target->out = node;
        return STATUS_OK;
    }
    ASSERT(false);
}

static enum status unknown_key(struct yaml *yaml, const struct yaml_node *node,
                               const struct option *table, size_t n, const char *where)
{
    char known[1024] = "";
    size_t used = 0;
    const char **names = yaml_memory_get(yaml, (n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        names[i] = table[i].name;
        int wrote = snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
        used += (size_t)wrote < sizeof known - used ? (size_t)wrote : sizeof known - used - 1;
    }
    const char *near = names_nearest(node->key, names, n);
    FAIL(STATUS_USAGE, "%s: unknown key '%s' in %s%s%s%s (known: %s)", yaml_place(yaml, node),
         node->key, where, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "",
         n ? known : "none");
}

static enum status check_keys(struct yaml *yaml, const struct yaml_node *map,
                              const struct option *table, size_t n, const char *where)
{
    if (!map)
        return STATUS_OK;
    bool is_empty = map->kind == YAML_SCALAR && map->text[0] == '\0'; // "train:" and nothing
    CHECK(map->kind == YAML_MAP || is_empty, STATUS_USAGE, "%s: %s is %s, expected keys and values",
          yaml_place(yaml, map), where, kind_name(map->kind));
    for (const struct yaml_node *node = map->first; node; node = node->next) {
        size_t i = 0;
        while (i < n && strcmp(table[i].name, node->key) != 0)
            i++;
        if (i == n)
            return unknown_key(yaml, node, table, n, where);
    }
    return STATUS_OK;
}

// Absent: the default, or NULL for an optional subtree, or an error.
static enum status read_absent(struct target *target, const struct yaml_node *map,
                               const char *where)
{
    const struct option *option = target->option;
    struct yaml_node *node;
    if (!option->fallback && option->type == OPTION_NODE) {
        *(const struct yaml_node **)target->out = NULL;
        return STATUS_OK;
    }
    CHECK(option->fallback, STATUS_USAGE, "%s: %s lacks '%s' (%s)", yaml_place(target->yaml, map),
          where, option->name, option->help);
    target->label = option->name;
    TRY(yaml_value(target->yaml, option->fallback, option->name, &node));
    return read_value(target, node);
}

enum status options_read(struct yaml *yaml, const struct yaml_node *map, const struct option *table,
                         size_t n, const char *where, void *out)
{
    TRY(check_keys(yaml, map, table, n, where));
    for (size_t i = 0; i < n; i++) {
        struct target target = {yaml, &table[i], "", (char *)out + table[i].offset};
        const struct yaml_node *node = yaml_find(map, table[i].name);
        if (!node) {
            TRY(read_absent(&target, map, where));
            continue;
        }
        char line[16] = " (override)", label[320];
        if (node->line > 0)
            snprintf(line, sizeof line, ":%d", node->line);
        snprintf(label, sizeof label, "%.120s%s: '%s' in %.100s", yaml->name, line, table[i].name,
                 where);
        target.label = label;
        TRY(read_value(&target, node));
    }
    return STATUS_OK;
}

enum status options_parse(struct yaml *yaml, const struct option *option, const char *text,
                          const char *where, void *out)
{
    bool is_list = option->type == OPTION_INTS || option->type == OPTION_FLOATS ||
                   option->type == OPTION_STRINGS;
    struct target target = {yaml, option, where, out};
    struct yaml_node *node;
    if (is_list && text[strspn(text, " ")] != '[' && strchr(text, ',')) { // --size 28,28
        size_t bytes = strlen(text) + 3;
        char *list = yaml_memory_get(yaml, bytes);
        snprintf(list, bytes, "[%s]", text);
        text = list;
    }
    TRY(yaml_value(yaml, text, where, &node));
    return read_value(&target, node);
}
