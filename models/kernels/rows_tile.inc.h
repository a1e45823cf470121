// SPDX-License-Identifier: MIT
// Tiles of a matrix, copied and transposed at once, so that it is read once. Included by
// rows_isa.c.

typedef float four __attribute__((vector_size(16)));

TEMPLATE void put_four(bool streams, float *to, four x)
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

TEMPLATE void put_vec(bool streams, float *to, vec x)
{
    if (streams)
        vec_stream(to, x);
    else
        vec_store(to, x);
}

// to[c, k] = from[c, k]; asks for what lies behind each row: the next tile.
TEMPLATE void tile_copy(bool streams, const struct rows_tile *tile, float *to)
{
    for (size_t c = 0; c < tile->n_c; c++, to += tile->n_k) {
        const float *from = tile->from + c * tile->from_row;
        for (size_t k = 0; k < tile->n_k; k += 16)
            __builtin_prefetch(from + tile->n_k + k, 0, 2);
        size_t k = 0;
        for (; k + VEC <= tile->n_k; k += VEC)
            put_vec(streams, to + k, vec_load(from + k));
        for (; k < tile->n_k; k++)
            to[k] = from[k];
    }
}

// to[k, c] = from[c, k] for 4 x 4 numbers.
TEMPLATE void transpose_4x4(bool streams, const float *from, size_t from_row, float *to,
                            size_t to_row)
{
    four x[4], lower[2], upper[2];
    for (size_t i = 0; i < 4; i++)
        memcpy(&x[i], from + i * from_row, sizeof x[i]);
    for (size_t i = 0; i < 2; i++) {
        lower[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 4, 1, 5);
        upper[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 2, 6, 3, 7);
    }
    put_four(streams, to, __builtin_shufflevector(lower[0], lower[1], 0, 1, 4, 5));
    put_four(streams, to + to_row, __builtin_shufflevector(lower[0], lower[1], 2, 3, 6, 7));
    put_four(streams, to + 2 * to_row, __builtin_shufflevector(upper[0], upper[1], 0, 1, 4, 5));
    put_four(streams, to + 3 * to_row, __builtin_shufflevector(upper[0], upper[1], 2, 3, 6, 7));
}

#if defined(__AVX512F__)
// ... for 16 x 16: 4 x 4 within the quarters of registers, then the quarters.
TEMPLATE void transpose_16x16(bool streams, const float *from, size_t from_row, float *to,
                              size_t to_row)
{
    __m512 x[16], y[16];
    for (int i = 0; i < 16; i++)
        x[i] = _mm512_loadu_ps(from + (size_t)i * from_row);
    for (int i = 0; i < 16; i += 4) { // quarter j of y[i + r]: column 4 j + r of rows i .. i + 3
        __m512 lower0 = _mm512_unpacklo_ps(x[i], x[i + 1]),
               upper0 = _mm512_unpackhi_ps(x[i], x[i + 1]),
               lower1 = _mm512_unpacklo_ps(x[i + 2], x[i + 3]),
               upper1 = _mm512_unpackhi_ps(x[i + 2], x[i + 3]);
        y[i] = _mm512_shuffle_ps(lower0, lower1, 0x44);
        y[i + 1] = _mm512_shuffle_ps(lower0, lower1, 0xee);
        y[i + 2] = _mm512_shuffle_ps(upper0, upper1, 0x44);
        y[i + 3] = _mm512_shuffle_ps(upper0, upper1, 0xee);
    }
    for (int r = 0; r < 4; r++) {
        __m512 even0 = _mm512_shuffle_f32x4(y[r], y[4 + r], 0x88),
               odd0 = _mm512_shuffle_f32x4(y[r], y[4 + r], 0xdd),
               even1 = _mm512_shuffle_f32x4(y[8 + r], y[12 + r], 0x88),
               odd1 = _mm512_shuffle_f32x4(y[8 + r], y[12 + r], 0xdd);
        float *at = to + (size_t)r * to_row;
        put_vec(streams, at, (vec)_mm512_shuffle_f32x4(even0, even1, 0x88));
        put_vec(streams, at + 4 * to_row, (vec)_mm512_shuffle_f32x4(odd0, odd1, 0x88));
        put_vec(streams, at + 8 * to_row, (vec)_mm512_shuffle_f32x4(even0, even1, 0xdd));
        put_vec(streams, at + 12 * to_row, (vec)_mm512_shuffle_f32x4(odd0, odd1, 0xdd));
    }
}
#endif

// to[k, c] = from[c, k]
TEMPLATE void tile_transpose(bool streams, const struct rows_tile *tile, float *to)
{
    size_t row = tile->from_row, c_fours = tile->n_c / 4 * 4, k_fours = tile->n_k / 4 * 4;
#if defined(__AVX512F__)
    if (tile->n_c % 16 == 0 && tile->n_k % 16 == 0) {
        for (size_t k = 0; k < tile->n_k; k += 16)
            for (size_t c = 0; c < tile->n_c; c += 16)
                transpose_16x16(streams, tile->from + c * row + k, row, to + k * tile->n_c + c,
                                tile->n_c);
        return;
    }
#endif
    for (size_t k = 0; k < k_fours; k += 4)
        for (size_t c = 0; c < c_fours; c += 4)
            transpose_4x4(streams, tile->from + c * row + k, row, to + k * tile->n_c + c,
                          tile->n_c);
    for (size_t c = 0; c < tile->n_c; c++)
        for (size_t k = c < c_fours ? k_fours : 0; k < tile->n_k; k++)
            to[k * tile->n_c + c] = tile->from[c * row + k];
}

static void tile_pack(const struct rows_tile *tile, float *copy, float *transposed)
{
    if (tile->streams) {
        tile_copy(true, tile, copy);
        if (transposed)
            tile_transpose(true, tile, transposed);
    } else {
        tile_copy(false, tile, copy);
        if (transposed)
            tile_transpose(false, tile, transposed);
    }
}
