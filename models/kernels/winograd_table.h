// SPDX-License-Identifier: MIT
// Private to conv_winograd*.c and winograd_isa.c: the transforms of Winograd convolution as one
// table per instruction set. Letters as Lavin and Gray (2015): tiles of m x m outputs read
// a x a inputs, a = m + 2; Y = A' [ (G g G') * (B' d B) ] A elementwise, ' for transposed.
#ifndef SW2_MODELS_KERNELS_WINOGRAD_TABLE_H
#define SW2_MODELS_KERNELS_WINOGRAD_TABLE_H

#include <stddef.h>

enum winograd_size { WINOGRAD_2, WINOGRAD_4, WINOGRAD_SIZES }; // F(2x2, 3x3), F(4x4, 3x3)

static inline size_t winograd_outputs(enum winograd_size size) // m
{
    return size == WINOGRAD_4 ? 4 : 2;
}

static inline size_t winograd_planes(enum winograd_size size) // a * a
{
    return size == WINOGRAD_4 ? 36 : 16;
}

// A tensor as tiles, m rows and m columns apart, numbered image by image, row by row.
struct winograd_tiles {
    float *at;                // first element of tile 0
    size_t image, row, c;     // floats from image to image, row to row, pixel to pixel
    size_t h, w;              // pixels from `at` on; those beyond are read as zero, never written
    size_t n_rows, n_columns; // of tiles in an image
};

// a * a matrices (tile, channel) or (row, channel), one for each place in the transformed tile.
struct winograd_matrix {
    float *at;
    size_t plane, row; // floats from matrix to matrix, row to row
};

// Products come in parts, each summed over some of the channels in, that are still to be added.
struct winograd_parts {
    size_t n, step; // floats from part to part
};

// `first`, `count`: tiles; row 0 of the matrices is tile `first`.
struct winograd_transforms {
    // v = B' x B; x: tiles of a x a
    void (*input)(const struct winograd_tiles *x, size_t first, size_t count,
                  const struct winograd_matrix *v);
    // y = beta y + A' (sum of parts of m) A; y: tiles of m x m
    void (*output)(const struct winograd_tiles *y, size_t first, size_t count,
                   const struct winograd_matrix *m, const struct winograd_parts *parts, int beta);
    // v = A dy A'; dy: tiles of m x m
    void (*gradient)(const struct winograd_tiles *dy, size_t first, size_t count,
                     const struct winograd_matrix *v);
    // u = G w G' for rows x columns filters; w[tap]: rows of columns, 9 taps `w_tap` floats apart
    void (*weights)(const float *w, size_t w_tap, size_t w_row, size_t rows, size_t columns,
                    const struct winograd_matrix *u);
    // dw = G' u G, the same layout
    void (*weights_gradient)(const struct winograd_matrix *u, size_t rows, size_t columns,
                             float *dw, size_t w_tap, size_t w_row);
};

struct winograd_table {
    int vector_floats; // width of a vector: tests choose their channel counts by it
    struct winograd_transforms size[WINOGRAD_SIZES];
};

extern const struct winograd_table winograd_table_base, winograd_table_avx2, winograd_table_avx512;

#endif
