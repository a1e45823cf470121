// SPDX-License-Identifier: MIT
// Histograms of oriented gradients (Dalal and Triggs 2005): Software 1.0 features, nothing is
// learned. Gradients by central differences (the borders repeated), of several channels the one
// with the largest; each pixel's magnitude goes to the two nearest of `bins` unsigned orientations
// of its cell; every 2 x 2 cells make a block of 4 bins numbers, divided by its norm:
//   y = u / sqrt(|u|^2 + eps^2).
// Their interpolation between cells and the clipping of L2-Hys are left out. The arc tangent is our
// own, so that the numbers do not depend on a machine's libm. Called through layer.h.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "models/layer.h"

struct hog_args {
    int64_t cell, bins;
    double eps;
};

static const struct option options[] = {
    {"cell", OPTION_INT, offsetof(struct hog_args, cell), "4", 2, 256, NULL, "side of a cell"},
    {"bins", OPTION_INT, offsetof(struct hog_args, bins), "9", 2, 64, NULL, "orientations"},
    {"eps", OPTION_FLOAT, offsetof(struct hog_args, eps), "0.1", 1e-6, 1e6, NULL,
     "keeps blocks without edges small"},
};

enum { BLOCK = 2 };

static enum status hog_shape(struct layer *layer)
{
    const struct hog_args *args = layer->args;
    const struct tensor *x = &layer->x[0];
    size_t cell = (size_t)args->cell, bins = (size_t)args->bins, h = x->h / cell, w = x->w / cell;
    if (h < BLOCK || w < BLOCK)
        LAYER_FAIL(layer, "its input of %zu x %zu has not two cells of %zu each way", x->h, x->w,
                   cell);
    layer->y.h = h - BLOCK + 1;
    layer->y.w = w - BLOCK + 1;
    layer->y.c = BLOCK * BLOCK * bins;
    layer->work_floats = 2 * h * w * bins; // of one sample: histograms, and their gradient
    layer->flops = 20 * (double)(x->h * x->w) + 4 * (double)(layer->y.h * layer->y.w * layer->y.c);
    return STATUS_OK;
}

// atan(x) for 0 <= x <= 1, to 2e-8: Abramowitz and Stegun 4.4.49.
static float arc_tangent(float x)
{
    static const float a[] = {-.3333314528f, .1999355085f, -.1420889944f, .1065626393f,
                              -.0752896400f, .0429096138f, -.0161657367f, .0028662257f};
    float t = x * x, sum = a[7];
    for (int i = 6; i >= 0; i--)
        sum = sum * t + a[i];
    return x * (1 + t * sum);
}

// A pixel's gradient: which channel, its two differences, and where it goes.
struct edge {
    size_t up, down, left, right, c; // rows and columns of the differences
    float gx, gy, size;
    size_t bin[2];
    float share; // of the second bin
};

// Angle of a line as a share of half a turn, in [0, 1).
static float orientation(float gx, float gy)
{
    const float half_pi = 1.57079633f;
    if (gy < 0) {
        gx = -gx;
        gy = -gy;
    }
    float ax = fabsf(gx);
    float angle = gy <= ax ? (ax > 0 ? arc_tangent(gy / ax) : 0) : half_pi - arc_tangent(ax / gy);
    float share = (gx < 0 ? 2 * half_pi - angle : angle) / (2 * half_pi);
    return share < 1 ? share : 0;
}

static struct edge edge_at(const struct tensor *x, size_t n, size_t r, size_t s, size_t bins)
{
    struct edge e = {.up = r > 0 ? r - 1 : 0,
                     .down = r + 1 < x->h ? r + 1 : r,
                     .left = s > 0 ? s - 1 : 0,
                     .right = s + 1 < x->w ? s + 1 : s};
    const float *row = tensor_row(x, n, r), *up = tensor_row(x, n, e.up),
                *down = tensor_row(x, n, e.down);
    float most = -1;
    for (size_t c = 0; c < x->c; c++) {
        float gx = row[e.right * x->c + c] - row[e.left * x->c + c];
        float gy = down[s * x->c + c] - up[s * x->c + c];
        if (gx * gx + gy * gy > most) {
            most = gx * gx + gy * gy;
            e.c = c;
            e.gx = gx;
            e.gy = gy;
        }
    }
    e.size = sqrtf(most > 0 ? most : 0);
    float place = orientation(e.gx, e.gy) * (float)bins - 0.5f, low = floorf(place);
    e.share = place - low;
    e.bin[0] = low < 0 ? bins - 1 : (size_t)low;
    e.bin[1] = (e.bin[0] + 1) % bins;
    return e;
}

// Histograms of all cells of sample n.
static void cells_fill(const struct layer *layer, size_t n, float *cells)
{
    const struct hog_args *args = layer->args;
    const struct tensor *x = &layer->x[0];
    size_t cell = (size_t)args->cell, bins = (size_t)args->bins;
    size_t h = x->h / cell, w = x->w / cell;
    memset(cells, 0, h * w * bins * sizeof *cells);
    for (size_t r = 0; r < h * cell; r++)
        for (size_t s = 0; s < w * cell; s++) {
            struct edge e = edge_at(x, n, r, s, bins);
            float *to = cells + (r / cell * w + s / cell) * bins;
            to[e.bin[0]] += e.size * (1 - e.share);
            to[e.bin[1]] += e.size * e.share;
        }
}

static float block_norm(const float *cells, size_t w, size_t p, size_t q, size_t bins, double eps)
{
    float sum = (float)(eps * eps);
    for (size_t i = 0; i < BLOCK * BLOCK; i++) {
        const float *u = cells + ((p + i / BLOCK) * w + q + i % BLOCK) * bins;
        for (size_t b = 0; b < bins; b++)
            sum += u[b] * u[b];
    }
    return sqrtf(sum);
}

static void hog_forward(struct layer *layer, const struct pass *pass)
{
    const struct hog_args *args = layer->args;
    const struct tensor *y = &layer->y;
    size_t bins = (size_t)args->bins, w = y->w + BLOCK - 1;
    for (size_t n = 0; n < pass->n; n++) {
        cells_fill(layer, n, layer->work);
        for (size_t p = 0; p < y->h; p++)
            for (size_t q = 0; q < y->w; q++) {
                float norm = block_norm(layer->work, w, p, q, bins, args->eps);
                float *to = tensor_row(y, n, p) + q * y->c;
                for (size_t i = 0; i < BLOCK * BLOCK; i++) {
                    const float *u = layer->work + ((p + i / BLOCK) * w + q + i % BLOCK) * bins;
                    for (size_t b = 0; b < bins; b++)
                        to[i * bins + b] = u[b] / norm;
                }
            }
    }
}

// du = (dy - y (y . dy)) / norm, summed over the blocks that a cell is in.
static void cells_backward(const struct layer *layer, size_t n, const float *cells, float *dcells)
{
    const struct hog_args *args = layer->args;
    const struct tensor *dy = &layer->dy;
    size_t bins = (size_t)args->bins, w = dy->w + BLOCK - 1, h = dy->h + BLOCK - 1;
    memset(dcells, 0, h * w * bins * sizeof *dcells);
    for (size_t p = 0; p < dy->h; p++)
        for (size_t q = 0; q < dy->w; q++) {
            float norm = block_norm(cells, w, p, q, bins, args->eps), dot = 0;
            const float *slope = tensor_row(dy, n, p) + q * dy->c;
            for (size_t k = 0; k < dy->c; k++) {
                size_t i = k / bins, at = ((p + i / BLOCK) * w + q + i % BLOCK) * bins + k % bins;
                dot += cells[at] / norm * slope[k];
            }
            for (size_t k = 0; k < dy->c; k++) {
                size_t i = k / bins, at = ((p + i / BLOCK) * w + q + i % BLOCK) * bins + k % bins;
                dcells[at] += (slope[k] - cells[at] / norm * dot) / norm;
            }
        }
}

// Through size and angle of one pixel's edge: d size = (gx dgx + gy dgy) / size, d angle =
// (gx dgy - gy dgx) / size^2, of which half a turn is all bins.
static void edge_backward(const struct tensor *dx, size_t n, size_t r, size_t s,
                          const struct edge *e, const float *slope, size_t bins)
{
    if (e->size <= 0)
        return;
    const float pi = 3.14159265f;
    float d_size = slope[e->bin[0]] * (1 - e->share) + slope[e->bin[1]] * e->share;
    float d_angle = e->size * (slope[e->bin[1]] - slope[e->bin[0]]) * (float)bins / pi;
    float square = e->size * e->size;
    float d_gx = d_size * e->gx / e->size - d_angle * e->gy / square;
    float d_gy = d_size * e->gy / e->size + d_angle * e->gx / square;
    float *row = tensor_row(dx, n, r);
    row[e->right * dx->c + e->c] += d_gx;
    row[e->left * dx->c + e->c] -= d_gx;
    tensor_row(dx, n, e->down)[s * dx->c + e->c] += d_gy;
    tensor_row(dx, n, e->up)[s * dx->c + e->c] -= d_gy;
}

static void hog_backward(struct layer *layer, const struct pass *pass)
{
    const struct hog_args *args = layer->args;
    const struct tensor *x = &layer->x[0], *dx = &layer->dx[0];
    size_t cell = (size_t)args->cell, bins = (size_t)args->bins;
    size_t h = x->h / cell, w = x->w / cell;
    float *cells = layer->work, *dcells = cells + h * w * bins;
    if (!dx->at)
        return;
    for (size_t n = 0; n < pass->n; n++) {
        for (size_t r = 0; layer->dx_beta[0] == 0 && r < dx->h; r++)
            memset(tensor_row(dx, n, r), 0, dx->w * dx->c * sizeof(float));
        cells_fill(layer, n, cells);
        cells_backward(layer, n, cells, dcells);
        for (size_t r = 0; r < h * cell; r++)
            for (size_t s = 0; s < w * cell; s++) {
                struct edge e = edge_at(x, n, r, s, bins);
                const float *slope = dcells + (r / cell * w + s / cell) * bins;
                edge_backward(dx, n, r, s, &e, slope, bins);
            }
    }
}

const struct layer_ops layer_hog = {.name = "hog",
                                    .help = "histograms of oriented gradients, not learned",
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .args_size = sizeof(struct hog_args),
                                    .min_x = 1,
                                    .max_x = 1,
                                    .spares = SPARES_Y,
                                    .shape = hog_shape,
                                    .forward = hog_forward,
                                    .backward = hog_backward};
