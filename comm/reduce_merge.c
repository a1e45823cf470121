// SPDX-License-Identifier: MIT
// Merging partial sums in memory: those of a rank's workers, or, where memory is shared, those of
// all ranks' workers for this rank's slices. Pieces are taken from the tail of the vector in order,
// by whichever worker of the rank looks first; who adds what changes no bit.
#include <stdlib.h>

#include "comm/memory.h"
#include "comm/reduce_private.h"
#include "comm/spin.h"

#define PIECE_FLOATS ((size_t)16384)

void reduce_flag_wait(const struct reduce_flag *flag, uint64_t value)
{
    for (unsigned rounds = 0; reduce_flag_get(flag) < value;)
        spin_wait(&rounds);
}

// Pieces of a range, from its tail. pieces NULL: only counts them.
static size_t pieces_cut(struct span range, size_t bucket, struct merge_piece *pieces)
{
    size_t n = 0;
    for (size_t end = range.count; end > 0; n++) {
        size_t count = end < PIECE_FLOATS ? end : PIECE_FLOATS;
        end -= count;
        if (pieces)
            pieces[n] = (struct merge_piece){{range.offset + end, count}, bucket};
    }
    return n;
}

static struct span range_of(const struct reduce_plan *plan, size_t bucket, bool is_own)
{
    return is_own ? reduce_slice(plan, bucket, plan->rank) : reduce_bucket(plan, bucket);
}

enum status merge_init(struct merge *merge, const struct reduce_plan *plan, bool is_own)
{
    size_t n_parts = (size_t)merge->tree.n_parts, n = 0;
    merge->n_blocks = plan->n / SPAN_BLOCK;
    merge->add = fold_add_choose();
    for (size_t b = 0; b < plan->n_buckets; b++)
        merge->n_pieces += pieces_cut(range_of(plan, b, is_own), b, NULL);
    TRY(memory_alloc(&merge->parts, n_parts, sizeof *merge->parts, "partial sums"));
    TRY(memory_alloc(&merge->outs, n_parts, sizeof *merge->outs, "partial sums"));
    TRY(memory_alloc(&merge->flags, (size_t)plan->size * (size_t)plan->workers,
                     sizeof *merge->flags, "flags of workers"));
    TRY(memory_alloc(&merge->pieces, merge->n_pieces, sizeof *merge->pieces, "pieces of sums"));
    TRY(memory_alloc(&merge->bucket_finished, plan->n_buckets, sizeof *merge->bucket_finished,
                     "buckets"));
    TRY(memory_alloc(&merge->bucket_pieces, plan->n_buckets, sizeof *merge->bucket_pieces,
                     "buckets"));
    TRY(memory_alloc(&merge->scratch, (size_t)plan->workers * n_parts * REDUCE_TREE_FLOATS,
                     sizeof *merge->scratch, "scratch of sums"));
    for (size_t b = 0; b < plan->n_buckets; b++) {
        size_t count = pieces_cut(range_of(plan, b, is_own), b, merge->pieces + n);
        merge->bucket_pieces[b] = (uint32_t)count;
        n += count;
    }
    return STATUS_OK;
}

void merge_free(struct merge *merge)
{
    reduce_tree_free(&merge->tree);
    free(merge->parts);
    free(merge->outs);
    free(merge->flags);
    free(merge->pieces);
    free((void *)merge->bucket_finished);
    free(merge->bucket_pieces);
    free(merge->scratch);
}

uint64_t merge_progress(const struct merge *merge, size_t n, uint64_t step, size_t position)
{
    return step * (merge->n_blocks + 1) + (n - position) / SPAN_BLOCK;
}

// All of the range is final in all parts.
static bool is_final(const struct merge *merge, uint64_t step, size_t offset)
{
    uint64_t value = merge_progress(merge, merge->n_blocks * SPAN_BLOCK, step, offset);
    for (size_t i = 0; i < merge->n_flags; i++)
        if (reduce_flag_get(merge->flags[i]) < value)
            return false;
    return true;
}

static void piece_add(struct merge *merge, int worker, const struct merge_piece *piece)
{
    const struct reduce_tree *tree = &merge->tree;
    size_t offset = piece->span.offset;
    float *scratch = merge->scratch + (size_t)worker * (size_t)tree->n_parts * REDUCE_TREE_FLOATS;
    for (int i = 0; i < tree->n_roots; i++)
        reduce_tree_add(tree, &tree->roots[i], merge->add, merge->parts, offset,
                        merge->outs[i] + offset, piece->span.count, scratch);
}

bool merge_some(struct merge *merge, int worker, uint64_t step)
{
    bool is_any = false;
    uint64_t first = step * merge->n_pieces;
    for (;;) {
        uint64_t next = atomic_load(&merge->next);
        if (next >= first + merge->n_pieces ||
            !is_final(merge, step, merge->pieces[next - first].span.offset))
            return is_any;
        if (!atomic_compare_exchange_strong(&merge->next, &next, next + 1))
            continue;
        const struct merge_piece *piece = &merge->pieces[next - first];
        piece_add(merge, worker, piece);
        atomic_fetch_add(&merge->bucket_finished[piece->bucket], 1);
        atomic_fetch_add(&merge->finished, 1);
        is_any = true;
    }
}

bool merge_is_done(const struct merge *merge, uint64_t step)
{
    return atomic_load(&merge->finished) >= (step + 1) * merge->n_pieces;
}

bool merge_bucket_is_done(const struct merge *merge, uint64_t step, size_t bucket)
{
    return atomic_load(&merge->bucket_finished[bucket]) >=
           (step + 1) * merge->bucket_pieces[bucket];
}
