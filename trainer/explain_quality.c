// SPDX-License-Identifier: MIT
#include "trainer/explain_quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/random.h"
#include "trainer/explain_private.h"

struct explain_quality {
    struct explain *e;
    struct quality_config config;
    size_t positions, c;
    const float *x;
    size_t target, n_masks;
    uint32_t *order; // (positions)
    uint8_t *mask;   // (n_masks, positions)
    double *drop;    // (n_masks)
    double *sums;    // (n_masks)
    double *curve;   // (steps + 1)
    const float *map;
};

// The first `count` of a random permutation. Set j of size s has number s * masks + j.
static void mask_draw(struct explain_quality *q, size_t number, size_t count)
{
    struct random_key key = {q->e->config.seed, RANDOM_EXPLAIN, EXPLAIN_DRAW_MASK};
    random_permutation(key, (uint32_t)number, q->positions, q->order);
    for (size_t i = 0; i < count; i++)
        q->mask[number * q->positions + q->order[i]] = 1;
}

static enum status fill(struct explain_quality *q)
{
    TRY(memory_alloc(&q->order, q->positions, sizeof *q->order, "order of positions"));
    TRY(memory_alloc(&q->mask, q->n_masks, q->positions, "sets of positions"));
    TRY(memory_alloc(&q->drop, q->n_masks, sizeof *q->drop, "drops"));
    TRY(memory_alloc(&q->sums, q->n_masks, sizeof *q->sums, "sums of a map"));
    TRY(memory_alloc(&q->curve, q->config.steps + 1, sizeof *q->curve, "curve"));
    for (size_t s = 0; s < QUALITY_SIZES; s++) {
        size_t count = q->positions >> (QUALITY_SIZES - s);
        for (size_t j = 0; j < q->config.masks; j++)
            mask_draw(q, s * q->config.masks + j, count > 0 ? count : 1);
    }
    return STATUS_OK;
}

enum status quality_init(struct explain_quality **out, struct explain *explain, struct shape in,
                         const struct quality_config *config)
{
    struct explain_quality *q = NULL;
    *out = NULL;
    ASSERT(config->steps > 0 && config->masks > 1);
    TRY(memory_alloc(&q, 1, sizeof *q, "quality of explanations"));
    *q = (struct explain_quality){.e = explain,
                                  .config = *config,
                                  .positions = in.h * in.w,
                                  .c = in.c,
                                  .n_masks = QUALITY_SIZES * config->masks};
    enum status status = fill(q);
    if (status != STATUS_OK)
        quality_free(q);
    else
        *out = q;
    return status;
}

void quality_free(struct explain_quality *q)
{
    if (!q)
        return;
    free(q->order);
    free(q->mask);
    free(q->drop);
    free(q->sums);
    free(q->curve);
    free(q);
}

static void position_hide(const struct explain_quality *q, float *x, const float *from, size_t at)
{
    memcpy(x + at * q->c, from + at * q->c, q->c * sizeof *x);
}

void quality_sample(struct explain_quality *q, const float *x, size_t target)
{
    struct explain *e = q->e;
    q->x = x;
    q->target = target;
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    const double whole = (double)explain_score(e, 0, target);
    for (size_t first = 0; first < q->n_masks; first += e->chunk) {
        size_t left = q->n_masks - first, n = left < e->chunk ? left : e->chunk;
        for (size_t i = 0; i < n; i++) {
            const uint8_t *mask = q->mask + (first + i) * q->positions;
            memcpy(explain_x(e, i), x, e->floats * sizeof *x);
            for (size_t p = 0; p < q->positions; p++)
                if (mask[p])
                    position_hide(q, explain_x(e, i), e->baseline, p);
        }
        explain_forward(e, n);
        for (size_t i = 0; i < n; i++)
            q->drop[first + i] = whole - (double)explain_score(e, i, target);
    }
}

// ---- curves

static int by_map(const void *a, const void *b, void *map)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    float x = ((const float *)map)[i], y = ((const float *)map)[j];
    return x > y ? -1 : x < y ? 1 : i < j ? -1 : 1;
}

static double answer(const struct explain_quality *q, size_t i)
{
    const struct explain *e = q->e;
    const float *y = tensor_row(model_output(e->model), i, 0);
    if (!q->config.is_probability)
        return (double)y[q->target];
    double sum = 0;
    for (size_t k = 0; k < e->n_outputs; k++)
        sum += exp((double)y[k] - (double)y[q->target]);
    return 1 / sum;
}

// Area under the answers while the positions in q->order go from `start` to `end`.
static double curve_area(struct explain_quality *q, const float *start, const float *end)
{
    struct explain *e = q->e;
    const size_t steps = q->config.steps;
    for (size_t first = 0; first <= steps; first += e->chunk) {
        size_t left = steps + 1 - first, n = left < e->chunk ? left : e->chunk;
        for (size_t i = 0; i < n; i++) {
            size_t moved = (first + i) * q->positions / steps;
            memcpy(explain_x(e, i), start, e->floats * sizeof *start);
            for (size_t k = 0; k < moved; k++)
                position_hide(q, explain_x(e, i), end, q->order[k]);
        }
        explain_forward(e, n);
        for (size_t i = 0; i < n; i++)
            q->curve[first + i] = answer(q, i);
    }
    double area = 0;
    for (size_t k = 0; k < steps; k++)
        area += (q->curve[k] + q->curve[k + 1]) / 2 / (double)steps;
    return area;
}

// ---- correlations

static double correlation(const double *a, const double *b, size_t n)
{
    double mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        mean_a += a[i] / (double)n;
        mean_b += b[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
        ab += (a[i] - mean_a) * (b[i] - mean_b);
    }
    bool varies =
        aa > 1e-20 * (double)n * mean_a * mean_a && bb > 1e-20 * (double)n * mean_b * mean_b;
    return varies ? ab / sqrt(aa * bb) : 0; // else rounding is all there is
}

static void sets_measure(struct explain_quality *q, const float *map, struct quality *out)
{
    double ss = 0, sd = 0, dd = 0;
    for (size_t j = 0; j < q->n_masks; j++) {
        double sum = 0;
        for (size_t p = 0; p < q->positions; p++)
            sum += q->mask[j * q->positions + p] ? (double)map[p] : 0;
        q->sums[j] = sum;
        ss += sum * sum;
        sd += sum * q->drop[j];
        dd += q->drop[j] * q->drop[j];
    }
    for (size_t s = 0; s < QUALITY_SIZES; s++)
        out->sensitivity_n += correlation(q->sums + s * q->config.masks,
                                          q->drop + s * q->config.masks, q->config.masks) /
                              QUALITY_SIZES;
    double rest = dd - (ss > 0 ? sd * sd / ss : 0); // beta = sd / ss is the best scale
    rest = rest > 0 ? rest : 0;
    out->infidelity = rest / (double)q->n_masks;
    out->unexplained = dd > 0 ? rest / dd : 0;
}

struct quality quality_measure(struct explain_quality *q, const float *map)
{
    struct quality out = {0};
    for (size_t i = 0; i < q->positions; i++)
        q->order[i] = (uint32_t)i;
    qsort_r(q->order, q->positions, sizeof *q->order, by_map, (void *)(uintptr_t)map);
    out.deletion = curve_area(q, q->x, q->e->baseline);
    out.insertion = curve_area(q, q->e->baseline, q->x);
    sets_measure(q, map, &out);
    return out;
}

// ---- ranks

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return x[0] > y[0] ? 1 : x[0] < y[0] ? -1 : 0;
}

// rank[i] of a[i]; pairs: 2 n.
static void ranks_fill(const float *a, size_t n, double *pairs, double *rank)
{
    for (size_t i = 0; i < n; i++) {
        pairs[2 * i] = (double)a[i];
        pairs[2 * i + 1] = (double)i;
    }
    qsort(pairs, n, 2 * sizeof *pairs, by_value);
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        while (end < n && !(pairs[2 * end] > pairs[2 * i]))
            end++;
        for (size_t k = i; k < end; k++)
            rank[(size_t)pairs[2 * k + 1]] = (double)(i + end - 1) / 2;
        i = end;
    }
}

double rank_correlation(const float *a, const float *b, size_t n, double *work)
{
    ranks_fill(a, n, work, work + 2 * n);
    ranks_fill(b, n, work, work + 3 * n);
    return correlation(work + 2 * n, work + 3 * n, n);
}
