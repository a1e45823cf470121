// SPDX-License-Identifier: MIT
// The stack of partial sums and the one loop of all sums: adding two vectors.
#include "comm/fold.h"

#include <string.h>

#include "comm/isa.h"
#include "comm/rehearsal.h"

// One loop for each width: gcc would take the scalar way where sum and a are the same vector.
#define ADD(name, attribute, width)                                                                \
    typedef float vec_##name __attribute__((vector_size(width)));                                  \
    attribute static void add_##name(float *sum, const float *a, const float *b, size_t n)         \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + width / sizeof(float) <= n; i += width / sizeof(float)) {                       \
            vec_##name x, y;                                                                       \
            memcpy(&x, a + i, width);                                                              \
            memcpy(&y, b + i, width);                                                              \
            x = x + y;                                                                             \
            memcpy(sum + i, &x, width);                                                            \
        }                                                                                          \
        for (; i < n; i++)                                                                         \
            sum[i] = a[i] + b[i];                                                                  \
    }

ADD(base, , 16)
#if defined(__x86_64__)
ADD(avx2, __attribute__((target("avx2"))), 32)
#endif

fold_add *fold_add_choose(void)
{
#if defined(__x86_64__)
    if (isa_current() >= ISA_AVX2)
        return rehearsal_add(add_avx2);
#endif
    return rehearsal_add(add_base);
}

struct fold fold_make(float *vectors, size_t n, struct tree_run run)
{
    return (struct fold){.vectors = vectors, .n = n, .run = run, .add = fold_add_choose()};
}

float *fold_grain(struct fold *fold)
{
    ASSERT(!fold->is_open);
    if (fold->n_grains == fold->run.count)
        fold->n_grains = fold->depth = 0;
    fold->n_merged = 0;
    int first = fold->run.first + fold->n_grains, count = 1;
    while ((first & count) != 0 && first - count >= fold->run.first) {
        first -= count;
        count *= 2;
        fold->n_merged++;
    }
    fold->is_open = true;
    fold->n_below = 0;
    fold->position = fold->n;
    return fold->vectors + (size_t)fold->depth * fold->n;
}

float *fold_sum(struct fold *fold)
{
    ASSERT(fold->is_open && fold->position == fold->n);
    fold->n_below = fold->n_merged > 0 ? fold->n_added : 0;
    return fold->n_below > 0 ? fold->vectors + (size_t)(fold->depth - 1) * fold->n : NULL;
}

// Adds [begin, end) of the nodes; is_added: the grain's own is added already.
static void range_add(const struct fold *fold, size_t begin, size_t end, bool is_added)
{
    for (size_t at = begin; at < end; at += FOLD_FLOATS) {
        size_t n = end - at < FOLD_FLOATS ? end - at : FOLD_FLOATS;
        for (int top = fold->depth - is_added; top > fold->depth - fold->n_merged; top--) {
            float *left = fold->vectors + (size_t)(top - 1) * fold->n + at;
            fold->add(left, left, left + fold->n, n);
        }
    }
}

void fold_push(struct fold *fold, size_t offset)
{
    size_t end = fold->position;
    ASSERT(fold->is_open && offset <= end);
    fold->position = offset;
    for (size_t begin = offset; fold->n_merged > 0 && end > offset; end = begin, begin = offset) {
        bool is_added = false;
        while (fold->n_below > 0 && fold->added[fold->n_below - 1].offset >= end)
            fold->n_below--;
        if (fold->n_below > 0) {
            struct span span = fold->added[fold->n_below - 1];
            is_added = span.offset + span.count >= end; // else there are others above it
            size_t edge = is_added ? span.offset : span.offset + span.count;
            begin = edge > offset ? edge : offset;
        }
        range_add(fold, begin, end, is_added);
    }
}

void fold_end(struct fold *fold)
{
    ASSERT(fold->is_open && fold->position == 0);
    fold->is_open = false;
    fold->depth += 1 - fold->n_merged;
    fold->n_grains++;
}
