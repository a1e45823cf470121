// SPDX-License-Identifier: MIT
// Canonical sum of the grains' flat vectors: the tree of tree.h at any number of ranks, bit for
// bit. A rank folds its own grains as they finish (a stack of partial sums, like a binary counter);
// then, bucket by bucket from the tail of the vector, ranks reduce-scatter what is left:
//   size a power of two: vector halving, nearest neighbour first (rank^1, ^2, ^4 ...): (P-1)/P n
//   floats
//     sent a rank, log2 P messages a bucket;
//   other sizes: each rank sends its maximal subtrees of slice r to rank r, which merges them in
//   tree
//     order: at most 2 log2(G) times as much.
// All memory is allocated by reduce_init. Communication of a bucket begins inside reduce_push as
// soon as the bucket is final on this rank, and moves on in later reduce_push calls (poll).
#ifndef SW2_COMM_REDUCE_H
#define SW2_COMM_REDUCE_H

#include "comm/group.h"
#include "comm/span.h"

struct reduce;

// Collective. n: floats, a multiple of SPAN_BLOCK, may be 0. grains: G (see tree_check).
// bucket_bytes: rounded up to SPAN_BLOCK floats, at least one block; any value gives the same bits.
enum status reduce_init(struct reduce **reduce, struct group *group, size_t n, int grains,
                        size_t bucket_bytes);
void reduce_free(struct reduce *reduce);
size_t reduce_bytes(size_t n, int grains, int size, int rank,
                    size_t bucket_bytes); // memory of reduce_init on a rank, for the plan
size_t reduce_sent_bytes(size_t n, int grains, int size,
                         int rank); // sent per step by rank (sum and gather)

// Vector (n floats, owned by reduce, contents undefined) into which the next grain's values go.
// Places that no grain ever writes (padding, frozen parameters) are zero in it and in the sum, as
// long as the caller's changes of reduce_sum keep zeros zero there.
// Grains of this rank come in ascending order.
float *reduce_grain(struct reduce *reduce);
// The current grain's values at [offset, previous offset) are final (previous offset of a grain
// starts at n; offsets only fall; any value is allowed). offset 0 ends the grain. Folds the range;
// on the last local grain starts the sum of every bucket that is now complete. The caller must not
// write that range again.
// Pushes of 0 after the one that ended the grain are allowed and mean nothing.
void reduce_push(struct reduce *reduce, size_t offset);
// Collective: finishes the sum of the step. Afterwards this rank's slices of reduce_sum() are
// valid.
void reduce_wait(struct reduce *reduce);
// laps_now() when the first message of the last step's sum went, for a profile; 0: none did.
double reduce_began(const struct reduce *reduce);
// n floats; only this rank's slices hold the sum; may be changed in place until the next
// reduce_grain.
float *reduce_sum(struct reduce *reduce);

// Slices that `rank` owns, in ascending order: pure, the same answer on all ranks; they cover [0,
// n) exactly over all ranks, all multiples of SPAN_BLOCK. Returns the count; *spans is borrowed.
size_t reduce_slices(const struct reduce *reduce, int rank, const struct span **spans);

// Collective: every rank's slices of `vector` (n floats) reach all ranks, in place.
void reduce_allgather(struct reduce *reduce, float *vector);

// Collective, for norms: `blocks` has n / SPAN_BLOCK doubles, this rank filled those of its slices;
// afterwards all are filled on all ranks.
void reduce_allgather_blocks(struct reduce *reduce, double *blocks);

#endif
