// SPDX-License-Identifier: MIT
// Slices reach all ranks: weights after the update, norms of blocks. And the messages of a bucket,
// which the sum uses too. Called by update.c; the sum is reduce.c.
#include "comm/reduce.h"

#include <mpi.h>
#include <string.h>

#include "comm/doubling.h"
#include "comm/reduce_state.h"

static int tag_of(const struct reduce *reduce, size_t b, int slot)
{
    return reduce_narrow(b * reduce->plan.n_tags + (size_t)slot);
}

static MPI_Request *next_request(struct reduce *reduce, size_t b)
{
    return reduce->requests + b * reduce->plan.n_requests + reduce->buckets[b].pending++;
}

void reduce_receive(struct reduce *reduce, size_t b, int slot, float *at, size_t floats, int from)
{
    if (floats > 0)
        MPI_CHECK(reduce, MPI_Irecv, at, reduce_blocks(floats), reduce->block, from,
                  tag_of(reduce, b, slot), reduce->comm, next_request(reduce, b));
}

void reduce_send(struct reduce *reduce, size_t b, int slot, const float *at, size_t floats, int to)
{
    if (floats > 0)
        MPI_CHECK(reduce, MPI_Isend, at, reduce_blocks(floats), reduce->block, to,
                  tag_of(reduce, b, slot), reduce->comm, next_request(reduce, b));
}

// Recursive doubling (Thakur et al. 2005), the halving backwards: farthest partner first, so that
// the largest messages stay near. All buckets of a round together: (P-1)/P n floats sent a rank,
// log2 P messages a bucket, of which only log2 P wait for each other.
static void gather_halves(struct reduce *reduce, float *vector)
{
    const struct reduce_plan *plan = &reduce->plan;
    for (int round = plan->rounds; round-- > 0;) {
        int partner = plan->rank ^ 1 << round;
        for (size_t b = 0; b < plan->n_buckets; b++) {
            struct span bucket = reduce_bucket(plan, b);
            struct span own = reduce_halved(bucket, plan->rank, round + 1);
            struct span other = reduce_halved(bucket, partner, round + 1);
            reduce->buckets[b].pending = 0;
            reduce_receive(reduce, b, round, vector + other.offset, other.count, partner);
            reduce_send(reduce, b, round, vector + own.offset, own.count, partner);
        }
        MPI_CHECK(reduce, MPI_Waitall, reduce_narrow(plan->n_buckets * plan->n_requests),
                  reduce->requests, MPI_STATUSES_IGNORE);
    }
}

static void gather_slices(struct reduce *reduce, float *vector)
{
    const struct reduce_plan *plan = &reduce->plan;
    for (size_t b = 0; b < plan->n_buckets; b++) {
        size_t begin = reduce_bucket(plan, b).offset;
        for (int rank = 0; rank < plan->size; rank++) {
            struct span slice = reduce_slice(plan, b, rank);
            reduce->counts[rank] = reduce_blocks(slice.count);
            reduce->displacements[rank] = reduce_blocks(slice.offset - begin);
        }
        MPI_CHECK(reduce, MPI_Allgatherv, MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, vector + begin,
                  reduce->counts, reduce->displacements, reduce->block, reduce->comm);
    }
}

void reduce_allgather(struct reduce *reduce, float *vector)
{
    if (reduce->plan.is_halving)
        gather_halves(reduce, vector);
    else if (reduce->plan.size > 1)
        gather_slices(reduce, vector);
}

// Copies a rank's blocks between their places and its part of the packed array.
static void copy_blocks(struct reduce *reduce, int rank, double *blocks, bool is_pack)
{
    const struct span *spans;
    size_t n = reduce_slices(reduce, rank, &spans);
    double *packed = reduce->packed + reduce->displacements[rank];
    for (size_t i = 0; i < n; i++) {
        size_t count = spans[i].count / SPAN_BLOCK;
        double *at = blocks + spans[i].offset / SPAN_BLOCK;
        memcpy(is_pack ? packed : at, is_pack ? at : packed, count * sizeof *at);
        packed += count;
    }
}

void reduce_allgather_blocks(struct reduce *reduce, double *blocks)
{
    const struct reduce_plan *plan = &reduce->plan;
    if (plan->size == 1 || plan->n == 0)
        return;
    reduce->displacements[0] = 0; // where gather_slices has others
    for (int rank = 0; rank < plan->size; rank++) {
        const struct span *spans;
        size_t n = reduce_slices(reduce, rank, &spans), floats = 0;
        for (size_t i = 0; i < n; i++)
            floats += spans[i].count;
        reduce->counts[rank] = reduce_blocks(floats);
        reduce->displacements[rank + 1] = reduce->displacements[rank] + reduce->counts[rank];
    }
    copy_blocks(reduce, plan->rank, blocks, true);
    if (plan->is_halving)
        MPI_CHECK(reduce, doubling_allgather, reduce->packed, reduce->displacements, MPI_DOUBLE,
                  reduce->comm);
    else
        MPI_CHECK(reduce, MPI_Allgatherv, MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, reduce->packed,
                  reduce->counts, reduce->displacements, MPI_DOUBLE, reduce->comm);
    for (int rank = 0; rank < plan->size; rank++)
        if (rank != plan->rank)
            copy_blocks(reduce, rank, blocks, false);
}
