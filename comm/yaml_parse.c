// SPDX-License-Identifier: MIT
// Text to tree: events of libyaml's parser become nodes. The only user of libyaml.
#include "comm/yaml.h"
#include "comm/yaml_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct anchor {
    struct anchor *next;
    const char *name;
    const struct yaml_node *node; // NULL while it is being read: an alias inside itself
};

struct build {
    struct yaml *yaml;
    const char *name;
    yaml_parser_t parser;
    struct anchor *anchors; // newest first
    size_t n_anchors, n_nodes;
    bool has_lines; // a file, not a value of one line
    char place[256];
};

// "recipe.yaml:12" for messages, valid until the next call.
static const char *place(struct build *build, size_t line)
{
    if (build->has_lines)
        snprintf(build->place, sizeof build->place, "%.200s:%zu", build->name, line + 1);
    else
        snprintf(build->place, sizeof build->place, "%.200s", build->name);
    return build->place;
}

#define BUILD_CHECK(condition, event, format, ...)                                                 \
    CHECK(condition, STATUS_USAGE, "%s: " format, place(build, (event)->start_mark.line),          \
          ##__VA_ARGS__)

static enum status next_event(struct build *build, yaml_event_t *event)
{
    yaml_parser_t *parser = &build->parser;
    if (yaml_parser_parse(parser, event))
        return STATUS_OK;
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    if (parser->error == YAML_MEMORY_ERROR)
        FAIL(STATUS_ERROR, "%s: out of memory while reading YAML", build->name);
    if (parser->error == YAML_READER_ERROR)
        FAIL(STATUS_USAGE, "%s: not UTF-8 text: %s at byte %zu", build->name, problem,
             parser->problem_offset);
    FAIL(STATUS_USAGE, "%s: not YAML: %s%s%s%s", place(build, parser->problem_mark.line), problem,
         parser->context ? " (" : "", parser->context ? parser->context : "",
         parser->context ? ")" : "");
}

static enum status node_new(struct build *build, const yaml_event_t *event, enum yaml_kind kind,
                            struct yaml_node **out)
{
    BUILD_CHECK(build->n_nodes < YAML_NODES_MAX, event, "more than %d values%s", YAML_NODES_MAX,
                build->n_anchors ? " (aliases copy what they name)" : "");
    build->n_nodes++;
    *out = yaml_memory_get(build->yaml, sizeof **out);
    (*out)->kind = kind;
    (*out)->line = (int)event->start_mark.line + 1;
    return STATUS_OK;
}

static enum status scalar_text(struct build *build, const yaml_event_t *event, const char **out)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;
    BUILD_CHECK(strlen(value) == n, event, "a text with a zero byte in it ('%.40s')", value);
    *out = memcpy(yaml_memory_get(build->yaml, n + 1), value, n);
    return STATUS_OK;
}

static enum status tag_check(struct build *build, const yaml_event_t *event)
{
    const yaml_char_t *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        tag = event->data.scalar.tag;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        tag = event->data.sequence_start.tag;
    else if (event->type == YAML_MAPPING_START_EVENT)
        tag = event->data.mapping_start.tag;
    BUILD_CHECK(!tag, event, "the tag '%.80s' is not supported, leave it out", (const char *)tag);
    return STATUS_OK;
}

// Registers the anchor before its node is complete; returns it, or NULL when there is none.
static enum status anchor_begin(struct build *build, const yaml_event_t *event, struct anchor **out)
{
    const yaml_char_t *name = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        name = event->data.scalar.anchor;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        name = event->data.sequence_start.anchor;
    else if (event->type == YAML_MAPPING_START_EVENT)
        name = event->data.mapping_start.anchor;
    *out = NULL;
    if (!name)
        return STATUS_OK;
    BUILD_CHECK(build->n_anchors < YAML_ANCHORS_MAX, event, "more than %d anchors",
                YAML_ANCHORS_MAX);
    build->n_anchors++;
    size_t n = strlen((const char *)name);
    *out = yaml_memory_get(build->yaml, sizeof **out);
    (*out)->name = memcpy(yaml_memory_get(build->yaml, n + 1), name, n);
    (*out)->next = build->anchors;
    build->anchors = *out;
    return STATUS_OK;
}

static enum status copy_node(struct build *build, const yaml_event_t *event,
                             const struct yaml_node *node, int depth, struct yaml_node **out)
{
    BUILD_CHECK(depth < YAML_DEPTH_MAX, event, "nested deeper than %d levels", YAML_DEPTH_MAX);
    TRY(node_new(build, event, node->kind, out));
    (*out)->line = node->line;
    (*out)->key = node->key;
    (*out)->text = node->text;
    (*out)->n = node->n;
    struct yaml_node **end = &(*out)->first;
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        TRY(copy_node(build, event, child, depth + 1, end));
        end = &(*end)->next;
    }
    return STATUS_OK;
}

static enum status alias_copy(struct build *build, const yaml_event_t *event, int depth,
                              struct yaml_node **out)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = build->anchors;
    while (anchor && strcmp(anchor->name, name) != 0)
        anchor = anchor->next;
    BUILD_CHECK(anchor, event, "alias '*%.80s' names no anchor above it", name);
    BUILD_CHECK(anchor->node, event, "alias '*%.80s' stands inside what it names", name);
    TRY(copy_node(build, event, anchor->node, depth, out));
    (*out)->key = NULL;
    (*out)->line = (int)event->start_mark.line + 1;
    return STATUS_OK;
}

static enum status read_node(struct build *build, const yaml_event_t *event, int depth,
                             struct yaml_node **out);

static enum status read_list(struct build *build, int depth, struct yaml_node *list)
{
    struct yaml_node **end = &list->first;
    for (;;) {
        yaml_event_t event;
        TRY(next_event(build, &event));
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
        enum status status = is_end ? STATUS_OK : read_node(build, &event, depth + 1, end);
        yaml_event_delete(&event);
        if (is_end || status != STATUS_OK)
            return status;
        end = &(*end)->next;
        list->n++;
    }
}

static enum status read_key(struct build *build, const yaml_event_t *event,
                            const struct yaml_node *map, const char **out)
{
    BUILD_CHECK(event->type == YAML_SCALAR_EVENT, event, "a key must be a single text");
    BUILD_CHECK(!event->data.scalar.anchor, event, "an anchor on a key");
    TRY(tag_check(build, event));
    TRY(scalar_text(build, event, out));
    BUILD_CHECK(strlen(*out) > 0, event, "an empty key");
    BUILD_CHECK(strlen(*out) <= YAML_KEY_MAX, event, "a key of %zu bytes ('%.40s...'), at most %d",
                strlen(*out), *out, YAML_KEY_MAX);
    BUILD_CHECK(strcmp(*out, "<<") != 0, event,
                "merge keys (<<) are not supported, write the keys out");
    const struct yaml_node *old = yaml_find(map, *out);
    BUILD_CHECK(!old, event, "key '%s' is given twice, first in line %d", *out, old->line);
    BUILD_CHECK(map->n < YAML_KEYS_MAX, event, "more than %d keys in one map", YAML_KEYS_MAX);
    return STATUS_OK;
}

static enum status read_map(struct build *build, int depth, struct yaml_node *map)
{
    struct yaml_node **end = &map->first;
    for (;;) {
        yaml_event_t event;
        TRY(next_event(build, &event));
        bool is_end = event.type == YAML_MAPPING_END_EVENT;
        const char *key = NULL;
        enum status status = is_end ? STATUS_OK : read_key(build, &event, map, &key);
        size_t line = event.start_mark.line + 1;
        yaml_event_delete(&event);
        if (is_end || status != STATUS_OK)
            return status;
        TRY(next_event(build, &event));
        struct yaml_node *value = NULL;
        status = read_node(build, &event, depth + 1, &value);
        yaml_event_delete(&event);
        TRY(status);
        value->key = key;
        value->line = (int)line;
        *end = value;
        end = &value->next;
        map->n++;
    }
}

static enum status read_node(struct build *build, const yaml_event_t *event, int depth,
                             struct yaml_node **out)
{
    BUILD_CHECK(depth < YAML_DEPTH_MAX, event, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (event->type == YAML_ALIAS_EVENT)
        return alias_copy(build, event, depth, out);
    TRY(tag_check(build, event));
    struct anchor *anchor;
    TRY(anchor_begin(build, event, &anchor));
    // Linked to its parent only when complete: a half-read map is not searched.
    struct yaml_node *node = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        TRY(node_new(build, event, YAML_SCALAR, &node));
        TRY(scalar_text(build, event, &node->text));
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        TRY(node_new(build, event, YAML_LIST, &node));
        TRY(read_list(build, depth, node));
    } else {
        ASSERT(event->type == YAML_MAPPING_START_EVENT);
        TRY(node_new(build, event, YAML_MAP, &node));
        TRY(read_map(build, depth, node));
    }
    if (anchor)
        anchor->node = node;
    *out = node;
    return STATUS_OK;
}

// Stream start, document start, value, document end, stream end. An empty stream gives NULL.
static enum status read_stream(struct build *build, struct yaml_node **out)
{
    *out = NULL;
    for (;;) {
        yaml_event_t event;
        TRY(next_event(build, &event));
        yaml_event_type_t type = event.type;
        size_t line = event.start_mark.line;
        bool is_value = type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                        type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT;
        enum status status = is_value ? read_node(build, &event, 0, out) : STATUS_OK;
        yaml_event_delete(&event);
        TRY(status);
        CHECK(type != YAML_DOCUMENT_START_EVENT || !*out, STATUS_USAGE,
              "%s: a second document starts here, expected one", place(build, line));
        if (type == YAML_STREAM_END_EVENT)
            return STATUS_OK;
    }
}

enum status yaml_parse_into(struct yaml *yaml, const char *name, bool has_lines, const char *text,
                            size_t n, struct yaml_node **out)
{
    struct build build = {.yaml = yaml, .name = name, .has_lines = has_lines};
    CHECK(yaml_parser_initialize(&build.parser), STATUS_ERROR, "%s: out of memory", name);
    yaml_parser_set_encoding(&build.parser, YAML_UTF8_ENCODING);
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { // the mark that some editors write first
        text += 3;
        n -= 3;
    }
    yaml_parser_set_input_string(&build.parser, (const unsigned char *)text, n);
    enum status status = read_stream(&build, out);
    yaml_parser_delete(&build.parser);
    TRY(status);
    if (!*out)
        *out = yaml_new(yaml, YAML_MAP, NULL, NULL);
    return STATUS_OK;
}

enum status yaml_parse(struct yaml **yaml, const char *name, const char *text, size_t n)
{
    *yaml = NULL;
    struct yaml *fresh = yaml_begin(name);
    struct yaml_node *root;
    enum status status = yaml_parse_into(fresh, fresh->name, true, text, n, &root);
    if (status == STATUS_OK && root->kind == YAML_SCALAR && root->text[0] == '\0')
        root = yaml_new(fresh, YAML_MAP, NULL, NULL); // "---" alone
    if (status == STATUS_OK && root->kind != YAML_MAP)
        status = error_set(STATUS_USAGE, __FILE__, __LINE__,
                           "%s:%d: expected keys and values (key: value), got a %s", name,
                           root->line, root->kind == YAML_LIST ? "list" : "single text");
    if (status != STATUS_OK) {
        yaml_free(fresh);
        return status;
    }
    fresh->root = root;
    *yaml = fresh;
    return STATUS_OK;
}
