// SPDX-License-Identifier: MIT
// What yaml.c, yaml_parse.c and yaml_write.c share. Nobody else includes it.
#ifndef SW2_COMM_YAML_PRIVATE_H
#define SW2_COMM_YAML_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/yaml.h"

#define YAML_DEPTH_MAX 64      // nesting
#define YAML_NODES_MAX 1000000 // of one document, copies of aliases included
#define YAML_KEY_MAX 128       // bytes; a key and its colon must fit libyaml's 1,024
#define YAML_KEYS_MAX 1024     // of one map: duplicates are found by comparing all pairs
#define YAML_ANCHORS_MAX 1024

struct yaml *yaml_begin(const char *name); // an empty map; never NULL (asserts)

// Parses one document into a tree of any kind. `name` stands in messages, with a line if has_lines.
enum status yaml_parse_into(struct yaml *yaml, const char *name, bool has_lines, const char *text,
                            size_t n, struct yaml_node **out);

// Decodes one character: its length, or 0 where the text is not UTF-8.
size_t yaml_utf8(const char *text, uint32_t *code);

#endif
