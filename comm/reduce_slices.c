// SPDX-License-Identifier: MIT
// Cuts the flat vector into buckets and slices, and counts what a reduction takes: pure, the same
// on all ranks. Called by reduce.c and by the plan of a run.
#include <limits.h>

#include "comm/reduce_private.h"

struct span reduce_bucket(const struct reduce_plan *plan, size_t bucket)
{
    size_t end = plan->n - bucket * plan->bucket;
    size_t count = end < plan->bucket ? end : plan->bucket;
    return (struct span){.offset = end - count, .count = count};
}

struct span reduce_half(struct span range, int is_upper)
{
    size_t lower = (range.count / SPAN_BLOCK + 1) / 2 * SPAN_BLOCK;
    if (is_upper)
        return (struct span){.offset = range.offset + lower, .count = range.count - lower};
    return (struct span){.offset = range.offset, .count = lower};
}

struct span reduce_halved(struct span bucket, int rank, int rounds)
{
    for (int round = 0; round < rounds; round++)
        bucket = reduce_half(bucket, rank >> round & 1);
    return bucket;
}

struct span reduce_slice(const struct reduce_plan *plan, size_t bucket, int rank)
{
    struct span range = reduce_bucket(plan, bucket);
    if (plan->is_halving)
        return reduce_halved(range, rank, plan->rounds);
    size_t blocks = range.count / SPAN_BLOCK, size = (size_t)plan->size;
    size_t begin = blocks * (size_t)rank / size, end = blocks * ((size_t)rank + 1) / size;
    return (struct span){.offset = range.offset + begin * SPAN_BLOCK,
                         .count = (end - begin) * SPAN_BLOCK};
}

size_t reduce_list_slices(const struct reduce_plan *plan, int rank, struct span *spans)
{
    size_t n = 0, last_end = (size_t)-1;
    for (size_t bucket = plan->n_buckets; bucket-- > 0;) {
        struct span slice = reduce_slice(plan, bucket, rank);
        if (slice.count == 0)
            continue;
        if (slice.offset != last_end) {
            n++;
            if (spans)
                spans[n - 1] = (struct span){.offset = slice.offset, .count = 0};
        }
        if (spans)
            spans[n - 1].count += slice.count;
        last_end = slice.offset + slice.count;
    }
    return n;
}

static int node_count(int grains, int size, int rank)
{
    struct tree_node nodes[TREE_NODES_MAX];
    return tree_nodes(tree_run_of(grains, size, rank), nodes);
}

// Most partial sums that stand beside a grain in the works, plus that grain.
static int count_buffers(struct tree_run run)
{
    struct tree_node nodes[TREE_NODES_MAX];
    int most = 0;
    for (int done = 0; done < run.count; done++) {
        int depth = tree_nodes((struct tree_run){.first = run.first, .count = done}, nodes);
        most = depth > most ? depth : most;
    }
    return most + 1;
}

struct tree_run reduce_worker_run(const struct reduce_plan *plan, int rank, int worker)
{
    return tree_run_part(tree_run_of(plan->grains, plan->size, rank), plan->workers, worker);
}

int reduce_first_vector(const struct reduce_plan *plan, int rank, int worker)
{
    int first = 0;
    for (int w = 0; w < worker; w++)
        first += count_buffers(reduce_worker_run(plan, rank, w));
    return first;
}

// What takes messages takes more memory than what is shared.
static void plan_messages(struct reduce_plan *plan, int most_nodes)
{
    if (plan->is_halving) { // halves are received into vector 1
        plan->n_buffers = plan->n_buffers < 2 ? 2 : plan->n_buffers;
        plan->n_requests = 2;
        plan->n_tags = (size_t)plan->rounds;
    } else if (plan->size > 1) {
        size_t remote = (size_t)(plan->n_all_nodes - plan->n_nodes);
        plan->staged_floats = remote * plan->own_floats;
        plan->n_requests = remote + (size_t)plan->n_nodes * (size_t)(plan->size - 1);
        plan->n_tags = (size_t)most_nodes;
    }
}

struct reduce_plan reduce_plan_make(size_t n, int grains, int size, int rank, int workers,
                                    size_t bucket_bytes)
{
    ASSERT(n % SPAN_BLOCK == 0);
    size_t floats = bucket_bytes / sizeof(float) + (bucket_bytes % sizeof(float) != 0);
    floats = floats >= n ? n : span_round(floats);
    struct reduce_plan plan = {.n = n,
                               .bucket = floats > 0 ? floats : SPAN_BLOCK,
                               .grains = grains,
                               .size = size,
                               .rank = rank,
                               .workers = workers,
                               .is_halving = size > 1 && (size & (size - 1)) == 0,
                               .run = tree_run_of(grains, size, rank)};
    plan.n_buckets = (n + plan.bucket - 1) / plan.bucket;
    while (plan.is_halving && 1 << plan.rounds < size)
        plan.rounds++;
    plan.n_nodes = node_count(grains, size, rank);
    plan.n_buffers = reduce_first_vector(&plan, rank, workers);
    int most_nodes = 0;
    for (int r = 0; r < size; r++) {
        int nodes = node_count(grains, size, r);
        plan.n_all_nodes += nodes;
        most_nodes = nodes > most_nodes ? nodes : most_nodes;
    }
    for (size_t bucket = 0; bucket < plan.n_buckets; bucket++)
        plan.own_floats += reduce_slice(&plan, bucket, rank).count;
    plan_messages(&plan, most_nodes);
    return plan;
}

enum status reduce_check_limits(const struct reduce_plan *plan, int largest_tag)
{
    CHECK(plan->n / SPAN_BLOCK <= INT_MAX, STATUS_USAGE,
          "a vector of %zu floats is more than this reduction can carry", plan->n);
    size_t most = (size_t)INT_MAX;
    CHECK(plan->bucket <= most || plan->size == 1, STATUS_USAGE,
          "buckets of %zu floats are more than MPI can count; use smaller ones", plan->bucket);
    CHECK(plan->n_requests == 0 || plan->n_buckets <= most / plan->n_requests, STATUS_USAGE,
          "%zu buckets of %zu messages are more than MPI can count; use larger buckets",
          plan->n_buckets, plan->n_requests);
    CHECK(plan->n_tags == 0 || plan->n_buckets <= (size_t)largest_tag / plan->n_tags, STATUS_USAGE,
          "%zu buckets need more message tags than this MPI has (%d); use larger buckets",
          plan->n_buckets, largest_tag);
    return STATUS_OK;
}

size_t reduce_bytes(size_t n, int grains, int size, int rank, int workers, size_t bucket_bytes,
                    bool is_shared)
{
    struct reduce_plan plan = reduce_plan_make(n, grains, size, rank, workers, bucket_bytes);
    int n_vectors = is_shared ? reduce_first_vector(&plan, rank, workers) : plan.n_buffers;
    size_t vectors = (size_t)n_vectors * n * sizeof(float);
    if (size == 1 && workers == 1)
        return vectors;
    size_t parts = (size_t)plan.n_all_nodes + (size_t)size * (size_t)workers;
    size_t scratch = (size_t)workers * parts * REDUCE_TREE_FLOATS;
    size_t tables = plan.n_buckets * (size_t)size * sizeof(struct span) +
                    plan.n_buckets * (plan.n_requests * 12 + 32) +
                    n / SPAN_BLOCK * (2 * sizeof(double) + sizeof(struct merge_piece));
    size_t staged = is_shared ? 0 : plan.staged_floats;
    return vectors + (staged + scratch) * sizeof(float) + tables;
}

// Of another rank's memory are read: of the vectors with its partial sums this rank's slices, of
// its weights and gathered state its own slices. Linux maps the 64 KiB around a page that is read:
// at either end of a piece, unless what lies there is read anyway (two ranks: the other half).
#define AROUND ((size_t)64 << 10)

size_t reduce_shared_bytes(size_t n, int grains, int size, int rank, int workers,
                           size_t bucket_bytes, bool has_state)
{
    struct reduce_plan plan = reduce_plan_make(n, grains, size, rank, workers, bucket_bytes);
    struct tree_node nodes[TREE_NODES_MAX];
    size_t partial = 0;
    for (int r = 0; r < size; r++)
        for (int w = 0; r != rank && w < workers; w++)
            partial += (size_t)tree_nodes(reduce_worker_run(&plan, r, w), nodes);
    size_t kinds = has_state ? 2 : 1, gathered = kinds * (n - plan.own_floats);
    size_t pieces = plan.n_buckets * (size_t)(size - 1) * (size > 2 ? 1 + kinds : 1);
    return (partial * plan.own_floats + gathered) * sizeof(float) + pieces * AROUND;
}

size_t reduce_sent_bytes(size_t n, int grains, int size, int rank)
{
    if (size == 1 || n == 0)
        return 0;
    struct reduce_plan plan = reduce_plan_make(n, grains, size, rank, 1, n * sizeof(float));
    size_t given = (size_t)plan.n_nodes * (n - plan.own_floats); // halving: n_nodes is 1
    size_t gathered = plan.own_floats * (size_t)(size - 1);
    return (given + gathered) * sizeof(float);
}
