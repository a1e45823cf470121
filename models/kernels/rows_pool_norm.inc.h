// SPDX-License-Identifier: MIT
// Max pooling of a batch-norm's output (and ReLU) that is never made: each tap is computed from the
// norm's x where it is needed. Included by rows_isa.c.

// Parameters of a block's channels.
struct pool_norm_channels {
    vec scale[4], shift[4];
};

TEMPLATE struct pool_norm_channels pool_norm_load(int B, size_t part, const float *scale,
                                                  const float *shift)
{
    struct pool_norm_channels k;
    for (int b = 0; b < B; b++) {
        k.scale[b] = vec_load_part(scale + b * VEC, part);
        k.shift[b] = vec_load_part(shift + b * VEC, part);
    }
    return k;
}

// The larger of two before the ReLU is the larger after it.
TEMPLATE void pool_norm_block(int B, size_t part, bool relu, const struct taps *t,
                              const struct tensor *x, const float *image, const float *scale,
                              const float *shift, float *y)
{
    const struct pool_norm_channels k = pool_norm_load(B, part, scale, shift);
    vec m[4];
    for (int b = 0; b < B; b++)
        m[b] = vec_all(-__builtin_inff());
    for (size_t h = t->h0; h < t->h1; h++)
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++) {
                vec v = vec_load_part(image + h * x->row + w * x->c + b * VEC, part);
                m[b] = vec_larger(m[b], v * k.scale[b] + k.shift[b]);
            }
    for (int b = 0; b < B; b++)
        vec_store_part(y + b * VEC, relu ? vec_relu(m[b]) : m[b], part);
}

static void pool_norm(const struct rows_pooled *pooled, const struct tensor *x, size_t n)
{
    const struct tensor in = *x, out = pooled->y; // copies, as in pool_max_back
    const struct rows_window k = pooled->window;
    const float *scale = pooled->scale, *shift = pooled->shift;
    const bool asks = is_large(x, n), relu = pooled->relu;
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < out.h; p++)
            for (size_t q = 0; q < out.w; q++) {
                const struct taps t = taps_of(&k, &in, p, q);
                const float *image = tensor_row(&in, i, 0);
                float *to = tensor_row(&out, i, p) + q * in.c;
                if (asks)
                    window_ahead(&k, &t, &in, image);
#define BLOCK(B, part)                                                                             \
    pool_norm_block(B, part, relu, &t, &in, image + c0, scale + c0, shift + c0, to + c0)
                CHANNEL_BLOCKS(in.c, BLOCK);
#undef BLOCK
            }
}

// What one window has to give: dy, masked by a ReLU's y > 0.
TEMPLATE vec pool_norm_gradient(bool relu, vec y, const float *dy, size_t part)
{
    vec g = vec_load_part(dy, part);
    return relu ? vec_where_positive(y, g) : g;
}

// Adds those of one window to the sums of a block.
TEMPLATE void pool_norm_sum(int B, size_t part, bool relu, const struct taps *t,
                            const struct tensor *x, const float *image, const float *y,
                            const float *dy, const struct pool_norm_channels *k, const vec *mean,
                            vec *s, vec *q)
{
    vec m[4], g[4];
    for (int b = 0; b < B; b++) {
        m[b] = vec_load_part(y + b * VEC, part);
        g[b] = pool_norm_gradient(relu, m[b], dy + b * VEC, part);
        s[b] += g[b];
    }
    for (size_t h = t->h0; h < t->h1; h++)
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++) {
                vec v = vec_load_part(image + h * x->row + w * x->c + b * VEC, part);
                vec_int hit = v * k->scale[b] + k->shift[b] == m[b];
                q[b] += (vec)(hit & (vec_int)g[b]) * (v - mean[b]);
                g[b] = (vec)(~hit & (vec_int)g[b]); // given away: only the first tap gets it
            }
}

// Windows in order, in groups as in rows_sum.inc.h.
TEMPLATE void pool_norm_sums_block(int B, size_t part, bool relu, const struct rows_pooled *pooled,
                                   const struct tensor *x, size_t n, const float *means, size_t c0,
                                   double *s, double *q)
{
    const struct tensor in = *x, y = pooled->y, dy = pooled->dy;
    const struct rows_window window = pooled->window;
    const struct pool_norm_channels k =
        pool_norm_load(B, part, pooled->scale + c0, pooled->shift + c0);
    const size_t rows = n * y.h, group = y.w < SUM_GROUP ? SUM_GROUP / y.w : 1;
    const bool asks = is_large(x, n);
    vec mean[4];
    for (int b = 0; b < B; b++)
        mean[b] = channel_load(means, c0, b, part);
    for (size_t first = 0; first < rows; first += group) {
        vec vs[4] = {{0}}, vq[4] = {{0}};
        size_t end = first + group < rows ? first + group : rows;
        for (size_t row = first; row < end; row++)
            for (size_t i = row / y.h, p = row % y.h, at = 0; at < y.w; at++) {
                const struct taps t = taps_of(&window, &in, p, at);
                const float *image = tensor_row(&in, i, 0) + c0;
                const float *y_at = tensor_row(&y, i, p) + at * in.c + c0;
                const float *dy_at = tensor_row(&dy, i, p) + at * in.c + c0;
                if (asks) {
                    window_ahead(&window, &t, &in, image);
                    outputs_ahead(y_at, dy_at, (size_t)B * VEC);
                }
                pool_norm_sum(B, part, relu, &t, &in, image, y_at, dy_at, &k, mean, vs, vq);
            }
        sum_fold(B, 1, vs, s);
        sum_fold(B, 1, vq, q);
    }
}

static void pool_norm_sums(const struct rows_pooled *pooled, const struct tensor *x, size_t n,
                           const float *mean, float *sum_dy, float *sum_dyx)
{
#define BLOCK(B, part)                                                                             \
    do {                                                                                           \
        double s[B * VEC] = {0}, q[B * VEC] = {0};                                                 \
        pool_norm_sums_block(B, part, pooled->relu, pooled, x, n, mean, c0, s, q);                 \
        for (size_t i = 0; i < (part == VEC ? B * VEC : part); i++) {                              \
            sum_dy[c0 + i] = (float)s[i];                                                          \
            sum_dyx[c0 + i] = (float)q[i];                                                         \
        }                                                                                          \
    } while (0)
    CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
}

// Gives a window's gradient to rows of dy' that begin with row h_first of x.
TEMPLATE void pool_norm_give(int B, size_t part, bool relu, bool adds, const struct taps *t,
                             size_t h_first, const struct tensor *x, const float *image,
                             const float *scale, const float *shift, const float *y,
                             const float *dy, float *rows)
{
    const struct pool_norm_channels k = pool_norm_load(B, part, scale, shift);
    vec m[4], g[4];
    for (int b = 0; b < B; b++) {
        m[b] = vec_load_part(y + b * VEC, part);
        g[b] = pool_norm_gradient(relu, m[b], dy + b * VEC, part);
    }
    for (size_t h = t->h0; h < t->h1; h++)
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++) {
                vec v = vec_load_part(image + h * x->row + w * x->c + b * VEC, part);
                vec_int hit = v * k.scale[b] + k.shift[b] == m[b];
                pool_put(adds, rows + ((h - h_first) * x->w + w) * x->c + b * VEC,
                         (vec)(hit & (vec_int)g[b]), part);
                g[b] = (vec)(~hit & (vec_int)g[b]);
            }
}

// All windows of output row p of image i.
TEMPLATE void pool_norm_give_row(bool adds, const struct rows_pooled *pooled,
                                 const struct tensor *x, size_t i, size_t p, size_t h_first,
                                 bool asks, float *rows)
{
    const struct tensor in = *x;
    const struct rows_window k = pooled->window;
    const float *scale = pooled->scale, *shift = pooled->shift;
    const float *y = tensor_row(&pooled->y, i, p), *dy = tensor_row(&pooled->dy, i, p);
    const float *image = tensor_row(&in, i, 0);
    const bool relu = pooled->relu;
    for (size_t q = 0; q < pooled->y.w; q++, y += in.c, dy += in.c) {
        const struct taps t = taps_of(&k, &in, p, q);
        if (asks) {
            window_ahead(&k, &t, &in, image);
            outputs_ahead(y, dy, in.c);
        }
#define BLOCK(B, part)                                                                             \
    pool_norm_give(B, part, relu, adds, &t, h_first, &in, image + c0, scale + c0, shift + c0,      \
                   y + c0, dy + c0, rows + c0)
        CHANNEL_BLOCKS(in.c, BLOCK);
#undef BLOCK
    }
}

TEMPLATE void pool_norm_finish(bool has_beta, bool streams, const struct rows_pooled *pooled,
                               const struct tensor *x, const struct tensor *dx, size_t i, size_t h,
                               const float *b, const float *d, const float *row)
{
    const float *from = tensor_row(x, i, h), *scale = pooled->scale;
    float *to = tensor_row(dx, i, h);
#define BLOCK(B, part)                                                                             \
    norm_backward_run(B, part, false, has_beta,                                                    \
                      (struct norm_run){from + c0, row + c0, to + c0, streams}, x->w, x->c,        \
                      scale + c0, NULL, b + c0, d + c0)
    CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
}

// Row after row of windows goes to rows of dy' in work, [first, end) of x; those that no later
// window reaches become dx.
static void pool_norm_back_image(const struct rows_pooled *pooled, const struct tensor *x,
                                 const struct tensor *dx, size_t i, bool asks, bool streams,
                                 const float *b, const float *d, float beta, float *work)
{
    const struct rows_window *k = &pooled->window;
    const size_t row = x->w * x->c;
    const bool tiles = window_tiles(k, x, &pooled->y);
    for (size_t p = 0, first = 0, end = 0; p < pooled->y.h; p++) {
        size_t from, to, next = x->h, unused;
        taps_span(p, k->stride_h, k->pad_h, k->kernel_h, x->h, &from, &to);
        if (p + 1 < pooled->y.h)
            taps_span(p + 1, k->stride_h, k->pad_h, k->kernel_h, x->h, &next, &unused);
        size_t reached = to > next ? to : next; // rows from `end` up to it are new
        if (tiles) {
            pool_norm_give_row(false, pooled, x, i, p, first, asks, work);
        } else {
            memset(work + (end - first) * row, 0, (reached - end) * row * sizeof *work);
            pool_norm_give_row(true, pooled, x, i, p, first, asks, work);
        }
        for (size_t h = first; h < next; h++)
            if (beta != 0)
                pool_norm_finish(true, false, pooled, x, dx, i, h, b, d, work + (h - first) * row);
            else if (streams)
                pool_norm_finish(false, true, pooled, x, dx, i, h, b, d, work + (h - first) * row);
            else
                pool_norm_finish(false, false, pooled, x, dx, i, h, b, d, work + (h - first) * row);
        memmove(work, work + (next - first) * row, (reached - next) * row * sizeof *work);
        first = next;
        end = reached;
    }
}

static void pool_norm_backward(const struct rows_pooled *pooled, const struct tensor *x,
                               const struct tensor *dx, size_t n, const float *b, const float *d,
                               float beta, float *work)
{
    const bool asks = is_large(x, n), streams = vec_can_stream(dx, n);
    for (size_t i = 0; i < n; i++)
        pool_norm_back_image(pooled, x, dx, i, asks, streams, b, d, beta, work);
}
