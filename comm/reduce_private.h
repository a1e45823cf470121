// SPDX-License-Identifier: MIT
// What the files of the reduction share: the plan (reduce_slices.c: who owns what, pure), trees of
// additions (reduce_tree.c), merging in memory (reduce_merge.c), messages (reduce_messages.c).
// reduce.c carries the step out.
#ifndef SW2_COMM_REDUCE_PRIVATE_H
#define SW2_COMM_REDUCE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/fold.h"
#include "comm/reduce.h"
#include "comm/shared.h"
#include "comm/span.h"
#include "comm/tree.h"

struct reduce_plan {
    size_t n;         // floats
    size_t bucket;    // floats of a bucket; bucket 0 is the tail of the vector
    size_t n_buckets; // 0 when n is 0
    int grains, size, rank, workers;
    int rounds;     // of vector halving: log2(size); 0 when size is not a power of two, or 1
    int is_halving; // size is a power of two above 1
    int n_buffers;  // vectors of n floats: each worker's stack in turn
    struct tree_run run;
    int n_nodes;       // subtrees of this rank's grains
    int n_all_nodes;   // of all ranks
    size_t own_floats; // in this rank's slices
    size_t staged_floats;
    size_t n_requests; // MPI requests a bucket
    size_t n_tags;     // message tags a bucket
};

struct reduce_plan reduce_plan_make(size_t n, int grains, int size, int rank, int workers,
                                    size_t bucket_bytes);
struct span reduce_bucket(const struct reduce_plan *plan, size_t bucket);
// Lower or upper half of a range, in whole blocks.
struct span reduce_half(struct span range, int is_upper);
// What is left of a bucket for `rank` after `rounds` halvings.
struct span reduce_halved(struct span bucket, int rank, int rounds);
struct span reduce_slice(const struct reduce_plan *plan, size_t bucket, int rank);
// Slices of `rank` in ascending order, neighbours joined; spans has room for n_buckets, or is NULL
// to count only.
size_t reduce_list_slices(const struct reduce_plan *plan, int rank, struct span *spans);
struct tree_run reduce_worker_run(const struct reduce_plan *plan, int rank, int worker);
// Number of the vector in the rank's memory where the worker's stack begins.
int reduce_first_vector(const struct reduce_plan *plan, int rank, int worker);
// STATUS_USAGE when blocks, messages or tags are more than MPI can count.
enum status reduce_check_limits(const struct reduce_plan *plan, int largest_tag);

// Trees: partial sums, and the additions that make as few of them as can be.
struct reduce_part {
    int rank, vector; // whose it is; which of its vectors (or, of nodes, which of its nodes)
};
struct reduce_merge {
    int into, from;                // the sum of parts `into` and `from` is then `into`
    bool into_is_sum, from_is_sum; // made by an earlier merge
};
struct reduce_root {
    int first, n_parts, first_merge; // its parts are neighbours; n_parts - 1 merges make it one
};
struct reduce_tree {
    int n_parts, n_roots;
    struct reduce_part *parts;
    struct reduce_merge *merges;
    struct reduce_root *roots;
};
// Of all workers' subtrees of ranks [first, last).
enum status reduce_tree_of_workers(struct reduce_tree *tree, const struct reduce_plan *plan,
                                   int first, int last);
// Of all ranks' subtrees. STATUS_ERROR: memory.
enum status reduce_tree_of_ranks(struct reduce_tree *tree, const struct reduce_plan *plan);
void reduce_tree_free(struct reduce_tree *tree);
#define REDUCE_TREE_FLOATS ((size_t)1024)
// out = the root of the n values at offset of each part, in tree order; out may be the first part's
// own place. scratch: n_parts times REDUCE_TREE_FLOATS.
void reduce_tree_add(const struct reduce_tree *tree, const struct reduce_root *root, fold_add *add,
                     const float *const *parts, size_t offset, float *out, size_t n,
                     float *scratch);

// A number that one thread writes and others, of any rank on the host, wait for; it only grows.
struct reduce_flag {
    _Alignas(64) _Atomic uint64_t value;
};
static inline uint64_t reduce_flag_get(const struct reduce_flag *flag)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&flag->value, memory_order_acquire);
}
static inline void reduce_flag_set(struct reduce_flag *flag, uint64_t value)
{
    atomic_store_explicit(&flag->value, value, memory_order_release);
}
void reduce_flag_wait(const struct reduce_flag *flag, uint64_t value); // until it is that or more

// Merging in memory: piece by piece from the tail, by whichever of the rank's workers comes first.
struct merge_piece {
    struct span span;
    size_t bucket;
};
struct merge {
    struct reduce_tree tree;
    const float **parts;              // (n_parts) vectors
    float **outs;                     // (n_roots) vectors
    const struct reduce_flag **flags; // (n_flags) how far each worker that has a part is
    size_t n_flags;
    struct merge_piece *pieces; // (n_pieces)
    size_t n_pieces, n_blocks;
    _Atomic uint64_t next, finished;   // pieces begun and finished since reduce_init
    _Atomic uint64_t *bucket_finished; // (n_buckets) pieces finished since reduce_init
    uint32_t *bucket_pieces;           // (n_buckets) pieces a step
    fold_add *add;
    float *scratch; // (workers, n_parts, REDUCE_TREE_FLOATS)
};
// The caller has set tree; is_own: this rank's slices only, else the whole vector.
enum status merge_init(struct merge *merge, const struct reduce_plan *plan, bool is_own);
void merge_free(struct merge *merge);
// Value of a worker's flag: in its step (counted from 0), all from `position` on is final.
uint64_t merge_progress(const struct merge *merge, size_t n, uint64_t step, size_t position);
// Adds what pieces of the step are final and not yet begun. False: there was none.
bool merge_some(struct merge *merge, int worker, uint64_t step);
bool merge_is_done(const struct merge *merge, uint64_t step);
bool merge_bucket_is_done(const struct merge *merge, uint64_t step, size_t bucket);

// Messages between ranks (worker 0 only): the sum over ranks of the subtrees of each.
struct messages;
// Collective. nodes: (n_nodes) vectors, borrowed; spare: a vector for what is received.
enum status messages_init(struct messages **messages, struct group *group,
                          const struct reduce_plan *plan, float *const *nodes, float *spare);
void messages_free(struct messages *messages);
size_t messages_begun(const struct messages *messages); // buckets of this step
void messages_begin(struct messages *messages);         // the sum of the next bucket
void messages_poll(struct messages *messages);
void messages_wait(struct messages *messages); // for all buckets, and for the next step
void messages_trace(struct messages *messages, bool is_on);
size_t messages_traced(const struct messages *messages, const uint64_t **sent,
                       const uint64_t **received);
void messages_allgather(struct messages *messages, float *vector);
void messages_allgather_blocks(struct messages *messages, double *blocks);

#endif
