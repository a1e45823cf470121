// SPDX-License-Identifier: MIT
// Slices reach all ranks: weights after the update, norms of blocks. And the messages of a bucket,
// which the sum uses too. The sum is reduce_messages.c.
#include <mpi.h>
#include <string.h>

#include "comm/doubling.h"
#include "comm/reduce_state.h"

static int tag_of(const struct messages *m, size_t b, int slot)
{
    return reduce_narrow(b * m->plan.n_tags + (size_t)slot);
}

static MPI_Request *next_request(struct messages *m, size_t b)
{
    return m->requests + b * m->plan.n_requests + m->buckets[b].pending++;
}

void reduce_receive(struct messages *m, size_t b, int slot, float *at, size_t floats, int from)
{
    if (floats > 0)
        MPI_CHECK(m, MPI_Irecv, at, reduce_narrow(floats), MPI_FLOAT, from, tag_of(m, b, slot),
                  m->comm, next_request(m, b));
}

void reduce_send(struct messages *m, size_t b, int slot, const float *at, size_t floats, int to)
{
    if (floats > 0)
        MPI_CHECK(m, MPI_Isend, at, reduce_narrow(floats), MPI_FLOAT, to, tag_of(m, b, slot),
                  m->comm, next_request(m, b));
}

// Recursive doubling (Thakur et al. 2005), the halving backwards: farthest partner first, so that
// the largest messages stay near. All buckets of a round together: (P-1)/P n floats sent a rank,
// log2 P messages a bucket, of which only log2 P wait for each other.
static void gather_halves(struct messages *m, float *vector)
{
    const struct reduce_plan *plan = &m->plan;
    for (int round = plan->rounds; round-- > 0;) {
        int partner = plan->rank ^ 1 << round;
        for (size_t b = 0; b < plan->n_buckets; b++) {
            struct span bucket = reduce_bucket(plan, b);
            struct span own = reduce_halved(bucket, plan->rank, round + 1);
            struct span other = reduce_halved(bucket, partner, round + 1);
            m->buckets[b].pending = 0;
            reduce_receive(m, b, round, vector + other.offset, other.count, partner);
            reduce_send(m, b, round, vector + own.offset, own.count, partner);
        }
        MPI_CHECK(m, MPI_Waitall, reduce_narrow(plan->n_buckets * plan->n_requests), m->requests,
                  MPI_STATUSES_IGNORE);
    }
}

// Any number of ranks: every slice goes from its owner to each other rank, all at once, so that
// nobody waits for a chain of others.
static void gather_slices(struct messages *m, float *vector)
{
    const struct reduce_plan *plan = &m->plan;
    for (size_t b = 0; b < plan->n_buckets; b++) {
        struct span own = reduce_slice(plan, b, plan->rank);
        m->buckets[b].pending = 0;
        for (int step = 1; step < plan->size; step++) {
            int from = (plan->rank + plan->size - step) % plan->size;
            struct span slice = reduce_slice(plan, b, from);
            reduce_receive(m, b, 0, vector + slice.offset, slice.count, from);
        }
        for (int step = 1; step < plan->size; step++) // not all to rank 0 first
            reduce_send(m, b, 0, vector + own.offset, own.count, (plan->rank + step) % plan->size);
    }
    MPI_CHECK(m, MPI_Waitall, reduce_narrow(plan->n_buckets * plan->n_requests), m->requests,
              MPI_STATUSES_IGNORE);
}

void messages_allgather(struct messages *m, float *vector)
{
    if (m->plan.is_halving)
        gather_halves(m, vector);
    else
        gather_slices(m, vector);
}

// Copies a rank's blocks between their places and its part of the packed array.
static void copy_blocks(struct messages *m, int rank, double *blocks, bool is_pack)
{
    double *packed = m->packed + m->displacements[rank];
    for (size_t b = 0; b < m->plan.n_buckets; b++) {
        struct span slice = reduce_slice(&m->plan, b, rank);
        size_t count = slice.count / SPAN_BLOCK;
        double *at = blocks + slice.offset / SPAN_BLOCK;
        memcpy(is_pack ? packed : at, is_pack ? at : packed, count * sizeof *at);
        packed += count;
    }
}

void messages_allgather_blocks(struct messages *m, double *blocks)
{
    const struct reduce_plan *plan = &m->plan;
    if (plan->n == 0)
        return;
    m->displacements[0] = 0; // where gather_slices has others
    for (int rank = 0; rank < plan->size; rank++) {
        size_t floats = 0;
        for (size_t b = 0; b < plan->n_buckets; b++)
            floats += reduce_slice(plan, b, rank).count;
        m->counts[rank] = reduce_blocks(floats);
        m->displacements[rank + 1] = m->displacements[rank] + m->counts[rank];
    }
    copy_blocks(m, plan->rank, blocks, true);
    if (plan->is_halving)
        MPI_CHECK(m, doubling_allgather, m->packed, m->displacements, MPI_DOUBLE, m->comm);
    else
        MPI_CHECK(m, MPI_Allgatherv, MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, m->packed, m->counts,
                  m->displacements, MPI_DOUBLE, m->comm);
    for (int rank = 0; rank < plan->size; rank++)
        if (rank != plan->rank)
            copy_blocks(m, rank, blocks, false);
}
