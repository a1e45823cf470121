// SPDX-License-Identifier: MIT
// Looks at what an old group keeps its names in before HDF5 does, a tree of symbol table nodes and
// a local heap: HDF5 1.10 follows their sizes and places without asking whether they can be, out of
// bounds or for ever. Format: "HDF5 File Format Specification", version 3.0, III.A.1 (tree,
// version 1), III.B (symbol table node), III.C (entry), III.D (local heap). Called by h5_header.c.
#include <stdlib.h>
#include <string.h>

#include "data/h5_private.h"

enum { TREE_BYTES = 24, TABLE_BYTES = 8, ENTRY_BYTES = 40, HEAP_BYTES = 32, FREE_BYTES = 16 };
enum { CACHED_NOTHING = 0, CACHED_GROUP = 1, CACHED_LINK = 2 };
#define FREE_LIST_END 1

struct look {
    const struct h5 *file;
    uint64_t base;       // of addresses in the file
    unsigned tree_k;     // at most 2 tree_k children of a tree's node
    unsigned table_k;    // at most 2 table_k entries of a symbol table's
    unsigned char *name; // the heap's: texts that end in 0
    uint64_t n_names;    // bytes of them
    uint64_t left;       // bytes still to be read: a tree that bites its tail has no end
};

static bool node_read(struct look *look, uint64_t at, uint64_t n, unsigned char *out)
{
    if (n > look->left)
        return false;
    look->left -= n;
    return h5_bytes_read(look->file, look->base, at, n, out);
}

static bool name_is_sound(const struct look *look, uint64_t at)
{
    return at < look->n_names && memchr(look->name + at, 0, (size_t)(look->n_names - at));
}

// Free space: a list inside the heap's data; each part begins with the place of the next, and its
// size.
static bool free_list_is_sound(const struct look *look, uint64_t at)
{
    for (uint64_t most = look->n_names / FREE_BYTES; at != FREE_LIST_END; most--) {
        if (most == 0 || at > look->n_names || look->n_names - at < FREE_BYTES)
            return false;
        uint64_t bytes = h5_number(look->name + at + 8, 8);
        if (bytes < FREE_BYTES || bytes > look->n_names - at)
            return false;
        at = h5_number(look->name + at, 8);
    }
    return true;
}

// Signature, version, 3 reserved, bytes of the data, head of the free list, address of the data.
static bool heap_read(struct look *look, uint64_t at)
{
    unsigned char head[HEAP_BYTES];
    if (!node_read(look, at, sizeof head, head) || memcmp(head, "HEAP\0", 5) != 0)
        return false;
    look->n_names = h5_number(head + 8, 8);
    if (look->n_names == 0 || look->n_names > look->left)
        return false;
    look->name = malloc((size_t)look->n_names);
    return look->name && node_read(look, h5_number(head + 24, 8), look->n_names, look->name) &&
           free_list_is_sound(look, h5_number(head + 16, 8));
}

// Signature, version, reserved, entries (2 bytes); an entry: place of its name (8), address of its
// object's header (8), what else is kept here (4), 4 reserved, and that: 16.
static bool table_is_sound(struct look *look, uint64_t at)
{
    unsigned char head[TABLE_BYTES], entry[ENTRY_BYTES];
    if (!node_read(look, at, sizeof head, head) || memcmp(head, "SNOD\1", 5) != 0)
        return false;
    uint64_t n = h5_number(head + 6, 2);
    bool is_sound = n <= 2 * look->table_k;
    for (uint64_t i = 0; i < n && is_sound; i++) {
        is_sound = node_read(look, at + TABLE_BYTES + i * ENTRY_BYTES, sizeof entry, entry) &&
                   name_is_sound(look, h5_number(entry, 8));
        uint64_t cached = h5_number(entry + 16, 4);
        if (cached == CACHED_LINK)
            is_sound = is_sound && name_is_sound(look, h5_number(entry + 24, 4));
        else
            is_sound = is_sound && (cached == CACHED_NOTHING || cached == CACHED_GROUP);
    }
    return is_sound;
}

// Signature, type, level, children (2 bytes), neighbours (2 x 8); then keys, places of names, and
// addresses of children between them, 8 bytes each. level: as expected; -1: the root's, any.
static bool tree_is_sound(struct look *look, uint64_t at, int level)
{
    unsigned char head[TREE_BYTES];
    if (!node_read(look, at, sizeof head, head) || memcmp(head, "TREE\0", 5) != 0 ||
        (level >= 0 && head[5] != level))
        return false;
    uint64_t n = h5_number(head + 6, 2), bytes = 16 * n + 8;
    unsigned char *keys = n <= 2 * look->tree_k ? malloc((size_t)bytes) : NULL;
    bool is_sound = keys && node_read(look, at + TREE_BYTES, bytes, keys);
    for (uint64_t i = 0; i <= n && is_sound; i++) {
        is_sound = name_is_sound(look, h5_number(keys + 16 * i, 8));
        if (i == n || !is_sound)
            break;
        uint64_t child = h5_number(keys + 16 * i + 8, 8);
        is_sound = head[5] ? tree_is_sound(look, child, head[5] - 1) : table_is_sound(look, child);
    }
    free(keys);
    return is_sound;
}

bool h5_group_is_sound(const struct h5 *file, uint64_t base, uint64_t tree, uint64_t heap,
                       unsigned tree_k, unsigned table_k)
{
    struct look look = {
        .file = file, .base = base, .tree_k = tree_k, .table_k = table_k, .left = file->bytes};
    bool is_sound = heap_read(&look, heap) && tree_is_sound(&look, tree, -1);
    free(look.name);
    return is_sound;
}
