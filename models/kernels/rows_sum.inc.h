// SPDX-License-Identifier: MIT
// Sums over samples, rows and columns for each channel. Included by rows_isa.c.
// The order is fixed by the shape alone (halos do not matter): rows of all images in order, cut
// into groups of at least SUM_GROUP positions; within a group 4 / B accumulators of float take
// turns along each row; a group's sums are then added to totals of double. Short chains keep
// rounding errors small.

enum sum { SUM_PLAIN, SUM_MOMENTS, SUM_NORM };
#define SUM_GROUP 512

struct sum_args {
    const struct tensor *x, *y, *dy;
    size_t first, rows; // rows of all images, counted through
};

struct sum_row {
    const float *x, *y, *dy;
};

TEMPLATE void sum_step(enum sum op, bool masked, const struct sum_row *r, size_t i, vec centre,
                       size_t part, vec *s, vec *q)
{
    vec v = vec_load_part(r->x + i, part), g;
    switch (op) {
    case SUM_PLAIN: // s += x
        *s += v;
        break;
    case SUM_MOMENTS: // s += x - centre, q += (x - centre)^2
        v -= centre;
        *s += v;
        *q += v * v;
        break;
    case SUM_NORM: // s += dy', q += dy' (x - centre)
        g = vec_load_part(r->dy + i, part);
        if (masked)
            g = vec_where_positive(vec_load_part(r->y + i, part), g);
        *s += g;
        *q += g * (v - centre);
        break;
    }
}

// Adds the B vectors of each accumulator to the totals, in order of the accumulators.
TEMPLATE void sum_fold(int B, int U, const vec *s, double *total)
{
    float lane[VEC] __attribute__((aligned(64)));
    for (int b = 0; b < B; b++) {
        vec v = s[b];
        for (int u = 1; u < U; u++)
            v += s[u * B + b];
        memcpy(lane, &v, sizeof lane);
        for (int i = 0; i < VEC; i++)
            total[b * VEC + i] += (double)lane[i];
    }
}

// Adds to s and q (B VEC doubles each) the sums of channels c0 .. over the rows of args.
TEMPLATE void sum_block(enum sum op, bool masked, int B, size_t part, const struct sum_args *args,
                        size_t c0, const float *centre, double *s, double *q)
{
    enum { U_MOST = 4 };
    const int U = U_MOST / B;
    const struct tensor *x = args->x;
    const size_t w = x->w, c = x->c, group = w < SUM_GROUP ? SUM_GROUP / w : 1;
    vec mid[4];
    for (int b = 0; b < B; b++)
        mid[b] = centre ? vec_load_part(centre + b * VEC, part) : (vec){0};
    for (size_t first = 0; first < args->rows; first += group) {
        vec vs[U_MOST] = {{0}}, vq[U_MOST] = {{0}};
        size_t end = first + group < args->rows ? first + group : args->rows;
        for (size_t k = args->first + first; k < args->first + end; k++) {
            size_t image = k / x->h, row = k % x->h, p = 0;
            struct sum_row r = {tensor_row(x, image, row) + c0,
                                masked ? tensor_row(args->y, image, row) + c0 : NULL,
                                op == SUM_NORM ? tensor_row(args->dy, image, row) + c0 : NULL};
            for (; p + (size_t)U <= w; p += (size_t)U)
                for (int u = 0; u < U; u++)
                    for (int b = 0; b < B; b++)
                        sum_step(op, masked, &r, (p + (size_t)u) * c + (size_t)b * VEC, mid[b],
                                 part, &vs[u * B + b], &vq[u * B + b]);
            for (; p < w; p++)
                for (int b = 0; b < B; b++)
                    sum_step(op, masked, &r, p * c + (size_t)b * VEC, mid[b], part, &vs[b], &vq[b]);
        }
        sum_fold(B, U, vs, s);
        if (op != SUM_PLAIN)
            sum_fold(B, U, vq, q);
    }
}

static void channel_sum(const struct tensor *x, size_t n, float *out)
{
    const struct sum_args args = {.x = x, .rows = n * x->h};
#define BLOCK(B, part)                                                                             \
    do {                                                                                           \
        double s[B * VEC] = {0};                                                                   \
        sum_block(SUM_PLAIN, false, B, part, &args, c0, NULL, s, NULL);                            \
        for (size_t i = 0; i < (part == VEC ? B * VEC : part); i++)                                \
            out[c0 + i] = (float)s[i];                                                             \
    } while (0)
    CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
}

// Shifted sums: the mean m0 of the first group of rows is a close guess of the mean m, for
// (m - m0)^2 <= variance * rows / first rows. Then m = m0 + E(x - m0) and
// variance = E(x - m0)^2 - (E(x - m0))^2 lose little to cancellation.
TEMPLATE void moments_block(int B, size_t part, const struct tensor *x, size_t n, size_t c0,
                            float *mean, float *variance)
{
    const size_t rows = n * x->h, pilot = x->w < SUM_GROUP ? SUM_GROUP / x->w : 1;
    const size_t channels = part == VEC ? (size_t)B * VEC : part;
    struct sum_args args = {.x = x, .rows = pilot < rows ? pilot : rows};
    double s[4 * VEC] = {0}, q[4 * VEC] = {0};
    float guess[4 * VEC] = {0};
    sum_block(SUM_PLAIN, false, B, part, &args, c0, NULL, s, NULL);
    for (size_t i = 0; i < channels; i++) {
        guess[i] = (float)(s[i] / (double)(args.rows * x->w));
        s[i] = 0;
    }
    args.rows = rows;
    sum_block(SUM_MOMENTS, false, B, part, &args, c0, guess, s, q);
    for (size_t i = 0; i < channels; i++) {
        double count = (double)(rows * x->w), d = s[i] / count, v = q[i] / count - d * d;
        mean[c0 + i] = (float)((double)guess[i] + d);
        variance[c0 + i] = (float)(v < 0 ? 0 : v); // NaN stays
    }
}

static void moments(const struct tensor *x, size_t n, float *mean, float *variance)
{
#define BLOCK(B, part) moments_block(B, part, x, n, c0, mean, variance)
    CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
}

TEMPLATE void norm_sums_block(bool masked, int B, size_t part, const struct sum_args *args,
                              size_t c0, const float *mean, float *sum_dy, float *sum_dyx)
{
    double s[4 * VEC] = {0}, q[4 * VEC] = {0};
    sum_block(SUM_NORM, masked, B, part, args, c0, mean + c0, s, q);
    for (size_t i = 0; i < (part == VEC ? (size_t)B * VEC : part); i++) {
        sum_dy[c0 + i] = (float)s[i];
        sum_dyx[c0 + i] = (float)q[i];
    }
}

static void norm_sums(const struct tensor *x, const struct tensor *y, const struct tensor *dy,
                      size_t n, const float *mean, float *sum_dy, float *sum_dyx)
{
    const struct sum_args args = {.x = x, .y = y, .dy = dy, .rows = n * x->h};
    if (y) {
#define BLOCK(B, part) norm_sums_block(true, B, part, &args, c0, mean, sum_dy, sum_dyx)
        CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
    } else {
#define BLOCK(B, part) norm_sums_block(false, B, part, &args, c0, mean, sum_dy, sum_dyx)
        CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
    }
}
