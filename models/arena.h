// SPDX-License-Identifier: MIT
// Which pieces of one memory may lie on top of each other: pieces with lifetimes get offsets so
// that no two alive at a time overlap. Pure; the graph plans its memory with it.
#ifndef SW2_MODELS_ARENA_H
#define SW2_MODELS_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/error.h"

#define ARENA_SPANS 2

struct arena_item {
    size_t floats;
    struct arena_span {
        size_t first, last; // both included
    } span[ARENA_SPANS];    // when it is alive: in order, disjoint
    int n_spans;            // 0: never; it takes no memory
    size_t offset;          // set: floats, a multiple of 16 (64 bytes)
    bool is_shared;         // set: some other item uses part of the same memory
};

// Makes it alive at a time, from when its last span began; time never falls between calls.
static inline void arena_use(struct arena_item *item, size_t time)
{
    ASSERT(item->n_spans > 0 && time >= item->span[item->n_spans - 1].last);
    item->span[item->n_spans - 1].last = time;
}
static inline void arena_begin(struct arena_item *item, size_t time)
{
    ASSERT(item->n_spans < ARENA_SPANS);
    item->span[item->n_spans++] = (struct arena_span){time, time};
}

// Sets offset and is_shared of all items; *floats: what all need. Largest first, each at the lowest
// offset that is free all its life (the greedy-by-size rule of Pisarchyk and Lee 2020).
// STATUS_ERROR: memory.
enum status arena_place(struct arena_item *items, size_t n, size_t *floats);

#endif
