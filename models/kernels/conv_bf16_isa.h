// SPDX-License-Identifier: MIT
// The inner loops of convolution in bf16, compiled with AVX512_BF16 in a unit of their own
// (conv_bf16_isa.c) and called only where isa_current() is ISA_AVX512_BF16. Private to kernels/.
//
// vdpbf16ps adds two products of adjacent bf16 to each fp32, so the dimension summed over is stored
// in pairs: channels of one pixel in forward and backward data, samples n and n + 1 in backward
// weights (there every shift by a tap or a stride keeps pairs together). bf16 values are uint16_t.
#ifndef SW2_MODELS_KERNELS_CONV_BF16_ISA_H
#define SW2_MODELS_KERNELS_CONV_BF16_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BF16_BLOCK ((size_t)64) // channels out of a block: 4 vectors of 16
#define BF16_VECTOR ((size_t)16)
#define BF16_OVERHANG ((size_t)4) // pixels a kernel may read beyond the last one

// Contiguous values of a pixel's receptive field; odd counts are rounded up against zero weights.
struct bf16_run {
    size_t at, values; // from the pixel's first value
};

static inline size_t bf16_pairs(const struct bf16_run *run)
{
    return (run->values + 1) / 2;
}

// Pixels (image, row, column) < (images, rows, columns), and where they are, in elements.
struct bf16_grid {
    size_t images, rows, columns;
    size_t x_image, x_row, x_column;
    size_t y_image, y_row, y_column;
};

// y[pixel][0 .. width) = beta y + sum over runs and pairs of x[pixel + at ..] w, of all
// pixels. w: for each run and pair `width` (rounded up to BF16_VECTOR) pairs.
struct bf16_product {
    const struct bf16_grid *grid;
    const uint16_t *x, *w;
    const struct bf16_run *runs;
    size_t n_runs, width;
    float *y;
    bool beta;
};

// dw[j][0 .. width) = beta dw + sum over the grid's pixels of x[pixel][j] dy[pixel][k], of pairs of
// samples: x and dy hold [..][value][2]; dy is dense, width rounded up to BF16_VECTOR.
struct bf16_outer {
    const struct bf16_grid *grid; // of x; y not used; counts and offsets in pairs
    const uint16_t *x, *dy;
    size_t n_j, width, ld; // ld: floats from dw[j] to dw[j + 1]
    float *dw;
    bool beta;
};

void bf16_multiply(const struct bf16_product *product);
void bf16_multiply_outer(const struct bf16_outer *outer);

// to[i] = bf16(from[i]), round to nearest even.
void bf16_convert(const float *from, uint16_t *to, size_t n);
// to[2 i], to[2 i + 1] = bf16(a[i]), bf16(b[i]); b NULL: zeros.
void bf16_interleave(const float *a, const float *b, uint16_t *to, size_t n);
// to[2 i], to[2 i + 1] = bf16(a[i ld]), bf16(b[i ld]), i < n <= BF16_VECTOR; b NULL: zeros. Zeros
// up to BF16_VECTOR.
void bf16_gather(const float *a, const float *b, size_t ld, size_t n, uint16_t *to);
// The same for 16 rows of w, ld apart, of 32 values: pair i of all of them to to[i step ..].
void bf16_transpose(const float *w, size_t ld, uint16_t *to, size_t step);

#endif
