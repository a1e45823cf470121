// SPDX-License-Identifier: MIT
#include "tests/support/naive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/random.h"

// Element (n, h, w, c) of a dense array; outside the image: 0.
static double at(const double *x, struct shape s, size_t n, long h, long w, size_t c)
{
    if (h < 0 || w < 0 || h >= (long)s.h || w >= (long)s.w)
        return 0;
    return x[((n * s.h + (size_t)h) * s.w + (size_t)w) * s.c + c];
}

static bool is_inside(struct shape s, long h, long w)
{
    return h >= 0 && w >= 0 && h < (long)s.h && w < (long)s.w;
}

static double number(const struct yaml_node *node)
{
    if (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0)
        return strcmp(node->text, "true") == 0;
    return strtod(node->text, NULL);
}

static double option(const struct naive_op *op, const char *name, double otherwise)
{
    const struct yaml_node *node = op->options ? yaml_find(op->options, name) : NULL;
    return node ? number(node) : otherwise;
}

// An option for height and width: both the same number, or a list [h, w]. A signal (h = 1) is not
// touched in height by a single number.
static void pair(const struct naive_op *op, const char *name, long otherwise, long signal,
                 long out[2])
{
    const struct yaml_node *node = op->options ? yaml_find(op->options, name) : NULL;
    if (node && node->kind == YAML_LIST) {
        out[0] = (long)number(node->first);
        out[1] = (long)number(node->first->next ? node->first->next : node->first);
        return;
    }
    out[0] = out[1] = node ? (long)number(node) : otherwise;
    if (op->xs[0].h == 1)
        out[0] = signal;
}

struct window {
    long kernel[2], stride[2], pad[2], dilation[2];
};

static struct window window_of(const struct naive_op *op)
{
    struct window k;
    pair(op, "kernel", 1, 1, k.kernel);
    pair(op, "stride", 1, 1, k.stride);
    pair(op, "pad", 0, 0, k.pad);
    pair(op, "dilation", 1, 1, k.dilation);
    return k;
}

// Calls each(op, n, p, q, k, y) for every output element.
typedef double element(const struct naive_op *op, size_t n, long p, long q, size_t k);

static void each_output(const struct naive_op *op, element *value)
{
    double *y = op->y;
    for (size_t n = 0; n < op->n; n++)
        for (size_t p = 0; p < op->ys.h; p++)
            for (size_t q = 0; q < op->ys.w; q++)
                for (size_t k = 0; k < op->ys.c; k++)
                    *y++ = value(op, n, (long)p, (long)q, k);
}

// y[n,p,q,k] = b[k] + sum r,s,c x[n, p u + r d - pad, q u + s d - pad, c] w[r,s,c,k], c of k's
// group
static double conv_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    struct window o = window_of(op);
    size_t groups = (size_t)option(op, "groups", 1), C = op->xs[0].c / groups, K = op->ys.c;
    size_t group = k / (K / groups);
    double y = option(op, "bias", 1) != 0 ? op->param[1][k] : 0;
    for (long r = 0; r < o.kernel[0]; r++)
        for (long s = 0; s < o.kernel[1]; s++)
            for (size_t c = 0; c < C; c++) {
                long h = p * o.stride[0] + r * o.dilation[0] - o.pad[0];
                long w = q * o.stride[1] + s * o.dilation[1] - o.pad[1];
                double weight = op->param[0][((size_t)(r * o.kernel[1] + s) * C + c) * K + k];
                y += at(op->x[0], op->xs[0], n, h, w, group * C + c) * weight;
            }
    return y;
}

static double dense_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    size_t C = op->xs[0].h * op->xs[0].w * op->xs[0].c, K = op->ys.c;
    double y = option(op, "bias", 1) != 0 ? op->param[1][k] : 0;
    (void)p, (void)q;
    for (size_t c = 0; c < C; c++)
        y += op->x[0][n * C + c] * op->param[0][c * K + k];
    return y;
}

static double filterbank_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    static const struct {
        const char *name;
        double w[9];
    } known[] = {
        {"sobel_x", {-.25, 0, .25, -.5, 0, .5, -.25, 0, .25}},
        {"laplacian", {0, -.25, 0, -.25, 1, -.25, 0, -.25, 0}},
        {"gaussian", {.0625, .125, .0625, .125, .25, .125, .0625, .125, .0625}},
    };
    const long side = (long)option(op, "kernel", 3), area = side * side;
    const struct yaml_node *names = yaml_find(op->options, "filters");
    const struct yaml_node *numbers = yaml_find(op->options, "numbers");
    size_t n_names = names ? names->n : 0;
    size_t filters = n_names + (numbers ? numbers->n / (size_t)area : 0);
    size_t c = k / filters, f = k % filters;
    double w[31 * 31] = {0}, y = 0;
    if (f < n_names) {
        const struct yaml_node *name = names->first;
        for (size_t i = 0; i < f; i++)
            name = name->next;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            for (long j = 0; strcmp(known[i].name, name->text) == 0 && j < 9; j++)
                w[(side / 2 - 1 + j / 3) * side + side / 2 - 1 + j % 3] = known[i].w[j];
    } else {
        const struct yaml_node *v = numbers->first;
        for (size_t i = 0; i < (f - n_names) * (size_t)area; i++)
            v = v->next;
        for (long j = 0; j < area; j++, v = v->next)
            w[j] = number(v);
    }
    for (long j = 0; j < area; j++)
        y += w[j] * at(op->x[0], op->xs[0], n, p + j / side - side / 2, q + j % side - side / 2, c);
    return y;
}

// All values of one channel: mean and variance over samples, rows and columns.
static void batchnorm(const struct naive_op *op)
{
    const size_t C = op->xs[0].c, N = op->n * op->xs[0].h * op->xs[0].w;
    for (size_t c = 0; c < C; c++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < N; i++)
            mean += op->x[0][i * C + c] / (double)N;
        for (size_t i = 0; i < N; i++)
            variance += pow(op->x[0][i * C + c] - mean, 2) / (double)N;
        if (op->is_training && op->state[2]) {
            op->state[2][c] = mean;
            op->state[3][c] = variance * (double)N / (double)(N - 1);
        }
        if (!op->is_training) {
            mean = op->param[2][c];
            variance = op->param[3][c];
        }
        double rstd = 1 / sqrt(variance + option(op, "eps", 1e-5));
        for (size_t i = 0; i < N; i++)
            op->y[i * C + c] =
                (op->x[0][i * C + c] - mean) * rstd * op->param[0][c] + op->param[1][c];
    }
}

static double activation_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    double x = at(op->x[0], op->xs[0], n, p, q, k);
    if (strcmp(op->layer, "relu") == 0)
        return x > 0 ? x : 0;
    if (strcmp(op->layer, "leaky_relu") == 0)
        return x > 0 ? x : x * option(op, "slope", 0.01);
    if (strcmp(op->layer, "gelu") == 0)
        return x * 0.5 * (1 + erf(x / sqrt(2)));
    return x / (1 + exp(-x));
}

static struct window pool_window(const struct naive_op *op)
{
    struct window o = window_of(op);
    pair(op, "stride", 0, 1, o.stride);
    for (int i = 0; i < 2; i++)
        o.stride[i] = o.stride[i] == 0 ? o.kernel[i] : o.stride[i];
    return o;
}

static double maxpool_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    struct window o = pool_window(op);
    double y = -INFINITY;
    for (long r = 0; r < o.kernel[0]; r++)
        for (long s = 0; s < o.kernel[1]; s++) {
            long h = p * o.stride[0] + r - o.pad[0], w = q * o.stride[1] + s - o.pad[1];
            if (is_inside(op->xs[0], h, w))
                y = fmax(y, at(op->x[0], op->xs[0], n, h, w, k));
        }
    return y;
}

static double avgpool_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    struct window o = pool_window(op);
    double y = 0, count = 0;
    for (long r = 0; r < o.kernel[0]; r++)
        for (long s = 0; s < o.kernel[1]; s++) {
            long h = p * o.stride[0] + r - o.pad[0], w = q * o.stride[1] + s - o.pad[1];
            y += at(op->x[0], op->xs[0], n, h, w, k);
            count += is_inside(op->xs[0], h, w);
        }
    if (option(op, "count_include_pad", 1) != 0)
        count = (double)(o.kernel[0] * o.kernel[1]);
    return y / count;
}

static double globalpool_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    double y = 0;
    (void)p, (void)q;
    for (size_t h = 0; h < op->xs[0].h; h++)
        for (size_t w = 0; w < op->xs[0].w; w++)
            y += at(op->x[0], op->xs[0], n, (long)h, (long)w, k);
    return y / (double)(op->xs[0].h * op->xs[0].w);
}

static double dropout_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    const double rate = option(op, "rate", 0.5);
    const size_t i = ((size_t)p * op->xs[0].w + (size_t)q) * op->xs[0].c + k;
    double x = at(op->x[0], op->xs[0], n, p, q, k);
    if (!op->is_training)
        return x;
    uint32_t word[4];
    random_words((struct random_key){op->pass->seed, RANDOM_DROPOUT, op->pass->epoch},
                 op->pass->row[n], (uint32_t)op->index << 20 | (uint32_t)(i / 4), word);
    return random_uniform(word[i % 4]) < (float)rate ? 0 : x / (1 - rate);
}

static double flatten_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    (void)p, (void)q;
    return op->x[0][n * op->ys.c + k];
}

static double add_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    double y = 0;
    for (int i = 0; i < op->n_x; i++)
        y += at(op->x[i], op->xs[i], n, p, q, k);
    return y;
}

static double concat_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    int i = 0;
    for (; k >= op->xs[i].c; i++)
        k -= op->xs[i].c;
    return at(op->x[i], op->xs[i], n, p, q, k);
}

static double subsample_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    const long stride = (long)option(op, "stride", 2);
    const double given = option(op, "before", -1);
    const size_t before = given < 0 ? (op->ys.c - op->xs[0].c) / 2 : (size_t)given;
    if (k < before || k >= before + op->xs[0].c)
        return 0;
    return at(op->x[0], op->xs[0], n, p * stride, q * stride, k - before);
}

static double scale_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    return option(op, "factor", 1) * at(op->x[0], op->xs[0], n, p, q, k);
}

// The histogram of the cell in row i, column j, orientation b.
static double hog_cell(const struct naive_op *op, size_t n, long i, long j, size_t b)
{
    const long cell = (long)option(op, "cell", 4), bins = (long)option(op, "bins", 9);
    const struct shape s = op->xs[0];
    double sum = 0;
    for (long r = i * cell; r < (i + 1) * cell; r++)
        for (long q = j * cell; q < (j + 1) * cell; q++) {
            long up = r > 0 ? r - 1 : 0, down = r + 1 < (long)s.h ? r + 1 : r;
            long left = q > 0 ? q - 1 : 0, right = q + 1 < (long)s.w ? q + 1 : q;
            double gx = 0, gy = 0, most = -1;
            for (size_t c = 0; c < s.c; c++) {
                double x = at(op->x[0], s, n, r, right, c) - at(op->x[0], s, n, r, left, c);
                double y = at(op->x[0], s, n, down, q, c) - at(op->x[0], s, n, up, q, c);
                if (x * x + y * y > most) {
                    most = x * x + y * y;
                    gx = x;
                    gy = y;
                }
            }
            double angle = atan2(gy, gx), pi = acos(-1);
            angle = angle < 0 ? angle + pi : angle;
            // How far bin b's middle lies from the angle, in bins, the shorter way round.
            double far = fabs(angle / pi * (double)bins - ((double)b + 0.5));
            far = fmin(far, (double)bins - far);
            sum += far < 1 ? sqrt(most) * (1 - far) : 0;
        }
    return sum;
}

static double hog_element(const struct naive_op *op, size_t n, long p, long q, size_t k)
{
    const size_t bins = (size_t)option(op, "bins", 9);
    const double eps = option(op, "eps", 0.1);
    double square = eps * eps;
    for (size_t i = 0; i < 4 * bins; i++) {
        double u = hog_cell(op, n, p + (long)(i / bins / 2), q + (long)(i / bins % 2), i % bins);
        square += u * u;
    }
    return hog_cell(op, n, p + (long)(k / bins / 2), q + (long)(k / bins % 2), k % bins) /
           sqrt(square);
}

static const struct {
    const char *layer;
    element *value; // NULL: batchnorm, which sees all at once
} table[] = {
    {"conv", conv_element},
    {"dense", dense_element},
    {"batchnorm", NULL},
    {"relu", activation_element},
    {"leaky_relu", activation_element},
    {"gelu", activation_element},
    {"silu", activation_element},
    {"maxpool", maxpool_element},
    {"avgpool", avgpool_element},
    {"globalpool", globalpool_element},
    {"dropout", dropout_element},
    {"flatten", flatten_element},
    {"add", add_element},
    {"concat", concat_element},
    {"subsample", subsample_element},
    {"filterbank", filterbank_element},
    {"whiten", conv_element},
    {"scale", scale_element},
    {"hog", hog_element},
};

bool naive_knows(const char *layer)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].layer, layer) == 0)
            return true;
    return false;
}

bool naive_forward(const struct naive_op *op)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].layer, op->layer) == 0) {
            if (table[i].value)
                each_output(op, table[i].value);
            else
                batchnorm(op);
            return true;
        }
    return false;
}
