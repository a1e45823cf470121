// SPDX-License-Identifier: MIT
// Backward weights of the direct convolution: its plan and its loops.
//   dw[r,s] += sum over output rows p  x[row p of tap r,s]^T dy[row p]
// without the rows and columns in which the tap reads padding.
// One GEMM sums over a chunk of output rows, so many that its operands stay in the second cache.
// Where a pixel has more channels than one block, a block's channels lie far apart (in steps of
// powers of two, usually, which meet in few cache sets): then the chunk is first copied, block
// after block.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/kernels/conv_direct.h"

static size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Input pixels that n outputs in a row read.
static size_t reach(size_t n, size_t kernel, size_t stride, size_t dilation)
{
    return (n - 1) * stride + (kernel - 1) * dilation + 1;
}

// Cuts outputs of n images of h x w into chunks: whole images, or rows of one.
static struct conv_chunk chunk_cut(const struct conv_shape *s, size_t c, size_t k, size_t n,
                                   size_t h, size_t w)
{
    bool is_pointwise = s->kernel_h * s->kernel_w == 1;
    struct conv_chunk chunk = {.width = w};
    chunk.packs_dy = k > CONV_BLOCK && (!is_pointwise || c >= 256);
    chunk.packs_x = c > CONV_BLOCK && !is_pointwise && s->stride_w == 1;
    enum { FAR = 512 * 1024 }; // floats; each chunk reads and writes dw
    size_t few = s->kernel_h * s->kernel_w * c * k < FAR ? 256 : 512;
    size_t pixels = chunk.packs_dy && chunk.packs_x   ? 1024
                    : chunk.packs_dy || chunk.packs_x ? few
                                                      : size_max(1, 21504 / size_max(c + k, 64));
    chunk.images = size_min(n, size_max(1, pixels / (h * w)));
    size_t n_parts = (h * w + pixels - 1) / pixels;
    chunk.rows = n_parts > 1 ? size_max(1, (h + n_parts - 1) / n_parts) : h;
    if (chunk.rows > h)
        chunk.rows = h;
    chunk.x_rows = reach(chunk.rows, s->kernel_h, s->stride_h, s->dilation_h);
    chunk.x_width = reach(w, s->kernel_w, s->stride_w, s->dilation_w);
    return chunk;
}

static size_t dy_floats(const struct conv_chunk *chunk, size_t k)
{
    return chunk->packs_dy ? (chunk->images * chunk->rows * chunk->width * k + 15) / 16 * 16 : 0;
}

static size_t x_floats(const struct conv_chunk *chunk, size_t c)
{
    return chunk->packs_x ? chunk->images * chunk->x_rows * chunk->x_width * c : 0;
}

size_t conv_direct_weights_floats(const struct conv_shape *s, struct shape x, size_t n)
{
    size_t c = x.c / s->groups, k = s->out / s->groups;
    struct shape y = conv_output(s, x);
    struct conv_chunk chunk = chunk_cut(s, c, k, n, y.h, y.w);
    size_t floats = dy_floats(&chunk, k) + x_floats(&chunk, c);
    if (s->kernel_h * s->kernel_w == 1) { // perhaps merged: rows of another length
        chunk = chunk_cut(s, c, k, n * y.h * y.w, 1, 1);
        floats = size_max(floats, dy_floats(&chunk, k) + x_floats(&chunk, c));
    }
    return floats;
}

// Kernels of one column of taps, over the output columns that it needs.
static enum status column_plan(struct conv_direct *conv, struct conv_weights_column *column,
                               size_t right)
{
    const struct conv_shape *s = &conv->shape;
    const struct conv_chunk *chunk = &conv->weights.chunk;
    struct conv_range range =
        conv_range_inside((int64_t)right - (int64_t)s->pad_w, s->stride_w, conv->x.w, conv->y.w);
    if (range.first == range.end) // only zeros to sum, but dw is to be written
        range = (struct conv_range){0, conv->y.w};
    column->first = range.first;
    size_t m[2] = {CONV_BLOCK, conv->k % CONV_BLOCK};
    size_t n[2] = {chunk->packs_x ? CONV_BLOCK : conv->c,
                   chunk->packs_x ? conv->c % CONV_BLOCK : 0};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            for (int beta = 0; beta < 2 && m[i] && n[j] && m[i] <= conv->k; beta++)
                TRY(conv_plan_gemm(&column->gemm[i][j][beta], m[i], n[j], range.end - range.first,
                                   chunk->packs_dy ? m[i] : conv->dy.c,
                                   s->stride_w * (chunk->packs_x ? n[j] : conv->x.c), s->out, true,
                                   beta));
    return STATUS_OK;
}

// Where output rows of a chunk lie, for one row of taps: of whole images those that it needs, of
// parts of an image all.
static enum status row_plan(struct conv_direct *conv, struct conv_weights_row *row, size_t down)
{
    const struct conv_shape *s = &conv->shape;
    const struct conv_chunk *chunk = &conv->weights.chunk;
    row->rows =
        conv_range_inside((int64_t)down - (int64_t)s->pad_h, s->stride_h, conv->x.h, conv->y.h);
    if (row->rows.first == row->rows.end)
        row->rows = (struct conv_range){0, conv->y.h};
    bool is_whole = chunk->rows == conv->y.h;
    struct conv_range range = is_whole ? row->rows : (struct conv_range){0, chunk->rows};
    for (int rest = 0; rest < 2; rest++) {
        size_t n = 0, k = rest ? conv->k % CONV_BLOCK : CONV_BLOCK,
               c = rest ? conv->c % CONV_BLOCK : CONV_BLOCK;
        gemm_offset *dy, *x;
        TRY(memory_alloc(&row->dy_offset[rest], chunk->images * chunk->rows, sizeof *dy,
                         "offsets"));
        TRY(memory_alloc(&row->x_offset[rest], chunk->images * chunk->rows, sizeof *x, "offsets"));
        dy = row->dy_offset[rest], x = row->x_offset[rest];
        for (size_t i = 0; i < chunk->images; i++)
            for (size_t p = range.first; p < range.end; p++, n++) {
                dy[n] = chunk->packs_dy ? (i * chunk->rows + p) * chunk->width * k
                                        : i * conv->dy.image + p * conv->dy.row;
                x[n] = chunk->packs_x ? (i * chunk->x_rows + p * s->stride_h) * chunk->x_width * c
                                      : i * conv->x.image + p * s->stride_h * conv->x.row;
                dy[n] *= sizeof(float), x[n] *= sizeof(float);
            }
    }
    return STATUS_OK;
}

enum status conv_direct_weights_plan(struct conv_direct *conv, float *work)
{
    const struct conv_shape *s = &conv->shape;
    struct conv_weights *weights = &conv->weights;
    struct conv_chunk *chunk = &weights->chunk;
    *chunk = chunk_cut(s, conv->c, conv->k, conv->y.n, conv->y.h, conv->y.w);
    weights->dy_pack = work;
    weights->x_pack = work + dy_floats(chunk, conv->k);
    TRY(memory_alloc(&weights->rows, s->kernel_h, sizeof *weights->rows, "rows of taps"));
    TRY(memory_alloc(&weights->columns, s->kernel_w, sizeof *weights->columns, "columns of taps"));
    for (size_t r = 0; r < s->kernel_h; r++)
        TRY(row_plan(conv, &weights->rows[r], r * s->dilation_h));
    for (size_t t = 0; t < s->kernel_w; t++)
        TRY(column_plan(conv, &weights->columns[t], t * s->dilation_w));
    return STATUS_OK;
}

void conv_direct_weights_free(struct conv_direct *conv)
{
    struct conv_weights *weights = &conv->weights;
    for (size_t r = 0; weights->rows && r < conv->shape.kernel_h; r++)
        for (int rest = 0; rest < 2; rest++) {
            free(weights->rows[r].dy_offset[rest]);
            free(weights->rows[r].x_offset[rest]);
        }
    free(weights->rows);
    free(weights->columns);
}

// Copies rows of pixels, `channels` of each, into blocks: [block][row][pixel][width of the block].
static void rows_pack(float *to, const float *from, size_t image_step, size_t row_step,
                      size_t pixel_step, size_t images, size_t rows, size_t width, size_t channels)
{
    for (size_t c0 = 0; c0 < channels; c0 += CONV_BLOCK) {
        size_t block = size_min(CONV_BLOCK, channels - c0);
        for (size_t i = 0; i < images * rows; i++) {
            const float *at = from + i / rows * image_step + i % rows * row_step + c0;
            if (block == CONV_BLOCK)
                for (size_t q = 0; q < width; q++, to += CONV_BLOCK)
                    memcpy(to, at + q * pixel_step, CONV_BLOCK * sizeof *to);
            else
                for (size_t q = 0; q < width; q++, to += block)
                    memcpy(to, at + q * pixel_step, block * sizeof *to);
        }
    }
}

struct part { // of a chunk: images [n0, n0 + images), output rows [p0, p0 + rows)
    size_t n0, images, p0, rows;
    const float *x, *dy; // of one group, first pixel that is read
    int beta;
};

// Output rows of a part that a row of taps needs: as indices into its offsets.
static struct conv_range part_rows(const struct conv_direct *conv, const struct part *part,
                                   const struct conv_weights_row *row)
{
    size_t n = row->rows.end - row->rows.first;
    if (conv->weights.chunk.rows == conv->y.h)
        return (struct conv_range){0, part->images * n};
    size_t first = size_max(row->rows.first, part->p0),
           end = size_min(row->rows.end, part->p0 + part->rows);
    if (first < end)
        return (struct conv_range){first - part->p0, end - part->p0};
    return (struct conv_range){0, part->beta ? 0 : part->rows}; // dw is to be written
}

// All taps of one block of K and one of C (if x is not packed: all of C).
static void part_block(const struct conv_direct *conv, const struct part *part, size_t kb,
                       size_t cb, float *dw)
{
    const struct conv_shape *s = &conv->shape;
    const struct conv_weights *weights = &conv->weights;
    const struct conv_chunk *chunk = &weights->chunk;
    size_t k0 = kb * CONV_BLOCK, c0 = cb * CONV_BLOCK;
    int k_rest = conv->k - k0 < CONV_BLOCK, c_rest = chunk->packs_x && conv->c - c0 < CONV_BLOCK;
    size_t c_width = c_rest ? conv->c - c0 : CONV_BLOCK;
    size_t k_width = k_rest ? conv->k - k0 : CONV_BLOCK;
    size_t pixels = part->images * part->rows * chunk->width;
    const float *dy = chunk->packs_dy ? weights->dy_pack + k0 * pixels : part->dy + k0;
    size_t x_pixels =
        part->images * reach(part->rows, s->kernel_h, s->stride_h, s->dilation_h) * chunk->x_width;
    const float *x = chunk->packs_x ? weights->x_pack + c0 * x_pixels : part->x;
    size_t x_row = chunk->packs_x ? chunk->x_width * c_width : conv->x.row;
    size_t x_pixel = chunk->packs_x ? c_width : conv->x.c;
    size_t dy_pixel = chunk->packs_dy ? k_width : conv->dy.c;
    for (size_t tap = 0; tap < conv->taps; tap++) {
        size_t r = tap / s->kernel_w, t = tap % s->kernel_w;
        const struct conv_weights_row *row = &weights->rows[r];
        const struct conv_weights_column *column = &weights->columns[t];
        struct conv_range range = part_rows(conv, part, row);
        size_t right = t * s->dilation_w + column->first * s->stride_w;
        if (range.first < range.end)
            gemm_run(&column->gemm[k_rest][c_rest][part->beta], dy + column->first * dy_pixel,
                     row->dy_offset[k_rest] + range.first,
                     x + r * s->dilation_h * x_row + right * x_pixel,
                     row->x_offset[c_rest] + range.first, dw + (tap * conv->c + c0) * s->out + k0,
                     range.end - range.first);
    }
}

static void part_run(const struct conv_direct *conv, const struct part *part, float *dw)
{
    const struct conv_shape *s = &conv->shape;
    const struct conv_weights *weights = &conv->weights;
    const struct conv_chunk *chunk = &weights->chunk;
    if (chunk->packs_dy)
        rows_pack(weights->dy_pack, part->dy, conv->dy.image, conv->dy.row, conv->dy.c,
                  part->images, part->rows, chunk->width, conv->k);
    if (chunk->packs_x)
        rows_pack(weights->x_pack, part->x, conv->x.image, conv->x.row, conv->x.c, part->images,
                  reach(part->rows, s->kernel_h, s->stride_h, s->dilation_h), chunk->x_width,
                  conv->c);
    size_t c_blocks = chunk->packs_x ? conv->c_blocks.n : 1;
    for (size_t kb = 0; kb < conv->k_blocks.n; kb++)
        for (size_t cb = 0; cb < c_blocks; cb++)
            part_block(conv, part, kb, cb, dw);
}

void conv_direct_backward_weights(const struct conv *base, size_t n, float *dw)
{
    const struct conv_direct *conv = base->self;
    const struct conv_shape *s = &conv->shape;
    const struct conv_chunk *chunk = &conv->weights.chunk;
    ASSERT(!conv->merged || (n * conv->positions) % conv->merged == 0);
    n = conv_direct_images(conv, n);
    const float *x = conv->x.at - s->pad_h * conv->x.row - s->pad_w * conv->x.c;
    if (conv->stem.weights) {
        conv_direct_stem_weights(conv, x, n, dw);
        return;
    }
    for (size_t g = 0; g < s->groups; g++)
        for (size_t n0 = 0; n0 < n; n0 += chunk->images)
            for (size_t p0 = 0; p0 < conv->y.h; p0 += chunk->rows) {
                struct part part = {.n0 = n0,
                                    .images = size_min(chunk->images, n - n0),
                                    .p0 = p0,
                                    .rows = size_min(chunk->rows, conv->y.h - p0),
                                    .beta = n0 + p0 > 0};
                part.x = x + n0 * conv->x.image + p0 * s->stride_h * conv->x.row + g * conv->c;
                part.dy = conv->dy.at + n0 * conv->dy.image + p0 * conv->dy.row + g * conv->k;
                part_run(conv, &part, dw + g * conv->k);
            }
}
