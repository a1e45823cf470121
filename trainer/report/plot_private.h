// SPDX-License-Identifier: MIT
// What the kinds of plots share: the frame of an SVG picture and its axes.
#ifndef SW2_TRAINER_REPORT_PLOT_PRIVATE_H
#define SW2_TRAINER_REPORT_PLOT_PRIVATE_H

#include "trainer/report/plot.h"

// Ticks at round numbers over [low, high].
struct plot_axis {
    double low, high, step;
};
// most: ticks at most. from_zero: low is 0. Not finite or empty ranges become 0 to 1.
struct plot_axis plot_axis_of(double low, double high, int most, bool from_zero);
void plot_tick(double value, double step, bool is_percent, char text[32]);

// The area inside the axes, in units of the picture.
struct plot_area {
    double left, top, width, height;
};

// describe: what a screen reader says behind the title; may be "".
void plot_begin(FILE *file, const struct plot *plot, double width, double height,
                const char *describe);
void plot_end(FILE *file);
void plot_y_axis(FILE *file, const struct plot *plot, const struct plot_area *area,
                 const struct plot_axis *axis);
void plot_x_axis(FILE *file, const struct plot *plot, const struct plot_area *area,
                 const struct plot_axis *axis, bool is_percent);
double plot_at(const struct plot_axis *axis, double value, double length); // from low

#endif
