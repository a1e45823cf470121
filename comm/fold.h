// SPDX-License-Identifier: MIT
// The partial sums of one worker over its own run of grains: a stack, like a binary counter.
// Vector i holds the i-th node of the stack from the left; the grain in the works is on top. When a
// range of it is final, it is added to the nodes it completes (left child += right child), for that
// range, while it is in cache. Used by reduce.c.
#ifndef SW2_COMM_FOLD_H
#define SW2_COMM_FOLD_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/span.h"
#include "comm/tree.h"

#define FOLD_FLOATS ((size_t)4096) // a piece of each operand that stays in the first-level cache

// sum = a + b; sum may be a or b itself. The same bits at any width.
typedef void fold_add(float *sum, const float *a, const float *b, size_t n);
fold_add *fold_add_choose(void); // by the instruction set in force

struct fold {
    float *vectors; // (as many as the stack gets deep, n), borrowed
    size_t n;
    struct tree_run run;
    fold_add *add;
    const struct span *added; // (n_added) ascending: see fold_sum; borrowed
    size_t n_added;
    // Of the step in hand:
    int n_grains;    // finished
    int depth;       // nodes on the stack
    int n_merged;    // how many of them the current grain completes
    bool is_open;    // a grain is in the works
    size_t n_below;  // ranges `added`, if its caller adds them, that begin below position
    size_t position; // its values from here on are folded
};

struct fold fold_make(float *vectors, size_t n, struct tree_run run);
// Vector of the next grain; the first one after the last begins anew.
float *fold_grain(struct fold *fold);
// Of a fresh grain that completes a node: its left child, to which the caller then adds the ranges
// `added`, each before it is pushed; NULL: there is none.
float *fold_sum(struct fold *fold);
// [offset, position) of the current grain is final: folds it.
void fold_push(struct fold *fold, size_t offset);
void fold_end(struct fold *fold); // of the grain, with all of it pushed
// The grain in the works is the last one: what is pushed is final in the stack, too.
static inline bool fold_is_last(const struct fold *fold)
{
    return fold->n_grains == fold->run.count - 1;
}

#endif
