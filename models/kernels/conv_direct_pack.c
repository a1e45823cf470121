// SPDX-License-Identifier: MIT
// Packs weights for the direct convolution: for forward as they are, block after block of K, and
// for backward data transposed, block after block of C; in tiles of one block each way, so that
// weights are read once. Packed weights too large for the caches go past them.
#include "models/kernels/conv_direct.h"
#include "models/kernels/rows.h"

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
            struct rows_tile tile = {.from = w + (tap * conv->c + c0) * conv->shape.out +
                                             group * conv->k + k0,
                                     .from_row = conv->shape.out,
                                     .n_c = conv_block_width(&conv->c_blocks, cb),
                                     .n_k = conv_block_width(&conv->k_blocks, kb),
                                     .streams = streams};
            float *forward = conv->packed_forward + group * floats + k0 * conv->taps * conv->c +
                             (place * conv->c + c0) * tile.n_k;
            float *backward = conv->packed_backward + group * floats + c0 * conv->taps * conv->k +
                              (back * conv->k + k0) * tile.n_c;
            rows_tile_pack(&tile, forward, conv->phases ? backward : NULL);
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
        rows_streams_end();
    if (conv->stem.products)
        conv_direct_stem_pack(conv, w, conv->packed_backward);
}
