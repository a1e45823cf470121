// SPDX-License-Identifier: MIT
// Owns: PNG through libpng 1.6, from memory. Called by image.c.
#include "data/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

struct reader {
    const char *name;
    const uint8_t *at;
    size_t left;
    png_bytep *rows; // owned
    char text[256];
};

static void on_error(png_structp png, png_const_charp text)
{
    struct reader *reader = png_get_error_ptr(png);
    strncpy(reader->text, text, sizeof reader->text - 1);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct reader *reader = png_get_io_ptr(png);
    if (n > reader->left)
        png_error(png, "truncated");
    memcpy(out, reader->at, n);
    reader->at += n;
    reader->left -= n;
}

// All kinds to 8-bit grey or RGB.
static void set_conversions(png_structp png, png_infop info)
{
    png_byte colour = png_get_color_type(png, info);
    if (colour == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

static enum status read_png(png_structp png, png_infop info, struct reader *reader, bool is_probe,
                            struct image *out)
{
    png_set_read_fn(png, reader, on_read);
    png_set_user_limits(png, (png_uint_32)IMAGE_SIDE_MAX, (png_uint_32)IMAGE_SIDE_MAX);
    png_set_chunk_malloc_max(png, 1 << 24);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, info);
    size_t h = png_get_image_height(png, info), w = png_get_image_width(png, info);
    bool is_colour = (png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR) != 0;
    if (is_probe) {
        out->h = h;
        out->w = w;
        out->c = is_colour ? 3 : 1;
        return STATUS_OK;
    }
    set_conversions(png, info);
    TRY(image_size(out, reader->name, h, w, is_colour ? 3 : 1));
    CHECK(png_get_rowbytes(png, info) == w * out->c, STATUS_DATA,
          "%s: unexpected PNG kind (%zu bytes a row of %zu pixels)", reader->name,
          png_get_rowbytes(png, info), w);
    TRY(memory_alloc(&reader->rows, h, sizeof *reader->rows, "rows of a picture"));
    for (size_t y = 0; y < h; y++)
        reader->rows[y] = out->pixels + y * w * out->c;
    png_read_image(png, reader->rows);
    png_read_end(png, NULL);
    return STATUS_OK;
}

// Where libpng's errors land. Nothing here changes between setjmp and the jump.
static enum status read_guarded(png_structp png, png_infop info, struct reader *reader,
                                bool is_probe, struct image *out)
{
    if (setjmp(png_jmpbuf(png)) != 0)
        FAIL(STATUS_DATA, "%s: damaged PNG: %s", reader->name, reader->text);
    return read_png(png, info, reader, is_probe, out);
}

enum status image_png(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                      struct image *out)
{
    struct reader reader = {.name = name, .at = bytes, .left = n};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
    CHECK(png, STATUS_ERROR, "out of memory: PNG reader");
    png_infop info = png_create_info_struct(png);
    enum status status = STATUS_ERROR;
    if (info)
        status = read_guarded(png, info, &reader, is_probe, out);
    else
        error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory: PNG reader");
    png_destroy_read_struct(&png, &info, NULL);
    free(reader.rows);
    return status;
}
