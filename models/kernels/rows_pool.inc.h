// SPDX-License-Identifier: MIT
// Pooling: for each window and block of channels the taps pass through registers. Included by
// rows_isa.c.

// The taps of one window that lie inside x: rows h0 .. h1, columns w0 .. w1 of x.
struct taps {
    size_t h0, h1, w0, w1;
    float weight; // of the mean: 1 / number of taps that count
};

static inline void taps_span(size_t out, size_t stride, size_t pad, size_t kernel, size_t size,
                             size_t *from, size_t *to)
{
    size_t start = out * stride, end = start + kernel; // in padded coordinates
    *from = start > pad ? start - pad : 0;
    *to = end > pad ? end - pad : 0;
    if (*to > size)
        *to = size;
    if (*from > *to)
        *from = *to;
}

static inline struct taps taps_of(const struct rows_window *k, const struct tensor *x, size_t p,
                                  size_t q)
{
    struct taps t;
    taps_span(p, k->stride_h, k->pad_h, k->kernel_h, x->h, &t.h0, &t.h1);
    taps_span(q, k->stride_w, k->pad_w, k->kernel_w, x->w, &t.w0, &t.w1);
    size_t count = k->counts_pad ? k->kernel_h * k->kernel_w : (t.h1 - t.h0) * (t.w1 - t.w0);
    t.weight = 1.0f / (float)count;
    return t;
}

// Asks for what a window further on reads first: the pixels of its last rows and columns.
TEMPLATE void window_ahead(const struct rows_window *k, const struct taps *t,
                           const struct tensor *x, const float *image)
{
    size_t h = t->h1 > t->h0 + k->stride_h ? t->h1 - k->stride_h : t->h0;
    for (; h < t->h1; h++)
        for (size_t i = 0; i < k->stride_w * x->c; i += 16)
            vec_ahead(image + h * x->row + t->w0 * x->c + i);
}

// ... and what it reads of its own.
TEMPLATE void outputs_ahead(const float *y, const float *dy, size_t channels)
{
    for (size_t i = 0; i < channels; i += 16) {
        vec_ahead(y + i);
        vec_ahead(dy + i);
    }
}

// Tensors that stay in the second cache from pass to pass need no asking.
static inline bool is_large(const struct tensor *x, size_t n)
{
    return n * x->h * x->w * x->c > 256 * 1024;
}

// Larger of both; a NaN wins and stays.
TEMPLATE vec vec_larger(vec m, vec x)
{
#if defined(__AVX512F__)
    __m512 larger = _mm512_max_ps((__m512)x, (__m512)m); // where either is NaN: m
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
    return (vec)_mm512_mask_mov_ps(larger, nan, (__m512)x);
#else
    return vec_select((x > m) | (x != x), x, m);
#endif
}

TEMPLATE void pool_max_block(int B, size_t part, const struct taps *t, const struct tensor *x,
                             const float *image, float *y)
{
    vec m[4];
    for (int b = 0; b < B; b++)
        m[b] = vec_all(-__builtin_inff());
    for (size_t h = t->h0; h < t->h1; h++)
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++)
                m[b] =
                    vec_larger(m[b], vec_load_part(image + h * x->row + w * x->c + b * VEC, part));
    for (int b = 0; b < B; b++)
        vec_store_part(y + b * VEC, m[b], part);
}

// Sums along each row of the window, then over the rows.
TEMPLATE void pool_mean_block(int B, size_t part, const struct taps *t, const struct tensor *x,
                              const float *image, float *y)
{
    vec m[4];
    for (int b = 0; b < B; b++)
        m[b] = (vec){0};
    for (size_t h = t->h0; h < t->h1; h++) {
        vec r[4];
        for (int b = 0; b < B; b++)
            r[b] = (vec){0};
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++)
                r[b] += vec_load_part(image + h * x->row + w * x->c + b * VEC, part);
        for (int b = 0; b < B; b++)
            m[b] += r[b];
    }
    for (int b = 0; b < B; b++)
        vec_store_part(y + b * VEC, m[b] * t->weight, part);
}

TEMPLATE void pool_block(bool is_max, int B, size_t part, const struct taps *t,
                         const struct tensor *x, const float *image, float *y)
{
    if (is_max)
        pool_max_block(B, part, t, x, image, y);
    else
        pool_mean_block(B, part, t, x, image, y);
}

TEMPLATE void pool_forward(bool is_max, const struct rows_window *window, const struct tensor *x,
                           const struct tensor *y, size_t n)
{
    const struct tensor in = *x; // a copy, as in pool_max_back
    const struct rows_window k = *window;
    const bool asks = is_large(x, n);
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < y->h; p++)
            for (size_t q = 0; q < y->w; q++) {
                const struct taps t = taps_of(&k, &in, p, q);
                const float *image = tensor_row(&in, i, 0);
                float *out = tensor_row(y, i, p) + q * in.c;
                if (asks)
                    window_ahead(&k, &t, &in, image);
#define BLOCK(B, part) pool_block(is_max, B, part, &t, &in, image + c0, out + c0)
                CHANNEL_BLOCKS(in.c, BLOCK);
#undef BLOCK
            }
}

static void pool_max(const struct rows_window *window, const struct tensor *x,
                     const struct tensor *y, size_t n)
{
    pool_forward(true, window, x, y, n);
}

static void pool_mean(const struct rows_window *window, const struct tensor *x,
                      const struct tensor *y, size_t n)
{
    pool_forward(false, window, x, y, n);
}

// Windows that tile x exactly write each element of dx once, so dx need not be cleared first.
static inline bool window_tiles(const struct rows_window *k, const struct tensor *x,
                                const struct tensor *y)
{
    return k->stride_h == k->kernel_h && k->stride_w == k->kernel_w && k->pad_h == 0 &&
           k->pad_w == 0 && y->h * k->stride_h == x->h && y->w * k->stride_w == x->w;
}

// Clears the rows of dx that output row p reaches first (p == y_h: the rest): shortly before they
// are added to. Rows below *cleared are done.
static inline void rows_clear(const struct rows_window *k, const struct tensor *dx, size_t image,
                              size_t p, size_t y_h, size_t *cleared)
{
    size_t from, to = dx->h;
    if (p < y_h)
        taps_span(p, k->stride_h, k->pad_h, k->kernel_h, dx->h, &from, &to);
    for (; *cleared < to; ++*cleared)
        memset(tensor_row(dx, image, *cleared), 0, dx->w * dx->c * sizeof(float));
}

TEMPLATE void pool_put(bool adds, float *at, vec g, size_t part)
{
    vec_store_part(at, adds ? vec_load_part(at, part) + g : g, part);
}

TEMPLATE void pool_max_back_block(int B, size_t part, bool adds, const struct taps *t,
                                  const struct tensor *x, const struct tensor *dx,
                                  const float *image, const float *y, const float *dy, float *to)
{
    vec m[4], g[4];
    for (int b = 0; b < B; b++) {
        m[b] = vec_load_part(y + b * VEC, part);
        g[b] = vec_load_part(dy + b * VEC, part);
    }
    for (size_t h = t->h0; h < t->h1; h++)
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++) {
                vec v = vec_load_part(image + h * x->row + w * x->c + b * VEC, part);
                vec_int hit = v == m[b];
                pool_put(adds, to + h * dx->row + w * dx->c + b * VEC, (vec)(hit & (vec_int)g[b]),
                         part);
                g[b] = (vec)(~hit & (vec_int)g[b]); // given away: only the first tap gets it
            }
}

TEMPLATE void pool_max_back(bool adds, bool clears, bool asks, const struct rows_window *window,
                            const struct tensor *x, const struct tensor *y, const struct tensor *dy,
                            const struct tensor *dx, size_t i)
{
    // Copies, for the compiler cannot know that stores of floats leave the originals alone.
    const struct tensor in = *x, out = *dx;
    const struct rows_window k = *window;
    for (size_t p = 0, cleared = 0; p <= y->h; p++) {
        if (clears)
            rows_clear(&k, &out, i, p, y->h, &cleared);
        for (size_t q = 0; q < y->w && p < y->h; q++) {
            const struct taps t = taps_of(&k, &in, p, q);
            const float *image = tensor_row(&in, i, 0), *from = tensor_row(y, i, p) + q * in.c;
            const float *gradient = tensor_row(dy, i, p) + q * in.c;
            float *to = tensor_row(&out, i, 0);
            if (asks) {
                window_ahead(&k, &t, &in, image);
                outputs_ahead(from, gradient, in.c);
            }
#define BLOCK(B, part)                                                                             \
    pool_max_back_block(B, part, adds, &t, &in, &out, image + c0, from + c0, gradient + c0, to + c0)
            CHANNEL_BLOCKS(in.c, BLOCK);
#undef BLOCK
        }
    }
}

static void pool_max_backward(const struct rows_window *window, const struct tensor *x,
                              const struct tensor *y, const struct tensor *dy,
                              const struct tensor *dx, size_t n, float beta)
{
    bool tiles = beta == 0 && window_tiles(window, x, y), asks = is_large(x, n);
    for (size_t i = 0; i < n; i++) {
        if (tiles)
            pool_max_back(false, false, asks, window, x, y, dy, dx, i);
        else
            pool_max_back(true, beta == 0, asks, window, x, y, dy, dx, i);
    }
}

TEMPLATE void pool_mean_back_block(int B, size_t part, bool adds, const struct taps *t,
                                   const struct tensor *dx, const float *dy, float *to)
{
    vec g[4];
    for (int b = 0; b < B; b++)
        g[b] = vec_load_part(dy + b * VEC, part) * t->weight;
    for (size_t h = t->h0; h < t->h1; h++)
        for (size_t w = t->w0; w < t->w1; w++)
            for (int b = 0; b < B; b++)
                pool_put(adds, to + h * dx->row + w * dx->c + b * VEC, g[b], part);
}

TEMPLATE void pool_mean_back(bool adds, bool clears, const struct rows_window *window,
                             const struct tensor *dy, const struct tensor *dx, size_t i)
{
    const struct tensor out = *dx; // a copy, as in pool_max_back
    const struct rows_window k = *window;
    for (size_t p = 0, cleared = 0; p <= dy->h; p++) {
        if (clears)
            rows_clear(&k, &out, i, p, dy->h, &cleared);
        for (size_t q = 0; q < dy->w && p < dy->h; q++) {
            const struct taps t = taps_of(&k, &out, p, q);
            const float *gradient = tensor_row(dy, i, p) + q * out.c;
            float *to = tensor_row(&out, i, 0);
#define BLOCK(B, part) pool_mean_back_block(B, part, adds, &t, &out, gradient + c0, to + c0)
            CHANNEL_BLOCKS(out.c, BLOCK);
#undef BLOCK
        }
    }
}

static void pool_mean_backward(const struct rows_window *window, const struct tensor *dy,
                               const struct tensor *dx, size_t n, float beta)
{
    bool tiles = beta == 0 && window_tiles(window, dx, dy);
    for (size_t i = 0; i < n; i++) {
        if (tiles)
            pool_mean_back(false, false, window, dy, dx, i);
        else
            pool_mean_back(true, beta == 0, window, dy, dx, i);
    }
}
