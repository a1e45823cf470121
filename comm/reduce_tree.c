// SPDX-License-Identifier: MIT
// Trees of additions: which partial sums of which workers or ranks are added to which, and the
// addition itself. The order of additions is that of the tree over grains, whoever does them.
#include <stdlib.h>

#include "comm/memory.h"
#include "comm/reduce_private.h"

static enum status tree_alloc(struct reduce_tree *tree, size_t most)
{
    *tree = (struct reduce_tree){0};
    TRY(memory_alloc(&tree->parts, most, sizeof *tree->parts, "tree of sums"));
    TRY(memory_alloc(&tree->merges, most, sizeof *tree->merges, "tree of sums"));
    return memory_alloc(&tree->roots, most, sizeof *tree->roots, "tree of sums");
}

void reduce_tree_free(struct reduce_tree *tree)
{
    free(tree->parts);
    free(tree->merges);
    free(tree->roots);
}

// The roots so far, while parts come from the left.
struct builder {
    struct reduce_tree *tree;
    struct tree_node stack[TREE_NODES_MAX];
    int number[TREE_NODES_MAX];  // leftmost part of each
    bool is_sum[TREE_NODES_MAX]; // of more parts than that
    int depth, n_merges;
};

// Whenever the two rightmost nodes are siblings they merge.
static void builder_add(struct builder *b, struct tree_node node, struct reduce_part part)
{
    struct reduce_tree *tree = b->tree;
    ASSERT(b->depth < TREE_NODES_MAX);
    b->stack[b->depth] = node;
    b->is_sum[b->depth] = false;
    b->number[b->depth++] = tree->n_parts;
    tree->parts[tree->n_parts++] = part;
    while (b->depth > 1 && b->stack[b->depth - 2].count == b->stack[b->depth - 1].count &&
           (b->stack[b->depth - 2].first & b->stack[b->depth - 2].count) == 0) {
        b->depth--;
        b->stack[b->depth - 1].count *= 2;
        tree->merges[b->n_merges++] =
            (struct reduce_merge){b->number[b->depth - 1], b->number[b->depth],
                                  b->is_sum[b->depth - 1], b->is_sum[b->depth]};
        b->is_sum[b->depth - 1] = true;
    }
}

static void builder_end(struct builder *b)
{
    struct reduce_tree *tree = b->tree;
    tree->n_roots = b->depth;
    for (int i = 0; i < b->depth; i++) {
        int next = i + 1 < b->depth ? b->number[i + 1] : tree->n_parts;
        tree->roots[i] = (struct reduce_root){
            .first = b->number[i], .n_parts = next - b->number[i], .first_merge = b->number[i] - i};
    }
    ASSERT(b->n_merges == tree->n_parts - tree->n_roots);
}

enum status reduce_tree_of_workers(struct reduce_tree *tree, const struct reduce_plan *plan,
                                   int first, int last)
{
    struct tree_node nodes[TREE_NODES_MAX];
    size_t most = 0;
    for (int i = first * plan->workers; i < last * plan->workers; i++)
        most += (size_t)tree_nodes(reduce_worker_run(plan, i / plan->workers, i % plan->workers),
                                   nodes);
    TRY(tree_alloc(tree, most));
    struct builder builder = {.tree = tree};
    for (int i = first * plan->workers; i < last * plan->workers; i++) {
        int rank = i / plan->workers, worker = i % plan->workers;
        int n = tree_nodes(reduce_worker_run(plan, rank, worker), nodes);
        int vector = reduce_first_vector(plan, rank, worker);
        for (int k = 0; k < n; k++)
            builder_add(&builder, nodes[k], (struct reduce_part){rank, vector + k});
    }
    builder_end(&builder);
    return STATUS_OK;
}

enum status reduce_tree_of_ranks(struct reduce_tree *tree, const struct reduce_plan *plan)
{
    struct tree_node nodes[TREE_NODES_MAX];
    TRY(tree_alloc(tree, (size_t)plan->n_all_nodes));
    struct builder builder = {.tree = tree};
    for (int rank = 0; rank < plan->size; rank++) {
        int n = tree_nodes(tree_run_of(plan->grains, plan->size, rank), nodes);
        for (int k = 0; k < n; k++)
            builder_add(&builder, nodes[k], (struct reduce_part){rank, k});
    }
    builder_end(&builder);
    ASSERT(tree->n_roots == 1 && builder.stack[0].count == plan->grains);
    return STATUS_OK;
}

// A chunk at a time, so that what is added up stays in the first-level cache.
void reduce_tree_add(const struct reduce_tree *tree, const struct reduce_root *root, fold_add *add,
                     const float *const *parts, size_t offset, float *out, size_t n, float *scratch)
{
    const struct reduce_merge *merges = tree->merges + root->first_merge;
    int n_merges = root->n_parts - 1;
    for (size_t at = 0; at < n; at += REDUCE_TREE_FLOATS) {
        size_t count = n - at < REDUCE_TREE_FLOATS ? n - at : REDUCE_TREE_FLOATS;
        for (int i = 0; i < n_merges; i++) {
            const struct reduce_merge *m = &merges[i];
            float *left = scratch + (size_t)m->into * REDUCE_TREE_FLOATS;
            const float *right = scratch + (size_t)m->from * REDUCE_TREE_FLOATS;
            add(i + 1 == n_merges ? out + at : left,
                m->into_is_sum ? left : parts[m->into] + offset + at,
                m->from_is_sum ? right : parts[m->from] + offset + at, count);
        }
    }
}
