// SPDX-License-Identifier: MIT
// What reduce.c (the sum) and reduce_gather.c (sharing) have in common; for no one else. They
// include mpi.h before it.
#ifndef SW2_COMM_REDUCE_STATE_H
#define SW2_COMM_REDUCE_STATE_H

#include <limits.h>
#include <stdbool.h>

#include "comm/group_private.h"
#include "comm/reduce_private.h"

struct bucket {
    int pending;       // requests under way
    int round;         // of halving
    bool is_done;      // this rank's slice holds the sum
    size_t own_before; // floats of this rank's slices in the buckets before (staging)
};

struct reduce {
    struct group *group;
    struct reduce_plan plan;
    void (*add)(float *restrict a, const float *restrict b, size_t n);
    float *vectors;              // (n_buffers, n)
    float *staged;               // (n_requests that receive, own slices); not for halving
    float **parts;               // (n_all_nodes): where this bucket's slice of each node is
    struct reduce_node *nodes;   // (n_all_nodes): left to right
    struct reduce_merge *merges; // (n_all_nodes - 1)
    struct span *spans;          // slices of all ranks
    size_t *spans_first;         // (size + 1): where those of a rank begin
    struct bucket *buckets;
    MPI_Request *requests;       // (n_buckets, n_requests)
    int *indices;                // (n_buckets * n_requests), for Testsome
    int *counts, *displacements; // (size), (size + 1)
    double *packed;              // (n / SPAN_BLOCK)
    MPI_Comm comm;
    MPI_Datatype block; // SPAN_BLOCK floats: counts of blocks fit MPI's int up to 2 TiB

    // The step in hand.
    int n_grains;    // finished
    int depth;       // nodes on the stack
    int n_merged;    // how many of them the current grain completes
    bool is_open;    // a grain is in the works
    size_t position; // its values from here on are folded
    size_t begun;    // buckets whose sum has begun
    size_t done;     // all buckets before this one are done
    double began;    // laps_now() of the first message
};

#define MPI_CHECK(reduce, call, ...) group_check((reduce)->group, call(__VA_ARGS__), #call)

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
void reduce_receive(struct reduce *reduce, size_t b, int slot, float *at, size_t floats, int from);
void reduce_send(struct reduce *reduce, size_t b, int slot, const float *at, size_t floats, int to);

#endif
