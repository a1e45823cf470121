// SPDX-License-Identifier: MIT
// Transforms of each value by itself: scale and normalize. Rows of the table transforms.def.
#include <stdlib.h>

#include "comm/memory.h"
#include "data/transform_private.h"

// ---- scale: x * factor + offset

struct scale {
    double factor, offset;
};

static const struct option scale_options[] = {
    {"factor", OPTION_FLOAT, offsetof(struct scale, factor), "1", -1e30, 1e30, NULL,
     "multiplies every value"},
    {"offset", OPTION_FLOAT, offsetof(struct scale, offset), "0", -1e30, 1e30, NULL,
     "is then added"},
};

static void scale_apply(const void *self, const struct transform_sample *sample, float *x)
{
    const struct scale *scale = self;
    size_t n = sample->shape.h * sample->shape.w * sample->shape.c;
    float factor = (float)scale->factor, offset = (float)scale->offset;
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * factor + offset;
}

static void scale_describe(const void *self, FILE *out)
{
    const struct scale *scale = self;
    fprintf(out, "scale %g + %g", scale->factor, scale->offset);
}

const struct transform_ops transform_scale = {
    .name = "scale",
    .summary = "x * factor + offset",
    .is_affine = true,
    .options = scale_options,
    .n_options = sizeof scale_options / sizeof *scale_options,
    .bytes = sizeof(struct scale),
    .apply = scale_apply,
    .describe = scale_describe,
};

// ---- normalize: (x - mean) / std, per channel

struct normalize {
    struct option_floats given_mean, given_std;
    size_t c;
    float *mean, *std; // (w, c): a row of pixels, so that the loop has no inner one over channels
};

static const struct option normalize_options[] = {
    {"mean", OPTION_FLOATS, offsetof(struct normalize, given_mean), "[]", -1e30, 1e30, NULL,
     "one number or one a channel, of values in 0..1; absent: of the training rows"},
    {"std", OPTION_FLOATS, offsetof(struct normalize, given_std), "[]", 1e-30, 1e30, NULL,
     "one number or one a channel, of values in 0..1; absent: of the training rows"},
};

static enum status numbers_spread(const struct transform_plan *plan,
                                  const struct option_floats *given, const double *found,
                                  const char *name, float **out)
{
    size_t c = plan->shape.c, w = plan->shape.w;
    CHECK(given->n == 0 || given->n == 1 || given->n == c, STATUS_USAGE,
          "%s: normalize has %zu numbers in %s, expected 1 or %zu (channels)", plan->place,
          given->n, name, c);
    CHECK(given->n > 0 || found, STATUS_USAGE,
          "%s: normalize names no %s, and no data set is at hand", plan->place, name);
    TRY(memory_alloc(out, w * c, sizeof **out, "statistics"));
    for (size_t i = 0; i < w * c; i++) {
        size_t k = i % c;
        (*out)[i] = (float)(given->n == 0 ? found[k] : given->v[given->n == 1 ? 0 : k]);
    }
    return STATUS_OK;
}

static enum status normalize_plan(void *self, const struct transform_plan *plan)
{
    struct normalize *normalize = self;
    CHECK(!plan->is_normalized, STATUS_USAGE, "%s: normalize stands in the list twice",
          plan->place);
    normalize->c = plan->shape.c;
    TRY(numbers_spread(plan, &normalize->given_mean, plan->mean, "mean", &normalize->mean));
    return numbers_spread(plan, &normalize->given_std, plan->std, "std", &normalize->std);
}

static void normalize_apply(const void *self, const struct transform_sample *sample, float *x)
{
    const struct normalize *normalize = self;
    size_t n = sample->shape.w * sample->shape.c;
    const float *mean = normalize->mean, *std = normalize->std;
    for (size_t y = 0; y < sample->shape.h; y++, x += n)
        for (size_t i = 0; i < n; i++)
            x[i] = (x[i] - mean[i]) / std[i];
}

static void normalize_describe(const void *self, FILE *out)
{
    const struct normalize *normalize = self;
    fprintf(out, "normalize mean");
    for (size_t k = 0; k < normalize->c && k < 4; k++)
        fprintf(out, " %.4g", (double)normalize->mean[k]);
    fprintf(out, "%s std", normalize->c > 4 ? " ..." : "");
    for (size_t k = 0; k < normalize->c && k < 4; k++)
        fprintf(out, " %.4g", (double)normalize->std[k]);
    fprintf(out, "%s", normalize->c > 4 ? " ..." : "");
}

static void normalize_free(void *self)
{
    struct normalize *normalize = self;
    free(normalize->mean);
    free(normalize->std);
}

const struct transform_ops transform_normalize = {
    .name = "normalize",
    .summary = "(x - mean) / std of each channel",
    .is_affine = true,
    .options = normalize_options,
    .n_options = sizeof normalize_options / sizeof *normalize_options,
    .bytes = sizeof(struct normalize),
    .plan = normalize_plan,
    .apply = normalize_apply,
    .describe = normalize_describe,
    .free = normalize_free,
};
