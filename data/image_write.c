// SPDX-License-Identifier: MIT
// Pixels to PNG bytes, for pictures that programs make.
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "data/image.h"

enum status image_png_encode(const struct image *image, uint8_t **bytes, size_t *n)
{
    png_image png;
    png_alloc_size_t need = 0;
    *bytes = NULL;
    *n = 0;
    memset(&png, 0, sizeof png);
    CHECK(image->c == 1 || image->c == 3, STATUS_ERROR, "a PNG of %zu channels, expected 1 or 3",
          image->c);
    png.version = PNG_IMAGE_VERSION;
    png.width = (png_uint_32)image->w;
    png.height = (png_uint_32)image->h;
    png.format = image->c == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    CHECK(png_image_write_get_memory_size(png, need, 0, image->pixels, 0, NULL), STATUS_ERROR,
          "cannot make a PNG of %zu x %zu: %s", image->h, image->w, png.message);
    TRY(memory_alloc(bytes, need, 1, "PNG"));
    if (!png_image_write_to_memory(&png, *bytes, &need, 0, image->pixels, 0, NULL)) {
        free(*bytes);
        *bytes = NULL;
        FAIL(STATUS_ERROR, "cannot make a PNG of %zu x %zu: %s", image->h, image->w, png.message);
    }
    *n = need;
    return STATUS_OK;
}
