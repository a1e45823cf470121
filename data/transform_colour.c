// SPDX-License-Identifier: MIT
// Colour jitter, as torchvision's ColorJitter, in the fixed order brightness, contrast, saturation.
// A row of the table transforms.def.
#include "data/transform_private.h"

struct colour {
    double brightness, contrast, saturation;
};

static const struct option colour_options[] = {
    {"brightness", OPTION_FLOAT, offsetof(struct colour, brightness), "0", 0, 100, NULL,
     "factor from max(0, 1 - this) to 1 + this"},
    {"contrast", OPTION_FLOAT, offsetof(struct colour, contrast), "0", 0, 100, NULL,
     "the same, around the mean grey"},
    {"saturation", OPTION_FLOAT, offsetof(struct colour, saturation), "0", 0, 100, NULL,
     "the same, around each pixel's grey (3 channels)"},
};

static enum status colour_plan(void *self, const struct transform_plan *plan)
{
    const struct colour *colour = self;
    size_t c = plan->shape.c;
    CHECK(!plan->is_normalized, STATUS_USAGE,
          "%s: colour works on values in 0..1: put it before normalize", plan->place);
    CHECK(c == 1 || c == 3, STATUS_USAGE, "%s: colour needs 1 or 3 channels, the data have %zu",
          plan->place, c);
    CHECK(c == 3 || colour->saturation == 0, STATUS_USAGE,
          "%s: saturation needs 3 channels, the data have 1", plan->place);
    return STATUS_OK;
}

// Uniform in [max(0, 1 - by), 1 + by).
static float factor_of(uint32_t word, double by)
{
    float low = by < 1 ? (float)(1 - by) : 0, high = (float)(1 + by);
    return low + (high - low) * random_uniform(word);
}

static float clamp(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static float grey(const float *pixel, size_t c)
{
    return c == 1 ? pixel[0] : 0.2989f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
}

static void colour_apply(const void *self, const struct transform_sample *sample, float *x)
{
    const struct colour *colour = self;
    size_t c = sample->shape.c, pixels = sample->shape.h * sample->shape.w;
    if (colour->brightness > 0) {
        float f = factor_of(sample->word[0], colour->brightness);
        for (size_t i = 0; i < pixels * c; i++)
            x[i] = clamp(x[i] * f);
    }
    if (colour->contrast > 0) {
        float f = factor_of(sample->word[1], colour->contrast);
        double sum = 0;
        for (size_t i = 0; i < pixels; i++)
            sum += (double)grey(x + i * c, c);
        float rest = (1 - f) * (float)(sum / (double)pixels);
        for (size_t i = 0; i < pixels * c; i++)
            x[i] = clamp(x[i] * f + rest);
    }
    if (colour->saturation > 0) {
        float f = factor_of(sample->word[2], colour->saturation);
        for (size_t i = 0; i < pixels; i++) {
            float rest = (1 - f) * grey(x + i * c, c);
            for (size_t k = 0; k < c; k++)
                x[i * c + k] = clamp(x[i * c + k] * f + rest);
        }
    }
}

static void colour_describe(const void *self, FILE *out)
{
    const struct colour *colour = self;
    fprintf(out, "colour brightness %g contrast %g saturation %g", colour->brightness,
            colour->contrast, colour->saturation);
}

const struct transform_ops transform_colour = {
    .name = "colour",
    .summary = "random brightness, contrast and saturation",
    .is_random = true,
    .options = colour_options,
    .n_options = sizeof colour_options / sizeof *colour_options,
    .bytes = sizeof(struct colour),
    .plan = colour_plan,
    .apply = colour_apply,
    .describe = colour_describe,
};
