// SPDX-License-Identifier: MIT
// Choices and bounds as text, and what is written from a table: help and resolved values.
#include "comm/options.h"
#include "comm/number.h"
#include "comm/options_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char **option_choices(const char *choices, size_t *n)
{
    *n = 1;
    for (const char *c = choices; *c; c++)
        *n += *c == '|';
    size_t bytes = strlen(choices) + 1;
    char **out = malloc(*n * sizeof *out + bytes);
    if (!out)
        return NULL;
    char *copy = memcpy(out + *n, choices, bytes);
    for (size_t i = 0; i < *n; i++)
        out[i] = strsep(&copy, "|");
    return out;
}

void option_bounds(const struct option *option, char out[OPTION_BOUNDS_BYTES])
{
    char low[NUMBER_BYTES], high[NUMBER_BYTES];
    out[0] = '\0';
    bool is_number = option->type == OPTION_INT || option->type == OPTION_FLOAT ||
                     option->type == OPTION_INTS || option->type == OPTION_FLOATS;
    if (!is_number || (option->min == 0 && option->max == 0))
        return;
    number_text(option->min, low);
    number_text(option->max, high);
    if (option->max >= 1e15) // as good as none
        snprintf(out, OPTION_BOUNDS_BYTES, "at least %s", low);
    else
        snprintf(out, OPTION_BOUNDS_BYTES, "%s to %s", low, high);
}

static void help_values(FILE *out, const struct option *option)
{
    char bounds[OPTION_BOUNDS_BYTES];
    option_bounds(option, bounds);
    if (option->choices)
        fprintf(out, "; %s", option->choices);
    else if (option->type == OPTION_BOOL)
        fputs("; true|false", out);
    else if (bounds[0])
        fprintf(out, "; %s", bounds);
}

char *options_help(const struct option *table, size_t n, const char *indent)
{
    char *text = NULL;
    size_t bytes = 0, width = 0;
    for (size_t i = 0; i < n; i++)
        width = strlen(table[i].name) > width ? strlen(table[i].name) : width;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const struct option *option = &table[i];
        fprintf(out, "%s%-*s  %s (", indent, (int)width, option->name, option->help);
        if (option->fallback)
            fprintf(out, "default %s", option->fallback[0] ? option->fallback : "none");
        else
            fputs(option->type == OPTION_NODE ? "optional" : "required", out);
        help_values(out, option);
        fputs(")\n", out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static struct yaml_node *write_double(struct yaml *yaml, const char *key, double value)
{
    char text[NUMBER_BYTES];
    number_text(value, text);
    return yaml_new(yaml, YAML_SCALAR, key, text);
}

static struct yaml_node *write_int(struct yaml *yaml, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return yaml_new(yaml, YAML_SCALAR, key, text);
}

static struct yaml_node *write_choice(struct yaml *yaml, const struct option *option, int value)
{
    size_t n = 0;
    char **names = option_choices(option->choices, &n);
    ASSERT(names && value >= 0 && (size_t)value < n);
    struct yaml_node *node = yaml_new(yaml, YAML_SCALAR, option->name, names[value]);
    free(names);
    return node;
}

static struct yaml_node *write_node(struct yaml *yaml, const char *key,
                                    const struct yaml_node *value)
{
    if (!value)
        return NULL;
    struct yaml_node *node = yaml_copy(yaml, value);
    node->key = key;
    return node;
}

static struct yaml_node *write_list(struct yaml *yaml, const struct option *option, const void *at)
{
    struct yaml_node *list = yaml_new(yaml, YAML_LIST, option->name, NULL);
    if (option->type == OPTION_INTS) {
        const struct option_ints *ints = at;
        for (size_t i = 0; i < ints->n; i++)
            yaml_add(list, write_int(yaml, NULL, ints->v[i]));
    } else if (option->type == OPTION_FLOATS) {
        const struct option_floats *floats = at;
        for (size_t i = 0; i < floats->n; i++)
            yaml_add(list, write_double(yaml, NULL, floats->v[i]));
    } else {
        const struct option_strings *strings = at;
        for (size_t i = 0; i < strings->n; i++)
            yaml_add(list, yaml_new(yaml, YAML_SCALAR, NULL, strings->v[i]));
    }
    return list;
}

static struct yaml_node *write_row(struct yaml *yaml, const struct option *option, const void *in)
{
    const void *at = (const char *)in + option->offset;
    const char *key = option->name;
    switch (option->type) {
    case OPTION_BOOL:
        return yaml_new(yaml, YAML_SCALAR, key, *(const bool *)at ? "true" : "false");
    case OPTION_INT:
        return write_int(yaml, key, *(const int64_t *)at);
    case OPTION_FLOAT:
        return write_double(yaml, key, *(const double *)at);
    case OPTION_STRING: {
        const char *text = *(const char *const *)at;
        return text ? yaml_new(yaml, YAML_SCALAR, key, text) : NULL;
    }
    case OPTION_CHOICE:
        return write_choice(yaml, option, *(const int *)at);
    case OPTION_NODE:
        return write_node(yaml, key, *(const struct yaml_node *const *)at);
    case OPTION_INTS:
    case OPTION_FLOATS:
    case OPTION_STRINGS:
        return write_list(yaml, option, at);
    }
    ASSERT(false);
}

struct yaml_node *options_write(struct yaml *yaml, const struct option *table, size_t n,
                                const void *in)
{
    struct yaml_node *map = yaml_new(yaml, YAML_MAP, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        struct yaml_node *node = write_row(yaml, &table[i], in);
        if (node)
            yaml_add(map, node);
    }
    return map;
}
