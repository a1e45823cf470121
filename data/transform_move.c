// SPDX-License-Identifier: MIT
// Transforms that move or blank pixels: flip, crop, cutout. Rows of the table transforms.def.
#include <string.h>

#include "data/transform_private.h"

// ---- flip: left to right

struct flip {
    double p;
};

static const struct option flip_options[] = {
    {"p", OPTION_FLOAT, offsetof(struct flip, p), "0.5", 0, 1, NULL, "how often"},
};

static void flip_apply(const void *self, const struct transform_sample *sample, float *x)
{
    const struct flip *flip = self;
    size_t w = sample->shape.w, c = sample->shape.c;
    if (random_uniform(sample->word[0]) >= (float)flip->p)
        return;
    for (size_t y = 0; y < sample->shape.h; y++, x += w * c)
        for (size_t l = 0, r = w - 1; l < r; l++, r--)
            for (size_t k = 0; k < c; k++) {
                float left = x[l * c + k];
                x[l * c + k] = x[r * c + k];
                x[r * c + k] = left;
            }
}

static void flip_describe(const void *self, FILE *out)
{
    fprintf(out, "flip p %g", ((const struct flip *)self)->p);
}

const struct transform_ops transform_flip = {
    .name = "flip",
    .summary = "left to right, at random",
    .is_random = true,
    .options = flip_options,
    .n_options = sizeof flip_options / sizeof *flip_options,
    .bytes = sizeof(struct flip),
    .apply = flip_apply,
    .describe = flip_describe,
};

// ---- crop: a window of the sample's size out of the sample with a border of zeros

struct crop {
    int64_t pad;
};

static const struct option crop_options[] = {
    {"pad", OPTION_INT, offsetof(struct crop, pad), "4", 1, 4096, NULL,
     "zeros on every side (of height or width above 1)"},
};

static void crop_apply(const void *self, const struct transform_sample *sample, float *x)
{
    size_t pad = (size_t)((const struct crop *)self)->pad;
    size_t h = sample->shape.h, w = sample->shape.w, c = sample->shape.c;
    // Signals and vectors are not moved across the side they do not have.
    size_t pad_y = h > 1 ? pad : 0, pad_x = w > 1 ? pad : 0;
    size_t top = random_below(sample->word[0], (uint32_t)(2 * pad_y + 1));
    size_t left = random_below(sample->word[1], (uint32_t)(2 * pad_x + 1));
    if (top == pad_y && left == pad_x)
        return;
    memcpy(sample->scratch, x, h * w * c * sizeof *x);
    memset(x, 0, h * w * c * sizeof *x);
    // out[y][i] = padded[y + top][i + left], padded[y + pad_y][i + pad_x] = in[y][i].
    size_t first = left < pad_x ? pad_x - left : 0; // first column of out with a pixel
    size_t from = left > pad_x ? left - pad_x : 0;  // its column in the sample
    size_t shift = first + from;                    // one of them is 0
    size_t count = shift < w ? (w - shift) * c * sizeof *x : 0;
    for (size_t y = 0; y < h; y++) {
        size_t source = y + top;
        if (source >= pad_y && source - pad_y < h && count > 0)
            memcpy(x + (y * w + first) * c, sample->scratch + ((source - pad_y) * w + from) * c,
                   count);
    }
}

static void crop_describe(const void *self, FILE *out)
{
    fprintf(out, "crop pad %lld", (long long)((const struct crop *)self)->pad);
}

const struct transform_ops transform_crop = {
    .name = "crop",
    .summary = "pad with zeros and cut the sample's size out at random",
    .is_random = true,
    .options = crop_options,
    .n_options = sizeof crop_options / sizeof *crop_options,
    .bytes = sizeof(struct crop),
    .apply = crop_apply,
    .describe = crop_describe,
};

// ---- cutout: a square of zeros around a random pixel (DeVries and Taylor 2017), cut at the edges

struct cutout {
    int64_t size;
};

static const struct option cutout_options[] = {
    {"size", OPTION_INT, offsetof(struct cutout, size), "8", 1, 4096, NULL, "side of the square"},
};

// [*from, *to): the part of [centre - size / 2, centre - size / 2 + size) inside [0, n).
static void span_clip(uint32_t centre, int64_t size, size_t n, size_t *from, size_t *to)
{
    int64_t low = (int64_t)centre - size / 2, high = low + size;
    *from = low < 0 ? 0 : (size_t)low;
    *to = high > (int64_t)n ? n : (size_t)high;
}

static void cutout_apply(const void *self, const struct transform_sample *sample, float *x)
{
    int64_t size = ((const struct cutout *)self)->size;
    size_t h = sample->shape.h, w = sample->shape.w, c = sample->shape.c;
    size_t top, bottom, left, right;
    span_clip(random_below(sample->word[0], (uint32_t)h), size, h, &top, &bottom);
    span_clip(random_below(sample->word[1], (uint32_t)w), size, w, &left, &right);
    for (size_t y = top; y < bottom; y++)
        memset(x + (y * w + left) * c, 0, (right - left) * c * sizeof *x);
}

static void cutout_describe(const void *self, FILE *out)
{
    fprintf(out, "cutout size %lld", (long long)((const struct cutout *)self)->size);
}

const struct transform_ops transform_cutout = {
    .name = "cutout",
    .summary = "a square of zeros around a random pixel",
    .is_random = true,
    .options = cutout_options,
    .n_options = sizeof cutout_options / sizeof *cutout_options,
    .bytes = sizeof(struct cutout),
    .apply = cutout_apply,
    .describe = cutout_describe,
};
