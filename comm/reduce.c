// SPDX-License-Identifier: MIT
// The canonical sum over grains: folds this rank's grains, then adds across ranks bucket by bucket
// with non-blocking messages. Owns the gradient vectors, slices and requests; the arithmetic of who
// owns what is reduce_slices.c. Called by the training loop.
//
// Local fold: a stack of partial sums. Buffer i holds the i-th node of the stack from the left; the
// grain in the works is on top. When a range of it is final, it is added to the nodes it completes
// (left child += right child), for that range, while it is in cache.
#include "comm/reduce.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/laps.h"
#include "comm/memory.h"
#include "comm/reduce_state.h"
#include "comm/rehearsal.h"

#define FOLD_FLOATS ((size_t)4096) // a piece of each operand that stays in the first-level cache

static void add_base(float *restrict a, const float *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = a[i] + b[i];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void add_avx2(float *restrict a, const float *restrict b,
                                                     size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = a[i] + b[i];
}
#endif

// The same bits at any width: an addition does not know its neighbours.
static void choose_add(struct reduce *reduce)
{
    reduce->add = add_base;
#if defined(__x86_64__)
    if (isa_current() >= ISA_AVX2)
        reduce->add = add_avx2;
#endif
    reduce->add = rehearsal_add(reduce->add);
}

static float *buffer_at(const struct reduce *reduce, int buffer, size_t offset)
{
    return reduce->vectors + (size_t)buffer * reduce->plan.n + offset;
}

// Setting up.

static enum status alloc_parallel(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    size_t size = (size_t)plan->size, nodes = (size_t)plan->n_all_nodes;
    size_t requests = plan->n_buckets * plan->n_requests;
    TRY(memory_alloc(&reduce->staged, plan->staged_floats, sizeof(float), "received partial sums"));
    TRY(memory_alloc(&reduce->parts, nodes, sizeof(float *), "tree nodes"));
    TRY(memory_alloc(&reduce->nodes, nodes, sizeof(struct reduce_node), "tree nodes"));
    TRY(memory_alloc(&reduce->merges, nodes, sizeof(struct reduce_merge), "tree merges"));
    TRY(memory_alloc(&reduce->requests, requests, sizeof(MPI_Request), "MPI requests"));
    TRY(memory_alloc(&reduce->indices, requests, sizeof(int), "MPI request numbers"));
    TRY(memory_alloc(&reduce->counts, size, sizeof(int), "counts of the all-gather"));
    TRY(memory_alloc(&reduce->displacements, size + 1, sizeof(int), "offsets of the all-gather"));
    TRY(memory_alloc(&reduce->packed, plan->n / SPAN_BLOCK, sizeof(double), "sums of blocks"));
    return STATUS_OK;
}

static enum status alloc_all(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    size_t size = (size_t)plan->size, n_spans = 0;
    TRY(memory_alloc(&reduce->vectors, (size_t)plan->n_buffers * plan->n, sizeof(float),
                     "gradient vectors"));
    TRY(memory_alloc(&reduce->spans_first, size + 1, sizeof(size_t), "slices of ranks"));
    for (int rank = 0; rank < plan->size; rank++) {
        n_spans += reduce_list_slices(plan, rank, NULL);
        reduce->spans_first[rank + 1] = n_spans;
    }
    TRY(memory_alloc(&reduce->spans, n_spans, sizeof(struct span), "slices of ranks"));
    for (int rank = 0; rank < plan->size; rank++)
        reduce_list_slices(plan, rank, reduce->spans + reduce->spans_first[rank]);
    TRY(memory_alloc(&reduce->buckets, plan->n_buckets, sizeof(struct bucket), "buckets"));
    return plan->size > 1 ? alloc_parallel(reduce) : STATUS_OK;
}

static void plan_parallel(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    reduce_plan_merges(plan, reduce->nodes, reduce->merges);
    for (size_t i = 0; i < plan->n_buckets * plan->n_requests; i++)
        reduce->requests[i] = MPI_REQUEST_NULL;
    size_t own = 0;
    for (size_t b = 0; b < plan->n_buckets; b++) {
        reduce->buckets[b].own_before = own;
        own += reduce_slice(plan, b, plan->rank).count;
    }
    MPI_CHECK(reduce, MPI_Comm_dup, MPI_COMM_WORLD, &reduce->comm);
    MPI_CHECK(reduce, MPI_Type_contiguous, (int)SPAN_BLOCK, MPI_FLOAT, &reduce->block);
    MPI_CHECK(reduce, MPI_Type_commit, &reduce->block);
}

enum status reduce_init(struct reduce **out, struct group *group, size_t n, int grains,
                        size_t bucket_bytes)
{
    *out = NULL;
    TRY(tree_check(grains, group->size));
    struct reduce *reduce = NULL;
    enum status status = memory_alloc(&reduce, 1, sizeof *reduce, "reduction");
    if (status == STATUS_OK) {
        reduce->group = group;
        reduce->plan = reduce_plan_make(n, grains, group->size, group->rank, bucket_bytes);
        reduce->comm = MPI_COMM_NULL;
        reduce->block = MPI_DATATYPE_NULL;
        choose_add(reduce);
        int *largest_tag = NULL, is_known = 0;
        if (group->size > 1)
            MPI_CHECK(reduce, MPI_Comm_get_attr, MPI_COMM_WORLD, MPI_TAG_UB, (void *)&largest_tag,
                      &is_known);
        status = reduce_check_limits(&reduce->plan, is_known ? *largest_tag : 32767);
    }
    if (status == STATUS_OK)
        status = alloc_all(reduce);
    status = group_agree(group, status);
    if (status != STATUS_OK) {
        reduce_free(reduce);
        return status;
    }
    if (group->size > 1)
        plan_parallel(reduce);
    *out = reduce;
    return STATUS_OK;
}

void reduce_free(struct reduce *reduce)
{
    // With messages under way MPI still writes to the buffers: then the job is ending, and they
    // stay.
    if (!reduce || reduce->done < reduce->begun)
        return;
    if (reduce->comm != MPI_COMM_NULL)
        MPI_Comm_free(&reduce->comm);
    if (reduce->block != MPI_DATATYPE_NULL)
        MPI_Type_free(&reduce->block);
    void *owned[] = {reduce->vectors,      reduce->staged,  reduce->parts,       reduce->nodes,
                     reduce->merges,       reduce->spans,   reduce->spans_first, reduce->buckets,
                     reduce->requests,     reduce->indices, reduce->counts,      reduce->packed,
                     reduce->displacements};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    free(reduce);
}

// Sums across ranks.

// Halving: the half that this rank keeps comes from the partner into buffer 1, at its own place:
// that buffer's values there have been folded already, and padding stays zero.
static void begin_round(struct reduce *reduce, size_t b)
{
    const struct reduce_plan *plan = &reduce->plan;
    struct bucket *bucket = &reduce->buckets[b];
    for (; bucket->round < plan->rounds && bucket->pending == 0; bucket->round++) {
        int upper = plan->rank >> bucket->round & 1, partner = plan->rank ^ 1 << bucket->round;
        struct span range = reduce_halved(reduce_bucket(plan, b), plan->rank, bucket->round);
        struct span keep = reduce_half(range, upper), give = reduce_half(range, !upper);
        reduce_receive(reduce, b, bucket->round, buffer_at(reduce, 1, keep.offset), keep.count,
                       partner);
        reduce_send(reduce, b, bucket->round, buffer_at(reduce, 0, give.offset), give.count,
                    partner);
        if (bucket->pending > 0)
            return;
    }
    bucket->is_done = true;
}

static void end_round(struct reduce *reduce, size_t b)
{
    struct bucket *bucket = &reduce->buckets[b];
    struct span keep =
        reduce_halved(reduce_bucket(&reduce->plan, b), reduce->plan.rank, ++bucket->round);
    reduce->add(buffer_at(reduce, 0, keep.offset), buffer_at(reduce, 1, keep.offset), keep.count);
    begin_round(reduce, b);
}

// Where this bucket's slice of every node is: in this rank's buffers or in staging.
static void locate_parts(struct reduce *reduce, size_t b)
{
    const struct reduce_plan *plan = &reduce->plan;
    struct span own = reduce_slice(plan, b, plan->rank);
    size_t remote = (size_t)(plan->n_all_nodes - plan->n_nodes);
    float *next = reduce->staged + remote * reduce->buckets[b].own_before;
    for (int node = 0; node < plan->n_all_nodes; node++) {
        if (reduce->nodes[node].owner == plan->rank) {
            reduce->parts[node] = buffer_at(reduce, reduce->nodes[node].index, own.offset);
        } else {
            reduce->parts[node] = next;
            next += own.count;
        }
    }
}

// Any number of ranks: every node's slices go to their owners.
static void begin_exchange(struct reduce *reduce, size_t b)
{
    const struct reduce_plan *plan = &reduce->plan;
    struct span own = reduce_slice(plan, b, plan->rank);
    locate_parts(reduce, b);
    for (int node = 0; node < plan->n_all_nodes; node++)
        if (reduce->nodes[node].owner != plan->rank)
            reduce_receive(reduce, b, reduce->nodes[node].index, reduce->parts[node], own.count,
                           reduce->nodes[node].owner);
    for (int step = 1; step < plan->size; step++) { // not all to rank 0 first
        int to = (plan->rank + step) % plan->size;
        struct span slice = reduce_slice(plan, b, to);
        for (int node = 0; node < plan->n_nodes; node++)
            reduce_send(reduce, b, node, buffer_at(reduce, node, slice.offset), slice.count, to);
    }
    reduce->buckets[b].is_done = reduce->buckets[b].pending == 0;
}

static void end_exchange(struct reduce *reduce, size_t b)
{
    const struct reduce_plan *plan = &reduce->plan;
    struct span own = reduce_slice(plan, b, plan->rank);
    locate_parts(reduce, b);
    for (size_t begin = 0; begin < own.count; begin += FOLD_FLOATS) {
        size_t n = own.count - begin < FOLD_FLOATS ? own.count - begin : FOLD_FLOATS;
        for (int i = 0; i < plan->n_all_nodes - 1; i++)
            reduce->add(reduce->parts[reduce->merges[i].into] + begin,
                        reduce->parts[reduce->merges[i].from] + begin, n);
        float *sum = buffer_at(reduce, 0, own.offset + begin);
        if (reduce->parts[0] + begin != sum)
            memcpy(sum, reduce->parts[0] + begin, n * sizeof *sum);
    }
    reduce->buckets[b].is_done = true;
}

static void begin_bucket(struct reduce *reduce, size_t b)
{
    struct bucket *bucket = &reduce->buckets[b];
    bucket->pending = bucket->round = 0;
    bucket->is_done = false;
    if (reduce->plan.is_halving)
        begin_round(reduce, b);
    else
        begin_exchange(reduce, b);
}

// Moves on every bucket whose messages have arrived. Waits for at least one where asked to.
static void progress(struct reduce *reduce, bool is_waiting)
{
    size_t per_bucket = reduce->plan.n_requests;
    while (reduce->done < reduce->begun && reduce->buckets[reduce->done].is_done)
        reduce->done++;
    if (reduce->done == reduce->begun)
        return;
    size_t first = reduce->done;
    int n = reduce_narrow((reduce->begun - first) * per_bucket), n_done = 0;
    MPI_Request *requests = reduce->requests + first * per_bucket;
    if (is_waiting)
        MPI_CHECK(reduce, MPI_Waitsome, n, requests, &n_done, reduce->indices, MPI_STATUSES_IGNORE);
    else
        MPI_CHECK(reduce, MPI_Testsome, n, requests, &n_done, reduce->indices, MPI_STATUSES_IGNORE);
    ASSERT(n_done != MPI_UNDEFINED);
    for (int i = 0; i < n_done; i++) {
        size_t b = first + (size_t)reduce->indices[i] / per_bucket;
        if (--reduce->buckets[b].pending > 0)
            continue;
        if (reduce->plan.is_halving)
            end_round(reduce, b);
        else
            end_exchange(reduce, b);
    }
}

// The step.

float *reduce_grain(struct reduce *reduce)
{
    const struct tree_run *run = &reduce->plan.run;
    ASSERT(!reduce->is_open && reduce->n_grains < run->count);
    if (reduce->n_grains == 0) {
        reduce->depth = 0;
        reduce->begun = reduce->done = 0;
    }
    reduce->n_merged = 0;
    int first = run->first + reduce->n_grains, count = 1;
    while ((first & count) != 0 && first - count >= run->first) {
        first -= count;
        count *= 2;
        reduce->n_merged++;
    }
    reduce->is_open = true;
    reduce->position = reduce->plan.n;
    return buffer_at(reduce, reduce->depth, 0);
}

static void fold(struct reduce *reduce, size_t begin, size_t end)
{
    for (size_t at = begin; reduce->n_merged > 0 && at < end; at += FOLD_FLOATS) {
        size_t n = end - at < FOLD_FLOATS ? end - at : FOLD_FLOATS;
        for (int top = reduce->depth; top > reduce->depth - reduce->n_merged; top--)
            reduce->add(buffer_at(reduce, top - 1, at), buffer_at(reduce, top, at), n);
    }
}

void reduce_push(struct reduce *reduce, size_t offset)
{
    const struct reduce_plan *plan = &reduce->plan;
    if (!reduce->is_open) { // layers without parameters come after the one that ends the vector
        ASSERT(offset == 0 && reduce->n_grains > 0);
        progress(reduce, false);
        return;
    }
    ASSERT(offset <= reduce->position);
    bool is_last = plan->size > 1 && reduce->n_grains == plan->run.count - 1;
    while (reduce->position > offset) {
        size_t stop = offset;
        if (is_last) {
            size_t begin = reduce_bucket(plan, reduce->begun).offset;
            stop = begin > offset ? begin : offset;
        }
        fold(reduce, stop, reduce->position);
        reduce->position = stop;
        if (is_last && stop == reduce_bucket(plan, reduce->begun).offset) {
            reduce->began = reduce->begun == 0 ? laps_now() : reduce->began;
            begin_bucket(reduce, reduce->begun++);
            progress(reduce, false);
        }
    }
    if (is_last)
        progress(reduce, false);
    if (offset == 0) {
        reduce->is_open = false;
        reduce->depth += 1 - reduce->n_merged;
        reduce->n_grains++;
    }
}

void reduce_wait(struct reduce *reduce)
{
    ASSERT(!reduce->is_open && reduce->n_grains == reduce->plan.run.count);
    ASSERT(reduce->depth == reduce->plan.n_nodes);
    while (reduce->done < reduce->begun)
        progress(reduce, true);
    ASSERT(reduce->plan.size == 1 || reduce->done == reduce->plan.n_buckets);
    reduce->n_grains = 0;
}

double reduce_began(const struct reduce *reduce)
{
    return reduce->began;
}

float *reduce_sum(struct reduce *reduce)
{
    return buffer_at(reduce, 0, 0);
}

size_t reduce_slices(const struct reduce *reduce, int rank, const struct span **spans)
{
    *spans = reduce->spans + reduce->spans_first[rank];
    return reduce->spans_first[rank + 1] - reduce->spans_first[rank];
}
