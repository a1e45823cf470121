// SPDX-License-Identifier: MIT
// Plots of areas: matrices, reliability diagrams, bars.
#include <math.h>
#include <string.h>

#include "trainer/report/plot_private.h"

#define NUMBERS_MAX 20 // rows of a matrix whose cells show their number
#define NAME_CHARS 14

// At most so many characters, whole ones of UTF-8.
static void name_put(FILE *file, const char *name, size_t most)
{
    char text[4 * NAME_CHARS + 8];
    size_t n = 0, chars = 0;
    for (; name[n] && n + 5 < sizeof text; n++) {
        chars += ((unsigned char)name[n] & 0xC0) != 0x80;
        if (chars > most)
            break;
        text[n] = name[n];
    }
    text[n] = 0;
    plot_text(file, text);
    fputs(name[n] ? "…" : "", file);
}

static void cell_put(FILE *file, const char *const *names, size_t row, size_t column,
                     const uint64_t *counts, size_t n, const struct plot_area *a)
{
    uint64_t total = 0, count = counts[row * n + column];
    double side = a->width / (double)n, x = a->left + side * (double)column,
           y = a->top + side * (double)row;
    for (size_t i = 0; i < n; i++)
        total += counts[row * n + i];
    double share = total > 0 ? (double)count / (double)total : 0;
    if (count == 0 && n > NUMBERS_MAX)
        return;
    fprintf(file, "<g><title>%llu of %llu samples (%.1f %%) of ", (unsigned long long)count,
            (unsigned long long)total, 100 * share);
    plot_text(file, names[row]);
    fputs(row == column ? " were recognised as " : " were taken for ", file);
    plot_text(file, names[column]);
    fprintf(file,
            "</title><rect class=\"cell\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
            "fill-opacity=\"%.3f\"/>",
            x, y, side - (n <= NUMBERS_MAX ? 1 : 0), side - (n <= NUMBERS_MAX ? 1 : 0),
            count == 0 ? 0.03 : 0.08 + 0.92 * sqrt(share));
    if (n <= NUMBERS_MAX && count > 0)
        fprintf(file, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%llu</text>",
                share > 0.3 ? "on" : "off", x + side / 2, y + side / 2 + 4,
                (unsigned long long)count);
    fputs("</g>\n", file);
}

void plot_matrix(FILE *file, const struct plot *plot, const uint64_t *counts, size_t n,
                 const char *const *names)
{
    const double side = n <= 10 ? 44 : n <= NUMBERS_MAX ? 34 : 560.0 / (double)n;
    bool is_named = n <= 60;
    struct plot_area a = {110, 26, side * (double)n, side * (double)n};
    uint64_t right = 0, total = 0;
    for (size_t i = 0; i < n * n; i++) {
        total += counts[i];
        right += i / n == i % n ? counts[i] : 0;
    }
    char text[160];
    snprintf(text, sizeof text, "%llu of %llu samples are on the diagonal, that is, right.",
             (unsigned long long)right, (unsigned long long)total);
    plot_begin(file, plot, a.left + a.width + 20, a.top + a.height + 110, text);
    fprintf(file, "<text x=\"%g\" y=\"14\" text-anchor=\"end\">truth</text>\n", a.left - 8);
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column < n; column++)
            cell_put(file, names, row, column, counts, n, &a);
    for (size_t i = 0; is_named && i < n; i++) {
        double at = side * ((double)i + 0.5);
        fprintf(file, "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">", a.left - 8, a.top + at + 4);
        name_put(file, names[i], NAME_CHARS);
        fprintf(file,
                "</text><text text-anchor=\"end\" transform=\"translate(%.1f %.1f) rotate(-45)\">",
                a.left + at + 4, a.top + a.height + 14);
        name_put(file, names[i], NAME_CHARS);
        fputs("</text>\n", file);
    }
    fprintf(file, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">predicted</text>\n",
            a.left + a.width, a.top + a.height + 100);
    plot_end(file);
}

void plot_reliability(FILE *file, const struct plot *plot, const struct plot_bin *bins, size_t n)
{
    struct plot_area a = {60, 34, 480, 260}, below = {60, 340, 480, 60};
    struct plot_axis axis = {0, 1, 0.2};
    uint64_t total = 0, most = 1;
    for (size_t i = 0; i < n; i++) {
        total += bins[i].n;
        most = bins[i].n > most ? bins[i].n : most;
    }
    plot_begin(file, plot, 560, 440,
               "Bars: share of predictions that are right, by confidence; the diagonal is perfect "
               "calibration. Below: how many predictions have that confidence.");
    struct plot own = *plot;
    own.is_percent = true;
    plot_y_axis(file, &own, &a, &axis);
    double width = a.width / (double)n;
    for (size_t i = 0; i < n; i++) {
        const struct plot_bin *bin = &bins[i];
        double right = bin->n > 0 ? (double)bin->right / (double)bin->n : 0;
        double part = (double)bin->n / (double)most * below.height, x = width * (double)i;
        if (bin->n == 0)
            continue;
        fprintf(file,
                "<g><title>confidence %.1f %%: %.1f %% of %llu predictions are right</title>"
                "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
                "<rect class=\"bar\" fill-opacity=\"0.45\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                "height=\"%.1f\"/></g>\n",
                100 * bin->confidence, 100 * right, (unsigned long long)bin->n, a.left + x + 1,
                a.top + a.height * (1 - right), width - 2, a.height * right, below.left + x + 1,
                below.top + below.height - part, width - 2, part);
    }
    fprintf(file, "<line class=\"ideal\" x1=\"%g\" y1=\"%g\" x2=\"%g\" y2=\"%g\"/>\n", a.left,
            a.top + a.height, a.left + a.width, a.top);
    fprintf(file, "<text x=\"%g\" y=\"%g\">share of the %llu predictions</text>\n", below.left,
            below.top - 6, (unsigned long long)total);
    plot_x_axis(file, plot, &below, &axis, true);
    plot_end(file);
}

void plot_bars(FILE *file, const struct plot *plot, const struct plot_bar *bars, size_t n)
{
    const double row = 20, left = 150, width = 330;
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, bars[i].value);
    plot_begin(file, plot, 640, row * (double)n + 30, plot->y_name);
    fprintf(file, "<text x=\"%g\" y=\"14\">", left);
    plot_text(file, plot->x_name);
    fputs("</text>\n", file);
    for (size_t i = 0; i < n; i++) {
        double y = 24 + row * (double)i, length = most > 0 ? bars[i].value / most * width : 0;
        fputs("<g><title>", file);
        plot_text(file, bars[i].name);
        fputs(": ", file);
        plot_text(file, bars[i].text);
        fprintf(file, "</title><text x=\"%g\" y=\"%g\" text-anchor=\"end\">", left - 8, y + 13);
        name_put(file, bars[i].name, NAME_CHARS + 4);
        fprintf(file,
                "</text><rect class=\"bar\" x=\"%g\" y=\"%g\" width=\"%.1f\" height=\"14\" "
                "rx=\"2\"/><text x=\"%.1f\" y=\"%g\">",
                left, y + 2, length, left + length + 8, y + 13);
        plot_text(file, bars[i].text);
        fputs("</text></g>\n", file);
    }
    plot_end(file);
}
