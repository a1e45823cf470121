// SPDX-License-Identifier: MIT
// The canonical sum over grains: each worker folds its grains, then partial sums are merged in
// memory (reduce_merge.c), across ranks too where they share it, else across ranks by messages
// (reduce_messages.c). Owns the gradient vectors and slices. Called by the training loop.
#include "comm/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "comm/events.h"
#include "comm/fault.h"
#include "comm/laps.h"
#include "comm/memory.h"
#include "comm/reduce_private.h"
#include "comm/rehearsal.h"
#include "comm/spin.h"

// Flags at the begin of a rank's memory; those of its workers follow.
enum { FLAG_MERGED, FLAG_READY, FLAG_TAKEN, FLAG_WORKERS };

struct worker {
    struct fold fold;
    uint64_t steps; // finished by this worker
    char apart[64]; // workers do not share cache lines
};

struct reduce {
    struct group *group;
    struct reduce_plan plan;
    struct shared *shared; // NULL: messages, or one rank
    char *memory;          // flags, weights, blocks, vectors of this rank
    bool is_owned;         // memory is not shared's
    bool has_merge;        // more than one worker adds to the slices of this rank
    struct merge merge;
    struct messages *messages; // NULL: one rank, or shared
    float **nodes;             // (n_nodes) vectors of this rank's subtrees
    struct worker *workers;
    struct span *spans;  // slices of all ranks
    size_t *spans_first; // (size + 1): where those of a rank begin
    uint64_t steps;      // finished
    double began;        // laps_now() of the first message or addition across ranks of this step
    bool has_begun;
    uint64_t gathers; // by shared memory, begun
};

// Memory of a rank: flags, weights, blocks, vectors. The same on all ranks but for the number of
// vectors, so that one can find another's.

static size_t at_weights(const struct reduce_plan *plan)
{
    return (FLAG_WORKERS + (size_t)plan->workers) * sizeof(struct reduce_flag);
}

static size_t at_blocks(const struct reduce_plan *plan)
{
    return at_weights(plan) + plan->n * sizeof(float);
}

static size_t at_vector(const struct reduce_plan *plan, int vector)
{
    size_t bytes = (plan->n / SPAN_BLOCK * sizeof(double) + 63) / 64 * 64;
    return at_blocks(plan) + bytes + (size_t)vector * plan->n * sizeof(float);
}

static const char *memory_of(const struct reduce *reduce, int rank)
{
    return rank == reduce->plan.rank ? reduce->memory : shared_of(reduce->shared, rank);
}

static const struct reduce_flag *flag_of(const struct reduce *reduce, int rank, int flag)
{
    return (const struct reduce_flag *)(const void *)memory_of(reduce, rank) + flag;
}

static void flag_set(struct reduce *reduce, int flag, uint64_t value)
{
    reduce_flag_set((struct reduce_flag *)(void *)reduce->memory + flag, value);
}

static void flags_wait(const struct reduce *reduce, int flag, uint64_t value)
{
    events_begin(EVENTS_WAIT, "waits until others have read", 0);
    for (int rank = 0; rank < reduce->plan.size; rank++)
        reduce_flag_wait(flag_of(reduce, rank, flag), value);
    events_end();
}

// A wait for other ranks, where there are others.
static void share_begin(const struct reduce *reduce, const char *text)
{
    events_begin(reduce->plan.size > 1 ? EVENTS_SHARE : EVENTS_WAIT, text, reduce->steps + 1);
}

static float *vector_at(const struct reduce *reduce, int vector)
{
    return (float *)(void *)(reduce->memory + at_vector(&reduce->plan, vector));
}

// Setting up.

static enum status slices_init(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    size_t n_spans = 0;
    TRY(memory_alloc(&reduce->spans_first, (size_t)plan->size + 1, sizeof(size_t),
                     "slices of ranks"));
    for (int rank = 0; rank < plan->size; rank++) {
        n_spans += reduce_list_slices(plan, rank, NULL);
        reduce->spans_first[rank + 1] = n_spans;
    }
    TRY(memory_alloc(&reduce->spans, n_spans, sizeof(struct span), "slices of ranks"));
    for (int rank = 0; rank < plan->size; rank++)
        reduce_list_slices(plan, rank, reduce->spans + reduce->spans_first[rank]);
    return STATUS_OK;
}

// Collective. Shared where that can be had.
static enum status vectors_init(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    int needed = reduce_first_vector(plan, plan->rank, plan->workers);
    TRY(shared_init(&reduce->shared, reduce->group, at_vector(plan, needed)));
    if (reduce->shared) {
        reduce->memory = shared_own(reduce->shared);
        return STATUS_OK;
    }
    reduce->is_owned = true;
    return group_agree(
        reduce->group,
        memory_alloc(&reduce->memory, at_vector(plan, plan->n_buffers), 1, "gradient vectors"));
}

static enum status folds_init(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    TRY(memory_alloc(&reduce->workers, (size_t)plan->workers, sizeof *reduce->workers, "workers"));
    for (int w = 0; w < plan->workers; w++)
        reduce->workers[w].fold =
            fold_make(vector_at(reduce, reduce_first_vector(plan, plan->rank, w)), plan->n,
                      reduce_worker_run(plan, plan->rank, w));
    return STATUS_OK;
}

// Parts of all workers whose memory this rank sees; their sums go to its first vector (shared), or
// stay where the leftmost part of each is.
static enum status merge_open(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    struct merge *merge = &reduce->merge;
    bool is_shared = reduce->shared != NULL;
    int first = is_shared ? 0 : plan->rank, last = is_shared ? plan->size : plan->rank + 1;
    struct reduce_tree *tree = &merge->tree;
    TRY(reduce_tree_of_workers(tree, plan, first, last));
    TRY(merge_init(merge, plan, is_shared));
    for (int i = 0; i < tree->n_parts; i++) {
        const char *memory = memory_of(reduce, tree->parts[i].rank);
        merge->parts[i] =
            (const float *)(const void *)(memory + at_vector(plan, tree->parts[i].vector));
    }
    for (int rank = first; rank < last; rank++)
        for (int w = 0; w < plan->workers; w++)
            merge->flags[merge->n_flags++] = flag_of(reduce, rank, FLAG_WORKERS + w);
    ASSERT(tree->n_roots == (is_shared ? 1 : plan->n_nodes));
    TRY(memory_alloc(&reduce->nodes, (size_t)tree->n_roots, sizeof *reduce->nodes, "tree nodes"));
    for (int i = 0; i < tree->n_roots; i++) {
        int vector = is_shared ? 0 : tree->parts[tree->roots[i].first].vector;
        reduce->nodes[i] = merge->outs[i] = vector_at(reduce, vector);
    }
    reduce->has_merge = plan->workers > 1 || is_shared;
    return STATUS_OK;
}

enum status reduce_init(struct reduce **out, struct group *group, size_t n, int grains, int workers,
                        size_t bucket_bytes)
{
    *out = NULL;
    TRY(tree_check_workers(grains, group->size, workers));
    struct reduce *reduce = NULL;
    enum status status = memory_alloc(&reduce, 1, sizeof *reduce, "reduction");
    if (status == STATUS_OK) {
        reduce->group = group;
        reduce->plan = reduce_plan_make(n, grains, group->size, group->rank, workers, bucket_bytes);
        status = slices_init(reduce);
    }
    status = group_agree(group, status);
    if (status == STATUS_OK)
        status = vectors_init(reduce);
    if (status == STATUS_OK) {
        status = folds_init(reduce);
        if (status == STATUS_OK)
            status = merge_open(reduce);
        status = group_agree(group, status);
    }
    if (status == STATUS_OK && group->size > 1 && !reduce->shared)
        status = messages_init(&reduce->messages, group, &reduce->plan, reduce->nodes,
                               vector_at(reduce, 1));
    if (status == STATUS_OK)
        *out = reduce;
    else
        reduce_free(reduce);
    return status;
}

void reduce_free(struct reduce *reduce)
{
    if (!reduce)
        return;
    bool is_busy = reduce->messages && messages_begun(reduce->messages) > 0;
    messages_free(reduce->messages);
    if (is_busy) // MPI still writes to the vectors: the job is ending, and they stay
        return;
    merge_free(&reduce->merge);
    shared_free(reduce->shared);
    if (reduce->is_owned)
        free(reduce->memory);
    free(reduce->nodes);
    free(reduce->workers);
    free(reduce->spans);
    free(reduce->spans_first);
    free(reduce);
}

bool reduce_is_shared(const struct reduce *reduce)
{
    return reduce->shared != NULL;
}

// The step.

float *reduce_grain(struct reduce *reduce, int worker)
{
    struct worker *own = &reduce->workers[worker];
    bool is_first = own->fold.n_grains % own->fold.run.count == 0;
    if (reduce->shared && is_first) // others may still read the vectors of the step before
        flags_wait(reduce, FLAG_MERGED, own->steps);
    return fold_grain(&own->fold);
}

void reduce_set_added(struct reduce *reduce, const struct span *ranges, size_t n)
{
    for (int w = 0; w < reduce->plan.workers; w++) {
        reduce->workers[w].fold.added = ranges;
        reduce->workers[w].fold.n_added = n;
    }
}

float *reduce_grain_sum(struct reduce *reduce, int worker)
{
    return rehearsal_is_built() ? NULL : fold_sum(&reduce->workers[worker].fold); // tapes: apart
}

// Begins the messages of the buckets that are whole on this rank. Worker 0.
static void buckets_begin(struct reduce *reduce, uint64_t step)
{
    struct messages *messages = reduce->messages;
    const struct fold *fold = &reduce->workers[0].fold;
    for (size_t b; (b = messages_begun(messages)) < reduce->plan.n_buckets;) {
        bool is_whole = reduce->has_merge
                            ? merge_bucket_is_done(&reduce->merge, step, b)
                            : fold->position <= reduce_bucket(&reduce->plan, b).offset;
        if (!is_whole)
            break;
        messages_begin(messages);
    }
    messages_poll(messages);
}

// False: there was nothing to do.
static bool poll(struct reduce *reduce, int worker, uint64_t step)
{
    bool is_any = reduce->has_merge && merge_some(&reduce->merge, worker, step);
    if (reduce->messages && worker == 0)
        buckets_begin(reduce, step);
    if (is_any)
        events_tick("part of the sum", step);
    if (worker == 0 && !reduce->has_begun && (is_any || reduce->messages)) {
        reduce->has_begun = true;
        reduce->began = laps_now();
    }
    return is_any;
}

void reduce_push(struct reduce *reduce, int worker, size_t offset)
{
    struct worker *own = &reduce->workers[worker];
    struct fold *fold = &own->fold;
    if (!fold->is_open) { // layers without parameters come after the one that ends the vector
        ASSERT(offset == 0 && fold->n_grains > 0);
        return;
    }
    ASSERT(offset <= fold->position);
    bool is_last = fold_is_last(fold) && (reduce->has_merge || reduce->messages);
    while (fold->position > offset) {
        size_t stop = offset, end_before = fold->position;
        if (is_last) { // a bucket at a time
            size_t end = reduce->plan.n - fold->position, bucket = end / reduce->plan.bucket;
            size_t begin = reduce_bucket(&reduce->plan, bucket).offset;
            stop = begin > offset ? begin : offset;
        }
        fold_push(fold, stop);
        float *node = fold->vectors + (size_t)(fold->depth - fold->n_merged) * fold->n;
        fault_point(FAULT_PARTIAL, node + stop, (end_before - stop) * sizeof *node);
        if (!is_last)
            continue;
        flag_set(reduce, FLAG_WORKERS + worker,
                 merge_progress(&reduce->merge, reduce->plan.n, own->steps, stop));
        poll(reduce, worker, own->steps);
    }
    if (offset > 0)
        return;
    bool is_end = fold_is_last(fold);
    fold_end(fold);
    own->steps += is_end;
}

void reduce_help(struct reduce *reduce, int worker)
{
    const struct worker *own = &reduce->workers[worker];
    ASSERT(!own->fold.is_open && own->fold.n_grains == own->fold.run.count);
    if (!reduce->has_merge)
        return;
    events_begin(EVENTS_WAIT, "adds parts of the sum of gradients", own->steps);
    for (unsigned rounds = 0; !merge_is_done(&reduce->merge, own->steps - 1);)
        if (!poll(reduce, worker, own->steps - 1))
            spin_wait(&rounds);
    events_end();
}

void reduce_wait(struct reduce *reduce)
{
    ASSERT(reduce->workers[0].steps == reduce->steps + 1);
    share_begin(reduce, "sum of gradients");
    reduce_help(reduce, 0);
    if (reduce->messages) {
        buckets_begin(reduce, reduce->steps);
        messages_wait(reduce->messages);
    }
    events_end();
    reduce->steps++;
    reduce->has_begun = false;
    // Its slices of the weights are this rank's to change: what was merged here came from ranks
    // that had taken the old ones.
    if (reduce->shared)
        flag_set(reduce, FLAG_MERGED, reduce->steps);
}

void reduce_trace(struct reduce *reduce, bool is_on)
{
    if (reduce->messages)
        messages_trace(reduce->messages, is_on);
}

size_t reduce_traced(const struct reduce *reduce, const uint64_t **sent, const uint64_t **received)
{
    *sent = *received = NULL;
    return reduce->messages ? messages_traced(reduce->messages, sent, received) : 0;
}

bool reduce_partials_differ(const struct reduce *reduce, const struct reduce *other)
{
    const struct reduce_plan *plan = &reduce->plan;
    struct tree_node nodes[TREE_NODES_MAX];
    if (!reduce->shared)
        return false;
    bool differ = false;
    for (int w = 0; w < plan->workers; w++) {
        int first = reduce_first_vector(plan, plan->rank, w);
        int n = tree_nodes(reduce_worker_run(plan, plan->rank, w), nodes);
        for (int rank = 0; rank < plan->size; rank++) {
            const struct span *spans;
            size_t n_spans = rank == plan->rank ? 0 : reduce_slices(reduce, rank, &spans);
            for (size_t s = 0; s < n_spans; s++)
                for (int v = first; v < first + n; v++)
                    differ |= memcmp(vector_at(reduce, v) + spans[s].offset,
                                     vector_at(other, v) + spans[s].offset,
                                     spans[s].count * sizeof(float)) != 0;
        }
    }
    return differ;
}

void reduce_clear(struct reduce *reduce)
{
    const struct reduce_plan *plan = &reduce->plan;
    int n =
        reduce->is_owned ? plan->n_buffers : reduce_first_vector(plan, plan->rank, plan->workers);
    memset(vector_at(reduce, 0), 0, (size_t)n * plan->n * sizeof(float));
}

double reduce_began(const struct reduce *reduce)
{
    return reduce->began;
}

float *reduce_sum(struct reduce *reduce)
{
    return vector_at(reduce, 0);
}

float *reduce_weights(struct reduce *reduce)
{
    return (float *)(void *)(reduce->memory + at_weights(&reduce->plan));
}

size_t reduce_slices(const struct reduce *reduce, int rank, const struct span **spans)
{
    *spans = reduce->spans + reduce->spans_first[rank];
    return reduce->spans_first[rank + 1] - reduce->spans_first[rank];
}

// Sharing.

static void slices_copy(const struct reduce *reduce, const float *from, float *to)
{
    const struct span *spans;
    size_t n = reduce_slices(reduce, reduce->plan.rank, &spans);
    for (size_t s = 0; s < n; s++)
        memcpy(to + spans[s].offset, from + spans[s].offset, spans[s].count * sizeof *to);
}

// Own slices lie at `offset` of this rank's memory; those of the others come to the same place,
// `unit` bytes for each `per` floats of the flat vector.
static void gather_shared(struct reduce *reduce, size_t offset, size_t unit, size_t per)
{
    const struct reduce_plan *plan = &reduce->plan;
    flag_set(reduce, FLAG_READY, ++reduce->gathers);
    for (int i = 1; i < plan->size; i++) { // not all from rank 0 first
        int rank = (plan->rank + i) % plan->size;
        const struct span *spans;
        size_t n = reduce_slices(reduce, rank, &spans);
        reduce_flag_wait(flag_of(reduce, rank, FLAG_READY), reduce->gathers);
        const char *from = memory_of(reduce, rank) + offset;
        for (size_t s = 0; s < n; s++) {
            size_t at = spans[s].offset / per * unit;
            memcpy(reduce->memory + offset + at, from + at, spans[s].count / per * unit);
        }
    }
    flag_set(reduce, FLAG_TAKEN, reduce->gathers);
}

static void allgather_shared(struct reduce *reduce, float *vector)
{
    // The caller may change its slices of any other vector as soon as this returns.
    float *weights = reduce_weights(reduce), *sum = reduce_sum(reduce);
    if (vector != weights && vector != sum)
        slices_copy(reduce, vector, sum);
    size_t offset = vector == weights ? at_weights(&reduce->plan) : at_vector(&reduce->plan, 0);
    gather_shared(reduce, offset, sizeof(float), 1);
    if (vector != weights)
        flags_wait(reduce, FLAG_TAKEN, reduce->gathers);
    if (vector != weights && vector != sum)
        memcpy(vector, sum, reduce->plan.n * sizeof *vector);
}

void reduce_allgather(struct reduce *reduce, float *vector)
{
    if (reduce->plan.size == 1)
        return;
    share_begin(reduce, "all-gather of slices");
    if (reduce->messages)
        messages_allgather(reduce->messages, vector);
    else
        allgather_shared(reduce, vector);
    events_end();
}

static void blocks_shared(struct reduce *reduce, double *blocks)
{
    const struct reduce_plan *plan = &reduce->plan;
    const struct span *spans;
    size_t n = reduce_slices(reduce, plan->rank, &spans);
    double *shared = (double *)(void *)(reduce->memory + at_blocks(plan));
    flags_wait(reduce, FLAG_TAKEN, reduce->gathers); // the gather before
    for (size_t s = 0; s < n; s++)
        memcpy(shared + spans[s].offset / SPAN_BLOCK, blocks + spans[s].offset / SPAN_BLOCK,
               spans[s].count / SPAN_BLOCK * sizeof *shared);
    gather_shared(reduce, at_blocks(plan), sizeof(double), SPAN_BLOCK);
    memcpy(blocks, shared, plan->n / SPAN_BLOCK * sizeof *blocks);
}

void reduce_allgather_blocks(struct reduce *reduce, double *blocks)
{
    if (reduce->plan.size == 1 || reduce->plan.n == 0)
        return;
    share_begin(reduce, "all-gather of norms");
    if (reduce->messages)
        messages_allgather_blocks(reduce->messages, blocks);
    else
        blocks_shared(reduce, blocks);
    events_end();
}
