// SPDX-License-Identifier: MIT
// Which rows make grain g of step s: a pure function of (seed, epoch, n, block, window, B, G).
// The file is cut into blocks of consecutive rows. Each epoch permutes the blocks and deals them in
// turn to the G grain streams; each stream is shuffled inside windows of several blocks. A block is
// read by one rank once an epoch; any position can be found without replaying. An epoch has as many
// steps as the shortest stream has whole grains; the rows left over (under G blocks + one batch)
// differ every epoch.
#ifndef SW2_DATA_ORDER_H
#define SW2_DATA_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

struct order {
    uint64_t seed;
    uint64_t n_rows;
    uint64_t block; // rows a block
    uint64_t n_blocks;
    uint64_t window; // blocks a window
    size_t batch;    // B
    int grains;      // G
    size_t grain;    // m = B / G
    uint64_t steps;  // per epoch, the same in every epoch
};

// block 0: chosen from n_rows and G (clamp(n / 64 G, 1, 64), raised to a multiple of chunk_rows
// where the file is chunked and that leaves at least 8 blocks a stream); window 0: 16.
// STATUS_USAGE: batch not divisible by grains, data set too small for one step (names all numbers).
enum status order_init(struct order *order, uint64_t seed, uint64_t n_rows, uint64_t chunk_rows,
                       uint64_t block, uint64_t window, size_t batch, int grains);

// The blocks of one stream in one epoch.
struct order_stream {
    uint32_t *blocks; // owned
    size_t n_blocks;
    uint64_t n_rows;
    size_t short_at; // place of the file's last, short block in blocks; SIZE_MAX: not here
    uint32_t epoch;
    int grain;
};
enum status order_stream_init(struct order_stream *stream, const struct order *order);
void order_stream_free(struct order_stream *stream);
void order_stream_set(struct order_stream *stream, const struct order *order, uint32_t epoch,
                      int grain);
// Window that holds position p (0 <= p < n_rows) of the stream, where it begins, and its rows.
struct order_window {
    size_t index;                 // window number in the stream
    size_t first_block, n_blocks; // in stream->blocks
    uint64_t begin, n_rows;       // positions [begin, begin + n_rows)
};
struct order_window order_window_at(const struct order_stream *stream, const struct order *order,
                                    uint64_t p);
// permutation[i]: which row of the window (counted in block order) stands at position begin + i.
// n_rows entries.
void order_window_shuffle(const struct order_stream *stream, const struct order *order,
                          const struct order_window *window, uint32_t *permutation);
// First row of a block and its count (the last one may be short).
static inline uint64_t order_block_rows(const struct order *order, uint64_t block)
{
    uint64_t first = block * order->block;
    return order->n_rows - first < order->block ? order->n_rows - first : order->block;
}

#endif
