// SPDX-License-Identifier: MIT
// Runs a planned convolution in bf16: packs weights, copies operands in chunks, and the three
// passes over the kernels of conv_bf16_isa.c.
#include <string.h>

#include "models/kernels/conv_bf16.h"

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

// ---- weights ----

static void pack_forward(const struct conv *conv, const struct bf16_pass *pass, const float *w)
{
    const size_t c = conv->x.c, k = conv->shape.out;
    uint16_t *to = pass->w;
    for (size_t k0 = 0; k0 < k; k0 += BF16_BLOCK) {
        size_t width = bf16_width(k, k0), tap = 0;
        for (size_t r = 0; r < pass->n_runs; r++) {
            size_t n = pass->runs[r].values / c; // taps of the run
            const float *from = w + pass->taps[tap] * c * k + k0;
            for (size_t i = 0; i < bf16_pairs(&pass->runs[r]); i++, to += 2 * bf16_round(width))
                bf16_interleave(from + 2 * i * k, 2 * i + 1 < n * c ? from + (2 * i + 1) * k : NULL,
                                to, width);
            tap += n;
        }
    }
}

// Weight (tap, c, k) of value i of a run, for c; NULL beyond its end.
static const float *run_weight(const struct conv *conv, const size_t *taps, size_t n, size_t i,
                               size_t c, const float *w)
{
    const size_t k = conv->shape.out;
    return i < n * k ? w + (taps[i / k] * conv->x.c + c) * k + i % k : NULL;
}

// Pairs of a run of n taps, channels [c, c + n_c) of at most BF16_VECTOR; `step` from pair to pair.
static void pack_run(const struct conv *conv, const size_t *taps, size_t n, size_t c, size_t n_c,
                     const float *w, uint16_t *to, size_t step)
{
    const size_t k = conv->shape.out, pairs = (n * k + 1) / 2;
    bool is_even = k % (2 * BF16_VECTOR) == 0 && n_c == BF16_VECTOR;
    for (size_t i = 0; is_even && i < pairs; i += BF16_VECTOR)
        bf16_transpose(run_weight(conv, taps, n, 2 * i, c, w), k, to + i * step, step);
    for (size_t i = 0; !is_even && i < pairs; i++)
        bf16_gather(run_weight(conv, taps, n, 2 * i, c, w),
                    run_weight(conv, taps, n, 2 * i + 1, c, w), k, n_c, to + i * step);
}

static void pack_backward(const struct conv *conv, const struct bf16_pass *pass, const float *w)
{
    const size_t channels = conv->x.c, k = conv->shape.out;
    uint16_t *to = pass->w;
    for (size_t c0 = 0; c0 < channels; c0 += BF16_BLOCK) {
        size_t width = bf16_width(channels, c0), step = 2 * bf16_round(width);
        const size_t *taps = pass->taps;
        for (size_t r = 0; r < pass->n_runs; r++) {
            size_t n = pass->runs[r].values / k;
            for (size_t c = 0; c < width; c += BF16_VECTOR)
                pack_run(conv, taps, n, c0 + c, size_min(BF16_VECTOR, width - c), w, to + 2 * c,
                         step);
            to += bf16_pairs(&pass->runs[r]) * step;
            taps += n;
        }
    }
}

void conv_bf16_pack(struct conv *conv, const float *w)
{
    const struct bf16_plan *plan = conv->self;
    pack_forward(conv, &plan->forward, w);
    for (size_t i = 0; i < plan->n_phases; i++)
        pack_backward(conv, &plan->phases[i], w);
}

// ---- copies ----

// Which values are copied: channels [c, c + width) of rows `row` (row.count of them) and columns.
struct window {
    const struct tensor *t;
    struct bf16_axis row, column;
    size_t c, width;
    size_t pixel; // elements of a pixel in the copy, at least width
};

// Of one axis, the range of the copy that lies inside the tensor.
static void inside(const struct bf16_axis *axis, size_t size, size_t *first, size_t *last)
{
    int64_t step = (int64_t)axis->step;
    int64_t from = axis->first < 0 ? (-axis->first + step - 1) / step : 0;
    int64_t to = axis->first < (int64_t)size ? ((int64_t)size - 1 - axis->first) / step + 1 : 0;
    *last = size_min(axis->count, (size_t)(to > 0 ? to : 0));
    *first = size_min(*last, (size_t)from);
}

// A row of samples a and b (a only where b is NULL and `pairs` is 1).
static void copy_row(const struct window *win, const float *a, const float *b, size_t pairs,
                     uint16_t *to)
{
    const size_t c = win->t->c;
    bool is_whole = win->width == c && win->pixel == c && win->column.step == 1;
    size_t first, last;
    inside(&win->column, win->t->w, &first, &last);
    memset(to, 0, first * win->pixel * pairs * sizeof *to);
    memset(to + last * win->pixel * pairs, 0,
           (win->column.count - last) * win->pixel * pairs * sizeof *to);
    size_t run = is_whole ? (last - first) * c : win->width;
    for (size_t i = first; i < last; i += is_whole ? last - first : 1) {
        size_t from = (size_t)(win->column.first + (int64_t)(i * win->column.step)) * c + win->c;
        uint16_t *out = to + i * win->pixel * pairs;
        if (pairs == 1)
            bf16_convert(a + from, out, run);
        else
            bf16_interleave(a + from, b ? b + from : NULL, out, run);
    }
}

// Images n0 + i * pairs, i < images, of n; two samples each where pairs is 2. Returns the end.
static uint16_t *copy(const struct window *win, size_t n0, size_t images, size_t n, size_t pairs,
                      uint16_t *to)
{
    const size_t row = win->column.count * win->pixel * pairs;
    size_t first, last;
    inside(&win->row, win->t->h, &first, &last);
    for (size_t i = 0; i < images; i++) {
        size_t image = n0 + i * pairs;
        memset(to, 0, first * row * sizeof *to);
        memset(to + last * row, 0, (win->row.count - last) * row * sizeof *to);
        for (size_t h = first; h < last; h++) {
            size_t from = (size_t)(win->row.first + (int64_t)(h * win->row.step));
            const float *a = tensor_row(win->t, image, from);
            copy_row(win, a, image + 1 < n ? a + win->t->image : NULL, pairs, to + h * row);
        }
        to += win->row.count * row;
    }
    return to;
}

// Rows of the tensor that `rows` output rows from p on read.
static struct bf16_axis rows_read(const struct bf16_axis *axis, size_t stride, size_t p,
                                  size_t rows)
{
    return (struct bf16_axis){axis->first + (int64_t)(p * stride * axis->step), axis->step,
                              (rows - 1) * stride + axis->count};
}

// ---- forward and backward data ----

// Rows and images that follow without a gap are one long row.
static void grid_merge(struct bf16_grid *g)
{
    if (g->x_row == g->columns * g->x_column && g->y_row == g->columns * g->y_column) {
        g->columns *= g->rows;
        g->rows = 1;
    }
    if (g->rows == 1 && g->x_image == g->columns * g->x_column &&
        g->y_image == g->columns * g->y_column) {
        g->columns *= g->images;
        g->images = 1;
    }
}

static void multiply_blocks(const struct bf16_pass *pass, const struct bf16_grid *grid,
                            const uint16_t *x, float *y, size_t channels, bool beta)
{
    for (size_t k = 0; k < channels; k += BF16_BLOCK) {
        struct bf16_product product = {.grid = grid,
                                       .x = x,
                                       .w = pass->w + 2 * k * pass->pairs,
                                       .runs = pass->runs,
                                       .n_runs = pass->n_runs,
                                       .width = bf16_width(channels, k),
                                       .y = y + k,
                                       .beta = beta};
        bf16_multiply(&product);
    }
}

// The values that an odd run reads beyond the last copied one count as zero.
static void end_clear(uint16_t *end)
{
    memset(end, 0, 32 * sizeof *end);
}

static void forward_chunk(const struct conv *conv, size_t n0, size_t images, size_t p, size_t rows)
{
    const struct bf16_plan *plan = conv->self;
    const struct bf16_sizes *s = &plan->sizes;
    const size_t c = conv->x.c;
    uint16_t *x = (uint16_t *)conv->work;
    struct window win = {&conv->x, rows_read(&s->x_rows, s->stride_h, p, rows), s->x_columns, 0, c,
                         c};
    end_clear(copy(&win, n0, images, n0 + images, 1, x));
    size_t row = win.column.count * c;
    struct bf16_grid grid = {.images = images,
                             .rows = rows,
                             .columns = conv->y.w,
                             .x_image = win.row.count * row,
                             .x_row = s->stride_h * row,
                             .x_column = s->stride_w * c,
                             .y_image = conv->y.image,
                             .y_row = conv->y.row,
                             .y_column = conv->y.c};
    grid_merge(&grid);
    multiply_blocks(&plan->forward, &grid, x, tensor_row(&conv->y, n0, p), conv->y.c, false);
}

static void chunks_each(const struct conv *conv, const struct bf16_chunk *chunk, size_t n,
                        size_t rows,
                        void (*run)(const struct conv *, size_t, size_t, size_t, size_t))
{
    for (size_t n0 = 0; n0 < n; n0 += chunk->images)
        for (size_t p = 0; p < rows; p += chunk->rows)
            run(conv, n0, size_min(chunk->images, n - n0), p, size_min(chunk->rows, rows - p));
}

void conv_bf16_forward(const struct conv *conv, size_t n)
{
    const struct bf16_plan *plan = conv->self;
    chunks_each(conv, &plan->sizes.forward, n, conv->y.h, forward_chunk);
}

// Rows [i, i + rows) of every phase.
static void data_chunk(const struct conv *conv, size_t n0, size_t images, size_t i, size_t rows)
{
    const struct bf16_plan *plan = conv->self;
    const struct bf16_sizes *s = &plan->sizes;
    const size_t k = conv->shape.out;
    uint16_t *dy = (uint16_t *)conv->work;
    struct window win = {&conv->dy, rows_read(&s->dy_rows, 1, i, rows), s->dy_columns, 0, k, k};
    end_clear(copy(&win, n0, images, n0 + images, 1, dy));
    size_t row = win.column.count * k;
    for (size_t f = 0; f < plan->n_phases; f++) {
        const struct bf16_pass *phase = &plan->phases[f];
        if (phase->rows <= i || phase->columns == 0)
            continue;
        struct bf16_grid grid = {.images = images,
                                 .rows = size_min(rows, phase->rows - i),
                                 .columns = phase->columns,
                                 .x_image = win.row.count * row,
                                 .x_row = row,
                                 .x_column = k,
                                 .y_image = conv->dx.image,
                                 .y_row = conv->shape.stride_h * conv->dx.row,
                                 .y_column = conv->shape.stride_w * conv->dx.c};
        grid_merge(&grid);
        float *dx = conv->dx.at + n0 * conv->dx.image + phase->y_origin + i * grid.y_row;
        multiply_blocks(phase, &grid, dy, dx, conv->dx.c, conv->dx_beta > 0);
    }
}

void conv_bf16_backward_data(const struct conv *conv, size_t n)
{
    const struct bf16_plan *plan = conv->self;
    chunks_each(conv, &plan->sizes.data, n, plan->sizes.phase_rows, data_chunk);
}

// ---- backward weights ----

// dw (runs, then blocks of K) of a chunk of pairs of samples from n0 on.
static void weights_chunk(const struct conv *conv, size_t n, size_t n0, size_t images, size_t p,
                          size_t rows, float *dw)
{
    const struct bf16_plan *plan = conv->self;
    const struct bf16_sizes *s = &plan->sizes;
    const size_t c = conv->x.c, k = conv->shape.out;
    uint16_t *x = (uint16_t *)conv->work;
    struct window win = {&conv->x, rows_read(&s->x_rows, s->stride_h, p, rows), s->x_columns, 0, c,
                         c};
    uint16_t *dy = x + 2 * s->x_pairs;
    copy(&win, n0, images, n, 2, x);
    size_t row = win.column.count * c;
    struct bf16_grid grid = {.images = images,
                             .rows = rows,
                             .columns = conv->y.w,
                             .x_image = win.row.count * row,
                             .x_row = s->stride_h * row,
                             .x_column = s->stride_w * c};
    for (size_t k0 = 0; k0 < k; k0 += BF16_BLOCK) {
        size_t width = bf16_width(k, k0), tap = 0;
        struct window out = {&conv->dy, {(int64_t)p, 1, rows}, {0, 1, conv->y.w}, k0,
                             width,     bf16_round(width)};
        copy(&out, n0, images, n, 2, dy);
        for (size_t r = 0; r < plan->forward.n_runs; r++) {
            const struct bf16_run *run = &plan->forward.runs[r];
            size_t taps = run->values / c;
            struct bf16_outer outer = {.grid = &grid,
                                       .x = x + 2 * run->at,
                                       .dy = dy,
                                       .n_j = run->values,
                                       .width = width,
                                       .ld = k,
                                       .dw = dw + plan->forward.taps[tap] * c * k + k0,
                                       .beta = n0 + p > 0};
            bf16_multiply_outer(&outer);
            tap += taps;
        }
    }
}

void conv_bf16_backward_weights(const struct conv *conv, size_t n, float *dw)
{
    const struct bf16_plan *plan = conv->self;
    const struct bf16_chunk *chunk = &plan->sizes.weights;
    for (size_t n0 = 0; n0 < n; n0 += 2 * chunk->images)
        for (size_t p = 0; p < conv->y.h; p += chunk->rows)
            weights_chunk(conv, n, n0, size_min(chunk->images, (n - n0 + 1) / 2), p,
                          size_min(chunk->rows, conv->y.h - p), dw);
}
