// SPDX-License-Identifier: MIT
// The canonical binary tree over grains (pure arithmetic). Grain count G is a power of two; node
// (first, count) is the sum of its two halves; the root is (0, G). Ranks own contiguous runs of
// grains: the first G % size ranks have one more.
#ifndef SW2_COMM_TREE_H
#define SW2_COMM_TREE_H

#include "comm/error.h"

#define TREE_NODES_MAX 64 // maximal subtrees of one run: at most 2 log2(G)

struct tree_node {
    int first, count; // count is a power of two, first a multiple of it
};

struct tree_run {
    int first, count; // grains of one rank
};

// STATUS_USAGE unless grains is a power of two and 1 <= size <= grains ("more ranks than grains").
enum status tree_check(int grains, int size);
// The same for size ranks of n workers each: size * n <= grains.
enum status tree_check_workers(int grains, int size, int n);
struct tree_run tree_run_of(int grains, int size, int rank);
// Part i of a run that n share, cut the same way (the workers of a rank). n <= run.count.
struct tree_run tree_run_part(struct tree_run run, int n, int i);
// Maximal subtrees of a run, left to right. Returns how many.
int tree_nodes(struct tree_run run, struct tree_node nodes[TREE_NODES_MAX]);
// Folds one double per grain (all G) in tree order.
double tree_sum(const double *per_grain, int grains);

#endif
