// SPDX-License-Identifier: MIT
// Winograd convolution (Winograd 1980; Lavin and Gray 2015, "Fast algorithms for convolutional
// neural networks"), 3x3 filters of stride 1: which layers, which tile, plan. conv_winograd_run.c
// runs it, winograd_isa.c transforms, gemm.h multiplies.
#include <stdlib.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "models/kernels/conv_winograd.h"

static const struct winograd_table *table(void)
{
    return isa_choose(&winograd_table_base, &winograd_table_avx2, &winograd_table_avx512);
}

static size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

static size_t tiles_of(struct shape y, size_t n, enum winograd_size size)
{
    size_t m = winograd_outputs(size);
    return n * ((y.h + m - 1) / m) * ((y.w + m - 1) / m);
}

// The rule, from measurements on AVX-512 and AVX2 at 3 to 512 channels, 2 to 56 rows, grains of 1
// to 16 samples. A tile pays in all three passes or in none, where
// - it saves a third of the multiplications: tiles that stick out at the edges do not count;
// - transforms, a constant number of operations a channel, are little beside the products, C deep
//   or K deep: 8 channels for F(4x4), 16 for F(2x2);
// - a grain has 16 tiles or more: products of fewer tiles cost little beside reading transformed
//   weights, and in backward weights beside writing them.
// Of two that pay the one with fewer multiplications is taken; of equals F(2x2), whose weights take
// less than half the memory and whose rounding errors are half as large.
static bool size_pays(enum winograd_size size, struct shape x, struct shape y, size_t n)
{
    size_t least = size == WINOGRAD_4 ? 8 : 16;
    return x.c >= least && y.c >= least && tiles_of(y, n, size) >= 16 &&
           3 * winograd_planes(size) * tiles_of(y, 1, size) <= 2 * 9 * y.h * y.w;
}

// WINOGRAD_SIZES: neither pays.
static enum winograd_size size_choose(const struct conv_shape *s, struct shape x, size_t n)
{
    struct shape y = conv_output(s, x);
    size_t cost_2 = winograd_planes(WINOGRAD_2) * tiles_of(y, 1, WINOGRAD_2);
    size_t cost_4 = winograd_planes(WINOGRAD_4) * tiles_of(y, 1, WINOGRAD_4);
    if (size_pays(WINOGRAD_4, x, y, n) && cost_4 < cost_2)
        return WINOGRAD_4;
    return size_pays(WINOGRAD_2, x, y, n) ? WINOGRAD_2 : WINOGRAD_SIZES;
}

bool conv_winograd_can(const struct conv_shape *s)
{
    return s->kernel_h == 3 && s->kernel_w == 3 && s->stride_h == 1 && s->stride_w == 1 &&
           s->dilation_h == 1 && s->dilation_w == 1 && s->groups == 1 && s->pad_h <= 2 &&
           s->pad_w <= 2;
}

static bool suits(const struct conv_shape *s, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    return mode->winograd && !mode->bf16 && conv_winograd_can(s) &&
           size_choose(s, x, n) != WINOGRAD_SIZES;
}

// Blocks of tiles, pure functions of shapes.

// Forward and backward data: both operands of a block's products stay in a cache of 1 MiB up to 64
// channels. Equal blocks, so that the last is nearly full.
static size_t pass_block(size_t tiles)
{
    const size_t most = 32;
    size_t blocks = (tiles + most - 1) / most;
    return (tiles + blocks - 1) / blocks;
}

// Backward weights: all tiles at once where that takes no more memory than blocks of 64 and the
// sums of all products do.
static size_t weights_block(size_t tiles, size_t c, size_t k)
{
    const size_t most = 64;
    if (tiles * (c + k) <= most * (c + k) + c * k)
        return round_up(tiles, WINOGRAD_DEPTH);
    size_t blocks = (tiles + most - 1) / most;
    return round_up((tiles + blocks - 1) / blocks, WINOGRAD_DEPTH);
}

static size_t matrix_floats(size_t rows, size_t channels, enum winograd_size size)
{
    return winograd_matrix_of(NULL, rows, channels).plane * winograd_planes(size);
}

static size_t u_plane(size_t c, size_t k)
{
    return (round_up(c * k, 16) / 16 | 1) * 16;
}

size_t conv_winograd_keep_floats(enum winograd_size size, const struct conv_shape *s,
                                 struct shape x)
{
    return (u_plane(x.c, s->out) + u_plane(s->out, x.c)) * winograd_planes(size);
}

size_t conv_winograd_work_floats(enum winograd_size size, const struct conv_shape *s,
                                 struct shape x, size_t n)
{
    struct shape y = conv_output(s, x);
    size_t tiles = tiles_of(y, n, size), weights = weights_block(tiles, x.c, y.c);
    size_t pass = size_max(pass_block(tiles), pass_block(tiles_of(x, n, size)));
    size_t blocks = tiles <= weights ? 1 : winograd_blocks(x.c) * winograd_blocks(y.c);
    size_t product = matrix_floats(WINOGRAD_BLOCK, WINOGRAD_BLOCK, size);
    size_t of_forward =
        matrix_floats(pass, x.c, size) + winograd_parts_of(x.c) * matrix_floats(pass, y.c, size);
    size_t of_data =
        matrix_floats(pass, y.c, size) + winograd_parts_of(y.c) * matrix_floats(pass, x.c, size);
    size_t of_weights = matrix_floats(weights, x.c, size) + matrix_floats(weights, y.c, size);
    return size_max(size_max(of_forward, of_data), of_weights + blocks * product);
}

static size_t keep_floats(const struct conv_shape *s, struct shape x, size_t n)
{
    return conv_winograd_keep_floats(size_choose(s, x, n), s, x);
}

static size_t work_floats(const struct conv_shape *s, struct shape x, size_t n)
{
    return conv_winograd_work_floats(size_choose(s, x, n), s, x, n);
}

// t from (-pad_h, -pad_w) on, with all the padding behind it, as tiles of the outputs of `out`.
static struct winograd_tiles tiles_view(const struct tensor *t, size_t pad_h, size_t pad_w,
                                        const struct tensor *out, enum winograd_size size)
{
    size_t m = winograd_outputs(size);
    return (struct winograd_tiles){.at = t->at - pad_h * t->row - pad_w * t->c,
                                   .image = t->image,
                                   .row = t->row,
                                   .c = t->c,
                                   .h = t->h + 2 * pad_h,
                                   .w = t->w + 2 * pad_w,
                                   .n_rows = (out->h + m - 1) / m,
                                   .n_columns = (out->w + m - 1) / m};
}

static enum status pass_plan(struct winograd_pass *pass, enum winograd_size size,
                             const struct tensor *in, size_t pad_h, size_t pad_w,
                             const struct tensor *out, int beta, float *u)
{
    pass->in = tiles_view(in, pad_h, pad_w, out, size);
    pass->out = tiles_view(out, 0, 0, out, size);
    pass->beta = beta;
    pass->u = u;
    pass->u_plane = u_plane(in->c, out->c);
    pass->block = pass_block(tiles_of(tensor_shape(out), out->n, size));
    size_t width[2] = {WINOGRAD_BLOCK, out->c % WINOGRAD_BLOCK};
    size_t depth[2] = {WINOGRAD_PART, in->c % WINOGRAD_PART};
    size_t ldb = winograd_matrix_of(NULL, 1, in->c).row;
    size_t ldc = winograd_matrix_of(NULL, 1, out->c).row;
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++)
            if (width[a] > 0 && out->c >= width[a] && depth[b] > 0 && in->c >= depth[b])
                TRY(conv_plan_gemm(&pass->gemm[a][b], width[a], pass->block, depth[b], width[a],
                                   ldb, ldc, false, 0));
    return STATUS_OK;
}

static enum status weights_plan(struct conv *conv, struct winograd_weights *w,
                                enum winograd_size size)
{
    const struct conv_shape *s = &conv->shape;
    w->x = tiles_view(&conv->x, s->pad_h, s->pad_w, &conv->y, size);
    w->dy = tiles_view(&conv->dy, 0, 0, &conv->y, size);
    size_t c = conv->x.c, k = conv->y.c, depth = WINOGRAD_DEPTH;
    w->block = weights_block(tiles_of(tensor_shape(&conv->y), conv->y.n, size), c, k);
    size_t n = w->block / depth;
    size_t lda = winograd_matrix_of(NULL, 1, k).row, ldb = winograd_matrix_of(NULL, 1, c).row;
    TRY(memory_alloc(&w->x_offset, n, sizeof(gemm_offset), "convolution offsets"));
    TRY(memory_alloc(&w->dy_offset, n, sizeof(gemm_offset), "convolution offsets"));
    for (size_t i = 0; i < n; i++) {
        w->x_offset[i] = i * depth * ldb * sizeof(float);
        w->dy_offset[i] = i * depth * lda * sizeof(float);
    }
    size_t k_width[2] = {WINOGRAD_BLOCK, k % WINOGRAD_BLOCK};
    size_t c_width[2] = {WINOGRAD_BLOCK, c % WINOGRAD_BLOCK};
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++)
            for (int beta = 0; beta < 2; beta++)
                if (k_width[a] > 0 && k >= k_width[a] && c_width[b] > 0 && c >= c_width[b])
                    TRY(conv_plan_gemm(&w->gemm[a][b][beta], k_width[a], c_width[b], depth, lda,
                                       ldb, WINOGRAD_BLOCK, true, beta));
    return STATUS_OK;
}

enum status conv_winograd_plan(enum winograd_size size, struct conv *conv)
{
    const struct conv_shape *s = &conv->shape;
    struct conv_winograd *self = NULL;
    TRY(memory_alloc(&self, 1, sizeof *self, "convolution"));
    conv->self = self;
    *self = (struct conv_winograd){.size = size,
                                   .transforms = &table()->size[size],
                                   .c = conv->x.c,
                                   .k = s->out,
                                   .work = conv->work};
    TRY(pass_plan(&self->forward, size, &conv->x, s->pad_h, s->pad_w, &conv->y, 0, conv->keep));
    TRY(weights_plan(conv, &self->weights, size));
    if (!conv->dx.at)
        return STATUS_OK;
    float *u_data = conv->keep + u_plane(self->c, self->k) * winograd_planes(size);
    return pass_plan(&self->data, size, &conv->dy, 2 - s->pad_h, 2 - s->pad_w, &conv->dx,
                     conv->dx_beta, u_data);
}

static enum status plan(struct conv *conv)
{
    return conv_winograd_plan(size_choose(&conv->shape, tensor_shape(&conv->x), conv->x.n), conv);
}

void conv_winograd_free(struct conv *conv)
{
    struct conv_winograd *self = conv->self;
    if (!self)
        return;
    free(self->weights.x_offset);
    free(self->weights.dy_offset);
    free(self);
}

const struct conv_method conv_winograd = {.name = "winograd",
                                          .suits = suits,
                                          .keep_floats = keep_floats,
                                          .work_floats = work_floats,
                                          .plan = plan,
                                          .pack = conv_winograd_pack,
                                          .forward = conv_winograd_forward,
                                          .backward_data = conv_winograd_backward_data,
                                          .backward_weights = conv_winograd_backward_weights,
                                          .free = conv_winograd_free};
