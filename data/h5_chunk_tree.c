// SPDX-License-Identifier: MIT
// Looks at the tree that says where chunks are before HDF5 does: HDF5 1.10 reads as many bytes as a
// key says into a buffer of a chunk's size, which without filters is all a chunk can have. Format:
// "HDF5 File Format Specification", version 3.0, III.A.1 (tree, version 1, nodes of type 1). Called
// by h5_header.c.
#include <stdlib.h>
#include <string.h>

#include "data/h5_private.h"

enum { TREE_BYTES = 24 };

struct look {
    const struct h5 *file;
    uint64_t base;   // of addresses in the file
    uint64_t key;    // bytes of a key: size (4), filters left out (4), 8 for each dimension
    uint64_t expect; // bytes of a chunk
    uint64_t left;   // bytes still to be read: a tree that bites its tail has no end
};

// Signature, type, level, children (2 bytes), neighbours (2 x 8); then keys, and addresses of
// children (8) between them. level: as expected; -1: the root's, any.
static bool node_is_sound(struct look *look, uint64_t at, int level)
{
    unsigned char head[TREE_BYTES];
    if (look->left < sizeof head || !h5_bytes_read(look->file, look->base, at, sizeof head, head) ||
        memcmp(head, "TREE\1", 5) != 0 || (level >= 0 && head[5] != level))
        return false;
    look->left -= sizeof head;
    uint64_t n = h5_number(head + 6, 2), step = look->key + 8, bytes = n * step;
    if (bytes > look->left)
        return false;
    look->left -= bytes;
    unsigned char *keys = malloc((size_t)bytes + 1);
    bool is_sound = keys && h5_bytes_read(look->file, look->base, at + TREE_BYTES, bytes, keys);
    for (uint64_t i = 0; i < n && is_sound; i++)
        is_sound = head[5]
                       ? node_is_sound(look, h5_number(keys + i * step + look->key, 8), head[5] - 1)
                       : h5_number(keys + i * step, 4) == look->expect;
    free(keys);
    return is_sound;
}

bool h5_chunk_tree_is_sound(const struct h5 *file, uint64_t base, uint64_t tree, int rank,
                            uint64_t chunk_bytes)
{
    struct look look = {.file = file,
                        .base = base,
                        .key = 8 + 8 * (uint64_t)rank,
                        .expect = chunk_bytes,
                        .left = file->bytes};
    return tree == UINT64_MAX || node_is_sound(&look, tree, -1); // no address: no chunk yet
}
