// SPDX-License-Identifier: MIT
// Memory and nodes of a YAML document, look-up and overrides. The parser is yaml_parse.c, the
// writer yaml_write.c.
#include "comm/yaml.h"
#include "comm/yaml_private.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif
// Under AddressSanitizer each piece is a block of its own, so that it sees reads beyond the end.
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define CHUNK_BYTES ((size_t)0)
#else
#define CHUNK_BYTES ((size_t)16384)
#endif

struct chunk {
    struct chunk *next;
    size_t used, bytes;
    _Alignas(16) char data[];
};

struct yaml_memory {
    struct chunk *chunks;
};

void *yaml_memory_get(struct yaml *yaml, size_t bytes)
{
    struct yaml_memory *memory = yaml->memory;
    ASSERT(bytes < SIZE_MAX / 2);
    size_t need = (bytes + 15) & ~(size_t)15;
    struct chunk *chunk = memory->chunks;
    if (!chunk || chunk->bytes - chunk->used < need) {
        size_t room = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        chunk = calloc(1, sizeof *chunk + (CHUNK_BYTES ? room : bytes));
        ASSERT(chunk != NULL);
        chunk->bytes = room;
        chunk->next = memory->chunks;
        memory->chunks = chunk;
    }
    void *out = chunk->data + chunk->used;
    chunk->used += need;
    return out;
}

static const char *copy_text(struct yaml *yaml, const char *text)
{
    if (!text)
        return NULL;
    size_t n = strlen(text);
    return memcpy(yaml_memory_get(yaml, n + 1), text, n + 1);
}

struct yaml *yaml_begin(const char *name)
{
    struct yaml *yaml = calloc(1, sizeof *yaml);
    ASSERT(yaml != NULL);
    yaml->memory = calloc(1, sizeof *yaml->memory);
    ASSERT(yaml->memory != NULL);
    yaml->name = copy_text(yaml, name);
    yaml->root = yaml_new(yaml, YAML_MAP, NULL, NULL);
    return yaml;
}

void yaml_free(struct yaml *yaml)
{
    if (!yaml)
        return;
    struct chunk *chunk = yaml->memory->chunks;
    while (chunk) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(yaml->memory);
    free(yaml);
}

const struct yaml_node *yaml_find(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (const struct yaml_node *node = map->first; node; node = node->next)
        if (strcmp(node->key, key) == 0)
            return node;
    return NULL;
}

const char *yaml_place(struct yaml *yaml, const struct yaml_node *node)
{
    char place[32] = "";
    if (node)
        snprintf(place, sizeof place, node->line > 0 ? ":%d" : " (override)", node->line);
    size_t bytes = strlen(yaml->name) + sizeof place;
    char *out = yaml_memory_get(yaml, bytes);
    snprintf(out, bytes, "%s%s", yaml->name, place);
    return out;
}

struct yaml_node *yaml_new(struct yaml *yaml, enum yaml_kind kind, const char *key,
                           const char *text)
{
    struct yaml_node *node = yaml_memory_get(yaml, sizeof *node);
    node->kind = kind;
    node->key = copy_text(yaml, key);
    node->text = kind == YAML_SCALAR ? copy_text(yaml, text ? text : "") : NULL;
    return node;
}

void yaml_add(struct yaml_node *parent, struct yaml_node *child)
{
    struct yaml_node **end = parent->last ? &parent->last->next : &parent->first;
    while (*end)
        end = &(*end)->next;
    *end = child;
    child->next = NULL;
    parent->last = child;
    parent->n++;
}

struct yaml_node *yaml_copy(struct yaml *yaml, const struct yaml_node *node)
{
    struct yaml_node *copy = yaml_memory_get(yaml, sizeof *copy);
    *copy = *node;
    copy->next = NULL;
    copy->first = copy->last = NULL;
    struct yaml_node **end = &copy->first;
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        *end = yaml_copy(yaml, child);
        end = &(*end)->next;
    }
    return copy;
}

// Nothing points at a position in an override, so its nodes have no line.
static void forget_lines(struct yaml_node *node)
{
    node->line = 0;
    for (struct yaml_node *child = node->first; child; child = child->next)
        forget_lines(child);
}

static enum status check_utf8(const char *text, const char *where)
{
    for (size_t at = 0, n; text[at]; at += n) {
        uint32_t code;
        n = yaml_utf8(text + at, &code);
        CHECK(n > 0, STATUS_USAGE, "%s: not UTF-8 text at byte %zu", where, at);
    }
    return STATUS_OK;
}

enum status yaml_value(struct yaml *yaml, const char *text, const char *where,
                       struct yaml_node **out)
{
    TRY(check_utf8(text, where));
    const char *blank = " \t\r\n";
    text += strspn(text, blank);
    size_t n = strlen(text);
    while (n > 0 && strchr(blank, text[n - 1]))
        n--;
    if (n == 0 || !strchr("[{\"'", text[0])) {
        char *scalar = yaml_memory_get(yaml, n + 1);
        memcpy(scalar, text, n);
        *out = yaml_new(yaml, YAML_SCALAR, NULL, NULL);
        (*out)->text = scalar;
        return STATUS_OK;
    }
    TRY(yaml_parse_into(yaml, where, false, text, n, out));
    enum yaml_kind kind = text[0] == '[' ? YAML_LIST : text[0] == '{' ? YAML_MAP : YAML_SCALAR;
    CHECK((*out)->kind == kind, STATUS_USAGE, "%s: '%.80s' is not one value", where, text);
    forget_lines(*out);
    return STATUS_OK;
}

// Child of `at` that the n bytes of `step` name: **out is NULL where a map lacks it.
static enum status override_step(struct yaml_node *at, const char *step, size_t n,
                                 const char *assignment, struct yaml_node ***out)
{
    CHECK(n > 0, STATUS_USAGE, "override '%.120s' has an empty name in its path", assignment);
    CHECK(n <= YAML_KEY_MAX, STATUS_USAGE, "override '%.120s' has a name of %zu bytes, at most %d",
          assignment, n, YAML_KEY_MAX);
    struct yaml_node **link = &at->first;
    if (at->kind == YAML_MAP) {
        while (*link && (strncmp((*link)->key, step, n) != 0 || (*link)->key[n] != '\0'))
            link = &(*link)->next;
        CHECK(*link || at->n < YAML_KEYS_MAX, STATUS_USAGE,
              "override '%.120s': the map already has %zu keys", assignment, at->n);
        *out = link;
        return STATUS_OK;
    }
    CHECK(at->kind == YAML_LIST, STATUS_USAGE,
          "override '%.120s': '%.*s' is looked for in '%.80s', which is a value, not a section",
          assignment, (int)n, step, at->text);
    size_t index = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(step[i] >= '0' && step[i] <= '9' && i < 9, STATUS_USAGE,
              "override '%.120s': '%.*s' stands for an element of a list, expected 0 to %zu",
              assignment, (int)n, step, at->n - (at->n > 0));
        index = index * 10 + (size_t)(step[i] - '0');
    }
    CHECK(at->n > 0, STATUS_USAGE, "override '%.120s': the list is empty", assignment);
    CHECK(index < at->n, STATUS_USAGE,
          "override '%.120s': the list has no element %zu, expected 0 to %zu", assignment, index,
          at->n - 1);
    while (index-- > 0)
        link = &(*link)->next;
    *out = link;
    return STATUS_OK;
}

static int node_depth(const struct yaml_node *node)
{
    int deepest = 0;
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        int depth = node_depth(child);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

// Puts value at the steps of [path, end) below `at`; maps are made from the first missing step on,
// after which nothing can fail: a failed override leaves the tree as it was.
static enum status override_walk(struct yaml *yaml, const char *assignment, const char *end,
                                 struct yaml_node *value)
{
    struct yaml_node *at = yaml->root, **link = NULL;
    for (const char *step = assignment;; step++) {
        size_t n = strcspn(step, ".=");
        TRY(override_step(at, step, n, assignment, &link));
        bool is_last = step + n == end;
        struct yaml_node *old = *link;
        bool is_empty = !old || (old->kind == YAML_SCALAR && old->text[0] == '\0');
        if (is_last || is_empty) {
            struct yaml_node *fresh = is_last ? value : yaml_new(yaml, YAML_MAP, NULL, NULL);
            char *key = yaml_memory_get(yaml, n + 1);
            fresh->key = at->kind == YAML_MAP ? memcpy(key, step, n) : NULL;
            fresh->next = old ? old->next : NULL;
            at->n += !old;
            at->last = NULL; // may have been the one replaced
            *link = fresh;
        }
        if (is_last)
            return STATUS_OK;
        at = *link;
        step += n;
    }
}

enum status yaml_override(struct yaml *yaml, const char *assignment)
{
    TRY(check_utf8(assignment, "override"));
    const char *equal = strchr(assignment, '=');
    CHECK(equal, STATUS_USAGE,
          "override '%.120s' has no '=', expected path.to.key=value, as in train.lr=0.1",
          assignment);
    int steps = 1;
    for (const char *c = assignment; c <= equal; c++) {
        steps += *c == '.';
        // Checked before anything is changed.
        CHECK((*c != '.' && *c != '=') || (c > assignment && c[-1] != '.'), STATUS_USAGE,
              "override '%.120s' has an empty name in its path", assignment);
    }
    struct yaml_node *value;
    char where[160];
    snprintf(where, sizeof where, "override '%.120s'", assignment);
    TRY(yaml_value(yaml, equal + 1, where, &value));
    CHECK(steps + node_depth(value) <= YAML_DEPTH_MAX, STATUS_USAGE,
          "override '%.120s' goes deeper than %d levels", assignment, YAML_DEPTH_MAX);
    return override_walk(yaml, assignment, equal, value);
}
