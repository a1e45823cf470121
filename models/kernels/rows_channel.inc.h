// SPDX-License-Identifier: MIT
// Elementwise loops with a parameter per channel: a block of up to 4 vectors of channels keeps its
// parameters in registers while all positions of a run pass. Included by rows_isa.c.

// The loop over blocks of channels: BLOCK(vectors, part) is called with c0 counting up. Whole
// vectors by 4, 2, 1, then what is left of the last one.
#define CHANNEL_BLOCKS(channels, BLOCK)                                                            \
    do {                                                                                           \
        size_t c0 = 0, end_ = (channels);                                                          \
        for (; c0 + 4 * VEC <= end_; c0 += 4 * VEC)                                                \
            BLOCK(4, VEC);                                                                         \
        if (c0 + 2 * VEC <= end_) {                                                                \
            BLOCK(2, VEC);                                                                         \
            c0 += 2 * VEC;                                                                         \
        }                                                                                          \
        if (c0 + VEC <= end_) {                                                                    \
            BLOCK(1, VEC);                                                                         \
            c0 += VEC;                                                                             \
        }                                                                                          \
        if (c0 < end_)                                                                             \
            BLOCK(1, end_ - c0);                                                                   \
    } while (0)

// y = x scale + shift; scale NULL: 1. At p0 .. p0 + positions, channels c0 .. of B vectors.
TEMPLATE void scale_shift_run(int B, size_t part, bool has_scale, bool relu, const float *x,
                              float *y, size_t positions, size_t c, const float *scale,
                              const float *shift)
{
    vec s[4], t[4];
    for (int b = 0; b < B; b++) {
        s[b] = has_scale ? vec_load_part(scale + b * VEC, part) : vec_all(1);
        t[b] = vec_load_part(shift + b * VEC, part);
    }
    size_t p = 0;
    for (; p + 4 <= positions; p += 4)
        for (size_t u = 0; u < 4; u++)
            for (int b = 0; b < B; b++) {
                vec v = vec_load_part(x + (p + u) * c + b * VEC, part);
                v = has_scale ? v * s[b] + t[b] : v + t[b];
                vec_store_part(y + (p + u) * c + b * VEC, relu ? vec_relu(v) : v, part);
            }
    for (; p < positions; p++)
        for (int b = 0; b < B; b++) {
            vec v = vec_load_part(x + p * c + b * VEC, part);
            v = has_scale ? v * s[b] + t[b] : v + t[b];
            vec_store_part(y + p * c + b * VEC, relu ? vec_relu(v) : v, part);
        }
}

TEMPLATE void scale_shift_all(bool has_scale, bool relu, const struct tensor *x,
                              const struct tensor *y, size_t n, const float *scale,
                              const float *shift)
{
    struct runs runs = runs_of(n, x, y, NULL, NULL);
    for (size_t image = 0; image < runs.images; image++)
        for (size_t row = 0; row < runs.rows; row++) {
            const float *from = tensor_row(x, image, row);
            float *to = tensor_row(y, image, row);
#define BLOCK(B, part)                                                                             \
    scale_shift_run(B, part, has_scale, relu, from + c0, to + c0, runs.positions, x->c,            \
                    has_scale ? scale + c0 : NULL, shift + c0)
            CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
        }
}

static void scale_shift(const struct tensor *x, const struct tensor *y, size_t n,
                        const float *scale, const float *shift, bool relu)
{
    if (scale && relu)
        scale_shift_all(true, true, x, y, n, scale, shift);
    else if (scale)
        scale_shift_all(true, false, x, y, n, scale, shift);
    else if (relu)
        scale_shift_all(false, true, x, y, n, scale, shift);
    else
        scale_shift_all(false, false, x, y, n, scale, shift);
}

// What norm_add reads and writes at one run of a block, and its parameters there.
struct norm_add_run {
    const float *a, *b;
    float *y;
    const float *a_scale, *a_shift, *b_scale, *b_shift;
};

// Of one vector of channels; shift: the sum of both.
struct norm_add_channel {
    vec a_scale, b_scale, shift;
};

TEMPLATE void norm_add_step(bool both, bool relu, const struct norm_add_run *r, size_t i,
                            const struct norm_add_channel *k, size_t part)
{
    vec v = vec_load_part(r->b + i, part);
    v = both ? v * k->b_scale + k->shift : v + k->shift;
    v = vec_load_part(r->a + i, part) * k->a_scale + v;
    vec_store_part(r->y + i, relu ? vec_relu(v) : v, part);
}

TEMPLATE void norm_add_block(int B, size_t part, bool both, bool relu, struct norm_add_run r,
                             size_t positions, size_t c)
{
    struct norm_add_channel k[4] = {0};
    for (int j = 0; j < B; j++) {
        k[j].a_scale = vec_load_part(r.a_scale + j * VEC, part);
        k[j].shift = vec_load_part(r.a_shift + j * VEC, part);
        k[j].b_scale = both ? vec_load_part(r.b_scale + j * VEC, part) : (vec){0};
        k[j].shift += both ? vec_load_part(r.b_shift + j * VEC, part) : (vec){0};
    }
    size_t p = 0;
    for (; p + 4 <= positions; p += 4)
        for (size_t u = 0; u < 4; u++)
            for (int j = 0; j < B; j++)
                norm_add_step(both, relu, &r, (p + u) * c + (size_t)j * VEC, &k[j], part);
    for (; p < positions; p++)
        for (int j = 0; j < B; j++)
            norm_add_step(both, relu, &r, p * c + (size_t)j * VEC, &k[j], part);
}

TEMPLATE void norm_add_all(bool both, bool relu, const struct tensor *a, const struct tensor *b,
                           const struct tensor *y, size_t n, const struct norm_add_run *all)
{
    struct runs runs = runs_of(n, a, b, y, NULL);
    for (size_t image = 0; image < runs.images; image++)
        for (size_t row = 0; row < runs.rows; row++) {
            const float *from = tensor_row(a, image, row), *other = tensor_row(b, image, row);
            float *to = tensor_row(y, image, row);
#define BLOCK(B, part)                                                                             \
    norm_add_block(B, part, both, relu,                                                            \
                   (struct norm_add_run){from + c0, other + c0, to + c0, all->a_scale + c0,        \
                                         all->a_shift + c0, both ? all->b_scale + c0 : NULL,       \
                                         both ? all->b_shift + c0 : NULL},                         \
                   runs.positions, a->c)
            CHANNEL_BLOCKS(a->c, BLOCK);
#undef BLOCK
        }
}

static void norm_add(const struct tensor *a, const float *a_scale, const float *a_shift,
                     const struct tensor *b, const float *b_scale, const float *b_shift,
                     const struct tensor *y, size_t n, bool relu)
{
    const struct norm_add_run all = {
        .a_scale = a_scale, .a_shift = a_shift, .b_scale = b_scale, .b_shift = b_shift};
    if (b_scale && relu)
        norm_add_all(true, true, a, b, y, n, &all);
    else if (b_scale)
        norm_add_all(true, false, a, b, y, n, &all);
    else if (relu)
        norm_add_all(false, true, a, b, y, n, &all);
    else
        norm_add_all(false, false, a, b, y, n, &all);
}

struct norm_run {
    const float *x, *dy;
    float *dx;
    bool streams; // past the caches
};

// Parameters of one vector of channels.
struct norm_channel {
    vec scale, shift, b, d;
};

// One vector of dx = beta dx + scale dy' + b x + d at offset i.
TEMPLATE void norm_step(bool masked, bool has_beta, const struct norm_run *r, size_t i,
                        const struct norm_channel *k, size_t part)
{
    vec g = vec_load_part(r->dy + i, part), x = vec_load_part(r->x + i, part);
    if (masked)
        g = vec_where_positive(x * k->scale + k->shift, g);
    vec v = x * k->b + k->d;
    v = g * k->scale + v;
    if (has_beta)
        v += vec_load_part(r->dx + i, part);
    if (r->streams && part == VEC)
        vec_stream(r->dx + i, v);
    else
        vec_store_part(r->dx + i, v, part);
}

TEMPLATE void norm_backward_run(int B, size_t part, bool masked, bool has_beta, struct norm_run r,
                                size_t positions, size_t c, const float *scale, const float *shift,
                                const float *b, const float *d)
{
    struct norm_channel k[4];
    for (int j = 0; j < B; j++) {
        k[j].scale = vec_load_part(scale + j * VEC, part);
        k[j].shift = masked ? vec_load_part(shift + j * VEC, part) : (vec){0};
        k[j].b = vec_load_part(b + j * VEC, part);
        k[j].d = vec_load_part(d + j * VEC, part);
    }
    size_t p = 0;
    for (; p + 4 <= positions; p += 4)
        for (size_t u = 0; u < 4; u++)
            for (int j = 0; j < B; j++)
                norm_step(masked, has_beta, &r, (p + u) * c + (size_t)j * VEC, &k[j], part);
    for (; p < positions; p++)
        for (int j = 0; j < B; j++)
            norm_step(masked, has_beta, &r, p * c + (size_t)j * VEC, &k[j], part);
}

TEMPLATE void norm_backward_all(bool masked, bool has_beta, const struct tensor *x,
                                const struct tensor *dy, const struct tensor *dx, size_t n,
                                const float *scale, const float *shift, const float *b,
                                const float *d)
{
    struct runs runs = runs_of(n, x, dy, dx, NULL);
    for (size_t image = 0; image < runs.images; image++)
        for (size_t row = 0; row < runs.rows; row++) {
            const float *from = tensor_row(x, image, row), *gradient = tensor_row(dy, image, row);
            float *to = tensor_row(dx, image, row);
#define BLOCK(B, part)                                                                             \
    norm_backward_run(B, part, masked, has_beta,                                                   \
                      (struct norm_run){from + c0, gradient + c0, to + c0, false}, runs.positions, \
                      x->c, scale + c0, masked ? shift + c0 : NULL, b + c0, d + c0)
            CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
        }
}

static void norm_backward(const struct tensor *x, const struct tensor *dy, const struct tensor *dx,
                          size_t n, const float *scale, const float *shift, const float *b,
                          const float *d, float beta)
{
    if (shift && beta != 0)
        norm_backward_all(true, true, x, dy, dx, n, scale, shift, b, d);
    else if (shift)
        norm_backward_all(true, false, x, dy, dx, n, scale, shift, b, d);
    else if (beta != 0)
        norm_backward_all(false, true, x, dy, dx, n, scale, NULL, b, d);
    else
        norm_backward_all(false, false, x, dy, dx, n, scale, NULL, b, d);
}
