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

enum status tree_check_workers(int grains, int size, int n)
{
    TRY(tree_check(grains, size));
    CHECK(n >= 1 && n <= grains / size, STATUS_USAGE,
          "more threads than grains: %d rank%s x %d threads are %lld workers, a batch has %d "
          "grains; use at most %d thread%s a rank (train.threads, --threads) or raise train.grains",
          size, size > 1 ? "s" : "", n, (long long)size * n, grains, grains / size,
          grains / size > 1 ? "s" : "");
    return STATUS_OK;
}

struct tree_run tree_run_part(struct tree_run run, int n, int i)
{
    ASSERT(n >= 1 && i >= 0 && i < n);
    int base = run.count / n, more = run.count % n;
    return (struct tree_run){.first = run.first + i * base + (i < more ? i : more),
                             .count = base + (i < more)};
}

struct tree_run tree_run_of(int grains, int size, int rank)
{
    return tree_run_part((struct tree_run){.first = 0, .count = grains}, size, rank);
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
