// SPDX-License-Identifier: MIT
// Lines over a common pair of axes, with a legend.
#include <math.h>

#include "trainer/report/plot_private.h"

#define WIDTH 640.0
#define HEIGHT 330.0
#define POINTS_MAX 400 // of a series: more than the picture has columns to tell apart

bool plot_has_lines(const struct plot_series *series, size_t n)
{
    for (size_t s = 0; s < n; s++) {
        size_t points = 0;
        for (size_t i = 0; i < series[s].n; i++)
            points += isfinite(series[s].y[i]) != 0;
        if (points >= 2)
            return true;
    }
    return false;
}

static void ranges_find(const struct plot_series *series, size_t n, double x[2], double y[2])
{
    x[0] = y[0] = INFINITY;
    x[1] = y[1] = -INFINITY;
    for (size_t s = 0; s < n; s++)
        for (size_t i = 0; i < series[s].n; i++) {
            double at = series[s].x[i], value = series[s].y[i];
            if (!isfinite(at) || !isfinite(value))
                continue;
            x[0] = fmin(x[0], at);
            x[1] = fmax(x[1], at);
            y[0] = fmin(y[0], value);
            y[1] = fmax(y[1], value);
        }
}

// Every so many points, and always the last.
static bool is_drawn(const struct plot_series *s, size_t i)
{
    size_t stride = (s->n + POINTS_MAX - 1) / POINTS_MAX;
    return isfinite(s->x[i]) && isfinite(s->y[i]) && (i % stride == 0 || i + 1 == s->n);
}

static void numbers_put(FILE *file, const struct plot_series *s, const char *name, const double *v)
{
    const char *between = "";
    fprintf(file, " data-%s=\"", name);
    for (size_t i = 0; i < s->n; i++)
        if (is_drawn(s, i)) {
            fprintf(file, "%s%.6g", between, v[i]);
            between = " ";
        }
    fputc('"', file);
}

static void series_put(FILE *file, const struct plot_series *s, const struct plot_area *a,
                       const struct plot_axis *x, const struct plot_axis *y)
{
    fprintf(file, "<polyline class=\"line s%d%s\" data-name=\"", s->colour,
            s->is_dashed ? " dashed" : "");
    plot_text(file, s->name);
    fputc('"', file);
    numbers_put(file, s, "x", s->x);
    numbers_put(file, s, "y", s->y);
    fputs(" points=\"", file);
    for (size_t i = 0; i < s->n; i++)
        if (is_drawn(s, i))
            fprintf(file, "%.1f,%.1f ", a->left + plot_at(x, s->x[i], a->width),
                    a->top + a->height - plot_at(y, s->y[i], a->height));
    fputs("\"/>\n", file);
}

// Rough width of a text of this size; entries wrap into rows.
static double legend_put(FILE *file, const struct plot_series *series, size_t n, double top,
                         bool is_dry)
{
    double x = 60, y = top;
    for (size_t s = 0; s < n && n > 1; s++) {
        double need = 40;
        for (const char *c = series[s].name; *c; c++)
            need += (*c & 0xC0) != 0x80 ? 7 : 0;
        if (x + need > WIDTH - 10 && x > 60) {
            x = 60;
            y += 18;
        }
        if (!is_dry) {
            fprintf(file,
                    "<line class=\"line s%d%s\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>"
                    "<text x=\"%g\" y=\"%g\">",
                    series[s].colour, series[s].is_dashed ? " dashed" : "", x, x + 20, y - 4, y - 4,
                    x + 26, y);
            plot_text(file, series[s].name);
            fputs("</text>\n", file);
        }
        x += need;
    }
    return n > 1 ? y + 18 : top;
}

// What a screen reader says: the last value of each series.
static void describe(const struct plot *plot, const struct plot_series *series, size_t n,
                     char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "%s against %s.", plot->y_name, plot->x_name);
    for (size_t s = 0; s < n && used < bytes; s++) {
        size_t last = series[s].n;
        while (last > 0 && !isfinite(series[s].y[last - 1]))
            last--;
        if (last > 0)
            used +=
                (size_t)snprintf(text + used, bytes - used, " %s ends at %.4g%s.", series[s].name,
                                 series[s].y[last - 1] * (plot->is_percent ? 100 : 1),
                                 plot->is_percent ? " percent" : "");
    }
}

void plot_lines(FILE *file, const struct plot *plot, const struct plot_series *series, size_t n)
{
    double x_range[2], y_range[2];
    char text[1024];
    ranges_find(series, n, x_range, y_range);
    struct plot_axis x = plot_axis_of(x_range[0], x_range[1], 8, false);
    struct plot_axis y = plot_axis_of(y_range[0], y_range[1], 5, plot->from_zero);
    // Lines reach both ends of the picture; ticks stay on round numbers.
    if (isfinite(x_range[0]) && x_range[1] > x_range[0])
        x.high = x_range[1];
    double top = legend_put(file, series, n, 16, true) + 18;
    struct plot_area area = {60, top, WIDTH - 84, HEIGHT - 50 - top};
    describe(plot, series, n, text, sizeof text);
    plot_begin(file, plot, WIDTH, HEIGHT, text);
    legend_put(file, series, n, 16, false);
    plot_y_axis(file, plot, &area, &y);
    plot_x_axis(file, plot, &area, &x, false);
    fprintf(file,
            "<g class=\"lines\" data-left=\"%g\" data-top=\"%g\" data-width=\"%g\" "
            "data-height=\"%g\" data-low=\"%.9g\" data-high=\"%.9g\" data-percent=\"%d\" "
            "data-x-name=\"",
            area.left, area.top, area.width, area.height, x.low, x.high, plot->is_percent);
    plot_text(file, plot->x_name);
    fputs("\">\n", file);
    for (size_t s = 0; s < n; s++)
        series_put(file, &series[s], &area, &x, &y);
    fputs("</g>\n", file);
    plot_end(file);
}
