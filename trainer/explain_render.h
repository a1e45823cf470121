// SPDX-License-Identifier: MIT
// Maps and samples as pixels: perceptual colour maps, overlays, enlarging, resampling, short texts.
// Pure: knows neither networks nor files. Pixels are RGB bytes, (h, w, 3). Used by explain_*.c and
// reports.
#ifndef SW2_TRAINER_EXPLAIN_RENDER_H
#define SW2_TRAINER_EXPLAIN_RENDER_H

#include "data/image.h"

// viridis and inferno: of even steps in lightness, seen alike by the colour-blind and on paper
// (van der Walt and Smith 2015, CC0). cool-warm: for values of both signs (Moreland 2009), blue
// below 0, red above.
enum render_colours { RENDER_VIRIDIS, RENDER_INFERNO, RENDER_COOLWARM };
#define RENDER_SEQUENTIAL "viridis|inferno"

void render_colour(enum render_colours colours, float v, uint8_t rgb[3]); // v: clamped to 0..1

// Bilinear, centres of pixels on centres, borders repeated (PyTorch's align_corners=False).
void render_resample(const float *from, size_t from_h, size_t from_w, float *to, size_t h,
                     size_t w);

// What `share` of the n sizes do not exceed, by a histogram of 4096 bins; 0 only where all are 0.
float render_range(const float *map, size_t n, double share);

// A raw row (bytes; or floats, stretched to their range) of c channels as RGB: c = 3 as it is,
// else grey of the mean over the channels.
void render_sample(const void *raw, bool is_u8, size_t h, size_t w, size_t c, uint8_t *rgb);

struct render_style {
    enum render_colours colours; // of maps without a sign; the others are cool-warm
    float opacity; // 0..1 of the largest values over the sample in grey; of 0 it is 0.4 times that
};
// map (h, w) over rgb (h, w, 3) into out; range: the value that gets the last colour.
void render_overlay(const struct render_style *style, bool is_signed, const float *map, float range,
                    const uint8_t *rgb, size_t h, size_t w, uint8_t *out);

// Puts (h, w, 3) into an image at (top, left), each pixel `times` times; within the image.
void render_put(struct image *to, size_t top, size_t left, const uint8_t *rgb, size_t h, size_t w,
                size_t times);
// All pixels.
void render_fill(struct image *to, uint8_t grey);

// A text of printable ASCII in a font of 5 x 7 dots, black; what does not fit before `right` is
// left out.
enum { RENDER_TEXT_W = 6, RENDER_TEXT_H = 9 };
void render_text(struct image *to, size_t top, size_t left, size_t right, const char *text);

// How often to repeat a pixel so that the larger side takes about 128.
size_t render_times(size_t h, size_t w);

#endif
