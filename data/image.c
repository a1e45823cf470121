// SPDX-License-Identifier: MIT
// Owns: which decoder reads a picture, size limits, channel conversion. Called by the importers.
#include "data/image.h"

#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

void image_free(struct image *image)
{
    free(image->pixels);
    *image = (struct image){0};
}

enum status image_check_size(const char *name, size_t h, size_t w)
{
    CHECK(h > 0 && w > 0, STATUS_DATA, "%s: the picture is %zux%zu", name, h, w);
    CHECK(h <= IMAGE_SIDE_MAX && w <= IMAGE_SIDE_MAX && h * w <= IMAGE_PIXELS_MAX, STATUS_DATA,
          "%s: the picture is %zux%zu (HxW), more than %zu a side or %zu pixels is refused", name,
          h, w, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX);
    return STATUS_OK;
}

enum status image_size(struct image *image, const char *name, size_t h, size_t w, size_t c)
{
    TRY(image_check_size(name, h, w));
    ASSERT(c == 1 || c == 3);
    size_t bytes = h * w * c;
    if (bytes > image->room) {
        image_free(image);
        TRY(memory_alloc(&image->pixels, bytes, 1, "picture"));
        image->room = bytes;
    }
    image->h = h;
    image->w = w;
    image->c = c;
    return STATUS_OK;
}

enum image_format image_format_of(const uint8_t *bytes, size_t n)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (n >= 8 && memcmp(bytes, png, 8) == 0)
        return IMAGE_PNG;
    if (n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff)
        return IMAGE_JPEG;
    bool is_space =
        n >= 3 && (bytes[2] == '\n' || bytes[2] == ' ' || bytes[2] == '\r' || bytes[2] == '\t');
    if (is_space && bytes[0] == 'P' && bytes[1] != '4' && bytes[1] >= '2' && bytes[1] <= '6')
        return IMAGE_PNM;
    return IMAGE_UNKNOWN;
}

static enum status decode(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                          struct image *out)
{
    switch (image_format_of(bytes, n)) {
    case IMAGE_PNG:
        return image_png(name, bytes, n, is_probe, out);
    case IMAGE_JPEG:
        return image_jpeg(name, bytes, n, is_probe, out);
    case IMAGE_PNM:
        return image_pnm(name, bytes, n, is_probe, out);
    case IMAGE_UNKNOWN:
        break;
    }
    CHECK(n > 0, STATUS_DATA, "%s: the file is empty, expected a picture", name);
    FAIL(STATUS_DATA, "%s: not a picture in PNG, JPEG, PGM or PPM format (first bytes %02x %02x)",
         name, bytes[0], n > 1 ? bytes[1] : 0);
}

enum status image_probe(const char *name, const uint8_t *bytes, size_t n, size_t *h, size_t *w,
                        size_t *c)
{
    struct image image = {0};
    TRY(decode(name, bytes, n, true, &image));
    TRY(image_check_size(name, image.h, image.w));
    *h = image.h;
    *w = image.w;
    *c = image.c;
    return STATUS_OK;
}

enum status image_decode(const char *name, const uint8_t *bytes, size_t n, struct image *out)
{
    return decode(name, bytes, n, false, out);
}

enum status image_set_channels(struct image *image, const char *name, size_t c)
{
    size_t n = image->h * image->w;
    if (image->c == c)
        return STATUS_OK;
    if (c == 1) {
        for (size_t i = 0; i < n; i++) {
            const uint8_t *p = image->pixels + 3 * i;
            image->pixels[i] = (uint8_t)((299u * p[0] + 587u * p[1] + 114u * p[2] + 500u) / 1000u);
        }
        image->c = 1;
        return STATUS_OK;
    }
    struct image wide = {0};
    TRY(image_size(&wide, name, image->h, image->w, 3));
    for (size_t i = 0; i < n; i++)
        memset(wide.pixels + 3 * i, image->pixels[i], 3);
    image_free(image);
    *image = wide;
    return STATUS_OK;
}
