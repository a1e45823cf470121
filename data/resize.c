// SPDX-License-Identifier: MIT
// Owns: resampling of 8-bit pictures in fixed point. Called by the importers (image.h).
#include "data/image.h"

#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

enum { BITS = 22, ONE = 1 << BITS }; // 255 * ONE + ONE / 2 is below 2^31

// One axis: target i = sum over k < taps of weight[i][k] * source[first[i] + k].
struct axis {
    size_t from, to, taps;
    size_t *first;
    int32_t *weight; // (to, taps), each row sums to about ONE
};

struct resize {
    struct axis y, x;
    size_t c;
    uint8_t *lines; // (from_h, to_w, c): after the horizontal pass
};

// Height at source pixel k of a triangle around `centre`.
static double triangle(size_t k, double centre, double reach)
{
    double away = ((double)k + 0.5 - centre) / reach;
    double height = away < 0 ? 1 + away : 1 - away;
    return height > 0 ? height : 0;
}

// Weights of target pixel i: a triangle around its centre in source pixels, cut at the edges, of
// sum 1 but for rounding (2^-23 each).
static void axis_fill(struct axis *axis, size_t i, double scale, double reach)
{
    int32_t *weight = axis->weight + i * axis->taps;
    double centre = ((double)i + 0.5) * scale, sum = 0;
    double low = centre - reach, high = centre + reach;
    size_t first = low > 0 ? (size_t)low : 0;
    size_t last = high < (double)axis->from ? (size_t)high + 1 : axis->from;
    if (last > axis->from)
        last = axis->from;
    if (last - first > axis->taps)
        last = first + axis->taps;
    for (size_t k = first; k < last; k++)
        sum += triangle(k, centre, reach);
    for (size_t k = first; k < last; k++)
        weight[k - first] = (int32_t)(triangle(k, centre, reach) / sum * ONE + 0.5);
    axis->first[i] = first;
}

static enum status axis_plan(struct axis *axis, size_t from, size_t to, bool is_nearest)
{
    double scale = (double)from / (double)to;
    double reach = scale > 1 ? scale : 1;
    axis->from = from;
    axis->to = to;
    axis->taps = is_nearest ? 1 : (size_t)(2 * reach) + 2;
    TRY(memory_alloc(&axis->first, to, sizeof *axis->first, "resize plan"));
    TRY(memory_alloc(&axis->weight, to * axis->taps, sizeof *axis->weight, "resize plan"));
    for (size_t i = 0; i < to; i++) {
        if (is_nearest) {
            axis->first[i] = (2 * i + 1) * from / (2 * to);
            axis->weight[i] = ONE;
        } else {
            axis_fill(axis, i, scale, reach);
        }
    }
    return STATUS_OK;
}

enum status resize_plan(struct resize **resize, size_t from_h, size_t from_w, size_t to_h,
                        size_t to_w, size_t c, bool is_nearest)
{
    *resize = NULL;
    struct resize *fresh = NULL;
    TRY(memory_alloc(&fresh, 1, sizeof *fresh, "resize plan"));
    fresh->c = c;
    enum status status = axis_plan(&fresh->y, from_h, to_h, is_nearest);
    if (status == STATUS_OK)
        status = axis_plan(&fresh->x, from_w, to_w, is_nearest);
    if (status == STATUS_OK)
        status = memory_alloc(&fresh->lines, from_h * to_w, c, "resize lines");
    if (status != STATUS_OK) {
        resize_free(fresh);
        return status;
    }
    *resize = fresh;
    return STATUS_OK;
}

void resize_free(struct resize *resize)
{
    if (!resize)
        return;
    free(resize->y.first);
    free(resize->y.weight);
    free(resize->x.first);
    free(resize->x.weight);
    free(resize->lines);
    free(resize);
}

bool resize_fits(const struct resize *resize, size_t from_h, size_t from_w, size_t c)
{
    return resize && resize->y.from == from_h && resize->x.from == from_w && resize->c == c;
}

// A weighted sum of `taps` pixels `step` bytes apart. Taps past the source's end have weight 0 and
// are not read.
static uint8_t sum_taps(const uint8_t *from, size_t step, const int32_t *weight, size_t taps)
{
    int32_t sum = ONE / 2;
    for (size_t k = 0; k < taps; k++)
        sum += weight[k] ? weight[k] * from[k * step] : 0;
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void resize_run(const struct resize *resize, const uint8_t *from, uint8_t *to)
{
    const struct axis *y = &resize->y, *x = &resize->x;
    size_t c = resize->c, line = x->to * c;
    for (size_t row = 0; row < y->from; row++)
        for (size_t i = 0; i < x->to; i++)
            for (size_t k = 0; k < c; k++)
                resize->lines[row * line + i * c + k] =
                    sum_taps(from + (row * x->from + x->first[i]) * c + k, c,
                             x->weight + i * x->taps, x->taps);
    for (size_t i = 0; i < y->to; i++)
        for (size_t k = 0; k < line; k++)
            to[i * line + k] = sum_taps(resize->lines + y->first[i] * line + k, line,
                                        y->weight + i * y->taps, y->taps);
}
