// SPDX-License-Identifier: MIT
// Owns: occlusion sensitivity. A window of all channels takes the baseline's values, in steps of
// stride, cut off at the borders, as Captum's Occlusion does; a position gets the mean of the
// drops of the score over the windows that hid it.
#include <string.h>

#include "trainer/explain_private.h"

static size_t windows_count(size_t side, size_t window, size_t stride)
{
    return side <= window ? 1 : (side - window + stride - 1) / stride + 1;
}

struct box {
    size_t h0, h1, w0, w1;
};

static struct box box_of(const struct explain *e, size_t i)
{
    const struct explain_config *c = &e->config;
    size_t columns = windows_count(e->in.w, c->window, c->stride);
    size_t h = i / columns * c->stride, w = i % columns * c->stride;
    return (struct box){h, h + c->window < e->in.h ? h + c->window : e->in.h, w,
                        w + c->window < e->in.w ? w + c->window : e->in.w};
}

static void box_hide(const struct explain *e, struct box b, float *x)
{
    const size_t c = e->in.c;
    for (size_t h = b.h0; h < b.h1; h++) {
        size_t at = (h * e->in.w + b.w0) * c;
        memcpy(x + at, e->baseline + at, (b.w1 - b.w0) * c * sizeof *x);
    }
}

void explain_occlusion(struct explain *e, const float *x, size_t target, float *raw)
{
    const struct explain_config *c = &e->config;
    const size_t windows =
        windows_count(e->in.h, c->window, c->stride) * windows_count(e->in.w, c->window, c->stride);
    double *sum = e->sum;
    float *count = e->gradient;
    memset(sum, 0, e->floats * sizeof *sum);
    memset(count, 0, e->floats * sizeof *count);
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    const double whole = (double)explain_score(e, 0, target);
    for (size_t first = 0; first < windows; first += e->chunk) {
        size_t left = windows - first, n = left < e->chunk ? left : e->chunk;
        for (size_t i = 0; i < n; i++) {
            memcpy(explain_x(e, i), x, e->floats * sizeof *x);
            box_hide(e, box_of(e, first + i), explain_x(e, i));
        }
        explain_forward(e, n);
        for (size_t i = 0; i < n; i++) {
            struct box b = box_of(e, first + i);
            double drop = whole - (double)explain_score(e, i, target);
            for (size_t h = b.h0; h < b.h1; h++)
                for (size_t w = b.w0; w < b.w1; w++) {
                    sum[h * e->in.w + w] += drop;
                    count[h * e->in.w + w]++;
                }
        }
    }
    for (size_t i = 0; i < e->in.h * e->in.w; i++)
        raw[i] = count[i] > 0 ? (float)(sum[i] / (double)count[i]) : 0;
}
