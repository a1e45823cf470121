// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "trainer/report/plot_private.h"

// A picture of its own is light on paper; in a page the same classes follow the reader's choice.
static const char *const alone_style =
    "<style>text{font:12px system-ui,sans-serif;fill:#52514e}.title{font-size:14px;font-weight:600;"
    "fill:#0b0b0b}.paper{fill:#fcfcfb}.grid{stroke:#e1e0d9}.axis{stroke:#898781}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".dashed{stroke-dasharray:5 4}.cell{fill:#2a78d6}.on{fill:#ffffff}.bar{fill:#2a78d6}"
    ".ideal{stroke:#898781;stroke-dasharray:3 3}"
    ".s0{stroke:#2a78d6}.s1{stroke:#eb6834}.s2{stroke:#1baf7a}.s3{stroke:#4a3aa7}"
    ".s4{stroke:#e87ba4}.s5{stroke:#eda100}.s6{stroke:#008300}.s7{stroke:#e34948}</style>\n";

void plot_text(FILE *file, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '&')
            fputs("&amp;", file);
        else if (c == '<')
            fputs("&lt;", file);
        else if (c == '>')
            fputs("&gt;", file);
        else if (c == '"')
            fputs("&quot;", file);
        else if (c >= 0x20 || c == '\n' || c == '\t') // others are no characters of XML
            fputc(c, file);
    }
}

struct plot_axis plot_axis_of(double low, double high, int most, bool from_zero)
{
    if (from_zero)
        low = 0;
    if (!isfinite(low) || !isfinite(high) || high < low)
        return (struct plot_axis){0, 1, 0.2};
    if (high - low < 1e-9 * (fabs(high) + fabs(low)) || high == low) {
        double room = high != 0 ? fabs(high) * 0.1 : 1;
        high += room;
        low = from_zero ? 0 : low - room;
    }
    double rough = (high - low) / most, power = pow(10, floor(log10(rough)));
    double step = power * (rough <= power       ? 1
                           : rough <= 2 * power ? 2
                           : rough <= 5 * power ? 5
                                                : 10);
    return (struct plot_axis){floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step,
                              step};
}

void plot_tick(double value, double step, bool is_percent, char text[32])
{
    double scale = is_percent ? 100 : 1, shown = value * scale, each = step * scale;
    int digits = each >= 1 ? 0 : (int)ceil(-log10(each) - 1e-9);
    if (fabs(shown) < each * 1e-6)
        shown = 0;
    if (fabs(shown) >= 1e6)
        snprintf(text, 32, "%.3g%s", shown, is_percent ? " %" : "");
    else
        snprintf(text, 32, "%.*f%s", digits > 8 ? 8 : digits, shown, is_percent ? " %" : "");
}

double plot_at(const struct plot_axis *axis, double value, double length)
{
    return (value - axis->low) / (axis->high - axis->low) * length;
}

void plot_begin(FILE *file, const struct plot *plot, double width, double height,
                const char *describe)
{
    double head = plot->is_alone ? 28 : 0;
    if (plot->is_alone)
        fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", file);
    fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 %g %g %g\" ", -head, width,
            height + head);
    if (plot->is_alone)
        fprintf(file, "width=\"%g\" height=\"%g\" ", width, height + head);
    fprintf(file, "role=\"img\" id=\"%s\" aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">",
            plot->id, plot->id, plot->id, plot->id);
    plot_text(file, plot->title);
    fprintf(file, "</title><desc id=\"%s-d\">", plot->id);
    plot_text(file, describe);
    fputs("</desc>\n", file);
    if (!plot->is_alone)
        return;
    fputs(alone_style, file);
    fprintf(file, "<rect class=\"paper\" x=\"0\" y=\"%g\" width=\"%g\" height=\"%g\"/>\n", -head,
            width, height + head);
    fputs("<text class=\"title\" x=\"12\" y=\"-8\">", file);
    plot_text(file, plot->title);
    fputs("</text>\n", file);
}

void plot_end(FILE *file)
{
    fputs("</svg>\n", file);
}

static int ticks_of(const struct plot_axis *axis)
{
    return (int)lround((axis->high - axis->low) / axis->step);
}

void plot_y_axis(FILE *file, const struct plot *plot, const struct plot_area *a,
                 const struct plot_axis *axis)
{
    for (int i = 0; i <= ticks_of(axis); i++) {
        double value = axis->low + i * axis->step;
        double y = a->top + a->height - plot_at(axis, value, a->height);
        char text[32];
        plot_tick(value, axis->step, plot->is_percent, text);
        fprintf(file, "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>", a->left,
                a->left + a->width, y, y);
        fprintf(file, "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", a->left - 8,
                y + 4, text);
    }
    fprintf(file, "<text x=\"%g\" y=\"%g\">", a->left, a->top - 8);
    plot_text(file, plot->y_name);
    fputs("</text>\n", file);
}

void plot_x_axis(FILE *file, const struct plot *plot, const struct plot_area *a,
                 const struct plot_axis *axis, bool is_percent)
{
    double bottom = a->top + a->height;
    fprintf(file, "<line class=\"axis\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>\n", a->left,
            a->left + a->width, bottom, bottom);
    for (int i = 0; i <= ticks_of(axis); i++) {
        double value = axis->low + i * axis->step, x = a->left + plot_at(axis, value, a->width);
        char text[32];
        if (x > a->left + a->width + 0.5)
            continue;
        plot_tick(value, axis->step, is_percent, text);
        fprintf(file, "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%s</text>\n", x,
                bottom + 18, text);
    }
    fprintf(file, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">", a->left + a->width, bottom + 36);
    plot_text(file, plot->x_name);
    fputs("</text>\n", file);
}
