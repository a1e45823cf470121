// SPDX-License-Identifier: MIT
// Packs weights for the direct convolution: for forward as they are, block after block of K, and
// for backward data transposed, block after block of C; in tiles of one block each way, so that
// weights are read once. Packed weights too large for the caches go past them.
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "models/kernels/conv_direct.h"

typedef float four __attribute__((vector_size(16)));

static void put(float *to, four x, bool streams)
{
#if defined(__SSE2__)
    if (streams) {
        _mm_stream_ps(to, (__m128)x);
        return;
    }
#else
    (void)streams;
#endif
    memcpy(to, &x, sizeof x);
}

// What was streamed is there for other threads.
static void streams_end(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

struct tile { // n_c x n_k of the weights
    const float *from;
    size_t from_row, n_c, n_k;
    bool streams;
};

// to[c, k] = from[c, k]
static void tile_copy(const struct tile *tile, float *to)
{
    for (size_t c = 0; c < tile->n_c; c++, to += tile->n_k) {
        const float *from = tile->from + c * tile->from_row;
        if (!tile->streams)
            memcpy(to, from, tile->n_k * sizeof *to);
        for (size_t k = 0; k < tile->n_k && tile->streams; k += 4) {
            four x;
            memcpy(&x, from + k, sizeof x);
            put(to + k, x, true);
        }
    }
}

// to[k, c] = from[c, k] for 4 x 4 numbers.
static void transpose_4x4(const float *from, size_t from_row, float *to, size_t to_row,
                          bool streams)
{
    four x[4], lower[2], upper[2];
    for (size_t i = 0; i < 4; i++)
        memcpy(&x[i], from + i * from_row, sizeof x[i]);
    for (size_t i = 0; i < 2; i++) {
        lower[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 4, 1, 5);
        upper[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 2, 6, 3, 7);
    }
    put(to, __builtin_shufflevector(lower[0], lower[1], 0, 1, 4, 5), streams);
    put(to + to_row, __builtin_shufflevector(lower[0], lower[1], 2, 3, 6, 7), streams);
    put(to + 2 * to_row, __builtin_shufflevector(upper[0], upper[1], 0, 1, 4, 5), streams);
    put(to + 3 * to_row, __builtin_shufflevector(upper[0], upper[1], 2, 3, 6, 7), streams);
}

// to[k, c] = from[c, k]
static void tile_transpose(const struct tile *tile, float *to)
{
    size_t row = tile->from_row, c_fours = tile->n_c / 4 * 4, k_fours = tile->n_k / 4 * 4;
    for (size_t k = 0; k < k_fours; k += 4)
        for (size_t c = 0; c < c_fours; c += 4)
            transpose_4x4(tile->from + c * row + k, row, to + k * tile->n_c + c, tile->n_c,
                          tile->streams);
    for (size_t c = 0; c < tile->n_c; c++)
        for (size_t k = c < c_fours ? k_fours : 0; k < tile->n_k; k++)
            to[k * tile->n_c + c] = tile->from[c * row + k];
}

// Place of a tap in what is packed for backward data.
static size_t backward_place(const struct conv_direct *conv, size_t tap)
{
    const struct conv_rows *rows = conv->phases;
    for (size_t place = 0;; rows++)
        for (size_t t = 0; t < rows->n_taps; t++, place++)
            if (rows->tap[t].number == tap)
                return place;
}

// One tap of one group.
static void tap_pack(const struct conv_direct *conv, size_t group, size_t place, const float *w,
                     bool streams)
{
    size_t tap = conv->stem.forward ? place : conv->forward.tap[place].number;
    size_t back = conv->phases ? backward_place(conv, tap) : 0;
    size_t floats = conv->taps * conv->c * conv->k;
    for (size_t cb = 0; cb < conv->c_blocks.n; cb++)
        for (size_t kb = 0; kb < conv->k_blocks.n; kb++) {
            size_t c0 = cb * CONV_BLOCK, k0 = kb * CONV_BLOCK;
            struct tile tile = {.from = w + (tap * conv->c + c0) * conv->shape.out +
                                        group * conv->k + k0,
                                .from_row = conv->shape.out,
                                .n_c = conv_block_width(&conv->c_blocks, cb),
                                .n_k = conv_block_width(&conv->k_blocks, kb),
                                .streams = streams};
            tile_copy(&tile, conv->packed_forward + group * floats + k0 * conv->taps * conv->c +
                                 (place * conv->c + c0) * tile.n_k);
            if (conv->phases)
                tile_transpose(&tile, conv->packed_backward + group * floats +
                                          c0 * conv->taps * conv->k +
                                          (back * conv->k + k0) * tile.n_c);
        }
}

void conv_direct_pack(struct conv *base, const float *w)
{
    enum { CACHED = 256 * 1024, LINE = 16 }; // floats
    const struct conv_direct *conv = base->self;
    bool streams = conv->taps * conv->c * conv->shape.out > CACHED && conv->c % LINE == 0 &&
                   conv->k % LINE == 0;
    for (size_t g = 0; g < conv->shape.groups; g++)
        for (size_t t = 0; t < conv->taps; t++)
            tap_pack(conv, g, t, w, streams);
    if (streams)
        streams_end();
    if (conv->stem.products)
        conv_direct_stem_pack(conv, w, conv->packed_backward);
}
