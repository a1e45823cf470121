// SPDX-License-Identifier: MIT
// One table row per option: parsing, bounds, help, defaults and what is stored all come from it.
// Serves recipe sections, layers, losses, optimisers and transforms.
#ifndef SW2_COMM_OPTIONS_H
#define SW2_COMM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/yaml.h"

enum option_type {
    OPTION_BOOL,    // bool: true|false|yes|no|on|off
    OPTION_INT,     // int64_t, min..max
    OPTION_FLOAT,   // double, min..max, finite
    OPTION_STRING,  // const char *
    OPTION_CHOICE,  // int: index into choices
    OPTION_INTS,    // struct option_ints: scalar or list
    OPTION_FLOATS,  // struct option_floats: scalar or (nested) list of numbers, flattened
    OPTION_STRINGS, // struct option_strings: scalar or list
    OPTION_NODE     // const struct yaml_node *: any subtree, read by its owner; NULL if absent
};

struct option_ints {
    size_t n;
    const int64_t *v;
};
struct option_floats {
    size_t n;
    const double *v;
};
struct option_strings {
    size_t n;
    const char *const *v;
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset;        // offsetof in the struct that receives it
    const char *fallback; // default as YAML text; NULL: must be given (OPTION_NODE: optional)
    double min, max;      // of INT, FLOAT and each element of INTS, FLOATS; both 0: no bounds
    const char *choices;  // "sgd|adamw|lars"
    const char *help;     // one line
};

// Reads a map node (NULL: all defaults) into *out by the table. `where` ("train", "layer conv")
// stands in messages: "recipe.yaml:12: unknown key 'momentun' in train, did you mean 'momentum'?"
// All errors STATUS_USAGE. Values and lists are borrowed from the yaml document.
enum status options_read(struct yaml *yaml, const struct yaml_node *map, const struct option *table,
                         size_t n, const char *where, void *out);

// One value from text, for the command line: *out receives it. `where` is e.g. "--seed".
enum status options_parse(struct yaml *yaml, const struct option *option, const char *text,
                          const char *where, void *out);

// One help line per row into a malloc'ed text: name, default or "required", choices or bounds,
// help.
char *options_help(const struct option *table, size_t n, const char *indent);

// Writes every row of *in as a child of a new map node (memory of yaml): the resolved values.
struct yaml_node *options_write(struct yaml *yaml, const struct option *table, size_t n,
                                const void *in);

#endif
