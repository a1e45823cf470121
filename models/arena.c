// SPDX-License-Identifier: MIT
#include "models/arena.h"

#include <stdlib.h>

#include "comm/memory.h"

struct order {
    size_t floats, item;
};

static size_t align(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

static int larger_first(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->floats != y->floats)
        return x->floats > y->floats ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

static bool meet(const struct arena_item *a, const struct arena_item *b)
{
    for (int i = 0; i < a->n_spans; i++)
        for (int j = 0; j < b->n_spans; j++)
            if (a->span[i].first <= b->span[j].last && b->span[j].first <= a->span[i].last)
                return true;
    return false;
}

// placed: numbers of the items that have an offset, in rising order of it.
static size_t offset_find(const struct arena_item *items, const struct arena_item *item,
                          const size_t *placed, size_t n_placed)
{
    size_t at = 0;
    for (size_t i = 0; i < n_placed; i++) {
        const struct arena_item *other = &items[placed[i]];
        if (!meet(item, other))
            continue;
        if (other->offset >= at + align(item->floats))
            break; // all later ones lie higher
        if (other->offset + align(other->floats) > at)
            at = other->offset + align(other->floats);
    }
    return at;
}

static void shared_mark(struct arena_item *items, const size_t *placed, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            struct arena_item *a = &items[placed[i]], *b = &items[placed[j]];
            if (b->offset >= a->offset + align(a->floats))
                break;
            a->is_shared = b->is_shared = true;
        }
}

static size_t place(struct arena_item *items, size_t n, struct order *order, size_t *placed)
{
    size_t n_placed = 0, top = 0;
    for (size_t i = 0; i < n; i++)
        order[i] = (struct order){items[i].floats, i};
    qsort(order, n, sizeof *order, larger_first);
    for (size_t i = 0; i < n; i++) {
        struct arena_item *item = &items[order[i].item];
        item->offset = 0;
        item->is_shared = false;
        if (item->n_spans == 0 || item->floats == 0)
            continue;
        item->offset = offset_find(items, item, placed, n_placed);
        top = item->offset + align(item->floats) > top ? item->offset + align(item->floats) : top;
        size_t at = n_placed++;
        for (; at > 0 && items[placed[at - 1]].offset > item->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = order[i].item;
    }
    shared_mark(items, placed, n_placed);
    return top;
}

enum status arena_place(struct arena_item *items, size_t n, size_t *floats)
{
    struct order *order = NULL;
    size_t *placed = NULL;
    enum status status = memory_alloc(&order, n, sizeof *order, "memory plan");
    if (status == STATUS_OK)
        status = memory_alloc(&placed, n, sizeof *placed, "memory plan");
    if (status == STATUS_OK)
        *floats = place(items, n, order, placed);
    free(order);
    free(placed);
    return status;
}
