// SPDX-License-Identifier: MIT
// Runs a planned Winograd convolution: packs weights, and the loops of the three passes over blocks
// of tiles. All orders are fixed by shapes.
#include <string.h>

#include "models/kernels/conv_winograd.h"

static const gemm_offset no_offset[1] = {0};

static struct winograd_matrix u_block(const struct winograd_pass *pass, size_t c, size_t k,
                                      size_t block)
{
    return (struct winograd_matrix){pass->u + block * WINOGRAD_BLOCK * c, pass->u_plane,
                                    winograd_block_width(k, block)};
}

static void pack_forward(const struct conv_winograd *conv, const float *w)
{
    size_t c = conv->c, k = conv->k;
    for (size_t b = 0; b < winograd_blocks(k); b++) {
        struct winograd_matrix u = u_block(&conv->forward, c, k, b);
        conv->transforms->weights(w + b * WINOGRAD_BLOCK, c * k, k, c, u.row, &u);
    }
}

enum { PATCH = 16 };

// Filters [c0, c0 + columns) x [k0, k0 + rows) turned by 180 degrees, as (tap, K, C).
static void patch_flip(const struct conv_winograd *conv, const float *w, size_t c0, size_t columns,
                       size_t k0, size_t rows, float patch[9][PATCH][PATCH])
{
    for (size_t tap = 0; tap < 9; tap++)
        for (size_t c = 0; c < columns; c++) {
            const float *from = w + (tap * conv->c + c0 + c) * conv->k + k0;
            for (size_t k = 0; k < rows; k++)
                patch[8 - tap][k][c] = from[k];
        }
}

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void pack_data(const struct conv_winograd *conv, const float *w)
{
    float patch[9][PATCH][PATCH];
    size_t c = conv->c, k = conv->k;
    for (size_t c0 = 0; c0 < c; c0 += PATCH)
        for (size_t k0 = 0; k0 < k; k0 += PATCH) {
            size_t columns = size_min(PATCH, c - c0), rows = size_min(PATCH, k - k0);
            struct winograd_matrix u = u_block(&conv->data, k, c, c0 / WINOGRAD_BLOCK);
            patch_flip(conv, w, c0, columns, k0, rows, patch);
            u.at += k0 * u.row + c0 % WINOGRAD_BLOCK;
            conv->transforms->weights(patch[0][0], PATCH * PATCH, PATCH, rows, columns, &u);
        }
}

void conv_winograd_pack(struct conv *base, const float *w)
{
    const struct conv_winograd *conv = base->self;
    pack_forward(conv, w);
    if (conv->data.u)
        pack_data(conv, w);
}

// All products of one block of tiles and a block of K: m[plane] = v[plane] u[plane], in parts.
static void pass_multiply(const struct winograd_pass *pass, size_t plane, size_t block,
                          const struct winograd_matrix *v, const struct winograd_matrix *m,
                          const struct winograd_parts *parts)
{
    size_t c = pass->in.c, width = winograd_block_width(pass->out.c, block);
    const float *u = pass->u + plane * pass->u_plane + block * WINOGRAD_BLOCK * c;
    float *to = m->at + plane * m->plane + block * WINOGRAD_BLOCK;
    const struct gemm *gemm = pass->gemm[width < WINOGRAD_BLOCK];
    for (size_t i = 0; i < parts->n; i++) {
        size_t done = i * WINOGRAD_PART;
        gemm_run(&gemm[c - done < WINOGRAD_PART], u + done * width, no_offset,
                 v->at + plane * v->plane + done, no_offset, to + i * parts->step, 1);
    }
}

// A last block that is not full multiplies what an earlier one left in its rest, and drops it.
static void pass_run(const struct conv_winograd *conv, const struct winograd_pass *pass, size_t n)
{
    size_t planes = winograd_planes(conv->size), k_blocks = winograd_blocks(pass->out.c);
    size_t tiles = n * pass->in.n_rows * pass->in.n_columns;
    struct winograd_matrix v = winograd_matrix_of(conv->work, pass->block, pass->in.c);
    struct winograd_matrix m =
        winograd_matrix_of(conv->work + planes * v.plane, pass->block, pass->out.c);
    struct winograd_parts parts = {winograd_parts_of(pass->in.c), planes * m.plane};
    for (size_t first = 0; first < tiles; first += pass->block) {
        size_t count = size_min(pass->block, tiles - first);
        conv->transforms->input(&pass->in, first, count, &v);
        for (size_t i = 0; i < planes * k_blocks; i++)
            pass_multiply(pass, i / k_blocks, i % k_blocks, &v, &m, &parts);
        conv->transforms->output(&pass->out, first, count, &m, &parts, pass->beta);
    }
}

void conv_winograd_forward(const struct conv *base, size_t n)
{
    const struct conv_winograd *conv = base->self;
    pass_run(conv, &conv->forward, n);
}

void conv_winograd_backward_data(const struct conv *base, size_t n)
{
    const struct conv_winograd *conv = base->self;
    pass_run(conv, &conv->data, n);
}

// Zero rows [count, rows): tiles that do not exist add nothing.
static void matrix_clear(const struct winograd_matrix *v, size_t planes, size_t count, size_t rows)
{
    for (size_t i = 0; i < planes && count < rows; i++)
        memset(v->at + i * v->plane + count * v->row, 0, (rows - count) * v->row * sizeof(float));
}

// One block (C, K) of products, summed over the tiles in v and e.
static void weights_multiply(const struct conv_winograd *conv, size_t c_block, size_t k_block,
                             size_t count, int beta, const struct winograd_matrix *v,
                             const struct winograd_matrix *e, const struct winograd_matrix *u)
{
    const struct winograd_weights *w = &conv->weights;
    int c_rest = winograd_block_width(conv->c, c_block) < WINOGRAD_BLOCK;
    int k_rest = winograd_block_width(conv->k, k_block) < WINOGRAD_BLOCK;
    const struct gemm *gemm = &w->gemm[k_rest][c_rest][beta];
    for (size_t i = 0; i < winograd_planes(conv->size); i++)
        gemm_run(gemm, e->at + i * e->plane + k_block * WINOGRAD_BLOCK, w->dy_offset,
                 v->at + i * v->plane + c_block * WINOGRAD_BLOCK, w->x_offset, u->at + i * u->plane,
                 count);
}

void conv_winograd_backward_weights(const struct conv *base, size_t n, float *dw)
{
    const struct conv_winograd *conv = base->self;
    const struct winograd_weights *w = &conv->weights;
    size_t planes = winograd_planes(conv->size), c = conv->c, k = conv->k;
    size_t tiles = n * w->x.n_rows * w->x.n_columns;
    struct winograd_matrix v = winograd_matrix_of(conv->work, w->block, c);
    struct winograd_matrix e = winograd_matrix_of(v.at + planes * v.plane, w->block, k);
    struct winograd_matrix u =
        winograd_matrix_of(e.at + planes * e.plane, WINOGRAD_BLOCK, WINOGRAD_BLOCK);
    float *products = u.at;
    size_t c_blocks = winograd_blocks(c), k_blocks = winograd_blocks(k);
    size_t step = w->x.n_rows * w->x.n_columns * base->y.n <= w->block ? 0 : planes * u.plane;
    for (size_t first = 0; first < tiles; first += w->block) {
        size_t count = size_min(w->block, tiles - first);
        size_t depths = (count + WINOGRAD_DEPTH - 1) / WINOGRAD_DEPTH;
        conv->transforms->input(&w->x, first, count, &v);
        conv->transforms->gradient(&w->dy, first, count, &e);
        matrix_clear(&v, planes, count, depths * WINOGRAD_DEPTH);
        matrix_clear(&e, planes, count, depths * WINOGRAD_DEPTH);
        for (size_t b = 0; b < c_blocks * k_blocks; b++) {
            size_t cb = b / k_blocks, kb = b % k_blocks;
            u.at = products + b * step;
            weights_multiply(conv, cb, kb, depths, first > 0, &v, &e, &u);
            if (first + count == tiles)
                conv->transforms->weights_gradient(
                    &u, winograd_block_width(c, cb), winograd_block_width(k, kb),
                    dw + cb * WINOGRAD_BLOCK * k + kb * WINOGRAD_BLOCK, c * k, k);
        }
    }
}
