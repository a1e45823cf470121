// SPDX-License-Identifier: MIT
// Transforms that move or blank pixels: flip, crop, cutout. Rows of the table transforms.def.
#include <string.h>

#include "data/transform_private.h"

// ---- flip: left to right

struct flip {
    double p;
    bool alternate;
};

static const struct option flip_options[] = {
    {"p", OPTION_FLOAT, offsetof(struct flip, p), "0.5", 0, 1, NULL, "how often"},
    {"alternate", OPTION_BOOL, offsetof(struct flip, alternate), "false", 0, 0, NULL,
     "draw once a row, then flip it in every second epoch"},
};

// Alternating (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.6): drawn
// in epoch 0 and turned over in each later one, so two epochs show both sides of every row.
static bool flip_is_due(const struct flip *flip, const struct transform_sample *sample)
{
    uint32_t word[4] = {sample->word[0]};
    if (flip->alternate) {
        struct random_key first = {.seed = sample->seed, .purpose = RANDOM_AUGMENT};
        random_words(first, sample->row, sample->number, word);
    }
    bool is_drawn = random_uniform(word[0]) < (float)flip->p;
    return flip->alternate && sample->epoch % 2 == 1 ? !is_drawn : is_drawn;
}

static void flip_apply(const void *self, const struct transform_sample *sample, float *x)
{
    size_t w = sample->shape.w, c = sample->shape.c;
    if (!flip_is_due(self, sample))
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
    const struct flip *flip = self;
    fprintf(out, "flip p %g%s", flip->p, flip->alternate ? ", then alternating" : "");
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

// ---- crop: a window of the sample's size out of the sample with a border

enum { BORDER_ZERO, BORDER_REFLECT };

struct crop {
    int64_t pad;
    int border;
};

static const struct option crop_options[] = {
    {"pad", OPTION_INT, offsetof(struct crop, pad), "4", 1, 4096, NULL,
     "pixels on every side (of height or width above 1)"},
    {"border", OPTION_CHOICE, offsetof(struct crop, border), "zero", 0, 0, "zero|reflect",
     "what they are: zero, or the sample mirrored at its edge"},
};

static enum status crop_plan(void *self, const struct transform_plan *plan)
{
    const struct crop *crop = self;
    size_t pad = (size_t)crop->pad, h = plan->shape.h, w = plan->shape.w;
    CHECK(crop->border == BORDER_ZERO || ((h == 1 || pad < h) && (w == 1 || pad < w)), STATUS_USAGE,
          "%s: crop pad %zu cannot be mirrored from %zu x %zu pixels, expected less than each side",
          plan->place, pad, h, w);
    return STATUS_OK;
}

// Pixel i of a side of n, mirrored at the edges (which are not repeated).
static size_t mirrored(size_t i, size_t pad, size_t n)
{
    size_t at = i < pad ? pad - i : i - pad;
    return at < n ? at : 2 * (n - 1) - at;
}

// out[y][i] = padded[y + top][i + left], padded[y + pad[0]][i + pad[1]] = in[y][i].
static void crop_mirror(const struct transform_sample *sample, const size_t pad[2], size_t top,
                        size_t left, float *x)
{
    size_t h = sample->shape.h, w = sample->shape.w, c = sample->shape.c;
    for (size_t y = 0; y < h; y++) {
        const float *from = sample->scratch + mirrored(y + top, pad[0], h) * w * c;
        for (size_t i = 0; i < w; i++, x += c) {
            const float *pixel = from + mirrored(i + left, pad[1], w) * c;
            for (size_t k = 0; k < c; k++)
                x[k] = pixel[k];
        }
    }
}

static void crop_zero(const struct transform_sample *sample, const size_t pad[2], size_t top,
                      size_t left, float *x)
{
    size_t h = sample->shape.h, w = sample->shape.w, c = sample->shape.c;
    memset(x, 0, h * w * c * sizeof *x);
    size_t first = left < pad[1] ? pad[1] - left : 0; // first column of out with a pixel
    size_t from = left > pad[1] ? left - pad[1] : 0;  // its column in the sample
    size_t shift = first + from;                      // one of them is 0
    size_t count = shift < w ? (w - shift) * c * sizeof *x : 0;
    for (size_t y = 0; y < h; y++) {
        size_t source = y + top;
        if (source >= pad[0] && source - pad[0] < h && count > 0)
            memcpy(x + (y * w + first) * c, sample->scratch + ((source - pad[0]) * w + from) * c,
                   count);
    }
}

static void crop_apply(const void *self, const struct transform_sample *sample, float *x)
{
    const struct crop *crop = self;
    size_t h = sample->shape.h, w = sample->shape.w, c = sample->shape.c;
    // Signals and vectors are not moved across the side they do not have.
    size_t pad[2] = {h > 1 ? (size_t)crop->pad : 0, w > 1 ? (size_t)crop->pad : 0};
    size_t top = random_below(sample->word[0], (uint32_t)(2 * pad[0] + 1));
    size_t left = random_below(sample->word[1], (uint32_t)(2 * pad[1] + 1));
    if (top == pad[0] && left == pad[1])
        return;
    memcpy(sample->scratch, x, h * w * c * sizeof *x);
    (crop->border == BORDER_REFLECT ? crop_mirror : crop_zero)(sample, pad, top, left, x);
}

static void crop_describe(const void *self, FILE *out)
{
    const struct crop *crop = self;
    fprintf(out, "crop pad %lld%s", (long long)crop->pad,
            crop->border == BORDER_REFLECT ? " mirrored" : "");
}

const struct transform_ops transform_crop = {
    .name = "crop",
    .summary = "pad and cut the sample's size out at random",
    .is_random = true,
    .options = crop_options,
    .n_options = sizeof crop_options / sizeof *crop_options,
    .bytes = sizeof(struct crop),
    .plan = crop_plan,
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
