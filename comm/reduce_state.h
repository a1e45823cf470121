// SPDX-License-Identifier: MIT
// What reduce_messages.c (the sum) and reduce_gather.c (sharing) have in common; for no one else.
// They include mpi.h before it.
#ifndef SW2_COMM_REDUCE_STATE_H
#define SW2_COMM_REDUCE_STATE_H

#include <limits.h>

#include "comm/group_private.h"
#include "comm/reduce_private.h"

struct bucket {
    int pending;       // requests under way
    int round;         // of halving
    bool is_done;      // this rank's slice holds the sum
    size_t own_before; // floats of this rank's slices in the buckets before (staging)
};

struct messages {
    struct group *group;
    struct reduce_plan plan;
    fold_add *add;
    float *const *nodes; // (n_nodes) vectors
    float *spare;
    float *staged;           // (nodes of others, own slices); not for halving
    const float **parts;     // (n_all_nodes): where this bucket's slice of each node is
    float *scratch;          // (n_all_nodes, REDUCE_TREE_FLOATS)
    struct reduce_tree tree; // of all ranks' nodes
    struct bucket *buckets;
    MPI_Request *requests;       // (n_buckets, n_requests)
    int *indices;                // (n_buckets * n_requests), for Testsome
    int *counts, *displacements; // (size), (size + 1)
    double *packed;              // (n / SPAN_BLOCK)
    MPI_Comm comm;
    MPI_Datatype block;        // SPAN_BLOCK floats: counts of blocks fit MPI's int up to 2 TiB
    uint64_t *sent, *received; // (n_partners) digests of the step's sum, while traced
    size_t n_partners;
    bool is_traced;
    // The step in hand.
    size_t begun; // buckets whose sum has begun
    size_t done;  // all buckets before this one are done
};

#define MPI_CHECK(messages, call, ...) group_check((messages)->group, call(__VA_ARGS__), #call)

static inline int reduce_narrow(size_t n)
{
    ASSERT(n <= INT_MAX);
    return (int)n;
}

static inline int reduce_blocks(size_t floats)
{
    return reduce_narrow(floats / SPAN_BLOCK);
}

// Messages of a bucket, counted in its `pending`; of nothing where floats is 0. slot: below n_tags.
void reduce_receive(struct messages *m, size_t b, int slot, float *at, size_t floats, int from);
void reduce_send(struct messages *m, size_t b, int slot, const float *at, size_t floats, int to);

#endif
