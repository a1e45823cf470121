// SPDX-License-Identifier: MIT
// Sums over samples, rows and columns for each channel. Included by rows_isa.c.
// The order is fixed by the shape alone (halos do not matter): rows of all images in order, cut
// into groups of about SUM_GROUP positions; within a group 4 / B accumulators of float take
// turns along each row; a group's sums are then added to totals of double. Short chains keep
// rounding errors small.

enum sum { SUM_PLAIN, SUM_MOMENTS, SUM_NORM, SUM_NORM_RELU, SUM_NORM_MASK };
#define SUM_GROUP 512

struct sum_args {
    const struct tensor *x, *dy, *y;   // dy: NORM; y: NORM_MASK
    const float *mean, *scale, *shift; // (c); mean: all but PLAIN; the others: NORM_RELU
    size_t rows;                       // rows of all images, counted through
};

// Parameters of one vector of channels.
struct sum_channel {
    vec mean, scale, shift;
};

TEMPLATE void sum_step(enum sum op, const float *x, float *dy, const float *y,
                       const struct sum_channel *channel, size_t part, vec *s, vec *q)
{
    vec v = vec_load_part(x, part), g;
    if (op == SUM_NORM || op == SUM_NORM_RELU || op == SUM_NORM_MASK)
        vec_ahead(x);
    if (op == SUM_NORM_MASK)
        vec_ahead(y);
    switch (op) {
    case SUM_PLAIN: // s += x
        *s += v;
        break;
    case SUM_MOMENTS: // s += x - mean, q += (x - mean)^2
        v -= channel->mean;
        *s += v;
        *q += v * v;
        break;
    case SUM_NORM: // s += dy', q += dy' (x - mean)
    case SUM_NORM_RELU:
    case SUM_NORM_MASK: // dy = dy'
        g = vec_load_part(dy, part);
        if (op == SUM_NORM_RELU)
            g = vec_where_positive(v * channel->scale + channel->shift, g);
        if (op == SUM_NORM_MASK) {
            g = vec_where_positive(vec_load_part(y, part), g);
            vec_store_part(dy, g, part);
        }
        *s += g;
        *q += g * (v - channel->mean);
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

TEMPLATE vec channel_load(const float *at, size_t c0, int b, size_t part)
{
    return vec_load_part(at + c0 + b * VEC, part);
}

// Adds to s and q (B VEC doubles each) the sums of channels c0 .. over the rows of args.
TEMPLATE void sum_block(enum sum op, int B, size_t part, const struct sum_args *args, size_t c0,
                        double *s, double *q)
{
    enum { U_MOST = 4 };
    const int U = U_MOST / B;
    const struct tensor *x = args->x;
    const size_t w = x->w, c = x->c, group = w < SUM_GROUP ? SUM_GROUP / w : 1;
    struct sum_channel k[4] = {0};
    for (int b = 0; b < B; b++) {
        k[b].mean = op == SUM_PLAIN ? (vec){0} : channel_load(args->mean, c0, b, part);
        k[b].scale = op == SUM_NORM_RELU ? channel_load(args->scale, c0, b, part) : (vec){0};
        k[b].shift = op == SUM_NORM_RELU ? channel_load(args->shift, c0, b, part) : (vec){0};
    }
    for (size_t first = 0; first < args->rows; first += group) {
        vec vs[U_MOST] = {{0}}, vq[U_MOST] = {{0}};
        size_t end = first + group < args->rows ? first + group : args->rows;
        for (size_t row = first; row < end; row++) {
            float *from = tensor_row(x, row / x->h, row % x->h) + c0, *dy = from, *y = from;
            if (op == SUM_NORM || op == SUM_NORM_RELU || op == SUM_NORM_MASK)
                dy = tensor_row(args->dy, row / x->h, row % x->h) + c0;
            if (op == SUM_NORM_MASK)
                y = tensor_row(args->y, row / x->h, row % x->h) + c0;
            size_t p = 0;
            for (; p + (size_t)U <= w; p += (size_t)U)
                for (int u = 0; u < U; u++)
                    for (int b = 0; b < B; b++) {
                        size_t i = (p + (size_t)u) * c + (size_t)b * VEC;
                        sum_step(op, from + i, dy + i, y + i, &k[b], part, &vs[u * B + b],
                                 &vq[u * B + b]);
                    }
            for (; p < w; p++)
                for (int b = 0; b < B; b++) {
                    size_t i = p * c + (size_t)b * VEC;
                    sum_step(op, from + i, dy + i, y + i, &k[b], part, &vs[b], &vq[b]);
                }
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
        sum_block(SUM_PLAIN, B, part, &args, c0, s, NULL);                                         \
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
    sum_block(SUM_PLAIN, B, part, &args, c0, s, NULL);
    for (size_t i = 0; i < channels; i++) {
        mean[c0 + i] = (float)(s[i] / (double)(args.rows * x->w)); // m0, for now
        s[i] = 0;
    }
    args.mean = mean;
    args.rows = rows;
    sum_block(SUM_MOMENTS, B, part, &args, c0, s, q);
    for (size_t i = 0; i < channels; i++) {
        double count = (double)(rows * x->w), d = s[i] / count, v = q[i] / count - d * d;
        mean[c0 + i] = (float)((double)mean[c0 + i] + d);
        variance[c0 + i] = (float)(v < 0 ? 0 : v); // NaN stays
    }
}

static void moments(const struct tensor *x, size_t n, float *mean, float *variance)
{
#define BLOCK(B, part) moments_block(B, part, x, n, c0, mean, variance)
    CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
}

TEMPLATE void norm_sums_block(enum sum op, int B, size_t part, const struct sum_args *args,
                              size_t c0, float *sum_dy, float *sum_dyx)
{
    double s[4 * VEC] = {0}, q[4 * VEC] = {0};
    sum_block(op, B, part, args, c0, s, q);
    for (size_t i = 0; i < (part == VEC ? (size_t)B * VEC : part); i++) {
        sum_dy[c0 + i] = (float)s[i];
        sum_dyx[c0 + i] = (float)q[i];
    }
}

static void norm_sums(const struct tensor *x, const struct tensor *dy, size_t n, const float *mean,
                      const float *scale, const float *shift, float *sum_dy, float *sum_dyx)
{
    const struct sum_args args = {
        .x = x, .dy = dy, .mean = mean, .scale = scale, .shift = shift, .rows = n * x->h};
    if (shift) {
#define BLOCK(B, part) norm_sums_block(SUM_NORM_RELU, B, part, &args, c0, sum_dy, sum_dyx)
        CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
    } else {
#define BLOCK(B, part) norm_sums_block(SUM_NORM, B, part, &args, c0, sum_dy, sum_dyx)
        CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
    }
}

static void norm_sums_mask(const struct tensor *x, const struct tensor *y, const struct tensor *dy,
                           size_t n, const float *mean, float *sum_dy, float *sum_dyx)
{
    const struct sum_args args = {.x = x, .dy = dy, .y = y, .mean = mean, .rows = n * x->h};
#define BLOCK(B, part) norm_sums_block(SUM_NORM_MASK, B, part, &args, c0, sum_dy, sum_dyx)
    CHANNEL_BLOCKS(x->c, BLOCK);
#undef BLOCK
}
