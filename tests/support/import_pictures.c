// SPDX-License-Identifier: MIT
// Encoders of test pictures.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include <cmocka.h>

#include "tests/support/import_files.h"

static void on_write(png_structp png, png_bytep from, size_t n)
{
    bytes_add(png_get_io_ptr(png), from, n);
}

static void on_flush(png_structp png)
{
    (void)png;
}

struct bytes png_bytes(size_t h, size_t w, int colour_type, int depth, uint64_t seed)
{
    struct bytes bytes = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_set_write_fn(png, &bytes, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, depth, colour_type,
                 seed % 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_color palette[256];
    for (unsigned i = 0; i < 256; i++)
        palette[i] = (png_color){(png_byte)i, (png_byte)(255 - i), (png_byte)(i / 2)};
    if (colour_type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 1 << depth);
    size_t line = png_get_rowbytes(png, info);
    png_bytep *rows = calloc(h, sizeof *rows);
    for (size_t y = 0; y < h; y++) {
        rows[y] = malloc(line);
        for (size_t i = 0; i < line; i++)
            rows[y][i] = pixel_of(seed, y * line + i);
    }
    png_set_rows(png, info, rows);
    png_write_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    for (size_t y = 0; y < h; y++)
        free(rows[y]);
    free(rows);
    png_destroy_write_struct(&png, &info);
    return bytes;
}

struct bytes jpeg_bytes(size_t h, size_t w, int components, bool is_progressive, uint64_t seed)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *memory = NULL;
    unsigned long n = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &memory, &n);
    jpeg.image_width = (JDIMENSION)w;
    jpeg.image_height = (JDIMENSION)h;
    jpeg.input_components = components;
    jpeg.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    if (is_progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    uint8_t *line = malloc(w * (size_t)components);
    for (size_t y = 0; y < h; y++) {
        // Smooth, so that what is lost is little: a ramp that differs by channel.
        for (size_t i = 0; i < w * (size_t)components; i++)
            line[i] = (uint8_t)(seed + 3 * y + 2 * (i / (size_t)components) +
                                40 * (i % (size_t)components));
        jpeg_write_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(line);
    struct bytes bytes = {0};
    bytes_add(&bytes, memory, n);
    free(memory);
    return bytes;
}

struct bytes pnm_bytes(size_t h, size_t w, char kind, uint64_t seed)
{
    struct bytes bytes = {0};
    char text[64];
    bool is_colour = kind == '3' || kind == '6', is_text = kind == '2' || kind == '3';
    int length = snprintf(text, sizeof text, "P%c\n# a comment 7\n%zu %zu\n255\n", kind, w, h);
    bytes_add(&bytes, text, (size_t)length);
    for (size_t i = 0; i < h * w * (is_colour ? 3 : 1); i++) {
        uint8_t pixel = pixel_of(seed, i);
        length = snprintf(text, sizeof text, "%d%c", pixel, i % 8 == 7 ? '\n' : ' ');
        bytes_add(&bytes, is_text ? (void *)text : &pixel, is_text ? (size_t)length : 1);
    }
    return bytes;
}
