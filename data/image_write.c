// SPDX-License-Identifier: MIT
// Pixels to PNG bytes, for pictures that programs make.
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/outputs.h"

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

static enum status bytes_write(const char *path, const char *fresh, const uint8_t *bytes, size_t n)
{
    FILE *file = fopen(fresh, "wbe");
    CHECK(file, STATUS_ERROR, "cannot write '%s': %s", path, strerror(errno));
    bool is_good = fwrite(bytes, 1, n, file) == n;
    is_good = fclose(file) == 0 && is_good && rename(fresh, path) == 0;
    int why = errno;
    if (!is_good)
        unlink(fresh);
    CHECK(is_good, STATUS_ERROR, "cannot write '%s': %s", path, strerror(why));
    return STATUS_OK;
}

enum status image_write_png(const char *path, const struct image *image)
{
    uint8_t *bytes;
    size_t n;
    char *real = NULL, *fresh = NULL;
    TRY(image_png_encode(image, &bytes, &n));
    enum status status = outputs_find(path, getpid(), &real, &fresh);
    if (status == STATUS_OK && !fresh)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__,
                           "cannot write '%s': it is there and no regular file", path);
    else if (status == STATUS_OK)
        status = bytes_write(real, fresh, bytes, n);
    free(fresh);
    free(bytes);
    free(real);
    return status;
}
