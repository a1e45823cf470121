// SPDX-License-Identifier: MIT
// Pictures: PNG (libpng), JPEG (libjpeg-turbo) and PNM bytes to 8-bit pixels, and resampling.
// Formats are told by content. Errors of the libraries become STATUS_DATA naming the file.
#ifndef SW2_DATA_IMAGE_H
#define SW2_DATA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

// Against decompression bombs: larger pictures are refused before anything is decoded.
#define IMAGE_SIDE_MAX ((size_t)32768)
#define IMAGE_PIXELS_MAX ((size_t)1 << 26)
#define IMAGE_FILE_MAX ((size_t)1 << 28)

struct image {
    size_t h, w, c;  // c is 1 (grey) or 3 (RGB)
    uint8_t *pixels; // (h, w, c)
    size_t room;     // bytes allocated, reused by the next picture
};
void image_free(struct image *image);
// STATUS_DATA unless both sides are at least 1 and the picture is within the bounds above.
enum status image_check_size(const char *name, size_t h, size_t w);
// Makes room for (h, w, c), contents undefined. STATUS_DATA when the size is out of bounds.
enum status image_size(struct image *image, const char *name, size_t h, size_t w, size_t c);

enum image_format { IMAGE_UNKNOWN, IMAGE_PNG, IMAGE_JPEG, IMAGE_PNM };
// By the first bytes (16 are enough).
enum image_format image_format_of(const uint8_t *bytes, size_t n);

// Height, width and channels (after conversion) from the header alone. `name` stands in messages.
enum status image_probe(const char *name, const uint8_t *bytes, size_t n, size_t *h, size_t *w,
                        size_t *c);
// Decodes n bytes. 16 bits become 8, palettes RGB, CMYK RGB; alpha is dropped.
enum status image_decode(const char *name, const uint8_t *bytes, size_t n, struct image *out);
// Converts in place to 1 (ITU-R BT.601 luma, rounded) or 3 channels (grey three times).
enum status image_set_channels(struct image *image, const char *name, size_t c);

// As PNG (sRGB, 8 bits) into *bytes, owned by the caller (free). STATUS_ERROR: memory; a number of
// channels other than 1 and 3.
enum status image_png_encode(const struct image *image, uint8_t **bytes, size_t *n);
// The same bytes to a temporary name in the same folder, which is then renamed. STATUS_ERROR naming
// the path.
enum status image_write_png(const char *path, const struct image *image);

// One plan for many pictures of the same size: separable, 22-bit fixed point, so that the result
// is the same on every machine. Bilinear; when it shrinks, the triangle is as wide as a target
// pixel covers (as PIL and TensorFlow's antialias do).
struct resize;
enum status resize_plan(struct resize **resize, size_t from_h, size_t from_w, size_t to_h,
                        size_t to_w, size_t c, bool is_nearest);
void resize_free(struct resize *resize); // NULL is allowed
bool resize_fits(const struct resize *resize, size_t from_h, size_t from_w, size_t c);
// (from_h, from_w, c) to (to_h, to_w, c).
void resize_run(const struct resize *resize, const uint8_t *from, uint8_t *to);

// Back ends, one file each. is_probe: set h, w, c only.
enum status image_png(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                      struct image *out);
enum status image_jpeg(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                       struct image *out);
enum status image_pnm(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                      struct image *out);

#endif
