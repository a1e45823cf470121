// SPDX-License-Identifier: MIT
// Sums across ranks by non-blocking messages, bucket by bucket. Owns requests and what is received;
// the vectors are reduce.c's. Worker 0 only.
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/events.h"
#include "comm/fault.h"
#include "comm/memory.h"
#include "comm/reduce_state.h"

// Setting up.

static enum status alloc_all(struct messages *m)
{
    const struct reduce_plan *plan = &m->plan;
    size_t size = (size_t)plan->size, nodes = (size_t)plan->n_all_nodes;
    size_t requests = plan->n_buckets * plan->n_requests;
    TRY(reduce_tree_of_ranks(&m->tree, plan));
    TRY(memory_alloc(&m->staged, plan->staged_floats, sizeof(float), "received partial sums"));
    TRY(memory_alloc(&m->parts, nodes, sizeof(float *), "tree nodes"));
    TRY(memory_alloc(&m->scratch, nodes * REDUCE_TREE_FLOATS, sizeof(float), "scratch of sums"));
    TRY(memory_alloc(&m->buckets, plan->n_buckets, sizeof(struct bucket), "buckets"));
    TRY(memory_alloc(&m->requests, requests, sizeof(MPI_Request), "MPI requests"));
    TRY(memory_alloc(&m->indices, requests, sizeof(int), "MPI request numbers"));
    TRY(memory_alloc(&m->counts, size, sizeof(int), "counts of the all-gather"));
    TRY(memory_alloc(&m->displacements, size + 1, sizeof(int), "offsets of the all-gather"));
    TRY(memory_alloc(&m->packed, plan->n / SPAN_BLOCK, sizeof(double), "sums of blocks"));
    m->n_partners = plan->is_halving ? (size_t)plan->rounds : size;
    TRY(memory_alloc(&m->sent, m->n_partners, sizeof *m->sent, "digests of messages"));
    TRY(memory_alloc(&m->received, m->n_partners, sizeof *m->received, "digests of messages"));
    for (size_t i = 0; i < requests; i++)
        m->requests[i] = MPI_REQUEST_NULL;
    size_t own = 0;
    for (size_t b = 0; b < plan->n_buckets; b++) {
        m->buckets[b].own_before = own;
        own += reduce_slice(plan, b, plan->rank).count;
    }
    return STATUS_OK;
}

static enum status limits_check(struct messages *m)
{
    int *largest_tag = NULL, is_known = 0;
    MPI_CHECK(m, MPI_Comm_get_attr, MPI_COMM_WORLD, MPI_TAG_UB, (void *)&largest_tag, &is_known);
    return reduce_check_limits(&m->plan, is_known ? *largest_tag : 32767);
}

enum status messages_init(struct messages **out, struct group *group,
                          const struct reduce_plan *plan, float *const *nodes, float *spare)
{
    struct messages *m = NULL;
    *out = NULL;
    enum status status = memory_alloc(&m, 1, sizeof *m, "messages of the reduction");
    if (status == STATUS_OK) {
        *m = (struct messages){.group = group,
                               .plan = *plan,
                               .add = fold_add_choose(),
                               .nodes = nodes,
                               .spare = spare,
                               .comm = MPI_COMM_NULL,
                               .block = MPI_DATATYPE_NULL};
        status = limits_check(m);
    }
    if (status == STATUS_OK)
        status = alloc_all(m);
    status = group_agree(group, status);
    if (status != STATUS_OK) {
        messages_free(m);
        return status;
    }
    MPI_CHECK(m, MPI_Comm_dup, MPI_COMM_WORLD, &m->comm);
    MPI_CHECK(m, MPI_Type_contiguous, (int)SPAN_BLOCK, MPI_FLOAT, &m->block);
    MPI_CHECK(m, MPI_Type_commit, &m->block);
    *out = m;
    return STATUS_OK;
}

void messages_free(struct messages *m)
{
    // With messages under way MPI still writes to the buffers: then the job is ending, and they
    // stay.
    if (!m || m->done < m->begun)
        return;
    if (m->comm != MPI_COMM_NULL)
        MPI_Comm_free(&m->comm);
    if (m->block != MPI_DATATYPE_NULL)
        MPI_Type_free(&m->block);
    reduce_tree_free(&m->tree);
    void *owned[] = {m->staged, m->parts,         m->scratch, m->buckets, m->requests, m->indices,
                     m->counts, m->displacements, m->packed,  m->sent,    m->received};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    free(m);
}

void messages_trace(struct messages *m, bool is_on)
{
    m->is_traced = is_on;
}

size_t messages_traced(const struct messages *m, const uint64_t **sent, const uint64_t **received)
{
    *sent = m->sent;
    *received = m->received;
    return m->n_partners;
}

// Node `node` of bucket b, to or from partner number `partner`: both ends come to the same digest.
static void trace(const struct messages *m, uint64_t *digests, int partner, size_t b, int node,
                  const float *at, size_t n)
{
    if (m->is_traced && n > 0)
        digests[partner] += digest_bytes(at, n * sizeof *at, b * m->plan.n_tags + (size_t)node);
}

// Sums.

// Halving: the half that this rank keeps comes from the partner into the spare vector, at its own
// place: that vector's values there have been folded already, and padding stays zero.
static void begin_round(struct messages *m, size_t b)
{
    const struct reduce_plan *plan = &m->plan;
    struct bucket *bucket = &m->buckets[b];
    for (; bucket->round < plan->rounds && bucket->pending == 0; bucket->round++) {
        int upper = plan->rank >> bucket->round & 1, partner = plan->rank ^ 1 << bucket->round;
        struct span range = reduce_halved(reduce_bucket(plan, b), plan->rank, bucket->round);
        struct span keep = reduce_half(range, upper), give = reduce_half(range, !upper);
        reduce_receive(m, b, bucket->round, m->spare + keep.offset, keep.count, partner);
        trace(m, m->sent, bucket->round, b, 0, m->nodes[0] + give.offset, give.count);
        reduce_send(m, b, bucket->round, m->nodes[0] + give.offset, give.count, partner);
        if (bucket->pending > 0)
            return;
    }
    bucket->is_done = true;
}

static void end_round(struct messages *m, size_t b)
{
    struct bucket *bucket = &m->buckets[b];
    struct span keep = reduce_halved(reduce_bucket(&m->plan, b), m->plan.rank, ++bucket->round);
    float *sum = m->nodes[0] + keep.offset;
    fault_point(FAULT_RECEIVED, m->spare + keep.offset, keep.count * sizeof *sum);
    trace(m, m->received, bucket->round - 1, b, 0, m->spare + keep.offset, keep.count);
    m->add(sum, sum, m->spare + keep.offset, keep.count);
    begin_round(m, b);
}

// Where this bucket's slice of every node is: in this rank's vectors or in staging.
static void locate_parts(struct messages *m, size_t b)
{
    const struct reduce_plan *plan = &m->plan;
    struct span own = reduce_slice(plan, b, plan->rank);
    size_t remote = (size_t)(plan->n_all_nodes - plan->n_nodes);
    const float *next = m->staged + remote * m->buckets[b].own_before;
    for (int i = 0; i < m->tree.n_parts; i++) {
        if (m->tree.parts[i].rank == plan->rank) {
            m->parts[i] = m->nodes[m->tree.parts[i].vector] + own.offset;
        } else {
            m->parts[i] = next;
            next += own.count;
        }
    }
}

// Any number of ranks: every node's slices go to their owners.
static void begin_exchange(struct messages *m, size_t b)
{
    const struct reduce_plan *plan = &m->plan;
    struct span own = reduce_slice(plan, b, plan->rank);
    locate_parts(m, b);
    for (int i = 0; i < m->tree.n_parts; i++) {
        const struct reduce_part *part = &m->tree.parts[i];
        if (part->rank != plan->rank)
            reduce_receive(m, b, part->vector, (float *)(uintptr_t)m->parts[i], own.count,
                           part->rank);
    }
    for (int step = 1; step < plan->size; step++) { // not all to rank 0 first
        int to = (plan->rank + step) % plan->size;
        struct span slice = reduce_slice(plan, b, to);
        for (int node = 0; node < plan->n_nodes; node++) {
            trace(m, m->sent, to, b, node, m->nodes[node] + slice.offset, slice.count);
            reduce_send(m, b, node, m->nodes[node] + slice.offset, slice.count, to);
        }
    }
    m->buckets[b].is_done = m->buckets[b].pending == 0;
}

static void end_exchange(struct messages *m, size_t b)
{
    struct span own = reduce_slice(&m->plan, b, m->plan.rank);
    locate_parts(m, b);
    for (int i = 0; i < m->tree.n_parts; i++) {
        const struct reduce_part *part = &m->tree.parts[i];
        if (part->rank == m->plan.rank)
            continue;
        fault_point(FAULT_RECEIVED, (float *)(uintptr_t)m->parts[i], own.count * sizeof(float));
        trace(m, m->received, part->rank, b, part->vector, m->parts[i], own.count);
    }
    reduce_tree_add(&m->tree, &m->tree.roots[0], m->add, m->parts, 0, m->nodes[0] + own.offset,
                    own.count, m->scratch);
    m->buckets[b].is_done = true;
}

size_t messages_begun(const struct messages *m)
{
    return m->begun;
}

void messages_begin(struct messages *m)
{
    size_t b = m->begun++;
    if (b == 0 && m->is_traced) {
        memset(m->sent, 0, m->n_partners * sizeof *m->sent);
        memset(m->received, 0, m->n_partners * sizeof *m->received);
    }
    m->buckets[b].pending = m->buckets[b].round = 0;
    m->buckets[b].is_done = false;
    if (m->plan.is_halving)
        begin_round(m, b);
    else
        begin_exchange(m, b);
}

// Moves on every bucket whose messages have arrived. Waits for at least one where asked to.
static void progress(struct messages *m, bool is_waiting)
{
    size_t per_bucket = m->plan.n_requests;
    while (m->done < m->begun && m->buckets[m->done].is_done)
        m->done++;
    if (m->done == m->begun)
        return;
    size_t first = m->done;
    int n = reduce_narrow((m->begun - first) * per_bucket), n_done = 0;
    MPI_Request *requests = m->requests + first * per_bucket;
    if (is_waiting)
        MPI_CHECK(m, MPI_Waitsome, n, requests, &n_done, m->indices, MPI_STATUSES_IGNORE);
    else
        MPI_CHECK(m, MPI_Testsome, n, requests, &n_done, m->indices, MPI_STATUSES_IGNORE);
    ASSERT(n_done != MPI_UNDEFINED);
    if (n_done > 0)
        events_tick("messages of the sum, bucket", first);
    for (int i = 0; i < n_done; i++) {
        size_t b = first + (size_t)m->indices[i] / per_bucket;
        if (--m->buckets[b].pending > 0)
            continue;
        if (m->plan.is_halving)
            end_round(m, b);
        else
            end_exchange(m, b);
    }
}

void messages_poll(struct messages *m)
{
    progress(m, false);
}

void messages_wait(struct messages *m)
{
    ASSERT(m->begun == m->plan.n_buckets);
    while (m->done < m->begun)
        progress(m, true);
    m->begun = m->done = 0;
}
