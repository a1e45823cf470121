// SPDX-License-Identifier: MIT
// The order of rows: whole blocks are permuted and dealt in turn, the short block at the file's end
// is dealt last, to a stream that would else be among the shortest, and there takes a random place:
// so every epoch has the same number of steps. Pure arithmetic. Called by the loader.
#include "data/order.h"

#include <stdbool.h>
#include <stdlib.h>

#include "comm/memory.h"
#include "comm/random.h"

#define BLOCK_ROWS_AUTO 64
#define WINDOW_AUTO 16
#define BLOCKS_A_STREAM 8 // at least, when blocks are made whole chunks

// Sub-streams of RANDOM_BLOCKS.
enum { SUB_PERMUTATION, SUB_SHORT_BLOCK };

static uint64_t block_choose(uint64_t n_rows, uint64_t chunk_rows, uint64_t streams)
{
    uint64_t block = n_rows / (64 * streams);
    block = block < 1 ? 1 : block > BLOCK_ROWS_AUTO ? BLOCK_ROWS_AUTO : block;
    if (chunk_rows > 1 && chunk_rows <= n_rows) {
        uint64_t whole = (block + chunk_rows - 1) / chunk_rows * chunk_rows;
        if (n_rows / whole / streams >= BLOCKS_A_STREAM)
            block = whole;
    }
    return block;
}

static uint64_t blocks_full(const struct order *order)
{
    return order->n_rows / order->block;
}

// Stream that gets the short block, if there is one.
static int short_stream(const struct order *order)
{
    return (int)(blocks_full(order) % (uint64_t)order->grains);
}

// The same in every epoch. With whole blocks dealt evenly all streams but one have the same rows;
// else the short block goes to one of those that have a whole block less.
static uint64_t shortest_stream(const struct order *order)
{
    uint64_t streams = (uint64_t)order->grains, full = blocks_full(order);
    uint64_t rows = full / streams * order->block;
    bool is_sole_short = full % streams == streams - 1;
    return rows + (is_sole_short ? order->n_rows - full * order->block : 0);
}

enum status order_init(struct order *order, uint64_t seed, uint64_t n_rows, uint64_t chunk_rows,
                       uint64_t block, uint64_t window, size_t batch, int grains)
{
    ASSERT(grains >= 1);
    uint64_t streams = (uint64_t)grains;
    CHECK(batch > 0 && batch % streams == 0, STATUS_USAGE,
          "batch %zu is not divisible by %d grains; the nearest that is: %llu", batch, grains,
          (unsigned long long)((batch + streams - 1) / streams * streams + (batch ? 0 : streams)));
    *order = (struct order){
        .seed = seed, .n_rows = n_rows, .batch = batch, .grains = grains, .grain = batch / streams};
    order->block = block ? block : block_choose(n_rows, chunk_rows, streams);
    order->n_blocks = n_rows / order->block + (n_rows % order->block != 0);
    CHECK(order->n_blocks < UINT32_MAX / streams, STATUS_USAGE,
          "%llu rows in blocks of %llu are too many blocks; set data.block",
          (unsigned long long)n_rows, (unsigned long long)order->block);
    uint64_t longest = order->n_blocks / streams + 1;
    order->window = window ? window : WINDOW_AUTO;
    order->window = order->window < longest ? order->window : longest;
    CHECK(order->block < UINT32_MAX / order->window, STATUS_USAGE,
          "a window of %llu blocks of %llu rows is too large; set data.window",
          (unsigned long long)order->window, (unsigned long long)order->block);
    order->steps = shortest_stream(order) / order->grain;
    CHECK(order->steps > 0, STATUS_USAGE,
          "%llu rows in blocks of %llu, dealt to %d grains, are too few for one step: the shortest "
          "share has %llu rows, a grain of batch %zu needs %zu",
          (unsigned long long)n_rows, (unsigned long long)order->block, grains,
          (unsigned long long)shortest_stream(order), batch, order->grain);
    return STATUS_OK;
}

// ---- streams

enum status order_stream_init(struct order_stream *stream, const struct order *order)
{
    *stream = (struct order_stream){0};
    // Room for the permutation of all blocks, of which the stream keeps its own.
    return memory_alloc(&stream->blocks, order->n_blocks, sizeof *stream->blocks, "block order");
}

void order_stream_free(struct order_stream *stream)
{
    free(stream->blocks);
    stream->blocks = NULL;
}

static struct random_key key_of(const struct order *order, uint32_t purpose, uint32_t epoch)
{
    return (struct random_key){.seed = order->seed, .purpose = purpose, .epoch = epoch};
}

static void short_block_insert(struct order_stream *stream, const struct order *order)
{
    uint32_t word[4];
    random_words(key_of(order, RANDOM_BLOCKS, stream->epoch), 0, SUB_SHORT_BLOCK, word);
    size_t at = random_below(word[0], (uint32_t)stream->n_blocks + 1);
    for (size_t i = stream->n_blocks; i > at; i--)
        stream->blocks[i] = stream->blocks[i - 1];
    stream->blocks[at] = (uint32_t)blocks_full(order);
    stream->n_blocks++;
    stream->n_rows += order->n_rows % order->block;
    stream->short_at = at;
}

void order_stream_set(struct order_stream *stream, const struct order *order, uint32_t epoch,
                      int grain)
{
    ASSERT(grain >= 0 && grain < order->grains);
    size_t full = (size_t)blocks_full(order), step = (size_t)order->grains;
    stream->epoch = epoch;
    stream->grain = grain;
    random_permutation(key_of(order, RANDOM_BLOCKS, epoch), SUB_PERMUTATION, full, stream->blocks);
    size_t n = 0;
    for (size_t i = (size_t)grain; i < full; i += step)
        stream->blocks[n++] = stream->blocks[i]; // n <= i
    stream->n_blocks = n;
    stream->n_rows = n * order->block;
    stream->short_at = SIZE_MAX;
    if (full < order->n_blocks && grain == short_stream(order))
        short_block_insert(stream, order);
}

// ---- windows

// Position of the first row of a block of the stream.
static uint64_t block_begin(const struct order_stream *stream, const struct order *order, size_t i)
{
    uint64_t missing = order->block - order->n_rows % order->block;
    return i * order->block - (stream->short_at < i ? missing : 0);
}

struct order_window order_window_at(const struct order_stream *stream, const struct order *order,
                                    uint64_t p)
{
    ASSERT(p < stream->n_rows);
    struct order_window window;
    size_t blocks = (size_t)order->window;
    window.index = (size_t)(p / (order->block * order->window));
    // The short block moves everything after it forward by less than a block.
    if ((window.index + 1) * blocks < stream->n_blocks &&
        block_begin(stream, order, (window.index + 1) * blocks) <= p)
        window.index++;
    window.first_block = window.index * blocks;
    size_t left = stream->n_blocks - window.first_block;
    window.n_blocks = left < blocks ? left : blocks;
    window.begin = block_begin(stream, order, window.first_block);
    window.n_rows = block_begin(stream, order, window.first_block + window.n_blocks) - window.begin;
    return window;
}

void order_window_shuffle(const struct order_stream *stream, const struct order *order,
                          const struct order_window *window, uint32_t *permutation)
{
    // Below n_blocks * grains, which order_init keeps below 2^32.
    uint32_t sub = (uint32_t)window->index * (uint32_t)order->grains + (uint32_t)stream->grain;
    random_permutation(key_of(order, RANDOM_WINDOW, stream->epoch), sub, (size_t)window->n_rows,
                       permutation);
}
