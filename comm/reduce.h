// SPDX-License-Identifier: MIT
// Canonical sum of the grains' flat vectors: the tree of tree.h at any number of ranks and workers
// (threads of a rank), bit for bit. A worker folds its own grains as they finish (fold.h); then, as
// the tail of the vector becomes final everywhere, what is left is added in tree order and each
// rank gets the sum of its slices:
//   all ranks on one host: a rank reads the partial sums of all workers of all ranks where they
//     are (shared.h) and adds its slices, piece by piece, no message;
//   else the workers of a rank make its maximal subtrees, and then messages, bucket by bucket:
//     size a power of two: vector halving, nearest neighbour first (rank^1, ^2, ^4 ...):
//       (P-1)/P n floats sent a rank, log2 P messages a bucket;
//     other sizes: each rank sends its maximal subtrees of slice r to rank r, which merges them in
//       tree order: at most 2 log2(G) times as much.
// All memory is allocated by reduce_init. Sums begin inside reduce_push as soon as a part is final,
// and move on in later calls of it (poll).
#ifndef SW2_COMM_REDUCE_H
#define SW2_COMM_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/group.h"
#include "comm/span.h"

struct reduce;

// Collective. n: floats, a multiple of SPAN_BLOCK, may be 0. grains: G; workers of each rank (see
// tree_check_workers). bucket_bytes: rounded up to SPAN_BLOCK floats, at least one block; any value
// gives the same bits.
enum status reduce_init(struct reduce **reduce, struct group *group, size_t n, int grains,
                        int workers, size_t bucket_bytes);
void reduce_free(struct reduce *reduce);
// Memory of reduce_init on a rank, for the plan, beside the weights. is_shared: as if all ranks
// were found to share memory, which takes less than messages.
size_t reduce_bytes(size_t n, int grains, int size, int rank, int workers, size_t bucket_bytes,
                    bool is_shared);
// Other ranks' memory that a rank reads where all are on one host: it counts as resident in both.
// has_state: slices of optimiser state are gathered too, for checkpoints.
size_t reduce_shared_bytes(size_t n, int grains, int size, int rank, int workers,
                           size_t bucket_bytes, bool has_state);
// Per step by rank (sum and gather); as much is read from others where memory is shared.
size_t reduce_sent_bytes(size_t n, int grains, int size, int rank);
bool reduce_is_shared(const struct reduce *reduce);

// Vector (n floats, owned by reduce, contents undefined) into which the next grain's values of this
// worker go. Places that no grain ever writes (padding, frozen parameters) are zero in it and in
// the sum, as long as the caller's changes of reduce_sum keep zeros zero there.
// Worker w has part w of the rank's run (tree_run_part); its grains come in ascending order.
float *reduce_grain(struct reduce *reduce, int worker);
// Ranges (n of them, ascending, apart; borrowed until reduce_free) that reduce_grain_sum is for.
// Before the first grain.
void reduce_set_added(struct reduce *reduce, const struct span *ranges, size_t n);
// Right after reduce_grain, where that grain completes a node of the tree: its other child (n
// floats), and the caller then adds the values of those ranges to it (as sum = sum + value, which
// spares writing and reading them) before it pushes them; of its own vector these ranges are then
// not read. NULL: the grain's vector takes all, as without this call.
float *reduce_grain_sum(struct reduce *reduce, int worker);
// The current grain's values at [offset, previous offset) are final (previous offset of a grain
// starts at n; offsets only fall; any value is allowed). offset 0 ends the grain. Folds the range;
// on the worker's last grain starts or moves on sums of what is now complete. The caller must not
// write that range again. Pushes of 0 after the one that ended the grain are allowed and mean
// nothing.
void reduce_push(struct reduce *reduce, int worker, size_t offset);
// After its last grain: worker > 0 helps until the sums of this rank are made. Worker 0 calls
// reduce_wait instead.
void reduce_help(struct reduce *reduce, int worker);
// Collective, worker 0: finishes the sum of the step. Afterwards (and once the other workers have
// returned from reduce_help) this rank's slices of reduce_sum() are valid.
void reduce_wait(struct reduce *reduce);
// laps_now() when the first message of the last step's sum went, for a profile; 0: none did.
// For tests that wrote where nobody may: between steps of all ranks.
void reduce_clear(struct reduce *reduce);
double reduce_began(const struct reduce *reduce);
// n floats; only this rank's slices hold the sum; may be changed in place until the next
// reduce_grain.
float *reduce_sum(struct reduce *reduce);
// n floats, zero at first, the caller's to use until reduce_free: for the weights, whose all-gather
// is then the fastest. Other ranks may read this rank's slices until the next reduce_wait returns.
float *reduce_weights(struct reduce *reduce);

// Slices that `rank` owns, in ascending order: pure, the same answer on all ranks; they cover [0,
// n) exactly over all ranks, all multiples of SPAN_BLOCK. Returns the count; *spans is borrowed.
size_t reduce_slices(const struct reduce *reduce, int rank, const struct span **spans);

// To find who sums wrongly: while traced, digests of what went to and came from each partner in the
// last step's sum. Partners: rank ^ 1 << round where size is a power of two, else ranks by number.
void reduce_trace(struct reduce *reduce, bool is_on); // between steps
// (returned count) of *sent and *received, borrowed; 0: no messages.
size_t reduce_traced(const struct reduce *reduce, const uint64_t **sent, const uint64_t **received);
// Does `other` (of the same n, grains and workers) hold other partial sums of this rank's own
// grains, outside its slices? Only where memory is shared; after reduce_wait.
bool reduce_partials_differ(const struct reduce *reduce, const struct reduce *other);

// Collective: every rank's slices of `vector` (n floats) reach all ranks, in place. Any other
// vector than reduce_weights() and reduce_sum() may take the place of the sum on its way.
void reduce_allgather(struct reduce *reduce, float *vector);

// Collective, for norms: `blocks` has n / SPAN_BLOCK doubles, this rank filled those of its slices;
// afterwards all are filled on all ranks.
void reduce_allgather_blocks(struct reduce *reduce, double *blocks);

#endif
