// SPDX-License-Identifier: MIT
// A human-engineered filter bank: fixed filters, applied to every channel, never trained.
// Software 1.0 features. Filters by name (3x3 and 5x5 forms of the textbook operators) or numbers
// from the recipe. Output channel c * n_filters + f is filter f on input channel c. A frozen
// grouped convolution.
#include "models/layers/convolve.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/names.h"

struct filterbank_args {
    struct option_strings filters;
    struct option_floats numbers;
    int64_t kernel;
};

static const struct option options[] = {
    {"filters", OPTION_STRINGS, offsetof(struct filterbank_args, filters), "[]", 0, 0, NULL,
     "sobel_x, sobel_y, laplacian, gaussian, sharpen, identity, diagonal_down, diagonal_up"},
    {"numbers", OPTION_FLOATS, offsetof(struct filterbank_args, numbers), "[]", -1e6, 1e6, NULL,
     "more filters, kernel x kernel numbers each, row by row"},
    {"kernel", OPTION_INT, offsetof(struct filterbank_args, kernel), "3", 3, 31, NULL,
     "side of the filters given by numbers; named ones are 3 x 3, centred"},
};

// Scaled so that a step edge from 0 to 1 answers with at most 1.
static const struct {
    const char *name;
    float w[9];
} named[] = {
    {"sobel_x", {-.25f, 0, .25f, -.5f, 0, .5f, -.25f, 0, .25f}},
    {"sobel_y", {-.25f, -.5f, -.25f, 0, 0, 0, .25f, .5f, .25f}},
    {"laplacian", {0, -.25f, 0, -.25f, 1, -.25f, 0, -.25f, 0}},
    {"gaussian", {.0625f, .125f, .0625f, .125f, .25f, .125f, .0625f, .125f, .0625f}},
    {"sharpen", {0, -1, 0, -1, 5, -1, 0, -1, 0}},
    {"identity", {0, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"diagonal_down", {0, .25f, .5f, -.25f, 0, .25f, -.5f, -.25f, 0}},
    {"diagonal_up", {.5f, .25f, 0, .25f, 0, -.25f, 0, -.25f, -.5f}},
};
enum { N_NAMED = sizeof named / sizeof *named };

static enum status named_find(const struct layer *layer, const char *name, const float **w)
{
    const char *known[N_NAMED];
    for (size_t i = 0; i < N_NAMED; i++) {
        known[i] = named[i].name;
        if (strcmp(name, named[i].name) == 0) {
            *w = named[i].w;
            return STATUS_OK;
        }
    }
    const char *nearest = names_nearest(name, known, N_NAMED);
    LAYER_FAIL(layer, "unknown filter '%s'%s%s%s", name, nearest ? ", did you mean '" : "",
               nearest ? nearest : "", nearest ? "'?" : "");
}

static enum status filters_count(const struct layer *layer, size_t *n)
{
    const struct filterbank_args *args = layer->args;
    size_t area = (size_t)(args->kernel * args->kernel);
    if (args->kernel % 2 == 0)
        LAYER_FAIL(layer, "kernel is %d, expected an odd number", (int)args->kernel);
    if (args->numbers.n % area != 0)
        LAYER_FAIL(layer, "numbers has %zu entries, expected a multiple of %zu (kernel x kernel)",
                   args->numbers.n, area);
    *n = args->filters.n + args->numbers.n / area;
    if (*n == 0)
        LAYER_FAIL(layer, "no filter given: name some in %s or write %s", "filters", "numbers");
    return STATUS_OK;
}

// One filter's weights as (kernel, kernel), centred.
static enum status filter_read(const struct layer *layer, size_t f, float *out)
{
    const struct filterbank_args *args = layer->args;
    size_t side = (size_t)args->kernel, area = side * side;
    if (f >= args->filters.n) {
        const double *from = args->numbers.v + (f - args->filters.n) * area;
        for (size_t i = 0; i < area; i++)
            out[i] = (float)from[i];
        return STATUS_OK;
    }
    const float *w = NULL;
    TRY(named_find(layer, args->filters.v[f], &w));
    memset(out, 0, area * sizeof *out);
    size_t margin = (side - 3) / 2;
    for (size_t i = 0; i < 9; i++)
        out[(margin + i / 3) * side + margin + i % 3] = w[i];
    return STATUS_OK;
}

static struct conv_shape shape_of(const struct layer *layer, size_t n_filters)
{
    const struct filterbank_args *args = layer->args;
    size_t side = (size_t)args->kernel, c = layer->x[0].c;
    return (struct conv_shape){side, side, 1, 1, side / 2, side / 2, 1, 1, c, c * n_filters};
}

// (kernel, kernel, 1, c * n) weights, owned by the layer through param[0].values.
static enum status values_fill(struct layer *layer, size_t n)
{
    const struct filterbank_args *args = layer->args;
    size_t area = (size_t)(args->kernel * args->kernel), c = layer->x[0].c;
    float one[31 * 31], *values;
    TRY(memory_alloc(&values, area * c * n, sizeof *values, "filter bank"));
    layer->param[0].values = values;
    for (size_t f = 0; f < n; f++) {
        TRY(filter_read(layer, f, one));
        for (size_t i = 0; i < area; i++)
            for (size_t channel = 0; channel < c; channel++)
                values[(i * c + channel) * n + f] = one[i];
    }
    return STATUS_OK;
}

static enum status shape(struct layer *layer)
{
    size_t n;
    TRY(filters_count(layer, &n));
    if (layer->x[0].h == 1)
        LAYER_FAIL(layer, "a filter bank needs images, its input is %zu x %zu x %zu", layer->x[0].h,
                   layer->x[0].w, layer->x[0].c);
    struct conv_shape s = shape_of(layer, n);
    convolve_declare(layer, &s, false, INIT_VALUES);
    layer->param[0].kind = PARAM_FROZEN;
    return values_fill(layer, n);
}

static enum status plan(struct layer *layer)
{
    size_t n;
    TRY(filters_count(layer, &n));
    struct conv_shape s = shape_of(layer, n);
    return convolve_plan(layer, &s);
}

static void release(struct layer *layer)
{
    convolve_free(layer);
    free((void *)(uintptr_t)layer->param[0].values);
}

const struct layer_ops layer_filterbank = {
    .name = "filterbank",
    .help = "fixed human-engineered filters on every channel, never trained",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(struct filterbank_args),
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X | SPARES_Y,
    .mutates_dy = true,
    .marks_laps = true,
    .shape = shape,
    .plan = plan,
    .prepare = convolve_prepare,
    .forward = convolve_forward,
    .backward = convolve_backward,
    .free = release,
    .fuses_relu = convolve_fuses_relu};
