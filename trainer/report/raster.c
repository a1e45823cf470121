// SPDX-License-Identifier: MIT
#include "trainer/report/raster.h"

#ifdef SW2_RSVG
#include <cairo.h>
#include <librsvg/rsvg.h>

enum status raster_check(void)
{
    return STATUS_OK;
}

static cairo_status_t bytes_write(void *file, const unsigned char *bytes, unsigned n)
{
    return fwrite(bytes, 1, n, file) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

enum status raster_png(const char *svg, size_t n, double scale, FILE *out)
{
    GError *problem = NULL;
    RsvgHandle *handle = rsvg_handle_new_from_data((const guint8 *)svg, n, &problem);
    double width = 0, height = 0;
    if (!handle || !rsvg_handle_get_intrinsic_size_in_pixels(handle, &width, &height)) {
        error_set(STATUS_ERROR, __FILE__, __LINE__, "a plot cannot be drawn: %s",
                  problem ? problem->message : "it has no size");
        g_clear_error(&problem);
        g_clear_object(&handle);
        return STATUS_ERROR;
    }
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)(width * scale), (int)(height * scale));
    cairo_t *cairo = cairo_create(surface);
    RsvgRectangle area = {0, 0, width * scale, height * scale};
    gboolean is_drawn = rsvg_handle_render_document(handle, cairo, &area, &problem);
    cairo_status_t code = cairo_surface_write_to_png_stream(surface, bytes_write, out);
    enum status status = STATUS_OK;
    if (!is_drawn || code != CAIRO_STATUS_SUCCESS)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "a plot cannot be drawn: %s",
                           is_drawn ? cairo_status_to_string(code)
                                    : (problem ? problem->message : "unknown"));
    g_clear_error(&problem);
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    g_object_unref(handle);
    return status;
}

#else

enum status raster_check(void)
{
    FAIL(STATUS_USAGE, "this sw2-report was built without librsvg (Debian: librsvg2-dev), which "
                       "--png needs; --svg needs nothing");
}

enum status raster_png(const char *svg, size_t n, double scale, FILE *out)
{
    (void)svg, (void)n, (void)scale, (void)out;
    return raster_check();
}

#endif
