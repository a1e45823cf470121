// SPDX-License-Identifier: MIT
// A YAML document (libyaml) as a tree of nodes with line numbers, with overrides and a writer.
// Owns all memory of its nodes and of values read from them: they live until yaml_free.
#ifndef SW2_COMM_YAML_H
#define SW2_COMM_YAML_H

#include <stddef.h>

#include "comm/error.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    int line;                // from 1; 0 = from an override or a default
    const char *key;         // when it is a value of a map, else NULL
    const char *text;        // scalar: its text (not NULL)
    struct yaml_node *first; // children of lists and maps, in order
    struct yaml_node *next;  // sibling
    size_t n;                // number of children
    struct yaml_node *last;  // of yaml_add: a child from which the end is near; may be NULL
};

struct yaml {
    struct yaml_node *root; // a map; never NULL
    const char *name;       // file name for messages
    struct yaml_memory *memory;
};

// Parses text (n bytes, UTF-8). Aliases and anchors are resolved (copied). Errors: STATUS_USAGE
// with "name:line: ..."; a duplicate key is an error; nesting is limited to 64 and nodes to 1e6
// (alias bombs).
enum status yaml_parse(struct yaml **yaml, const char *name, const char *text, size_t n);
// NULL is allowed. (libyaml exports a yaml_free of its own, which a plain symbol of ours would
// replace inside that library: hence the assembler name.)
void yaml_free(struct yaml *yaml) __asm__("sw2_yaml_free");
void *yaml_memory_get(struct yaml *yaml,
                      size_t bytes); // zeroed, lives until yaml_free; never NULL (asserts)

const struct yaml_node *yaml_find(const struct yaml_node *map, const char *key); // NULL if absent

// "recipe.yaml:12" (or "recipe.yaml (override)" where the node has no line) for messages; lives as
// long as the document. node may be NULL.
const char *yaml_place(struct yaml *yaml, const struct yaml_node *node);

// A value from one text, as on a command line: YAML flow syntax where it starts with [ { " or ',
// else the text itself without blanks around it. `where` ("--seed") stands in the error.
enum status yaml_value(struct yaml *yaml, const char *text, const char *where,
                       struct yaml_node **out);

// Building trees (memory of yaml; key and text are copied, and may be NULL).
struct yaml_node *yaml_new(struct yaml *yaml, enum yaml_kind kind, const char *key,
                           const char *text);
void yaml_add(struct yaml_node *parent, struct yaml_node *child);             // appends
struct yaml_node *yaml_copy(struct yaml *yaml, const struct yaml_node *node); // deep; texts shared

// Applies "path.to.key=value" (value: YAML flow syntax: scalar, [list] or {map}). List elements are
// addressed by number: features.0.conv.out=64. Missing maps on the way are made; a missing list
// element is an error.
enum status yaml_override(struct yaml *yaml, const char *assignment);

// Text of the tree as YAML block style, which parses back to the same tree. *text is malloc'ed,
// owned by the caller.
enum status yaml_write(const struct yaml_node *root, char **text);

#endif
