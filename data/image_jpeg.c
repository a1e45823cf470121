// SPDX-License-Identifier: MIT
// Owns: JPEG through libjpeg-turbo, from memory. Called by image.c.
#include "data/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

#include "comm/memory.h"

enum { SCANS_MAX = 500 }; // a small file may ask for endless passes over a large picture

struct handler {
    struct jpeg_error_mgr base; // first: libjpeg's pointer is ours
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    uint8_t *line; // owned
    char text[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr jpeg)
{
    struct handler *handler = (struct handler *)jpeg->err;
    jpeg->err->format_message(jpeg, handler->text);
    longjmp(handler->jump, 1);
}

// libjpeg only warns about missing or damaged pixels and makes them up. Here that is an error.
static void on_message(j_common_ptr jpeg, int level)
{
    if (level >= 0)
        return;
    switch (jpeg->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: // harmless and common
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
        return;
    default:
        on_error(jpeg);
    }
}

static void on_progress(j_common_ptr jpeg)
{
    struct handler *handler = (struct handler *)jpeg->err;
    if (((j_decompress_ptr)jpeg)->input_scan_number > SCANS_MAX) {
        snprintf(handler->text, sizeof handler->text, "more than %d scans", SCANS_MAX);
        longjmp(handler->jump, 1);
    }
}

// Inverted CMYK, as Adobe's programs write it, to RGB.
static void convert_cmyk(const uint8_t *from, size_t w, bool is_inverted, uint8_t *to)
{
    for (size_t x = 0; x < w; x++) {
        const uint8_t *p = from + 4 * x;
        unsigned k = is_inverted ? p[3] : 255u - p[3];
        for (size_t i = 0; i < 3; i++) {
            unsigned ink = is_inverted ? p[i] : 255u - p[i];
            to[3 * x + i] = (uint8_t)((ink * k + 127u) / 255u);
        }
    }
}

static enum status read_jpeg(j_decompress_ptr jpeg, struct handler *handler, const char *name,
                             bool is_probe, struct image *out)
{
    jpeg_read_header(jpeg, TRUE);
    size_t c = jpeg->num_components == 1 ? 1 : 3;
    bool is_cmyk = jpeg->num_components == 4;
    CHECK(jpeg->num_components != 2, STATUS_DATA, "%s: JPEG of 2 components, expected 1, 3 or 4",
          name);
    if (is_probe) {
        out->h = jpeg->image_height;
        out->w = jpeg->image_width;
        out->c = c;
        return STATUS_OK;
    }
    TRY(image_size(out, name, jpeg->image_height, jpeg->image_width, c));
    jpeg->out_color_space = is_cmyk ? JCS_CMYK : c == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(jpeg);
    if (is_cmyk)
        TRY(memory_alloc(&handler->line, out->w, 4, "line of a picture"));
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row = out->pixels + jpeg->output_scanline * out->w * c;
        JSAMPROW target = is_cmyk ? handler->line : row;
        jpeg_read_scanlines(jpeg, &target, 1);
        if (is_cmyk)
            convert_cmyk(handler->line, out->w, jpeg->saw_Adobe_marker, row);
    }
    jpeg_finish_decompress(jpeg);
    return STATUS_OK;
}

// Where libjpeg's errors land. Nothing here changes between setjmp and the jump.
static enum status read_guarded(j_decompress_ptr jpeg, struct handler *handler, const char *name,
                                const uint8_t *bytes, size_t n, bool is_probe, struct image *out)
{
    if (setjmp(handler->jump) != 0)
        FAIL(STATUS_DATA, "%s: damaged JPEG: %s", name, handler->text);
    jpeg_create_decompress(jpeg);
    jpeg->progress = &handler->progress;
    jpeg_mem_src(jpeg, bytes, (unsigned long)n);
    return read_jpeg(jpeg, handler, name, is_probe, out);
}

enum status image_jpeg(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                       struct image *out)
{
    struct jpeg_decompress_struct jpeg = {0};
    struct handler handler = {0};
    jpeg.err = jpeg_std_error(&handler.base);
    handler.base.error_exit = on_error;
    handler.base.emit_message = on_message;
    handler.progress.progress_monitor = on_progress;
    enum status status = read_guarded(&jpeg, &handler, name, bytes, n, is_probe, out);
    jpeg_destroy_decompress(&jpeg);
    free(handler.line);
    return status;
}
