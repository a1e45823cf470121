// SPDX-License-Identifier: MIT
// The canonical tree over grains: pure arithmetic, no communication. Called by reduce and trainer.
#include "comm/tree.h"

enum status tree_check(int grains, int size)
{
    CHECK(grains >= 1 && (grains & (grains - 1)) == 0, STATUS_USAGE,
          "grains is %d, expected a power of two (1, 2, 4, 8 ...)", grains);
    CHECK(size >= 1, STATUS_USAGE, "%d ranks, expected at least 1", size);
    CHECK(size <= grains, STATUS_USAGE,
          "more ranks than grains: %d ranks, %d grains; start at most %d ranks or raise grains",
          size, grains, grains);
    return STATUS_OK;
}

struct tree_run tree_run_of(int grains, int size, int rank)
{
    ASSERT(size >= 1 && rank >= 0 && rank < size);
    int base = grains / size, more = grains % size;
    return (struct tree_run){.first = rank * base + (rank < more ? rank : more),
                             .count = base + (rank < more)};
}

int tree_nodes(struct tree_run run, struct tree_node nodes[TREE_NODES_MAX])
{
    int n = 0;
    int first = run.first, end = run.first + run.count;
    while (first < end) {
        int count = 1;
        while ((first & count) == 0 && count <= (end - first) / 2)
            count *= 2;
        ASSERT(n < TREE_NODES_MAX);
        nodes[n++] = (struct tree_node){.first = first, .count = count};
        first += count;
    }
    return n;
}

double tree_sum(const double *per_grain, int grains)
{
    if (grains == 1)
        return per_grain[0];
    int half = grains / 2;
    double left = tree_sum(per_grain, half);
    double right = tree_sum(per_grain + half, half);
    return left + right;
}
