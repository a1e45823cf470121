// SPDX-License-Identifier: MIT
// The plan of a reduction: who owns what, which buffers and messages it takes. Pure arithmetic of
// reduce_slices.c, carried out by reduce.c.
#ifndef SW2_COMM_REDUCE_PRIVATE_H
#define SW2_COMM_REDUCE_PRIVATE_H

#include <stddef.h>

#include "comm/reduce.h"
#include "comm/span.h"
#include "comm/tree.h"

struct reduce_plan {
    size_t n;         // floats
    size_t bucket;    // floats of a bucket; bucket 0 is the tail of the vector
    size_t n_buckets; // 0 when n is 0
    int grains, size, rank;
    int rounds;     // of vector halving: log2(size); 0 when size is not a power of two, or 1
    int is_halving; // size is a power of two above 1
    int n_buffers;  // vectors of n floats
    struct tree_run run;
    int n_nodes;       // subtrees left after the local fold, in buffers 0 .. n_nodes - 1
    int n_all_nodes;   // of all ranks
    size_t own_floats; // in this rank's slices
    size_t staged_floats;
    size_t n_requests; // MPI requests a bucket
    size_t n_tags;     // message tags a bucket
};

struct reduce_plan reduce_plan_make(size_t n, int grains, int size, int rank, size_t bucket_bytes);
struct span reduce_bucket(const struct reduce_plan *plan, size_t bucket);
// Lower or upper half of a range, in whole blocks.
struct span reduce_half(struct span range, int is_upper);
// What is left of a bucket for `rank` after `rounds` halvings.
struct span reduce_halved(struct span bucket, int rank, int rounds);
struct span reduce_slice(const struct reduce_plan *plan, size_t bucket, int rank);
// Slices of `rank` in ascending order, neighbours joined; spans has room for n_buckets, or is NULL
// to count only.
size_t reduce_list_slices(const struct reduce_plan *plan, int rank, struct span *spans);

// A subtree that some rank holds after its local fold.
struct reduce_node {
    int owner, index; // rank, and number among that rank's nodes
};
struct reduce_merge {
    int into, from; // the sum of nodes `into` and `from` goes to `into`
};
// Nodes of all ranks from left to right (n_all_nodes) and the additions that make them one, node 0
// (n_all_nodes - 1).
void reduce_plan_merges(const struct reduce_plan *plan, struct reduce_node *nodes,
                        struct reduce_merge *merges);
// STATUS_USAGE when blocks, messages or tags are more than MPI can count.
enum status reduce_check_limits(const struct reduce_plan *plan, int largest_tag);

#endif
