// SPDX-License-Identifier: MIT
#include "trainer/explain_filters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/explain_render.h"

#define PI 3.14159265358979323846

enum { COLUMNS = 16, TILE = 40, GAP = 4, DCT_MOST = 16, GABORS = 8 };
enum { GAUSS, EDGE_X, EDGE_Y, LAPLACE, FIRST_GABOR, FIRST_DCT = FIRST_GABOR + GABORS };

// Position i of n around the middle, in units of a side that is 1 wide.
static double place(size_t i, size_t n)
{
    return ((double)i + 0.5) / (double)n - 0.5;
}

static double smooth_value(size_t number, double y, double x)
{
    const double width = 0.2, r = (x * x + y * y) / (width * width), bell = exp(-r / 2);
    if (number == EDGE_X)
        return x * bell;
    if (number == EDGE_Y)
        return y * bell;
    return number == LAPLACE ? (2 - r) * bell : bell;
}

static double gabor_value(size_t k, double y, double x)
{
    const double angle = PI / 4 * (double)(k / 2), along = x * cos(angle) + y * sin(angle);
    const double wave = 2 * PI * along / 0.6, bell = exp(-(x * x + y * y) / (2 * 0.25 * 0.25));
    return bell * (k % 2 ? sin(wave) : cos(wave));
}

// Basis k in order of rising frequency u + v, without the constant one.
static bool dct_find(size_t k, size_t h, size_t w, size_t *v, size_t *u)
{
    size_t seen = 0;
    for (size_t sum = 1; sum + 1 < h + w; sum++)
        for (*v = 0; *v <= sum; ++*v) {
            *u = sum - *v;
            if (*v < h && *u < w && seen++ == k)
                return true;
        }
    return false;
}

static bool classic(size_t number, size_t h, size_t w, char name[FILTER_NAME], float *to)
{
    static const float sobel[9] = {-1, 0, 1, -2, 0, 2, -1, 0, 1};
    static const float laplace[9] = {0, -1, 0, -1, 4, -1, 0, -1, 0};
    if (h != 3 || w != 3 || number == GAUSS || number > LAPLACE)
        return false;
    for (size_t i = 0; i < 9; i++)
        to[i] = number == LAPLACE ? laplace[i] : sobel[number == EDGE_X ? i : i % 3 * 3 + i / 3];
    snprintf(name, FILTER_NAME, "%s",
             number == LAPLACE  ? "Laplacian"
             : number == EDGE_X ? "Sobel x"
                                : "Sobel y");
    return true;
}

bool filters_engineered(size_t number, size_t h, size_t w, char name[FILTER_NAME], float *to)
{
    static const char *const smooth[] = {"Gauss", "edge x", "edge y", "Laplacian of Gauss"};
    size_t u = 0, v = 0;
    if (number >= FIRST_DCT &&
        (number >= FIRST_DCT + DCT_MOST || !dct_find(number - FIRST_DCT, h, w, &v, &u)))
        return false;
    if (classic(number, h, w, name, to))
        return true;
    for (size_t i = 0; i < h * w; i++) {
        double y = place(i / w, h), x = place(i % w, w);
        if (number < FIRST_GABOR)
            to[i] = (float)smooth_value(number, y, x);
        else if (number < FIRST_DCT)
            to[i] = (float)gabor_value(number - FIRST_GABOR, y, x);
        else
            to[i] = (float)(cos(PI * (y + 0.5) * (double)v) * cos(PI * (x + 0.5) * (double)u));
    }
    if (number < FIRST_GABOR)
        snprintf(name, FILTER_NAME, "%s", smooth[number]);
    else if (number < FIRST_DCT)
        snprintf(name, FILTER_NAME, "Gabor %zu %s", (number - FIRST_GABOR) / 2 * 45,
                 (number - FIRST_GABOR) % 2 ? "odd" : "even");
    else
        snprintf(name, FILTER_NAME, "DCT %zu,%zu", v, u);
    return true;
}

// ---- the learned ones

static float weight(const struct filters *f, const float *params, size_t at, size_t c, size_t k)
{
    return params[f->param->offset + (at * f->c + c) * f->n + k];
}

static void filter_mean(const struct filters *f, const float *params, size_t k, float *to)
{
    for (size_t i = 0; i < f->h * f->w; i++) {
        double sum = 0;
        for (size_t c = 0; c < f->c; c++)
            sum += (double)weight(f, params, i, c, k);
        to[i] = (float)(sum / (double)f->c);
    }
}

static double cosine(const float *a, const float *b, size_t n)
{
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    return aa > 0 && bb > 1e-12 ? fabs(ab) / sqrt(aa * bb) : 0;
}

static void match_find(const struct filters *f, const float *mean, float *other,
                       struct filter_match *match)
{
    char name[FILTER_NAME];
    for (size_t i = 0; filters_engineered(i, f->h, f->w, name, other); i++) {
        double alike = cosine(mean, other, f->h * f->w);
        if (alike > match->cosine) {
            match->cosine = alike;
            memcpy(match->name, name, sizeof name);
        }
    }
}

static enum status matches_find(struct filters *f, const float *params)
{
    float *mean = NULL;
    TRY(memory_alloc(&mean, 2 * f->h * f->w, sizeof *mean, "a filter"));
    enum status status = memory_alloc(&f->match, f->n, sizeof *f->match, "filters");
    for (size_t k = 0; status == STATUS_OK && k < f->n; k++) {
        filter_mean(f, params, k, mean);
        match_find(f, mean, mean + f->h * f->w, &f->match[k]);
    }
    free(mean);
    return status;
}

enum status filters_find(struct filters *f, const struct model *model, const float *params)
{
    const struct model_param *list;
    *f = (struct filters){0};
    for (size_t i = 0, n = model_params(model, &list); i < n; i++) {
        const struct param *param = list[i].param;
        if (param->rank != 4 || param->dim[0] * param->dim[1] < 2)
            continue;
        *f = (struct filters){.layer = list[i].layer,
                              .param = param,
                              .h = param->dim[0],
                              .w = param->dim[1],
                              .c = param->dim[2],
                              .n = param->dim[3]};
        return matches_find(f, params);
    }
    return STATUS_OK;
}

void filters_free(struct filters *f)
{
    free(f->match);
    *f = (struct filters){0};
}

// ---- pictures

static void tile_signed(const float *v, size_t n, uint8_t *rgb)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fabsf(v[i]) > most ? fabsf(v[i]) : most;
    for (size_t i = 0; i < n; i++)
        render_colour(RENDER_COOLWARM, most > 0 ? (v[i] / most + 1) / 2 : 0.5f, rgb + 3 * i);
}

static void tile_learned(const struct filters *f, const float *params, size_t k, float *mean,
                         uint8_t *rgb)
{
    if (f->c != 3) {
        filter_mean(f, params, k, mean);
        tile_signed(mean, f->h * f->w, rgb);
        return;
    }
    float most = 1e-30f;
    for (size_t i = 0; i < f->h * f->w * 3; i++) {
        float size = fabsf(weight(f, params, i / 3, i % 3, k));
        most = size > most ? size : most;
    }
    for (size_t i = 0; i < f->h * f->w * 3; i++)
        rgb[i] = (uint8_t)(127.5f + 127 * weight(f, params, i / 3, i % 3, k) / most);
}

struct sheet {
    struct image *image;
    size_t times, tile_h, tile_w, top;
};

static void tile_put(const struct sheet *s, size_t i, const uint8_t *rgb, size_t h, size_t w)
{
    render_put(s->image, s->top + i / COLUMNS * (s->tile_h + GAP),
               GAP + i % COLUMNS * (s->tile_w + GAP), rgb, h, w, s->times);
}

static size_t rows_of(size_t n)
{
    return (n + COLUMNS - 1) / COLUMNS;
}

static enum status draw(const struct filters *f, const float *params, struct sheet *s, size_t n,
                        float *values, uint8_t *rgb)
{
    char text[160];
    const size_t head = RENDER_TEXT_H + 2 * GAP, row = s->tile_h + GAP, side = f->h * f->w;
    TRY(image_size(s->image, "filters", 2 * head + (rows_of(f->n) + rows_of(n)) * row + GAP,
                   COLUMNS * (s->tile_w + GAP) + GAP, 3));
    render_fill(s->image, 255);
    snprintf(text, sizeof text, "%s: %s/weight, %zu of %zux%zux%zu",
             f->param->kind == PARAM_FROZEN ? "fixed" : "learned", f->layer->name, f->n, f->h, f->w,
             f->c);
    render_text(s->image, GAP, GAP, s->image->w, text);
    s->top = head;
    for (size_t k = 0; k < f->n; k++) {
        tile_learned(f, params, k, values, rgb);
        tile_put(s, k, rgb, f->h, f->w);
    }
    s->top += rows_of(f->n) * row;
    snprintf(text, sizeof text, "engineered by people: Gauss, Sobel or edges, Laplace, Gabor, DCT");
    render_text(s->image, s->top + GAP, GAP, s->image->w, text);
    s->top += head;
    for (size_t i = 0; i < n; i++) {
        filters_engineered(i, f->h, f->w, text, values);
        tile_signed(values, side, rgb);
        tile_put(s, i, rgb, f->h, f->w);
    }
    return STATUS_OK;
}

enum status filters_draw(const struct filters *f, const float *params, struct image *image)
{
    float *values = NULL;
    uint8_t *rgb = NULL;
    char name[FILTER_NAME];
    size_t side = f->h > f->w ? f->h : f->w, n = 0;
    struct sheet s = {.image = image, .times = side < TILE ? TILE / side : 1};
    s.tile_h = f->h * s.times;
    s.tile_w = f->w * s.times;
    ASSERT(f->n > 0);
    enum status status = memory_alloc(&values, f->h * f->w, sizeof *values, "a filter");
    if (status == STATUS_OK)
        status = memory_alloc(&rgb, f->h * f->w, 3, "a filter");
    while (status == STATUS_OK && filters_engineered(n, f->h, f->w, name, values))
        n++;
    if (status == STATUS_OK)
        status = draw(f, params, &s, n, values, rgb);
    free(values);
    free(rgb);
    return status;
}
